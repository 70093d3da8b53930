use super::*;
use k8s_openapi::serde_json::{self, json};

fn set(replicas: i32) -> ReplicaSet {
    let value = json!({
        "metadata": {"name": "web-abc", "namespace": "default", "uid": "rs", "generation": 3},
        "spec": {
            "replicas": replicas, "minReadySeconds": 10, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web", "tier": "front"}}, "spec": {"containers": []}},
        },
    });
    serde_json::from_value(value).expect("a ReplicaSet")
}

fn pod(name: &str, node: Option<&str>, phase: &str, ready_at: Option<i64>) -> Arc<Pod> {
    let ready = ready_at
        .map(|seconds| json!([{"type": "Ready", "status": "True", "lastTransitionTime": at(seconds).to_string()}]));
    let value = json!({
        "metadata": {"name": name, "uid": name, "labels": {"app": "web"}},
        "spec": {"containers": [], "nodeName": node},
        "status": {"phase": phase, "conditions": ready},
    });
    Arc::new(serde_json::from_value(value).expect("a Pod"))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).expect("valid")
}

fn deleted(plan: Plan) -> Vec<String> {
    let Plan::Delete(pods) = plan else { panic!("expected deletions, got {plan:?}") };
    pods.iter().map(|pod| pod.name_any()).collect()
}

#[test]
fn missing_pods_are_created_up_to_the_burst() {
    let pods = [pod("one", None, "Pending", None)];
    assert!(matches!(plan(&set(3), &pods, &pods), Plan::Create(2)));
    assert!(matches!(plan(&set(9_000), &pods, &pods), Plan::Create(BURST_MAX)));
    assert!(matches!(plan(&set(1), &pods, &pods), Plan::Nothing));
}

#[test]
fn the_least_missed_pods_go_first() {
    let pods = [
        pod("old", Some("a"), "Running", Some(0)),
        pod("young", Some("b"), "Running", Some(60)),
        pod("unready", Some("a"), "Running", None),
        pod("pending", Some("a"), "Pending", None),
        pod("unassigned", None, "Pending", None),
    ];
    assert_eq!(deleted(plan(&set(1), &pods, &[])), ["unassigned", "pending", "unready", "young"]);
}

#[test]
fn a_crowded_node_gives_up_a_pod_first() {
    let pods = [pod("alone", Some("a"), "Running", Some(60)), pod("crowded", Some("b"), "Running", Some(0))];
    let related = [pods[0].clone(), pods[1].clone(), pod("other", Some("b"), "Running", Some(0))];
    assert_eq!(deleted(plan(&set(1), &pods, &related)), ["crowded"]);
}

#[test]
fn status_counts_ready_available_and_labelled_pods() {
    let pods =
        [pod("a", None, "Running", Some(0)), pod("b", None, "Running", Some(95)), pod("c", None, "Pending", None)];
    let status = status(&set(3), &pods, None, at(100));
    assert_eq!((status.replicas, status.ready_replicas, status.available_replicas), (3, Some(2), Some(1)));
    assert_eq!((status.fully_labeled_replicas, status.observed_generation), (None, Some(3)));
    assert_eq!(recheck_after(&set(3), &status, at(100), &pods), Some(Duration::from_secs(5)));
}

#[test]
fn a_failure_is_a_condition_until_an_attempt_goes_well() {
    let mut set = set(1);
    let failure = Failure { reason: "FailedCreate", message: "quota".to_owned() };
    set.status = Some(status(&set, &[], Some(failure), at(0)));
    let condition = |status: &ReplicaSetStatus| status.conditions.clone().map(|all| all[0].reason.clone());
    assert_eq!(condition(set.status.as_ref().expect("set above")), Some(Some("FailedCreate".to_owned())));
    assert_eq!(condition(&status(&set, &[], None, at(1))), None);
}

#[test]
fn a_pod_carries_the_template_and_its_owner() {
    let pod = pod_from_template(&set(1));
    assert_eq!(pod.metadata.generate_name.as_deref(), Some("web-abc-"));
    assert_eq!(pod.labels().get("tier").map(String::as_str), Some("front"));
    let owner = &pod.owner_references()[0];
    assert_eq!((owner.kind.as_str(), owner.api_version.as_str()), ("ReplicaSet", "apps/v1"));
    assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(true)));
}
