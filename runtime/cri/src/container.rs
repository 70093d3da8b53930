//! Containers: plain data.

use crate::{SandboxId, UnixNanos};
use std::{collections::BTreeMap, path::PathBuf};

/// The id of a container, made by the runtime (64 hexadecimal digits).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(pub String);

/// What identifies a container within its sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ContainerMetadata {
    /// The name in the pod's spec.
    pub name: String,
    /// How many containers of this name the pod had before.
    pub attempt: u32,
}

/// A directory or file of the host, seen in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path in the container.
    pub container_path: String,
    /// Absolute path on the host.
    pub host_path: PathBuf,
    /// Whether the container may only read.
    pub readonly: bool,
}

/// What a container may use. `None` is "no limit".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a CPU it is weighed by.
    pub cpu_request_millis: Option<u64>,
    /// Thousandths of a CPU it may use.
    pub cpu_limit_millis: Option<u64>,
    /// Bytes of linear memory it may have.
    pub memory_limit_bytes: Option<u64>,
}

/// What to make of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerConfig {
    /// Which one it is.
    pub metadata: ContainerMetadata,
    /// The image's id, as `pull_image` or `image_status` gave it.
    pub image: String,
    /// Replaces the image's entrypoint; empty keeps it.
    pub command: Vec<String>,
    /// Replaces the image's arguments; empty keeps them.
    pub args: Vec<String>,
    /// Absolute path; empty keeps the image's.
    pub working_dir: String,
    /// Names and values, later ones winning.
    pub envs: Vec<(String, String)>,
    /// In the order of the spec.
    pub mounts: Vec<Mount>,
    /// For finding it again.
    pub labels: BTreeMap<String, String>,
    /// Free-form.
    pub annotations: BTreeMap<String, String>,
    /// Relative to the sandbox's log directory.
    pub log_path: PathBuf,
    /// Keep stdin open for an attach.
    pub stdin: bool,
    /// Close stdin when the first attached client goes.
    pub stdin_once: bool,
    /// Stdin and stdout are a terminal.
    pub tty: bool,
    /// Whether the root file system is read-only.
    pub readonly_rootfs: bool,
    /// What it may use.
    pub resources: Resources,
}

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Its guest runs.
    Running {
        /// When it started.
        started_at: UnixNanos,
    },
    /// Its guest has ended.
    Exited {
        /// When it started; 0 when it never did.
        started_at: UnixNanos,
        /// When it ended.
        finished_at: UnixNanos,
        /// As the guest gave it, or 128 + signal as a shell would say it.
        exit_code: i32,
        /// `Completed`, `Error`, `OOMKilled`, `ContainerCannotRun`, `StartError`…
        reason: String,
        /// What happened, for people: the trap and where; empty when nothing to say.
        message: String,
    },
}

/// A container as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerStatus {
    /// Its id.
    pub id: ContainerId,
    /// The sandbox it is in.
    pub sandbox: SandboxId,
    /// Which one it is.
    pub metadata: ContainerMetadata,
    /// Where it is in its life.
    pub state: ContainerState,
    /// When it was made.
    pub created_at: UnixNanos,
    /// The name its image was asked for by.
    pub image: String,
    /// The image's id (`sha256:…`).
    pub image_id: String,
    /// As configured.
    pub labels: BTreeMap<String, String>,
    /// As configured.
    pub annotations: BTreeMap<String, String>,
    /// Absolute.
    pub log_path: PathBuf,
}

/// Narrows a list; empty fields match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this sandbox.
    pub sandbox: Option<SandboxId>,
    /// Only with all these labels.
    pub labels: BTreeMap<String, String>,
}

/// What happened to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerEventKind {
    /// It was made.
    Created,
    /// Its guest started.
    Started,
    /// Its guest ended, by itself or not.
    Stopped,
    /// It was removed.
    Deleted,
}

/// A hint to look at a container; never the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerEvent {
    /// The container.
    pub container: ContainerId,
    /// Its sandbox.
    pub sandbox: SandboxId,
    /// The UID of the sandbox's pod.
    pub pod_uid: String,
    /// What happened.
    pub kind: ContainerEventKind,
}

/// What a container uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerStats {
    /// CPU time since it started.
    pub cpu_nanos: u64,
    /// Bytes of linear memory.
    pub memory_bytes: u64,
}

/// How far the log of a container is. The CRI has no such thing: a kubelet there
/// watches the file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogProgress {
    /// Changes after each write and each change of the file behind the path.
    pub writes: u64,
    /// The guest has ended, and all that it wrote is in the file.
    pub is_complete: bool,
}

impl LogProgress {
    /// Notes that the file has grown, or is another one.
    pub fn note_write(&mut self) {
        self.writes = self.writes.wrapping_add(1);
    }
}
