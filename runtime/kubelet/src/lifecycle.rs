//! What to do next for a pod: (spec, observed, memory, now) → actions. Pure; the
//! worker calls [`plan`] whenever anything changed and carries the actions out.
//!
//! ```text
//!           ┌── volumes ──┐
//!   bound ──┼── sandbox ──┼─▶ init containers in order ─▶ main containers ─▶ all ended ─▶ retired
//!           └── images  ──┘        (sidecars stay)          │  ▲ restart,                   ▲
//!                                                           └──┘ with backoff               │
//!   deleted, past its deadline, refused ─▶ stop all at once, sidecars last ─────────────────┘
//!                                                          retired ─▶ status written ─▶ object deleted
//! ```
//!
//! Asking twice gives the same actions; the ones under way are left out.

mod ending;
mod running;

use crate::{
    disk, labels,
    memory::{ContainerMemory, Memory, Verdict},
    observed::Observed,
    probes::ProbeKind,
    spec::{self, RestartPolicy, Role},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use std::{collections::BTreeSet, time::Duration};
use wk_cri::{ContainerId, ContainerState, ContainerStatus, SandboxId};

/// The shortest time a guest gets to end once it was asked (upstream: `minimumGracePeriodInSeconds`).
const GRACE_SHORTEST: Duration = Duration::from_secs(2);

/// All that a decision depends on.
pub struct Input<'a> {
    /// The newest pod.
    pub pod: &'a Pod,
    /// What the runtime has of it.
    pub observed: &'a Observed,
    /// What happened before.
    pub memory: &'a Memory,
    /// Actions under way.
    pub in_flight: &'a BTreeSet<Key>,
    /// Whether the API server has the newest status.
    pub status_written: bool,
    /// Now.
    pub now: Timestamp,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the directories of the pod's volumes.
    PrepareVolumes,
    /// Make a sandbox.
    RunSandbox {
        /// How many the pod had before.
        attempt: u32,
    },
    /// Remove a sandbox that a newer one has replaced, with its containers.
    RemoveSandbox(SandboxId),
    /// Make sure a container's image is here.
    EnsureImage {
        /// The container's name.
        container: String,
    },
    /// Create and start a container.
    Start {
        /// Its name.
        container: String,
        /// How many of this name were before.
        attempt: u32,
        /// Where.
        sandbox: SandboxId,
    },
    /// Run `preStop` and stop a container.
    Stop {
        /// Its name.
        container: String,
        /// Which.
        id: ContainerId,
        /// How long it may take, hook included.
        grace: Duration,
        /// What the recorded event says; `None` when one was recorded.
        message: Option<String>,
    },
    /// Forget a dead container, and its log.
    RemoveContainer(ContainerId),
    /// Probe a running container.
    Probe {
        /// Its name.
        container: String,
        /// Which.
        id: ContainerId,
        /// How.
        kind: ProbeKind,
    },
    /// Look how much of the disk the pod uses.
    MeasureDisk(disk::Limits),
    /// End the pod for a reason of the kubelet's own.
    GiveUp(Verdict),
    /// Stop the sandbox and delete the volumes; dead containers stay for their logs.
    Retire,
    /// Ask the API server to delete the object for good.
    DeleteObject,
    /// Remove everything of the pod from this node. The last action of all.
    Erase,
}

/// What two actions have in common that must not run at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Volumes.
    Volumes,
    /// The sandbox; also retiring and erasing, which stop it.
    Sandbox,
    /// A replaced sandbox.
    OldSandbox(SandboxId),
    /// An image, by container.
    Image(String),
    /// A start, by container.
    Start(String),
    /// A stop.
    Stop(ContainerId),
    /// A removal.
    Remove(ContainerId),
    /// A probe.
    Probe(ContainerId, ProbeKind),
    /// A look at the disk.
    Disk,
    /// A verdict.
    Verdict,
    /// The deletion of the object.
    Object,
}

