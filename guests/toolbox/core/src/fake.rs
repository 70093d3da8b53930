//! A host for tests: processes are threads, files lie under a directory.

use crate::{
    Context, Output,
    host::{Access, Action, Child, Command, End, Errno, File, Host, OpenFile, Process},
};
use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    rc::Rc,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// What a pipe holds before its writer waits.
const PIPE_BYTES: usize = 64 * 1024;

enum Inner {
    Disk(Mutex<fs::File>),
    Reader(Arc<Pipe>),
    Writer(Arc<Pipe>),
    Bytes(Mutex<VecDeque<u8>>),
}

#[derive(Default)]
struct Pipe {
    state: Mutex<PipeState>,
    changed: Condvar,
}

#[derive(Default)]
struct PipeState {
    bytes: VecDeque<u8>,
    no_reader: bool,
    no_writer: bool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        match self {
            Self::Reader(pipe) => pipe.state.lock().unwrap().no_reader = true,
            Self::Writer(pipe) => pipe.state.lock().unwrap().no_writer = true,
            _ => return,
        }
        if let Self::Reader(pipe) | Self::Writer(pipe) = self {
            pipe.changed.notify_all();
        }
    }
}

struct FakeFile(Arc<Inner>);

fn file(inner: Inner) -> File {
    Rc::new(FakeFile(Arc::new(inner)))
}

fn errno(error: &io::Error) -> Errno {
    match error.kind() {
        io::ErrorKind::NotFound => Errno::NoEntry,
        io::ErrorKind::IsADirectory => Errno::IsDirectory,
        io::ErrorKind::NotADirectory => Errno::NotDirectory,
        io::ErrorKind::PermissionDenied => Errno::Access,
        _ => Errno::Io,
    }
}

impl OpenFile for FakeFile {
    fn read(&self, length: u32) -> Result<Vec<u8>, Errno> {
        let length = length as usize;
        match &*self.0 {
            Inner::Disk(disk) => {
                let mut buffer = vec![0; length];
                let read = disk.lock().unwrap().read(&mut buffer).map_err(|error| errno(&error))?;
                buffer.truncate(read);
                Ok(buffer)
            }
            Inner::Reader(pipe) => {
                let waiting = pipe.state.lock().unwrap();
                let mut state =
                    pipe.changed.wait_while(waiting, |state| state.bytes.is_empty() && !state.no_writer).unwrap();
                let end = length.min(state.bytes.len());
                let bytes = state.bytes.drain(..end).collect();
                pipe.changed.notify_all();
                Ok(bytes)
            }
            Inner::Writer(_) => Err(Errno::Invalid),
            Inner::Bytes(bytes) => {
                let mut bytes = bytes.lock().unwrap();
                let end = length.min(bytes.len());
                Ok(bytes.drain(..end).collect())
            }
        }
    }

