use super::*;
use k8s_openapi::serde_json::{self, Value, json};
use kube::ResourceExt;

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).expect("valid")
}

fn job(spec: Value, status: Value) -> Job {
    let mut whole = json!({
        "parallelism": 1, "completions": 1, "backoffLimit": 6, "suspend": false,
        "template": {"spec": {"containers": [{"name": "c"}], "restartPolicy": "Never"}},
    });
    for (name, value) in spec.as_object().expect("an object") {
        whole[name] = value.clone();
    }
    let metadata = json!({"name": "sum", "namespace": "default", "uid": "job"});
    serde_json::from_value(json!({"metadata": metadata, "spec": whole, "status": status})).expect("a Job")
}

/// A pod named by its number, state and index, as `1-failed` or `2-running-0`.
/// Ended pods ended a minute ago.
fn pod(name: &str) -> Arc<Pod> {
    let mut parts = name.split('-').skip(1);
    let state = parts.next().unwrap_or_default();
    let index = parts.next();
    let phase = match state {
        "failed" | "freed" => "Failed",
        "succeeded" => "Succeeded",
        _ => "Running",
    };
    let ended = json!([{"name": "c", "ready": false, "restartCount": if state == "restarted" { 7 } else { 0 }, "image": "", "imageID": "",
        "state": {"terminated": {"exitCode": if state == "failed" { 42 } else { 0 }, "finishedAt": "2023-11-14T22:12:20Z"}}}]);
    let finalizers = (state != "freed").then(|| json!([pods::FINALIZER]));
    let value = json!({
        "metadata": {
            "name": name, "namespace": "default", "uid": name, "finalizers": finalizers,
            "annotations": index.map(|index| json!({"batch.kubernetes.io/job-completion-index": index})),
            "deletionTimestamp": (state == "leaving").then_some("2023-11-14T22:12:20Z"),
        },
        "spec": {"containers": [], "nodeName": "n"},
        "status": {"phase": phase, "containerStatuses": ended},
    });
    Arc::new(serde_json::from_value(value).expect("a Pod"))
}

fn step(job: &Job, names: &[&str]) -> Plan {
    let pods: Vec<_> = names.iter().map(|name| pod(name)).collect();
    plan(&View { job, pods: &pods, released: &HashSet::new(), is_current: true, now: now() })
}

fn names(pods: &[Arc<Pod>]) -> Vec<String> {
    pods.iter().map(|pod| pod.name_any()).collect()
}

fn reason(status: &JobStatus, type_: &str) -> Option<String> {
    condition(status, type_).and_then(|known| known.reason.clone())
}

#[test]
fn as_many_pods_as_may_run_are_made() {
    for (spec, have, made) in [
        (json!({}), vec![], 1),
        (json!({"completions": 5, "parallelism": 3}), vec![], 3),
        (json!({"completions": 5, "parallelism": 3}), vec!["1-running", "2-succeeded"], 2),
        (json!({"completions": 2, "parallelism": 3}), vec!["1-succeeded"], 1),
        (json!({"completions": null, "parallelism": 2}), vec!["1-running"], 1),
        (json!({"completions": null, "parallelism": 2}), vec!["1-running", "2-succeeded"], 0),
        (json!({"parallelism": 0}), vec![], 0),
        (json!({"suspend": true}), vec![], 0),
        (json!({"completions": 9000, "parallelism": 9000}), vec![], BURST_MAX),
    ] {
        let plan = step(&job(spec.clone(), json!({})), &have);
        assert_eq!(plan.create.len(), made, "{spec} with {have:?}");
        assert_eq!(plan.status.start_time.is_some(), spec["suspend"] != true);
        assert!(plan.create.iter().all(pods::is_tracked));
    }
}

