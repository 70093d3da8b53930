//! A container: Created → Running → Exited.
//!
//! ```text
//! Created ── start ──▶ Running ── the guest ends, or is ended ──▶ Exited
//!    └────── removed, or cannot be started ────────────────────────▲
//! ```
//!
//! `runtime.rs` moves it out of Created; from Running, only the task that owns
//! the guest ([`Container::supervise`]) moves it on. Stopping is a request to
//! that task. How a guest is asked to stop: a shell that has a trap for SIGTERM
//! gets the signal. Since wasm has none, the listeners of another guest are closed,
//! which ends the accept loop of a server. A guest that does not listen cannot be
//! told, and ends at once, as by a signal that it does not handle.

use crate::{
    cpu::{Metered, SharedThrottle},
    limits::Usage,
    logs::ContainerOutput,
    processes::{Process, ProcessTable, SIGNAL_BASE},
    rootfs::Rootfs,
    run::End,
    sandbox::Sandbox,
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    future::pending,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use wk_cri::{
    ContainerConfig, ContainerId, ContainerState, ContainerStats, ContainerStatus, Error, Filter, LogProgress,
    TerminalSize, UnixNanos,
};
use wk_images::ImageRecord;
use wk_network::PodPort;

/// Exit codes of a guest that is ended: 128 and the signal.
const TERMINATED: i32 = 143;
const KILLED: i32 = 137;

/// The signal that asks a process to end.
const SIGTERM: u8 = 15;

/// The exit code of a container whose guest cannot be started (containerd's).
const CANNOT_START: i32 = 128;

/// A container of this runtime.
pub(crate) struct Container {
    pub id: ContainerId,
    pub sandbox: Arc<Sandbox>,
    pub config: ContainerConfig,
    pub image: ImageRecord,
    pub created_at: UnixNanos,
    pub log_path: PathBuf,
    pub rootfs: Rootfs,
    pub usage: Arc<Usage>,
    /// The quota of all its processes.
    pub throttle: Option<SharedThrottle>,
    pub processes: Arc<ProcessTable>,
    state: watch::Sender<ContainerState>,
    log: watch::Sender<LogProgress>,
    /// When the guest must have ended; earlier requests win.
    stop_by: watch::Sender<Option<Instant>>,
    running: Mutex<Option<Running>>,
    /// Its removal has begun: it is gone for everyone as soon as its guest has ended.
    removing: AtomicBool,
}

/// What a running container has besides its guest.
pub(crate) struct Running {
    pub output: Arc<ContainerOutput>,
    /// Whoever attaches writes here; `None` when the guest has no stdin, or its
    /// one client took it.
    pub stdin: Option<mpsc::Sender<Bytes>>,
    /// The size of its terminal; whoever is attached says it.
    pub resize: watch::Sender<TerminalSize>,
}

/// What to make of a container; see the fields of [`Container`].
pub(crate) struct NewContainer {
    pub id: ContainerId,
    pub sandbox: Arc<Sandbox>,
    pub config: ContainerConfig,
    pub image: ImageRecord,
    pub created_at: UnixNanos,
    pub rootfs: Rootfs,
}

/// How the life of a running container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ending {
    /// The guest ended, unasked.
    Itself(End),
    /// It was asked to and did.
    Asked,
    /// It could not be asked.
    Terminated,
    /// Its time was up.
    Killed,
    /// One of its processes sent it a signal.
    Signalled(u8),
}

impl Container {
    /// A created container.
    pub fn new(new: NewContainer) -> Self {
        let NewContainer { id, sandbox, config, image, created_at, rootfs } = new;
        Self {
            id,
            throttle: config.resources.cpu_limit_millis.map(SharedThrottle::new),
            processes: Arc::default(),
            log_path: sandbox.config.log_directory.join(&config.log_path),
            sandbox,
            config,
            image,
            created_at,
            rootfs,
            usage: Arc::default(),
            state: watch::Sender::new(ContainerState::Created),
            log: watch::Sender::default(),
            stop_by: watch::Sender::new(None),
            running: Mutex::new(None),
            removing: AtomicBool::new(false),
        }
    }