    fn read_or_signal(&self, length: u32, _: Option<Duration>) -> Result<Vec<u8>, Errno> {
        self.read(length)
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Errno> {
        match &*self.0 {
            Inner::Disk(disk) => disk.lock().unwrap().write_all(bytes).map_err(|error| errno(&error)),
            Inner::Writer(pipe) => {
                for piece in bytes.chunks(PIPE_BYTES) {
                    let waiting = pipe.state.lock().unwrap();
                    let full = |state: &mut PipeState| state.bytes.len() >= PIPE_BYTES && !state.no_reader;
                    let mut state = pipe.changed.wait_while(waiting, full).unwrap();
                    if state.no_reader {
                        return Err(Errno::Pipe);
                    }
                    state.bytes.extend(piece);
                    pipe.changed.notify_all();
                }
                Ok(())
            }
            Inner::Reader(_) => Err(Errno::Invalid),
            Inner::Bytes(held) => {
                held.lock().unwrap().extend(bytes);
                Ok(())
            }
        }
    }

    fn is_terminal(&self) -> bool {
        false
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct FakeChild {
    pid: u32,
    thread: Mutex<Option<JoinHandle<u8>>>,
    code: Mutex<Option<u8>>,
}

impl Child for FakeChild {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn wait(&self) -> End {
        if let Some(thread) = self.thread.lock().unwrap().take() {
            *self.code.lock().unwrap() = Some(thread.join().unwrap_or(134));
        }
        End::Exited(self.code.lock().unwrap().unwrap_or(0))
    }

    fn wait_or_signal(&self) -> Option<End> {
        Some(self.wait())
    }

    fn poll(&self) -> Option<End> {
        let ended = self.thread.lock().unwrap().as_ref().is_none_or(JoinHandle::is_finished);
        ended.then(|| self.wait())
    }
}

/// Which signals a process catches, and has caught: number n is bit n - 1.
#[derive(Default)]
struct Signals {
    catching: u64,
    caught: u64,
}

#[derive(Clone)]
pub struct Fake {
    root: PathBuf,
    pid: u32,
    next_pid: Arc<AtomicU32>,
    signals: Arc<Mutex<BTreeMap<u32, Signals>>>,
}

impl Host for Fake {
    fn open(&self, path: &str, access: Access) -> Result<File, Errno> {
        if path == "/dev/null" {
            return Ok(file(Inner::Disk(Mutex::new(fs::File::options().read(true).write(true).open(path).unwrap()))));
        }
        let mut options = fs::File::options();
        match access {
            Access::Read => options.read(true),
            Access::Write => options.write(true).create(true).truncate(true),
            Access::Append => options.append(true).create(true),
            Access::ReadWrite => options.read(true).write(true).create(true).truncate(false),
        };
        let opened = options.open(self.path(path)).map_err(|error| errno(&error))?;
        if access == Access::Read && opened.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Err(Errno::IsDirectory);
        }
        Ok(file(Inner::Disk(Mutex::new(opened))))
    }

    fn pipe(&self) -> (File, File) {
        let pipe = Arc::new(Pipe::default());
        (file(Inner::Reader(Arc::clone(&pipe))), file(Inner::Writer(pipe)))
    }

    fn file_of(&self, bytes: Vec<u8>) -> File {
        file(Inner::Bytes(Mutex::new(bytes.into())))
    }

    fn spawn(&self, command: &Command, streams: [&File; 3]) -> Result<Rc<dyn Child>, Errno> {
        let command = &self.resolve(command)?;
        let streams = streams.map(|stream| Arc::clone(&stream.as_any().downcast_ref::<FakeFile>().unwrap().0));
        let pid = self.next_pid.fetch_add(1, Ordering::Relaxed);
        let (host, command) = (Self { pid, ..self.clone() }, command.clone());
        let thread =
            std::thread::Builder::new().stack_size(16 << 20).spawn(move || host.run(command, streams)).unwrap();
        Ok(Rc::new(FakeChild { pid, thread: Mutex::new(Some(thread)), code: Mutex::new(None) }))
    }

    fn find(&self, program: &str, search: &str, directory: &str) -> Option<String> {
        let is_tool = |name: &str| crate::names().any(|known| known == name);
        if !program.contains('/') {
            let scripts = search.split(':').map(|directory| format!("{directory}/{program}"));
            return if is_tool(program) {
                Some(format!("/bin/{program}"))
            } else {
                scripts.into_iter().find(|path| self.path(path).exists())
            };
        }
        let exists = self.path(&crate::context::absolute(directory, program)).exists();
        (exists || program.strip_prefix("/usr").unwrap_or(program).strip_prefix("/bin/").is_some_and(is_tool))
            .then(|| program.to_owned())
    }

    fn processes(&self) -> Vec<Process> {
        let process = |pid: u32, command: &[&str]| Process {
            pid,
            parent: pid.saturating_sub(1),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            cpu: Duration::from_secs(61),
            memory_bytes: 2 << 20,
            state: "S".to_owned(),
            started_at: Duration::from_secs(1000),
        };
        vec![process(1, &["web", "--port"]), process(2, &["sh"])]
    }

    fn pid(&self) -> u32 {
        self.pid
    }

    /// Default actions are not done: a thread cannot be ended.
    fn kill(&self, pid: u32, signal: u8) -> Result<(), Errno> {
        match self.signals.lock().unwrap().get_mut(&pid) {
            Some(signals) => {
                signals.caught |= signals.catching & 1_u64.checked_shl(u32::from(signal).wrapping_sub(1)).unwrap_or(0)
            }
            None if pid == 1 || pid == self.pid => {}
            None => return Err(Errno::NoProcess),
        }
        Ok(())
    }

    fn set_action(&self, signal: u8, action: Action) -> Result<(), Errno> {
        let mut signals = self.signals.lock().unwrap();
        let catching = &mut signals.entry(self.pid).or_default().catching;
        *catching = *catching & !(1 << (signal - 1)) | u64::from(action == Action::Catch) << (signal - 1);
        Ok(())
    }

    fn caught_signals(&self) -> u64 {
        self.signals.lock().unwrap().get_mut(&self.pid).map_or(0, |signals| std::mem::take(&mut signals.caught))
    }

    fn terminal_size(&self) -> Option<(u16, u16)> {
        None
    }

    fn set_raw(&self, _: bool) -> Result<(), Errno> {
        Err(Errno::Invalid)
    }

    fn now(&self) -> Duration {
        Duration::from_secs(1_700_000_000)
    }

    fn sleep(&self, _: Duration) {}

    fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    fn symlink(&self, target: &str, link: &str) -> io::Result<()> {
        std::os::unix::fs::symlink(target, self.path(link))
    }

    fn connect(&self, address: SocketAddr, _: Option<Duration>) -> io::Result<TcpStream> {
        TcpStream::connect(address)
    }

    fn wait_readable(&self, stream: &TcpStream, timeout: Duration) -> io::Result<bool> {
        stream.set_read_timeout(Some(timeout))?;
        Ok(stream.peek(&mut [0]).is_ok())
    }

    fn relay(&self, stream: &TcpStream, stdin: &File, stdout: &File) -> io::Result<()> {
        let mut connection = stream;
        loop {
            let bytes = stdin.read(1024)?;
            if bytes.is_empty() {
                break;
            }
            connection.write_all(&bytes)?;
        }
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer)?;
        Ok(stdout.write(&answer)?)
    }
}

impl Fake {
    /// With the interpreter of a script.
    fn resolve(&self, command: &Command) -> Result<Command, Errno> {
        let found = self.find(&command.arguments[0], &command.search, &command.directory).ok_or(Errno::NoEntry)?;
        let file = self.path(&crate::context::absolute(&command.directory, &found));
        if !file.exists() {
            return Ok(command.clone());
        }
        let content = fs::read(file)
            .map_err(|error| if error.kind() == io::ErrorKind::IsADirectory { Errno::Access } else { Errno::Io })?;
        let content = String::from_utf8_lossy(&content).into_owned();
        let line = content.strip_prefix("#!").ok_or(Errno::NoExec)?.lines().next().unwrap_or_default();
        let interpreter = line.split_whitespace().map(str::to_owned).chain([found]);
        let arguments = interpreter.chain(command.arguments[1..].iter().cloned()).collect();
        self.resolve(&Command { arguments, ..command.clone() })
    }

