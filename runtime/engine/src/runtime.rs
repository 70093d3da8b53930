//! [`WasmRuntime`]: the verbs of the contract over sandboxes and containers.
//!
//! State lives in two tables under one lock that is never held across an await.
//! Every change is made by one synchronous step, so a verb may be dropped at any
//! await. Nothing survives the process: guests die with it, so a new runtime
//! starts empty and clears away the files of the one before.

use crate::{
    container::{Container, NewContainer, Running},
    cpu::Metered,
    exec::{self, STDIN_PIECES_MAX, Streams},
    image_service::refusal,
    limits::Limits,
    logs::{ContainerOutput, LogWriter},
    programs::Programs,
    rootfs::Rootfs,
    run::Program,
    sandbox::Sandbox,
    stdio::{Sink, Source, Stdin, Stdout, Terminal},
};
use async_trait::async_trait;
use futures::future::join_all;
use ipnet::Ipv4Net;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap, convert::Infallible, fmt::Write as _, fs, io, path::PathBuf, sync::Arc, time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{broadcast, mpsc},
    time::Instant,
};
use tracing::{info, warn};
use wk_cri::{
    ByteStream, ContainerConfig, ContainerEvent, ContainerEventKind, ContainerEvents, ContainerId, ContainerState,
    ContainerStats, ContainerStatus, Error, ExecOptions, ExecSession, ExecSyncOutput, Filter, PodSandboxConfig,
    RuntimeService, SandboxId, SandboxStatus, UnixNanos,
};
use wk_images::{ImageDigest, ImageStore};
use wk_network::{Network, PodConfig, PodPort, names::Resolver};
use wk_platform::{Clock, Entropy, TaskGroup, tasks::OnError};

/// The engine this crate is built with; a test compares it with the lock file.
const WASMTIME_VERSION: &str = "48.0.8";

/// Events kept for a reader that falls behind; it then lists. A rolling update
/// of a thousand pods makes four events per container in a burst.
const EVENTS_MAX: usize = 8192;

/// Random bytes of an id.
const ID_BYTES: usize = 32;

