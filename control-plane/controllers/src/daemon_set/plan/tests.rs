use super::*;
use k8s_openapi::serde_json::{self, Value, json};

fn set(strategy: Value) -> DaemonSet {
    let value = json!({
        "metadata": {"name": "logs", "namespace": "default", "uid": "ds", "generation": 2},
        "spec": {
            "selector": {"matchLabels": {"app": "logs"}}, "updateStrategy": strategy,
            "template": {
                "metadata": {"labels": {"app": "logs"}},
                "spec": {"containers": [], "nodeSelector": {"os": "wasm"}, "tolerations": [{"key": "mine", "operator": "Exists"}]},
            },
        },
    });
    serde_json::from_value(value).expect("a DaemonSet")
}

fn rolling(unavailable: Value, surge: Value) -> DaemonSet {
    set(json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}))
}

fn node(name: &str, taints: Value) -> Arc<Node> {
    let value = json!({"metadata": {"name": name, "labels": {"os": "wasm"}}, "spec": {"taints": taints}});
    Arc::new(serde_json::from_value(value).expect("a Node"))
}

fn nodes(names: &[&str]) -> Vec<Arc<Node>> {
    names.iter().map(|name| node(name, Value::Null)).collect()
}

/// A pod named by its node, revision and state, as `a-new-ready`.
fn pod(name: &str) -> Arc<Pod> {
    let mut parts = name.split('-');
    let (node, hash, state) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
    let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": "2023-11-14T22:13:20Z"}]);
    let (phase, conditions) = match state {
        "ready" => ("Running", ready),
        "failed" => ("Failed", Value::Null),
        "succeeded" => ("Succeeded", Value::Null),
        _ => ("Pending", Value::Null),
    };
    let deleted = (state == "leaving").then_some("2023-11-14T22:13:20Z");
    let value = json!({
        "metadata": {"name": name, "uid": name, "labels": {HASH_LABEL: hash}, "deletionTimestamp": deleted},
        "spec": {"containers": [], "nodeName": node},
        "status": {"phase": phase, "conditions": conditions},
    });
    Arc::new(serde_json::from_value(value).expect("a Pod"))
}

fn pods(names: &[&str]) -> Vec<Arc<Pod>> {
    names.iter().map(|name| pod(name)).collect()
}

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_100).expect("valid")
}

