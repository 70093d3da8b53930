//! What a StatefulSet needs now: in order, one pod after the other is made, is
//! available, and only then is the next looked at; then surplus ones go from the
//! end; then old ones are replaced from the end. Pure; called by `stateful_set.rs`
//! (upstream: `stateful_set_control.go` `updateStatefulSet`).

use super::identity::{self, ordinal, ordinals, revision};
use crate::{pod, pod_owner::PodOwner, runner::patch::nonzero};
use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetStatus},
        core::v1::{Pod, PodTemplateSpec},
    },
    jiff::Timestamp,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Pods created or deleted in one go, where order does not matter (upstream: `MaxBatchSize`).
const BURST_MAX: usize = 500;

/// The fields of the status this controller writes.
pub const OWNED_STATUS_FIELDS: &[&str] = &[
    "observedGeneration",
    "replicas",
    "readyReplicas",
    "currentReplicas",
    "updatedReplicas",
    "availableReplicas",
    "currentRevision",
    "updateRevision",
    "collisionCount",
];

/// A revision and the template it stands for.
#[derive(Clone, Debug)]
pub struct Revision {
    /// The revision's name.
    pub name: String,
    /// What its pods are made from.
    pub template: PodTemplateSpec,
}

/// All that a decision depends on.
pub struct View<'a> {
    /// The set.
    pub set: &'a StatefulSet,
    /// Every pod it owns.
    pub pods: &'a [Arc<Pod>],
    /// What its pods had when the last rollout was over.
    pub current: &'a Revision,
    /// What they shall have.
    pub update: &'a Revision,
    /// The time of the decision.
    pub now: Timestamp,
}

/// One step.
#[derive(Debug, Default)]
pub struct Plan {
    /// Pods to make.
    pub create: Vec<Pod>,
    /// Pods to end.
    pub delete: Vec<Arc<Pod>>,
}

impl View<'_> {
    fn is_available(&self, pod: &Pod) -> bool {
        is_healthy(pod) && pod::is_available(pod, self.set.min_ready_seconds(), self.now)
    }

    fn is_ordered(&self) -> bool {
        self.set.spec.as_ref().and_then(|spec| spec.pod_management_policy.as_deref()) != Some("Parallel")
    }

    /// The lowest ordinal that is updated; none when only deletions update.
    fn partition(&self) -> Option<i32> {
        let strategy = self.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        match strategy.and_then(|strategy| strategy.type_.as_deref()) {
            Some("OnDelete") => None,
            _ => Some(strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.partition).unwrap_or_default()),
        }
    }

    /// The pod of a place that is empty: an old one below the partition, or
    /// without one below the number of old ones (upstream: `newVersionedStatefulSetPod`).
    fn new_pod(&self, number: i32) -> Pod {
        let (start, _) = ordinals(self.set);
        let strategy = self.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let counted = self.set.status.as_ref().and_then(|status| status.current_replicas).unwrap_or_default();
        let old = rolling.map_or(counted, |rolling| rolling.partition.unwrap_or_default());
        let is_old = self.partition().is_some() && number - start < old;
        let revision = if is_old { self.current } else { self.update };
        identity::pod_for(self.set, &revision.template, &revision.name, number)
    }
}

/// Running and ready; a pod that is going may still be.
fn is_healthy(pod: &Pod) -> bool {
    pod::phase(pod) == "Running" && pod::is_ready(pod)
}

