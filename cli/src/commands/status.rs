//! `wk status`: how the local cluster is. The process is asked through its control
//! socket, nodes and pods through the API; the disk is looked at.

use crate::{
    args::{Global, Status},
    client,
    control::{client::Control, lock::ServerProcess, protocol::ServerStatus},
    data_dir::DataDir,
    output::{self, table::Table},
};
use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, api::ListParams};
use serde::Serialize;
use std::{io::Write, process::ExitCode, time::Duration};
use wk_platform::Clock;

/// A server that takes longer to answer is not in order, which is what was asked.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is shown; `-o json` prints it as it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    running: bool,
    data_dir: String,
    disk_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ServerStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<NodeReport>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pods: Option<Count>,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeReport {
    name: String,
    status: String,
    address: String,
    pod_cidr: String,
    pods: Count,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Count {
    running: usize,
    total: usize,
}

pub(super) async fn run(global: &Global, args: &Status) -> Result<ExitCode> {
    let data_dir = DataDir::new(client::data_dir(global)?)?;
    let report = look(&data_dir).await?;
    match args.output.as_deref() {
        None => write!(output::stdout(), "{}", text(&report, Clock::system().now()))?,
        Some("json") => output::line(output::json_text(&serde_json::to_value(&report)?)?)?,
        Some("yaml") => write!(output::stdout(), "{}", output::yaml::to_string(&serde_json::to_value(&report)?))?,
        Some(other) => bail!("unknown output format {other:?}; allowed formats are: json, yaml"),
    }
    let is_well = report.running && report.problem.is_none();
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn look(data_dir: &DataDir) -> Result<Report> {
    let mut report = Report {
        running: false,
        data_dir: data_dir.path().display().to_string(),
        disk_bytes: data_dir.disk_bytes(),
        server: None,
        nodes: None,
        pods: None,
        problem: None,
    };
    if ServerProcess::find(data_dir.path())?.is_none() {
        return Ok(report);
    }
    report.running = true;
    let control = Control::new(data_dir.path());
    match tokio::time::timeout(PATIENCE, control.status()).await {
        Ok(Ok(server)) => report.server = Some(server),
        Ok(Err(error)) => report.problem = Some(format!("{error:#}")),
        Err(_) => report.problem = Some(format!("the server has not answered for {PATIENCE:?}")),
    }
    match tokio::time::timeout(PATIENCE, objects(data_dir)).await {
        Ok(Ok((nodes, pods))) => {
            report.pods = Some(count(pods.iter()));
            report.nodes = Some(nodes.iter().map(|node| node_report(node, &pods)).collect());
        }
        Ok(Err(error)) => report.problem = report.problem.or(Some(format!("{error:#}"))),
        Err(_) => report.problem = report.problem.or(Some(format!("the API has not answered for {PATIENCE:?}"))),
    }
    Ok(report)
}

async fn objects(data_dir: &DataDir) -> Result<(Vec<Node>, Vec<Pod>)> {
    let client = client::of_document(&data_dir.kubeconfig()?).await?;
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await.context("list nodes")?;
    let pods = Api::<Pod>::all(client).list(&ListParams::default()).await.context("list pods")?;
    Ok((nodes.items, pods.items))
}

/// Whether the node says that it is Ready.
pub(super) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn node_report(node: &Node, pods: &[Pod]) -> NodeReport {
    let name = node.metadata.name.clone().unwrap_or_default();
    let spec = node.spec.clone().unwrap_or_default();
    let addresses = node.status.as_ref().and_then(|status| status.addresses.as_ref());
    let internal = addresses.into_iter().flatten().find(|address| address.type_ == "InternalIP");
    let mut status = if is_ready(node) { "Ready" } else { "NotReady" }.to_owned();
    if spec.unschedulable == Some(true) {
        status.push_str(",SchedulingDisabled");
    }
    let here = |pod: &&Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(&name);
    NodeReport {
        pods: count(pods.iter().filter(here)),
        status,
        address: internal.map(|address| address.address.clone()).unwrap_or_default(),
        pod_cidr: spec.pod_cidr.unwrap_or_default(),
        name,
    }
}

fn count<'a>(pods: impl Iterator<Item = &'a Pod>) -> Count {
    pods.fold(Count::default(), |count, pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        Count { running: count.running + usize::from(phase == Some("Running")), total: count.total + 1 }
    })
}

