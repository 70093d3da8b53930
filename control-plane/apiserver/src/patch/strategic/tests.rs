//! Strategic merges of small objects, one rule each.

use super::*;
use serde_json::json;

const POD: &str = "io.k8s.api.core.v1.Pod";

fn merged(live: Value, patch: Value) -> Value {
    strategic(POD, &json!({"spec": live}), &json!({"spec": patch})).unwrap()["spec"].clone()
}

fn refused(live: Value, patch: Value) -> String {
    strategic(POD, &json!({"spec": live}), &json!({"spec": patch})).unwrap_err().to_string()
}

fn names(spec: &Value) -> Vec<&str> {
    schema_names(&spec["containers"])
}

fn schema_names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|element| element["name"].as_str().unwrap()).collect()
}

#[test]
fn lists_with_a_key_merge_by_it() {
    let live = json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]});
    let spec = merged(live, json!({"containers": [{"name": "b", "image": "2"}, {"name": "c"}]}));
    assert_eq!(spec["containers"], json!([{"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c"}]));
}

#[test]
fn lists_without_a_strategy_are_replaced() {
    let live = json!({"tolerations": [{"key": "a"}], "containers": [{"name": "a", "args": ["1", "2"]}]});
    let spec = merged(live, json!({"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["3"]}]}));
    assert_eq!(spec, json!({"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["3"]}]}));
}

#[test]
fn null_removes_and_is_dropped_where_there_is_nothing() {
    let live = json!({"nodeName": "n", "nodeSelector": {"a": "1", "b": "2"}});
    let patch =
        json!({"nodeName": null, "nodeSelector": {"a": null}, "securityContext": {"runAsUser": null, "fsGroup": 1}});
    assert_eq!(merged(live, patch), json!({"nodeSelector": {"b": "2"}, "securityContext": {"fsGroup": 1}}));
}

#[test]
fn directives_delete_and_replace() {
    let live = json!({"containers": [{"name": "a"}, {"name": "b"}], "nodeSelector": {"x": "1"}});
    let spec = merged(live.clone(), json!({"containers": [{"name": "a", "$patch": "delete"}]}));
    assert_eq!(names(&spec), ["b"]);
    let spec = merged(live.clone(), json!({"containers": [{"$patch": "replace"}, {"name": "z"}]}));
    assert_eq!(names(&spec), ["z"]);
    let spec = merged(live.clone(), json!({"nodeSelector": {"$patch": "replace", "y": "2"}}));
    assert_eq!(spec["nodeSelector"], json!({"y": "2"}));
    let spec = merged(live, json!({"nodeSelector": {"$patch": "delete"}}));
    assert_eq!(spec["nodeSelector"], json!({}));
}

#[test]
fn set_element_order_orders_and_keeps_what_only_the_server_has() {
    let live = json!({"containers": [{"name": "a"}, {"name": "server"}, {"name": "b"}]});
    let patch = json!({
        "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
        "containers": [{"name": "c"}],
    });
    assert_eq!(names(&merged(live.clone(), patch)), ["server", "b", "c", "a"]);
    let wrong = json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "x"}]});
    assert!(refused(live, wrong).starts_with("The order in patch list:\n[map[name:x]]\n"));
}

#[test]
fn primitive_lists_merge_as_sets() {
    let definition = "io.k8s.api.core.v1.ConfigMap";
    let live = json!({"metadata": {"finalizers": ["a", "b", "c"]}});
    let check = |patch: Value| strategic(definition, &live, &json!({"metadata": patch})).unwrap()["metadata"].clone();
    assert_eq!(check(json!({"finalizers": ["d", "a"]})), json!({"finalizers": ["d", "a", "b", "c"]}));
    assert_eq!(check(json!({"$deleteFromPrimitiveList/finalizers": ["b"]})), json!({"finalizers": ["a", "c"]}));
    let patch = json!({
        "$deleteFromPrimitiveList/finalizers": ["b"],
        "$setElementOrder/finalizers": ["d", "a"],
        "finalizers": ["d"],
    });
    assert_eq!(check(patch), json!({"finalizers": ["d", "a", "c"]}));
}

#[test]
fn retain_keys_drops_the_others() {
    let live = json!({"volumes": [{"name": "v", "emptyDir": {}}]});
    let patch = json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]});
    assert_eq!(merged(live.clone(), patch)["volumes"], json!([{"name": "v", "hostPath": {"path": "/"}}]));
    let wrong = json!({"volumes": [{"name": "v", "$retainKeys": ["name"], "hostPath": {"path": "/"}}]});
    assert_eq!(refused(live, wrong), "invalid patch format of retainKeys");
}

#[test]
fn errors_are_upstreams() {
    let live = json!({"containers": [{"name": "c", "image": "a"}]});
    assert_eq!(
        refused(live.clone(), json!({"containers": [{"image": "x"}]})),
        "map: map[image:x] does not contain declared merge key: name"
    );
    assert_eq!(
        refused(live, json!({"containers": [{"name": "c", "$patch": "frob"}]})),
        "unknown patch type: frob in map: map[$patch:frob name:c]"
    );
}

proptest::proptest! {
    #[test]
    fn a_patch_without_directives_applied_twice_is_applied_once(
        live in proptest::collection::vec("[a-e]", 0..5),
        patch in proptest::collection::vec("[a-h]", 0..5),
    ) {
        let list = |names: &[String]| -> Value {
            let mut names = names.to_vec();
            names.dedup();
            names.iter().map(|name| json!({"name": name, "image": name})).collect()
        };
        let patch = json!({"spec": {"containers": list(&patch)}});
        let once = strategic(POD, &json!({"spec": {"containers": list(&live)}}), &patch).unwrap();
        let twice = strategic(POD, &once, &patch).unwrap();
        proptest::prop_assert_eq!(once["spec"]["containers"].as_array().unwrap().len(),
            twice["spec"]["containers"].as_array().unwrap().len());
    }
}