#[test]
fn surplus_pods_go_and_a_suspended_job_has_none() {
    let plan = step(&job(json!({"completions": 9}), json!({})), &["1-running", "2-running"]);
    assert_eq!(plan.delete.len(), 1);
    let plan = step(
        &job(json!({"suspend": true, "completions": 9, "parallelism": 2}), json!({})),
        &["1-running", "2-running"],
    );
    assert_eq!((plan.delete.len(), plan.pause, plan.status.active), (2, Some(Pause::Suspended), None));
    let conditions = serde_json::to_value(&plan.status.conditions).expect("conditions");
    let suspended = json!({"suspend": false});
    let plan = step(&job(suspended, json!({"conditions": conditions, "startTime": "2023-01-01T00:00:00Z"})), &[]);
    assert_eq!((plan.pause, plan.status.start_time.map(|time| time.0)), (Some(Pause::Resumed), Some(now())));
}

#[test]
fn a_pod_is_named_before_it_is_counted() {
    let job = job(json!({}), json!({}));
    let plan = step(&job, &["1-succeeded"]);
    let uncounted = plan.status.uncounted_terminated_pods.clone().expect("named");
    assert_eq!((uncounted.succeeded, plan.status.succeeded), (Some(vec!["1-succeeded".to_owned()]), None));
    assert_eq!(names(&plan.release), ["1-succeeded"]);
    assert_eq!(reason(&plan.status, "SuccessCriteriaMet").as_deref(), Some("CompletionsReached"));

    // Not yet let go of: nothing is counted, and the Job is not over.
    let held = settle(plan.status.clone(), &plan.release, &HashSet::new());
    assert_eq!(held.succeeded, None);
    assert!(!finish(held, plan.finish.as_ref()).1);

    let released = HashSet::from(["1-succeeded".to_owned()]);
    let (status, is_over) = finish(settle(plan.status, &plan.release, &released), plan.finish.as_ref());
    assert!(is_over && status.completion_time.is_some());
    assert_eq!((status.succeeded, reason(&status, "Complete").as_deref()), (Some(1), Some("CompletionsReached")));
    assert_eq!(status.uncounted_terminated_pods, Some(UncountedTerminatedPods::default()));
}

#[test]
fn an_interrupted_count_is_finished_once() {
    // The status names a pod whose finalizer is gone, and the cache is behind on another.
    let status =
        json!({"failed": 2, "startTime": "2023-11-14T22:00:00Z", "uncountedTerminatedPods": {"failed": ["1-freed"]}});
    let job = job(json!({}), status);
    let pods = [pod("1-freed"), pod("2-failed")];
    let released = HashSet::from(["2-failed".to_owned()]);
    let plan = plan(&View { job: &job, pods: &pods, released: &released, is_current: true, now: now() });
    assert_eq!(plan.status.failed, Some(3));
    assert!(plan.release.is_empty());
}

#[test]
fn a_hopeless_job_ends_its_pods_and_waits_for_them() {
    let limit = json!({"backoffLimit": 0, "parallelism": 2, "completions": 2});
    let plan = step(&job(limit, json!({})), &["1-failed", "2-running"]);
    assert_eq!(names(&plan.delete), ["2-running"]);
    assert_eq!(reason(&plan.status, "FailureTarget").as_deref(), Some("BackoffLimitExceeded"));
    assert_eq!((plan.status.active, plan.status.terminating), (None, Some(1)));
    let released = HashSet::from(["1-failed".to_owned()]);
    let counted = settle(plan.status.clone(), &plan.release, &released);
    assert!(!finish(counted.clone(), plan.finish.as_ref()).1, "a pod is still going");

    let status = serde_json::to_value(&counted).expect("a status");
    let next = step(&job(json!({"backoffLimit": 0, "completions": 2}), status), &["1-freed", "2-leaving"]);
    assert_eq!(names(&next.release), ["2-leaving"]);
    let after = json!({"failed": 2, "conditions": serde_json::to_value(&counted.conditions).expect("conditions")});
    let last = step(&job(json!({"backoffLimit": 0}), after), &["1-freed"]);
    let (status, is_over) = finish(last.status, last.finish.as_ref());
    assert!(is_over);
    assert_eq!(reason(&status, "Failed").as_deref(), Some("BackoffLimitExceeded"));
    assert_eq!(status.completion_time, None);
}

