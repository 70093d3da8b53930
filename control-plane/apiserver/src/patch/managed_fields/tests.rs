//! Who owns what after creates, updates and applies.

use super::*;
use crate::patch::{ConflictCause, Error};
use serde_json::json;

const CONFIG_MAP: &str = "io.k8s.api.core.v1.ConfigMap";
const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";
const POD: &str = "io.k8s.api.core.v1.Pod";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "creationTimestamp": null}, "data": data})
}

fn create(mut object: Value, manager: &str) -> Value {
    track_update(CONFIG_MAP, "v1", None, &mut object, manager, None, at(1));
    object
}

fn update(live: &Value, mut new: Value, manager: &str) -> Value {
    track_update(CONFIG_MAP, "v1", Some(live), &mut new, manager, None, at(2));
    new
}

fn apply_map(live: Option<&Value>, data: Value, manager: &str, force: bool) -> Result<Value, Error> {
    let patch = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
    apply(CONFIG_MAP, live, &patch, manager, force, None, at(3))
}

/// `manager operation second` and the fields, one per entry.
fn owners(object: &Value) -> Vec<(String, Value)> {
    let line = |entry: &Value| {
        let text = |field: &str| entry[field].as_str().unwrap_or("-").to_owned();
        let time = text("time");
        let second = time.trim_end_matches('Z').rsplit(':').next().unwrap().to_owned();
        format!("{} {} {second}", text("manager"), text("operation"))
    };
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| (line(entry), entry["fieldsV1"].clone())).collect()
}

fn entry(line: &str, fields: Value) -> (String, Value) {
    (line.to_owned(), fields)
}

#[test]
fn a_creator_owns_all_but_the_servers_fields() {
    let object = create(config_map(json!({"x": "1"})), "creator");
    assert_eq!(owners(&object), [entry("creator Update 01", json!({"f:data": {".": {}, "f:x": {}}}))]);
}

#[test]
fn who_changes_a_field_owns_it() {
    let live = create(config_map(json!({"x": "1", "y": "1"})), "creator");
    let object = update(&live, config_map(json!({"x": "2"})), "other");
    assert_eq!(
        owners(&object),
        [entry("creator Update 01", json!({"f:data": {}})), entry("other Update 02", json!({"f:data": {"f:x": {}}})),]
    );
}

#[test]
fn an_update_that_changes_nothing_leaves_the_entries() {
    let live = create(config_map(json!({"x": "1"})), "creator");
    let object = update(&live, config_map(json!({"x": "1"})), "other");
    assert_eq!(object, live);
}

#[test]
fn a_caller_may_forget_all_managers() {
    let live = create(config_map(json!({"x": "1"})), "creator");
    for reset in [json!([]), json!([{}])] {
        let mut new = live.clone();
        new["metadata"]["managedFields"] = reset;
        let object = update(&live, new, "creator");
        assert!(owners(&object).is_empty());
        // And nothing is tracked until the first apply.
        assert!(owners(&update(&object, config_map(json!({"x": "2"})), "other")).is_empty());
    }
    let mut nonsense = live.clone();
    nonsense["metadata"]["managedFields"] = json!([{"manager": "z", "operation": "Bogus", "apiVersion": "v1"}]);
    assert_eq!(update(&live, nonsense, "creator"), live);
}

#[test]
fn too_many_updaters_are_merged() {
    let mut live = create(config_map(json!({"x": "1"})), "m0");
    for n in 1..=11 {
        let mut new = live.clone();
        new["data"][format!("k{n}")] = json!("1");
        track_update(CONFIG_MAP, "v1", Some(&live), &mut new, &format!("m{n}"), None, at(n));
        live = new;
    }
    let owners = owners(&live);
    assert_eq!(owners.len(), UPDATE_MANAGERS_MAX);
    assert!(
        owners.iter().any(|(line, fields)| line.starts_with(ANCIENT_CHANGES) && fields["f:data"]["f:k1"] == json!({}))
    );
}

#[test]
fn apply_removes_what_it_owned_and_leaves_the_rest() {
    let first = apply_map(None, json!({"x": "1", "y": "2"}), "m1", false).unwrap();
    assert_eq!(owners(&first), [entry("m1 Apply 03", json!({"f:data": {"f:x": {}, "f:y": {}}}))]);
    let second = apply_map(Some(&first), json!({"z": "3"}), "m2", false).unwrap();
    let third = apply_map(Some(&second), json!({"x": "9"}), "m1", false).unwrap();
    assert_eq!(third["data"], json!({"x": "9", "z": "3"}));
    assert_eq!(
        owners(&third),
        [entry("m1 Apply 03", json!({"f:data": {"f:x": {}}})), entry("m2 Apply 03", json!({"f:data": {"f:z": {}}}))]
    );
}

#[test]
fn a_field_of_another_is_a_conflict_unless_the_value_is_the_same() {
    let live = create(config_map(json!({"x": "1"})), "creator");
    let error = apply_map(Some(&live), json!({"x": "2"}), "m1", false).unwrap_err();
    let message = r#"conflict with "creator" using v1"#.to_owned();
    let causes = vec![ConflictCause { field: ".data.x".to_owned(), message: message.clone() }];
    let text = format!("Apply failed with 1 conflict: {message}: .data.x");
    assert_eq!(error, Error::Conflict { message: text, causes });
    let forced = apply_map(Some(&live), json!({"x": "2"}), "m1", true).unwrap();
    assert_eq!(
        owners(&forced),
        [entry("m1 Apply 03", json!({"f:data": {"f:x": {}}})), entry("creator Update 01", json!({"f:data": {}})),]
    );
    let shared = apply_map(Some(&live), json!({"x": "1"}), "m1", false).unwrap();
    assert_eq!(owners(&shared)[0], entry("m1 Apply -", json!({"f:data": {"f:x": {}}})));
}

