//! Everything a runtime has, and the steps that change it.
//!
//! Sandboxes and containers live in two tables under one lock that is never held
//! across an await. Nothing survives the process: guests die with it, so a new
//! runtime starts empty and clears away the files of the one before. Called by
//! `runtime.rs`; `exec.rs` has the steps for programs beside a guest.

use crate::{
    container::{Container, NewContainer, Running},
    cpu::Metered,
    exec::{self, STDIN_PIECES_MAX},
    files::{Input, OpenFile},
    image_service::refusal,
    logs::{ContainerOutput, LogWriter},
    processes::{
        NewProcess, Registered,
        session::{Command, Launcher, Session, Streams},
    },
    programs::Programs,
    rootfs::Rootfs,
    run::Program,
    runtime::Config,
    sandbox::Sandbox,
    stdio::{Sink, Source},
    terminal::Terminal,
};
use bytes::Bytes;
use futures::future::join_all;
use ipnet::Ipv4Net;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, broadcast, mpsc, watch},
    time::Instant,
};
use tracing::{info, warn};
use wk_cri::{
    ContainerConfig, ContainerEvent, ContainerEventKind, ContainerId, ContainerStatus, Error, Filter, PodSandboxConfig,
    SandboxId, SandboxStatus, TerminalSize, UnixNanos,
};
use wk_images::{ImageDigest, ImageStore};
use wk_network::{Network, PodConfig, PodPort, names::Resolver};
use wk_platform::{Clock, Entropy, TaskGroup, tasks::OnError};

/// Events kept for a reader that falls behind; it then lists, which costs no more
/// than to read so many. The room for all of them is taken at the start.
const EVENTS_MAX: usize = 1024;

/// Directories deleted at once, each on a thread: a disk is not faster with more.
const REMOVALS_MAX: usize = 8;

/// Random bytes of an id.
const ID_BYTES: usize = 32;

/// Everything of a runtime.
pub(crate) struct Shared {
    pub(crate) programs: Arc<Programs>,
    pub(crate) images: Arc<ImageStore>,
    pub(crate) guests: Handle,
    pub(crate) launcher: Arc<Launcher>,
    pub(crate) tasks: TaskGroup,
    pub(crate) journal: Journal,
    network: Network,
    pod_cidr: Ipv4Net,
    state_dir: PathBuf,
    entropy: Entropy,
    log_writer: Arc<LogWriter>,
    removals: Semaphore,
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

/// Says what happens, and when.
#[derive(Clone)]
pub(crate) struct Journal {
    clock: Clock,
    events: broadcast::Sender<ContainerEvent>,
}

impl Journal {
    /// The time of an event.
    pub fn now(&self) -> UnixNanos {
        UnixNanos(self.clock.unix_nanos())
    }

    /// What happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<ContainerEvent> {
        self.events.subscribe()
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
}

/// Makes the directory empty.
fn clear(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(directory)
}

impl Shared {
    /// Everything of an empty runtime.
    ///
    /// # Errors
    /// As [`crate::WasmRuntime::new`].
    pub fn new(config: Config) -> Result<Self, Error> {
        let Config { programs, images, toolbox, network, pod_cidr, state_dir, guests, clock, entropy, limits } = config;
        let setting_up = |error: io::Error| Error::Internal(format!("set up {}: {error}", state_dir.display()));
        clear(&state_dir).map_err(setting_up)?;
        let log_writer = LogWriter::start().map_err(setting_up)?;
        let tasks = TaskGroup::on(guests.clone());
        let launcher = Arc::new(Launcher {
            programs: programs.clone(),
            images: images.clone(),
            toolbox,
            guests: guests.clone(),
            limits,
            clock: clock.clone(),
        });
        let journal = Journal { clock, events: broadcast::Sender::new(EVENTS_MAX) };
        let (removals, tables) = (Semaphore::new(REMOVALS_MAX), Mutex::default());
        Ok(Self {
            programs,
            images,
            guests,
            launcher,
            tasks,
            journal,
            network,
            pod_cidr,
            state_dir,
            entropy,
            log_writer,
            removals,
            tables,
        })
    }

    fn now(&self) -> UnixNanos {
        self.journal.now()
    }

    fn new_id(&self) -> String {
        let mut bytes = [0; ID_BYTES];
        self.entropy.fill(&mut bytes);
        bytes.iter().fold(String::with_capacity(2 * ID_BYTES), |mut id, byte| {
            let _ = write!(id, "{byte:02x}"); // a string takes everything
            id
        })
    }

    /// # Errors
    /// [`Error::NotFound`].
    pub fn sandbox(&self, id: &SandboxId) -> Result<Arc<Sandbox>, Error> {
        let found = self.tables.lock().sandboxes.get(id).cloned();
        found.ok_or_else(|| Error::NotFound(format!("no sandbox {}", id.0)))
    }

