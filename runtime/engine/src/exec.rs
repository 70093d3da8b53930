//! Programs beside a container's guest, and the streams of the guest itself.
//!
//! WASI has no processes. To exec is to run another instance of a program with
//! the container's files, environment, network and limits; it sees what the
//! guest sees, but not the guest. The program is the image's own, when the
//! command names it, else one of the toolbox (`toolbox.rs`).

use crate::{
    container::Container,
    cpu::Metered,
    files::{Input, OpenFile},
    limits::Limits,
    processes::{
        NewProcess, Registered,
        lookup::DEFAULT_SEARCH,
        session::{Call, Command, NotStarted, Session, Streams},
    },
    state::Shared,
    stdio::{OUTPUT_PIECES_MAX, Sink, Source},
    terminal::Terminal,
};
use bytes::Bytes;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot, watch};
use wk_cri::{AttachOptions, ContainerState, Error, ExecOptions, ExecSession, ExecSyncOutput, Output, TerminalSize};
use wk_platform::tasks::OnError;

/// Pieces of stdin on the way to a guest; the client waits beyond that.
pub(crate) const STDIN_PIECES_MAX: usize = 16;

/// Bytes kept of each stream of an `exec_sync` (as containerd).
const SYNC_OUTPUT_BYTES_MAX: usize = 16 << 20;

/// The exit code of a command whose container ends.
const KILLED: i32 = 137;

/// The arguments of a container's guest, the name of its program first.
pub(crate) fn container_args(container: &Container) -> Vec<String> {
    let (config, image) = (&container.config, &container.image);
    let (command, default_args) = match config.command.as_slice() {
        [] => (&image.entrypoint, image.args.as_slice()),
        _ => (&config.command, [].as_slice()),
    };
    let args = if config.args.is_empty() { default_args } else { &config.args };
    command.iter().chain(args).cloned().collect()
}

/// Bytes of linear memory that the processes of a container may have together.
pub(crate) fn memory_limit(container: &Container, limits: &Limits) -> u64 {
    container.config.resources.memory_limit_bytes.unwrap_or(limits.memory_bytes_max)
}

/// Everything about a command that the client of an exec holds an end of.
struct Wiring {
    stdin: Option<mpsc::Sender<Bytes>>,
    /// What is typed, and where.
    typed: Option<(mpsc::Receiver<Bytes>, Arc<Terminal>)>,
    resize: watch::Sender<TerminalSize>,
    output: mpsc::Receiver<Output>,
    streams: Streams,
}

impl Shared {
    /// Starts a command beside the guest.
    ///
    /// # Errors
    /// As [`wk_cri::RuntimeService::exec`].
    pub(crate) async fn exec(&self, container: &Arc<Container>, options: ExecOptions) -> Result<ExecSession, Error> {
        if options.command.is_empty() {
            return Err(Error::InvalidArgument("the command is empty".to_owned()));
        }
        let not_running = || Error::FailedPrecondition(format!("container {} is not running", container.id.0));
        container.running("exec in", |_| ())?;
        let (environment, working_dir) = (environment(container, options.tty), working_dir(container).to_owned());
        let call = Call { arguments: options.command.clone(), search: search(&environment), directory: &working_dir };
        let (program, arguments) = self.launcher.find(container, call).await.map_err(exec_failed)?;
        let port = container.sandbox.port().ok_or_else(not_running)?;
        let registered = container.processes.register(NewProcess {
            parent: 0,
            command: arguments.clone(),
            started_at: self.launcher.now(),
            container: container.usage.clone(),
            background: false,
        });
        let registered = registered.map_err(|error| Error::ResourceExhausted(error.to_string()))?;
        let process = registered.process.clone();
        let Wiring { stdin, typed, resize, output, streams } = wire(&options, process.pid);
        let terminal = typed.as_ref().map(|(_, terminal)| terminal.clone());
        let session = Session::new(self.launcher.clone(), container.clone(), port, terminal);
        let command = Command { arguments, environment, working_dir, streams, background: false };
        let guest = session.prepare(&process, &program, command)?;
        let (report, exit) = oneshot::channel();
        self.tasks.spawn("exec", OnError::Log, async move {
            run_beside(guest, registered, session, typed, report).await;
            Ok::<_, Infallible>(())
        });
        Ok(ExecSession { stdin, output, resize, exit })
    }

    /// The streams of the guest itself.
    ///
    /// # Errors
    /// As [`wk_cri::RuntimeService::attach`].
    pub(crate) fn attach(&self, container: &Arc<Container>, options: AttachOptions) -> Result<ExecSession, Error> {
        let AttachOptions { stdin: wants_stdin } = options;
        let (stdin, output, resize) = container.running("attach to", |running| {
            let stdin = match (wants_stdin, container.config.stdin_once) {
                (false, _) => None,
                (true, true) => running.stdin.take(),
                (true, false) => running.stdin.clone(),
            };
            (stdin, running.output.attach(), running.resize.clone())
        })?;
        let (mut report, exit) = oneshot::channel();
        let container = container.clone();
        self.tasks.spawn("attach", OnError::Log, async move {
            tokio::select! {
                () = report.closed() => return Ok(()), // the client has detached
                () = container.ended() => {}
            }
            if let ContainerState::Exited { exit_code, .. } = container.state() {
                let _ = report.send(Ok(exit_code)); // nobody waits: fine
            }
            Ok::<_, Infallible>(())
        });
        Ok(ExecSession { stdin, output, resize, exit })
    }
}

