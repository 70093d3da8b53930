//! What a silent node's conditions become, and the taints that conditions mean. Pure.

use crate::node;
use k8s_openapi::{
    api::core::v1::{Node, Taint},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use serde_json::{Value, json};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Conditions that a kubelet posts, and what it means when they are true.
const PRESSURES: &[(&str, &str)] = &[
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
];

const NETWORK: (&str, &str) = ("NetworkUnavailable", "node.kubernetes.io/network-unavailable");

/// Whether the node says it is ready.
pub fn is_ready(node: &Node) -> bool {
    node::condition(node, "Ready").is_some_and(|ready| ready.status == "True")
}

/// The conditions to write on a node that is silent; none when they are there.
pub fn silent_conditions(node: &Node, now: Timestamp) -> Option<Vec<Value>> {
    let types = ["Ready"].into_iter().chain(PRESSURES.iter().map(|(type_, _)| *type_));
    let conditions: Vec<Value> = types.filter_map(|type_| silent_condition(node, type_, now)).collect();
    (!conditions.is_empty()).then_some(conditions)
}

fn silent_condition(node: &Node, type_: &str, now: Timestamp) -> Option<Value> {
    let known = node::condition(node, type_);
    if known.is_some_and(|known| known.status == "Unknown") {
        return None;
    }
    let (reason, message) = match known {
        Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
        None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
    };
    let mut condition = json!({
        "type": type_, "status": "Unknown", "reason": reason, "message": message,
        "lastTransitionTime": now.to_string(),
    });
    if known.is_none() {
        condition["lastHeartbeatTime"] = json!(node.metadata.creation_timestamp);
    }
    Some(condition)
}

/// The node's taints as they should be; none when they are so. Without any
/// healthy node nobody is evicted: the fault is likelier ours than theirs
/// (upstream: full disruption).
pub fn taints(node: &Node, healthy_exists: bool, now: Timestamp) -> Option<Vec<Taint>> {
    let wanted = wanted(node, healthy_exists);
    let is_ours = |taint: &Taint| {
        let keys = PRESSURES.iter().chain([&NETWORK]).map(|(_, key)| *key).chain([UNSCHEDULABLE]);
        match taint.effect.as_str() {
            "NoSchedule" => keys.chain([NOT_READY, UNREACHABLE]).any(|key| key == taint.key),
            "NoExecute" => [NOT_READY, UNREACHABLE].contains(&taint.key.as_str()),
            _ => false,
        }
    };
    let has = |taint: &(&str, &str)| taint_of(node, taint).is_some();
    let known = node::taints(node);
    let surplus = known.iter().any(|taint| is_ours(taint) && !wanted.contains(&(&taint.key, &taint.effect)));
    if !surplus && wanted.iter().all(has) {
        return None;
    }
    let mut taints: Vec<Taint> = known.iter().filter(|taint| !is_ours(taint)).cloned().collect();
    taints.extend(wanted.iter().map(|wanted| {
        taint_of(node, wanted).cloned().unwrap_or_else(|| Taint {
            key: wanted.0.to_owned(),
            effect: wanted.1.to_owned(),
            value: None,
            time_added: Some(Time(now)),
        })
    }));
    Some(taints)
}

fn taint_of<'a>(node: &'a Node, (key, effect): &(&str, &str)) -> Option<&'a Taint> {
    node::taints(node).iter().find(|taint| taint.key == *key && taint.effect == *effect)
}

/// Key and effect of each taint that the node should have from us.
fn wanted(node: &Node, healthy_exists: bool) -> Vec<(&'static str, &'static str)> {
    let status = |type_: &str| node::condition(node, type_).map(|condition| condition.status.as_str());
    let mut wanted = Vec::new();
    let health = match status("Ready") {
        Some("True") => None,
        Some("Unknown") => Some(UNREACHABLE),
        Some(_) | None => Some(NOT_READY),
    };
    if let Some(key) = health {
        wanted.push((key, "NoSchedule"));
        // A node that has never reported has nothing to evict.
        if healthy_exists && status("Ready").is_some() {
            wanted.push((key, "NoExecute"));
        }
    }
    let pressed = PRESSURES.iter().chain([&NETWORK]).filter(|(type_, _)| status(type_) == Some("True"));
    wanted.extend(pressed.map(|(_, key)| (*key, "NoSchedule")));
    if node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default() {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(ready: &str, unschedulable: bool, taints: Value) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n"},
            "spec": {"unschedulable": unschedulable, "taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": ready}, {"type": "DiskPressure", "status": "False"}]},
        }))
        .expect("a node")
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_700_000_000).expect("valid")
    }

    fn names(taints: Option<Vec<Taint>>) -> Option<Vec<String>> {
        taints.map(|taints| taints.iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect())
    }

    #[test]
    fn a_silent_node_becomes_unknown_once() {
        let conditions = silent_conditions(&node("True", false, json!(null)), now()).expect("changes");
        let reasons: Vec<_> =
            conditions.iter().map(|condition| condition["reason"].as_str().unwrap_or_default()).collect();
        assert_eq!(
            reasons,
            ["NodeStatusUnknown", "NodeStatusNeverUpdated", "NodeStatusUnknown", "NodeStatusNeverUpdated",]
        );
        let types = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
        let all = types.map(|type_| json!({"type": type_, "status": "Unknown"}));
        let silent: Node =
            serde_json::from_value(json!({"metadata": {}, "status": {"conditions": all}})).expect("a node");
        assert_eq!(silent_conditions(&silent, now()), None);
    }

    #[test]
    fn unreachable_nodes_are_tainted_and_recovered_ones_not() {
        let lost = names(taints(&node("Unknown", false, json!(null)), true, now()));
        let unreachable = |effect: &str| format!("node.kubernetes.io/unreachable:{effect}");
        assert_eq!(lost, Some(vec![unreachable("NoSchedule"), unreachable("NoExecute")]));
        let all_lost = names(taints(&node("Unknown", false, json!(null)), false, now()));
        assert_eq!(all_lost, Some(vec![unreachable("NoSchedule")]));
        let old = json!([
            {"key": UNREACHABLE, "effect": "NoExecute"},
            {"key": "example.com/own", "effect": "NoSchedule"},
            {"key": NOT_READY, "effect": "NoSchedule"},
        ]);
        assert_eq!(
            names(taints(&node("True", false, old), true, now())),
            Some(vec!["example.com/own:NoSchedule".into()])
        );
        assert_eq!(taints(&node("True", false, json!(null)), true, now()), None);
    }

    #[test]
    fn a_cordon_is_a_taint() {
        let cordoned = node("True", true, json!(null));
        assert_eq!(
            names(taints(&cordoned, true, now())),
            Some(vec!["node.kubernetes.io/unschedulable:NoSchedule".into()])
        );
        let settled = node("True", true, json!([{"key": UNSCHEDULABLE, "effect": "NoSchedule"}]));
        assert_eq!(taints(&settled, true, now()), None);
    }
}
