//! What the streaming verbs give.

use crate::ContainerEvent;
use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{broadcast, mpsc, oneshot, watch},
};

/// Anything that carries bytes both ways.
pub trait ReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ReadWrite for T {}

/// A connection to a port of a sandbox.
pub type ByteStream = Box<dyn ReadWrite>;

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// What to run, and with which streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOptions {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether stdin is given.
    pub stdin: bool,
    /// Whether stdin and stdout are a terminal (stderr is then part of stdout).
    pub tty: bool,
}

/// How to connect to a container's guest. The CRI's stdout, stderr and tty are the
/// container's affair and the caller's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// Whether stdin is given. A client without it does not use up `stdin_once`.
    pub stdin: bool,
}

/// A running command. Dropping it ends the command.
pub struct ExecSession {
    /// Bytes for the command's stdin; dropping it is end of file. `None` without stdin.
    pub stdin: Option<mpsc::Sender<Bytes>>,
    /// What the command writes; ends when it has ended.
    pub output: mpsc::Receiver<Output>,
    /// The terminal's size, for a command with a terminal.
    pub resize: watch::Sender<TerminalSize>,
    /// The command's end: its exit code, or why it could not run.
    pub exit: oneshot::Receiver<Result<i32, crate::Error>>,
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// From stdout (or the terminal).
    Stdout(Bytes),
    /// From stderr.
    Stderr(Bytes),
}

/// What a finished command left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecSyncOutput {
    /// Its stdout, cut at 16 MiB.
    pub stdout: Bytes,
    /// Its stderr, cut at 16 MiB.
    pub stderr: Bytes,
    /// Its exit code.
    pub exit_code: i32,
}

/// The reader missed this many events: list to see what is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventsLagged(pub u64);

/// A subscription to a runtime's events.
pub struct ContainerEvents {
    receiver: broadcast::Receiver<ContainerEvent>,
}

impl ContainerEvents {
    /// Wraps a subscription; the sender's capacity bounds what is kept.
    pub fn new(receiver: broadcast::Receiver<ContainerEvent>) -> Self {
        Self { receiver }
    }

    /// The next event; `None` when the runtime has gone. Cancel safe.
    ///
    /// # Errors
    /// [`EventsLagged`] after falling behind; reading goes on after it.
    pub async fn next(&mut self) -> Option<Result<ContainerEvent, EventsLagged>> {
        match self.receiver.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Err(EventsLagged(missed))),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
