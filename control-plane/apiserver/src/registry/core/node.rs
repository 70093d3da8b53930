//! Node: a machine that runs pods.

use crate::object;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Resource, Scope, Strategy, Subresource};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of Nodes.
pub const RESOURCE: Resource = Resource {
    short_names: &["no"],
    scope: Scope::Cluster,
    subresources: &[
        Subresource::new("proxy", "NodeProxyOptions", crate::registry::PROXY_VERBS),
        Subresource::status("Node"),
    ],
    ..Resource::new("Node", "nodes", "node", "io.k8s.api.core.v1.Node", &Node)
};

struct Node;

impl Strategy for Node {
    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let unschedulable = object::at(object, "spec.unschedulable") == Some(&Value::Bool(true));
        vec![("spec.unschedulable", unschedulable.to_string())]
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                table::text("Status", "Whether it is ready and takes pods."),
                table::text("Roles", "From labels node-role.kubernetes.io/<role>."),
                AGE,
                table::text("Version", "Version of its kubelet."),
                table::wide("Internal-IP", "Address inside the cluster."),
                table::wide("External-IP", "Address outside the cluster."),
                table::wide("OS-Image", "Its operating system."),
                table::wide("Kernel-Version", "Version of its kernel."),
                table::wide("Container-Runtime", "Name and version of its runtime."),
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let info = |field: &str| json!(known(object::str_at(&object["status"]["nodeInfo"], field)));
        vec![
            table::name(object),
            json!(status(object)),
            json!(roles(object)),
            table::age(object, now),
            json!(object::str_at(object, "status.nodeInfo.kubeletVersion")),
            json!(address(object, "InternalIP")),
            json!(address(object, "ExternalIP")),
            info("osImage"),
            info("kernelVersion"),
            info("containerRuntimeVersion"),
        ]
    }
}

fn known(text: &str) -> &str {
    if text.is_empty() { table::UNKNOWN } else { text }
}

fn status(node: &Value) -> String {
    let ready = object::list_at(node, "status.conditions").iter().find(|condition| condition["type"] == "Ready");
    let status = match ready.map(|condition| condition["status"] == "True") {
        Some(true) => "Ready",
        Some(false) => "NotReady",
        None => "Unknown",
    };
    let cordoned = node["spec"]["unschedulable"] == true;
    if cordoned { format!("{status},SchedulingDisabled") } else { status.to_owned() }
}

fn roles(node: &Value) -> String {
    let labels = object::metadata(node).get("labels").and_then(Value::as_object);
    let role = |(key, value): (&String, &Value)| match key.strip_prefix("node-role.kubernetes.io/") {
        Some(role) => Some(role.to_owned()),
        None if key == "kubernetes.io/role" => value.as_str().map(str::to_owned),
        None => None,
    };
    let roles: std::collections::BTreeSet<String> =
        labels.into_iter().flatten().filter_map(role).filter(|role| !role.is_empty()).collect();
    table::or_none(&roles.into_iter().collect::<Vec<_>>().join(",")).to_owned()
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let found = object::list_at(node, "status.addresses").iter().find(|address| address["type"] == kind);
    table::or_none(found.map_or("", |address| object::str_at(address, "address")))
}
