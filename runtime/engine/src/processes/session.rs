//! What runs together and ends together: an exec with all that it started, or the
//! container's guest with all that it started.
//!
//! [`Launcher`] makes guests of programs and knows no container; a [`Session`] is
//! in one. Called by `exec.rs`, `state.rs` and `host.rs`.

use super::{
    NewProcess, Process, ProcessTable, Registered, TooMany,
    lookup::{CannotExecute, Places},
};
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
    toolbox::{Origin, Toolbox},
};
use std::{convert::Infallible, sync::Arc};
use tokio::runtime::Handle;
use wk_cri::{Error, UnixNanos};
use wk_images::ImageStore;
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
    /// The program that a command line means in a container, and what it is to be
    /// called with.
    ///
    /// # Errors
    /// [`CannotExecute`] in the words of runc; the runtime's when it cannot load it.
    pub async fn find(&self, container: &Container, call: Call<'_>) -> Result<(Arc<Program>, Vec<String>), NotStarted> {
        let Call { arguments, search, directory } = call;
        let found = self.places(container, search, directory).resolve(arguments).await?;
        let program = match (found.origin, self.toolbox) {
            (Origin::Toolbox, Some(toolbox)) => self.programs.toolbox(&self.guests, toolbox).await,
            _ => self.programs.get(&self.guests, &self.images, &container.image).await,
        };
        Ok((program?, found.arguments))
    }

    /// Where [`Launcher::find`] looks.
    pub fn places<'a>(&'a self, container: &'a Container, search: &'a str, directory: &'a str) -> Places<'a> {
        let (image, preopens) = (&container.image, container.rootfs.preopens());
        Places { image, toolbox: self.toolbox.as_ref(), preopens, search, directory }
    }

    /// The time of a process's start.
    pub fn now(&self) -> UnixNanos {
        UnixNanos(self.clock.unix_nanos())
    }
}

/// A command line, and where it is typed.
pub(crate) struct Call<'a> {
    pub arguments: Vec<String>,
    /// `PATH`.
    pub search: &'a str,
    pub directory: &'a str,
}

/// Why a process was not started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotStarted {
    /// There is nothing to execute.
    #[error(transparent)]
    CannotExecute(#[from] CannotExecute),
    /// The runtime's reason.
    #[error(transparent)]
    Runtime(#[from] Error),
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

    /// Starts a process as a child of `parent`; a program without a slash in its
    /// name is looked for in `search`.
    ///
    /// # Errors
    /// As [`Launcher::find`], [`Error::ResourceExhausted`] at the limit of
    /// processes, and as [`Session::prepare`].
    pub async fn spawn(
        self: &Arc<Self>,
        parent: u32,
        mut command: Command,
        search: &str,
    ) -> Result<Arc<Process>, NotStarted> {
        let call = Call { arguments: command.arguments, search, directory: &command.working_dir };
        let (program, arguments) = self.launcher.find(&self.container, call).await?;
        command.arguments = arguments;
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