/// What a runtime is made of.
pub struct Config {
    /// The engine and its compiled code; one per process.
    pub programs: Arc<Programs>,
    /// The images of this node.
    pub images: Arc<ImageStore>,
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

/// Everything of a runtime.
pub(crate) struct Shared {
    pub(crate) programs: Arc<Programs>,
    pub(crate) images: Arc<ImageStore>,
    pub(crate) guests: Handle,
    pub(crate) limits: Limits,
    pub(crate) tasks: TaskGroup,
    network: Network,
    pod_cidr: Ipv4Net,
    state_dir: PathBuf,
    clock: Clock,
    entropy: Entropy,
    log_writer: Arc<LogWriter>,
    events: broadcast::Sender<ContainerEvent>,
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    sandboxes: BTreeMap<SandboxId, Arc<Sandbox>>,
    containers: BTreeMap<ContainerId, Arc<Container>>,
}

impl Tables {
    fn containers_of(&self, sandbox: &SandboxId) -> Vec<Arc<Container>> {
        self.containers.values().filter(|container| container.sandbox.id == *sandbox).cloned().collect()
    }
}

impl WasmRuntime {
    /// An empty runtime. What a runtime before it left in `state_dir` is removed.
    ///
    /// # Errors
    /// [`Error::Internal`] when the directory or a thread cannot be had.
    pub fn new(config: Config) -> Result<Self, Error> {
        let Config { programs, images, network, pod_cidr, state_dir, guests, clock, entropy, limits } = config;
        let setting_up = |error: io::Error| Error::Internal(format!("set up {}: {error}", state_dir.display()));
        clear(&state_dir).map_err(setting_up)?;
        let log_writer = LogWriter::start().map_err(setting_up)?;
        let (tasks, events) = (TaskGroup::on(guests.clone()), broadcast::Sender::new(EVENTS_MAX));
        let shared = Shared {
            programs,
            images,
            guests,
            limits,
            tasks,
            network,
            pod_cidr,
            state_dir,
            clock,
            entropy,
            log_writer,
            events,
            tables: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Ends every guest and waits up to `deadline` for them.
    ///
    /// # Errors
    /// That some had not ended.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), String> {
        self.shared.tasks.shutdown(deadline).await
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// Makes the directory empty.
fn clear(directory: &std::path::Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(directory)
}

impl Shared {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.clock.unix_nanos())
    }

    fn new_id(&self) -> String {
        let mut bytes = [0; ID_BYTES];
        self.entropy.fill(&mut bytes);
        bytes.iter().fold(String::with_capacity(2 * ID_BYTES), |mut id, byte| {
            let _ = write!(id, "{byte:02x}"); // a string takes everything
            id
        })
    }

    fn sandbox(&self, id: &SandboxId) -> Result<Arc<Sandbox>, Error> {
        let found = self.tables.lock().sandboxes.get(id).cloned();
        found.ok_or_else(|| Error::NotFound(format!("no sandbox {}", id.0)))
    }

    fn container(&self, id: &ContainerId) -> Result<Arc<Container>, Error> {
        let found = self.tables.lock().containers.get(id).cloned();
        found.ok_or_else(|| Error::NotFound(format!("no container {}", id.0)))
    }

    /// A container of this image, if there is one.
    pub(crate) fn user_of(&self, image: &ImageDigest) -> Option<ContainerId> {
        let tables = self.tables.lock();
        tables.containers.values().find(|container| container.image.digest == *image).map(|user| user.id.clone())
    }

    fn tell(&self, container: &Container, kind: ContainerEventKind) {
        let event = ContainerEvent {
            container: container.id.clone(),
            sandbox: container.sandbox.id.clone(),
            pod_uid: container.sandbox.config.metadata.uid.clone(),
            kind,
        };
        let _ = self.events.send(event); // nobody listens: fine
    }

    fn run_sandbox(&self, config: PodSandboxConfig) -> Result<SandboxId, Error> {
        let mut tables = self.tables.lock();
        if let Some(held) = tables.sandboxes.values().find(|held| held.config.metadata == config.metadata) {
            let name = format!("{}/{}", config.metadata.namespace, config.metadata.name);
            return Err(Error::AlreadyExists(format!("sandbox of pod {name} exists: {}", held.id.0)));
        }
        let port = self.attach_to_network(&config)?;
        let id = SandboxId(self.new_id());
        info!(namespace = %config.metadata.namespace, pod = %config.metadata.name, sandbox = %id.0,
            address = %port.address(), "ran sandbox");
        let sandbox = Sandbox::new(id.clone(), config, self.now(), port);
        tables.sandboxes.insert(id.clone(), Arc::new(sandbox));
        Ok(id)
    }

    fn attach_to_network(&self, config: &PodSandboxConfig) -> Result<PodPort, Error> {
        let pod = pod_config(config);
        self.network.attach(self.pod_cidr, pod).map_err(|error| match error.kind() {
            io::ErrorKind::AddrNotAvailable => {
                Error::ResourceExhausted(format!("no address left in {}", self.pod_cidr))
            }
            _ => Error::Internal(format!("attach to the pod network: {error}")),
        })
    }

    /// Ends all containers of a sandbox at once.
    async fn stop_sandbox(&self, id: &SandboxId) {
        let Ok(sandbox) = self.sandbox(id) else { return };
        let port = sandbox.stop();
        let containers = self.tables.lock().containers_of(id);
        let now = Instant::now();
        containers.iter().for_each(|container| container.request_stop(now));
        join_all(containers.iter().map(|container| container.ended())).await;
        if let Some(port) = port {
            port.close();
        }
    }

    fn create(&self, sandbox: &SandboxId, config: ContainerConfig) -> Result<Arc<Container>, Error> {
        let sandbox = self.sandbox(sandbox)?;
        let image = self.images.resolve(&config.image).map_err(refusal)?;
        let image = image.ok_or_else(|| Error::NotFound(format!("no image {}", config.image)))?;
        let id = ContainerId(self.new_id());
        let mut tables = self.tables.lock();
        check_sandbox(&tables, &sandbox, &config)?;
        let directory = self.state_dir.join(&id.0);
        let rootfs = Rootfs::create(directory.clone(), &sandbox.config, sandbox.address(), &config);
        let rootfs = rootfs.inspect_err(|_| drop(fs::remove_dir_all(&directory)))?;
        let created_at = self.now();
        let container = Arc::new(Container::new(NewContainer { id, sandbox, config, image, created_at, rootfs }));
        tables.containers.insert(container.id.clone(), container.clone());
        drop(tables);
        self.tell(&container, ContainerEventKind::Created);
        Ok(container)
    }

    /// Everything between Created and the guest's first instruction. Synchronous:
    /// it happens as a whole.
    fn start(self: &Arc<Self>, container: &Arc<Container>, program: &Program) -> Result<(), Error> {
        let port = container
            .sandbox
            .port()
            .ok_or_else(|| Error::FailedPrecondition(format!("sandbox {} is not ready", container.sandbox.id.0)))?;
        let port = port.member(); // so that stopping this container spares its siblings' listeners
        container.claim_start(self.now())?;
        let guest = match self.ready_guest(container, program, port.clone()) {
            Ok(guest) => guest,
            Err(error) => {
                self.fail_start(container, &error);
                return Err(error);
            }
        };
        self.tell(container, ContainerEventKind::Started);
        let (shared, container) = (self.clone(), container.clone());
        self.tasks.spawn("guest", OnError::Log, async move {
            container.supervise(guest, port, || shared.now()).await;
            shared.tell(&container, ContainerEventKind::Stopped);
            Ok::<_, Infallible>(())
        });
        Ok(())
    }

    fn fail_start(&self, container: &Container, error: &Error) {
        container.fail_start(self.now(), &error.to_string());
        self.tell(container, ContainerEventKind::Stopped);
    }

    /// Opens what the guest needs and makes it.
    fn ready_guest(&self, container: &Container, program: &Program, port: PodPort) -> Result<Metered, Error> {
        let output = ContainerOutput::open(&container.log_path, self.clock.clone(), self.log_writer.clone());
        let output =
            output.map_err(|error| Error::Internal(format!("open log {}: {error}", container.log_path.display())))?;
        let terminal = if container.config.tty { Terminal::Yes } else { Terminal::No };
        let (sender, receiver) = mpsc::channel(STDIN_PIECES_MAX);
        let wants_stdin = container.config.stdin;
        let sink = Sink::Container(output.clone());
        let streams = Streams {
            stdin: wants_stdin.then(|| Stdin::new(receiver, terminal)),
            stdout: Stdout::new(sink.clone(), Source::Stdout, terminal),
            stderr: Stdout::new(sink, if container.config.tty { Source::Stdout } else { Source::Stderr }, terminal),
        };
        container.set_running(Running { output, stdin: wants_stdin.then_some(sender) });
        self.guest(container, program, exec::container_args(container), streams, port)
    }

    async fn remove(&self, container: &Container) {
        container.cancel(self.now());
        container.request_stop(Instant::now());
        container.ended().await;
        let removed = self.tables.lock().containers.remove(&container.id);
        if removed.is_none() {
            return; // somebody else was faster
        }
        if let Err(error) = container.rootfs.remove() {
            warn!(container_id = %container.id.0, %error, "could not remove the files of a container");
        }
        self.tell(container, ContainerEventKind::Deleted);
    }
}

/// What the network needs to know of a pod.
fn pod_config(config: &PodSandboxConfig) -> PodConfig {
    let dots = config.dns.options.iter().find_map(|option| option.strip_prefix("ndots:")?.parse().ok());
    let default = Resolver::default();
    let resolver = Resolver {
        searches: config.dns.searches.clone(),
        dots_min: dots.unwrap_or(default.dots_min),
        hosts: config.host_aliases.clone(),
    };
    PodConfig { hostname: config.hostname.clone(), resolver }
}

/// Whether a container may be added now.
fn check_sandbox(tables: &Tables, sandbox: &Sandbox, config: &ContainerConfig) -> Result<(), Error> {
    if !tables.sandboxes.contains_key(&sandbox.id) {
        return Err(Error::NotFound(format!("no sandbox {}", sandbox.id.0)));
    }
    if sandbox.port().is_none() {
        return Err(Error::FailedPrecondition(format!("sandbox {} is not ready", sandbox.id.0)));
    }
    let mut siblings = tables.containers.values().filter(|container| container.sandbox.id == sandbox.id);
    match siblings.find(|container| container.config.metadata == config.metadata) {
        Some(held) => Err(Error::AlreadyExists(format!("container {} exists: {}", config.metadata.name, held.id.0))),
        None => Ok(()),
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
        let containers = self.shared.tables.lock().containers_of(sandbox);
        join_all(containers.iter().map(|container| self.shared.remove(container))).await;
        self.shared.tables.lock().sandboxes.remove(sandbox);
        Ok(())
    }

    async fn pod_sandbox_status(&self, sandbox: &SandboxId) -> Result<SandboxStatus, Error> {
        Ok(self.shared.sandbox(sandbox)?.status())
    }

    async fn list_pod_sandboxes(&self, filter: Filter) -> Result<Vec<SandboxStatus>, Error> {
        let tables = self.shared.tables.lock();
        Ok(tables
            .sandboxes
            .values()
            .filter(|sandbox| sandbox.matches(&filter))
            .map(|sandbox| sandbox.status())
            .collect())
    }

    async fn create_container(&self, sandbox: &SandboxId, config: ContainerConfig) -> Result<ContainerId, Error> {
        Ok(self.shared.create(sandbox, config)?.id.clone())
    }

    async fn start_container(&self, container: &ContainerId) -> Result<(), Error> {
        let container = self.shared.container(container)?;
        let args = exec::container_args(&container);
        let name = args.first().map_or("", String::as_str);
        match self.shared.find_program(&container, name).await {
            Ok(program) => self.shared.start(&container, &program),
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
        let Ok(container) = self.shared.container(container) else { return Ok(()) };
        self.shared.remove(&container).await;
        Ok(())
    }

    async fn container_status(&self, container: &ContainerId) -> Result<ContainerStatus, Error> {
        Ok(self.shared.container(container)?.status())
    }

    async fn list_containers(&self, filter: Filter) -> Result<Vec<ContainerStatus>, Error> {
        let tables = self.shared.tables.lock();
        let containers = tables.containers.values().filter(|container| container.matches(&filter));
        Ok(containers.map(|container| container.status()).collect())
    }

    async fn container_stats(&self, container: &ContainerId) -> Result<ContainerStats, Error> {
        Ok(self.shared.container(container)?.stats())
    }

    async fn reopen_container_log(&self, container: &ContainerId) -> Result<(), Error> {
        let container = self.shared.container(container)?;
        let output = container.running("reopen the log of", |running| running.output.clone())?;
        output.reopen().map_err(|error| Error::Internal(format!("open log {}: {error}", container.log_path.display())))
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

    async fn attach(&self, container: &ContainerId) -> Result<ExecSession, Error> {
        let container = self.shared.container(container)?;
        self.shared.attach(&container)
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
        ContainerEvents::new(self.shared.events.subscribe())
    }
}
