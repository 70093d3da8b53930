//! What goes over the control socket: plain data, the same at both ends.
//!
//! | Request | Answer |
//! |---|---|
//! | `GET /v1/status` | [`ServerStatus`] |
//! | `GET /v1/containers` | [`Containers`] |
//! | `GET /v1/containers/ID` | [`Container`] |
//! | `GET /v1/containers/ID/stats` | [`Stats`] |
//! | `DELETE /v1/containers/ID` | nothing, when it is gone; `?force=true` if it may run |
//! | `POST /v1/nodes/NAME/stop`, `.../start` | nothing, when it is off or on |
//! | `GET /v1/snapshot` | a snapshot, as bytes |
//! | `PUT /v1/snapshot` with a snapshot | [`Restored`] |
//!
//! Anything but success is a [`Problem`]. Field names follow what `crictl` prints.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::SocketAddr};
use wk_cri::{ContainerState, ContainerStatus, UnixNanos};

/// What a server says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// The version of Kubernetes that its API shows.
    pub kubernetes_version: String,
    /// What runs containers, such as `wasmtime://48.0.8`; empty without nodes.
    pub runtime_version: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// Where the API is reached.
    pub address: SocketAddr,
    /// The parts that run in it.
    pub roles: Vec<String>,
    /// Addresses of Services.
    pub service_cidr: String,
    /// Addresses of pods.
    pub cluster_cidr: String,
    /// The nodes that run in it.
    pub nodes: Vec<NodeInfo>,
}

/// A node of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeInfo {
    /// Its name.
    pub name: String,
    /// The addresses of its pods.
    pub pod_cidr: String,
}

/// All containers of all nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containers {
    /// In no particular order.
    pub containers: Vec<Container>,
}

/// A container as its runtime sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The sandbox of its pod.
    pub pod_sandbox_id: String,
    /// Which one it is in its pod.
    pub metadata: Metadata,
    /// The image as it was asked for.
    pub image: Image,
    /// The image's digest.
    pub image_ref: String,
    /// Where it is in its life.
    #[serde(flatten)]
    pub state: State,
    /// When it was made.
    pub created_at: Timestamp,
    /// `io.kubernetes.pod.name` and the like.
    pub labels: BTreeMap<String, String>,
    /// Free-form.
    pub annotations: BTreeMap<String, String>,
    /// Where its log is.
    pub log_path: String,
    /// The node whose runtime has it.
    pub node: String,
}

/// What identifies a container in its pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Its name in the pod's spec.
    pub name: String,
    /// How many containers of this name the pod had before.
    pub attempt: u32,
}

/// An image by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The name.
    pub image: String,
}

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all_fields = "camelCase")]
pub enum State {
    /// Made, not started.
    #[serde(rename = "CONTAINER_CREATED")]
    Created,
    /// Its guest runs.
    #[serde(rename = "CONTAINER_RUNNING")]
    Running {
        /// Since when.
        started_at: Timestamp,
    },
    /// Its guest has ended.
    #[serde(rename = "CONTAINER_EXITED")]
    Exited {
        /// `None` when it never started.
        started_at: Option<Timestamp>,
        /// When it ended.
        finished_at: Timestamp,
        /// As the guest gave it, or 128 and a signal.
        exit_code: i32,
        /// `Completed`, `Error`, `OOMKilled`…
        reason: String,
        /// For people.
        message: String,
    },
}

/// What a container uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// When this was true.
    pub at: Timestamp,
    /// CPU time since it started.
    pub cpu_nanos: u64,
    /// Bytes of linear memory.
    pub memory_bytes: u64,
}

/// A snapshot has replaced the content of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The commit that did it.
    pub revision: u64,
}

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// For people.
    pub message: String,
}

impl Container {
    /// A runtime's container, seen from outside.
    pub fn of(node: &str, status: ContainerStatus) -> Self {
        let ContainerStatus {
            id,
            sandbox,
            metadata,
            state,
            created_at,
            image,
            image_id,
            labels,
            annotations,
            log_path,
        } = status;
        Self {
            id: id.0,
            pod_sandbox_id: sandbox.0,
            metadata: Metadata { name: metadata.name, attempt: metadata.attempt },
            image: Image { image },
            image_ref: image_id,
            state: State::of(state),
            created_at: timestamp(created_at),
            labels,
            annotations,
            log_path: log_path.display().to_string(),
            node: node.to_owned(),
        }
    }

    /// Whether its guest runs.
    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }
}

impl State {
    fn of(state: ContainerState) -> Self {
        match state {
            ContainerState::Created => Self::Created,
            ContainerState::Running { started_at } => Self::Running { started_at: timestamp(started_at) },
            ContainerState::Exited { started_at, finished_at, exit_code, reason, message } => Self::Exited {
                started_at: (started_at.0 > 0).then(|| timestamp(started_at)),
                finished_at: timestamp(finished_at),
                exit_code,
                reason,
                message,
            },
        }
    }

    /// As `crictl ps` shows it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Running { .. } => "Running",
            Self::Exited { .. } => "Exited",
        }
    }
}

fn timestamp(nanos: UnixNanos) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanos.0)).unwrap_or(Timestamp::UNIX_EPOCH)
}
