//! What a Deployment says about itself: counts, and the conditions Available,
//! Progressing and ReplicaFailure. Pure
//! (upstream: `progress.go` and `sync.go` of the deployment controller).

use super::{
    Progress,
    rollout::{self, View},
};
use crate::runner::patch::nonzero;
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::ResourceExt;
use std::time::Duration;

/// The fields of the status this controller writes.
pub const OWNED_FIELDS: &[&str] = &[
    "observedGeneration",
    "replicas",
    "updatedReplicas",
    "readyReplicas",
    "availableReplicas",
    "unavailableReplicas",
    "collisionCount",
    "conditions",
];

const PROGRESSING: &str = "Progressing";
const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// The deadline for progress, unless progress is not watched.
fn deadline(deployment: &Deployment) -> Option<Duration> {
    // Without a value the API server sets 600; the largest value means never.
    let seconds = deployment.spec.as_ref().and_then(|spec| spec.progress_deadline_seconds)?;
    (seconds != i32::MAX).then(|| Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

/// The status after an attempt that saw `view` and ended in `progress`.
pub fn status(deployment: &Deployment, view: &View, progress: &Progress, now: Timestamp) -> DeploymentStatus {
    let mut status = counts(deployment, view, now);
    let mut conditions = Conditions { list: status.conditions.take().unwrap_or_default(), now };
    if *progress == Progress::Collided {
        status.collision_count = Some(status.collision_count.unwrap_or_default() + 1);
    }
    if is_paused(deployment) {
        note_pause(deployment, &mut conditions);
    } else if deployment.metadata.deletion_timestamp.is_none() {
        progressing(deployment, view, &status, progress, &mut conditions);
        replica_failure(view, &mut conditions);
    }
    status.conditions = Some(conditions.list).filter(|list| !list.is_empty());
    status
}

fn is_paused(deployment: &Deployment) -> bool {
    deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or_default()
}

fn counts(deployment: &Deployment, view: &View, now: Timestamp) -> DeploymentStatus {
    let actual = |set: &ReplicaSet| set.status.as_ref().map(|status| status.replicas).unwrap_or_default();
    let ready = |set: &ReplicaSet| set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
    let sum = |count: &dyn Fn(&ReplicaSet) -> i32| view.all().map(|set| count(set)).sum::<i32>();
    let available = sum(&rollout::available);
    let unavailable = (sum(&rollout::replicas) - available).max(0);
    let old = deployment.status.clone().unwrap_or_default();
    let mut conditions = Conditions { list: old.conditions.unwrap_or_default(), now };
    let enough = available >= rollout::wanted(deployment) - rollout::max_unavailable(deployment);
    if enough {
        conditions.set("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.");
    } else {
        let message = "Deployment does not have minimum availability.";
        conditions.set("Available", "False", "MinimumReplicasUnavailable", message);
    }
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: nonzero(sum(&actual)),
        updated_replicas: nonzero(view.new.as_ref().map(|set| actual(set)).unwrap_or_default()),
        ready_replicas: nonzero(sum(&ready)),
        available_replicas: nonzero(available),
        unavailable_replicas: nonzero(unavailable),
        collision_count: old.collision_count,
        conditions: Some(conditions.list),
        terminating_replicas: None,
    }
}

/// The conditions of a status, changed as upstream changes them.
struct Conditions {
    list: Vec<DeploymentCondition>,
    now: Timestamp,
}

impl Conditions {
    fn get(&self, type_: &str) -> Option<&DeploymentCondition> {
        self.list.iter().find(|condition| condition.type_ == type_)
    }

    fn remove(&mut self, type_: &str) {
        self.list.retain(|condition| condition.type_ != type_);
    }

    /// The same status and reason change nothing, not even the times.
    fn set(&mut self, type_: &str, status: &str, reason: &str, message: &str) {
        let same = |known: &DeploymentCondition| known.status == status && known.reason.as_deref() == Some(reason);
        if !self.get(type_).is_some_and(same) {
            self.refresh(type_, status, reason, message);
        }
    }

    /// Sets a condition and its update time; the transition time only moves with the status.
    fn refresh(&mut self, type_: &str, status: &str, reason: &str, message: &str) {
        let now = Timestamp::from_second(self.now.as_second()).ok().map(Time);
        let since = self.get(type_).filter(|known| known.status == status);
        let condition = DeploymentCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_update_time: now.clone(),
            last_transition_time: since.map_or(now, |known| known.last_transition_time.clone()),
        };
        self.remove(type_);
        self.list.push(condition);
    }
}

