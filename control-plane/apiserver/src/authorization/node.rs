//! What nodes may do: fixed rules for the kubelets (upstream: the node
//! authorizer and the rules of `system:node`). Pure.

use super::{Attributes, Decision};
use wk_platform::UserInfo;

/// The group that every kubelet is in.
const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";
const LEASES_NAMESPACE: &str = "kube-node-lease";

/// `Some` when the user is a node and the rules for nodes let it.
pub(super) fn decide(user: &UserInfo, asked: &Attributes<'_>) -> Option<Decision> {
    let node = user.name.strip_prefix(NODE_PREFIX)?;
    let is_node = user.groups.iter().any(|group| group == NODES);
    (is_node && asked.is_resource && may(node, asked)).then(|| Decision::Allowed(String::new()))
}

fn may(node: &str, asked: &Attributes<'_>) -> bool {
    let Attributes { verb, group, resource, subresource, .. } = *asked;
    let reads = matches!(verb, "get" | "list" | "watch");
    let (edits, makes) = (matches!(verb, "patch" | "update"), verb == "create");
    // A node that is there has a name, and only its own is its business.
    let own = asked.name == node || asked.name.is_empty();
    match (group, resource, subresource) {
        ("", "nodes", "") => reads || makes || edits && own,
        ("", "nodes", "status") => edits && own,
        ("", "pods", "") => reads || makes || verb == "delete",
        ("", "pods", "status") => edits,
        ("", "pods", "eviction") | ("", "serviceaccounts", "token") => makes,
        ("" | "events.k8s.io", "events", "") => makes || edits,
        // One at a time, by name: a list of all is a list of everybody's.
        ("", "configmaps" | "secrets", "") => reads && !asked.name.is_empty(),
        ("", "services", "") | ("node.k8s.io", "runtimeclasses", "") | ("storage.k8s.io", "csidrivers", "") => reads,
        ("", "persistentvolumeclaims" | "persistentvolumes" | "endpoints", "") => verb == "get",
        ("coordination.k8s.io", "leases", "") => {
            asked.namespace == LEASES_NAMESPACE && own && (makes || edits || matches!(verb, "get" | "delete"))
        }
        ("storage.k8s.io", "csinodes", "") => own && (makes || edits || matches!(verb, "get" | "delete")),
        ("authentication.k8s.io", "tokenreviews", "") => makes,
        ("authorization.k8s.io", "subjectaccessreviews" | "localsubjectaccessreviews", "") => makes,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(verb: &str, group: &str, resource: &str, namespace: &str, name: &str) -> bool {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let asked = Attributes {
            verb,
            group,
            resource,
            subresource,
            namespace,
            name,
            is_resource: true,
            ..Attributes::default()
        };
        decide(&UserInfo::node("n1"), &asked).is_some()
    }

    #[test]
    fn a_node_reports_its_own() {
        assert!(may("patch", "", "pods/status", "a", "p") && may("patch", "", "nodes/status", "", "n1"));
        assert!(!may("patch", "", "nodes/status", "", "n2"));
        assert!(may("update", "coordination.k8s.io", "leases", "kube-node-lease", "n1"));
        assert!(!may("update", "coordination.k8s.io", "leases", "kube-node-lease", "n2"));
        assert!(!may("create", "apps", "deployments", "a", ""));
    }

    #[test]
    fn secrets_are_read_one_at_a_time() {
        assert!(may("get", "", "secrets", "a", "s") && may("watch", "", "secrets", "a", "s"));
        assert!(!may("list", "", "secrets", "a", "") && !may("list", "", "secrets", "", ""));
        assert!(!may("create", "", "secrets", "a", ""));
    }

    #[test]
    fn a_name_without_the_group_is_no_node() {
        let asked = Attributes { verb: "get", resource: "nodes", is_resource: true, ..Attributes::default() };
        assert_eq!(decide(&UserInfo::new("system:node:n1", &[]), &asked), None);
    }
}