fn text(report: &Report, now: Timestamp) -> String {
    let mut lines = Vec::new();
    let mut line = |heading: &str, text: String| lines.push(vec![heading.to_owned(), text]);
    line("Status:", if report.running { "running" } else { "not running; start it with `wk up`" }.to_owned());
    if let Some(problem) = &report.problem {
        line("Problem:", problem.clone());
    }
    if let Some(server) = &report.server {
        line("Process:", format!("{}, up {}", server.pid, uptime(server.started_at, now)));
        line("API:", format!("https://{}", server.address));
        line("Addresses:", format!("pods {}, Services {}", server.cluster_cidr, server.service_cidr));
        let runtime = server.runtime_version.replace("://", " ");
        line("Versions:", format!("wk {}, Kubernetes {}, {runtime}", server.version, server.kubernetes_version));
        line("Roles:", server.roles.join(", "));
    }
    line("Data:", format!("{} in {}", output::size(report.disk_bytes), report.data_dir));
    if let Some(nodes) = &report.nodes {
        let ready = nodes.iter().filter(|node| !node.status.starts_with("NotReady")).count();
        line("Nodes:", format!("{ready} of {} Ready", nodes.len()));
    }
    if let Some(pods) = report.pods {
        line("Pods:", format!("{} of {} running", pods.running, pods.total));
    }
    let mut text = Table::default().layout(&lines);
    if let Some(nodes) = report.nodes.as_ref().filter(|nodes| !nodes.is_empty()) {
        text.push('\n');
        text.push_str(&nodes_table(nodes));
    }
    text
}

fn nodes_table(nodes: &[NodeReport]) -> String {
    let mut rows = vec![["NODE", "STATUS", "ADDRESS", "POD CIDR", "PODS"].map(str::to_owned).to_vec()];
    for node in nodes {
        let pods = format!("{}/{}", node.pods.running, node.pods.total);
        rows.push(vec![node.name.clone(), node.status.clone(), node.address.clone(), node.pod_cidr.clone(), pods]);
    }
    Table::default().layout(&rows)
}

/// `5s`, `3m12s`, `2h5m`, `3d4h`.
pub(super) fn uptime(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (minutes, hours, days) {
        (0, ..) => format!("{seconds}s"),
        (_, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (_, _, 0) => format!("{hours}h{}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn server() -> ServerStatus {
        let status = json!({
            "pid": 42, "version": "0.1.0", "kubernetesVersion": "v1.33.0", "runtimeVersion": "wasmtime://48.0.8",
            "startedAt": "2026-01-01T00:00:00Z", "address": "127.0.0.1:6443", "roles": ["apiserver", "node"],
            "serviceCidr": "10.96.0.0/16", "clusterCidr": "10.244.0.0/16", "nodes": [],
        });
        serde_json::from_value(status).expect("a status")
    }

    #[test]
    fn a_cluster_is_shown_on_one_screen() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "node-1"}, "spec": {"podCIDR": "10.244.0.0/20", "unschedulable": true},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.244.0.1"}],
            },
        }))
        .expect("a node");
        let pod = |node: &str, phase: &str| -> Pod {
            let pod = json!({"metadata": {}, "spec": {"nodeName": node, "containers": []}, "status": {"phase": phase}});
            serde_json::from_value(pod).expect("a pod")
        };
        let pods = [pod("node-1", "Running"), pod("node-1", "Pending"), pod("node-2", "Running")];
        let report = Report {
            running: true,
            data_dir: "/data".to_owned(),
            disk_bytes: 12_300_000,
            server: Some(server()),
            nodes: Some(vec![node_report(&node, &pods)]),
            pods: Some(count(pods.iter())),
            problem: None,
        };
        let now = server().started_at + Duration::from_secs(192);
        expect_test::expect![[r"
            Status:      running
            Process:     42, up 3m12s
            API:         https://127.0.0.1:6443
            Addresses:   pods 10.244.0.0/16, Services 10.96.0.0/16
            Versions:    wk 0.1.0, Kubernetes v1.33.0, wasmtime 48.0.8
            Roles:       apiserver, node
            Data:        12.3MB in /data
            Nodes:       1 of 1 Ready
            Pods:        2 of 3 running

            NODE     STATUS                     ADDRESS      POD CIDR        PODS
            node-1   Ready,SchedulingDisabled   10.244.0.1   10.244.0.0/20   1/2
        "]]
        .assert_eq(&text(&report, now));
    }

    #[test]
    fn times_are_short() {
        let up = |seconds| uptime(Timestamp::UNIX_EPOCH, Timestamp::from_second(seconds).expect("in range"));
        assert_eq!([up(5), up(192), up(7500), up(273_600)].join(" "), "5s 3m12s 2h5m 3d4h");
    }
}
