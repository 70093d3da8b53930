//! The status of one container.

use crate::{
    lifecycle::{Input, Key, Need, need},
    memory::{self, ContainerMemory, Exit, ImageMemory},
    observed::timestamp,
    spec::{self, Role},
    status::whole_seconds,
};
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    VolumeMountStatus,
};
use wk_cri::{ContainerState as CriState, ContainerStatus as CriStatus};

pub(super) struct Context<'a> {
    pub input: &'a Input<'a>,
    pub scheme: &'a str,
    /// The pod has ended: what has not started never will.
    pub over: bool,
}

/// Where the container is, and which attempt it is about.
enum Now<'a> {
    Running(&'a CriStatus, jiff::Timestamp),
    Ended(Exit),
    Waiting { reason: String, message: Option<String> },
}

impl Context<'_> {
    pub fn status(&self, role: Role, container: &Container) -> ContainerStatus {
        let memory = self.input.memory.container(&container.name);
        let current = self.input.observed.current(&container.name);
        let now = self.now(role, container, &memory, current);
        let last_attempt = memory.next_attempt.saturating_sub(1);
        let (restart_count, last_state) = match &now {
            Now::Running(status, _) => (status.metadata.attempt, memory.exit_before(status.metadata.attempt)),
            Now::Ended(exit) => (exit.attempt, memory.exit_before(exit.attempt)),
            Now::Waiting { .. } => (last_attempt, memory.last_exit()),
        };
        let ready = match &now {
            Now::Running(status, _) => memory::is_ready(&memory, &status.id, role),
            Now::Ended(exit) => role == Role::Init && exit.exit_code == 0,
            Now::Waiting { .. } => false,
        };
        let started = matches!(&now, Now::Running(status, _) if memory::is_started(&memory, &status.id));
        ContainerStatus {
            name: container.name.clone(),
            image: current.map(|current| current.image.clone()).or(container.image.clone()).unwrap_or_default(),
            image_id: self.image_id(&memory, current, container),
            container_id: self.container_id(&now, &memory),
            ready,
            started: (role != Role::Ephemeral).then_some(started),
            restart_count: i32::try_from(restart_count).unwrap_or(i32::MAX),
            last_state: Some(last_state.map(terminated).unwrap_or_default()),
            state: Some(state(&now)),
            resources: container.resources.clone().filter(|resources| *resources != Default::default()),
            volume_mounts: volume_mounts(container),
            ..ContainerStatus::default()
        }
    }

    fn now<'b>(
        &self,
        role: Role,
        container: &Container,
        memory: &ContainerMemory,
        current: Option<&'b CriStatus>,
    ) -> Now<'b> {
        let starting = self.input.in_flight.contains(&Key::Start(container.name.clone()));
        if let (Some(current), false) = (current, starting)
            && let CriState::Running { started_at } = current.state
        {
            return Now::Running(current, timestamp(started_at));
        }
        let wait = |reason: &str, message: Option<String>| Now::Waiting { reason: reason.to_owned(), message };
        if self.over {
            let unknown = self.input.memory.ending.map(|ending| memory::lost(0, ending.since));
            let ended = memory.last_exit().cloned().or(unknown).map(Now::Ended);
            return ended.unwrap_or_else(|| wait(self.default_reason(), None));
        }
        match (need(self.input, role, container), memory.last_exit()) {
            (Need::Ended { .. }, Some(exit)) => Now::Ended(exit.clone()),
            (_, Some(exit)) if self.input.memory.ending.is_some() && !starting => Now::Ended(exit.clone()),
            (Need::Wait(_), Some(_)) if !is_newer_failure(memory) => {
                wait("CrashLoopBackOff", Some(self.back_off_message(memory, container)))
            }
            _ => match self.obstacle(memory, container) {
                Some((reason, message)) => wait(&reason, Some(message)),
                // Between an exit and the restart that is due now.
                None if memory.last_exit().is_some() && current.is_some() && !starting => {
                    memory.last_exit().cloned().map_or_else(|| wait("ContainerCreating", None), Now::Ended)
                }
                None => wait(self.default_reason(), None),
            },
        }
    }

    fn default_reason(&self) -> &'static str {
        let has_inits = spec::init_containers(self.input.pod).next().is_some();
        if has_inits { "PodInitializing" } else { "ContainerCreating" }
    }

    fn back_off_message(&self, memory: &ContainerMemory, container: &Container) -> String {
        let delay = memory.restarts.map(|backoff| crate::events::go_duration(backoff.delay)).unwrap_or_default();
        let pod = spec::full_name(self.input.pod);
        format!("back-off {delay} restarting failed container={} pod={pod}", container.name)
    }

    /// What keeps the container from starting, when it is known.
    fn obstacle(&self, memory: &ContainerMemory, container: &Container) -> Option<(String, String)> {
        if let Some(failure) = &memory.start_failure {
            return Some((failure.reason.clone(), failure.message.clone()));
        }
        let ImageMemory::Missing { reason, message, at, backoff } = &memory.image else { return None };
        // Upstream shows the error at once and the back-off from the next look on.
        let backs_off = reason == "ErrImagePull"
            && *at + memory::ERROR_SHOWN <= self.input.now
            && *at + backoff.delay > self.input.now;
        if !backs_off {
            return Some((reason.clone(), message.clone()));
        }
        let image = container.image.as_deref().unwrap_or_default();
        Some(("ImagePullBackOff".to_owned(), format!("Back-off pulling image {image:?}: {reason}: {message}")))
    }

    fn image_id(&self, memory: &ContainerMemory, current: Option<&CriStatus>, container: &Container) -> String {
        if let Some(current) = current {
            return current.image_id.clone();
        }
        if let ImageMemory::Here(image) = &memory.image {
            return image.id.clone();
        }
        self.old(container).map(|old| old.image_id.clone()).unwrap_or_default()
    }

    fn old(&self, container: &Container) -> Option<&ContainerStatus> {
        let status = self.input.pod.status.as_ref()?;
        super::lists(status).find(|status| status.name == container.name)
    }

    fn container_id(&self, now: &Now, memory: &ContainerMemory) -> Option<String> {
        let id = match now {
            Now::Running(status, _) => format!("{}{}", self.scheme, status.id.0),
            Now::Ended(exit) => exit.container_id.clone(),
            Now::Waiting { .. } => memory.last_exit()?.container_id.clone(),
        };
        (!id.is_empty()).then_some(id)
    }
}

