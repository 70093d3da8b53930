//! When a Job has failed, and how long to wait after a failed pod. Pure
//! (upstream: `pod_failure_policy.go`, `backoff_utils.go`, `job_controller.go`).

use crate::pod;
use k8s_openapi::{
    api::{
        batch::v1::{Job, PodFailurePolicyRule},
        core::v1::{ContainerStatus, Pod},
    },
    jiff::Timestamp,
};
use kube::ResourceExt;
use std::{sync::Arc, time::Duration};

/// The pause after a failed pod; doubles with each (upstream: `DefaultJobPodFailureBackOff`).
const PAUSE_MIN: Duration = Duration::from_secs(10);
/// The longest pause (upstream: `MaxJobPodFailureBackOff`).
const PAUSE_MAX: Duration = Duration::from_secs(10 * 60);

/// What a failed pod means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// One more failure.
    Counts,
    /// As if it had not been.
    Ignored,
    /// The Job is over, for this reason.
    FailsJob(String),
}

/// Whether a pod that has not succeeded counts as failed. One that is going
/// counts at once, unless replacements must wait until it is gone.
pub fn is_failed(job: &Job, pod: &Pod) -> bool {
    pod::phase(pod) == "Failed"
        || (!only_replaces_failed(job) && pod::is_deleting(pod) && pod::phase(pod) != "Succeeded")
}

/// Whether a pod that is going keeps its place.
pub fn only_replaces_failed(job: &Job) -> bool {
    job.spec.as_ref().is_some_and(|spec| {
        spec.pod_replacement_policy.as_deref() == Some("Failed") || spec.pod_failure_policy.is_some()
    })
}

/// What the Job's policy says of a failed pod: the first rule that matches.
pub fn meaning(job: &Job, pod: &Pod) -> Meaning {
    let policy = job.spec.as_ref().and_then(|spec| spec.pod_failure_policy.as_ref());
    let rules = policy.map(|policy| policy.rules.as_slice()).unwrap_or_default();
    for (index, rule) in rules.iter().enumerate() {
        let Some(matched) = matched(rule, pod) else { continue };
        return match rule.action.as_str() {
            "FailJob" => Meaning::FailsJob(format!("{matched} matching FailJob rule at index {index}")),
            "Ignore" => Meaning::Ignored,
            _ => Meaning::Counts,
        };
    }
    Meaning::Counts
}

fn matched(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let name = || format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    if let Some(wanted) = &rule.on_exit_codes {
        let named = |status: &&ContainerStatus| wanted.container_name.as_ref().is_none_or(|only| *only == status.name);
        let mut codes = statuses(pod).filter(named).filter_map(|status| Some((&status.name, exit_code(status)?)));
        let listed = wanted.operator == "In";
        let hit = codes.find(|(_, code)| *code != 0 && wanted.values.contains(code) == listed);
        return hit
            .map(|(container, code)| format!("Container {container} for pod {} failed with exit code {code}", name()));
    }
    let patterns = rule.on_pod_conditions.iter().flatten();
    let mut holding = patterns.filter(|pattern| {
        let status = pattern.status.as_str();
        pod::condition(pod, &pattern.type_).is_some_and(|condition| condition.status == status)
    });
    holding.next().map(|pattern| format!("Pod {} has condition {}", name(), pattern.type_))
}

fn exit_code(status: &ContainerStatus) -> Option<i32> {
    Some(status.state.as_ref()?.terminated.as_ref()?.exit_code)
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| {
        status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
    })
}

/// Whether containers restarted in place have used up the retries.
pub fn restarts_exceed(job: &Job, pods: &[Arc<Pod>]) -> bool {
    let Some(spec) = &job.spec else { return false };
    let restarts_in_place =
        spec.template.spec.as_ref().is_some_and(|pod| pod.restart_policy.as_deref() == Some("OnFailure"));
    let limit = spec.backoff_limit.unwrap_or(6);
    let alive = pods.iter().filter(|pod| matches!(pod::phase(pod), "Running" | "Pending"));
    let restarts: i64 = alive.flat_map(|pod| statuses(pod)).map(|status| i64::from(status.restart_count)).sum();
    restarts_in_place && if limit == 0 { restarts > 0 } else { restarts >= i64::from(limit) }
}

/// What is left of the pause after the last failed pods: 10 s, doubling with
/// each failure since the last success. Told from the pods that are still
/// there, so that it survives a restart.
pub fn pause(job: &Job, pods: &[Arc<Pod>], now: Timestamp) -> Duration {
    let mut ended: Vec<(Timestamp, bool)> = Vec::new();
    for pod in pods {
        let failed = is_failed(job, pod) && meaning(job, pod) == Meaning::Counts;
        if failed || pod::phase(pod) == "Succeeded" {
            ended.push((ended_at(pod, now), failed));
        }
    }
    ended.sort();
    let failures = ended.iter().rev().take_while(|(_, failed)| *failed).count();
    let Some((last, true)) = ended.last() else { return Duration::ZERO };
    let doublings = u32::try_from(failures - 1).unwrap_or(u32::MAX).min(16);
    let pause = PAUSE_MIN.saturating_mul(1 << doublings).min(PAUSE_MAX);
    Duration::try_from((*last + pause).duration_since(now)).unwrap_or_default()
}

/// When the pod's last container ended, or else when it was told to go.
fn ended_at(pod: &Pod, now: Timestamp) -> Timestamp {
    let finished = |status: &ContainerStatus| Some(status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0);
    let last = statuses(pod).filter_map(finished).max();
    let deleted = || pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let unready =
        || pod::condition(pod, "Ready").and_then(|ready| ready.last_transition_time.as_ref().map(|time| time.0));
    last.or_else(deleted).or_else(unready).or_else(|| pod.creation_timestamp().map(|time| time.0)).unwrap_or(now)
}