    /// Begins its removal. From Running it is gone in one step, so that nobody
    /// takes its end for one of its own.
    pub fn begin_removal(&self) {
        self.removing.store(true, Relaxed);
    }

    /// Whether it is still there for who asks.
    pub fn is_present(&self) -> bool {
        // The state is behind a lock, which orders this after the guest's end.
        matches!(*self.state.borrow(), ContainerState::Running { .. }) || !self.removing.load(Relaxed)
    }

    /// Takes the container from Created to Running; the caller must then have it
    /// supervised, or fail it.
    ///
    /// # Errors
    /// [`Error::FailedPrecondition`] when it is not Created.
    pub fn claim_start(&self, now: UnixNanos) -> Result<(), Error> {
        let claimed = self.state.send_if_modified(|state| {
            let created = *state == ContainerState::Created;
            if created {
                *state = ContainerState::Running { started_at: now };
            }
            created
        });
        if claimed { Ok(()) } else { Err(self.wrong_state("start")) }
    }

    /// Gives the container its output and stdin.
    pub fn set_running(&self, running: Running) {
        *self.running.lock() = Some(running);
    }

    /// What it has while it runs.
    ///
    /// # Errors
    /// [`Error::FailedPrecondition`] when it does not run.
    pub fn running<T>(&self, verb: &str, use_it: impl FnOnce(&mut Running) -> T) -> Result<T, Error> {
        let mut running = self.running.lock();
        match (&*self.state.borrow(), running.as_mut()) {
            (ContainerState::Running { .. }, Some(running)) => Ok(use_it(running)),
            _ => Err(self.wrong_state(verb)),
        }
    }

    /// Tells who follows its log; the log's writer has a clone.
    pub fn log(&self) -> &watch::Sender<LogProgress> {
        &self.log
    }

    /// Ends a container whose guest cannot be started.
    pub fn fail_start(&self, now: UnixNanos, message: &str) {
        self.exit(now, CANNOT_START, "StartError", message);
    }

    /// Keeps a container that was never started from being started.
    pub fn cancel(&self, now: UnixNanos) {
        self.state.send_if_modified(|state| {
            let created = *state == ContainerState::Created;
            if created {
                *state = exited(UnixNanos(0), now, KILLED, "Error", "it was removed before it started");
            }
            created
        });
    }

    /// Asks the guest to end by `deadline`, or earlier if that was asked before.
    pub fn request_stop(&self, deadline: Instant) {
        self.stop_by.send_if_modified(|stop_by| {
            let earlier = stop_by.is_none_or(|other| deadline < other);
            if earlier {
                *stop_by = Some(deadline);
            }
            earlier
        });
    }

    /// Returns when no guest runs. Cancel safe.
    pub async fn ended(&self) {
        let mut state = self.state.subscribe();
        // An error means that this container is gone, and so its guest.
        let _ = state.wait_for(|state| !matches!(state, ContainerState::Running { .. })).await;
    }

    /// Runs the guest to its end, which it writes into the state. `now` is asked
    /// when it is over.
    pub async fn supervise(&self, guest: Metered, init: &Process, port: PodPort, now: impl Fn() -> UnixNanos) {
        let ending = self.run(guest, init, &port).await;
        let running = self.running.lock().take();
        if let Some(Running { output, .. }) = running {
            output.finish().await;
        }
        match ending {
            Ending::Itself(End::Exited(0)) => self.exit(now(), 0, "Completed", ""),
            Ending::Itself(End::Exited(code)) => self.exit(now(), code, "Error", ""),
            Ending::Itself(End::OutOfMemory(message)) => self.exit(now(), KILLED, "OOMKilled", &message),
            Ending::Itself(End::Trapped { code, message }) => self.exit(now(), code, "Error", &message),
            Ending::Itself(End::Failed(message)) => self.exit(now(), CANNOT_START, "StartError", &message),
            Ending::Asked => self.exit(now(), 0, "Completed", ""),
            Ending::Terminated => self.exit(now(), TERMINATED, "Error", ""),
            Ending::Killed => self.exit(now(), KILLED, "Error", ""),
            Ending::Signalled(signal) => self.exit(now(), SIGNAL_BASE + i32::from(signal), "Error", ""),
        }
    }

