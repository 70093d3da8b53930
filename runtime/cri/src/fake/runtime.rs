//! The contract's traits on the fake.

use super::{FakeContainer, FakeRuntime, FakeSandbox, Life, Shared, script, streams};
use crate::{
    AttachOptions, ByteStream, ContainerConfig, ContainerEventKind, ContainerEvents, ContainerId, ContainerState,
    ContainerStats, ContainerStatus, Error, ExecOptions, ExecSession, ExecSyncOutput, Filter, Image, ImageService,
    LogProgress, PodSandboxConfig, RuntimeService, SandboxId, SandboxState, SandboxStatus, UnixNanos,
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::watch;

fn no_sandbox(id: &SandboxId) -> Error {
    Error::NotFound(format!("no sandbox {}", id.0))
}

fn no_container(id: &ContainerId) -> Error {
    Error::NotFound(format!("no container {}", id.0))
}

fn has_all(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

impl Shared {
    /// The name of a container for the list of calls; its id when there is none.
    fn name_of(&self, id: &ContainerId) -> String {
        let state = self.state.lock();
        state.containers.get(id).map_or_else(|| id.0.clone(), |found| found.status.metadata.name.clone())
    }

    fn make_sandbox(&self, config: PodSandboxConfig) -> Result<SandboxId, Error> {
        let created_at = self.now();
        let mut state = self.state.lock();
        if let Some(same) = state.sandboxes.values().find(|sandbox| sandbox.status.metadata == config.metadata) {
            return Err(Error::AlreadyExists(format!("the sandbox exists as {}", same.status.id.0)));
        }
        let addresses = match (config.host_network, state.free_address(&self.config)) {
            (true, _) => Vec::new(),
            (false, Some(address)) => vec![address],
            (false, None) => return Err(Error::ResourceExhausted("no pod address is left".to_owned())),
        };
        let id = SandboxId(state.new_id());
        let PodSandboxConfig { metadata, log_directory, labels, annotations, .. } = config;
        let status = SandboxStatus {
            id: id.clone(),
            metadata,
            state: SandboxState::Ready,
            created_at,
            addresses,
            labels,
            annotations,
        };
        state.sandboxes.insert(id.clone(), FakeSandbox { status, log_directory });
        Ok(id)
    }

    fn make_container(&self, sandbox: &SandboxId, config: ContainerConfig) -> Result<ContainerId, Error> {
        let created_at = self.now();
        let mut state = self.state.lock();
        let found = state.sandboxes.get(sandbox).ok_or_else(|| no_sandbox(sandbox))?;
        if found.status.state != SandboxState::Ready {
            return Err(Error::FailedPrecondition(format!("sandbox {} is not ready", sandbox.0)));
        }
        let (log_path, pod_uid) = (found.log_directory.join(&config.log_path), found.status.metadata.uid.clone());
        let same =
            |other: &&FakeContainer| other.status.sandbox == *sandbox && other.status.metadata == config.metadata;
        if let Some(same) = state.containers.values().find(same) {
            return Err(Error::AlreadyExists(format!("the container exists as {}", same.status.id.0)));
        }
        let (name, image) = state
            .image(&config.image)
            .filter(|(_, image)| image.present)
            .ok_or_else(|| Error::NotFound(format!("no image {} on this node", config.image)))?;
        let (image_name, script) = (name.clone(), image.script.clone());
        let id = ContainerId(state.new_id());
        let status = ContainerStatus {
            id: id.clone(),
            sandbox: sandbox.clone(),
            metadata: config.metadata.clone(),
            state: ContainerState::Created,
            created_at,
            image_id: script::image_id(&image_name),
            image: image_name,
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            log_path,
        };
        let container =
            FakeContainer { status, config, script, ended: watch::Sender::new(false), log: watch::Sender::default() };
        self.emit(&container, pod_uid, ContainerEventKind::Created);
        state.containers.insert(id.clone(), container);
        Ok(id)
    }

    /// Moves a created container to running; what its guest does and writes.
    fn begin(&self, id: &ContainerId) -> Result<(Life, Vec<String>), Error> {
        let now = self.now();
        let mut state = self.state.lock();
        let pod_uid = state.pod_uid(id);
        let container = state.containers.get_mut(id).ok_or_else(|| no_container(id))?;
        if container.status.state != ContainerState::Created {
            return Err(Error::FailedPrecondition(format!("container {} is not in state Created", id.0)));
        }
        if let Life::FailsToStart(error) = &container.script.life {
            let (error, reason) = (error.clone(), "StartError".to_owned());
            let message = error.to_string();
            container.status.state =
                ContainerState::Exited { started_at: UnixNanos(0), finished_at: now, exit_code: 128, reason, message };
            container.log.send_modify(|log| log.is_complete = true);
            return Err(error);
        }
        container.status.state = ContainerState::Running { started_at: now };
        self.emit(container, pod_uid, ContainerEventKind::Started);
        Ok((container.script.life.clone(), container.script.log_lines.clone()))
    }

    /// The container's log, of which the caller changes the file.
    fn log(&self, id: &ContainerId) -> Result<(PathBuf, watch::Sender<LogProgress>), Error> {
        let state = self.state.lock();
        let container = state.containers.get(id).ok_or_else(|| no_container(id))?;
        Ok((container.status.log_path.clone(), container.log.clone()))
    }

    pub(super) fn append_log(&self, id: &ContainerId, bytes: &[u8]) -> io::Result<()> {
        let (path, log) = self.log(id).map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))?;
        OpenOptions::new().append(true).create(true).open(path)?.write_all(bytes)?;
        log.send_modify(LogProgress::note_write);
        Ok(())
    }

    fn forget_container(&self, id: &ContainerId) {
        let mut state = self.state.lock();
        let pod_uid = state.pod_uid(id);
        if let Some(container) = state.containers.remove(id) {
            self.emit(&container, pod_uid, ContainerEventKind::Deleted);
        }
    }

    fn running_script(&self, id: &ContainerId) -> Result<super::Script, Error> {
        let state = self.state.lock();
        let container = state.containers.get(id).ok_or_else(|| no_container(id))?;
        match container.status.state {
            ContainerState::Running { .. } => Ok(container.script.clone()),
            ContainerState::Created | ContainerState::Exited { .. } => {
                Err(Error::FailedPrecondition(format!("container {} does not run", id.0)))
            }
        }
    }
}

