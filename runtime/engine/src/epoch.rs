//! The clock that makes spinning guests yield.
//!
//! One thread advances the engine's epoch while a guest is being polled, and
//! sleeps when none is, so that a node with idle guests costs nothing. Called by
//! `cpu.rs` around each poll; the yielding itself is wasmtime's.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, Thread},
    time::Duration,
};
use wasmtime::{Engine, EngineWeak};

/// How long a guest computes before it lets others run. Shorter costs more
/// switches; longer delays timers behind spinning guests.
const TICK: Duration = Duration::from_millis(5);

/// Ticks without a guest before the thread sleeps: waking it costs more than a
/// few ticks, and guests that answer requests come and go within that time.
const IDLE_TICKS_MAX: u32 = 20;

/// Advances the epoch of one engine. Dropping it ends the thread.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Guests being polled now.
    active: AtomicUsize,
    /// The thread sleeps until someone clears this and wakes it.
    parked: AtomicBool,
    stopped: AtomicBool,
    thread: OnceLock<Thread>,
}

/// A guest is being polled for as long as this lives.
pub(crate) struct Active<'a> {
    shared: &'a Shared,
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.shared.active.fetch_sub(1, SeqCst);
    }
}

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the operating system gives none.
    pub fn start(engine: &Engine) -> io::Result<Self> {
        let (shared, engine) = (Arc::new(Shared::default()), engine.weak());
        let own = shared.clone();
        let thread = thread::Builder::new().name("wk-epoch".to_owned()).spawn(move || own.run(&engine))?;
        shared.thread.get_or_init(|| thread.thread().clone());
        Ok(Self { shared })
    }

    /// Says that a guest is about to be polled.
    pub fn enter(&self) -> Active<'_> {
        self.shared.active.fetch_add(1, SeqCst);
        // After the count is up, so that the thread either sees it or is woken.
        if self.shared.parked.load(SeqCst) {
            self.shared.wake();
        }
        Active { shared: &self.shared }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, SeqCst);
        self.shared.wake();
    }
}

impl Shared {
    fn wake(&self) {
        self.parked.store(false, SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn run(&self, engine: &EngineWeak) {
        let mut idle_ticks = 0;
        while !self.stopped.load(SeqCst) {
            thread::sleep(TICK);
            let Some(engine) = engine.upgrade() else { return };
            if self.active.load(SeqCst) > 0 {
                engine.increment_epoch();
                idle_ticks = 0;
            } else if idle_ticks < IDLE_TICKS_MAX {
                idle_ticks += 1;
            } else {
                drop(engine); // a sleeping thread must not keep it alive
                self.park();
                idle_ticks = 0;
            }
        }
    }

    fn park(&self) {
        self.parked.store(true, SeqCst);
        let has_work = || self.active.load(SeqCst) > 0 || self.stopped.load(SeqCst);
        while self.parked.load(SeqCst) && !has_work() {
            thread::park();
        }
        self.parked.store(false, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(condition: impl Fn() -> bool) {
        while !condition() {
            thread::yield_now();
        }
    }

    #[test]
    fn the_thread_sleeps_without_guests_and_wakes_for_one() {
        let engine = Engine::default();
        let ticker = Ticker::start(&engine).unwrap();
        until(|| ticker.shared.parked.load(SeqCst));
        let active = ticker.enter();
        until(|| !ticker.shared.parked.load(SeqCst));
        drop(active);
        until(|| ticker.shared.parked.load(SeqCst));
    }

    #[test]
    fn a_dropped_ticker_ends_its_thread() {
        let ticker = Ticker::start(&Engine::default()).unwrap();
        let shared = Arc::downgrade(&ticker.shared);
        drop(ticker);
        until(|| shared.strong_count() == 0);
    }
}
