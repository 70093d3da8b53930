//! What a DaemonSet needs now: nodes that want a pod, pods that must go. First
//! the nodes are put right; only when nothing is left to do there, one step of a
//! rolling update follows. Pure; called by `daemon_set.rs`
//! (upstream: `daemon_controller.go` `manage`, `update.go` `rollingUpdate`).

use super::eligibility::{self, Fit, GENERATION_LABEL, HASH_LABEL};
use crate::{pod, pod_owner::PodOwner, scaled};
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, DaemonSetStatus, RollingUpdateDaemonSet},
        core::v1::{Node, Pod},
    },
    jiff::Timestamp,
};
use kube::ResourceExt;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Pods created, or deleted, in one go; the rest follows when these were seen
/// (upstream: `BurstReplicas`).
const BURST_MAX: usize = 250;

/// The fields of the status this controller writes.
pub const OWNED_STATUS_FIELDS: &[&str] = &[
    "currentNumberScheduled",
    "desiredNumberScheduled",
    "numberMisscheduled",
    "numberReady",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberUnavailable",
    "observedGeneration",
    "collisionCount",
];

/// All that a decision depends on.
pub struct View<'a> {
    /// The set.
    pub set: &'a DaemonSet,
    /// The pods of the set, by the node they are on or ask for.
    pub on_node: BTreeMap<&'a str, Vec<&'a Arc<Pod>>>,
    /// Every node, with what the set means to it.
    pub nodes: Vec<(&'a str, Fit)>,
    /// The current template's revision.
    pub hash: &'a str,
    /// The time of the decision.
    pub now: Timestamp,
}

/// Pods that ended by themselves, and how.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Where it was.
    pub node: String,
}

/// One step.
#[derive(Debug, Default)]
pub struct Plan {
    /// Nodes that get a pod.
    pub create: Vec<String>,
    /// Pods that go.
    pub delete: Vec<Arc<Pod>>,
    /// Those of them that have failed.
    pub failed: Vec<Ended>,
    /// Those of them that have succeeded.
    pub succeeded: Vec<Ended>,
    /// When a failed pod may be replaced.
    pub again: Option<Duration>,
}

impl<'a> View<'a> {
    /// Sorts nodes and pods. A pod that has ended and is going counts for nothing.
    pub fn new(
        set: &'a DaemonSet,
        nodes: &'a [Arc<Node>],
        pods: &'a [Arc<Pod>],
        hash: &'a str,
        now: Timestamp,
    ) -> Self {
        let mut on_node: BTreeMap<&str, Vec<&Arc<Pod>>> = BTreeMap::new();
        for pod in pods.iter().filter(|pod| !(pod::is_terminal(pod) && pod::is_deleting(pod))) {
            if let Some(node) = eligibility::target_node(pod) {
                on_node.entry(node).or_default().push(pod);
            }
        }
        // Bound pods first, then the oldest.
        let order = |pod: &&Arc<Pod>| (pod::node_name(pod).is_empty(), pod.creation_timestamp(), pod.name_any());
        on_node.values_mut().for_each(|pods| pods.sort_by_key(order));
        let name = |node: &'a Arc<Node>| node.metadata.name.as_deref().unwrap_or_default();
        let nodes = nodes.iter().map(|node| (name(node), eligibility::fit(set, node))).collect();
        Self { set, on_node, nodes, hash, now }
    }

    fn pods_on(&self, node: &str) -> &[&'a Arc<Pod>] {
        self.on_node.get(node).map(Vec::as_slice).unwrap_or_default()
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pod::is_available(pod, self.set.min_ready_seconds(), self.now)
    }

    /// Whether the pod was made from the current template.
    fn is_updated(&self, pod: &Pod) -> bool {
        let label = |key: &str| pod.labels().get(key).map(String::as_str);
        let generation = eligibility::template_generation(self.set);
        label(HASH_LABEL) == Some(self.hash) || (generation.is_some() && label(GENERATION_LABEL) == generation)
    }

    fn desired(&self) -> i32 {
        let count = self.nodes.iter().filter(|(_, fit)| *fit == Fit::Run).count();
        i32::try_from(count).unwrap_or(i32::MAX)
    }