/// Writes lines in the CRI's log format. The time is always the same: readers
/// of the fake's logs need its form, not its value.
fn write_log(path: &Path, lines: &[String]) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let text: String = lines.iter().map(|line| format!("2026-01-01T00:00:00.000000000Z stdout F {line}\n")).collect();
    std::fs::write(path, text)
}

#[async_trait]
impl RuntimeService for FakeRuntime {
    fn version(&self) -> String {
        "fake://1.0.0".to_owned()
    }

    async fn run_pod_sandbox(&self, config: PodSandboxConfig) -> Result<SandboxId, Error> {
        self.shared.enter("run_pod_sandbox", &config.metadata.name)?;
        self.shared.make_sandbox(config)
    }

    async fn stop_pod_sandbox(&self, sandbox: &SandboxId) -> Result<(), Error> {
        self.shared.enter("stop_pod_sandbox", &sandbox.0)?;
        self.shared.stop_sandbox(sandbox);
        Ok(())
    }

    async fn remove_pod_sandbox(&self, sandbox: &SandboxId) -> Result<(), Error> {
        self.shared.enter("remove_pod_sandbox", &sandbox.0)?;
        self.shared.stop_sandbox(sandbox);
        let containers = self.shared.state.lock().containers_of(sandbox);
        containers.iter().for_each(|container| self.shared.forget_container(container));
        self.shared.state.lock().sandboxes.remove(sandbox);
        Ok(())
    }

