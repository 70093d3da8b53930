//! Pods bound to this node, in; running sandboxes and status, out.
//!
//! ```text
//!   API ── watch of pods on this node ──▶ pods ──▶ one worker per pod UID
//!                                                   │  lifecycle::plan (pure)
//!                                                   ▼
//!   runtime ◀── sandboxes, images, containers ── actions
//!      └── events ──▶ worker looks again ──▶ status::build (pure) ──▶ PATCH pods/status
//! ```
//!
//! Reading order: [`config`], `kubelet`, `node`, `pods`, `worker`, [`lifecycle`],
//! `actions`, [`translate`], [`volumes`], [`disk`], [`probes`], [`status`], [`events`],
//! [`handle`], [`server`].
//!
//! Invariants: only upstream API features are used; nothing polls, a worker
//! sleeps until its pod, its containers or a deadline change; a pod's UID has at
//! most one worker; what is decided is decided by pure functions over a spec, an
//! observation and a time.
#![forbid(unsafe_code)]

mod actions;
pub mod backoff;
pub mod config;
pub mod disk;
pub mod events;
mod garbage;
pub mod handle;
pub mod hooks;
mod kubelet;
pub mod lifecycle;
pub mod logs;
pub mod memory;
mod node;
pub mod objects;
pub mod observed;
mod pods;
pub mod probes;
pub mod server;
mod slot;
pub mod spec;
pub mod status;
mod termination;
pub mod translate;
pub mod volumes;
mod worker;

pub use config::{Capacity, ClusterDns, Config, NodeConfig};
pub use handle::{ContainerView, KubeletHandle, LogError, PodView};
pub use kubelet::Kubelet;

/// Labels that every sandbox and container carries, so that it can be found
/// again (upstream: `pkg/kubelet/types/labels.go`).
pub mod labels {
    /// The pod's name.
    pub const POD_NAME: &str = "io.kubernetes.pod.name";
    /// The pod's namespace.
    pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    /// The pod's UID.
    pub const POD_UID: &str = "io.kubernetes.pod.uid";
    /// The container's name in the spec.
    pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
    /// An annotation: what a container was made from. Upstream hashes its name and
    /// its image; here it is the image, which is all of the two that can change.
    pub const CONTAINER_HASH: &str = "io.kubernetes.container.hash";
}