    fn run(self, command: Command, streams: [Arc<Inner>; 3]) -> u8 {
        let [stdin, stdout, stderr] = streams.map(|inner| Rc::new(FakeFile(inner)) as File);
        let mut context = Context {
            host: Rc::new(self),
            arguments: command.arguments,
            speaker: None,
            environment: command.environment,
            directory: command.directory,
            stdin,
            stdout: Output::new(stdout),
            stderr,
        };
        crate::run(&mut context)
    }
}

/// A container: a directory, removed at the end.
pub struct Container(PathBuf);

/// What a program wrote and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub code: u8,
}

static CONTAINERS: AtomicU32 = AtomicU32::new(0);

impl Container {
    pub fn new() -> Self {
        let number = CONTAINERS.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("wk-toolbox-{}-{number}", std::process::id()));
        fs::create_dir_all(root.join("tmp")).unwrap();
        Self(root)
    }

    /// Its root.
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// Runs a program in `/tmp`.
    pub fn run(&self, arguments: &[&str], stdin: &str) -> Ran {
        let host =
            Fake { root: self.0.clone(), pid: 2, next_pid: Arc::new(AtomicU32::new(3)), signals: Arc::default() };
        let command = Command {
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment: [("HOME", "/tmp"), ("HOSTNAME", "web-0")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            directory: "/tmp".to_owned(),
            search: crate::applets::DEFAULT_SEARCH.to_owned(),
            background: false,
        };
        let input = host.file_of(stdin.as_bytes().to_vec());
        let (output, errors) = (host.file_of(Vec::new()), host.file_of(Vec::new()));
        let code = host.spawn(&command, [&input, &output, &errors]).map_or(127, |child| child.wait().code());
        let text = |file: &File| String::from_utf8_lossy(&file.read(1 << 24).unwrap()).into_owned();
        Ran { stdout: text(&output), stderr: text(&errors), code }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
