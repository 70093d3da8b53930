//! Recorded events go an hour after their last write.
//!
//! Upstream's API server writes each Event under an etcd lease of `--event-ttl`,
//! renewed by every write. Here one task follows the stored events and sleeps
//! until the first of them is due:
//!
//! ```text
//!  list once ──▶ Deadlines ──▶ sleep until the first ──▶ delete, if still as seen
//!  changes   ──▶     ▲                                          │
//!      └─────────────┴──────────── (its own deletions) ◀────────┘
//! ```
//!
//! Started by the API server over its own store: nothing else may delete behind
//! the API. As a lease does, it asks neither admission nor finalizers; watchers
//! see an ordinary deletion. It keeps keys and revisions, no events.

mod deadlines;
#[cfg(test)]
mod tests;

use crate::{object::str_at, registry::core::event, storage};
use deadlines::Deadlines;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};
use wk_platform::Clock;
use wk_store::{Change, Entry, Error, Key, Page, Revision, Store};

/// How long an event is kept after its last write (upstream: `--event-ttl`).
const TIME_TO_LIVE: Duration = Duration::from_secs(60 * 60);

/// Least time between two sweeps of what is due, so that events which come one
/// by one do not go one by one: a nearly idle cluster writes once a minute.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Events kept at most; the oldest go before their time. Upstream trusts its
/// clients; here a crash-looping client must not fill a small node's memory.
/// Events of 1 to 1.5 KiB make 20 to 30 MiB: those of 4,000 pods starting within
/// the hour.
const EVENTS_MAX: usize = 20_000;

/// Deletions of one sweep, and changes read at a time: the two take turns, so
/// that the task does not fall behind its own deletions. When there are too many
/// events this many go, so that each new one does not cost a sweep.
const BATCH: usize = 1_000;

/// Deletions under way together: the store commits them as one.
const CONCURRENT_DELETIONS: usize = 64;

/// Wait before reading the store again when it could not be followed.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// The fields that tell when an event was written. The last write counts.
const WRITTEN: &[&str] =
    &["metadata.creationTimestamp", "firstTimestamp", "lastTimestamp", "eventTime", "series.lastObservedTime"];

/// Deletes recorded events when their time has come, until the store is closed.
pub async fn run(store: Arc<dyn Store>, clock: Clock) {
    let mut expiry = Expiry { store, clock, deadlines: Deadlines::default(), next_sweep: Instant::now() };
    loop {
        match expiry.follow().await {
            Error::Closed => return,
            error => warn!(%error, "expiry of recorded events started over"),
        }
        sleep_until(Instant::now() + STORE_RETRY).await;
    }
}

struct Expiry {
    store: Arc<dyn Store>,
    clock: Clock,
    deadlines: Deadlines,
    /// Not before this, unless there are too many events.
    next_sweep: Instant,
}

impl Expiry {
    /// Keeps up with the stored events until that fails; says why.
    async fn follow(&mut self) -> Error {
        let prefix = Key::from(storage::prefix(&event::RESOURCE, ""));
        let begin = match self.start_over(&prefix).await {
            Ok(revision) => revision,
            Err(error) => return error,
        };
        let mut changes = self.store.watch(prefix, begin).ready_chunks(BATCH);
        loop {
            // Not biased: neither many changes nor a long backlog starve the other.
            tokio::select! {
                chunk = changes.next() => {
                    // A watch ends with an error, if at all.
                    for change in chunk.unwrap_or_else(|| vec![Err(Error::Closed)]) {
                        match change {
                            Ok(change) => self.note(&change),
                            Err(error) => return error,
                        }
                    }
                }
                () = until(self.wake_at()) => self.sweep().await,
            }
        }
    }

    /// Learns what is stored; the moment of that.
    async fn start_over(&mut self, prefix: &Key) -> Result<Revision, Error> {
        let listing = self.store.list(prefix, Page::default()).await?;
        let mut deadlines = Deadlines::default();
        for entry in &listing.entries {
            let known = self.deadlines.get(&entry.key, entry.modified);
            deadlines.set(entry.key.clone(), entry.modified, known.unwrap_or_else(|| self.deadline_of(entry)));
        }
        self.deadlines = deadlines;
        Ok(listing.revision)
    }

    /// When an event is due whose last write was not seen: by its own word,
    /// which survives a restart. One from the future counts as written now.
    fn deadline_of(&self, entry: &Entry) -> Instant {
        let age = last_written(&entry.value).map_or(Duration::ZERO, |written| self.clock.since(written));
        Instant::now() + TIME_TO_LIVE.saturating_sub(age)
    }

    /// A write that is seen renews, whatever times the event claims: what a
    /// lease does, and a wall clock set meanwhile has no part in it.
    fn note(&mut self, change: &Change) {
        match change {
            Change::Put { new, .. } => {
                self.deadlines.set(new.key.clone(), new.modified, Instant::now() + TIME_TO_LIVE);
            }
            Change::Delete { old, .. } => self.deadlines.remove(&old.key),
        }
    }

    /// When there is something to do next.
    fn wake_at(&self) -> Option<Instant> {
        if self.deadlines.len() > EVENTS_MAX {
            return Some(Instant::now());
        }
        self.deadlines.earliest().map(|due| due.max(self.next_sweep))
    }

    async fn sweep(&mut self) {
        let now = Instant::now();
        let too_many = self.deadlines.len() > EVENTS_MAX;
        let due = if too_many { self.deadlines.take_oldest(BATCH) } else { self.deadlines.take_due(now, BATCH) };
        debug!(count = due.len(), too_many, "deleted recorded events");
        // A full batch has left some: they need not wait.
        self.next_sweep = if due.len() < BATCH { now + SWEEP_INTERVAL } else { now };
        self.delete_all(due).await;
    }

    async fn delete_all(&mut self, due: Vec<(Key, Revision)>) {
        let store = &self.store;
        let delete = |(key, revision): (Key, Revision)| async move {
            let deleted = store.delete(&key, revision).await;
            (key, revision, deleted)
        };
        let mut deletions = stream::iter(due).map(delete).buffer_unordered(CONCURRENT_DELETIONS);
        while let Some((key, revision, deleted)) = deletions.next().await {
            match deleted {
                // Written or deleted meanwhile: its change is on the way here.
                Ok(_) | Err(Error::Conflict { .. } | Error::NotFound(_)) => {}
                Err(error) => {
                    debug!(%key, %error, "kept an expired event that could not be deleted");
                    self.next_sweep = Instant::now() + SWEEP_INTERVAL;
                    self.deadlines.set(key, revision, self.next_sweep);
                }
            }
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// The newest time that a stored event names.
fn last_written(value: &[u8]) -> Option<Timestamp> {
    let event: Value = serde_json::from_slice(value).ok()?;
    WRITTEN.iter().filter_map(|field| str_at(&event, field).parse().ok()).max()
}
