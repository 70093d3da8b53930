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
//! runs it, which drops the instance; or, since wasm has no handlers, it is kept
//! until the program asks. A process that ended leaves the table at once; who
//! started it holds how it ended.
//!
//! Reading order: `signals`, here, `lookup`, `session`, `host`.

pub(crate) mod host;
pub(crate) mod lookup;
pub(crate) mod session;
pub(crate) mod signals;

use crate::{
    cpu::Metered,
    limits::{Account, Usage},
    run::End,
    terminal::Signalled,
};
use parking_lot::Mutex;
use signals::{Action, Signals};
use std::{collections::BTreeMap, future::pending, sync::Arc};
use tokio::sync::watch;
use wk_cri::UnixNanos;

/// Processes of one container at a time: pipelines are short, and each instance
/// takes megabytes of address space. A fork bomb ends here.
const PROCESSES_MAX: usize = 128;

/// A signal's number added to this is the exit code, as a shell says it.
pub(crate) const SIGNAL_BASE: i32 = 128;

/// How a process ends that is dropped, or at its memory limit.
const KILLED: ProcessEnd = ProcessEnd::Signalled(9);

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
    /// No key of a terminal signals it.
    background: bool,
    end: watch::Sender<Option<ProcessEnd>>,
    signals: watch::Sender<Signals>,
}

/// What to make of a process; see the fields of [`Process`].
pub(crate) struct NewProcess {
    pub parent: u32,
    pub command: Vec<String>,
    pub started_at: UnixNanos,
    /// What its container uses.
    pub container: Arc<Usage>,
    pub background: bool,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessEnd {
    /// By itself, or in a trap.
    Exited(i32),
    /// By a signal.
    Signalled(u8),
}

impl ProcessEnd {
    /// As a shell says it.
    pub fn code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signalled(signal) => SIGNAL_BASE + i32::from(signal),
        }
    }
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
        self.process.ended(KILLED);
        self.table.0.lock().processes.remove(&self.process.pid);
    }
}

impl ProcessTable {
    /// Adds a process; the first one is the container's guest.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn register(self: &Arc<Self>, new: NewProcess) -> Result<Registered, TooMany> {
        let NewProcess { parent, command, started_at, container, background } = new;
        let mut table = self.0.lock();
        if table.processes.len() >= PROCESSES_MAX {
            return Err(TooMany);
        }
        table.last += 1;
        let of = table.processes.get(&parent);
        let process = Arc::new(Process {
            pid: table.last,
            parent,
            command,
            started_at,
            account: Account::of(container),
            background: background || of.is_some_and(|of| of.background),
            end: watch::Sender::new(None),
            signals: watch::Sender::new(of.map(|of| of.signals.borrow().inherited()).unwrap_or_default()),
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
    fn signal(&self, leader: u32, signal: u8) {
        let all = self.get(leader).into_iter().chain(self.descendants(leader));
        all.filter(|process| !process.background).for_each(|process| process.signal(signal));
    }
}

impl Process {
    /// Sends a signal.
    pub fn signal(&self, signal: u8) {
        self.change_signals(|signals| signals.send(signal));
    }

    /// See [`Signals::set_action`].
    pub fn set_action(&self, signal: u8, action: Action) -> bool {
        self.change_signals(|signals| signals.set_action(signal, action))
    }

    /// See [`Signals::catches`].
    pub fn catches(&self, signal: u8) -> bool {
        self.signals.borrow().catches(signal)
    }

    /// Whether a signal is about to end it.
    pub fn is_ending(&self) -> bool {
        self.signals.borrow().fatal().is_some()
    }

    /// See [`Signals::take_caught`].
    pub fn take_caught(&self) -> u64 {
        // A shell asks after each command: mostly there is nothing.
        if !self.signals.borrow().any_caught() {
            return 0;
        }
        self.change_signals(Signals::take_caught)
    }

    fn change_signals<T>(&self, change: impl FnOnce(&mut Signals) -> T) -> T {
        let mut result = None;
        self.signals.send_if_modified(|signals| {
            let before = *signals;
            result = Some(change(signals));
            *signals != before
        });
        result.expect("the closure was called")
    }

    /// Waits for a signal that ends it. Cancel safe.
    pub async fn signalled(&self) -> u8 {
        let mut signals = self.signals.subscribe();
        let fatal = signals.wait_for(|signals| signals.fatal().is_some()).await.map(|signals| signals.fatal());
        match fatal {
            Ok(Some(signal)) => signal,
            _ => pending().await, // its sender is in `self`
        }
    }

    /// Waits for a signal that it asks for. Cancel safe.
    pub async fn interrupted(&self) {
        let mut signals = self.signals.subscribe();
        if signals.wait_for(Signals::any_caught).await.is_err() {
            pending().await // its sender is in `self`
        }
    }

    /// Runs its guest to the end, and notes how it ended.
    pub async fn run(&self, guest: Metered) -> ProcessEnd {
        let end = tokio::select! {
            biased; // a guest that always has work must not hide its end
            signal = self.signalled() => ProcessEnd::Signalled(signal),
            end = guest => ended_by(end),
        };
        self.ended(end);
        end
    }

    /// Notes how it ended; the first one counts.
    pub fn ended(&self, how: ProcessEnd) {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            end.get_or_insert(how);
            first
        });
    }

