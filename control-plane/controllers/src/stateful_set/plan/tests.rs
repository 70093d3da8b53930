use super::*;
use k8s_openapi::serde_json::{self, Value, json};
use kube::ResourceExt;

fn set(spec: Value) -> StatefulSet {
    let mut whole = json!({"replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": []}}});
    for (name, value) in spec.as_object().expect("an object") {
        whole[name] = value.clone();
    }
    let metadata = json!({"name": "db", "namespace": "default", "uid": "sts", "generation": 4});
    serde_json::from_value(json!({"metadata": metadata, "spec": whole})).expect("a StatefulSet")
}

/// A pod by its ordinal, revision and state, as `0-new-ready`.
fn pod(text: &str) -> Arc<Pod> {
    let mut parts = text.split('-');
    let (number, revision) = (parts.next().unwrap_or_default(), parts.next());
    let state = parts.next().unwrap_or_default();
    let phase = match state {
        "failed" => "Failed",
        "pending" => "Pending",
        _ => "Running",
    };
    let ready = if state == "ready" { "True" } else { "False" };
    let value = json!({
        "metadata": {"name": format!("db-{number}"), "uid": text, "labels": {"controller-revision-hash": revision},
            "deletionTimestamp": (state == "leaving").then_some("2023-11-14T22:13:20Z")},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "2023-11-14T22:13:20Z"}]},
    });
    Arc::new(serde_json::from_value(value).expect("a Pod"))
}

fn with<T>(set: &StatefulSet, have: &[&str], look: impl FnOnce(&View<'_>) -> T) -> T {
    let pods: Vec<_> = have.iter().map(|text| pod(text)).collect();
    let revision = |name: &str| Revision { name: name.to_owned(), template: PodTemplateSpec::default() };
    let now = Timestamp::from_second(1_700_000_100).expect("valid");
    look(&View { set, pods: &pods, current: &revision("old"), update: &revision("new"), now })
}

/// Pods made, as `db-0 new`, and pods ended.
fn step(set: &StatefulSet, have: &[&str]) -> (Vec<String>, Vec<String>) {
    let plan = with(set, have, plan);
    let made = plan.create.iter().map(|pod| format!("{} {}", pod.name_any(), identity::revision(pod)));
    (made.collect(), plan.delete.iter().map(|pod| pod.name_any()).collect())
}

#[test]
fn pods_come_and_go_in_order() {
    for (have, made, gone) in [
        (vec![], vec!["db-0 new"], vec![]),
        (vec!["0-new-pending"], vec![], vec![]),
        (vec!["0-new-ready"], vec!["db-1 new"], vec![]),
        (vec!["0-new-ready", "2-new-ready"], vec!["db-1 new"], vec![]),
        (vec!["0-new-ready", "1-new-failed", "2-new-ready"], vec![], vec!["db-1"]),
        (vec!["0-new-ready", "1-new-leaving"], vec![], vec![]),
        (vec!["0-new-ready", "1-new-ready", "2-new-ready", "3-new-ready", "4-new-ready"], vec![], vec!["db-4"]),
        (vec!["0-new-ready", "1-new-ready", "2-new-ready", "3-new-ready", "4-new-leaving"], vec![], vec![]),
        (vec!["0-new-ready", "1-new-ready", "2-new-unready", "3-new-ready"], vec![], vec![]),
        (vec!["0-new-ready", "1-new-ready", "2-new-ready", "3-new-unready", "4-new-unready"], vec![], vec![]),
        (vec!["0-new-ready", "1-new-ready", "2-new-ready", "3-new-unready"], vec![], vec!["db-3"]),
    ] {
        assert_eq!(step(&set(json!({})), &have), (strings(&made), strings(&gone)), "{have:?}");
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn parallel_pods_do_not_wait() {
    let set = set(json!({"podManagementPolicy": "Parallel", "replicas": 2}));
    assert_eq!(step(&set, &[]).0, ["db-0 new", "db-1 new"]);
    assert_eq!(step(&set, &["0-new-pending", "1-new-pending", "2-new-ready", "3-new-ready"]).1, ["db-3", "db-2"]);
}

#[test]
fn a_rollout_goes_down_to_the_partition() {
    let rolling = |partition: i32| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}});
    for (spec, have, made, gone) in [
        (rolling(0), vec!["0-old-ready", "1-old-ready", "2-old-ready"], vec![], vec!["db-2"]),
        (rolling(0), vec!["0-old-ready", "1-old-ready"], vec!["db-2 new"], vec![]),
        (rolling(0), vec!["0-old-ready", "1-old-ready", "2-new-unready"], vec![], vec![]),
        (rolling(0), vec!["0-old-ready", "1-old-ready", "2-new-ready"], vec![], vec!["db-1"]),
        (rolling(2), vec!["0-old-ready", "1-old-ready", "2-new-ready"], vec![], vec![]),
        (rolling(2), vec!["0-old-ready", "2-new-ready"], vec!["db-1 old"], vec![]),
        (
            json!({"updateStrategy": {"type": "OnDelete"}}),
            vec!["0-old-ready", "1-old-ready", "2-old-ready"],
            vec![],
            vec![],
        ),
        (json!({"updateStrategy": {"type": "OnDelete"}}), vec!["0-old-ready", "2-old-ready"], vec!["db-1 new"], vec![]),
    ] {
        assert_eq!(step(&set(spec.clone()), &have), (strings(&made), strings(&gone)), "{spec} with {have:?}");
    }
}

#[test]
fn ordinals_may_start_anywhere() {
    let set = set(json!({"replicas": 2, "ordinals": {"start": 5}}));
    assert_eq!(step(&set, &["5-new-ready"]).0, ["db-6 new"]);
    assert_eq!(step(&set, &["4-new-ready", "5-new-ready", "6-new-ready"]).1, ["db-4"]);
}

#[test]
fn a_pod_has_its_number_in_name_host_and_labels() {
    let claims = json!([{"metadata": {"name": "data"}, "spec": {}}]);
    let set = set(json!({"volumeClaimTemplates": claims}));
    let template = set.spec.clone().expect("a spec").template;
    let pod = identity::pod_for(&set, &template, "db-x", 7);
    let spec = pod.spec.clone().expect("a spec");
    assert_eq!(
        (pod.name_any().as_str(), spec.hostname.as_deref(), spec.subdomain.as_deref()),
        ("db-7", Some("db-7"), Some("db"))
    );
    assert_eq!(pod.labels()["statefulset.kubernetes.io/pod-name"], "db-7");
    assert_eq!(pod.labels()["apps.kubernetes.io/pod-index"], "7");
    let claim = spec.volumes.expect("a volume")[0].persistent_volume_claim.clone().expect("a claim");
    assert_eq!(claim.claim_name, "data-db-7");
    assert!(identity::wants_claims(&set));
    assert_eq!((identity::ordinal(&set, &pod), pod.metadata.generate_name), (Some(7), None));
}

#[test]
fn a_finished_rollout_makes_its_revision_the_current_one() {
    let set = set(json!({}));
    let rolling = with(&set, &["0-old-ready", "1-new-ready", "2-new-unready"], status);
    assert_eq!((rolling.replicas, rolling.ready_replicas, rolling.current_replicas), (3, Some(2), Some(1)));
    assert_eq!((rolling.updated_replicas, rolling.current_revision.as_deref()), (Some(2), Some("old")));
    let over = with(&set, &["0-new-ready", "1-new-ready", "2-new-ready"], status);
    assert_eq!(
        (over.current_revision.as_deref(), over.current_replicas, over.available_replicas),
        (Some("new"), Some(3), Some(3))
    );
}
