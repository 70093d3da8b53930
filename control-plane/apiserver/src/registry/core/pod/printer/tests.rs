use super::*;

fn shown(pod: &Value) -> String {
    let now = "2026-01-01T01:00:00Z".parse().unwrap();
    let cells = row(pod, now);
    cells[1..4].iter().map(|cell| cell.as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

fn pod(phase: &str, containers: usize, statuses: Value) -> Value {
    let containers = vec![json!({}); containers];
    json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": containers},
        "status": {"phase": phase, "containerStatuses": statuses}})
}

#[test]
fn the_first_containers_state_wins() {
    let statuses = json!([
        {"restartCount": 7, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"finishedAt": "2026-01-01T00:57:00Z"}}},
        {"state": {"terminated": {"exitCode": 3}}}]);
    assert_eq!(shown(&pod("Running", 2, statuses)), "0/2 CrashLoopBackOff 7 (3m ago)");
}

#[test]
fn endings_are_named_by_reason_signal_or_exit_code() {
    for (terminated, expected) in [
        (json!({"reason": "OOMKilled", "exitCode": 137}), "0/1 OOMKilled 0"),
        (json!({"signal": 9}), "0/1 Signal:9 0"),
        (json!({"exitCode": 3}), "0/1 ExitCode:3 0"),
    ] {
        assert_eq!(shown(&pod("Failed", 1, json!([{"state": {"terminated": terminated}}]))), expected);
    }
}

#[test]
fn init_containers_come_first() {
    let mut waiting = pod("Pending", 1, json!([{"state": {"waiting": {"reason": "PodInitializing"}}}]));
    waiting["spec"]["initContainers"] = json!([{"name": "a"}, {"name": "b", "restartPolicy": "Always"}]);
    waiting["status"]["initContainerStatuses"] = json!([{"name": "a", "state": {"terminated": {"exitCode": 0}}},
        {"name": "b", "restartCount": 2, "state": {"running": {}}}]);
    assert_eq!(shown(&waiting), "0/2 Init:1/2 2");
    waiting["status"]["initContainerStatuses"][1]["started"] = json!(true);
    waiting["status"]["initContainerStatuses"][1]["ready"] = json!(true);
    assert_eq!(shown(&waiting), "1/2 PodInitializing 2");
}

#[test]
fn a_deleted_pod_is_terminating_until_it_ends() {
    let mut running = pod("Running", 1, json!([{"ready": true, "state": {"running": {}}}]));
    running["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:59:00Z");
    assert_eq!(shown(&running), "1/1 Terminating 0");
    running["status"]["reason"] = json!("NodeLost");
    assert_eq!(shown(&running), "1/1 Unknown 0");
}