/// Whether the last start failed after the last exit, or with it (`postStart`).
fn is_newer_failure(memory: &ContainerMemory) -> bool {
    let exit = memory.last_exit().map(|exit| exit.finished_at);
    memory.start_failure.as_ref().is_some_and(|failure| exit.is_none_or(|exit| failure.at >= exit))
}

fn state(now: &Now) -> ContainerState {
    match now {
        Now::Running(_, started_at) => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(whole_seconds(*started_at)) }),
            ..ContainerState::default()
        },
        Now::Ended(exit) => terminated(exit),
        Now::Waiting { reason, message } => ContainerState {
            waiting: Some(ContainerStateWaiting { reason: Some(reason.clone()), message: message.clone() }),
            ..ContainerState::default()
        },
    }
}

fn terminated(exit: &Exit) -> ContainerState {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: some(&exit.container_id),
            exit_code: exit.exit_code,
            finished_at: Some(whole_seconds(exit.finished_at)),
            message: some(&exit.message),
            reason: some(&exit.reason),
            signal: None,
            started_at: exit.started_at.map(whole_seconds),
        }),
        ..ContainerState::default()
    }
}

fn volume_mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_ref()?.iter().map(|mount| {
        let read_only = mount.read_only.filter(|read_only| *read_only);
        VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only,
            recursive_read_only: read_only.map(|_| "Disabled".to_owned()),
        }
    });
    Some(mounts.collect())
}