impl Action {
    /// Its key.
    pub fn key(&self) -> Key {
        match self {
            Self::PrepareVolumes => Key::Volumes,
            Self::RunSandbox { .. } | Self::Retire | Self::Erase => Key::Sandbox,
            Self::RemoveSandbox(id) => Key::OldSandbox(id.clone()),
            Self::EnsureImage { container } => Key::Image(container.clone()),
            Self::Start { container, .. } => Key::Start(container.clone()),
            Self::Stop { id, .. } => Key::Stop(id.clone()),
            Self::RemoveContainer(id) => Key::Remove(id.clone()),
            Self::Probe { id, kind, .. } => Key::Probe(id.clone(), *kind),
            Self::MeasureDisk(_) => Key::Disk,
            Self::GiveUp(_) => Key::Verdict,
            Self::DeleteObject => Key::Object,
        }
    }
}

/// What to do, and when to ask again if nothing happens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// All at once.
    pub actions: Vec<Action>,
    /// When the time alone changes the answer.
    pub wake_at: Option<Timestamp>,
}

impl Plan {
    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }

    /// A probe that is due at `at`.
    fn probe(&mut self, input: &Input, container: &str, id: &ContainerId, kind: ProbeKind, at: Timestamp) {
        if at > input.now {
            self.wake(at);
        } else {
            self.act(Action::Probe { container: container.to_owned(), id: id.clone(), kind });
        }
    }
}

/// Decides.
pub fn plan(input: &Input) -> Plan {
    let mut plan = Plan::default();
    if input.memory.ending.is_some() || spec::is_terminal(input.pod) {
        ending::plan(input, &mut plan);
    } else if let Some(verdict) = verdict(input, &mut plan) {
        plan.act(Action::GiveUp(verdict));
    } else {
        running::plan(input, &mut plan);
    }
    collect_garbage(input, &mut plan);
    plan.actions.retain(|action| !is_under_way(input, action));
    hold_back(input, &mut plan);
    plan
}

/// What has just failed waits a little.
fn hold_back(input: &Input, plan: &mut Plan) {
    let blocked = |action: &Action| input.memory.blocked.get(&action.key()).copied().filter(|until| *until > input.now);
    let (held, free): (Vec<_>, Vec<_>) =
        std::mem::take(&mut plan.actions).into_iter().partition(|action| blocked(action).is_some());
    plan.actions = free;
    held.iter().filter_map(blocked).for_each(|until| plan.wake(until));
}

/// A stop may be repeated with an earlier deadline; nothing else runs twice.
fn is_under_way(input: &Input, action: &Action) -> bool {
    if let Action::Stop { container, id, grace, .. } = action {
        let promised = input.memory.container(container).stopping.clone();
        return promised.is_some_and(|(stopping, deadline)| stopping == *id && deadline <= input.now + *grace);
    }
    input.in_flight.contains(&action.key())
}

/// Whether the pod must end although it runs well.
fn verdict(input: &Input, plan: &mut Plan) -> Option<Verdict> {
    if let Some(why) = spec::impossible(input.pod) {
        let message = format!("Pod was rejected: {why}");
        return Some(Verdict { reason: "UnsupportedPodSpec".to_owned(), message, grace: None });
    }
    if let Some(message) = input.memory.excess.clone() {
        return Some(Verdict { reason: "Evicted".to_owned(), message, grace: Some(disk::EVICTION_GRACE) });
    }
    let seconds = u64::try_from(spec::of(input.pod).active_deadline_seconds?).ok()?;
    let deadline = input.memory.started_at? + Duration::from_secs(seconds);
    if deadline > input.now {
        plan.wake(deadline);
        return None;
    }
    let message = "Pod was active on the node longer than the specified deadline".to_owned();
    Some(Verdict { reason: "DeadlineExceeded".to_owned(), message, grace: None })
}

/// Of each name the newest dead container is kept for `logs --previous`.
fn collect_garbage(input: &Input, plan: &mut Plan) {
    let dead = |name: &str| {
        let mut dead: Vec<_> = input.observed.attempts(name).filter(|container| is_dead(&container.state)).collect();
        dead.sort_by_key(|container| std::cmp::Reverse(container.metadata.attempt));
        dead
    };
    for (_, container) in spec::containers(input.pod) {
        let surplus = dead(&container.name).into_iter().skip(1);
        surplus.for_each(|container| plan.act(Action::RemoveContainer(container.id.clone())));
    }
}

fn is_dead(state: &ContainerState) -> bool {
    matches!(state, ContainerState::Exited { .. })
}

