//! What a disruption budget allows now. Pure, but for [`Scales`], which reads
//! caches (upstream: `disruption.go` `trySync` and what it calls).

use crate::{
    pod,
    runner::{Cache, resolve_controller, uid},
    scaled,
};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, StatefulSet},
        core::v1::Pod,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::{
        apis::meta::v1::{Condition, Time},
        util::intstr::IntOrString,
    },
    jiff::Timestamp,
};
use kube::ResourceExt;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

/// How long an evicted pod is believed to be going (upstream: `DeletionTimeout`).
const DELETION_TIMEOUT: Duration = Duration::from_secs(120);

/// The fields of the status this controller writes.
pub const OWNED_STATUS_FIELDS: &[&str] = &[
    "currentHealthy",
    "desiredHealthy",
    "disruptionsAllowed",
    "disruptedPods",
    "expectedPods",
    "observedGeneration",
    "conditions",
];

/// Who scales a pod, and to how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scale {
    /// The UID of the owner and its size.
    Of(String, i32),
    /// Nobody owns the pod.
    Unmanaged,
    /// The owner has no size, or is not known; why.
    Unknown(String),
}

/// Sizes of the owners of pods.
pub struct Scales<'a> {
    /// Deployments, which own ReplicaSets.
    pub deployments: &'a Cache<Deployment>,
    /// ReplicaSets, of a Deployment or not.
    pub sets: &'a Cache<ReplicaSet>,
    /// StatefulSets.
    pub stateful: &'a Cache<StatefulSet>,
}

impl Scales<'_> {
    /// The size of what owns the pod in the end.
    pub fn of(&self, pod: &Pod) -> Scale {
        let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
        let Some(owner) = owner else { return Scale::Unmanaged };
        let size = |replicas: Option<i32>| replicas.unwrap_or(1);
        match owner.kind.as_str() {
            "ReplicaSet" => {
                let Some(set) = resolve_controller(self.sets, pod) else { return missing(pod) };
                let of_set =
                    || Scale::Of(uid(&*set).to_owned(), size(set.spec.as_ref().and_then(|spec| spec.replicas)));
                if !set.owner_references().iter().any(|owner| owner.controller == Some(true)) {
                    return of_set();
                }
                let Some(deployment) = resolve_controller(self.deployments, &*set) else { return missing(pod) };
                let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
                Scale::Of(uid(&*deployment).to_owned(), size(replicas))
            }
            "StatefulSet" => match resolve_controller(self.stateful, pod) {
                Some(set) => Scale::Of(uid(&*set).to_owned(), size(set.spec.as_ref().and_then(|spec| spec.replicas))),
                None => missing(pod),
            },
            kind => {
                let group = owner.api_version.split_once('/').map(|(group, _)| format!(".{group}")).unwrap_or_default();
                let resource = format!("{}s{group}", kind.to_lowercase());
                Scale::Unknown(format!("{resource} does not implement the scale subresource"))
            }
        }
    }
}

fn missing(pod: &Pod) -> Scale {
    Scale::Unknown(format!("found no controllers for pod {:?}", pod.name_any()))
}

/// What a budget is told.
#[derive(Debug)]
pub struct Outcome {
    /// The status it should have.
    pub status: PodDisruptionBudgetStatus,
    /// Why nothing could be computed; the status then allows nothing.
    pub problem: Option<String>,
    /// Pods without an owner make percentages meaningless.
    pub has_unmanaged: bool,
    /// Pods that were evicted and did not go.
    pub not_deleted: Vec<Arc<Pod>>,
    /// When to look again.
    pub again: Option<Duration>,
}

/// The budget's numbers; `pods` are all it covers.
pub fn plan(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    scale_of: &dyn Fn(&Pod) -> Scale,
    now: Timestamp,
) -> Outcome {
    let mut disrupted = Disrupted::sort(budget, pods, now);
    let (kept, not_deleted, again) =
        (std::mem::take(&mut disrupted.kept), std::mem::take(&mut disrupted.not_deleted), disrupted.again);
    let needs = needs(budget, pods, scale_of);
    let mut status = budget.status.clone().unwrap_or_default();
    let (problem, has_unmanaged) = match needs {
        Err(problem) => {
            status.disruptions_allowed = 0;
            set_allowed(&mut status, "SyncFailed", &problem, budget.metadata.generation, now);
            (Some(problem), false)
        }
        Ok(Needs { expected, desired, has_unmanaged }) => {
            let is_healthy =
                |pod: &&Arc<Pod>| pod::is_ready(pod) && !pod::is_deleting(pod) && !kept.contains_key(&pod.name_any());
            let healthy = i32::try_from(pods.iter().filter(is_healthy).count()).unwrap_or(i32::MAX);
            let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
            status.current_healthy = healthy;
            status.desired_healthy = desired;
            status.expected_pods = expected;
            status.disruptions_allowed = allowed;
            status.disrupted_pods = Some(kept).filter(|kept| !kept.is_empty());
            status.observed_generation = budget.metadata.generation;
            let reason = if allowed > 0 { "SufficientPods" } else { "InsufficientPods" };
            set_allowed(&mut status, reason, "", budget.metadata.generation, now);
            (None, has_unmanaged)
        }
    };
    Outcome { status, problem, has_unmanaged, not_deleted, again }
}

