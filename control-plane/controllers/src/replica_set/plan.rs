//! What a ReplicaSet needs: pods to create, pods to delete (worst first), and
//! its status. Pure; called by `replica_set.rs`.

use crate::{pod, pod_control, runner::patch::nonzero};
use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
        core::v1::{Pod, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    ResourceExt,
    core::{Selector, SelectorExt},
};
use std::{cmp::Ordering, collections::HashMap, sync::Arc, time::Duration};

/// Pods created or deleted in one go; the rest follows when these were seen
/// (upstream: `BurstReplicas`).
const BURST_MAX: usize = 500;

/// The fields of the status this controller writes.
pub const OWNED_STATUS_FIELDS: &[&str] =
    &["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration", "conditions"];

/// What to do.
#[derive(Debug)]
pub enum Plan {
    /// As many as wanted.
    Nothing,
    /// This many more.
    Create(usize),
    /// These are too many.
    Delete(Vec<Arc<Pod>>),
}

/// Why pods could not be created or deleted.
#[derive(Clone, Debug)]
pub struct Failure {
    /// `FailedCreate` or `FailedDelete`.
    pub reason: &'static str,
    /// What the server said.
    pub message: String,
}

fn wanted(set: &ReplicaSet) -> usize {
    usize::try_from(set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)).unwrap_or_default()
}

fn min_ready_seconds(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or_default()
}

/// Compares what is there (`pods`: active and owned) with what is wanted.
/// `related` are the active pods of all sets of the same owner.
pub fn plan(set: &ReplicaSet, pods: &[Arc<Pod>], related: &[Arc<Pod>]) -> Plan {
    let wanted = wanted(set);
    match pods.len().cmp(&wanted) {
        Ordering::Equal => Plan::Nothing,
        Ordering::Less => Plan::Create((wanted - pods.len()).min(BURST_MAX)),
        Ordering::Greater => Plan::Delete(worst(pods, related, (pods.len() - wanted).min(BURST_MAX))),
    }
}

/// The `count` pods that will be missed least.
fn worst(pods: &[Arc<Pod>], related: &[Arc<Pod>], count: usize) -> Vec<Arc<Pod>> {
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    for pod in related {
        *on_node.entry(pod::node_name(pod)).or_default() += 1;
    }
    let crowd = |pod: &Pod| on_node.get(pod::node_name(pod)).copied().unwrap_or_default();
    let mut ranked: Vec<&Arc<Pod>> = pods.iter().collect();
    ranked.sort_by(|left, right| pod::least_missed_first(left, crowd(left), right, crowd(right)));
    ranked.into_iter().take(count).cloned().collect()
}

/// A pod of the set, to be named by the server.
pub fn pod_from_template(set: &ReplicaSet) -> Pod {
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    pod_control::from_template(set, template)
}

/// The status that `pods` mean. `failure` is of this attempt; none clears an old one.
pub fn status(set: &ReplicaSet, pods: &[Arc<Pod>], failure: Option<Failure>, now: Timestamp) -> ReplicaSetStatus {
    let count = |predicate: &dyn Fn(&Pod) -> bool| {
        i32::try_from(pods.iter().filter(|pod| predicate(pod)).count()).unwrap_or(i32::MAX)
    };
    let template_labels = template_selector(set.spec.as_ref().and_then(|spec| spec.template.as_ref()));
    ReplicaSetStatus {
        replicas: count(&|_| true),
        fully_labeled_replicas: nonzero(count(&|pod| template_labels.matches(pod.labels()))),
        ready_replicas: nonzero(count(&pod::is_ready)),
        available_replicas: nonzero(count(&|pod| pod::is_available(pod, min_ready_seconds(set), now))),
        observed_generation: set.metadata.generation,
        conditions: conditions(set, failure, now),
        terminating_replicas: None,
    }
}

fn template_selector(template: Option<&PodTemplateSpec>) -> Selector {
    let labels = template.and_then(|template| template.metadata.as_ref()?.labels.clone()).unwrap_or_default();
    labels.into_iter().collect()
}

fn conditions(set: &ReplicaSet, failure: Option<Failure>, now: Timestamp) -> Option<Vec<ReplicaSetCondition>> {
    let old = set.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let (failures, mut kept): (Vec<_>, Vec<_>) = old.cloned().partition(|old| old.type_ == "ReplicaFailure");
    match (failure, failures.into_iter().next()) {
        (None, _) => {}
        (Some(_), Some(known)) => kept.push(known),
        (Some(failure), None) => kept.push(ReplicaSetCondition {
            type_: "ReplicaFailure".to_owned(),
            status: "True".to_owned(),
            reason: Some(failure.reason.to_owned()),
            message: Some(failure.message),
            last_transition_time: Timestamp::from_second(now.as_second()).ok().map(Time),
        }),
    }
    (!kept.is_empty()).then_some(kept)
}

/// When pods that are ready now will have been so for long enough.
pub fn recheck_after(
    set: &ReplicaSet,
    status: &ReplicaSetStatus,
    now: Timestamp,
    pods: &[Arc<Pod>],
) -> Option<Duration> {
    let wanted = Duration::from_secs(u64::try_from(min_ready_seconds(set)).unwrap_or_default());
    if wanted.is_zero() || status.ready_replicas == status.available_replicas {
        return None;
    }
    let waits =
        pods.iter().filter_map(|pod| Duration::try_from((pod::ready_since(pod)? + wanted).duration_since(now)).ok());
    waits.filter(|wait| !wait.is_zero()).min().or(Some(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests;