/// What one container needs, its turn having come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it runs.
    Runs(ContainerId),
    /// To be started now.
    Start,
    /// To be started later.
    Wait(Timestamp),
    /// To be started when something the pod refers to changes.
    Hold,
    /// Nothing any more.
    Ended {
        /// Whether its exit code was 0.
        well: bool,
    },
    /// To be removed first: an earlier start was interrupted half-way.
    Remove(ContainerId),
}

/// What a container needs.
pub fn need(input: &Input, role: Role, container: &Container) -> Need {
    let memory = input.memory.container(&container.name);
    match input.observed.current(&container.name).map(|current| (&current.id, &current.state)) {
        Some((id, ContainerState::Running { .. })) => return Need::Runs(id.clone()),
        Some((id, ContainerState::Created)) if !input.in_flight.contains(&Key::Start(container.name.clone())) => {
            return Need::Remove(id.clone());
        }
        Some((_, ContainerState::Created | ContainerState::Exited { .. })) | None => {}
    }
    let policy = spec::container_restart_policy(input.pod, role);
    let from_exit = after_exit(input, role, container, policy, &memory);
    let from_failure = after_failure(input, &memory);
    match (from_exit, from_failure) {
        (Some(ended @ Need::Ended { .. }), _) => ended,
        (_, Some(failure)) => failure,
        (Some(wait), None) => wait,
        (None, None) => Need::Start,
    }
}

/// What the last exit asks for; `None` when there was none, or a start is due.
fn after_exit(
    input: &Input,
    role: Role,
    container: &Container,
    policy: RestartPolicy,
    memory: &ContainerMemory,
) -> Option<Need> {
    let exit = memory.last_exit()?;
    let here = input.observed.sandbox().is_some_and(|sandbox| exit.sandbox.as_ref() == Some(&sandbox.id));
    // What an init container did is lost with the sandbox it did it in.
    if role == Role::Init && exit.exit_code == 0 && !here {
        return None;
    }
    // A new definition wants a container of it, whatever became of the old one.
    if input.observed.current(&container.name).is_some_and(|current| is_redefined(current, role, container)) {
        return None;
    }
    if !policy.restarts(exit.exit_code) {
        return Some(Need::Ended { well: exit.exit_code == 0 });
    }
    if exit.is_lost() {
        return None;
    }
    crate::backoff::Backoff::wait(memory.restarts, exit.finished_at, input.now).map(Need::Wait)
}

/// Whether the spec asks for another image than the container was made from.
fn is_redefined(current: &ContainerStatus, role: Role, container: &Container) -> bool {
    let made_from = current.annotations.get(labels::CONTAINER_HASH);
    matches!(role, Role::Main | Role::Sidecar) && made_from.is_some() && made_from != container.image.as_ref()
}

fn after_failure(input: &Input, memory: &ContainerMemory) -> Option<Need> {
    let failure = memory.start_failure.as_ref()?;
    match failure.retry {
        crate::memory::Retry::OnChange => Some(Need::Hold),
        crate::memory::Retry::AfterBackoff => {
            crate::backoff::Backoff::wait(memory.restarts, failure.at, input.now).map(Need::Wait)
        }
    }
}

/// Whether the main containers have had their turn in the newest sandbox.
pub fn is_initialized(input: &Input) -> bool {
    let mains = &spec::of(input.pod).containers;
    if mains.iter().any(|container| input.observed.current(&container.name).is_some()) {
        return true;
    }
    spec::init_containers(input.pod).all(|(role, container)| match (role, need(input, role, container)) {
        (Role::Sidecar, Need::Runs(id)) => crate::memory::is_started(&input.memory.container(&container.name), &id),
        (Role::Init, Need::Ended { well }) => well,
        _ => false,
    })
}

/// Whether no container of the pod will ever run again.
pub fn is_over(input: &Input) -> bool {
    let ended = |role, container: &Container| match need(input, role, container) {
        Need::Ended { well } => Some(well),
        _ => None,
    };
    let failed_init = spec::init_containers(input.pod)
        .any(|(role, container)| role == Role::Init && ended(role, container) == Some(false));
    failed_init && !is_initialized(input)
        || spec::of(input.pod).containers.iter().all(|container| ended(Role::Main, container).is_some())
}

#[cfg(test)]
#[path = "lifecycle/tests.rs"]
pub(crate) mod tests;
