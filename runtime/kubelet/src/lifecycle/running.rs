//! A pod that should run: what is missing for it.

use super::{Action, Input, Key, Need, Plan, ending, is_initialized, is_over, is_redefined, need};
use crate::{
    disk::{self, Limits},
    memory::{self, ImageMemory, Step, is_started},
    probes::ProbeKind,
    spec::{self, RestartPolicy, Role},
};
use k8s_openapi::api::core::v1::Container;
use std::{borrow::Cow, time::Duration};
use wk_cri::ContainerId;

pub(super) fn plan(input: &Input, plan: &mut Plan) {
    if is_over(input) {
        return ending::plan(input, plan);
    }
    let volumes = step(&input.memory.volumes, input, plan, Action::PrepareVolumes);
    match input.memory.volumes_refresh_at {
        Some(at) if volumes && at <= input.now => plan.act(Action::PrepareVolumes),
        Some(at) if volumes => plan.wake(at),
        Some(_) | None => {}
    }
    measure(input, plan);
    let sandbox = input.observed.ready_sandbox().map(|sandbox| sandbox.id.clone());
    if sandbox.is_none() {
        let attempt = input.observed.sandbox().map_or(0, |sandbox| sandbox.metadata.attempt + 1);
        step(&input.memory.sandbox, input, plan, Action::RunSandbox { attempt });
    } else {
        let replaced = input.observed.replaced_sandboxes().cloned();
        replaced.for_each(|old| plan.act(Action::RemoveSandbox(old)));
    }
    for (role, container) in turn(input) {
        let container = container.as_ref();
        match need(input, role, container) {
            Need::Runs(id) => watch(input, plan, role, container, &id),
            Need::Wait(until) => plan.wake(until),
            Need::Remove(id) => plan.act(Action::RemoveContainer(id)),
            Need::Hold | Need::Ended { .. } => {}
            // It has its image, and needs no other one.
            Need::Start if input.in_flight.contains(&Key::Start(container.name.clone())) => {}
            Need::Start => {
                let image = image(input, plan, container);
                if let (true, true, Some(sandbox)) = (image, volumes, &sandbox) {
                    let attempt = input.memory.container(&container.name).next_attempt;
                    let sandbox = sandbox.clone();
                    plan.act(Action::Start { container: container.name.clone(), attempt, sandbox });
                }
            }
        }
    }
}

/// A pod with limits on the disk is looked at from time to time, others never.
fn measure(input: &Input, plan: &mut Plan) {
    let Some(limits) = Limits::of(input.pod) else { return };
    let last = input.memory.measured_at.or(input.memory.started_at).unwrap_or(input.now);
    let due = last + disk::PERIOD;
    if due <= input.now {
        plan.act(Action::MeasureDisk(limits));
    } else {
        plan.wake(due);
    }
}

/// Whether a step is done; asks for it when it is wanted.
fn step(step: &Step, input: &Input, plan: &mut Plan, action: Action) -> bool {
    // The sandbox is wanted again when it is lost, whatever was done before.
    let is_sandbox = matches!(action, Action::RunSandbox { .. });
    match step {
        Step::Done if !is_sandbox => return true,
        Step::Done | Step::Wanted => plan.act(action),
        Step::Failed { retry_at: Some(at), .. } if *at <= input.now => plan.act(action),
        Step::Failed { retry_at: Some(at), .. } => plan.wake(*at),
        Step::Failed { retry_at: None, .. } => {}
    }
    false
}

/// The containers whose turn has come. That of ephemeral ones always has: they
/// are for looking into pods that do not get on.
fn turn<'a>(input: &Input<'a>) -> Vec<(Role, Cow<'a, Container>)> {
    let added = spec::ephemeral_containers(input.pod).map(|(role, container)| (role, Cow::Owned(container)));
    let declared = declared_turn(input).into_iter().map(|(role, container)| (role, Cow::Borrowed(container)));
    declared.chain(added).collect()
}

fn declared_turn<'a>(input: &Input<'a>) -> Vec<(Role, &'a Container)> {
    let mut turn = Vec::new();
    let initialized = is_initialized(input);
    for (role, container) in spec::init_containers(input.pod) {
        match (role, need(input, role, container)) {
            // Past its turn: nothing can make it run again in this sandbox.
            (Role::Init, _) if initialized => {}
            (Role::Init, Need::Ended { .. }) => {}
            (Role::Sidecar, need) => {
                turn.push((role, container));
                let started = |id: &ContainerId| is_started(&input.memory.container(&container.name), id);
                let goes_on = initialized || matches!(&need, Need::Runs(id) if started(id));
                if !goes_on {
                    return turn;
                }
            }
            (Role::Init | Role::Main | Role::Ephemeral, _) => {
                turn.push((role, container));
                return turn;
            }
        }
    }
    turn.extend(spec::of(input.pod).containers.iter().map(|container| (Role::Main, container)));
    turn
}

/// Whether the container's image is here; asks for it when it is time to.
fn image(input: &Input, plan: &mut Plan, container: &Container) -> bool {
    match &input.memory.container(&container.name).image {
        ImageMemory::Here(_) => return true,
        ImageMemory::Wanted => plan.act(Action::EnsureImage { container: container.name.clone() }),
        ImageMemory::Missing { at, backoff, .. } => {
            let until = *at + backoff.delay;
            if *at + memory::ERROR_SHOWN > input.now {
                plan.wake(*at + memory::ERROR_SHOWN); // the status changes
            }
            if until <= input.now {
                plan.act(Action::EnsureImage { container: container.name.clone() });
            } else {
                plan.wake(until);
            }
        }
    }
    false
}

/// A running container: its probes, and what they led to.
fn watch(input: &Input, plan: &mut Plan, role: Role, container: &Container, id: &ContainerId) {
    let memory = input.memory.container(&container.name);
    let current = input.observed.current(&container.name);
    if current.is_some_and(|current| is_redefined(current, role, container)) {
        let message = Some(format!("Container {} definition changed, will be restarted", container.name));
        let (container, id, grace) = (container.name.clone(), id.clone(), spec::grace(input.pod));
        return plan.act(Action::Stop { container, id, grace, message });
    }
    if let Some((_, kind)) = memory.doomed.as_ref().filter(|(doomed, _)| doomed == id) {
        return plan.act(doom(input, role, container, id, *kind));
    }
    if memory.started.as_ref() != Some(id) {
        return; // its postStart is under way
    }
    memory.probes.schedule().for_each(|(kind, at)| plan.probe(input, &container.name, id, kind, at));
}

/// The stop of a container that has failed a probe: within the probe's own grace
/// period, if it has one.
fn doom(input: &Input, role: Role, container: &Container, id: &ContainerId, kind: ProbeKind) -> Action {
    let own = kind.of(container).and_then(|probe| probe.termination_grace_period_seconds);
    let grace = own.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let restarts = spec::container_restart_policy(input.pod, role) != RestartPolicy::Never;
    let and = if restarts { ", will be restarted" } else { "" };
    let message = format!("Container {} failed {} probe{and}", container.name, kind.name().to_lowercase());
    Action::Stop {
        container: container.name.clone(),
        id: id.clone(),
        grace: grace.unwrap_or_else(|| spec::grace(input.pod)),
        message: Some(message),
    }
}