    async fn pod_sandbox_status(&self, sandbox: &SandboxId) -> Result<SandboxStatus, Error> {
        let state = self.shared.state.lock();
        state.sandboxes.get(sandbox).map(|found| found.status.clone()).ok_or_else(|| no_sandbox(sandbox))
    }

    async fn list_pod_sandboxes(&self, filter: Filter) -> Result<Vec<SandboxStatus>, Error> {
        let state = self.shared.state.lock();
        let matches = |status: &&SandboxStatus| {
            filter.sandbox.as_ref().is_none_or(|id| *id == status.id) && has_all(&status.labels, &filter.labels)
        };
        Ok(state.sandboxes.values().map(|found| &found.status).filter(matches).cloned().collect())
    }

    async fn create_container(&self, sandbox: &SandboxId, config: ContainerConfig) -> Result<ContainerId, Error> {
        self.shared.enter("create_container", &config.metadata.name)?;
        self.shared.make_container(sandbox, config)
    }

    async fn start_container(&self, container: &ContainerId) -> Result<(), Error> {
        self.shared.enter("start_container", &self.shared.name_of(container))?;
        let (life, lines) = self.shared.begin(container)?;
        let (path, log) = self.shared.log(container)?;
        write_log(&path, &lines).map_err(|error| Error::Internal(format!("write log: {error}")))?;
        log.send_modify(LogProgress::note_write);
        self.shared.play(container.clone(), life);
        Ok(())
    }

    async fn stop_container(&self, container: &ContainerId, grace: Duration) -> Result<(), Error> {
        self.shared.enter("stop_container", &self.shared.name_of(container))?;
        let Some((after, exit_code, mut ended)) = self.shared.stop_plan(container, grace) else { return Ok(()) };
        tokio::select! {
            () = tokio::time::sleep(after) => self.shared.finish(container, exit_code, ""),
            _ = ended.wait_for(|ended| *ended) => {}
        }
        Ok(())
    }

    async fn remove_container(&self, container: &ContainerId) -> Result<(), Error> {
        self.shared.enter("remove_container", &self.shared.name_of(container))?;
        self.shared.finish(container, super::KILLED, "");
        self.shared.forget_container(container);
        Ok(())
    }

    async fn container_status(&self, container: &ContainerId) -> Result<ContainerStatus, Error> {
        let state = self.shared.state.lock();
        state.containers.get(container).map(|found| found.status.clone()).ok_or_else(|| no_container(container))
    }

    async fn list_containers(&self, filter: Filter) -> Result<Vec<ContainerStatus>, Error> {
        let state = self.shared.state.lock();
        let matches = |status: &&ContainerStatus| {
            filter.sandbox.as_ref().is_none_or(|id| *id == status.sandbox) && has_all(&status.labels, &filter.labels)
        };
        Ok(state.containers.values().map(|found| &found.status).filter(matches).cloned().collect())
    }

    async fn container_stats(&self, container: &ContainerId) -> Result<ContainerStats, Error> {
        self.container_status(container).await.map(|_| ContainerStats { cpu_nanos: 1_000_000, memory_bytes: 1 << 20 })
    }

    /// A directory beside the log, which a test may make and fill.
    fn writable_layer(&self, container: &ContainerId) -> Result<Option<PathBuf>, Error> {
        self.shared.log(container).map(|(log, _)| Some(log.with_extension("root")))
    }

    async fn reopen_container_log(&self, container: &ContainerId) -> Result<(), Error> {
        self.shared.running_script(container)?;
        let (path, log) = self.shared.log(container)?;
        write_log(&path, &[]).map_err(|error| Error::Internal(format!("reopen log: {error}")))?;
        log.send_modify(LogProgress::note_write);
        Ok(())
    }

    fn log_progress(&self, container: &ContainerId) -> Result<watch::Receiver<LogProgress>, Error> {
        self.shared.log(container).map(|(_, log)| log.subscribe())
    }

