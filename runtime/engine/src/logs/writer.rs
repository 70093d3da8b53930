//! The thread that writes logs. It sleeps when there is nothing to write.

use super::ContainerOutput;
use parking_lot::{Condvar, Mutex};
use std::{collections::VecDeque, io, sync::Arc, thread};

/// A handle to the thread. When the last one goes, the thread writes what is
/// queued and ends.
pub(crate) struct LogWriter {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Outputs with something to write, each at most once: bounded by the number
    /// of containers.
    waiting: VecDeque<Arc<ContainerOutput>>,
    stopped: bool,
}

impl LogWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the operating system gives none.
    pub fn start() -> io::Result<Arc<Self>> {
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        thread::Builder::new().name("wk-logs".to_owned()).spawn(move || own.run())?;
        Ok(Arc::new(Self { shared }))
    }

    /// Has `output` written soon.
    pub(super) fn schedule(&self, output: Arc<ContainerOutput>) {
        self.shared.state.lock().waiting.push_back(output);
        self.shared.changed.notify_one();
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.shared.state.lock().stopped = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn run(&self) {
        while let Some(output) = self.next() {
            output.write_out();
        }
    }

    fn next(&self) -> Option<Arc<ContainerOutput>> {
        let mut state = self.state.lock();
        loop {
            match state.waiting.pop_front() {
                Some(output) => return Some(output),
                None if state.stopped => return None,
                None => self.changed.wait(&mut state),
            }
        }
    }
}
