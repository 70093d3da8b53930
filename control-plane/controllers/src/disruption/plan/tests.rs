use super::*;
use k8s_openapi::serde_json::{self, Value, json};

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).expect("valid")
}

fn budget(spec: Value, disrupted: Value) -> PodDisruptionBudget {
    let value = json!({
        "metadata": {"name": "b", "namespace": "default", "generation": 3}, "spec": spec,
        "status": {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0, "disruptedPods": disrupted},
    });
    serde_json::from_value(value).expect("a budget")
}

fn pods(ready: usize, unready: usize) -> Vec<Arc<Pod>> {
    let pod = |index: usize| {
        let status = if index < ready { "True" } else { "False" };
        let value = json!({
            "metadata": {"name": format!("p{index}"), "namespace": "default"},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]},
        });
        Arc::new(serde_json::from_value(value).expect("a Pod"))
    };
    (0..ready + unready).map(pod).collect()
}

/// Allowed, healthy, desired and expected.
fn numbers(outcome: &Outcome) -> [i32; 4] {
    let status = &outcome.status;
    [status.disruptions_allowed, status.current_healthy, status.desired_healthy, status.expected_pods]
}

#[test]
fn what_is_allowed_follows_from_the_size_of_the_owner() {
    let of_four = |_: &Pod| Scale::Of("deployment".to_owned(), 4);
    for (spec, ready, unready, expect) in [
        (json!({"minAvailable": 2}), 3, 0, [1, 3, 2, 3]),
        (json!({"minAvailable": 2}), 1, 2, [0, 1, 2, 3]),
        (json!({"minAvailable": "50%"}), 3, 0, [1, 3, 2, 4]),
        (json!({"maxUnavailable": 1}), 4, 0, [1, 4, 3, 4]),
        (json!({"maxUnavailable": "30%"}), 4, 0, [2, 4, 2, 4]),
        (json!({"maxUnavailable": 9}), 1, 0, [1, 1, 0, 4]),
        (json!({"minAvailable": 0}), 0, 0, [0, 0, 0, 0]),
        (json!({}), 3, 0, [0, 3, 0, 0]),
    ] {
        let outcome = plan(&budget(spec.clone(), json!({})), &pods(ready, unready), &of_four, now());
        assert_eq!(numbers(&outcome), expect, "{spec} of {ready} ready and {unready} unready");
        let condition = &outcome.status.conditions.as_ref().expect("a condition")[0];
        let allowed = expect[0] > 0;
        assert_eq!(condition.reason, if allowed { "SufficientPods" } else { "InsufficientPods" });
        assert_eq!(
            (condition.status.as_str(), condition.observed_generation),
            (if allowed { "True" } else { "False" }, Some(3))
        );
        assert_eq!(outcome.status.observed_generation, Some(3));
    }
}

#[test]
fn an_evicted_pod_is_believed_to_go_for_two_minutes() {
    let map = json!({"p0": "2023-11-14T22:12:20Z", "p1": "2023-11-14T22:00:00Z", "gone": "2023-11-14T22:12:20Z"});
    let outcome = plan(&budget(json!({"minAvailable": 1}), map), &pods(3, 0), &|_| Scale::Unmanaged, now());
    assert_eq!(numbers(&outcome), [1, 2, 1, 3]);
    let kept: Vec<_> = outcome.status.disrupted_pods.clone().unwrap_or_default().into_keys().collect();
    assert_eq!(kept, ["p0"]);
    assert_eq!(outcome.not_deleted.iter().map(|pod| pod.name_any()).collect::<Vec<_>>(), ["p1"]);
    assert_eq!(outcome.again, Some(Duration::from_secs(61)));
}

#[test]
fn what_cannot_be_computed_allows_nothing() {
    let unknown = |_: &Pod| Scale::Unknown("jobs.batch does not implement the scale subresource".to_owned());
    let outcome = plan(&budget(json!({"maxUnavailable": 1}), json!({})), &pods(3, 0), &unknown, now());
    assert_eq!(outcome.status.disruptions_allowed, 0);
    let condition = &outcome.status.conditions.as_ref().expect("a condition")[0];
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "SyncFailed"));
    assert!(condition.message.contains("does not implement the scale subresource"));
    let unmanaged = plan(&budget(json!({"maxUnavailable": 1}), json!({})), &pods(3, 0), &|_| Scale::Unmanaged, now());
    assert!(unmanaged.has_unmanaged && numbers(&unmanaged)[0] == 0);
}