    /// Pods that may be missing, and pods there may be too many, while rolling.
    /// With neither no step could be made.
    fn fence_posts(&self) -> (usize, usize) {
        let strategy = self.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        let RollingUpdateDaemonSet { max_surge, max_unavailable } =
            strategy.and_then(|strategy| strategy.rolling_update.clone()).unwrap_or_default();
        let of = |value: Option<_>| value.map_or(0, |value| scaled::round_up(&value, self.desired()));
        let (unavailable, surge) = (of(max_unavailable), of(max_surge));
        let unavailable = if unavailable == 0 && surge == 0 { 1 } else { unavailable };
        (usize::try_from(unavailable).unwrap_or_default(), usize::try_from(surge).unwrap_or_default())
    }

    fn allows_surge(&self) -> bool {
        self.fence_posts().1 > 0
    }

    fn rolls(&self) -> bool {
        let strategy = self.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        strategy.and_then(|strategy| strategy.type_.as_deref()).unwrap_or("RollingUpdate") == "RollingUpdate"
    }
}

/// The next step. `pause_of` is how long a node's failed pod must still be left alone.
pub fn plan(view: &View<'_>, pause_of: &dyn Fn(&str) -> Option<Duration>) -> Plan {
    let mut plan = Plan::default();
    let mut known = BTreeSet::new();
    for (node, fit) in &view.nodes {
        known.insert(*node);
        let pods = view.pods_on(node);
        match fit {
            Fit::Run if pods.is_empty() => plan.create.push((*node).to_owned()),
            Fit::Run | Fit::Keep => tidy(view, node, pods, pause_of, &mut plan),
            Fit::Leave => {
                plan.delete.extend(pods.iter().filter(|pod| !pod::is_deleting(pod)).map(|pod| (*pod).clone()))
            }
        }
    }
    // A pod that asks for a node that is gone would wait for ever.
    let waits = |pod: &&&Arc<Pod>| pod::node_name(pod).is_empty() && !pod::is_deleting(pod);
    for (_, pods) in view.on_node.iter().filter(|(node, _)| !known.contains(*node)) {
        plan.delete.extend(pods.iter().filter(waits).map(|pod| (*pod).clone()));
    }
    if plan.create.is_empty() && plan.delete.is_empty() && view.rolls() {
        roll(view, &mut plan);
    }
    plan.create.truncate(BURST_MAX);
    plan.delete.truncate(BURST_MAX);
    plan
}

/// One node: ended pods go, and all running ones but those a rollout needs.
fn tidy(view: &View<'_>, node: &str, pods: &[&Arc<Pod>], pause_of: &dyn Fn(&str) -> Option<Duration>, plan: &mut Plan) {
    let mut running: Vec<&Arc<Pod>> = Vec::new();
    for pod in pods.iter().copied().filter(|pod| !pod::is_deleting(pod)) {
        let ended = || Ended { pod: pod.clone(), node: node.to_owned() };
        match pod::phase(pod) {
            "Failed" => match pause_of(node) {
                Some(pause) => plan.again = Some(plan.again.map_or(pause, |again| again.min(pause))),
                None => {
                    plan.failed.push(ended());
                    plan.delete.push(pod.clone());
                }
            },
            "Succeeded" => {
                plan.succeeded.push(ended());
                plan.delete.push(pod.clone());
            }
            _ => running.push(pod),
        }
    }
    if running.len() <= 1 {
        return;
    }
    if !view.allows_surge() {
        return plan.delete.extend(running.into_iter().skip(1).cloned());
    }
    tidy_surge(view, &running, plan);
}

/// While surging a node has its oldest old and its oldest new pod, until the
/// new one can stand in for the old one.
fn tidy_surge(view: &View<'_>, running: &[&Arc<Pod>], plan: &mut Plan) {
    let (mut new, mut old) = (None, None);
    for pod in running.iter().copied() {
        let place =
            if pod.labels().get(HASH_LABEL).map(String::as_str) == Some(view.hash) { &mut new } else { &mut old };
        match place {
            None => *place = Some(pod),
            Some(_) => plan.delete.push(pod.clone()),
        }
    }
    if let (Some(new), Some(old)) = (new, old)
        && (!pod::is_ready(old) || view.is_available(new))
    {
        plan.delete.push(old.clone());
    }
}

