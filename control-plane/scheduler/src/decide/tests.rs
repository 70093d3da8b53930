use super::*;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};
use std::sync::Arc;

fn cluster(nodes: &[Value]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (index, node) in nodes.iter().enumerate() {
        let mut value = json!({
            "metadata": {"name": format!("n{index}"), "labels": {"kubernetes.io/hostname": format!("n{index}")}},
            "status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "10"}},
        });
        merge(&mut value, node);
        snapshot.put_node(&serde_json::from_value::<Node>(value).expect("a node"));
    }
    snapshot
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn pod(name: &str, spec: Value) -> Arc<PodInfo> {
    let mut value = json!({
        "metadata": {"name": name, "uid": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c"}]},
    });
    merge(&mut value["spec"], &spec);
    Arc::new(PodInfo::of(&serde_json::from_value::<Pod>(value).expect("a pod")))
}

fn asks(cpu: &str, memory: &str) -> Value {
    json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]})
}

fn first(_: u64) -> u64 {
    0
}

fn node_for(pod: &PodInfo, snapshot: &Snapshot) -> String {
    match decide(pod, snapshot, first) {
        Decision::Bind(node) => node,
        Decision::Unschedulable(diagnosis, _) => diagnosis.message(),
    }
}

#[test]
fn the_reasons_are_upstreams_words() {
    let tainted = json!({"spec": {"taints": [{"key": "key", "value": "value", "effect": "NoSchedule"}]}});
    let snapshot = cluster(&[json!({}), tainted.clone(), tainted]);
    let message = node_for(&pod("a", asks("100m", "2Gi")), &snapshot);
    assert_eq!(
        message,
        "0/3 nodes are available: 1 Insufficient memory, 2 node(s) had untolerated taint {key: value}. \
         preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    );
    assert_eq!(node_for(&pod("a", json!({})), &Snapshot::default()), "no nodes available to schedule pods");
}

#[test]
fn a_full_node_could_yield_and_a_cordoned_one_not() {
    let mut snapshot = cluster(&[json!({}), json!({"spec": {"unschedulable": true}})]);
    snapshot.put_pod(pod("there", asks("800m", "1Mi")), "n0");
    let message = node_for(&pod("a", asks("300m", "1Mi")), &snapshot);
    assert_eq!(
        message,
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable. preemption: 0/2 nodes are \
         available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."
    );
}

#[test]
fn pods_go_to_the_emptier_node() {
    let mut snapshot = cluster(&[json!({}), json!({})]);
    snapshot.put_pod(pod("there", asks("500m", "500Mi")), "n0");
    assert_eq!(node_for(&pod("a", json!({})), &snapshot), "n1");
}

#[test]
fn a_node_takes_only_so_many_pods() {
    let mut snapshot = cluster(&[json!({"status": {"allocatable": {"pods": "1"}}})]);
    snapshot.put_pod(pod("there", json!({})), "n0");
    assert!(node_for(&pod("a", json!({})), &snapshot).starts_with("0/1 nodes are available: 1 Too many pods. "));
}

#[test]
fn selectors_and_affinity_choose_nodes() {
    let disk = |kind: &str| json!({"metadata": {"labels": {"disk": kind}}});
    let snapshot = cluster(&[disk("hdd"), disk("ssd"), json!({})]);
    assert_eq!(node_for(&pod("a", json!({"nodeSelector": {"disk": "ssd"}})), &snapshot), "n1");
    let affinity = |rule: &str, terms: Value| json!({"affinity": {"nodeAffinity": {rule: terms}}});
    let expression =
        |operator: &str| json!({"matchExpressions": [{"key": "disk", "operator": operator, "values": []}]});
    let required = affinity(
        "requiredDuringSchedulingIgnoredDuringExecution",
        json!({"nodeSelectorTerms": [expression("DoesNotExist")]}),
    );
    assert_eq!(node_for(&pod("a", required), &snapshot), "n2");
    let by_name = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]});
    let by_name = affinity("requiredDuringSchedulingIgnoredDuringExecution", json!({"nodeSelectorTerms": [by_name]}));
    assert_eq!(node_for(&pod("a", by_name), &snapshot), "n1");
    let preferred = affinity(
        "preferredDuringSchedulingIgnoredDuringExecution",
        json!([{"weight": 50, "preference": expression("DoesNotExist")}]),
    );
    assert_eq!(node_for(&pod("a", preferred), &snapshot), "n2");
    assert!(
        node_for(&pod("a", json!({"nodeSelector": {"disk": "tape"}})), &snapshot)
            .starts_with("0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: ")
    );
}

#[test]
fn a_toleration_opens_a_tainted_node() {
    let snapshot = cluster(&[json!({"spec": {"taints": [{"key": "gpu", "value": "yes", "effect": "NoExecute"}]}})]);
    let tolerates = |toleration: Value| node_for(&pod("a", json!({"tolerations": [toleration]})), &snapshot);
    assert_eq!(tolerates(json!({"key": "gpu", "operator": "Exists"})), "n0");
    assert_eq!(tolerates(json!({"key": "gpu", "value": "yes", "effect": "NoExecute"})), "n0");
    assert_ne!(tolerates(json!({"key": "gpu", "value": "no"})), "n0");
    assert_ne!(tolerates(json!({"key": "gpu", "operator": "Exists", "effect": "NoSchedule"})), "n0");
}

#[test]
fn a_host_port_is_taken_once_per_node() {
    let port = json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]});
    let mut snapshot = cluster(&[json!({}), json!({})]);
    snapshot.put_pod(pod("there", port.clone()), "n0");
    assert_eq!(node_for(&pod("a", port.clone()), &snapshot), "n1");
    snapshot.put_pod(pod("a", port.clone()), "n1");
    assert!(
        node_for(&pod("b", port), &snapshot).contains("2 node(s) didn't have free ports for the requested pod ports")
    );
}

