//! Processes of a container: its guest (pid 1), what exec runs beside it, and
//! what those start through `wk:toolbox/processes`.
//!
//! ```text
//! ProcessTable (of a container) ─ Process ─ Process ─ …      who is there, signals, ends
//! Session (an exec, or the guest) ─ tasks of its processes   ends them all when it is dropped
//! host: the toolbox's calls ─▶ Session::spawn, OpenFile, ProcessTable
//! ```
//!
//! A process is one instance of a program. A signal is a request to the task that
//! runs it, which drops the instance: wasm has no handlers, so every signal has
//! its default action. A process that ended leaves the table at once; who started
//! it holds its exit code.
//!
//! Reading order: here, `session`, `host`.

pub(crate) mod host;
pub(crate) mod session;

use crate::{
    cpu::Metered,
    limits::{Account, Usage},
    run::End,
    terminal::{Foreground, Signalled},
};
use parking_lot::Mutex;
use std::{collections::BTreeMap, future::pending, sync::Arc};
use tokio::sync::watch;
use wk_cri::UnixNanos;

/// Processes of one container at a time: pipelines are short, and each instance
/// takes megabytes of address space. A fork bomb ends here.
const PROCESSES_MAX: usize = 128;

/// A signal's number added to this is the exit code, as a shell says it.
pub(crate) const SIGNAL_BASE: i32 = 128;

/// The exit code of a program that cannot be started.
const CANNOT_START: i32 = 128;

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    pub pid: u32,
    /// 0 for the guest and for what exec started.
    pub parent: u32,
    pub command: Vec<String>,
    pub started_at: UnixNanos,
    pub account: Account,
    exit: watch::Sender<Option<i32>>,
    signal: watch::Sender<Option<u8>>,
}

/// The processes of a container.
#[derive(Debug, Default)]
pub(crate) struct ProcessTable(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    last: u32,
    processes: BTreeMap<u32, Arc<Process>>,
}

/// There are as many processes as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the container has {PROCESSES_MAX} processes, which is the most it may have")]
pub(crate) struct TooMany;

/// A place in the table, given up when dropped.
pub(crate) struct Registered {
    pub process: Arc<Process>,
    table: Arc<ProcessTable>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.process.exit.send_if_modified(|exit| {
            let dropped = exit.is_none();
            exit.get_or_insert(SIGNAL_BASE + libc::SIGKILL);
            dropped
        });
        self.table.0.lock().processes.remove(&self.process.pid);
    }
}

impl ProcessTable {
    /// Adds a process; the first one is the container's guest.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn register(
        self: &Arc<Self>,
        parent: u32,
        command: Vec<String>,
        started_at: UnixNanos,
        container: Arc<Usage>,
    ) -> Result<Registered, TooMany> {
        let mut table = self.0.lock();
        if table.processes.len() >= PROCESSES_MAX {
            return Err(TooMany);
        }
        table.last += 1;
        let process = Arc::new(Process {
            pid: table.last,
            parent,
            command,
            started_at,
            account: Account::of(container),
            exit: watch::Sender::new(None),
            signal: watch::Sender::new(None),
        });
        table.processes.insert(process.pid, process.clone());
        Ok(Registered { process, table: self.clone() })
    }

    /// All of them, by pid.
    pub fn list(&self) -> Vec<Arc<Process>> {
        self.0.lock().processes.values().cloned().collect()
    }

    /// The process, if it runs.
    pub fn get(&self, pid: u32) -> Option<Arc<Process>> {
        self.0.lock().processes.get(&pid).cloned()
    }

    /// What `pid` started, and what those started.
    fn descendants(&self, pid: u32) -> Vec<Arc<Process>> {
        let mut found: Vec<Arc<Process>> = Vec::new();
        // Children have higher numbers than their parents.
        for process in self.list() {
            if process.parent == pid || found.iter().any(|parent| parent.pid == process.parent) {
                found.push(process);
            }
        }
        found
    }
}

impl Signalled for ProcessTable {
    fn signal(&self, foreground: Foreground, signal: u8) -> bool {
        let mut processes = self.descendants(foreground.pid);
        if !foreground.children_only {
            processes.extend(self.get(foreground.pid));
        }
        processes.iter().for_each(|process| process.signal(signal));
        !processes.is_empty()
    }
}

