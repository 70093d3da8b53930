//! What a worker remembers of its pod beyond what can be observed: exits, delays,
//! failures, probe results, promises made. Plain data and pure updates; the
//! worker owns one, [`crate::lifecycle`] and [`crate::status`] read it.

use crate::{
    backoff::Backoff,
    lifecycle::Key,
    observed::{Observed, is_running, timestamp},
    probes::{ProbeKind, Probes},
    spec::{self, Role},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus as ApiContainerStatus, Pod};
use std::{collections::BTreeMap, time::Duration};
use wk_cri::{ContainerId, ContainerState, ContainerStatus, Image, SandboxId};

/// How long `ErrImagePull` is shown before `ImagePullBackOff` (upstream: until
/// the next look at the pod, about as long).
pub const ERROR_SHOWN: Duration = Duration::from_secs(1);

/// Exits kept per container: the current one and the one before.
const EXITS_MAX: usize = 2;

/// The exit code of a container whose end nobody saw (upstream: `ContainerStatusUnknown`).
const LOST_EXIT_CODE: i32 = 137;
const LOST_REASON: &str = "ContainerStatusUnknown";

/// What upstream says of a container that was removed while its pod goes on.
const GONE_MESSAGE: &str =
    "The container could not be located when the pod was deleted.  The container used to be Running";

/// What a worker remembers.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// By the container's name in the spec.
    pub containers: BTreeMap<String, ContainerMemory>,
    /// When the kubelet first saw the pod: `status.startTime`.
    pub started_at: Option<Timestamp>,
    /// Whether the volumes are there.
    pub volumes: Step,
    /// When something in the volumes must be replaced.
    pub volumes_refresh_at: Option<Timestamp>,
    /// Whether a sandbox could be made.
    pub sandbox: Step,
    /// Actions that failed of late, and when they may be tried again.
    pub blocked: BTreeMap<Key, Timestamp>,
    /// When the pod's use of the disk was last looked at; only pods with limits are.
    pub measured_at: Option<Timestamp>,
    /// Why the pod must go: it uses more of the disk than it may.
    pub excess: Option<String>,
    /// Why the pod ends although nobody deleted it.
    pub verdict: Option<Verdict>,
    /// Since when the pod is to end, and by when its containers must have.
    pub ending: Option<Ending>,
    /// The pod's object is gone from the API server.
    pub gone: bool,
    /// Its sandbox was stopped and its volumes deleted for good.
    pub retired: bool,
    /// The API server was asked to delete the object.
    pub deleted: bool,
}

/// A step that many containers wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Step {
    /// Not tried, or to be tried again.
    #[default]
    Wanted,
    /// Done.
    Done,
    /// Failed.
    Failed {
        /// Why.
        message: String,
        /// When to try again; `None` waits for something the pod refers to.
        retry_at: Option<Timestamp>,
    },
}

/// An end that the kubelet decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `status.reason`.
    pub reason: String,
    /// `status.message`.
    pub message: String,
    /// How long its containers get, when not as long as the pod asks for.
    pub grace: Option<Duration>,
}

/// A promise to end the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// When the kubelet learned of it.
    pub since: Timestamp,
    /// When its containers are ended by force.
    pub deadline: Timestamp,
}

/// What is remembered of one container.
#[derive(Clone, Debug, Default)]
pub struct ContainerMemory {
    /// The attempt of the next container of this name.
    pub next_attempt: u32,
    /// Its last exits, oldest first.
    pub exits: Vec<Exit>,
    /// The delay between restarts.
    pub restarts: Option<Backoff>,
    /// Its image for the next start.
    pub image: ImageMemory,
    /// Why the last start came to nothing.
    pub start_failure: Option<StartFailure>,
    /// The container whose `postStart` is done.
    pub started: Option<ContainerId>,
    /// The delay between pulls of its image.
    pub pulls: Option<Backoff>,
    /// Results of its probes.
    pub probes: Probes,
    /// The container that these are of.
    pub probes_of: Option<ContainerId>,
    /// The container that failed a probe and must be stopped for it, and which one.
    pub doomed: Option<(ContainerId, ProbeKind)>,
    /// By when a container was promised to be stopped.
    pub stopping: Option<(ContainerId, Timestamp)>,
    /// The newest container that was observed.
    seen: Option<Seen>,
}

/// What is known of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ImageMemory {
    /// To be looked for.
    #[default]
    Wanted,
    /// Here; good for one start.
    Here(Image),
    /// Not to be had.
    Missing {
        /// `ErrImagePull`, `ErrImageNeverPull`, `InvalidImageName`.
        reason: String,
        /// Why.
        message: String,
        /// When it was tried.
        at: Timestamp,
        /// The delay until the next try.
        backoff: Backoff,
    },
}

