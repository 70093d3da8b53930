//! A pod that must end, or has ended: stop what runs, clean up, let it go.

use super::{Action, GRACE_SHORTEST, Input, Key, Plan};
use crate::{
    memory::Ending,
    probes::ProbeKind,
    spec::{self, Role},
};
use std::time::Duration;
use wk_cri::ContainerStatus;

pub(super) fn plan(input: &Input, plan: &mut Plan) {
    let running: Vec<_> = input.observed.running().collect();
    if !running.is_empty() {
        stop(input, plan, &running);
        return running.iter().for_each(|container| ask_readiness(input, plan, container));
    }
    // A start under way may still bring a container to life.
    if input.in_flight.iter().any(|key| matches!(key, Key::Start(_) | Key::Stop(_) | Key::Sandbox)) {
        return;
    }
    if !input.memory.retired {
        plan.act(Action::Retire);
    } else if input.memory.gone {
        plan.act(Action::Erase);
    } else if wants_deletion(input) {
        plan.act(Action::DeleteObject);
    }
}

fn wants_deletion(input: &Input) -> bool {
    input.pod.metadata.deletion_timestamp.is_some() && input.status_written && !input.memory.deleted
}

/// Main and init containers all at once; then sidecars, the last one first.
fn stop(input: &Input, plan: &mut Plan, running: &[&ContainerStatus]) {
    let role = |container: &ContainerStatus| {
        spec::container(input.pod, &container.metadata.name).map_or(Role::Main, |(role, _)| role)
    };
    let (sidecars, others): (Vec<_>, Vec<_>) = running.iter().partition(|container| role(container) == Role::Sidecar);
    if !others.is_empty() {
        return others.into_iter().for_each(|container| plan.act(stop_one(input, container)));
    }
    let order: Vec<_> = spec::init_containers(input.pod).map(|(_, container)| container.name.as_str()).collect();
    let place = |container: &ContainerStatus| order.iter().position(|name| *name == container.metadata.name);
    if let Some(last) = sidecars.iter().max_by_key(|container| place(container)) {
        plan.act(stop_one(input, last));
    }
}

/// A pod that ends may still be ready, and who sends it requests wants to know
/// (upstream: the prober's workers go on; liveness no longer matters).
fn ask_readiness(input: &Input, plan: &mut Plan, container: &ContainerStatus) {
    let memory = input.memory.container(&container.metadata.name);
    if memory.started.as_ref() != Some(&container.id) {
        return;
    }
    let due = memory.probes.schedule().filter(|(kind, _)| *kind == ProbeKind::Readiness);
    due.for_each(|(kind, at)| plan.probe(input, &container.metadata.name, &container.id, kind, at));
}

fn stop_one(input: &Input, container: &ContainerStatus) -> Action {
    let name = container.metadata.name.clone();
    let grace = remaining(input);
    let message = input.memory.container(&name).stopping.as_ref().is_none_or(|(id, _)| *id != container.id);
    let message = message.then(|| format!("Stopping container {name}"));
    Action::Stop { container: name, id: container.id.clone(), grace, message }
}

/// What is left of the pod's time to end.
fn remaining(input: &Input) -> Duration {
    let Some(Ending { deadline, .. }) = input.memory.ending else { return spec::grace(input.pod) };
    Duration::try_from(deadline.duration_since(input.now)).unwrap_or_default().max(GRACE_SHORTEST)
}
