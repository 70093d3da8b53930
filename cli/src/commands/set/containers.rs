//! Where a kind keeps its pod template, and patches of its containers.

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

/// The lists of containers that a pod spec has.
const LISTS: [&str; 2] = ["initContainers", "containers"];

/// The path from an object to its pod spec.
fn pod_spec_path(kind: &str) -> &'static [&'static str] {
    match kind {
        "Pod" => &["spec"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
        _ => &["spec", "template", "spec"],
    }
}

fn pod_spec(object: &Value) -> &Value {
    let path = pod_spec_path(object["kind"].as_str().unwrap_or_default());
    path.iter().fold(object, |value, field| &value[*field])
}

/// The names of all containers.
pub(super) fn names(object: &Value) -> Vec<String> {
    let spec = pod_spec(object);
    let all = LISTS.iter().flat_map(|list| spec[*list].as_array().into_iter().flatten());
    all.filter_map(|container| container["name"].as_str().map(str::to_owned)).collect()
}

/// The container of a name; null when there is none.
pub(super) fn of<'a>(object: &'a Value, name: &str) -> &'a Value {
    let spec = pod_spec(object);
    let mut all = LISTS.iter().flat_map(|list| spec[*list].as_array().into_iter().flatten());
    all.find(|container| container["name"] == name).unwrap_or(&Value::Null)
}

/// Whether a name fits a pattern in which `*` stands for any characters.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The strategic merge patch of what `change` returns for each container;
/// `None` when it changes none.
///
/// # Errors
/// The kind has no pod template; what `change` says.
pub(super) fn patch(object: &Value, change: impl Fn(&Value) -> Result<Option<Value>>) -> Result<Option<Value>> {
    let spec = pod_spec(object);
    let mut lists = Map::new();
    for list in LISTS {
        let mut changed = Vec::new();
        for container in spec[list].as_array().into_iter().flatten() {
            if let Some(mut fields) = change(container)? {
                fields["name"] = container["name"].clone();
                changed.push(fields);
            }
        }
        if !changed.is_empty() {
            lists.insert(list.to_owned(), changed.into());
        }
    }
    if lists.is_empty() {
        return Ok(None);
    }
    pod_spec_patch(object, &Value::Object(lists)).map(Some)
}

/// A patch of the pod spec as one of the object.
///
/// # Errors
/// The kind has no pod template.
pub(super) fn pod_spec_patch(object: &Value, patch: &Value) -> Result<Value> {
    pod_spec(object).as_object().with_context(|| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!("{}/{} has no pod template", text(&object["kind"]).to_lowercase(), text(&object["metadata"]["name"]))
    })?;
    let path = pod_spec_path(object["kind"].as_str().unwrap_or_default());
    Ok(path.iter().rev().fold(patch.clone(), |inner, field| json!({ *field: inner })))
}

/// The object after such a patch: lists of named things are merged by name.
/// Only what the patches of this module need of a strategic merge.
pub(super) fn patched(before: &Value, patch: &Value) -> Value {
    match (before, patch) {
        (Value::Array(old), Value::Array(new)) if new.iter().all(|item| item["name"].is_string()) => {
            let mut merged = old.clone();
            for item in new {
                let place = merged.iter().position(|existing| existing["name"] == item["name"]);
                match (place, item["$patch"] == "delete") {
                    (Some(place), true) => drop(merged.remove(place)),
                    (Some(place), false) => merged[place] = patched(&merged[place], item),
                    (None, true) => {}
                    (None, false) => merged.push(item.clone()),
                }
            }
            merged.into()
        }
        (Value::Object(old), Value::Object(new)) => {
            let mut merged = old.clone();
            for (key, value) in new {
                match (merged.get(key), value) {
                    (_, Value::Null) => drop(merged.remove(key)),
                    (Some(existing), value) => drop(merged.insert(key.clone(), patched(existing, value))),
                    (None, value) => drop(merged.insert(key.clone(), value.clone())),
                }
            }
            merged.into()
        }
        (_, new) => new.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Value {
        json!({"kind": "Deployment", "spec": {"template": {"spec": {
            "initContainers": [{"name": "prepare", "image": "a"}],
            "containers": [{"name": "web", "image": "b"}, {"name": "side", "image": "c"}]}}}})
    }

    #[test]
    fn only_the_changed_containers_are_sent() {
        let patch = patch(&deployment(), |container| Ok((container["name"] == "web").then(|| json!({"image": "new"}))));
        let patch = patch.expect("has a template").expect("a change");
        assert_eq!(patch, json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "new"}]}}}}));
        let after = patched(&deployment(), &patch);
        assert_eq!(after["spec"]["template"]["spec"]["containers"][0], json!({"name": "web", "image": "new"}));
        assert_eq!(after["spec"]["template"]["spec"]["containers"][1], json!({"name": "side", "image": "c"}));
        assert_eq!(names(&after), ["prepare", "web", "side"]);
    }

    #[test]
    fn what_has_no_template_is_refused() {
        let map = json!({"kind": "ConfigMap", "metadata": {"name": "x"}});
        assert!(pod_spec_patch(&map, &json!({})).is_err());
        let cron = json!({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": {}}}}}});
        let patch = pod_spec_patch(&cron, &json!({"a": 1})).expect("has a template");
        assert_eq!(patch, json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {"a": 1}}}}}}));
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name) in
            [("*", "web"), ("w*", "web"), ("*b", "web"), ("w*b", "web"), ("web", "web"), ("*e*", "web")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("", "web"), ("w", "web"), ("*x", "web"), ("we*eb", "web")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn merging_deletes_by_name() {
        let env = json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]});
        let patch = json!({"env": [{"name": "A", "$patch": "delete"}, {"name": "C", "value": "3"}]});
        assert_eq!(patched(&env, &patch), json!({"env": [{"name": "B", "value": "2"}, {"name": "C", "value": "3"}]}));
    }
}
