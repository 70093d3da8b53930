//! Which nodes a DaemonSet is for, and the pod it has on each. Pure
//! (upstream: `NodeShouldRunDaemonPod`, `daemon/util/daemonset_util.go`).

use crate::{node, ownership, pod_control};
use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{
        Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, PodTemplateSpec, Toleration,
    },
};
use kube::ResourceExt;

/// The revision a pod was made from.
pub const HASH_LABEL: &str = "controller-revision-hash";
/// The same for clients of a version long gone.
pub const GENERATION_LABEL: &str = "pod-template-generation";
/// Counts versions of the template; the API server writes it.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";
/// The field by which a pod asks for one node.
const NODE_NAME_FIELD: &str = "metadata.name";

/// Whether a node has a pod of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It should have one.
    Run,
    /// It gets none, and keeps the one it has.
    Keep,
    /// It must have none.
    Leave,
}

/// Whether `node` is for pods of `set`. A cordon is tolerated.
pub fn fit(set: &DaemonSet, node: &Node) -> Fit {
    let Some(spec) = template(set).spec else { return Fit::Leave };
    let elsewhere = spec.node_name.as_ref().is_some_and(|name| !name.is_empty() && *name != node.name_any());
    if elsewhere || !node::is_selected(&spec, node) {
        return Fit::Leave;
    }
    let tolerations = spec.tolerations.unwrap_or_default();
    let repels = |effects: &[&str]| {
        let taints = node::taints(node).iter().filter(|taint| effects.contains(&taint.effect.as_str()));
        taints.into_iter().any(|taint| !tolerations.iter().any(|toleration| node::tolerates(toleration, taint)))
    };
    match () {
        () if !repels(&["NoSchedule", "NoExecute"]) => Fit::Run,
        () if !repels(&["NoExecute"]) => Fit::Keep,
        () => Fit::Leave,
    }
}

/// The set's template with the tolerations that every daemon has.
pub fn template(set: &DaemonSet) -> PodTemplateSpec {
    let mut template = set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    if let Some(spec) = &mut template.spec {
        tolerate(spec);
    }
    template
}

/// What befalls a node does not drive its daemons away (upstream:
/// `AddOrUpdateDaemonPodTolerations`).
fn tolerate(spec: &mut PodSpec) {
    const NO_EXECUTE: &str = "NoExecute";
    const NO_SCHEDULE: &str = "NoSchedule";
    let mut wanted = vec![
        ("node.kubernetes.io/not-ready", NO_EXECUTE),
        ("node.kubernetes.io/unreachable", NO_EXECUTE),
        ("node.kubernetes.io/disk-pressure", NO_SCHEDULE),
        ("node.kubernetes.io/memory-pressure", NO_SCHEDULE),
        ("node.kubernetes.io/pid-pressure", NO_SCHEDULE),
        ("node.kubernetes.io/unschedulable", NO_SCHEDULE),
    ];
    if spec.host_network == Some(true) {
        wanted.push(("node.kubernetes.io/network-unavailable", NO_SCHEDULE));
    }
    let known = spec.tolerations.get_or_insert_default();
    for (key, effect) in wanted {
        let toleration = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        let same = |other: &Toleration| Toleration { toleration_seconds: None, ..other.clone() } == toleration;
        match known.iter_mut().find(|other| same(other)) {
            Some(other) => *other = toleration,
            None => known.push(toleration),
        }
    }
}

/// The set's template generation; absent when the API server wrote none.
pub fn template_generation(set: &DaemonSet) -> Option<&str> {
    set.annotations().get(TEMPLATE_GENERATION).map(String::as_str)
}

/// The pod for one node, which the scheduler will bind there.
pub fn pod_for(set: &DaemonSet, node: &str, hash: &str) -> Pod {
    let mut template = template(set);
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.to_owned());
    if let Some(generation) = template_generation(set) {
        labels.insert(GENERATION_LABEL.to_owned(), generation.to_owned());
    }
    if let Some(spec) = &mut template.spec {
        pin(spec, node);
    }
    let pod = pod_control::from_template(set, template);
    debug_assert!(!ownership::labels(&pod).is_empty(), "the hash label was inserted above");
    pod
}

/// Asks for `node` in place of whatever nodes the template asked for, which the
/// node has been checked against.
fn pin(spec: &mut PodSpec, node: &str) {
    let field = NodeSelectorRequirement {
        key: NODE_NAME_FIELD.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let term = NodeSelectorTerm { match_fields: Some(vec![field]), match_expressions: None };
    let affinity = spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    affinity.required_during_scheduling_ignored_during_execution =
        Some(NodeSelector { node_selector_terms: vec![term] });
}

/// The node a pod is on or asks for.
pub fn target_node(pod: &Pod) -> Option<&str> {
    let spec = pod.spec.as_ref()?;
    if let Some(name) = spec.node_name.as_deref().filter(|name| !name.is_empty()) {
        return Some(name);
    }
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    let one = |field: &NodeSelectorRequirement| field.key == NODE_NAME_FIELD && field.operator == "In";
    fields.into_iter().find(|field| one(field))?.values.as_deref()?.first().map(String::as_str)
}