/// Nodes to get a pod, and pods to go.
fn step(set: &DaemonSet, nodes: &[Arc<Node>], have: &[&str]) -> (Vec<String>, Vec<String>) {
    let pods = pods(have);
    let plan = plan(&View::new(set, nodes, &pods, "new", now()), &|_| None);
    (plan.create, plan.delete.iter().map(|pod| pod.name_any()).collect())
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn every_node_that_fits_gets_one_pod() {
    let tainted = |key: &str, effect: &str| json!([{"key": key, "effect": effect}]);
    let mut other = (*node("unlabelled", Value::Null)).clone();
    other.metadata.labels = None;
    let nodes = [
        node("plain", Value::Null),
        node("cordoned", tainted("node.kubernetes.io/unschedulable", "NoSchedule")),
        node("lost", tainted("node.kubernetes.io/unreachable", "NoExecute")),
        node("mine", tainted("mine", "NoExecute")),
        node("closed", tainted("theirs", "NoSchedule")),
        node("hostile", tainted("theirs", "NoExecute")),
        Arc::new(other),
    ];
    let set = rolling(json!(1), json!(0));
    let every = strings(&["plain", "cordoned", "lost", "mine"]);
    assert_eq!(step(&set, &nodes, &[]), (every, vec![]));
    // A pod stays where new ones may not go, and leaves where none may be.
    let have = ["plain-new-ready", "cordoned-new-ready", "lost-new", "mine-new-ready", "closed-new-ready"];
    assert_eq!(step(&set, &nodes, &have), (vec![], vec![]));
    let (_, gone) = step(&set, &nodes, &["hostile-new-ready", "unlabelled-new-ready"]);
    assert_eq!(gone, strings(&["hostile-new-ready", "unlabelled-new-ready"]));
}

#[test]
fn doubles_and_ended_pods_go() {
    let set = rolling(json!(1), json!(0));
    let one = nodes(&["a"]);
    for (have, gone) in [
        (vec!["a-new-ready", "a-new"], vec!["a-new-ready"]),
        (vec!["a-new-failed"], vec!["a-new-failed"]),
        (vec!["a-new-succeeded"], vec!["a-new-succeeded"]),
        (vec!["a-new-leaving"], vec![]),
        (vec!["b-new-ready"], vec![]), // the pod garbage collector's business
    ] {
        assert_eq!(step(&set, &one, &have).1, strings(&gone), "{have:?}");
    }
}

#[test]
fn a_failed_pod_is_replaced_after_its_pause() {
    let (set, nodes, pods) = (rolling(json!(1), json!(0)), nodes(&["a"]), pods(&["a-new-failed"]));
    let view = View::new(&set, &nodes, &pods, "new", now());
    let waiting = plan(&view, &|_| Some(Duration::from_secs(4)));
    assert!(waiting.delete.is_empty() && waiting.create.is_empty());
    assert_eq!(waiting.again, Some(Duration::from_secs(4)));
    let acting = plan(&view, &|_| None);
    assert_eq!((acting.failed.len(), acting.failed[0].node.as_str()), (1, "a"));
}

#[test]
fn a_rollout_keeps_to_what_may_be_unavailable() {
    let four = nodes(&["a", "b", "c", "d"]);
    let all_old = ["a-old-ready", "b-old-ready", "c-old-ready", "d-old-ready"];
    for (unavailable, have, gone) in [
        (json!(1), all_old.to_vec(), vec!["a-old-ready"]),
        (json!("50%"), all_old.to_vec(), vec!["a-old-ready", "b-old-ready"]),
        (json!(0), all_old.to_vec(), vec!["a-old-ready"]), // with 0 and 0 nothing could ever move
        (json!(1), vec!["a-new", "b-old-ready", "c-old-ready", "d-old-ready"], vec![]),
        (json!(2), vec!["a-new", "b-old-ready", "c-old-ready", "d-old-ready"], vec!["b-old-ready"]),
        (json!(1), vec!["a-new-ready", "b-old", "c-old", "d-old-ready"], vec!["b-old", "c-old", "d-old-ready"]),
        (json!(1), vec!["a-new-ready", "b-old-leaving", "c-old-ready", "d-old-ready"], vec![]),
    ] {
        assert_eq!(step(&rolling(unavailable, json!(0)), &four, &have), (vec![], strings(&gone)), "{have:?}");
    }
    assert_eq!(step(&set(json!({"type": "OnDelete"})), &four, &all_old), (vec![], vec![]));
}

#[test]
fn a_surging_rollout_keeps_the_old_pod_until_the_new_one_is_available() {
    let (set, two) = (rolling(json!(0), json!(1)), nodes(&["a", "b"]));
    for (have, made, gone) in [
        (vec!["a-old-ready", "b-old-ready"], vec!["a"], vec![]),
        (vec!["a-old-ready", "a-new", "b-old-ready"], vec![], vec![]),
        (vec!["a-old-ready", "a-new-ready", "b-old-ready"], vec![], vec!["a-old-ready"]),
        (vec!["a-new-ready", "b-old-ready"], vec!["b"], vec![]),
        (vec!["a-old", "b-old-ready"], vec!["a", "b"], vec![]),
    ] {
        assert_eq!(step(&set, &two, &have), (strings(&made), strings(&gone)), "{have:?}");
    }
}

#[test]
fn status_counts_nodes() {
    let set = rolling(json!(1), json!(0));
    let mut nodes = nodes(&["a", "b", "c"]);
    nodes.push(node("d", json!([{"key": "theirs", "effect": "NoSchedule"}])));
    let pods = pods(&["a-new-ready", "b-old-ready", "d-old-ready"]);
    let status = status(&View::new(&set, &nodes, &pods, "new", now()));
    assert_eq!((status.desired_number_scheduled, status.current_number_scheduled, status.number_ready), (3, 2, 2));
    assert_eq!((status.updated_number_scheduled, status.number_available), (Some(1), Some(2)));
    assert_eq!((status.number_unavailable, status.number_misscheduled), (Some(1), 1));
    assert_eq!(status.observed_generation, Some(2));
}

#[test]
fn a_pod_asks_for_its_node_and_tolerates_what_befalls_it() {
    let pod = eligibility::pod_for(&rolling(json!(1), json!(0)), "a", "h");
    assert_eq!(eligibility::target_node(&pod), Some("a"));
    assert_eq!(pod.labels().get(HASH_LABEL).map(String::as_str), Some("h"));
    let tolerations = pod.spec.and_then(|spec| spec.tolerations).unwrap_or_default();
    assert_eq!(tolerations.len(), 7, "its own and six of every daemon: {tolerations:?}");
}
