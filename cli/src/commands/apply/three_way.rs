//! The patch that makes a live object as a manifest has it: what the manifest
//! says and the object does not, and the end of what an earlier manifest said
//! (upstream: `strategicpatch.CreateThreeWayMergePatch`). Pure.
//!
//! Where the schema says how lists merge, the patch is a strategic merge patch;
//! without a schema the same steps make a merge patch (RFC 7386).

use serde_json::{Map, Value, json};
use wk_apiserver::schema::{Definition, Schema, Shape};

type Fields = Map<String, Value>;

/// The patch; empty when nothing is to change.
pub(super) fn patch(definition: Option<&'static Definition>, last: &Value, wanted: &Value, live: &Value) -> Fields {
    let empty = Fields::new();
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    fields_patch(definition, last.as_object().unwrap_or(&empty), &fields(wanted), &fields(live))
}

fn fields_patch(within: Option<&'static Definition>, last: &Fields, wanted: &Fields, live: &Fields) -> Fields {
    let mut patch = Fields::new();
    for (name, value) in wanted.iter().filter(|(_, value)| !value.is_null()) {
        let schema = within.and_then(|definition| definition.field(name)).map(|field| &field.schema);
        field_patch(schema, name, [last.get(name), Some(value), live.get(name)], &mut patch);
    }
    for name in last.keys().filter(|name| !wanted.contains_key(*name) || wanted[*name].is_null()) {
        if live.contains_key(name) {
            patch.insert(name.clone(), Value::Null);
        }
    }
    patch
}

fn field_patch(schema: Option<&'static Schema>, name: &str, values: [Option<&Value>; 3], patch: &mut Fields) {
    let [last, Some(wanted), live] = values else { return };
    match (wanted, live) {
        (_, None) => drop(patch.insert(name.to_owned(), wanted.clone())),
        (Value::Object(wanted), Some(Value::Object(live))) => {
            let empty = Fields::new();
            let last = last.and_then(Value::as_object).unwrap_or(&empty);
            let mut inner = fields_patch(schema.and_then(definition_within), last, wanted, live);
            if !inner.is_empty() {
                retain_keys(schema, wanted, &mut inner);
                patch.insert(name.to_owned(), inner.into());
            }
        }
        (Value::Array(wanted), Some(Value::Array(live))) => {
            let last = last.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            list_patch(schema, name, [last, wanted, live], patch);
        }
        (wanted, Some(live)) if wanted == live => {}
        _ => drop(patch.insert(name.to_owned(), wanted.clone())),
    }
}

