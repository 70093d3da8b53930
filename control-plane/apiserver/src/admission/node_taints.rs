//! A new node takes no pods until somebody has seen it ready (upstream:
//! `TaintNodesByCondition`).

use crate::object;
use serde_json::{Value, json};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub(super) fn admit(node: &mut Value) {
    let tainted = object::list_at(node, "spec.taints")
        .iter()
        .any(|taint| taint["key"] == NOT_READY && taint["effect"] == "NoSchedule");
    if !tainted {
        object::list_mut(object::map_mut(node, "spec"), "taints")
            .push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
    }
}