/// The next step of a set that is not being deleted.
pub fn plan(view: &View<'_>) -> Plan {
    let (start, count) = ordinals(view.set);
    let by_ordinal: BTreeMap<i32, &Arc<Pod>> =
        view.pods.iter().filter_map(|pod| Some((ordinal(view.set, pod)?, pod))).collect();
    let places = start..start.saturating_add(count);
    let mut plan = Plan::default();
    let steps =
        [fill as fn(&View<'_>, &BTreeMap<i32, &Arc<Pod>>, std::ops::Range<i32>, &mut Plan) -> Go, shrink, update];
    for step in steps {
        if step(view, &by_ordinal, places.clone(), &mut plan) == Go::Wait {
            break;
        }
    }
    plan.create.truncate(BURST_MAX);
    plan.delete.truncate(BURST_MAX);
    plan
}

/// Whether a step has left the next one something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Go {
    On,
    Wait,
}

/// Empty places are filled and ended pods replaced, from the lowest ordinal on.
fn fill(
    view: &View<'_>,
    by_ordinal: &BTreeMap<i32, &Arc<Pod>>,
    mut places: std::ops::Range<i32>,
    plan: &mut Plan,
) -> Go {
    if view.is_ordered() {
        let settled = |number| match by_ordinal.get(&number) {
            None => {
                plan.create.push(view.new_pod(number));
                false
            }
            Some(pod) if pod::is_terminal(pod) => {
                if !pod::is_deleting(pod) {
                    plan.delete.push((*pod).clone());
                }
                false
            }
            Some(pod) => !pod::is_deleting(pod) && view.is_available(pod),
        };
        return if places.all(settled) { Go::On } else { Go::Wait };
    }
    for number in places {
        match by_ordinal.get(&number) {
            None if plan.create.len() < BURST_MAX => plan.create.push(view.new_pod(number)),
            Some(pod) if pod::is_terminal(pod) && !pod::is_deleting(pod) => plan.delete.push((*pod).clone()),
            _ => {}
        }
    }
    Go::On
}

/// Pods outside the range go, from the highest ordinal on.
fn shrink(view: &View<'_>, by_ordinal: &BTreeMap<i32, &Arc<Pod>>, places: std::ops::Range<i32>, plan: &mut Plan) -> Go {
    let condemned: Vec<&Arc<Pod>> =
        by_ordinal.iter().rev().filter(|(number, _)| !places.contains(*number)).map(|(_, pod)| *pod).collect();
    if !view.is_ordered() {
        plan.delete.extend(condemned.into_iter().filter(|pod| !pod::is_deleting(pod)).cloned());
        return Go::On;
    }
    let Some(last) = condemned.first() else { return Go::On };
    // Of several unhealthy ones the lowest may go before the others are well.
    let lowest_unhealthy = condemned.iter().rev().find(|pod| !view.is_available(pod));
    let is_lowest = lowest_unhealthy.is_some_and(|pod| Arc::ptr_eq(pod, last));
    if !pod::is_deleting(last) && (view.is_available(last) || is_lowest) {
        plan.delete.push((*last).clone());
    }
    Go::Wait
}

/// One old pod goes at a time, from the highest ordinal down to the partition.
fn update(view: &View<'_>, by_ordinal: &BTreeMap<i32, &Arc<Pod>>, places: std::ops::Range<i32>, plan: &mut Plan) -> Go {
    let Some(partition) = view.partition() else { return Go::Wait };
    let first = places.start.saturating_add(partition);
    for number in places.rev().take_while(|number| *number >= first) {
        let Some(pod) = by_ordinal.get(&number) else { return Go::Wait };
        if revision(pod) != view.update.name && !pod::is_deleting(pod) {
            plan.delete.push((*pod).clone());
            return Go::Wait;
        }
        if pod::is_deleting(pod) || !view.is_available(pod) {
            return Go::Wait;
        }
    }
    Go::On
}

/// The counts that the pods mean. A rollout that is over makes its revision the current one.
pub fn status(view: &View<'_>) -> StatefulSetStatus {
    let count = |holds: &dyn Fn(&Pod) -> bool| {
        i32::try_from(view.pods.iter().filter(|pod| holds(pod)).count()).unwrap_or(i32::MAX)
    };
    let of = |name: &str| count(&|pod| !pod::is_deleting(pod) && revision(pod) == name);
    let (current, updated) = (of(&view.current.name), of(&view.update.name));
    let (replicas, ready) = (count(&|_| true), count(&is_healthy));
    let old = view.set.status.clone().unwrap_or_default();
    let mut status = StatefulSetStatus {
        observed_generation: view.set.metadata.generation,
        replicas,
        ready_replicas: nonzero(ready),
        available_replicas: Some(count(&|pod| view.is_available(pod))),
        current_replicas: nonzero(current),
        updated_replicas: nonzero(updated),
        current_revision: Some(view.current.name.clone()),
        update_revision: Some(view.update.name.clone()),
        collision_count: Some(old.collision_count.unwrap_or_default()),
        conditions: None,
    };
    if view.partition().is_some() && updated == replicas && ready == replicas {
        status.current_revision = status.update_revision.clone();
        status.current_replicas = status.updated_replicas;
    }
    status
}

/// When pods that are ready now may be available.
pub fn recheck_after(view: &View<'_>, status: &StatefulSetStatus) -> Option<Duration> {
    let seconds = u64::try_from(view.set.min_ready_seconds()).unwrap_or_default();
    let waits =
        seconds > 0 && status.ready_replicas.unwrap_or_default() != status.available_replicas.unwrap_or_default();
    waits.then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