/// Where the fields of a value, or of a list's elements, are.
fn definition_within(schema: &'static Schema) -> Option<&'static Definition> {
    match &schema.shape {
        Shape::List(items) => definition_within(items),
        _ => schema.definition(),
    }
}

fn retain_keys(schema: Option<&'static Schema>, wanted: &Fields, patch: &mut Fields) {
    if schema.is_some_and(|schema| schema.has_patch_strategy("retainKeys")) {
        patch.insert("$retainKeys".to_owned(), wanted.keys().cloned().collect());
    }
}

fn list_patch(schema: Option<&'static Schema>, name: &str, lists: [&[Value]; 3], patch: &mut Fields) {
    let [last, wanted, live] = lists;
    let merging = schema.filter(|schema| schema.has_patch_strategy("merge"));
    match merging.map(|schema| (schema, schema.patch_merge_key)) {
        Some((schema, Some(key))) if wanted.iter().chain(live).all(|item| !item[key].is_null()) => {
            keyed_list_patch(schema, key, name, lists, patch);
        }
        Some((_, None)) => {
            let missing: Vec<&Value> = wanted.iter().filter(|item| !live.contains(item)).collect();
            let gone: Vec<&Value> = last.iter().filter(|item| !wanted.contains(item) && live.contains(item)).collect();
            if !missing.is_empty() || !gone.is_empty() {
                patch.insert(format!("$setElementOrder/{name}"), json!(wanted));
            }
            if !missing.is_empty() {
                patch.insert(name.to_owned(), json!(missing));
            }
            if !gone.is_empty() {
                patch.insert(format!("$deleteFromPrimitiveList/{name}"), json!(gone));
            }
        }
        _ if wanted != live => drop(patch.insert(name.to_owned(), json!(wanted))),
        _ => {}
    }
}

fn keyed_list_patch(schema: &'static Schema, key: &str, name: &str, lists: [&[Value]; 3], patch: &mut Fields) {
    let [last, wanted, live] = lists;
    let of = |list: &[Value], item: &Value| list.iter().find(|other| other[key] == item[key]).cloned();
    let mut items = Vec::new();
    for item in wanted {
        let Some(now) = of(live, item) else {
            items.push(item.clone());
            continue;
        };
        let before = of(last, item).unwrap_or_default();
        let mut change = Fields::new();
        field_patch(Some(schema), key, [Some(&before), Some(item), Some(&now)], &mut change);
        if let Some(Value::Object(mut change)) = change.remove(key) {
            change.insert(key.to_owned(), item[key].clone());
            items.push(change.into());
        }
    }
    for item in last.iter().filter(|item| of(wanted, item).is_none() && of(live, item).is_some()) {
        items.push(json!({"$patch": "delete", key: item[key]}));
    }
    if !items.is_empty() {
        let order: Vec<Value> = wanted.iter().map(|item| json!({ key: item[key] })).collect();
        patch.insert(format!("$setElementOrder/{name}"), order.into());
        patch.insert(name.to_owned(), items.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wk_apiserver::{patch::strategic, schema};

    const POD: &str = "io.k8s.api.core.v1.Pod";
    const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";

    /// The live object after the patch, as the server makes it.
    fn applied(kind: &str, last: &Value, wanted: &Value, live: &Value) -> Value {
        let patch = patch(schema::definition(kind), last, wanted, live);
        strategic(kind, live, &patch.into()).expect("a valid patch")
    }

    #[test]
    fn others_fields_stay_and_dropped_ones_go() {
        let last = json!({"metadata": {"labels": {"a": "1", "b": "2"}}});
        let wanted = json!({"metadata": {"labels": {"a": "3"}}});
        let live = json!({"metadata": {"labels": {"a": "1", "b": "2", "theirs": "x"}, "uid": "u"}, "status": {}});
        let after = applied(POD, &last, &wanted, &live);
        assert_eq!(after, json!({"metadata": {"labels": {"a": "3", "theirs": "x"}, "uid": "u"}, "status": {}}));
        assert!(patch(schema::definition(POD), &wanted, &wanted, &after).is_empty(), "applied twice changes nothing");
    }

    #[test]
    fn containers_merge_by_name() {
        let container = |name: &str, image: &str| json!({"name": name, "image": image});
        let pod = |containers: &[Value]| json!({"spec": {"containers": containers}});
        let last = pod(&[container("a", "1"), container("b", "1")]);
        let wanted = pod(&[container("c", "1"), container("a", "2")]);
        let mut injected = container("a", "1");
        injected["imagePullPolicy"] = "Always".into();
        let live = pod(&[injected, container("b", "1"), container("sidecar", "x")]);
        let after = applied(POD, &last, &wanted, &live);
        let names: Vec<&str> =
            after["spec"]["containers"].as_array().into_iter().flatten().filter_map(|c| c["name"].as_str()).collect();
        assert_eq!(names, ["c", "a", "sidecar"]);
        assert_eq!(after["spec"]["containers"][1], json!({"name": "a", "image": "2", "imagePullPolicy": "Always"}));
    }

    #[test]
    fn what_excludes_each_other_does_not_stay_together() {
        let last = json!({"spec": {"replicas": 1}});
        let wanted = json!({"spec": {"replicas": 1, "strategy": {"type": "Recreate"}}});
        let live =
            json!({"spec": {"replicas": 1, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
        assert_eq!(applied(DEPLOYMENT, &last, &wanted, &live)["spec"]["strategy"], json!({"type": "Recreate"}));
    }

    #[test]
    fn lists_of_words_merge_and_others_are_replaced() {
        let wanted =
            json!({"metadata": {"finalizers": ["a/b"]}, "spec": {"containers": [{"name": "c", "args": ["x"]}]}});
        let last = json!({"metadata": {"finalizers": ["a/b", "a/c"]}});
        let live = json!({"metadata": {"finalizers": ["a/c", "z/z"]}, "spec": {"containers": [{"name": "c", "args": ["y", "z"]}]}});
        let after = applied(POD, &last, &wanted, &live);
        assert_eq!(after["metadata"]["finalizers"], json!(["a/b", "z/z"]));
        assert_eq!(after["spec"]["containers"][0]["args"], json!(["x"]));
    }

    #[test]
    fn without_a_schema_it_is_a_merge_patch() {
        let (last, wanted) = (json!({"spec": {"a": [1], "b": 2}}), json!({"spec": {"a": [1, 2]}}));
        let live = json!({"spec": {"a": [1], "b": 2, "c": 3}});
        assert_eq!(Value::from(patch(None, &last, &wanted, &live)), json!({"spec": {"a": [1, 2], "b": null}}));
    }
}
