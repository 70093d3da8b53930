//! A pod stays five minutes on a node that is not ready or not reachable, unless
//! it says otherwise (upstream: `DefaultTolerationSeconds`).

use crate::object;
use serde_json::{Value, json};

const SECONDS: i64 = 300;

pub(super) fn admit(pod: &mut Value) {
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        if !object::list_at(pod, "spec.tolerations").iter().any(|toleration| tolerates(toleration, key)) {
            let toleration =
                json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS});
            object::list_mut(object::map_mut(pod, "spec"), "tolerations").push(toleration);
        }
    }
}

fn tolerates(toleration: &Value, key: &str) -> bool {
    let is_any_or = |field, wanted| matches!(object::str_at(toleration, field), "") || toleration[field] == wanted;
    is_any_or("key", key) && is_any_or("effect", "NoExecute")
}