    /// How it ended, when it has.
    pub fn end(&self) -> Option<ProcessEnd> {
        *self.end.borrow()
    }

    /// Waits for its end. Cancel safe.
    pub async fn wait(&self) -> ProcessEnd {
        let mut end = self.end.subscribe();
        match end.wait_for(Option::is_some).await.map(|end| *end) {
            Ok(Some(end)) => end,
            _ => pending().await, // its sender is in `self`
        }
    }
}

fn ended_by(end: End) -> ProcessEnd {
    match end {
        End::Exited(code) | End::Trapped { code, .. } => ProcessEnd::Exited(code),
        End::OutOfMemory(_) => KILLED,
        End::Failed(_) => ProcessEnd::Exited(CANNOT_START),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(parent: u32, background: bool) -> NewProcess {
        let (command, container) = (vec!["sh".to_owned()], Arc::default());
        NewProcess { parent, command, started_at: UnixNanos(0), container, background }
    }

    fn start(table: &Arc<ProcessTable>, parent: u32) -> Registered {
        table.register(new(parent, false)).unwrap()
    }

    fn all(registered: &[&Registered]) -> Vec<Option<u8>> {
        registered.iter().map(|registered| registered.process.signals.borrow().fatal()).collect()
    }

    #[test]
    fn a_key_of_the_terminal_signals_the_leader_and_all_below_but_the_background() {
        let table = Arc::new(ProcessTable::default());
        let (init, leader) = (start(&table, 0), start(&table, 0));
        let job = start(&table, leader.process.pid);
        let grandchild = start(&table, job.process.pid);
        let background = table.register(new(leader.process.pid, true)).unwrap();
        let below = start(&table, background.process.pid);
        assert!(leader.process.set_action(2, Action::Catch));
        table.signal(leader.process.pid, 2);
        let all = all(&[&init, &leader, &job, &grandchild, &background, &below]);
        assert_eq!(all, [None, None, Some(2), Some(2), None, None]);
        assert_eq!((leader.process.take_caught(), leader.process.take_caught()), (1 << 1, 0));
    }

    #[tokio::test]
    async fn what_a_process_ignores_its_children_ignore_too() {
        let table = Arc::new(ProcessTable::default());
        let parent = start(&table, 0);
        parent.process.set_action(2, Action::Ignore);
        let child = start(&table, parent.process.pid);
        child.process.signal(2);
        child.process.signal(15);
        assert_eq!(child.process.signalled().await, 15);
    }

    #[tokio::test]
    async fn an_exit_code_is_there_after_the_process_has_left() {
        let table = Arc::new(ProcessTable::default());
        let (ended, dropped) = (start(&table, 0), start(&table, 0));
        let (first, second) = (ended.process.clone(), dropped.process.clone());
        assert_eq!(first.end(), None);
        first.ended(ProcessEnd::Exited(3));
        drop((ended, dropped));
        assert!(table.list().is_empty());
        assert_eq!((first.wait().await.code(), second.wait().await.code()), (3, 137));
    }

    #[test]
    fn there_is_an_end_to_processes() {
        let table = Arc::new(ProcessTable::default());
        let mut bomb: Vec<_> = (0..PROCESSES_MAX).map(|_| start(&table, 0)).collect();
        assert_eq!(table.register(new(1, false)).err(), Some(TooMany));
        bomb.pop();
        assert!(table.register(new(1, false)).is_ok());
    }
}