/// What cannot be executed, as a container runtime says it.
fn exec_failed(error: NotStarted) -> Error {
    runc(
        "failed to exec in container: failed to start exec: OCI runtime exec failed: exec failed: \
         unable to start container process",
        error,
    )
}

/// What cannot be started as a container, as a container runtime says it.
pub(crate) fn start_failed(error: NotStarted) -> Error {
    runc(
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: \
         runc create failed: unable to start container process: error during container init",
        error,
    )
}

fn runc(prefix: &str, error: NotStarted) -> Error {
    match error {
        NotStarted::CannotExecute(reason) => Error::NotFound(format!("{prefix}: {reason}: unknown")),
        NotStarted::Runtime(error) => error,
    }
}

/// `PATH` of an environment.
pub(crate) fn search(environment: &[(String, String)]) -> &str {
    environment.iter().find(|(name, _)| name == "PATH").map_or(DEFAULT_SEARCH, |(_, value)| value)
}

/// The client's ends of the streams, and the guest's.
fn wire(options: &ExecOptions, pid: u32) -> Wiring {
    let (client, output) = mpsc::channel(OUTPUT_PIECES_MAX);
    let (sender, receiver) = mpsc::channel(STDIN_PIECES_MAX);
    let (resize, size) = watch::channel(TerminalSize::default());
    let (stdin, sink) = (options.stdin.then(|| sender.clone()), Sink::Client(client));
    if options.tty {
        let terminal = Terminal::new(sink, size, pid);
        let file = OpenFile::terminal(terminal.clone());
        let streams = Streams { stdin: file.clone(), stdout: file.clone(), stderr: file };
        if !options.stdin {
            // Nobody types, and nobody says that nobody will.
            terminal.keep_open(sender);
        }
        return Wiring { stdin, typed: Some((receiver, terminal)), resize, output, streams };
    }
    let stdin_file = if options.stdin { OpenFile::input(Input::new(receiver)) } else { OpenFile::null() };
    let stdout = OpenFile::output(sink.clone(), Source::Stdout);
    let streams = Streams { stdin: stdin_file, stdout, stderr: OpenFile::output(sink, Source::Stderr) };
    Wiring { stdin, typed: None, resize, output, streams }
}

/// Runs the guest until it ends, its container does, or its client goes. All that
/// it started ends with it.
async fn run_beside(
    guest: Metered,
    registered: Registered,
    session: Arc<Session>,
    typed: Option<(mpsc::Receiver<Bytes>, Arc<Terminal>)>,
    mut report: oneshot::Sender<Result<i32, Error>>,
) {
    let container = session.container.clone();
    let typing = async {
        if let Some((typed, terminal)) = typed {
            terminal.run(typed, &*container.processes).await;
        }
        std::future::pending::<()>().await;
    };
    let code = tokio::select! {
        biased; // a guest that always has work must not hide its end
        () = report.closed() => return,
        () = container.ended() => KILLED,
        () = typing => return,
        end = registered.process.run(guest) => end.code(),
    };
    drop((session, registered));
    let _ = report.send(Ok(code)); // nobody waits: fine
}

/// Waits for a session's end and keeps its output.
///
/// # Errors
/// [`Error::DeadlineExceeded`]; the command is then ended.
pub(crate) async fn collect(session: ExecSession, timeout: Duration) -> Result<ExecSyncOutput, Error> {
    let ExecSession { stdin, mut output, resize: _resize, exit } = session;
    drop(stdin);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let ended = async {
        while let Some(piece) = output.recv().await {
            let (kept, bytes) = match piece {
                Output::Stdout(bytes) => (&mut stdout, bytes),
                Output::Stderr(bytes) => (&mut stderr, bytes),
            };
            kept.extend_from_slice(&bytes[..bytes.len().min(SYNC_OUTPUT_BYTES_MAX - kept.len())]);
        }
        exit.await.unwrap_or_else(|_| Err(Error::Unavailable("the runtime is shutting down".to_owned())))
    };
    let exit_code = tokio::time::timeout(timeout, ended)
        .await
        .map_err(|_| Error::DeadlineExceeded(format!("the command did not end within {timeout:?}")))??;
    Ok(ExecSyncOutput { stdout: stdout.into(), stderr: stderr.into(), exit_code })
}

/// What a shell's user expects to be set, then the image's, then the
/// container's; later ones win.
pub(crate) fn environment(container: &Container, tty: bool) -> Vec<(String, String)> {
    let terminal = tty.then_some(("TERM", "xterm"));
    let defaults =
        [("PATH", DEFAULT_SEARCH), ("HOSTNAME", container.sandbox.config.hostname.as_str()), ("HOME", "/root")];
    let mut environment: Vec<(String, String)> = Vec::new();
    let defaults = defaults.into_iter().chain(terminal).map(|(name, value)| (name.to_owned(), value.to_owned()));
    for (name, value) in defaults.chain(container.image.env.clone()).chain(container.config.envs.clone()) {
        match environment.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => environment.push((name, value)),
        }
    }
    environment
}

/// Where the guest starts; empty is `/`.
pub(crate) fn working_dir(container: &Container) -> &str {
    match container.config.working_dir.as_str() {
        "" => &container.image.working_dir,
        directory => directory,
    }
}