/// Why a start came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartFailure {
    /// `CreateContainerConfigError`, `CreateContainerError`, `RunContainerError`, `PostStartHookError`.
    pub reason: String,
    /// Why.
    pub message: String,
    /// When.
    pub at: Timestamp,
    /// What is needed before another try.
    pub retry: Retry,
}

/// What is needed before a start is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// A change of something the pod refers to.
    OnChange,
    /// Time.
    AfterBackoff,
}

/// A container's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Which one ended.
    pub attempt: u32,
    /// The sandbox it was in; `None` when it is only known from the API server.
    pub sandbox: Option<SandboxId>,
    /// As `status` shows it, with the runtime's scheme; empty when not known.
    pub container_id: String,
    /// Its exit code.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`…
    pub reason: String,
    /// For people.
    pub message: String,
    /// `None` when it never started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
}

impl Exit {
    /// Whether nobody saw it. The container has not failed then, as far as anyone
    /// knows, and its restart need not wait (upstream: `doBackOff` looks at exits
    /// that the runtime still has).
    pub fn is_lost(&self) -> bool {
        self.reason == LOST_REASON
    }
}

#[derive(Clone, Debug)]
struct Seen {
    id: ContainerId,
    attempt: u32,
    sandbox: SandboxId,
    running: bool,
}

impl Memory {
    /// What a new worker knows from the status that an earlier one wrote, and
    /// from what it left in the runtime.
    pub fn from_status(pod: &Pod, observed: &Observed, now: Timestamp) -> Self {
        let status = pod.status.as_ref();
        let started_at = status.and_then(|status| status.start_time.as_ref()).map(|time| time.0);
        let containers = status.into_iter().flat_map(crate::status::lists).map(|status| {
            let mut memory = from_api(status);
            if observed.attempts(&status.name).next().is_none() {
                memory.assume_lost(status, now);
            }
            (status.name.clone(), memory)
        });
        let mut memory = Self { containers: containers.collect(), started_at, ..Self::default() };
        for container in observed.running() {
            // An earlier kubelet started it: its `postStart` is not for us to repeat.
            memory.container_mut(&container.metadata.name).started = Some(container.id.clone());
        }
        memory
    }

    /// The memory of one container; an empty one when there is none.
    pub fn container(&self, name: &str) -> std::borrow::Cow<'_, ContainerMemory> {
        self.containers.get(name).map_or_else(Default::default, std::borrow::Cow::Borrowed)
    }

    /// The memory of one container, to change.
    pub fn container_mut(&mut self, name: &str) -> &mut ContainerMemory {
        self.containers.entry(name.to_owned()).or_default()
    }

    /// Learns from the newest pod: whether and when it has to end. A later
    /// deletion may shorten the time, nothing lengthens it.
    pub fn note_pod(&mut self, pod: &Pod, now: Timestamp) {
        self.started_at.get_or_insert(now);
        if self.gone || self.verdict.is_some() || pod.metadata.deletion_timestamp.is_some() {
            let since = self.ending.map_or(now, |ending| ending.since);
            // A pod that was deleted by force is no reason to lose what a guest could still write.
            let hurry = self.verdict.as_ref().and_then(|verdict| verdict.grace);
            let deadline = since + hurry.unwrap_or_else(|| spec::grace(pod)).max(Duration::from_secs(1));
            let deadline = self.ending.map_or(deadline, |ending| ending.deadline.min(deadline));
            self.ending = Some(Ending { since, deadline });
        }
    }

    /// Learns from what the runtime has: new containers, exits (with the
    /// messages that their guests left), containers that vanished.
    pub fn note_observed(
        &mut self,
        observed: &Observed,
        scheme: &str,
        messages: &BTreeMap<ContainerId, String>,
        now: Timestamp,
    ) {
        let names: std::collections::BTreeSet<&str> =
            observed.containers.iter().map(|container| container.metadata.name.as_str()).collect();
        for name in &names {
            let memory = self.container_mut(name);
            let mut all: Vec<_> = observed.attempts(name).collect();
            all.sort_by_key(|container| container.metadata.attempt);
            memory.note_lost(scheme, &all, now);
            all.iter().for_each(|container| memory.note(container, scheme, messages));
        }
        for (name, memory) in &mut self.containers {
            if !names.contains(name.as_str()) {
                memory.note_lost(scheme, &[], now);
            }
        }
    }
}

impl ContainerMemory {
    /// The newest exit.
    pub fn last_exit(&self) -> Option<&Exit> {
        self.exits.last()
    }

    /// The newest exit of an attempt before this one.
    pub fn exit_before(&self, attempt: u32) -> Option<&Exit> {
        self.exits.iter().rev().find(|exit| exit.attempt < attempt)
    }

