//! The runtime half of the contract.

use crate::{
    AttachOptions, ByteStream, ContainerConfig, ContainerEvents, ContainerId, ContainerStats, ContainerStatus, Error,
    ExecOptions, ExecSession, ExecSyncOutput, Filter, LogProgress, PodSandboxConfig, SandboxId, SandboxStatus,
};
use async_trait::async_trait;
use std::{path::PathBuf, time::Duration};
use tokio::sync::watch;

/// CRI v1 `RuntimeService`. Every verb may be dropped at any await: it has then
/// happened as a whole or not at all.
#[async_trait]
pub trait RuntimeService: Send + Sync + 'static {
    /// Name and version, as in `node.status.nodeInfo.containerRuntimeVersion`
    /// (`wasmtime://48.0.8`).
    fn version(&self) -> String;

    /// Makes a sandbox with an address, ready for containers.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] for the same metadata (the message ends with the
    /// id), [`Error::ResourceExhausted`] when there is no address left.
    async fn run_pod_sandbox(&self, config: PodSandboxConfig) -> Result<SandboxId, Error>;

    /// Ends the sandbox's containers at once and gives its address back; fine
    /// when it is stopped or gone.
    ///
    /// # Errors
    /// [`Error::Internal`].
    async fn stop_pod_sandbox(&self, sandbox: &SandboxId) -> Result<(), Error>;

    /// Removes the sandbox and its containers, stopping them first; fine when it
    /// is gone.
    ///
    /// # Errors
    /// [`Error::Internal`].
    async fn remove_pod_sandbox(&self, sandbox: &SandboxId) -> Result<(), Error>;

    /// The sandbox as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    async fn pod_sandbox_status(&self, sandbox: &SandboxId) -> Result<SandboxStatus, Error>;

    /// All sandboxes that match.
    ///
    /// # Errors
    /// [`Error::Internal`].
    async fn list_pod_sandboxes(&self, filter: Filter) -> Result<Vec<SandboxStatus>, Error>;

    /// Makes a container in a ready sandbox; its guest does not run yet.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the sandbox or image, [`Error::AlreadyExists`]
    /// for the same metadata, [`Error::FailedPrecondition`] when the sandbox is
    /// not ready, [`Error::InvalidArgument`] for a config that can never work.
    async fn create_container(&self, sandbox: &SandboxId, config: ContainerConfig) -> Result<ContainerId, Error>;

    /// Starts a created container. A guest that fails at once still counts as
    /// started: its end is in the status.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::FailedPrecondition`] when it is not created.
    async fn start_container(&self, container: &ContainerId) -> Result<(), Error>;

    /// Asks the guest to end, and ends it after `grace`. Returns when it has
    /// ended; fine when it has ended or is gone.
    ///
    /// # Errors
    /// [`Error::Internal`].
    async fn stop_container(&self, container: &ContainerId, grace: Duration) -> Result<(), Error>;

    /// Removes the container, ending it first; fine when it is gone. Its log
    /// file stays.
    ///
    /// # Errors
    /// [`Error::Internal`].
    async fn remove_container(&self, container: &ContainerId) -> Result<(), Error>;

    /// The container as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    async fn container_status(&self, container: &ContainerId) -> Result<ContainerStatus, Error>;

    /// All containers that match.
    ///
    /// # Errors
    /// [`Error::Internal`].
    async fn list_containers(&self, filter: Filter) -> Result<Vec<ContainerStatus>, Error>;

    /// What the container uses now.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    async fn container_stats(&self, container: &ContainerId) -> Result<ContainerStats, Error>;

    /// The directory that has what the container wrote to its root file system,
    /// for who measures it; `None` when the runtime has no such thing. (The CRI
    /// gives a number of bytes, which costs a walk whether it is of use or not.)
    ///
    /// # Errors
    /// [`Error::NotFound`].
    fn writable_layer(&self, container: &ContainerId) -> Result<Option<PathBuf>, Error>;

    /// Closes the log file and opens the path anew, after it was rotated.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::FailedPrecondition`] when it does not run.
    async fn reopen_container_log(&self, container: &ContainerId) -> Result<(), Error>;

    /// What happens to the container's log, for who follows it. The receiver
    /// sees the newest state; the sender goes away with the container.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    fn log_progress(&self, container: &ContainerId) -> Result<watch::Receiver<LogProgress>, Error>;

    /// Runs a command beside the container's guest and waits for it.
    ///
    /// # Errors
    /// [`Error::NotFound`] also when there is no such program;
    /// [`Error::DeadlineExceeded`] after `timeout`.
    async fn exec_sync(
        &self,
        container: &ContainerId,
        command: Vec<String>,
        timeout: Duration,
    ) -> Result<ExecSyncOutput, Error>;

    /// Runs a command beside the container's guest, with streams.
    ///
    /// # Errors
    /// As [`RuntimeService::exec_sync`].
    async fn exec(&self, container: &ContainerId, options: ExecOptions) -> Result<ExecSession, Error>;

    /// The streams of the container's guest itself. Dropping the session leaves
    /// the guest as it is.
    ///
    /// # Errors
    /// [`Error::FailedPrecondition`] when it does not run.
    async fn attach(&self, container: &ContainerId, options: AttachOptions) -> Result<ExecSession, Error>;

    /// A connection to a TCP port that listens in the sandbox.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when nothing listens there.
    async fn port_forward(&self, sandbox: &SandboxId, port: u16) -> Result<ByteStream, Error>;

    /// From now on, a hint for each change of a container. A reader that falls
    /// behind is told ([`crate::EventsLagged`]) and lists.
    fn events(&self) -> ContainerEvents;
}