    async fn exec_sync(
        &self,
        container: &ContainerId,
        command: Vec<String>,
        _timeout: Duration,
    ) -> Result<ExecSyncOutput, Error> {
        self.shared.enter("exec_sync", &command.join(" "))?;
        streams::run_command(&self.shared.running_script(container)?, &command)
    }

    async fn exec(&self, container: &ContainerId, options: ExecOptions) -> Result<ExecSession, Error> {
        self.shared.enter("exec", &options.command.join(" "))?;
        let result = streams::run_command(&self.shared.running_script(container)?, &options.command)?;
        let (session, play) = streams::session(&options, result);
        self.shared.spawn(play);
        Ok(session)
    }

    async fn attach(&self, container: &ContainerId, _options: AttachOptions) -> Result<ExecSession, Error> {
        self.shared.running_script(container)?;
        let (stdin, tty) = {
            let state = self.shared.state.lock();
            let config = state.containers.get(container).map(|found| &found.config);
            config.map_or((false, false), |config| (config.stdin, config.tty))
        };
        let options = ExecOptions { command: vec!["cat".to_owned()], stdin, tty };
        let (session, play) = streams::session(&options, ExecSyncOutput::default());
        self.shared.spawn(play);
        Ok(session)
    }

    async fn port_forward(&self, sandbox: &SandboxId, port: u16) -> Result<ByteStream, Error> {
        let listener = {
            let state = self.shared.state.lock();
            state.sandboxes.get(sandbox).ok_or_else(|| no_sandbox(sandbox))?;
            let running = state.containers.values().filter(|container| {
                container.status.sandbox == *sandbox && matches!(container.status.state, ContainerState::Running { .. })
            });
            running.filter_map(|container| container.script.ports.get(&port)).next().copied()
        };
        let refused = || Error::Unavailable(format!("dial tcp 127.0.0.1:{port}: connect: connection refused"));
        let listener = listener.ok_or_else(refused)?;
        let (near, far) = tokio::io::duplex(streams::CONNECTION_BYTES);
        self.shared.spawn(streams::serve_port(listener, far));
        Ok(Box::new(near))
    }

    fn events(&self) -> ContainerEvents {
        ContainerEvents::new(self.shared.events.subscribe())
    }
}

#[async_trait]
impl ImageService for FakeRuntime {
    async fn list_images(&self) -> Result<Vec<Image>, Error> {
        let state = self.shared.state.lock();
        let present = state.images.iter().filter(|(_, image)| image.present);
        Ok(present.map(|(name, _)| script::describe(name)).collect())
    }

    async fn image_status(&self, reference: &str) -> Result<Option<Image>, Error> {
        let state = self.shared.state.lock();
        let image = state.image(reference).filter(|(_, image)| image.present);
        Ok(image.map(|(name, _)| script::describe(name)))
    }

    async fn pull_image(&self, reference: &str) -> Result<Image, Error> {
        self.shared.enter("pull_image", reference)?;
        let found = self.shared.state.lock().images.get(reference).cloned();
        let image = found.ok_or_else(|| Error::NotFound(format!("no image {reference} in any store")))?;
        tokio::time::sleep(image.pull_time).await;
        if let Some(error) = image.pull_error {
            return Err(error);
        }
        if let Some(image) = self.shared.state.lock().images.get_mut(reference) {
            image.present = true;
        }
        Ok(script::describe(reference))
    }

    async fn remove_image(&self, reference: &str) -> Result<(), Error> {
        self.shared.enter("remove_image", reference)?;
        let mut state = self.shared.state.lock();
        if state.containers.values().any(|container| container.status.image == reference) {
            return Err(Error::FailedPrecondition(format!("a container uses image {reference}")));
        }
        if let Some(image) = state.images.get_mut(reference) {
            image.present = false;
        }
        Ok(())
    }
}
