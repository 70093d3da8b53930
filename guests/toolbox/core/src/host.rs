//! What the toolbox asks of its host: the calls of `wit/toolbox.wit`, a clock,
//! and the few things WASI's std does not offer. The guest implements it over
//! the component's imports, the tests over threads.

use std::{any::Any, io, net::TcpStream, path::PathBuf, rc::Rc, time::Duration};

/// Why a call failed, as POSIX names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errno {
    /// No such file, directory or program.
    NoEntry,
    /// Not allowed to this process.
    Access,
    /// Neither a program nor a script with `#!`.
    NoExec,
    /// A directory where a file was meant.
    IsDirectory,
    /// A file where a directory was meant.
    NotDirectory,
    /// The file system is read-only.
    ReadOnly,
    /// The disk is full.
    NoSpace,
    /// Nobody reads what is written.
    Pipe,
    /// No such process.
    NoProcess,
    /// Not allowed to anyone.
    Permission,
    /// The call makes no sense.
    Invalid,
    /// A limit is reached; later it may work.
    Again,
    /// A caught signal came first.
    Interrupted,
    /// Anything else.
    Io,
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        use io::ErrorKind as Kind;
        match errno {
            Errno::NoEntry => Kind::NotFound.into(),
            Errno::Access => Kind::PermissionDenied.into(),
            Errno::NoExec => Self::other("Exec format error"),
            Errno::IsDirectory => Kind::IsADirectory.into(),
            Errno::NotDirectory => Kind::NotADirectory.into(),
            Errno::ReadOnly => Kind::ReadOnlyFilesystem.into(),
            Errno::NoSpace => Kind::StorageFull.into(),
            Errno::Pipe => Kind::BrokenPipe.into(),
            Errno::NoProcess => Self::other("No such process"),
            Errno::Permission => Self::other("Operation not permitted"),
            Errno::Invalid => Kind::InvalidInput.into(),
            Errno::Again => Self::other("Resource temporarily unavailable"),
            Errno::Interrupted => Kind::Interrupted.into(),
            Errno::Io => Self::other("I/O error"),
        }
    }
}

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// For reading; it must exist.
    Read,
    /// For writing, empty.
    Write,
    /// For writing, at its end.
    Append,
    /// For both, without losing what is there.
    ReadWrite,
}

/// An open file description: its position is shared by all who hold it.
pub trait OpenFile {
    /// At most `length` bytes, waiting for the first; none at the end.
    ///
    /// # Errors
    /// What the host says of this file.
    fn read(&self, length: u32) -> Result<Vec<u8>, Errno>;

    /// The same, while a caught signal may come first, or the time may be over.
    ///
    /// # Errors
    /// [`Errno::Interrupted`] and [`Errno::Again`] then.
    fn read_or_signal(&self, length: u32, timeout: Option<Duration>) -> Result<Vec<u8>, Errno>;

    /// Writes all, waiting for room.
    ///
    /// # Errors
    /// [`Errno::Pipe`] when nobody reads any more.
    fn write(&self, bytes: &[u8]) -> Result<(), Errno>;

    /// Whether a person sits at the other end.
    fn is_terminal(&self) -> bool;

    /// For the host, to get its own type back.
    fn as_any(&self) -> &dyn Any;
}

/// A hold on an open file; it is closed when the last hold goes.
pub type File = Rc<dyn OpenFile>;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with an exit code.
    Exited(u8),
    /// By a signal.
    Signalled(u8),
}

impl End {
    /// As a shell says it: 128 + signal when a signal ended it.
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signalled(signal) => signal.saturating_add(128),
        }
    }
}

/// A process that this one started.
pub trait Child {
    /// Its number.
    fn pid(&self) -> u32;
    /// Waits for its end.
    fn wait(&self) -> End;
    /// The same, and none when a caught signal comes first.
    fn wait_or_signal(&self) -> Option<End>;
    /// How it ended, when it has.
    fn poll(&self) -> Option<End>;
}

/// What a signal does to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// What Linux says: it ends the process, or does nothing.
    Default,
    /// Nothing; also to what the process starts.
    Ignore,
    /// It is kept for [`Host::caught_signals`].
    Catch,
}

