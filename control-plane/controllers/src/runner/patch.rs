//! Merge patches of the fields a controller owns. Writing only these keeps
//! fields that this build does not know.

use kube::api::{PatchParams, PostParams};
use serde::Serialize;
use serde_json::{Map, Value};

/// The field manager of everything controllers write (upstream: the name of the binary).
pub const FIELD_MANAGER: &str = "kube-controller-manager";

/// Parameters of a patch by a controller.
pub fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// Parameters of a creation by a controller.
pub fn post_params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

/// A merge patch setting each of `fields` to what `owner` has, and removing
/// those it has not. It does not depend on the old value, which may be stale.
pub fn set_fields(owner: &impl Serialize, fields: &[&str]) -> Value {
    let Ok(Value::Object(mut values)) = serde_json::to_value(owner) else { return Value::Object(Map::new()) };
    let of = |field: &&str| ((*field).to_owned(), values.remove(*field).unwrap_or(Value::Null));
    Value::Object(fields.iter().map(of).collect())
}

/// A count as it goes on the wire: absent when zero.
pub fn nonzero(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_fields_are_removed() {
        let patch = set_fields(&json!({"replicas": 1, "other": 2}), &["replicas", "readyReplicas"]);
        assert_eq!(patch, json!({"replicas": 1, "readyReplicas": null}));
    }
}
