//! A node's credentials write only what is the node's own: its Node, its lease,
//! the status of its pods (upstream: `NodeRestriction`). Who may write at all is
//! decided before, by [`crate::authorization`].

use super::{AdmissionRequest, Lookup, Operation, Refusal};
use crate::{object, registry::core::pod};
use serde_json::{Map, Value};
use wk_platform::UserInfo;

const GROUP: &str = "system:nodes";
const PREFIX: &str = "system:node:";
const LEASES_NAMESPACE: &str = "kube-node-lease";
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Labels in Kubernetes' own domains that a node may set on itself (upstream:
/// `kubeletapis.KubeletLabels` and the two domains for it).
const OWN_LABELS: [&str; 14] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.kubernetes.io/region",
    "failure-domain.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/instance-type",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
const OWN_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
const RESTRICTED_DOMAIN: &str = "node-restriction.kubernetes.io";

/// The name of the node that the user is.
fn node_of(user: &UserInfo) -> Option<&str> {
    let name = user.name.strip_prefix(PREFIX)?;
    user.groups.iter().any(|group| group == GROUP).then_some(name)
}

pub(super) fn admit(request: &AdmissionRequest<'_>, object: &Value, old: Option<&Value>) -> Result<(), Refusal> {
    let Some(node) = node_of(request.user) else { return Ok(()) };
    match (request.resource.group, request.resource.plural, request.subresource, request.operation) {
        ("", "pods", "", Operation::Create) => new_pod(node, object),
        ("", "pods", "", _) => {
            refuse(format!("unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods"))
        }
        ("", "pods", "status", _) => pod_status(node, object, old),
        ("", "nodes", _, _) => own_node(node, request, object, old),
        ("coordination.k8s.io", "leases", "", _) => lease(node, request),
        _ => Ok(()),
    }
}

