//! The engine as a [`Host`].

use std::{
    any::Any,
    ffi::CString,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::fd::AsRawFd,
    path::PathBuf,
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use wk_toolbox::host::{Access, Action, Child, Command, End, Errno, File, Host, OpenFile, Process};

#[allow(unsafe_code)]
mod bindings {
    wit_bindgen::generate!({ path: "../wit", world: "toolbox" });
}
use bindings::wk::toolbox::processes;

/// The one call of WASI that its libc does not make.
#[allow(unsafe_code)]
mod environment {
    wit_bindgen::generate!({
        inline: "
            package wasi:cli@0.2.6;
            interface environment {
                get-environment: func() -> list<tuple<string, string>>;
                get-arguments: func() -> list<string>;
                initial-cwd: func() -> option<string>;
            }
            world directory { import environment; }
        ",
    });
}

/// Where this process was started.
pub fn directory() -> String {
    environment::wasi::cli::environment::initial_cwd().unwrap_or_else(|| "/".to_owned())
}

/// This process's stdin, stdout and stderr.
pub fn streams() -> [File; 3] {
    [processes::stdin(), processes::stdout(), processes::stderr()].map(file)
}

/// Ends this process.
pub fn exit(code: u8) -> ! {
    processes::exit(code);
    std::process::exit(i32::from(code))
}

fn file(file: processes::File) -> File {
    Rc::new(HostFile(file))
}

struct HostFile(processes::File);

impl OpenFile for HostFile {
    fn read(&self, length: u32) -> Result<Vec<u8>, Errno> {
        self.0.read(length).map_err(errno)
    }

    fn read_or_signal(&self, length: u32, timeout: Option<Duration>) -> Result<Vec<u8>, Errno> {
        let millis = timeout.map(|timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
        self.0.read_or_signal(length, millis).map_err(errno)
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Errno> {
        self.0.write(bytes).map_err(errno)
    }

    fn is_terminal(&self) -> bool {
        self.0.is_terminal()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct HostChild(processes::Child);

impl Child for HostChild {
    fn pid(&self) -> u32 {
        self.0.pid()
    }

    fn wait(&self) -> End {
        end(self.0.wait())
    }

    fn wait_or_signal(&self) -> Option<End> {
        self.0.wait_or_signal().map(end)
    }

    fn poll(&self) -> Option<End> {
        self.0.poll().map(end)
    }
}

fn end(end: processes::End) -> End {
    match end {
        processes::End::Exited(code) => End::Exited(code),
        processes::End::Signalled(signal) => End::Signalled(signal),
    }
}

fn errno(errno: processes::Errno) -> Errno {
    use processes::Errno as E;
    match errno {
        E::Noent => Errno::NoEntry,
        E::Acces => Errno::Access,
        E::Noexec => Errno::NoExec,
        E::Isdir => Errno::IsDirectory,
        E::Notdir => Errno::NotDirectory,
        E::Rofs => Errno::ReadOnly,
        E::Nospc => Errno::NoSpace,
        E::Pipe => Errno::Pipe,
        E::Srch => Errno::NoProcess,
        E::Perm => Errno::Permission,
        E::Inval => Errno::Invalid,
        E::Again => Errno::Again,
        E::Intr => Errno::Interrupted,
        E::Io => Errno::Io,
    }
}

/// The engine this component runs in.
pub struct Guest;

impl Host for Guest {
    fn open(&self, path: &str, access: Access) -> Result<File, Errno> {
        let access = match access {
            Access::Read => processes::Access::Read,
            Access::Write => processes::Access::Write,
            Access::Append => processes::Access::Append,
            Access::ReadWrite => processes::Access::ReadWrite,
        };
        processes::open(path, access).map(file).map_err(errno)
    }

    fn pipe(&self) -> (File, File) {
        let (reader, writer) = processes::pipe();
        (file(reader), file(writer))
    }

    fn file_of(&self, bytes: Vec<u8>) -> File {
        file(processes::from_bytes(&bytes))
    }

    fn spawn(&self, command: &Command, streams: [&File; 3]) -> Result<Rc<dyn Child>, Errno> {
        let command = processes::Command {
            arguments: command.arguments.clone(),
            environment: command.environment.clone(),
            working_directory: command.directory.clone(),
            search: command.search.clone(),
            background: command.background,
        };
        let host = |file: &File| file.as_any().downcast_ref::<HostFile>().map(|file| file.0.duplicate());
        let [Some(stdin), Some(stdout), Some(stderr)] = streams.map(host) else { return Err(Errno::Invalid) };
        let child = processes::spawn(&command, &stdin, &stdout, &stderr).map_err(errno)?;
        Ok(Rc::new(HostChild(child)))
    }

    fn find(&self, program: &str, search: &str, directory: &str) -> Option<String> {
        processes::find(program, search, directory)
    }

    fn processes(&self) -> Vec<Process> {
        let process = |process: processes::Process| Process {
            pid: process.pid,
            parent: process.parent,
            command: process.command,
            cpu: Duration::from_nanos(process.cpu_nanos),
            memory_bytes: process.memory_bytes,
            state: process.state,
            started_at: Duration::from_secs(process.started_at_unix_seconds),
        };
        processes::list_processes().into_iter().map(process).collect()
    }

    fn pid(&self) -> u32 {
        processes::pid()
    }

    fn kill(&self, pid: u32, signal: u8) -> Result<(), Errno> {
        processes::kill(pid, signal).map_err(errno)
    }

    fn set_action(&self, signal: u8, action: Action) -> Result<(), Errno> {
        let action = match action {
            Action::Default => processes::Action::Default,
            Action::Ignore => processes::Action::Ignore,
            Action::Catch => processes::Action::Catch,
        };
        processes::set_action(signal, action).map_err(errno)
    }

    fn caught_signals(&self) -> u64 {
        processes::caught_signals()
    }

    fn terminal_size(&self) -> Option<(u16, u16)> {
        processes::terminal_size().map(|size| (size.columns, size.rows))
    }

    fn set_raw(&self, raw: bool) -> Result<(), Errno> {
        processes::set_raw(raw).map_err(errno)
    }

    fn now(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    fn path(&self, absolute: &str) -> PathBuf {
        PathBuf::from(absolute)
    }

    fn symlink(&self, target: &str, link: &str) -> io::Result<()> {
        let (target, link) = (CString::new(target)?, CString::new(link)?);
        // SAFETY: both are strings that end in a zero and outlive the call.
        let done = unsafe { libc::symlink(target.as_ptr(), link.as_ptr()) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn connect(&self, address: SocketAddr, timeout: Option<Duration>) -> io::Result<TcpStream> {
        match timeout {
            Some(timeout) => TcpStream::connect_timeout(&address, timeout),
            None => TcpStream::connect(address),
        }
    }

    fn wait_readable(&self, stream: &TcpStream, timeout: Duration) -> io::Result<bool> {
        Ok(poll(&[stream.as_raw_fd()], Some(timeout))?[0])
    }

    fn relay(&self, stream: &TcpStream, _: &File, stdout: &File) -> io::Result<()> {
        // The host connects WASI's stdin to the same file, and only WASI can
        // wait for a file and a socket at once.
        let mut wait_for = vec![stream.as_raw_fd(), 0];
        let mut buffer = vec![0; RELAY_BYTES];
        loop {
            let ready = poll(&wait_for, None)?;
            if ready[0] {
                let length = (&*stream).read(&mut buffer)?;
                if length == 0 {
                    return Ok(());
                }
                stdout.write(&buffer[..length])?;
            }
            if ready.get(1) == Some(&true) {
                let length = io::stdin().lock().read(&mut buffer)?;
                if length == 0 {
                    wait_for.pop();
                    stream.shutdown(Shutdown::Write)?;
                } else {
                    (&*stream).write_all(&buffer[..length])?;
                }
            }
        }
    }
}

/// Bytes that a relay reads at once.
const RELAY_BYTES: usize = 16 * 1024;

/// Which of these may be read without waiting; none when the time is over.
fn poll(descriptors: &[i32], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let entry = |fd: &i32| libc::pollfd { fd: *fd, events: libc::POLLRDNORM, revents: 0 };
    let mut entries: Vec<libc::pollfd> = descriptors.iter().map(entry).collect();
    let timeout = timeout.map_or(-1, |timeout| i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX));
    // SAFETY: the pointer and the length are of one vector that outlives the call.
    let count = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, timeout) };
    if count < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(entries.iter().map(|entry| entry.revents != 0).collect())
}
