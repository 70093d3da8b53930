//! [`WasmRuntime`]: the verbs of the contract over sandboxes and containers.
//!
//! Thin: what changes state is a synchronous step in `state.rs`, so a verb may be
//! dropped at any await; here is what waits.

use crate::{exec, limits::Limits, processes::session::Call, programs::Programs, state::Shared, toolbox::Toolbox};
use async_trait::async_trait;
use ipnet::Ipv4Net;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{runtime::Handle, sync::watch, time::Instant};
use wk_cri::{
    AttachOptions, ByteStream, ContainerConfig, ContainerEvents, ContainerId, ContainerState, ContainerStats,
    ContainerStatus, Error, ExecOptions, ExecSession, ExecSyncOutput, Filter, LogProgress, PodSandboxConfig,
    RuntimeService, SandboxId, SandboxStatus,
};
use wk_images::ImageStore;
use wk_network::Network;
use wk_platform::{Clock, Entropy};

/// The engine this crate is built with; a test compares it with the lock file.
const WASMTIME_VERSION: &str = "48.0.8";

/// What a runtime is made of.
pub struct Config {
    /// The engine and its compiled code; one per process.
    pub programs: Arc<Programs>,
    /// The images of this node.
    pub images: Arc<ImageStore>,
    /// Programs beside each image's own.
    pub toolbox: Option<Toolbox>,
    /// The network of the pods.
    pub network: Network,
    /// The addresses of this node's pods.
    pub pod_cidr: Ipv4Net,
    /// For the root directories of containers; this runtime's alone.
    pub state_dir: PathBuf,
    /// Where guests are polled: never the runtime of the control plane.
    pub guests: Handle,
    /// For timestamps.
    pub clock: Clock,
    /// For ids.
    pub entropy: Entropy,
    /// What every guest may have at most.
    pub limits: Limits,
}

/// Runs wasm in sandboxes. Cheap to clone.
#[derive(Clone)]
pub struct WasmRuntime {
    shared: Arc<Shared>,
}

impl WasmRuntime {
    /// An empty runtime. What a runtime before it left in `state_dir` is removed.
    ///
    /// # Errors
    /// [`Error::Internal`] when the directory or a thread cannot be had.
    pub fn new(config: Config) -> Result<Self, Error> {
        Ok(Self { shared: Arc::new(Shared::new(config)?) })
    }

    /// Ends every guest, so that its log is whole, and waits up to `deadline`.
    ///
    /// # Errors
    /// That some had not ended.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), String> {
        let late = Instant::now() + deadline;
        let ended = tokio::time::timeout_at(late, self.shared.end_all()).await;
        self.shared.tasks.shutdown(late.saturating_duration_since(Instant::now())).await?;
        ended.map_err(|_| format!("some guests had not ended after {deadline:?}"))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

#[async_trait]
impl RuntimeService for WasmRuntime {
    fn version(&self) -> String {
        format!("wasmtime://{WASMTIME_VERSION}")
    }

    async fn run_pod_sandbox(&self, config: PodSandboxConfig) -> Result<SandboxId, Error> {
        self.shared.run_sandbox(config)
    }

    async fn stop_pod_sandbox(&self, sandbox: &SandboxId) -> Result<(), Error> {
        self.shared.stop_sandbox(sandbox).await;
        Ok(())
    }

    async fn remove_pod_sandbox(&self, sandbox: &SandboxId) -> Result<(), Error> {
        self.shared.stop_sandbox(sandbox).await;
        self.shared.remove_sandbox(sandbox).await;
        Ok(())
    }

    async fn pod_sandbox_status(&self, sandbox: &SandboxId) -> Result<SandboxStatus, Error> {
        Ok(self.shared.sandbox(sandbox)?.status())
    }

    async fn list_pod_sandboxes(&self, filter: Filter) -> Result<Vec<SandboxStatus>, Error> {
        Ok(self.shared.sandboxes(&filter))
    }