/// While paused, progress is not estimated; a rollout that timed out before stays so.
fn note_pause(deployment: &Deployment, conditions: &mut Conditions) {
    let reason = conditions.get(PROGRESSING).and_then(|known| known.reason.clone()).unwrap_or_default();
    if deadline(deployment).is_some() && reason != TIMED_OUT {
        conditions.set(PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused");
    }
}

/// The Progressing condition of a rollout.
fn progressing(
    deployment: &Deployment,
    view: &View,
    status: &DeploymentStatus,
    progress: &Progress,
    conditions: &mut Conditions,
) {
    if deadline(deployment).is_none() {
        return conditions.remove(PROGRESSING);
    }
    match progress {
        Progress::Created(name) => {
            let message = format!("Created new replica set {name:?}");
            return conditions.set(PROGRESSING, "True", "NewReplicaSetCreated", &message);
        }
        Progress::Refused(name, problem) => {
            let message = format!("Failed to create new replica set {name:?}: {problem}");
            return conditions.set(PROGRESSING, "False", "ReplicaSetCreateError", &message);
        }
        Progress::Unchanged | Progress::Collided => {}
    }
    let reason = conditions.get(PROGRESSING).and_then(|known| known.reason.clone());
    match (reason.as_deref(), &view.new) {
        (Some("DeploymentPaused"), _) => {
            conditions.set(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed");
        }
        (None, Some(new)) => {
            let message = format!("Found new replica set {:?}", new.name_any());
            conditions.set(PROGRESSING, "True", "FoundNewReplicaSet", &message);
        }
        // The last rollout is over and no other has begun: nothing to estimate.
        (Some(NEW_SET_AVAILABLE), _) if status.replicas == status.updated_replicas => return,
        _ => {}
    }
    estimate(deployment, view, status, conditions);
}

fn estimate(deployment: &Deployment, view: &View, status: &DeploymentStatus, conditions: &mut Conditions) {
    let subject = view.new.as_ref().map_or_else(
        || format!("Deployment {:?}", deployment.name_any()),
        |new| format!("ReplicaSet {:?}", new.name_any()),
    );
    if rollout::is_complete(deployment, status) {
        let message = format!("{subject} has successfully progressed.");
        conditions.set(PROGRESSING, "True", NEW_SET_AVAILABLE, &message);
    } else if has_advanced(deployment, status) {
        let message = format!("{subject} is progressing.");
        conditions.refresh(PROGRESSING, "True", "ReplicaSetUpdated", &message);
    } else if has_timed_out(deployment, conditions) {
        let message = format!("{subject} has timed out progressing.");
        conditions.set(PROGRESSING, "False", TIMED_OUT, &message);
    }
}

/// More new, fewer old, more ready or more available pods than last time.
fn has_advanced(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let before = deployment.status.clone().unwrap_or_default();
    let count = Option::unwrap_or_default;
    let old = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(status.updated_replicas) > count(before.updated_replicas)
        || old(status) < old(&before)
        || count(status.ready_replicas) > count(before.ready_replicas)
        || count(status.available_replicas) > count(before.available_replicas)
}

fn has_timed_out(deployment: &Deployment, conditions: &Conditions) -> bool {
    let (Some(deadline), Some(known)) = (deadline(deployment), conditions.get(PROGRESSING)) else { return false };
    match known.reason.as_deref() {
        Some(NEW_SET_AVAILABLE) => false,
        Some(TIMED_OUT) => true,
        _ => known.last_update_time.as_ref().is_some_and(|since| since.0 + deadline < conditions.now),
    }
}

/// A set's ReplicaFailure becomes the Deployment's; the new set's first.
fn replica_failure(view: &View, conditions: &mut Conditions) {
    let failure = view.new.iter().chain(&view.old).find_map(|set| {
        let known = set.status.as_ref()?.conditions.as_ref()?;
        known.iter().find(|condition| condition.type_ == "ReplicaFailure").cloned()
    });
    match failure {
        Some(failure) => {
            let (reason, message) = (failure.reason.unwrap_or_default(), failure.message.unwrap_or_default());
            conditions.set("ReplicaFailure", &failure.status, &reason, &message);
        }
        None => conditions.remove("ReplicaFailure"),
    }
}

/// When a rollout that makes no progress runs into its deadline.
pub fn recheck_after(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> Option<Duration> {
    let deadline = deadline(deployment)?;
    let known = status.conditions.iter().flatten().find(|condition| condition.type_ == PROGRESSING)?;
    if rollout::is_complete(deployment, status) || known.reason.as_deref() == Some(TIMED_OUT) || is_paused(deployment) {
        return None;
    }
    let left = (known.last_update_time.as_ref()?.0 + deadline).duration_since(now);
    // A second more, since conditions carry whole seconds.
    Some(Duration::try_from(left).unwrap_or_default() + Duration::from_secs(1))
}

#[cfg(test)]
mod tests;