    /// Dropping the guest, at the latest at the end of this function, frees all
    /// that it has.
    async fn run(&self, guest: Metered, init: &Process, port: &PodPort) -> Ending {
        let mut stop_by = self.stop_by.subscribe();
        tokio::pin!(guest);
        tokio::select! {
            biased; // a guest that always has work must not hide a stop
            () = stop_asked(&mut stop_by) => {}
            signal = init.signalled() => return Ending::Signalled(signal),
            end = &mut guest => return Ending::Itself(end),
        }
        if self.stop_by.borrow().is_some_and(|deadline| deadline <= Instant::now()) {
            return Ending::Killed;
        }
        let traps = init.catches(SIGTERM);
        if traps {
            init.signal(SIGTERM);
        } else if !port.stop_listening() {
            return Ending::Terminated;
        }
        tokio::select! {
            biased;
            () = deadline_passed(&mut stop_by) => Ending::Killed,
            signal = init.signalled() => Ending::Signalled(signal),
            end = guest => if traps { Ending::Itself(end) } else { Ending::Asked },
        }
    }

    fn exit(&self, now: UnixNanos, code: i32, reason: &str, message: &str) {
        self.state.send_modify(|state| {
            let started_at = match state {
                ContainerState::Running { started_at } => *started_at,
                ContainerState::Created => UnixNanos(0),
                ContainerState::Exited { .. } => return,
            };
            *state = exited(started_at, now, code, reason, message);
        });
        self.log.send_modify(|log| log.is_complete = true);
    }

    /// Whether a list narrowed by `filter` has it.
    pub fn matches(&self, filter: &Filter) -> bool {
        let Filter { sandbox, labels } = filter;
        sandbox.as_ref().is_none_or(|wanted| *wanted == self.sandbox.id)
            && labels.iter().all(|(name, value)| self.config.labels.get(name) == Some(value))
    }

    /// Where it is in its life.
    pub fn state(&self) -> ContainerState {
        self.state.borrow().clone()
    }

    /// As it is.
    pub fn status(&self) -> ContainerStatus {
        let image_id = self.image.digest.to_string();
        ContainerStatus {
            id: self.id.clone(),
            sandbox: self.sandbox.id.clone(),
            metadata: self.config.metadata.clone(),
            state: self.state(),
            created_at: self.created_at,
            image: self.image.tags.first().cloned().unwrap_or_else(|| image_id.clone()),
            image_id,
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            log_path: self.log_path.clone(),
        }
    }

    /// What it uses.
    pub fn stats(&self) -> ContainerStats {
        ContainerStats {
            cpu_nanos: self.usage.cpu_nanos.load(Relaxed),
            memory_bytes: self.usage.memory_bytes.load(Relaxed),
        }
    }

    fn wrong_state(&self, verb: &str) -> Error {
        let state = match &*self.state.borrow() {
            ContainerState::Created => "created and not running",
            ContainerState::Running { .. } => "running",
            ContainerState::Exited { .. } => "exited",
        };
        Error::FailedPrecondition(format!("cannot {verb} container {}: it is {state}", self.id.0))
    }
}

fn exited(
    started_at: UnixNanos,
    finished_at: UnixNanos,
    exit_code: i32,
    reason: &str,
    message: &str,
) -> ContainerState {
    let (reason, message) = (reason.to_owned(), message.to_owned());
    ContainerState::Exited { started_at, finished_at, exit_code, reason, message }
}

async fn stop_asked(stop_by: &mut watch::Receiver<Option<Instant>>) {
    if stop_by.wait_for(Option::is_some).await.is_err() {
        pending().await // nobody is left to ask
    }
}

/// Returns when the deadline is over, also when that is moved forward meanwhile.
async fn deadline_passed(stop_by: &mut watch::Receiver<Option<Instant>>) {
    loop {
        let Some(deadline) = *stop_by.borrow_and_update() else { return pending().await };
        tokio::select! {
            () = sleep_until(deadline) => return,
            changed = stop_by.changed() => if changed.is_err() { return pending().await },
        }
    }
}
