//! The `scale` subresource: one number of a workload as an object of its own
//! (upstream: `pkg/registry/apps/*/storage`, `autoscaling/v1`). Called by the
//! verbs of `/scale`, for every kind with `spec.replicas`.

use super::check::{Errors, NOT_NEGATIVE};
use crate::object;
use crate::schema::FieldError;
use crate::selector::Labels;
use serde_json::{Map, Value, json};

const METADATA: [&str; 5] = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];

/// The Scale of a workload.
pub fn of(workload: &Value) -> Value {
    let metadata = object::metadata(workload);
    let kept: Map<String, Value> = METADATA
        .iter()
        .filter_map(|field| metadata.get(*field).map(|value| ((*field).to_owned(), value.clone())))
        .collect();
    let replicas = workload["spec"]["replicas"].as_i64().unwrap_or(0);
    let mut status = json!({"replicas": workload["status"]["replicas"].as_i64().unwrap_or(0)});
    let selector = selector(&workload["spec"]["selector"]);
    if !selector.is_empty() {
        status["selector"] = json!(selector);
    }
    // Go leaves out a zero here.
    let spec = if replicas == 0 { json!({}) } else { json!({"replicas": replicas}) };
    json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": kept, "spec": spec, "status": status})
}

/// A workload's selector in the string form; ReplicationControllers have a plain map.
fn selector(selector: &Value) -> String {
    let is_plain = |map: &Map<String, Value>| map.values().all(Value::is_string);
    match selector.as_object() {
        Some(map) if is_plain(map) => Labels::from_map(map).to_string(),
        _ => Labels::from_object(selector).unwrap_or_default().to_string(),
    }
}

/// Replicas that a Scale asks for; 0 when it does not say.
pub fn replicas(scale: &Value) -> i64 {
    scale["spec"]["replicas"].as_i64().unwrap_or(0)
}

/// Writes the Scale's number into the workload.
pub fn apply(workload: &mut Value, scale: &Value) {
    object::map_mut(workload, "spec").insert("replicas".to_owned(), json!(replicas(scale)));
}

/// All that is wrong with a Scale.
pub fn validate(scale: &Value) -> Errors {
    match replicas(scale) {
        negative @ ..0 => vec![FieldError::invalid("spec.replicas", negative, NOT_NEGATIVE)],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_read_and_written_back() {
        let mut workload = json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "status": {"replicas": 1},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "a"}}}});
        let mut scale = of(&workload);
        assert_eq!(scale["status"], json!({"replicas": 1, "selector": "app=a"}));
        assert_eq!((&scale["spec"]["replicas"], scale["metadata"].get("labels")), (&json!(3), None));
        scale["spec"]["replicas"] = json!(0);
        apply(&mut workload, &scale);
        assert_eq!(of(&workload)["spec"], json!({}));
        assert_eq!(validate(&json!({"spec": {"replicas": -1}})).len(), 1);
    }
}