    /// # Errors
    /// [`Error::NotFound`].
    pub fn container(&self, id: &ContainerId) -> Result<Arc<Container>, Error> {
        let found = self.known_container(id).filter(|container| container.is_present());
        found.ok_or_else(|| Error::NotFound(format!("no container {}", id.0)))
    }

    /// A container, even one whose removal has begun.
    pub fn known_container(&self, id: &ContainerId) -> Option<Arc<Container>> {
        self.tables.lock().containers.get(id).cloned()
    }

    /// A container of this image, if there is one.
    pub(crate) fn user_of(&self, image: &ImageDigest) -> Option<ContainerId> {
        let tables = self.tables.lock();
        tables.containers.values().find(|container| container.image.digest == *image).map(|user| user.id.clone())
    }

    /// The sandboxes that match.
    pub fn sandboxes(&self, filter: &Filter) -> Vec<SandboxStatus> {
        let tables = self.tables.lock();
        tables.sandboxes.values().filter(|sandbox| sandbox.matches(filter)).map(|sandbox| sandbox.status()).collect()
    }

    /// The containers that match.
    pub fn containers(&self, filter: &Filter) -> Vec<ContainerStatus> {
        let tables = self.tables.lock();
        let matching = tables.containers.values().filter(|container| container.matches(filter));
        // Its status first: what is Running in it was there.
        let seen = matching.map(|container| (container.status(), container.is_present()));
        seen.filter(|(_, is_present)| *is_present).map(|(status, _)| status).collect()
    }