#[test]
fn a_job_fails_for_these_reasons() {
    let policy = json!({"rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
    ]});
    let in_place = json!({"spec": {"containers": [], "restartPolicy": "OnFailure"}});
    let old = json!({"startTime": "2023-11-14T22:00:00Z"});
    for (spec, status, have, expect) in [
        (json!({"backoffLimit": 1}), json!({}), vec!["1-failed"], None),
        (json!({"backoffLimit": 1}), json!({}), vec!["1-failed", "2-failed"], Some("BackoffLimitExceeded")),
        (json!({"template": in_place}), json!({}), vec!["1-restarted"], Some("BackoffLimitExceeded")),
        (json!({"activeDeadlineSeconds": 30}), old.clone(), vec!["1-running"], Some("DeadlineExceeded")),
        (json!({"activeDeadlineSeconds": 3000}), old, vec!["1-running"], None),
        (json!({"podFailurePolicy": policy}), json!({}), vec!["1-failed"], Some("PodFailurePolicy")),
    ] {
        let plan = step(&job(spec.clone(), status), &have);
        assert_eq!(reason(&plan.status, "FailureTarget").as_deref(), expect, "{spec} with {have:?}");
    }
}

#[test]
fn a_pause_follows_a_failure_and_doubles() {
    let many = json!({"backoffLimit": 20});
    // They ended 60 s ago: pauses of 10, 20 and 40 s are over, that of 80 s is not.
    assert_eq!(step(&job(many.clone(), json!({})), &["1-failed", "2-failed", "3-failed"]).create.len(), 1);
    let plan = step(&job(many.clone(), json!({})), &["1-failed", "2-failed", "3-failed", "4-failed"]);
    assert_eq!((plan.create.len(), plan.again), (0, Some(Duration::from_secs(20))));
    // A deadline before the end of the pause is the sooner one.
    let deadline = json!({"backoffLimit": 20, "activeDeadlineSeconds": 605});
    let status = json!({"startTime": "2023-11-14T22:03:20Z"});
    let plan = step(&job(deadline, status), &["1-failed", "2-failed", "3-failed", "4-failed"]);
    assert_eq!(plan.again, Some(Duration::from_secs(5)));
}

#[test]
fn each_index_is_done_once() {
    let indexed = json!({"completionMode": "Indexed", "completions": 4, "parallelism": 4});
    let have = ["1-succeeded-0", "2-running-2", "3-running-2", "4-running"];
    let plan = step(&job(indexed.clone(), json!({})), &have);
    assert_eq!(plan.delete.len(), 2, "one of index 2 and the one without: {:?}", names(&plan.delete));
    assert_eq!((plan.status.completed_indexes.as_deref(), plan.status.succeeded), (Some("0"), Some(1)));

    let plan = step(&job(indexed, json!({"completedIndexes": "0"})), &["2-running-2"]);
    let index = |pod: &Pod| pod.annotations().get("batch.kubernetes.io/job-completion-index").cloned();
    assert_eq!(plan.create.iter().filter_map(index).collect::<Vec<_>>(), ["1", "3"]);
    let pod = &plan.create[0];
    assert_eq!(pod.metadata.generate_name.as_deref(), Some("sum-1-"));
    let spec = pod.spec.clone().expect("a spec");
    assert_eq!(spec.hostname.as_deref(), Some("sum-1"));
    assert_eq!(spec.containers[0].env.as_ref().map(|env| env[0].name.as_str()), Some("JOB_COMPLETION_INDEX"));
}

#[test]
fn a_stale_cache_makes_nothing() {
    let job = job(json!({}), json!({}));
    let plan = plan(&View { job: &job, pods: &[], released: &HashSet::new(), is_current: false, now: now() });
    assert!(plan.create.is_empty() && plan.finish.is_none());
}
