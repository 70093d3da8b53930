//! A node: its conditions, what it has, and which pods use it.

use super::{
    super::Context,
    page::{self, Page, text},
};
use crate::resources::query;
use anyhow::Result;
use serde_json::Value;

/// The pods on the node that have not ended.
pub(super) async fn pods_on(context: &Context, node: &str) -> Result<Vec<Value>> {
    let fields = format!("spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed");
    let mut list = context.rest.get(&format!("/api/v1/pods{}", query(&[("fieldSelector", &fields)]))).await?;
    Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
}

/// The node's heartbeat.
pub(super) async fn lease(context: &Context, node: &str) -> Result<Option<Value>> {
    context.rest.get_optional(&format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}")).await
}

pub(super) fn describe(page: &mut Page, node: &Value, pods: &[Value], lease: Option<&Value>) {
    let (spec, status) = (&node["spec"], &node["status"]);
    page::metadata(page, node);
    page.line(0, "Roles", roles(node));
    page::labels(page, node);
    page.line(0, "CreationTimestamp", text(&node["metadata"]["creationTimestamp"]));
    page.lines(0, "Taints", &taints(spec));
    page.line(0, "Unschedulable", (spec["unschedulable"] == true).to_string());
    if let Some(lease) = lease {
        page.heading(0, "Lease");
        page.line(1, "HolderIdentity", text(&lease["spec"]["holderIdentity"]));
        page.line(1, "AcquireTime", text(&lease["spec"]["acquireTime"]));
        page.line(1, "RenewTime", text(&lease["spec"]["renewTime"]));
    }
    let columns = [
        ("Type", "type"),
        ("Status", "status"),
        ("LastHeartbeatTime", "lastHeartbeatTime"),
        ("LastTransitionTime", "lastTransitionTime"),
        ("Reason", "reason"),
        ("Message", "message"),
    ];
    page::conditions(page, node, &columns);
    page.heading(0, "Addresses");
    for address in status["addresses"].as_array().into_iter().flatten() {
        page.line(1, address["type"].as_str().unwrap_or_default(), text(&address["address"]));
    }
    for (label, field) in [("Capacity", "capacity"), ("Allocatable", "allocatable")] {
        page.heading(0, label);
        status[field].as_object().into_iter().flatten().for_each(|(name, amount)| page.line(1, name, text(amount)));
    }
    page.heading(0, "System Info");
    for (label, field) in INFO {
        page.line(1, label, status["nodeInfo"][field].as_str().unwrap_or_default());
    }
    if let Some(cidr) = spec["podCIDR"].as_str() {
        page.line(0, "PodCIDR", cidr);
    }
    page.line(0, "Non-terminated Pods", format!("({} in total)", pods.len()));
    pod_table(page, pods);
}

const INFO: [(&str, &str); 8] = [
    ("Machine ID", "machineID"),
    ("Boot ID", "bootID"),
    ("Kernel Version", "kernelVersion"),
    ("OS Image", "osImage"),
    ("Operating System", "operatingSystem"),
    ("Architecture", "architecture"),
    ("Container Runtime Version", "containerRuntimeVersion"),
    ("Kubelet Version", "kubeletVersion"),
];

fn roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object();
    let roles: Vec<&str> =
        labels.into_iter().flatten().filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/")).collect();
    if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") }
}

fn taints(spec: &Value) -> Vec<String> {
    let one = |taint: &Value| {
        let (key, value) = (taint["key"].as_str().unwrap_or_default(), taint["value"].as_str().unwrap_or_default());
        let pair = if value.is_empty() { key.to_owned() } else { format!("{key}={value}") };
        format!("{pair}:{}", taint["effect"].as_str().unwrap_or_default())
    };
    spec["taints"].as_array().into_iter().flatten().map(one).collect()
}

fn pod_table(page: &mut Page, pods: &[Value]) {
    let headings = ["Namespace", "Name", "CPU Requests", "CPU Limits", "Memory Requests", "Memory Limits"];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    rows.push(headings.map(|heading| "-".repeat(heading.len())).to_vec());
    for pod in pods {
        let of = |kind: &str, resource: &str| amounts(pod, kind, resource);
        rows.push(vec![
            text(&pod["metadata"]["namespace"]),
            text(&pod["metadata"]["name"]),
            of("requests", "cpu"),
            of("limits", "cpu"),
            of("requests", "memory"),
            of("limits", "memory"),
        ]);
    }
    page.table(1, &rows);
}

/// The containers' amounts, joined: `100m+50m`; 0 when none is given.
fn amounts(pod: &Value, kind: &str, resource: &str) -> String {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let amounts: Vec<String> =
        containers.filter_map(|container| container["resources"][kind][resource].as_str().map(str::to_owned)).collect();
    if amounts.is_empty() { "0".to_owned() } else { amounts.join("+") }
}
