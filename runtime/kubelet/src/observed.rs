//! What the runtime has of one pod, and how to look at it. Pure.

use jiff::Timestamp;
use wk_cri::{ContainerState, ContainerStatus, SandboxId, SandboxState, SandboxStatus, UnixNanos};

/// The pod's sandboxes and containers as the runtime last listed them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Dead ones too.
    pub sandboxes: Vec<SandboxStatus>,
    /// Dead ones too.
    pub containers: Vec<ContainerStatus>,
}

impl Observed {
    /// The newest sandbox.
    pub fn sandbox(&self) -> Option<&SandboxStatus> {
        self.sandboxes.iter().max_by_key(|sandbox| (sandbox.metadata.attempt, sandbox.created_at))
    }

    /// The newest sandbox, when it can run containers.
    pub fn ready_sandbox(&self) -> Option<&SandboxStatus> {
        self.sandbox().filter(|sandbox| sandbox.state == SandboxState::Ready)
    }

    /// The newest container of this name in the newest sandbox.
    pub fn current(&self, name: &str) -> Option<&ContainerStatus> {
        let sandbox = &self.sandbox()?.id;
        self.attempts(name).filter(|container| container.sandbox == *sandbox).max_by_key(|container| attempt(container))
    }

    /// All containers of this name.
    pub fn attempts(&self, name: &str) -> impl Iterator<Item = &ContainerStatus> {
        self.containers.iter().filter(move |container| container.metadata.name == name)
    }

    /// Whether the guest of the current container of this name runs.
    pub fn is_running(&self, name: &str) -> bool {
        self.current(name).is_some_and(is_running)
    }

    /// Containers whose guests run, in whatever sandbox.
    pub fn running(&self) -> impl Iterator<Item = &ContainerStatus> {
        self.containers.iter().filter(|container| is_running(container))
    }

    /// The ids of sandboxes that a newer one has replaced.
    pub fn replaced_sandboxes(&self) -> impl Iterator<Item = &SandboxId> {
        let newest = self.sandbox().map(|sandbox| &sandbox.id);
        self.sandboxes.iter().map(|sandbox| &sandbox.id).filter(move |id| Some(*id) != newest)
    }
}

/// Whether the container's guest runs.
pub fn is_running(container: &ContainerStatus) -> bool {
    matches!(container.state, ContainerState::Running { .. })
}

fn attempt(container: &ContainerStatus) -> (u32, UnixNanos) {
    (container.metadata.attempt, container.created_at)
}

/// The wall time of the runtime's nanoseconds.
pub fn timestamp(nanos: UnixNanos) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanos.0)).unwrap_or(Timestamp::UNIX_EPOCH)
}