    async fn create_container(&self, sandbox: &SandboxId, config: ContainerConfig) -> Result<ContainerId, Error> {
        Ok(self.shared.create(sandbox, config)?.id.clone())
    }

    async fn start_container(&self, container: &ContainerId) -> Result<(), Error> {
        let container = self.shared.container(container)?;
        let environment = exec::environment(&container, container.config.tty);
        let call = Call {
            arguments: exec::container_args(&container),
            search: exec::search(&environment),
            directory: exec::working_dir(&container),
        };
        match self.shared.launcher.find(&container, call).await.map_err(exec::start_failed) {
            Ok((program, arguments)) => self.shared.start(&container, &program, arguments),
            Err(error) if container.state() == ContainerState::Created => {
                self.shared.fail_start(&container, &error);
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn stop_container(&self, container: &ContainerId, grace: Duration) -> Result<(), Error> {
        let Ok(container) = self.shared.container(container) else { return Ok(()) };
        container.request_stop(Instant::now() + grace);
        container.ended().await;
        Ok(())
    }

    async fn remove_container(&self, container: &ContainerId) -> Result<(), Error> {
        // A removal that was interrupted is finished by the next one.
        let Some(container) = self.shared.known_container(container) else { return Ok(()) };
        self.shared.remove(&container).await;
        Ok(())
    }

    async fn container_status(&self, container: &ContainerId) -> Result<ContainerStatus, Error> {
        Ok(self.shared.container(container)?.status())
    }

    async fn list_containers(&self, filter: Filter) -> Result<Vec<ContainerStatus>, Error> {
        Ok(self.shared.containers(&filter))
    }

    async fn container_stats(&self, container: &ContainerId) -> Result<ContainerStats, Error> {
        Ok(self.shared.container(container)?.stats())
    }

    fn writable_layer(&self, container: &ContainerId) -> Result<Option<PathBuf>, Error> {
        Ok(Some(self.shared.container(container)?.rootfs.directory().to_owned()))
    }

    async fn reopen_container_log(&self, container: &ContainerId) -> Result<(), Error> {
        let container = self.shared.container(container)?;
        let output = container.running("reopen the log of", |running| running.output.clone())?;
        output.reopen().map_err(|error| Error::Internal(format!("open log {}: {error}", container.log_path.display())))
    }

    fn log_progress(&self, container: &ContainerId) -> Result<watch::Receiver<LogProgress>, Error> {
        Ok(self.shared.container(container)?.log().subscribe())
    }

    async fn exec_sync(
        &self,
        container: &ContainerId,
        command: Vec<String>,
        timeout: Duration,
    ) -> Result<ExecSyncOutput, Error> {
        let session = self.exec(container, ExecOptions { command, ..ExecOptions::default() }).await?;
        exec::collect(session, timeout).await
    }

    async fn exec(&self, container: &ContainerId, options: ExecOptions) -> Result<ExecSession, Error> {
        let container = self.shared.container(container)?;
        self.shared.exec(&container, options).await
    }

    async fn attach(&self, container: &ContainerId, options: AttachOptions) -> Result<ExecSession, Error> {
        let container = self.shared.container(container)?;
        self.shared.attach(&container, options)
    }

    async fn port_forward(&self, sandbox: &SandboxId, port: u16) -> Result<ByteStream, Error> {
        let sandbox = self.shared.sandbox(sandbox)?;
        let not_ready = || Error::FailedPrecondition(format!("sandbox {} is not ready", sandbox.id.0));
        let connection = sandbox.port().ok_or_else(not_ready)?.dial(port);
        let connection =
            connection.map_err(|error| Error::Unavailable(format!("connect to port {port} of the pod: {error}")))?;
        Ok(Box::new(connection))
    }

    fn events(&self) -> ContainerEvents {
        ContainerEvents::new(self.shared.journal.subscribe())
    }
}