/// Of a deletion: a pod of its own, its own node or lease.
pub(super) async fn admit_delete(request: &AdmissionRequest<'_>, lookup: &dyn Lookup) -> Result<(), Refusal> {
    let Some(node) = node_of(request.user) else { return Ok(()) };
    match (request.resource.group, request.resource.plural) {
        ("", "pods") => match lookup.get(&pod::RESOURCE, request.namespace, request.name).await {
            Some(pod) if object::str_at(&pod, "spec.nodeName") != node => {
                refuse(format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
            }
            _ => Ok(()),
        },
        ("", "nodes") if request.name != node => refuse(not_its_own(node, request.name)),
        ("coordination.k8s.io", "leases") => lease(node, request),
        _ => Ok(()),
    }
}

/// Of an eviction of `pod`.
///
/// # Errors
/// [`Refusal`] when the user is another node than the pod's.
pub fn admit_eviction(user: &UserInfo, pod: &Value) -> Result<(), Refusal> {
    match node_of(user) {
        Some(node) if object::str_at(pod, "spec.nodeName") != node => {
            refuse(format!("node {node} can only evict pods with spec.nodeName set to itself"))
        }
        _ => Ok(()),
    }
}

/// Of a token for an account: for a pod of its own, which `bound` is.
///
/// # Errors
/// [`Refusal`] when the user is a node and the token is for anything else.
pub fn admit_token(user: &UserInfo, reference: &Value, bound: Option<&Value>) -> Result<(), Refusal> {
    let Some(node) = node_of(user) else { return Ok(()) };
    let text = |field| object::str_at(reference, field);
    let of_pod = (text("apiVersion"), text("kind")) == ("v1", "Pod") && !text("name").is_empty();
    match bound.filter(|_| of_pod) {
        None => refuse("node requested token not bound to a pod"),
        Some(_) if text("uid").is_empty() => refuse("node requested token with a pod binding without a uid"),
        Some(pod) if object::str_at(pod, "spec.nodeName") != node => {
            refuse("node requested token bound to a pod scheduled on a different node")
        }
        Some(_) => Ok(()),
    }
}

fn refuse(message: impl Into<String>) -> Result<(), Refusal> {
    Err(Refusal::forbidden(message))
}

fn not_its_own(node: &str, asked: &str) -> String {
    format!("node {node:?} is not allowed to modify node {asked:?}")
}

fn new_pod(node: &str, pod: &Value) -> Result<(), Refusal> {
    if pod["metadata"]["annotations"][MIRROR].is_null() {
        return refuse(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"));
    }
    if object::str_at(pod, "spec.nodeName") != node {
        return refuse(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    Ok(())
}

fn pod_status(node: &str, pod: &Value, old: Option<&Value>) -> Result<(), Refusal> {
    // What is stored decides: a status cannot move a pod.
    let stored = old.unwrap_or(pod);
    if object::str_at(stored, "spec.nodeName") != node {
        return refuse(format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself"));
    }
    let labels =
        |pod: &Value| object::metadata(pod).get("labels").and_then(Value::as_object).cloned().unwrap_or_default();
    if labels(pod) != labels(stored) {
        return refuse(format!("node {node:?} cannot update labels through pod status"));
    }
    Ok(())
}

fn own_node(node: &str, request: &AdmissionRequest<'_>, new: &Value, old: Option<&Value>) -> Result<(), Refusal> {
    let asked = if request.name.is_empty() { object::name(new) } else { request.name };
    if asked != node {
        return refuse(not_its_own(node, asked));
    }
    let empty = Map::new();
    let labels = |object: &Value| object["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    let before = old.map(labels).unwrap_or(empty);
    let forbidden = forbidden_labels(&before, &labels(new));
    let Some(old) = old else {
        return match forbidden.as_slice() {
            [] => Ok(()),
            some => refuse(format!("node {node:?} is not allowed to set the following labels: {}", some.join(", "))),
        };
    };
    if new["spec"]["taints"] != old["spec"]["taints"] {
        return refuse(format!("node {node:?} is not allowed to modify taints"));
    }
    if !forbidden.is_empty() {
        return refuse(format!("is not allowed to modify labels: {}", forbidden.join(", ")));
    }
    Ok(())
}

/// Labels that differ and are not the node's to set, sorted.
fn forbidden_labels(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<String> {
    let mut changed: Vec<String> = before.keys().chain(after.keys()).cloned().collect();
    changed.retain(|key| before.get(key) != after.get(key) && is_forbidden(key));
    changed.sort();
    changed.dedup();
    changed
}

fn is_forbidden(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let within = |parent: &str| domain == parent || domain.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
    let kubernetes = within("kubernetes.io") || within("k8s.io");
    within(RESTRICTED_DOMAIN)
        || kubernetes && !OWN_LABELS.contains(&label) && !OWN_DOMAINS.iter().any(|own| within(own))
}

fn lease(node: &str, request: &AdmissionRequest<'_>) -> Result<(), Refusal> {
    if request.namespace != LEASES_NAMESPACE {
        return refuse(format!("can only access leases in the {LEASES_NAMESPACE:?} system namespace"));
    }
    if request.name != node {
        return refuse("can only access node lease with the same name as the requesting node");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn labels_of_kubernetes_are_not_the_nodes_to_set() {
        let before = json!({"kubernetes.io/os": "wasi", "node-role.kubernetes.io/worker": "", "mine": "1"});
        let after = json!({"kubernetes.io/os": "linux", "mine": "2", "node.kubernetes.io/pool": "a",
                           "x.node-restriction.kubernetes.io/trusted": "yes", "notkubernetes.io/x": "y"});
        let map = |value: Value| value.as_object().cloned().unwrap_or_default();
        let forbidden = forbidden_labels(&map(before), &map(after));
        assert_eq!(forbidden, ["node-role.kubernetes.io/worker", "x.node-restriction.kubernetes.io/trusted"]);
    }
}