    fn note(&mut self, container: &ContainerStatus, scheme: &str, messages: &BTreeMap<ContainerId, String>) {
        let attempt = container.metadata.attempt;
        self.next_attempt = self.next_attempt.max(attempt + 1);
        if self.seen.as_ref().is_none_or(|seen| seen.attempt <= attempt) {
            let (id, sandbox) = (container.id.clone(), container.sandbox.clone());
            self.seen = Some(Seen { id, attempt, sandbox, running: is_running(container) });
        }
        let ContainerState::Exited { started_at, finished_at, exit_code, reason, message } = &container.state else {
            return;
        };
        let left = messages.get(&container.id).filter(|left| !left.is_empty());
        self.add_exit(Exit {
            attempt,
            sandbox: Some(container.sandbox.clone()),
            container_id: format!("{scheme}{}", container.id.0),
            exit_code: *exit_code,
            reason: reason.clone(),
            message: left.unwrap_or(message).clone(),
            started_at: (started_at.0 > 0).then(|| timestamp(*started_at)),
            finished_at: timestamp(*finished_at),
        });
    }

    /// A container that ran and that the runtime no longer has: removed behind the
    /// kubelet's back (upstream: `kubelet_pods.go`, `convertToAPIContainerStatuses`).
    fn note_lost(&mut self, scheme: &str, present: &[&ContainerStatus], now: Timestamp) {
        let Some(seen) = self.seen.take_if(|seen| present.iter().all(|container| container.id != seen.id)) else {
            return;
        };
        if seen.running {
            self.add_exit(Exit {
                attempt: seen.attempt,
                sandbox: Some(seen.sandbox),
                container_id: format!("{scheme}{}", seen.id.0),
                message: GONE_MESSAGE.to_owned(),
                ..lost(seen.attempt, now)
            });
        }
    }

    fn add_exit(&mut self, exit: Exit) {
        if self.exits.iter().any(|known| known.attempt == exit.attempt) {
            return;
        }
        self.exits.push(exit);
        self.exits.sort_by_key(|exit| exit.attempt);
        if self.exits.len() > EXITS_MAX {
            self.exits.remove(0);
        }
    }
}

/// The end of a container that nobody saw.
pub fn lost(attempt: u32, now: Timestamp) -> Exit {
    Exit {
        attempt,
        sandbox: None,
        container_id: String::new(),
        exit_code: LOST_EXIT_CODE,
        reason: LOST_REASON.to_owned(),
        message: "The container could not be located when the pod was terminated".to_owned(),
        started_at: None,
        finished_at: now,
    }
}

/// What a status of an earlier kubelet says about exits.
fn from_api(status: &ApiContainerStatus) -> ContainerMemory {
    let attempt = u32::try_from(status.restart_count).unwrap_or_default();
    let mut memory = ContainerMemory::default();
    let state = status.state.as_ref();
    if let Some(terminated) = state.and_then(|state| state.terminated.as_ref()) {
        memory.add_exit(exit_of(terminated, attempt));
    }
    if let Some(last) = status.last_state.as_ref().and_then(|state| state.terminated.as_ref()) {
        // While waiting, the last state is the last attempt; beside a newer state, the one before.
        let waiting = state.is_none_or(|state| state.waiting.is_some());
        memory.add_exit(exit_of(last, if waiting { attempt } else { attempt.saturating_sub(1) }));
    }
    memory.next_attempt = if memory.exits.is_empty() { 0 } else { attempt + 1 };
    memory
}

impl ContainerMemory {
    /// Notes the end of a container that an earlier kubelet saw running and
    /// that the runtime does not have.
    fn assume_lost(&mut self, status: &ApiContainerStatus, now: Timestamp) {
        let Some(running) = status.state.as_ref().and_then(|state| state.running.as_ref()) else { return };
        let attempt = u32::try_from(status.restart_count).unwrap_or_default();
        let container_id = status.container_id.clone().unwrap_or_default();
        let started_at = running.started_at.as_ref().map(|time| time.0);
        self.add_exit(Exit { container_id, started_at, ..lost(attempt, now) });
        self.next_attempt = attempt + 1;
    }
}

fn exit_of(terminated: &k8s_openapi::api::core::v1::ContainerStateTerminated, attempt: u32) -> Exit {
    Exit {
        attempt,
        sandbox: None,
        container_id: terminated.container_id.clone().unwrap_or_default(),
        exit_code: terminated.exit_code,
        reason: terminated.reason.clone().unwrap_or_default(),
        message: terminated.message.clone().unwrap_or_default(),
        started_at: terminated.started_at.as_ref().map(|time| time.0),
        finished_at: terminated.finished_at.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
    }
}

/// Whether a container of this role in this state of memory has passed its
/// `postStart` and its startup probe.
pub fn is_started(memory: &ContainerMemory, id: &ContainerId) -> bool {
    memory.started.as_ref() == Some(id) && memory.probes.is_started()
}

/// Whether a container that runs may get requests.
pub fn is_ready(memory: &ContainerMemory, id: &ContainerId, role: Role) -> bool {
    !matches!(role, Role::Init | Role::Ephemeral) && is_started(memory, id) && memory.probes.is_ready()
}
