//! Questions about a pod that several controllers ask. Pure.

use k8s_openapi::{
    api::core::v1::{Pod, PodCondition},
    jiff::Timestamp,
};
use kube::ResourceExt;
use std::{cmp::Ordering, time::Duration};

/// A pod with a lower cost is deleted first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// `status.phase`, empty when unset.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether the pod has run to its end.
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether a deletion has been asked for.
pub fn is_deleting(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether the pod counts as a replica (upstream: `controller.IsPodActive`).
pub fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && !is_deleting(pod)
}

/// The condition of a type.
pub fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

/// Whether the pod says it is ready.
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Since when the pod is ready.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    condition(pod, "Ready").filter(|ready| ready.status == "True")?.last_transition_time.as_ref().map(|time| time.0)
}

/// Whether the pod has been ready for `min_ready_seconds` (upstream: `podutil.IsPodAvailable`).
pub fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    if !is_ready(pod) {
        return false;
    }
    let wanted = Duration::from_secs(u64::try_from(min_ready_seconds).unwrap_or_default());
    wanted.is_zero() || ready_since(pod).is_some_and(|since| since + wanted <= now)
}

/// `spec.nodeName`, empty when unset.
pub fn node_name(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// Upstream's order (`controller.ActivePodsWithRanks`): unassigned, pending,
/// not ready, cheap, crowded, ready for a short time, often restarted, young.
pub fn least_missed_first(left: &Pod, left_crowd: usize, right: &Pod, right_crowd: usize) -> Ordering {
    let phase_rank = |pod: &Pod| match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let order = (!node_name(left).is_empty()).cmp(&!node_name(right).is_empty());
    let order = order.then(phase_rank(left).cmp(&phase_rank(right)));
    let order = order.then(is_ready(left).cmp(&is_ready(right)));
    let order = order.then(deletion_cost(left).cmp(&deletion_cost(right)));
    let order = order.then(right_crowd.cmp(&left_crowd));
    let order = order.then_with(|| ready_since(right).cmp(&ready_since(left)));
    let order = order.then_with(|| restarts(right).cmp(&restarts(left)));
    let created = |pod: &Pod| pod.creation_timestamp();
    order.then_with(|| created(right).cmp(&created(left))).then_with(|| left.uid().cmp(&right.uid()))
}

fn deletion_cost(pod: &Pod) -> i32 {
    pod.annotations().get(DELETION_COST).and_then(|cost| cost.parse().ok()).unwrap_or_default()
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|status| status.restart_count).max().unwrap_or_default()
}
