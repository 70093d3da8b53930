//! What the API server should say of a pod: (pod, observed, memory, now) →
//! `PodStatus`, and the patch that makes it so. Pure; the worker writes.
//!
//! Rules and texts follow upstream's `pkg/kubelet/kubelet_pods.go` (`getPhase`,
//! `convertToAPIContainerStatuses`) and `pkg/kubelet/status/generate.go`.

mod conditions;
mod containers;
mod patch;

pub use patch::patch;

use crate::{
    lifecycle::Input,
    spec::{self, RestartPolicy, Role},
};
use k8s_openapi::{
    api::core::v1::{ContainerStatus, HostIP, PodIP, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

/// The pod's phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Something has not started yet.
    Pending,
    /// Something runs, or will again.
    Running,
    /// Everything ended with 0.
    Succeeded,
    /// Everything ended, not all with 0; or the kubelet gave up.
    Failed,
}

impl Phase {
    /// As the API spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// The status of the pod as it is now. `host_ips` are the node's addresses,
/// `scheme` starts container ids (`wasmtime://`).
pub fn build(input: &Input, host_ips: &[String], scheme: &str) -> PodStatus {
    let old = input.pod.status.clone().unwrap_or_default();
    let context = containers::Context { input, scheme, over: is_over(input) };
    let inits: Vec<_> = spec::init_containers(input.pod).map(|(role, spec)| context.status(role, spec)).collect();
    let mut mains: Vec<_> =
        spec::of(input.pod).containers.iter().map(|spec| context.status(Role::Main, spec)).collect();
    mains.sort_by(|left, right| left.name.cmp(&right.name));
    let ephemerals = spec::ephemeral_containers(input.pod).map(|(role, spec)| context.status(role, &spec)).collect();
    let phase = phase(input, &context, &inits, &mains);
    let pod_ips = pod_ips(input, host_ips, &old);
    let conditions = conditions::build(input, phase, &inits, &mains, !pod_ips.is_empty());
    let verdict = input.memory.verdict.clone();
    PodStatus {
        phase: Some(phase.name().to_owned()),
        reason: verdict.as_ref().map(|verdict| verdict.reason.clone()).or(old.reason.clone()),
        message: verdict.map(|verdict| verdict.message).or(old.message.clone()),
        start_time: input.memory.started_at.map(whole_seconds),
        host_ip: host_ips.first().cloned(),
        host_ips: some(host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect()),
        pod_ip: pod_ips.first().map(|pod| pod.ip.clone()),
        pod_ips: some(pod_ips),
        conditions: some(conditions),
        init_container_statuses: some(inits),
        container_statuses: some(mains),
        ephemeral_container_statuses: some(ephemerals),
        ..old
    }
}

/// The statuses of all containers in a pod's status.
pub fn lists(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    let lists = [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten()
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// A time as `metav1.Time` has it.
pub(crate) fn whole_seconds(time: jiff::Timestamp) -> Time {
    Time(jiff::Timestamp::from_second(time.as_second()).unwrap_or(time))
}

/// Whether what has not started yet never will.
fn is_over(input: &Input) -> bool {
    let ended = input.memory.ending.is_some() && input.observed.running().next().is_none();
    (ended && input.memory.retired) || spec::is_terminal(input.pod)
}

/// A pod keeps its address when it ends, as upstream does for people to see.
fn pod_ips(input: &Input, host_ips: &[String], old: &PodStatus) -> Vec<PodIP> {
    if spec::of(input.pod).host_network == Some(true) {
        return host_ips.iter().map(|ip| PodIP { ip: ip.clone() }).collect();
    }
    let addresses = input.observed.ready_sandbox().map(|sandbox| sandbox.addresses.as_slice()).unwrap_or_default();
    if addresses.is_empty() {
        let may_come_back = input.memory.ending.is_none() && !crate::lifecycle::is_over(input);
        return if may_come_back { Vec::new() } else { old.pod_ips.clone().unwrap_or_default() };
    }
    addresses.iter().map(|ip| PodIP { ip: ip.to_string() }).collect()
}

#[derive(Default)]
struct Count {
    running: usize,
    waiting: usize,
    stopped: usize,
    succeeded: usize,
}

fn count<'a>(statuses: impl Iterator<Item = &'a ContainerStatus>) -> Count {
    let mut count = Count::default();
    for status in statuses {
        let state = status.state.as_ref();
        let stopped_before = status.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
        if let Some(terminated) = state.and_then(|state| state.terminated.as_ref()) {
            count.stopped += 1;
            count.succeeded += usize::from(terminated.exit_code == 0);
        } else if state.is_some_and(|state| state.running.is_some()) {
            count.running += 1;
        } else if stopped_before {
            count.stopped += 1;
        } else {
            count.waiting += 1;
        }
    }
    count
}

fn phase(input: &Input, context: &containers::Context, inits: &[ContainerStatus], mains: &[ContainerStatus]) -> Phase {
    // What has ended stays ended.
    match input.pod.status.as_ref().and_then(|status| status.phase.as_deref()) {
        Some("Failed") => return Phase::Failed,
        Some("Succeeded") => return Phase::Succeeded,
        _ => {}
    }
    let Count { running, waiting, stopped, succeeded } = count(mains.iter());
    let all_well = stopped == succeeded && running == 0 && waiting == 0;
    if context.over {
        let given_up = input.memory.verdict.is_some();
        return if all_well && !given_up { Phase::Succeeded } else { Phase::Failed };
    }
    let policy = spec::restart_policy(input.pod);
    if crate::lifecycle::is_over(input) && input.observed.running().next().is_none() {
        return if all_well { Phase::Succeeded } else { Phase::Failed };
    }
    let inits_wait = !crate::lifecycle::is_initialized(input) && !inits.is_empty();
    if inits_wait || waiting > 0 {
        return Phase::Pending;
    }
    if running > 0 || policy != RestartPolicy::Never || stopped > 0 {
        return Phase::Running;
    }
    Phase::Pending
}

#[cfg(test)]
#[path = "status/tests.rs"]
mod tests;
