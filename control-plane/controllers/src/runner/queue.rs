//! Keys waiting to be reconciled: each at most once, never two at a time, failed
//! ones later and later. The order is decided by [`Queue`]'s pure state; workers
//! only wait. Same rules as upstream's rate-limiting work queue (`client-go/util/workqueue`).
//!
//! Bounded by the number of distinct keys, which is the number of objects.

use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    hash::Hash,
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// The pause after the first failure (upstream: `DefaultTypedControllerRateLimiter`).
const BACKOFF_MIN: Duration = Duration::from_millis(5);
/// The longest pause after a failure.
const BACKOFF_MAX: Duration = Duration::from_secs(1000);

struct State<T> {
    /// Wanted now, in order of arrival.
    ready: VecDeque<T>,
    /// In `ready`, or wanted again once the current run of it ends.
    dirty: HashSet<T>,
    /// A worker has it.
    processing: HashSet<T>,
    /// Wanted later; the number keeps equal instants apart.
    later: BTreeMap<(Instant, u64), T>,
    /// Where in `later` a key is; the earliest wish wins.
    later_at: HashMap<T, (Instant, u64)>,
    failures: HashMap<T, u32>,
    sequence: u64,
}

impl<T: Clone + Eq + Hash> State<T> {
    fn new() -> Self {
        Self {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            processing: HashSet::new(),
            later: BTreeMap::new(),
            later_at: HashMap::new(),
            failures: HashMap::new(),
            sequence: 0,
        }
    }

    fn add(&mut self, key: T) {
        if self.dirty.insert(key.clone()) && !self.processing.contains(&key) {
            self.ready.push_back(key);
        }
    }

    fn add_at(&mut self, key: T, when: Instant) {
        if let Some(at) = self.later_at.get(&key) {
            if at.0 <= when {
                return;
            }
            self.later.remove(at);
        }
        self.sequence += 1;
        self.later.insert((when, self.sequence), key.clone());
        self.later_at.insert(key, (when, self.sequence));
    }

    /// The next key to work on, or when to look again.
    fn take(&mut self, now: Instant) -> Result<T, Option<Instant>> {
        while let Some((&at, _)) = self.later.first_key_value() {
            if at.0 > now {
                break;
            }
            let key = self.later.remove(&at).expect("the first entry was just seen");
            self.later_at.remove(&key);
            self.add(key);
        }
        match self.ready.pop_front() {
            Some(key) => {
                self.dirty.remove(&key);
                self.processing.insert(key.clone());
                Ok(key)
            }
            None => Err(self.later.first_key_value().map(|(at, _)| at.0)),
        }
    }

    /// Returns whether the key is wanted again at once.
    fn done(&mut self, key: &T) -> bool {
        self.processing.remove(key);
        let again = self.dirty.contains(key);
        if again {
            self.ready.push_back(key.clone());
        }
        again
    }

    fn next_backoff(&mut self, key: &T) -> Duration {
        let failures = self.failures.entry(key.clone()).or_default();
        let pause = BACKOFF_MIN.saturating_mul(1_u32.checked_shl(*failures).unwrap_or(u32::MAX)).min(BACKOFF_MAX);
        *failures = failures.saturating_add(1).min(31);
        pause
    }
}

/// A queue shared by event handlers and workers.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

impl<T: Clone + Eq + Hash> Default for Queue<T> {
    fn default() -> Self {
        Self { state: Mutex::new(State::new()), changed: Notify::new() }
    }
}

impl<T: Clone + Eq + Hash> Queue<T> {
    /// Wanted now.
    pub fn add(&self, key: T) {
        self.state.lock().add(key);
        self.changed.notify_one();
    }

    /// Wanted after `pause`, or earlier if already wanted earlier.
    pub fn add_after(&self, key: T, pause: Duration) {
        if pause.is_zero() {
            return self.add(key);
        }
        self.state.lock().add_at(key, Instant::now() + pause);
        self.changed.notify_one();
    }

    /// The next key; the caller gives it back with [`Queue::done`] or
    /// [`Queue::failed`]. Cancel safety: a dropped wait takes nothing.
    pub async fn next(&self) -> T {
        loop {
            let wake = match self.take() {
                Ok(key) => return key,
                Err(wake) => wake,
            };
            match wake {
                None => self.changed.notified().await,
                Some(when) => tokio::select! {
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep_until(when) => {}
                },
            }
        }
    }

    fn take(&self) -> Result<T, Option<Instant>> {
        let mut state = self.state.lock();
        let taken = state.take(Instant::now());
        let more = !state.ready.is_empty();
        drop(state);
        if taken.is_ok() && more {
            self.changed.notify_one(); // several additions may have left a single permit
        }
        taken
    }

    /// The work on a key went well.
    pub fn done(&self, key: &T) {
        let mut state = self.state.lock();
        state.failures.remove(key);
        let again = state.done(key);
        drop(state);
        if again {
            self.changed.notify_one();
        }
    }

    /// The work on a key failed: it comes back after its backoff, which is returned.
    pub fn failed(&self, key: &T) -> Duration {
        let mut state = self.state.lock();
        let pause = state.next_backoff(key);
        state.add_at(key.clone(), Instant::now() + pause);
        state.done(key);
        drop(state);
        self.changed.notify_one();
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_runs_alone() {
        let queue = Queue::default();
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.next().await, "a");
        queue.add("a");
        assert!(queue.take().is_err(), "a worker still has it");
        queue.done(&"a");
        assert_eq!(queue.next().await, "a");
        queue.done(&"a");
        assert!(queue.take().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_double_the_pause_and_success_forgets_them() {
        let queue = Queue::default();
        let mut pauses = Vec::new();
        queue.add("a");
        for _ in 0..4 {
            let key = queue.next().await;
            pauses.push(queue.failed(&key).as_millis());
        }
        assert_eq!(pauses, [5, 10, 20, 40]);
        let key = queue.next().await;
        queue.done(&key);
        queue.add("a");
        let key = queue.next().await;
        assert_eq!(queue.failed(&key).as_millis(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn backoff_ends_at_its_maximum() {
        let mut state = State::new();
        let last = (0..40).map(|_| state.next_backoff(&"a")).last();
        assert_eq!(last, Some(BACKOFF_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_wish_wins() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(9));
        queue.add_after("a", Duration::from_secs(2));
        queue.add_after("a", Duration::from_secs(5));
        assert_eq!(queue.next().await, "a");
        assert_eq!(start.elapsed().as_secs(), 2);
        queue.done(&"a");
        assert!(queue.take().is_err_and(|wake| wake.is_none()), "the later wishes are gone");
    }
}