#[test]
fn spread_constraints_bound_the_skew() {
    let zone = |name: &str| json!({"metadata": {"labels": {"zone": name}}});
    let mut snapshot = cluster(&[zone("a"), zone("b"), json!({})]);
    let constraint = json!({"topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }]});
    snapshot.put_pod(pod("there", json!({})), "n0");
    assert_eq!(node_for(&pod("a", constraint.clone()), &snapshot), "n1");
    snapshot.put_node(
        &serde_json::from_value(json!({
            "metadata": {"name": "n1", "labels": {"zone": "b"}}, "spec": {"unschedulable": true},
            "status": {"allocatable": {"cpu": "1", "memory": "1Gi"}},
        }))
        .expect("a node"),
    );
    let message = node_for(&pod("a", constraint), &snapshot);
    assert!(message.contains("1 node(s) didn't match pod topology spread constraints,"), "{message}");
    assert!(
        message.contains("1 node(s) didn't match pod topology spread constraints (missing required label)"),
        "{message}"
    );
}

#[test]
fn pods_of_one_controller_spread() {
    let mut snapshot = cluster(&[json!({}), json!({}), json!({})]);
    let mut nodes = BTreeSet::new();
    for name in ["a", "b", "c"] {
        let pod = PodInfo { controller: Some("rs".into()), ..(*pod(name, json!({}))).clone() };
        let node = node_for(&pod, &snapshot);
        snapshot.put_pod(Arc::new(pod), &node);
        nodes.insert(node);
    }
    assert_eq!(nodes.len(), 3);
}

fn affinity(kind: &str, rule: &str, terms: Value) -> Value {
    json!({"affinity": {kind: {format!("{rule}DuringSchedulingIgnoredDuringExecution"): terms}}})
}

fn about(app: &str, key: &str) -> Value {
    json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key})
}

fn zones() -> Snapshot {
    let zone = |name: &str| json!({"metadata": {"labels": {"zone": name}}});
    cluster(&[zone("a"), zone("a"), zone("b"), json!({})])
}

#[test]
fn pods_that_must_be_near_others_are() {
    let mut snapshot = zones();
    let near = |app| affinity("podAffinity", "required", json!([about(app, "zone")]));
    snapshot.put_pod(pod("there", json!({})), "n2");
    assert_eq!(node_for(&pod("a", near("web")), &snapshot), "n2");
    assert_eq!(
        node_for(&pod("a", near("db")), &snapshot),
        "0/4 nodes are available: 4 node(s) didn't match pod affinity rules. preemption: 0/4 nodes are available: 4 \
         Preemption is not helpful for scheduling."
    );
}

#[test]
fn the_first_of_a_group_that_wants_to_be_together_may_go_anywhere_with_the_label() {
    let snapshot = zones();
    let near = affinity("podAffinity", "required", json!([about("web", "zone")]));
    assert!(["n0", "n1", "n2"].contains(&node_for(&pod("a", near), &snapshot).as_str()));
}

#[test]
fn pods_that_must_be_far_from_each_other_are_from_either_side() {
    let mut snapshot = zones();
    let far = affinity("podAntiAffinity", "required", json!([about("web", "kubernetes.io/hostname")]));
    for (name, expected) in [("a", 4), ("b", 3), ("c", 2), ("d", 1)] {
        let pod = pod(name, far.clone());
        let node = node_for(&pod, &snapshot);
        assert!(node.starts_with('n') && node.len() == 2, "{name} of {expected}: {node}");
        snapshot.put_pod(pod, &node);
    }
    let message = node_for(&pod("e", far), &snapshot);
    assert!(
        message.starts_with("0/4 nodes are available: 4 node(s) didn't match pod anti-affinity rules."),
        "{message}"
    );
    let message = node_for(&pod("plain", json!({})), &snapshot);
    assert!(message.contains("4 node(s) didn't satisfy existing pods anti-affinity rules."), "{message}");
    let mut elsewhere = (*pod("other", json!({}))).clone();
    elsewhere.namespace = "elsewhere".to_owned();
    assert_eq!(node_for(&elsewhere, &snapshot).len(), 2, "a rule is about its own namespace");
}

#[test]
fn a_rule_may_be_about_namespaces_with_a_label() {
    let mut snapshot = zones();
    snapshot.put_pod(pod("there", json!({})), "n2");
    let mut term = about("web", "zone");
    term["namespaceSelector"] = json!({"matchLabels": {"team": "blue"}});
    let near = pod("a", affinity("podAffinity", "required", json!([term])));
    let mut near = (*near).clone();
    near.namespace = "other".to_owned();
    near.labels.clear();
    assert!(node_for(&near, &snapshot).contains("didn't match pod affinity rules"));
    snapshot.put_namespace("default".to_owned(), [("team".to_owned(), "blue".to_owned())].into());
    assert_eq!(node_for(&near, &snapshot), "n2");
}

#[test]
fn preferences_about_other_pods_weigh_in() {
    let mut snapshot = cluster(&[json!({}), json!({}), json!({})]);
    snapshot.put_pod(pod("there", json!({})), "n1");
    let wish = |kind| {
        let term = json!({"weight": 100, "podAffinityTerm": about("web", "kubernetes.io/hostname")});
        affinity(kind, "preferred", json!([term]))
    };
    assert_eq!(node_for(&pod("a", wish("podAffinity")), &snapshot), "n1");
    assert_ne!(node_for(&pod("a", wish("podAntiAffinity")), &snapshot), "n1");
}