/// A program to start.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program's name first.
    pub arguments: Vec<String>,
    /// All of it: nothing is inherited.
    pub environment: Vec<(String, String)>,
    /// An absolute path.
    pub directory: String,
    /// Where a program without a slash in its name is looked for, as `PATH`.
    pub search: String,
    /// The keys of the terminal signal neither it nor what it starts.
    pub background: bool,
}

/// A process of this container.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its number; the container's own program is 1.
    pub pid: u32,
    /// Who started it.
    pub parent: u32,
    /// Its arguments, the program's name first.
    pub command: Vec<String>,
    /// CPU time used.
    pub cpu: Duration,
    /// Linear memory.
    pub memory_bytes: u64,
    /// `R`, `S` or `Z`, as ps shows it.
    pub state: String,
    /// When it started, since 1970.
    pub started_at: Duration,
}

/// Everything the toolbox cannot do alone.
pub trait Host {
    /// Opens an absolute path.
    ///
    /// # Errors
    /// As open(2).
    fn open(&self, path: &str, access: Access) -> Result<File, Errno>;
    /// Read end and write end of a new pipe.
    fn pipe(&self) -> (File, File);
    /// A file that holds these bytes.
    fn file_of(&self, bytes: Vec<u8>) -> File;
    /// Starts a process with stdin, stdout and stderr.
    ///
    /// # Errors
    /// [`Errno::NoEntry`] without such a program, [`Errno::Access`] for a directory,
    /// [`Errno::NoExec`] for a file without `#!`, [`Errno::Again`] at a limit.
    fn spawn(&self, command: &Command, streams: [&File; 3]) -> Result<Rc<dyn Child>, Errno>;
    /// Where `spawn` would find this program, also when it is no script.
    fn find(&self, program: &str, search: &str, directory: &str) -> Option<String>;
    /// The container's processes.
    fn processes(&self) -> Vec<Process>;
    /// This process's number.
    fn pid(&self) -> u32;
    /// Sends a signal, as Linux numbers it.
    ///
    /// # Errors
    /// [`Errno::NoProcess`], [`Errno::Permission`].
    fn kill(&self, pid: u32, signal: u8) -> Result<(), Errno>;
    /// What a signal does to this process from now on.
    ///
    /// # Errors
    /// [`Errno::Invalid`] for those that always do the same.
    fn set_action(&self, signal: u8, action: Action) -> Result<(), Errno>;
    /// The signals caught since the last call: number n is bit n - 1.
    fn caught_signals(&self) -> u64;
    /// Columns and rows, if there is a terminal.
    fn terminal_size(&self) -> Option<(u16, u16)>;
    /// Whether bytes come as they are typed.
    ///
    /// # Errors
    /// Without a terminal.
    fn set_raw(&self, raw: bool) -> Result<(), Errno>;
    /// The time since 1970.
    fn now(&self) -> Duration;
    /// Does nothing for a while.
    fn sleep(&self, duration: Duration);
    /// Where an absolute path of the container is for [`std::fs`].
    fn path(&self, absolute: &str) -> PathBuf;
    /// Makes a symbolic link; `link` is an absolute path.
    ///
    /// # Errors
    /// As symlink(2).
    fn symlink(&self, target: &str, link: &str) -> io::Result<()>;
    /// Connects within a time; `None` waits as long as the network does.
    ///
    /// # Errors
    /// As connect(2), and [`io::ErrorKind::TimedOut`].
    fn connect(&self, address: std::net::SocketAddr, timeout: Option<Duration>) -> io::Result<TcpStream>;
    /// Waits until a connection has something to read, at most so long: whether it has.
    ///
    /// # Errors
    /// What poll(2) says.
    fn wait_readable(&self, stream: &TcpStream, timeout: Duration) -> io::Result<bool>;
    /// Copies stdin to the connection and the connection to `stdout` until the
    /// peer closes. The end of stdin ends the sending only.
    ///
    /// # Errors
    /// What reading and writing say.
    fn relay(&self, stream: &TcpStream, stdin: &File, stdout: &File) -> io::Result<()>;
}