#[test]
fn several_conflicts_are_listed_by_manager() {
    let live = apply_map(None, json!({"x": "1", "y": "1"}), "m1", false).unwrap();
    let error = apply_map(Some(&live), json!({"x": "2", "y": "2"}), "m2", false).unwrap_err();
    assert_eq!(error.to_string(), "Apply failed with 2 conflicts: conflicts with \"m1\":\n- .data.x\n- .data.y");
}

#[test]
fn an_untracked_object_gets_a_manager_before_its_first_apply() {
    let live = config_map(json!({"x": "1"}));
    let object = apply_map(Some(&live), json!({"y": "1"}), "m1", false).unwrap();
    assert_eq!(owners(&object)[1], entry("before-first-apply Update 03", json!({"f:data": {".": {}, "f:x": {}}})));
}

#[test]
fn keyed_lists_merge_by_key_and_keep_the_order_of_the_configuration() {
    let pod = |containers: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": containers}});
    let run = |live: Option<&Value>, containers: Value, manager: &str| {
        apply(POD, live, &pod(containers), manager, false, None, at(3)).unwrap()
    };
    let first = run(None, json!([{"name": "a", "env": [{"name": "A", "value": "1"}]}, {"name": "b"}]), "m1");
    let second = run(Some(&first), json!([{"name": "c"}, {"name": "b", "image": "i"}]), "m2");
    let names = |object: &Value| -> Vec<String> {
        let list = object["spec"]["containers"].as_array().unwrap();
        list.iter().map(|element| element["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&second), ["a", "c", "b"]);
    let third = run(Some(&second), json!([{"name": "b"}]), "m1");
    assert_eq!(names(&third), ["c", "b"]);
    assert_eq!(third["spec"]["containers"][1]["image"], "i");
}

#[test]
fn a_configuration_must_fit_the_schema() {
    let refused = |patch: Value| apply(POD, None, &patch, "m1", false, None, at(3)).unwrap_err().to_string();
    let pod = |spec: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec});
    let twice = json!({"containers": [{"name": "c", "env": [{"name": "A"}, {"name": "A"}]}]});
    let frame = "failed to create typed patch object (/a; /v1, Kind=Pod): ";
    assert_eq!(
        refused(pod(twice)),
        format!("{frame}.spec.containers[name=\"c\"].env: duplicate entries for key [name=\"A\"]")
    );
    assert_eq!(refused(pod(json!({"bogus": 1}))), format!("{frame}.spec.bogus: field not declared in schema"));
    assert_eq!(refused(json!({"kind": "Pod"})), "invalid object type: /, Kind=Pod");
    let managed = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"managedFields": []}});
    assert_eq!(refused(managed), "metadata.managedFields must be nil");
}

#[test]
fn status_and_spec_are_managed_apart() {
    let mut live = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": 1}, "status": {}});
    track_update(DEPLOYMENT, "apps/v1", None, &mut live, "creator", None, at(1));
    let mut new = live.clone();
    new["status"]["replicas"] = json!(1);
    new["spec"]["replicas"] = json!(2);
    track_update(DEPLOYMENT, "apps/v1", Some(&live), &mut new, "controller", Some("status"), at(2));
    let entries = new["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries[1]["fieldsV1"], json!({"f:status": {"f:replicas": {}}}));
    assert_eq!(entries[1]["subresource"], "status");
    assert_eq!(entries[0]["fieldsV1"]["f:spec"]["f:replicas"], json!({}));
}

#[test]
fn scaling_takes_over_the_replicas() {
    let deployment = |replicas: i64| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": replicas, "paused": true}});
    let mut live = deployment(1);
    track_update(DEPLOYMENT, "apps/v1", None, &mut live, "creator", None, at(1));
    let scaled = |replicas: i64| {
        let mut new = deployment(replicas);
        new["metadata"] = live["metadata"].clone();
        track_scale(DEPLOYMENT, "apps/v1", &live, &mut new, "scaler", at(2));
        owners(&new)
    };
    let creator = entry("creator Update 01", json!({"f:spec": {"f:paused": {}}}));
    let scaler = entry("scaler Update 02", json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(scaled(3), [creator.clone(), scaler]);
    assert_eq!(scaled(0), [creator]);
    assert_eq!(scaled(1), owners(&live));
}

#[test]
fn times_alone_are_no_change() {
    let live = create(config_map(json!({"x": "1"})), "creator");
    let mut new = live.clone();
    new["metadata"]["managedFields"][0]["time"] = json!("2030-01-01T00:00:00Z");
    keep_timestamps(&live, &mut new);
    assert_eq!(new, live);
    new["data"]["x"] = json!("2");
    new["metadata"]["managedFields"][0]["time"] = json!("2030-01-01T00:00:00Z");
    keep_timestamps(&live, &mut new);
    assert_eq!(new["metadata"]["managedFields"][0]["time"], "2030-01-01T00:00:00Z");
}

proptest::proptest! {
    #[test]
    fn applying_the_same_twice_changes_nothing(
        keys in proptest::collection::btree_map("[a-d]", "[0-9]", 0..4),
        others in proptest::collection::btree_map("[a-f]", "[0-9]", 0..4),
    ) {
        let live = create(config_map(json!(others)), "creator");
        let once = apply_map(Some(&live), json!(keys), "m1", true).unwrap();
        for (key, value) in &keys {
            proptest::prop_assert_eq!(&once["data"][key], value);
        }
        let twice = apply_map(Some(&once), json!(keys), "m1", false).unwrap();
        proptest::prop_assert_eq!(once, twice);
    }
}