    /// As [`wk_cri::RuntimeService::run_pod_sandbox`].
    pub fn run_sandbox(&self, config: PodSandboxConfig) -> Result<SandboxId, Error> {
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
    pub async fn stop_sandbox(&self, id: &SandboxId) {
        let Ok(sandbox) = self.sandbox(id) else { return };
        let port = sandbox.stop();
        let containers = self.tables.lock().containers_of(id);
        end(&containers).await;
        if let Some(port) = port {
            port.close();
        }
    }

    /// Ends and removes a sandbox and its containers.
    pub async fn remove_sandbox(&self, id: &SandboxId) {
        self.stop_sandbox(id).await;
        let containers = self.tables.lock().containers_of(id);
        join_all(containers.iter().map(|container| self.remove(container))).await;
        self.tables.lock().sandboxes.remove(id);
    }

    /// Ends every guest.
    pub async fn end_all(&self) {
        let containers: Vec<_> = self.tables.lock().containers.values().cloned().collect();
        end(&containers).await;
    }

    /// As [`wk_cri::RuntimeService::create_container`].
    pub fn create(&self, sandbox: &SandboxId, config: ContainerConfig) -> Result<Arc<Container>, Error> {
        let sandbox = self.sandbox(sandbox)?;
        let image = self.images.resolve(&config.image).map_err(refusal)?;
        let image = image.ok_or_else(|| Error::NotFound(format!("no image {}", config.image)))?;
        check_sandbox(&self.tables.lock(), &sandbox, &config)?;
        let id = ContainerId(self.new_id());
        let directory = self.state_dir.join(&id.0);
        let rootfs = Rootfs::create(directory.clone(), &sandbox.config, sandbox.address(), &config);
        let rootfs = rootfs.inspect_err(|_| drop(fs::remove_dir_all(&directory)))?;
        let created_at = self.now();
        let container = Arc::new(Container::new(NewContainer { id, sandbox, config, image, created_at, rootfs }));
        if let Err(error) = self.add(&container) {
            remove_files(&container);
            return Err(error);
        }
        self.journal.tell(&container, ContainerEventKind::Created);
        Ok(container)
    }

    /// Looks again at what may have changed while the files were made, which is
    /// too slow to do under the lock.
    fn add(&self, container: &Arc<Container>) -> Result<(), Error> {
        let mut tables = self.tables.lock();
        check_sandbox(&tables, &container.sandbox, &container.config)?;
        tables.containers.insert(container.id.clone(), container.clone());
        Ok(())
    }

    /// Everything between Created and the guest's first instruction. Synchronous:
    /// it happens as a whole.
    pub fn start(&self, container: &Arc<Container>, program: &Program, arguments: Vec<String>) -> Result<(), Error> {
        let port = container
            .sandbox
            .port()
            .ok_or_else(|| Error::FailedPrecondition(format!("sandbox {} is not ready", container.sandbox.id.0)))?;
        let port = port.member(); // so that stopping this container spares its siblings' listeners
        container.claim_start(self.now())?;
        let ready = match self.ready_guest(container, program, arguments, port.clone()) {
            Ok(ready) => ready,
            Err(error) => {
                self.fail_start(container, &error);
                return Err(error);
            }
        };
        self.journal.tell(container, ContainerEventKind::Started);
        // Not the whole of this: a task must not keep its own group alive.
        let (journal, container) = (self.journal.clone(), container.clone());
        self.tasks.spawn("guest", OnError::Log, async move {
            ready.run(&container, port, || journal.now()).await;
            journal.tell(&container, ContainerEventKind::Stopped);
            Ok::<_, Infallible>(())
        });
        Ok(())
    }

    /// Ends a created container that cannot be started.
    pub fn fail_start(&self, container: &Container, error: &Error) {
        container.fail_start(self.now(), &error.to_string());
        self.journal.tell(container, ContainerEventKind::Stopped);
    }

    /// Opens what the guest needs and makes it.
    fn ready_guest(
        &self,
        container: &Arc<Container>,
        program: &Program,
        arguments: Vec<String>,
        port: PodPort,
    ) -> Result<Ready, Error> {
        let (clock, writer, log) = (self.journal.clock.clone(), self.log_writer.clone(), container.log().clone());
        let output = ContainerOutput::open(&container.log_path, clock, writer, log);
        let output =
            output.map_err(|error| Error::Internal(format!("open log {}: {error}", container.log_path.display())))?;
        let (sender, receiver) = mpsc::channel(STDIN_PIECES_MAX);
        let (resize, size) = watch::channel(TerminalSize::default());
        let stdin = container.config.stdin.then(|| sender.clone());
        let sink = Sink::Container(output.clone());
        let init = container.processes.register(NewProcess {
            parent: 0,
            command: arguments.clone(),
            started_at: self.now(),
            container: container.usage.clone(),
            background: false,
        });
        let init = init.map_err(|error| Error::Internal(error.to_string()))?;
        let mut typed = None;
        let streams = if container.config.tty {
            let terminal = Terminal::new(sink, size, init.process.pid);
            if stdin.is_none() {
                terminal.keep_open(sender);
            }
            let file = OpenFile::terminal(terminal.clone());
            typed = Some((receiver, terminal));
            Streams { stdin: file.clone(), stdout: file.clone(), stderr: file }
        } else {
            let input = if stdin.is_some() { OpenFile::input(Input::new(receiver)) } else { OpenFile::null() };
            let stdout = OpenFile::output(sink.clone(), Source::Stdout);
            Streams { stdin: input, stdout, stderr: OpenFile::output(sink, Source::Stderr) }
        };
        let terminal = typed.as_ref().map(|(_, terminal)| terminal.clone());
        let session = Session::new(self.launcher.clone(), container.clone(), port, terminal);
        let environment = exec::environment(container, container.config.tty);
        let working_dir = exec::working_dir(container).to_owned();
        let command = Command { arguments, environment, working_dir, streams, background: false };
        let guest = session.prepare(&init.process, program, command)?;
        container.set_running(Running { output, stdin, resize });
        Ok(Ready { guest, init, session, typed })
    }

    /// Ends and removes a container, but not its log.
    pub async fn remove(&self, container: &Arc<Container>) {
        container.begin_removal();
        container.cancel(self.now());
        container.request_stop(Instant::now());
        container.ended().await;
        let removed = self.tables.lock().containers.remove(&container.id);
        if removed.is_none() {
            return; // somebody else was faster
        }
        let files_of = container.clone();
        let _one_of_few = self.removals.acquire().await;
        let _ = self.guests.spawn_blocking(move || remove_files(&files_of)).await; // it does not panic
        self.journal.tell(container, ContainerEventKind::Deleted);
    }
}

/// A container's guest, and what goes on beside it.
struct Ready {
    guest: Metered,
    init: Registered,
    session: Arc<Session>,
    typed: Option<(mpsc::Receiver<Bytes>, Arc<Terminal>)>,
}

impl Ready {
    /// Runs it to its end, and ends what it started.
    async fn run(self, container: &Container, port: PodPort, now: impl Fn() -> UnixNanos) {
        let Self { guest, init, session, typed } = self;
        let typing = async {
            if let Some((typed, terminal)) = typed {
                terminal.run(typed, &*container.processes).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased; // its keys are few, and one may be ^C
            () = typing => {}
            () = container.supervise(guest, &init.process, port, now) => {}
        }
        drop(session);
    }
}

fn remove_files(container: &Container) {
    if let Err(error) = container.rootfs.remove() {
        warn!(container_id = %container.id.0, %error, "could not remove the files of a container");
    }
}

/// Ends the guests of these containers now.
async fn end(containers: &[Arc<Container>]) {
    let now = Instant::now();
    containers.iter().for_each(|container| container.request_stop(now));
    join_all(containers.iter().map(|container| container.ended())).await;
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