struct Needs {
    expected: i32,
    desired: i32,
    has_unmanaged: bool,
}

fn needs(budget: &PodDisruptionBudget, pods: &[Arc<Pod>], scale_of: &dyn Fn(&Pod) -> Scale) -> Result<Needs, String> {
    let spec = budget.spec.clone().unwrap_or_default();
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(unavailable), _) => {
            let (expected, has_unmanaged) = expected(pods, scale_of)?;
            let desired = (expected - scaled::round_up(unavailable, expected)).max(0);
            Ok(Needs { expected, desired, has_unmanaged })
        }
        (None, Some(IntOrString::Int(count))) => {
            let expected = i32::try_from(pods.len()).unwrap_or(i32::MAX);
            Ok(Needs { expected, desired: *count, has_unmanaged: false })
        }
        (None, Some(percent)) => {
            let (expected, has_unmanaged) = expected(pods, scale_of)?;
            Ok(Needs { expected, desired: scaled::round_up(percent, expected), has_unmanaged })
        }
        (None, None) => Ok(Needs { expected: 0, desired: 0, has_unmanaged: false }),
    }
}

/// The sizes of all owners of the pods, and whether a pod has none.
fn expected(pods: &[Arc<Pod>], scale_of: &dyn Fn(&Pod) -> Scale) -> Result<(i32, bool), String> {
    let (mut sizes, mut has_unmanaged) = (HashMap::new(), false);
    for pod in pods {
        match scale_of(pod) {
            Scale::Of(owner, size) => {
                sizes.insert(owner, size);
            }
            Scale::Unmanaged => has_unmanaged = true,
            Scale::Unknown(problem) => return Err(problem),
        }
    }
    Ok((sizes.values().sum(), has_unmanaged))
}

/// Evicted pods: still believed to be going, or not.
struct Disrupted {
    kept: BTreeMap<String, Time>,
    not_deleted: Vec<Arc<Pod>>,
    again: Option<Duration>,
}

impl Disrupted {
    fn sort(budget: &PodDisruptionBudget, pods: &[Arc<Pod>], now: Timestamp) -> Self {
        let known = budget.status.as_ref().and_then(|status| status.disrupted_pods.clone()).unwrap_or_default();
        let mut sorted = Self { kept: BTreeMap::new(), not_deleted: Vec::new(), again: None };
        for pod in pods.iter().filter(|pod| !pod::is_deleting(pod)) {
            let Some(since) = known.get(&pod.name_any()) else { continue };
            match Duration::try_from((since.0 + DELETION_TIMEOUT).duration_since(now)) {
                Ok(left) => {
                    sorted.again = Some(sorted.again.map_or(left, |again| again.min(left)));
                    sorted.kept.insert(pod.name_any(), since.clone());
                }
                Err(_) => sorted.not_deleted.push(pod.clone()),
            }
        }
        // A second more, since the map carries whole seconds.
        sorted.again = sorted.again.map(|again| again + Duration::from_secs(1));
        sorted
    }
}

fn set_allowed(
    status: &mut PodDisruptionBudgetStatus,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    const TYPE: &str = "DisruptionAllowed";
    let value = if reason == "SufficientPods" { "True" } else { "False" };
    let conditions = status.conditions.get_or_insert_default();
    let place = conditions.iter().position(|known| known.type_ == TYPE);
    let since = place.map(|place| &conditions[place]).filter(|known| known.status == value);
    let whole_second = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let condition = Condition {
        type_: TYPE.to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: generation,
        last_transition_time: since.map_or(Time(whole_second), |known| known.last_transition_time.clone()),
    };
    match place {
        Some(place) => conditions[place] = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests;
