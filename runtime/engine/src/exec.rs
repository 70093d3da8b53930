//! Programs beside a container's guest, and the streams of the guest itself.
//!
//! WASI has no processes. To exec is to run another instance of a program with
//! the container's files, environment, network and limits; it sees what the
//! guest sees, but not the guest. The program is the image's own, when the
//! command names it; a command that names another one is not found.

use crate::{
    container::Container,
    cpu::Metered,
    run::{End, Guest, Program},
    state::Shared,
    stdio::{OUTPUT_PIECES_MAX, Sink, Source, Stdin, Stdout, Terminal},
};
use bytes::Bytes;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot, watch};
use wk_cri::{ContainerState, Error, ExecOptions, ExecSession, ExecSyncOutput, Output, TerminalSize};
use wk_images::ImageRecord;
use wk_network::PodPort;
use wk_platform::tasks::OnError;

/// Pieces of stdin on the way to a guest; the client waits beyond that.
pub(crate) const STDIN_PIECES_MAX: usize = 16;

/// Bytes kept of each stream of an `exec_sync` (as containerd).
const SYNC_OUTPUT_BYTES_MAX: usize = 16 << 20;

/// Exit codes for a guest that ends in other ways than by itself.
const KILLED: i32 = 137;
const CANNOT_START: i32 = 128;

/// The streams that a guest gets.
pub(crate) struct Streams {
    pub stdin: Option<Stdin>,
    pub stdout: Stdout,
    pub stderr: Stdout,
}

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

/// Whether `name` means the image's one program: by any path, with or without
/// the file's extension.
fn is_program_of(image: &ImageRecord, name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|file| {
        let file = file.to_string_lossy();
        file == image.program() || file.strip_suffix(".wasm") == Some(image.program())
    })
}

impl Shared {
    /// The program that a command in this container means.
    ///
    /// # Errors
    /// [`Error::NotFound`] in the words of runc; [`Error::InvalidArgument`] when
    /// the image cannot run.
    pub(crate) async fn find_program(&self, container: &Container, name: &str) -> Result<Arc<Program>, Error> {
        if !is_program_of(&container.image, name) {
            return Err(Error::NotFound(format!("exec: {name:?}: executable file not found in $PATH")));
        }
        self.programs.get(&self.guests, &self.images, &container.image).await
    }

    /// A guest of this container, ready to be polled.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when a mounted directory cannot be opened.
    pub(crate) fn guest(
        &self,
        container: &Container,
        program: &Program,
        args: Vec<String>,
        streams: Streams,
        port: PodPort,
    ) -> Result<Metered, Error> {
        let Streams { stdin, stdout, stderr } = streams;
        let resources = &container.config.resources;
        let guest = Guest {
            args,
            env: environment(container),
            working_dir: working_dir(container).to_owned(),
            preopens: container.rootfs.preopens().to_vec(),
            stdin,
            stdout,
            stderr,
            port,
            usage: container.usage.clone(),
            memory_limit_bytes: resources.memory_limit_bytes.unwrap_or(self.limits.memory_bytes_max),
            cpu_limit_millis: resources.cpu_limit_millis,
        };
        program
            .prepare(guest, self.programs.ticker())
            .map_err(|error| Error::InvalidArgument(format!("container {}: {error:#}", container.id.0)))
    }

    /// Starts a command beside the guest.
    ///
    /// # Errors
    /// As [`wk_cri::RuntimeService::exec`].
    pub(crate) async fn exec(&self, container: &Arc<Container>, options: ExecOptions) -> Result<ExecSession, Error> {
        let name = options.command.first().ok_or_else(|| Error::InvalidArgument("the command is empty".to_owned()))?;
        let not_running = || Error::FailedPrecondition(format!("container {} is not running", container.id.0));
        container.running("exec in", |_| ())?;
        let program = self.find_program(container, name).await?;
        let port = container.sandbox.port().ok_or_else(not_running)?;
        let (sender, output) = mpsc::channel(OUTPUT_PIECES_MAX);
        let (stdin, streams) = client_streams(&options, sender);
        let guest = self.guest(container, &program, options.command, streams, port)?;
        let (report, exit) = oneshot::channel();
        let container = container.clone();
        self.tasks.spawn("exec", OnError::Log, async move {
            run_beside(guest, &container, report).await;
            Ok::<_, std::convert::Infallible>(())
        });
        Ok(ExecSession { stdin, output, resize: watch::Sender::new(TerminalSize::default()), exit })
    }

    /// The streams of the guest itself.
    ///
    /// # Errors
    /// As [`wk_cri::RuntimeService::attach`].
    pub(crate) fn attach(&self, container: &Arc<Container>) -> Result<ExecSession, Error> {
        let (stdin, output) = container.running("attach to", |running| {
            let stdin = if container.config.stdin_once { running.stdin.take() } else { running.stdin.clone() };
            (stdin, running.output.attach())
        })?;
        let (report, exit) = oneshot::channel();
        let container = container.clone();
        self.tasks.spawn("attach", OnError::Log, async move {
            container.ended().await;
            if let ContainerState::Exited { exit_code, .. } = container.state() {
                let _ = report.send(Ok(exit_code)); // nobody waits: fine
            }
            Ok::<_, std::convert::Infallible>(())
        });
        Ok(ExecSession { stdin, output, resize: watch::Sender::new(TerminalSize::default()), exit })
    }
}

/// The client's ends of the streams, and the guest's.
fn client_streams(options: &ExecOptions, output: mpsc::Sender<Output>) -> (Option<mpsc::Sender<Bytes>>, Streams) {
    let terminal = if options.tty { Terminal::Yes } else { Terminal::No };
    let (sender, receiver) = mpsc::channel(STDIN_PIECES_MAX);
    let (client, stdin) =
        if options.stdin { (Some(sender), Some(Stdin::new(receiver, terminal))) } else { (None, None) };
    let sink = Sink::Client(output);
    // A terminal has one stream of output.
    let error_source = if options.tty { Source::Stdout } else { Source::Stderr };
    let stdout = Stdout::new(sink.clone(), Source::Stdout, terminal);
    (client, Streams { stdin, stdout, stderr: Stdout::new(sink, error_source, terminal) })
}

/// Runs the guest until it ends, its container does, or its client goes.
async fn run_beside(guest: Metered, container: &Container, mut report: oneshot::Sender<Result<i32, Error>>) {
    let code = tokio::select! {
        biased; // a guest that always has work must not hide its end
        () = report.closed() => return,
        () = container.ended() => KILLED,
        end = guest => exit_code(end),
    };
    let _ = report.send(Ok(code)); // nobody waits: fine
}

fn exit_code(end: End) -> i32 {
    match end {
        End::Exited(code) | End::Trapped { code, .. } => code,
        End::OutOfMemory(_) => KILLED,
        End::Failed(_) => CANNOT_START,
    }
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
fn environment(container: &Container) -> Vec<(String, String)> {
    let defaults = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOSTNAME", container.sandbox.config.hostname.as_str()),
        ("HOME", "/root"),
    ];
    let mut environment: Vec<(String, String)> = Vec::new();
    let defaults = defaults.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
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