impl Process {
    /// Sends a signal whose default action is to end the process; the first one counts.
    pub fn signal(&self, signal: u8) {
        self.signal.send_if_modified(|asked| {
            let first = asked.is_none();
            asked.get_or_insert(signal);
            first
        });
    }

    /// Waits for a signal. Cancel safe.
    pub async fn signalled(&self) -> u8 {
        let mut signal = self.signal.subscribe();
        match signal.wait_for(Option::is_some).await.map(|signal| *signal) {
            Ok(Some(signal)) => signal,
            _ => pending().await, // its sender is in `self`
        }
    }

    /// Runs its guest to the end, and notes the exit code.
    pub async fn run(&self, guest: Metered) -> i32 {
        let code = tokio::select! {
            biased; // a guest that always has work must not hide its end
            signal = self.signalled() => SIGNAL_BASE + i32::from(signal),
            end = guest => exit_code(end),
        };
        self.ended(code);
        code
    }

    /// Notes its exit code; the first one counts.
    pub fn ended(&self, code: i32) {
        self.exit.send_if_modified(|exit| exit.replace(exit.unwrap_or(code)).is_none());
    }

    /// Its exit code when it has ended.
    pub fn exit_code(&self) -> Option<i32> {
        *self.exit.borrow()
    }

    /// Waits for its end: its exit code. Cancel safe.
    pub async fn wait(&self) -> i32 {
        let mut exit = self.exit.subscribe();
        match exit.wait_for(Option::is_some).await.map(|code| *code) {
            Ok(Some(code)) => code,
            _ => pending().await, // its sender is in `self`
        }
    }
}

fn exit_code(end: End) -> i32 {
    match end {
        End::Exited(code) | End::Trapped { code, .. } => code,
        End::OutOfMemory(_) => SIGNAL_BASE + libc::SIGKILL,
        End::Failed(_) => CANNOT_START,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(table: &Arc<ProcessTable>, parent: u32) -> Registered {
        table.register(parent, vec!["sh".to_owned()], UnixNanos(0), Arc::default()).unwrap()
    }

    fn all(registered: &[&Registered]) -> Vec<Option<u8>> {
        registered.iter().map(|registered| *registered.process.signal.borrow()).collect()
    }

    #[test]
    fn a_signal_of_the_terminal_ends_the_foreground_and_all_below() {
        let table = Arc::new(ProcessTable::default());
        let init = start(&table, 0);
        let shell = start(&table, 0);
        let job = start(&table, shell.process.pid);
        let grandchild = start(&table, job.process.pid);
        let foreground = Foreground { pid: shell.process.pid, children_only: true };
        assert!(table.signal(foreground, 2));
        assert_eq!(all(&[&init, &shell, &job, &grandchild]), [None, None, Some(2), Some(2)]);
        drop((job, grandchild));
        assert!(!table.signal(foreground, 2), "the shell has no job");
        assert!(table.signal(Foreground { children_only: false, ..foreground }, 3));
        assert_eq!(all(&[&init, &shell]), [None, Some(3)]);
    }

    #[tokio::test]
    async fn an_exit_code_is_there_after_the_process_has_left() {
        let table = Arc::new(ProcessTable::default());
        let (ended, dropped) = (start(&table, 0), start(&table, 0));
        let (first, second) = (ended.process.clone(), dropped.process.clone());
        assert_eq!(first.exit_code(), None);
        first.ended(3);
        drop((ended, dropped));
        assert!(table.list().is_empty());
        assert_eq!((first.wait().await, second.wait().await), (3, 137));
    }

    #[test]
    fn there_is_an_end_to_processes() {
        let table = Arc::new(ProcessTable::default());
        let mut bomb: Vec<_> = (0..PROCESSES_MAX).map(|_| start(&table, 0)).collect();
        let more = table.register(1, Vec::new(), UnixNanos(0), Arc::default());
        assert_eq!(more.err(), Some(TooMany));
        bomb.pop();
        assert!(table.register(1, Vec::new(), UnixNanos(0), Arc::default()).is_ok());
    }
}
