//! What runs together and ends together: an exec with all that it started, or the
//! container's guest with all that it started.
//!
//! [`Launcher`] makes guests of programs and knows no container; a [`Session`] is
//! in one. Called by `exec.rs`, `state.rs` and `host.rs`.

use super::{NewProcess, Process, ProcessTable, Registered, TooMany};
use crate::{
    container::Container,
    cpu::Metered,
    exec,
    files::OpenFile,
    host::ProcessCtx,
    limits::Limits,
    programs::Programs,
    run::{Guest, Program},
    terminal::Terminal,
    toolbox::{self, Origin, Toolbox},
};
use std::{convert::Infallible, sync::Arc};
use tokio::runtime::Handle;
use wk_cri::{Error, UnixNanos};
use wk_images::{ImageRecord, ImageStore};
use wk_network::PodPort;
use wk_platform::{Clock, TaskGroup, tasks::OnError};

/// Everything that makes a program's instance.
pub(crate) struct Launcher {
    pub programs: Arc<Programs>,
    pub images: Arc<ImageStore>,
    pub toolbox: Option<Toolbox>,
    /// Where guests are polled and programs loaded.
    pub guests: Handle,
    pub limits: Limits,
    pub clock: Clock,
}

impl Launcher {
    /// The program that a command means in a container of `image`.
    ///
    /// # Errors
    /// [`Error::NotFound`] in the words of runc; [`Error::InvalidArgument`] when
    /// the image cannot run.
    pub async fn find(&self, image: &ImageRecord, name: &str) -> Result<Arc<Program>, Error> {
        match (toolbox::locate(image, self.toolbox.as_ref(), name).map_err(Error::NotFound)?, self.toolbox) {
            (Origin::Toolbox, Some(toolbox)) => self.programs.toolbox(&self.guests, toolbox).await,
            _ => self.programs.get(&self.guests, &self.images, image).await,
        }
    }

    /// Whether [`Launcher::find`] would find it.
    pub fn knows(&self, image: &ImageRecord, name: &str) -> bool {
        toolbox::locate(image, self.toolbox.as_ref(), name).is_ok()
    }

    /// The time of a process's start.
    pub fn now(&self) -> UnixNanos {
        UnixNanos(self.clock.unix_nanos())
    }
}

/// The standard streams of a process.
#[derive(Clone)]
pub(crate) struct Streams {
    pub stdin: OpenFile,
    pub stdout: OpenFile,
    pub stderr: OpenFile,
}

/// A command with all that it gets.
pub(crate) struct Command {
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub working_dir: String,
    pub streams: Streams,
    /// The keys of the terminal do not signal it.
    pub background: bool,
}

/// Processes of a container that end together: dropping the last strong
/// reference ends them.
pub(crate) struct Session {
    pub launcher: Arc<Launcher>,
    pub container: Arc<Container>,
    port: PodPort,
    /// What `/dev/tty` is.
    pub terminal: Option<Arc<Terminal>>,
    /// Of the processes that were spawned; they hold no strong reference.
    tasks: TaskGroup,
}

impl Session {
    /// Without processes yet.
    pub fn new(
        launcher: Arc<Launcher>,
        container: Arc<Container>,
        port: PodPort,
        terminal: Option<Arc<Terminal>>,
    ) -> Arc<Self> {
        let tasks = TaskGroup::on(launcher.guests.clone());
        Arc::new(Self { launcher, container, port, terminal, tasks })
    }

    /// The guest of a process of this session, ready to be polled.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when a mounted directory cannot be opened.
    pub fn prepare(
        self: &Arc<Self>,
        process: &Arc<Process>,
        program: &Program,
        command: Command,
    ) -> Result<Metered, Error> {
        let Command { arguments, environment, working_dir, streams, background: _ } = command;
        let container = &self.container;
        let guest = Guest {
            args: arguments,
            env: environment,
            working_dir,
            preopens: container.rootfs.preopens().to_vec(),
            streams: streams.clone(),
            port: self.port.clone(),
            account: process.account.clone(),
            memory_limit_bytes: exec::memory_limit(container, &self.launcher.limits),
            throttle: container.throttle.clone(),
            process: ProcessCtx { process: process.clone(), session: Arc::downgrade(self), streams },
        };
        program
            .prepare(guest, self.launcher.programs.ticker())
            .map_err(|error| Error::InvalidArgument(format!("container {}: {error:#}", container.id.0)))
    }

    /// Starts a process as a child of `parent`.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the program, [`Error::ResourceExhausted`] at
    /// the limit of processes, and as [`Session::prepare`].
    pub async fn spawn(self: &Arc<Self>, parent: u32, command: Command) -> Result<Arc<Process>, Error> {
        let name = command.arguments.first().map_or("", String::as_str);
        let program = self.launcher.find(&self.container.image, name).await?;
        let registered = self.register(parent, &command)?;
        let process = registered.process.clone();
        let guest = self.prepare(&process, &program, command)?;
        self.tasks.spawn("process", OnError::Log, async move {
            registered.process.run(guest).await;
            Ok::<_, Infallible>(())
        });
        Ok(process)
    }

    /// A new process in the container's table.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] at the limit of processes.
    pub fn register(&self, parent: u32, command: &Command) -> Result<Registered, Error> {
        let Container { processes, usage, .. } = &*self.container;
        let registered = processes.register(NewProcess {
            parent,
            command: command.arguments.clone(),
            started_at: self.launcher.now(),
            container: usage.clone(),
            background: command.background,
        });
        registered.map_err(|error: TooMany| Error::ResourceExhausted(error.to_string()))
    }

    /// The container's processes.
    pub fn processes(&self) -> &Arc<ProcessTable> {
        &self.container.processes
    }
}
