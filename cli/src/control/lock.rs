//! Who owns a data directory: `server.lock`, locked for as long as its server
//! lives, with the server's process id inside.
//!
//! The lock is the truth, the number a convenience: the kernel lets go of the
//! lock when the process ends, however it ends, and a number in a file that
//! nobody has locked means nothing.

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use std::{
    fs::{File, TryLockError},
    io::{Read, Seek, Write},
    os::fd::OwnedFd,
    path::Path,
    time::Duration,
};

/// The lock's name in the data directory.
const LOCK: &str = "server.lock";

/// Who looks whether the lock is held has it for an instant. Tries, and the pause
/// between them, after which it is not such an instant.
const TRIES: usize = 10;
const PAUSE: Duration = Duration::from_millis(5);

/// The lock of a server, released when dropped.
#[derive(Debug)]
pub struct ServerLock {
    _file: File,
}

impl ServerLock {
    /// Takes the lock of `data_dir`, which exists.
    ///
    /// # Errors
    /// When another process has it, with its number; when the file cannot be made.
    pub fn take(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join(LOCK);
        let mut file = open(&path).with_context(|| format!("open {}", path.display()))?;
        match try_lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = read_pid(&mut file).map(|pid| format!(" (process {pid})")).unwrap_or_default();
                bail!("another server{pid} is running with the data directory {}", data_dir.display());
            }
            Err(TryLockError::Error(error)) => return Err(error).context(format!("lock {}", path.display())),
        }
        let text = format!("{}\n", std::process::id());
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()));
        written.with_context(|| format!("write {}", path.display()))?;
        Ok(Self { _file: file })
    }
}

fn try_lock(file: &File) -> Result<(), TryLockError> {
    for _ in 1..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            result => return result,
        }
    }
    file.try_lock()
}

fn open(path: &Path) -> std::io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

fn read_pid(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.rewind().ok()?;
    // A process id has seven digits at most.
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The process of a running server. It cannot be confused with a later process
/// of the same number.
#[derive(Debug)]
pub struct ServerProcess {
    pid: Pid,
    handle: OwnedFd,
}

impl ServerProcess {
    /// The server that runs with `data_dir`; `None` when there is none.
    ///
    /// # Errors
    /// When one runs and its process cannot be told.
    pub fn find(data_dir: &Path) -> Result<Option<Self>> {
        let path = data_dir.join(LOCK);
        let Some(pid) = holder(&path)? else { return Ok(None) };
        let handle = pidfd_open(pid, PidfdFlags::empty());
        // It held the lock before the handle was opened. If it still does, the
        // handle is its own; if not, it has just ended.
        if holder(&path)? != Some(pid) {
            return Ok(None);
        }
        let handle = handle.with_context(|| format!("open process {pid}"))?;
        Ok(Some(Self { pid, handle }))
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Asks it to stop.
    ///
    /// # Errors
    /// When it belongs to another user.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Ends it.
    ///
    /// # Errors
    /// As [`ServerProcess::terminate`].
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match pidfd_send_signal(&self.handle, signal) {
            Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("signal process {}", self.pid)),
        }
    }

    /// Waits until it has ended, for at most `patience`; whether it has. Blocks.
    ///
    /// # Errors
    /// The operating system's.
    pub fn wait(&self, patience: Duration) -> Result<bool> {
        let timeout = Timespec::try_from(patience).context("a patience that fits")?;
        let mut handles = [PollFd::new(&self.handle, PollFlags::IN)];
        let ready = rustix::io::retry_on_intr(|| poll(&mut handles, Some(&timeout)));
        Ok(ready.context("wait for the server")? > 0)
    }
}

/// The process that holds the lock.
fn holder(path: &Path) -> Result<Option<Pid>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("open {}", path.display())),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let pid = read_pid(&mut file).and_then(Pid::from_raw);
            Ok(Some(pid.with_context(|| format!("{} does not name a process", path.display()))?))
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("look at {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_server() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(ServerProcess::find(directory.path()).expect("looks").is_none());
        let lock = ServerLock::take(directory.path()).expect("free");
        let found = ServerProcess::find(directory.path()).expect("looks").expect("this process");
        assert_eq!(found.pid().cast_unsigned(), std::process::id());
        assert!(!found.wait(Duration::ZERO).expect("waits"), "this process has not ended");
        let error = ServerLock::take(directory.path()).expect_err("taken").to_string();
        assert!(error.contains(&format!("another server (process {})", std::process::id())), "{error}");

        drop(lock);
        assert!(ServerProcess::find(directory.path()).expect("looks").is_none());
        ServerLock::take(directory.path()).expect("free again");
    }
}
