//! From the status that is to the status that should be: a strategic merge patch
//! with only what differs, so that what others own stays.

use k8s_openapi::api::core::v1::PodStatus;
use serde_json::{Map, Value, json};

/// Lists that the API merges by a key of their elements.
const MERGED_LISTS: [(&str, &str); 3] = [("conditions", "type"), ("podIPs", "ip"), ("hostIPs", "ip")];

/// The patch from `old` to `new` for the pod with this UID; `None` when nothing
/// differs. The UID makes the API server refuse it for a pod that took the name.
pub fn patch(uid: &str, old: Option<&PodStatus>, new: &PodStatus) -> Option<Value> {
    if old == Some(new) {
        return None;
    }
    let fields = |status: &PodStatus| match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(), // a PodStatus is an object and serialises
    };
    let (old, new) = (old.map(fields).unwrap_or_default(), fields(new));
    let mut changed = Map::new();
    for (name, value) in new.iter().filter(|(name, value)| old.get(*name) != Some(value)) {
        let merge_key = MERGED_LISTS.iter().find(|(list, _)| list == name).map(|(_, key)| *key);
        let change = merge_key.map_or_else(|| value.clone(), |key| merged(key, old.get(name), value));
        // A merged list that differs in its order only is the same: the order is the API server's.
        if merge_key.is_none() || change.as_array().is_some_and(|list| !list.is_empty()) {
            changed.insert(name.clone(), change);
        }
    }
    let removed = old.keys().filter(|name| !new.contains_key(*name));
    removed.for_each(|name| drop(changed.insert(name.clone(), Value::Null)));
    (!changed.is_empty()).then(|| json!({"metadata": {"uid": uid}, "status": changed}))
}

/// Elements that are new or differ, and directives that delete those that went.
fn merged(key: &str, old: Option<&Value>, new: &Value) -> Value {
    let empty = Vec::new();
    let old = old.and_then(Value::as_array).unwrap_or(&empty);
    let new = new.as_array().unwrap_or(&empty);
    let same_key = |left: &Value, right: &Value| left.get(key) == right.get(key);
    let mut changes: Vec<Value> = Vec::new();
    for element in new.iter().filter(|element| !old.contains(element)) {
        changes.push(with_nulls(element, old.iter().find(|before| same_key(before, element))));
    }
    for before in old.iter().filter(|before| !new.iter().any(|element| same_key(before, element))) {
        changes.push(json!({"$patch": "delete", key: before.get(key)}));
    }
    Value::Array(changes)
}

/// The element, with `null` for fields that it had and has no more.
fn with_nulls(element: &Value, before: Option<&Value>) -> Value {
    let mut element = element.clone();
    let (Some(fields), Some(before)) = (element.as_object_mut(), before.and_then(Value::as_object)) else {
        return element;
    };
    for name in before.keys() {
        fields.entry(name.clone()).or_insert(Value::Null);
    }
    element
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(value: Value) -> PodStatus {
        serde_json::from_value(value).expect("a status")
    }

    #[test]
    fn equal_statuses_need_no_patch() {
        let same = status(json!({"phase": "Running"}));
        assert_eq!(patch("u1", Some(&same), &same), None);
    }

    #[test]
    fn only_what_differs_is_sent() {
        let old = status(json!({"phase": "Pending", "reason": "Odd", "hostIP": "10.0.0.1",
            "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"},
                           {"type": "PodScheduled", "status": "True"}]}));
        let new = status(json!({"phase": "Running", "hostIP": "10.0.0.1",
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}]}));
        let expected = json!({"metadata": {"uid": "u1"}, "status": {"phase": "Running", "reason": null,
            "conditions": [{"type": "Ready", "status": "True", "reason": null}]}});
        assert_eq!(patch("u1", Some(&old), &new), Some(expected));
    }

    #[test]
    fn the_order_of_conditions_is_the_api_servers() {
        let conditions = |first: &str, second: &str| {
            status(json!({"conditions": [{"type": first, "status": "True"}, {"type": second, "status": "True"}]}))
        };
        assert_eq!(patch("u1", Some(&conditions("A", "B")), &conditions("B", "A")), None);
    }

    #[test]
    fn an_address_that_went_is_deleted_by_directive() {
        let old = status(json!({"podIPs": [{"ip": "10.244.0.2"}]}));
        let new = status(json!({"podIPs": [{"ip": "10.244.0.3"}]}));
        let ips = json!([{"ip": "10.244.0.3"}, {"$patch": "delete", "ip": "10.244.0.2"}]);
        assert_eq!(patch("u1", Some(&old), &new).expect("a patch")["status"], json!({"podIPs": ips}));
    }

    #[test]
    fn a_pod_without_status_gets_all_of_it() {
        let new = status(json!({"phase": "Pending", "containerStatuses": []}));
        assert_eq!(patch("u1", None, &new).expect("a patch")["status"]["phase"], "Pending");
    }
}