/// The pods of a node that stay, as a rollout sees them.
enum Seat<'a> {
    New(&'a Arc<Pod>),
    Old(&'a Arc<Pod>),
    Both {
        new: &'a Arc<Pod>,
        old: &'a Arc<Pod>,
    },
    Empty,
    /// Several of one sort; the node will be tidied.
    Crowded,
}

fn seat<'a>(view: &View<'_>, pods: &[&'a Arc<Pod>]) -> Seat<'a> {
    let alive = pods.iter().copied().filter(|pod| !pod::is_deleting(pod));
    let (new, old): (Vec<_>, Vec<_>) = alive.partition(|pod| view.is_updated(pod));
    match (new.as_slice(), old.as_slice()) {
        ([], []) => Seat::Empty,
        ([new], []) => Seat::New(new),
        ([], [old]) => Seat::Old(old),
        ([new], [old]) => Seat::Both { new, old },
        _ => Seat::Crowded,
    }
}

fn roll(view: &View<'_>, plan: &mut Plan) {
    let (max_unavailable, max_surge) = view.fence_posts();
    if max_surge == 0 { replace(view, max_unavailable, plan) } else { surge(view, max_surge, plan) }
}

/// Old pods go as far as the others are available; those that serve nobody go
/// whatever the others do.
fn replace(view: &View<'_>, max_unavailable: usize, plan: &mut Plan) {
    let (mut unavailable, mut candidates) = (0, Vec::new());
    for pods in view.on_node.values() {
        match seat(view, pods) {
            Seat::New(new) => unavailable += usize::from(!view.is_available(new)),
            Seat::Old(old) if view.is_available(old) => candidates.push(old.clone()),
            Seat::Old(old) => plan.delete.push(old.clone()),
            Seat::Empty | Seat::Both { .. } | Seat::Crowded => unavailable += 1,
        }
    }
    plan.delete.extend(candidates.into_iter().take(max_unavailable.saturating_sub(unavailable)));
}

/// New pods come beside old ones, which go when the new ones are available.
fn surge(view: &View<'_>, max_surge: usize, plan: &mut Plan) {
    let (mut surging, mut candidates) = (0, Vec::new());
    for (node, pods) in &view.on_node {
        match seat(view, pods) {
            Seat::New(_) | Seat::Empty => {}
            Seat::Old(old) if view.is_available(old) => candidates.push((*node).to_owned()),
            Seat::Old(_) => plan.create.push((*node).to_owned()),
            Seat::Both { new, old } if view.is_available(new) => plan.delete.push(old.clone()),
            Seat::Both { .. } | Seat::Crowded => surging += 1,
        }
    }
    plan.create.extend(candidates.into_iter().take(max_surge.saturating_sub(surging)));
    // A node that is to have none would get a pod and lose it again.
    let runs: BTreeSet<&str> = view.nodes.iter().filter(|(_, fit)| *fit == Fit::Run).map(|(node, _)| *node).collect();
    plan.create.retain(|node| runs.contains(node.as_str()));
}

/// The counts that the nodes and their pods mean.
pub fn status(view: &View<'_>) -> DaemonSetStatus {
    let old = view.set.status.clone().unwrap_or_default();
    let mut status = DaemonSetStatus {
        observed_generation: view.set.metadata.generation,
        collision_count: old.collision_count,
        ..DaemonSetStatus::default()
    };
    let (mut updated, mut available) = (0, 0);
    for (node, fit) in &view.nodes {
        let pods = view.pods_on(node);
        if *fit != Fit::Run {
            status.number_misscheduled += i32::from(!pods.is_empty());
            continue;
        }
        status.desired_number_scheduled += 1;
        let Some(pod) = pods.first() else { continue };
        status.current_number_scheduled += 1;
        status.number_ready += i32::from(pod::is_ready(pod));
        available += i32::from(view.is_available(pod));
        updated += i32::from(view.is_updated(pod));
    }
    let nonzero = crate::runner::patch::nonzero;
    status.updated_number_scheduled = nonzero(updated);
    status.number_available = nonzero(available);
    status.number_unavailable = nonzero(status.desired_number_scheduled - available);
    status
}

/// When pods that are ready now may be available.
pub fn recheck_after(view: &View<'_>, status: &DaemonSetStatus) -> Option<Duration> {
    let seconds = u64::try_from(view.set.min_ready_seconds()).unwrap_or_default();
    let waits = seconds > 0 && status.number_ready != status.number_available.unwrap_or_default();
    waits.then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
