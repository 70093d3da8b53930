use super::*;
use k8s_openapi::api::apps::v1::ReplicaSetStatus;
use serde_json::json;
use std::sync::Arc;

fn deployment(status: DeploymentStatus) -> Deployment {
    let mut deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "web", "generation": 1},
        "spec": {
            "replicas": 2, "progressDeadlineSeconds": 60, "selector": {},
            "template": {"spec": {"containers": []}},
        },
    }))
    .expect("a Deployment");
    deployment.status = Some(status);
    deployment
}

fn view(replicas: i32, available: i32) -> View {
    let mut set: ReplicaSet =
        serde_json::from_value(json!({"metadata": {"name": "web-x"}, "spec": {"replicas": 2, "selector": {}}}))
            .expect("a ReplicaSet");
    set.status = Some(ReplicaSetStatus {
        replicas,
        ready_replicas: Some(available),
        available_replicas: Some(available),
        ..ReplicaSetStatus::default()
    });
    View { new: Some(Arc::new(set)), old: Vec::new() }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).expect("valid")
}

/// Type, status and reason of each condition.
fn conditions(status: &DeploymentStatus) -> Vec<String> {
    let conditions = status.conditions.iter().flatten();
    conditions
        .map(|known| format!("{} {} {}", known.type_, known.status, known.reason.clone().unwrap_or_default()))
        .collect()
}

#[test]
fn a_rollout_is_created_progresses_and_is_complete() {
    let nothing = View { new: None, old: Vec::new() };
    let created = Progress::Created("web-x".to_owned());
    let status0 = status(&deployment(DeploymentStatus::default()), &nothing, &created, at(0));
    assert_eq!(
        conditions(&status0),
        ["Available False MinimumReplicasUnavailable", "Progressing True NewReplicaSetCreated"]
    );

    let status1 = status(&deployment(status0), &view(2, 1), &Progress::Unchanged, at(1));
    assert_eq!((status1.updated_replicas, status1.unavailable_replicas), (Some(2), Some(1)));
    assert_eq!(conditions(&status1)[1], "Progressing True ReplicaSetUpdated");

    let status2 = status(&deployment(status1.clone()), &view(2, 2), &Progress::Unchanged, at(2));
    assert_eq!(
        conditions(&status2),
        ["Available True MinimumReplicasAvailable", "Progressing True NewReplicaSetAvailable"]
    );
    assert_eq!(status2.unavailable_replicas, None);
    let progressing = status2.conditions.as_ref().map(|all| &all[1]).expect("two conditions");
    assert_eq!(progressing.message.as_deref(), Some("ReplicaSet \"web-x\" has successfully progressed."));
    assert_eq!(progressing.last_transition_time, status1.conditions.expect("set")[1].last_transition_time);

    let again = status(&deployment(status2.clone()), &view(2, 2), &Progress::Unchanged, at(3));
    assert_eq!(again, status2);
}

#[test]
fn no_progress_until_the_deadline_is_a_failure() {
    let started = status(&deployment(DeploymentStatus::default()), &view(2, 0), &Progress::Unchanged, at(0));
    let waiting = deployment(started.clone());
    assert_eq!(recheck_after(&waiting, &started, at(10)), Some(Duration::from_secs(51)));
    let late = status(&waiting, &view(2, 0), &Progress::Unchanged, at(61));
    assert_eq!(conditions(&late)[1], "Progressing False ProgressDeadlineExceeded");
    assert_eq!(recheck_after(&waiting, &late, at(61)), None);
}

#[test]
fn a_pause_is_noted_and_a_resume_starts_the_clock_anew() {
    let mut paused = deployment(DeploymentStatus::default());
    paused.spec.as_mut().expect("spec").paused = Some(true);
    let held = status(&paused, &view(2, 0), &Progress::Unchanged, at(0));
    assert_eq!(conditions(&held)[1], "Progressing Unknown DeploymentPaused");
    let resumed = status(&deployment(held), &view(2, 0), &Progress::Unchanged, at(500));
    assert_eq!(conditions(&resumed)[1], "Progressing Unknown DeploymentResumed");
}

#[test]
fn a_collision_is_counted() {
    let collided = status(&deployment(DeploymentStatus::default()), &view(0, 0), &Progress::Collided, at(0));
    assert_eq!(collided.collision_count, Some(1));
}
