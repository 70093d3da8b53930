//! The reference implementation: short, obviously right, used in simulation.
//!
//! One lock around everything, held only for map operations. Each key has the
//! list of its versions since the oldest revision kept; the history is the list
//! of changes since then. It keeps nothing across a restart.

use crate::{Change, ChangeStream, Durability, Entry, Error, Expected, Key, Listing, Page, Revision, Store, replacing};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::Arc,
};
use tokio::sync::watch;

/// Changes kept when the caller names no number: some minutes of a busy cluster.
const HISTORY_CHANGES_MAX: usize = 32 * 1024;

/// Bytes of values that the history may hold on to, so that an edge device does
/// not spend its memory on the past.
const HISTORY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Changes that a watcher takes at a time, so that the lock is held briefly.
const WATCH_BATCH: usize = 256;

/// A store in memory. Clones share the data.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// The newest commit, for waiting; every change also goes through `state`.
    newest: watch::Sender<Revision>,
}

#[derive(Default)]
struct State {
    newest: Revision,
    /// The oldest revision that can be listed, and watched from.
    oldest: Revision,
    keys: BTreeMap<Key, Versions>,
    /// The changes of `oldest + 1 ..= newest`, one per revision.
    history: VecDeque<Change>,
    history_max: usize,
    /// Bytes of the values in `history`.
    history_bytes: usize,
    closed: bool,
}

/// What a key held since the oldest revision kept: oldest first, `None` for
/// deleted. Never empty.
type Versions = Vec<(Revision, Option<Entry>)>;

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_history(HISTORY_CHANGES_MAX)
    }

    /// An empty store that compacts itself to the last `changes_max` commits.
    pub fn with_history(changes_max: usize) -> Self {
        let state = State { history_max: changes_max, ..State::default() };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), newest: watch::Sender::new(Revision(0)) }) }
    }

    /// A store that begins with these entries at `revision`, with no history.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn restored(entries: impl IntoIterator<Item = Entry>, revision: Revision) -> Self {
        let store = Self::new();
        store.begin_again(entries, revision);
        store
    }

    /// Holds these entries and nothing else from now on, with no history.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn begin_again(&self, entries: impl IntoIterator<Item = Entry>, revision: Revision) {
        let entries = only_versions(entries);
        let mut state = self.shared.state.lock();
        state.begin_again(entries, revision);
        self.shared.newest.send_replace(revision);
    }

    /// What is stored.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.shared.state.lock().keys.keys().cloned().collect()
    }

    /// Records changes that have been decided elsewhere, in order.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn record(&self, changes: impl IntoIterator<Item = Change>) {
        let mut state = self.shared.state.lock();
        for change in changes {
            state.record(change);
        }
        self.shared.newest.send_replace(state.newest);
    }

    /// The newest value of `key`.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn current(&self, key: &Key) -> Option<Entry> {
        self.shared.state.lock().current(key).cloned()
    }

    /// Runs one write under the lock and tells the watchers.
    fn commit(&self, write: impl FnOnce(&mut State) -> Result<Revision, Error>) -> Result<Revision, Error> {
        let mut state = self.shared.state.lock();
        let revision = write(state.open()?)?;
        // Still under the lock, so that the newest revision never goes back.
        self.shared.newest.send_replace(revision);
        Ok(revision)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn open(&mut self) -> Result<&mut Self, Error> {
        if self.closed { Err(Error::Closed) } else { Ok(self) }
    }

    fn current(&self, key: &Key) -> Option<&Entry> {
        self.keys.get(key).and_then(|versions| versions.last()).and_then(|(_, entry)| entry.as_ref())
    }

    fn put(&mut self, put: Put) -> Result<Revision, Error> {
        let old = self.current(&put.key).cloned();
        let change = put.plan(old, Revision(self.newest.0 + 1))?;
        Ok(self.record(change))
    }

    fn begin_again(&mut self, keys: BTreeMap<Key, Versions>, revision: Revision) {
        (self.newest, self.oldest, self.keys) = (revision, revision, keys);
        self.history.clear();
        self.history_bytes = 0;
    }

    fn delete(&mut self, key: &Key, expected: Revision) -> Result<Revision, Error> {
        let change = plan_delete(self.current(key).cloned(), key, expected, Revision(self.newest.0 + 1))?;
        Ok(self.record(change))
    }

    fn record(&mut self, change: Change) -> Revision {
        self.newest = change.revision();
        let (key, entry) = match &change {
            Change::Put { new, .. } => (new.key.clone(), Some(new.clone())),
            Change::Delete { old, .. } => (old.key.clone(), None),
        };
        self.keys.entry(key).or_default().push((self.newest, entry));
        self.history_bytes += weight(&change);
        self.history.push_back(change);
        while self.history.len() > self.history_max || self.history_bytes > HISTORY_BYTES_MAX {
            self.forget_oldest();
        }
        self.newest
    }

    /// Drops the oldest change and the version it replaced.
    fn forget_oldest(&mut self) {
        let Some(change) = self.history.pop_front() else { return };
        self.oldest = change.revision();
        self.history_bytes -= weight(&change);
        let key = change.key();
        let Some(versions) = self.keys.get_mut(key) else { return };
        let superseded = versions.iter().take_while(|(revision, _)| *revision <= self.oldest).count();
        versions.drain(..superseded.saturating_sub(1));
        if matches!(versions.as_slice(), [(_, None)]) {
            self.keys.remove(key);
        }
    }

    fn list(&self, prefix: &Key, page: &Page) -> Result<Listing, Error> {
        let revision = page.at.unwrap_or(self.newest);
        if revision < self.oldest {
            return Err(Error::Expired { asked: revision, oldest: self.oldest });
        }
        if revision > self.newest {
            return Err(Error::Future { asked: revision, newest: self.newest });
        }
        let from =
            page.after.as_ref().filter(|after| *after >= prefix).map_or(Bound::Included(prefix), Bound::Excluded);
        let mut matching = self
            .keys
            .range((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter_map(|(_, versions)| as_of(versions, revision));
        let entries = matching.by_ref().take(page.limit.unwrap_or(usize::MAX)).cloned().collect();
        Ok(Listing { entries, revision, remaining: matching.count() })
    }

    /// The next changes after `cursor` under `prefix`, and how far was looked.
    fn changes(&self, prefix: &Key, cursor: Revision) -> Result<(Revision, VecDeque<Change>), Error> {
        if cursor < self.oldest {
            return Err(Error::Expired { asked: cursor, oldest: self.oldest });
        }
        // One change per revision after `oldest`.
        let skip = usize::try_from(cursor.0 - self.oldest.0).unwrap_or(usize::MAX);
        let mut seen = cursor;
        let news = self.history.iter().skip(skip).inspect(|change| seen = change.revision());
        let changes = news.filter(|change| change.key().starts_with(prefix)).take(WATCH_BATCH).cloned().collect();
        Ok((seen, changes))
    }
}

/// A write that is wanted.
pub(crate) struct Put {
    pub key: Key,
    pub value: Bytes,
    pub expected: Expected,
    pub durability: Durability,
}

impl Put {
    /// Decides the write at `at` over `old`, what is there.
    pub(crate) fn plan(self, old: Option<Entry>, at: Revision) -> Result<Change, Error> {
        let Self { key, value, expected, durability } = self;
        let created = match (expected, &old) {
            (Expected::Absent, None) => at,
            (Expected::At(revision), Some(entry)) if entry.modified == revision => entry.created,
            _ => return Err(Error::Conflict { key, expected, found: old.map(Box::new) }),
        };
        Ok(Change::Put { new: Entry { key, value, created, modified: at, durability }, old })
    }
}

/// Entries as one commit makes them.
pub(crate) fn entries_at(values: Vec<(Key, Bytes)>, at: Revision) -> impl Iterator<Item = Entry> {
    let durability = Durability::Durable;
    values.into_iter().map(move |(key, value)| Entry { key, value, created: at, modified: at, durability })
}

/// Decides a deletion at `at` of `old`, what is there.
pub(crate) fn plan_delete(old: Option<Entry>, key: &Key, expected: Revision, at: Revision) -> Result<Change, Error> {
    let old = old.ok_or_else(|| Error::NotFound(key.clone()))?;
    if old.modified != expected {
        let expected = Expected::At(expected);
        return Err(Error::Conflict { key: key.clone(), expected, found: Some(Box::new(old)) });
    }
    Ok(Change::Delete { old, at })
}

fn only_versions(entries: impl IntoIterator<Item = Entry>) -> BTreeMap<Key, Versions> {
    entries.into_iter().map(|entry| (entry.key.clone(), vec![(entry.modified, Some(entry))])).collect()
}

/// Bytes that a change keeps alive beyond the newest values: the value it
/// replaced, and a little for itself.
fn weight(change: &Change) -> usize {
    let old = match change {
        Change::Put { old, .. } => old.as_ref().map_or(0, |old| old.value.len()),
        Change::Delete { old, .. } => old.value.len(),
    };
    old + change.key().0.len() + size_of::<Change>()
}

fn as_of(versions: &Versions, revision: Revision) -> Option<&Entry> {
    versions.iter().rev().find(|(at, _)| *at <= revision).and_then(|(_, entry)| entry.as_ref())
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, Error> {
        Ok(self.shared.state.lock().open()?.current(key).cloned())
    }

    async fn list(&self, prefix: &Key, page: Page) -> Result<Listing, Error> {
        self.shared.state.lock().open()?.list(prefix, &page)
    }

    async fn put(&self, key: Key, value: Bytes, expected: Expected, durability: Durability) -> Result<Revision, Error> {
        self.commit(|state| state.put(Put { key, value, expected, durability }))
    }

    async fn delete(&self, key: &Key, expected: Revision) -> Result<Revision, Error> {
        self.commit(|state| state.delete(key, expected))
    }

    fn watch(&self, prefix: Key, after: Revision) -> ChangeStream {
        let newest = self.shared.newest.subscribe();
        let watcher = Watcher { shared: self.shared.clone(), newest, prefix, cursor: after, batch: VecDeque::new() };
        stream::unfold(Some(watcher), |watcher| async move {
            let mut watcher = watcher?;
            match watcher.next().await {
                Ok(change) => Some((Ok(change), Some(watcher))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    fn revision(&self) -> Revision {
        self.shared.state.lock().newest
    }

    async fn compact(&self, before: Revision) -> Result<(), Error> {
        let mut state = self.shared.state.lock();
        let state = state.open()?;
        if before > state.newest {
            return Err(Error::Future { asked: before, newest: state.newest });
        }
        while state.oldest < before {
            state.forget_oldest();
        }
        Ok(())
    }

    async fn replace(&self, values: Vec<(Key, Bytes)>, above: Revision) -> Result<Revision, Error> {
        self.commit(|state| {
            let at = replacing(state.newest, above);
            state.begin_again(only_versions(entries_at(values, at)), at);
            Ok(at)
        })
    }

    async fn close(&self) -> Result<(), Error> {
        self.shared.state.lock().closed = true;
        self.shared.newest.send_modify(|_| ());
        Ok(())
    }
}

struct Watcher {
    shared: Arc<Shared>,
    newest: watch::Receiver<Revision>,
    prefix: Key,
    cursor: Revision,
    batch: VecDeque<Change>,
}

impl Watcher {
    async fn next(&mut self) -> Result<Change, Error> {
        loop {
            if let Some(change) = self.batch.pop_front() {
                return Ok(change);
            }
            // Seen before looking: a commit after the look wakes the wait below.
            self.newest.mark_unchanged();
            (self.cursor, self.batch) = self.shared.state.lock().open()?.changes(&self.prefix, self.cursor)?;
            if self.batch.is_empty() {
                self.newest.changed().await.map_err(|_| Error::Closed)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[tokio::test(start_paused = true)]
    async fn obeys_the_laws() {
        conformance::run(|| async { Arc::new(MemoryStore::new()) as Arc<dyn Store> }).await;
    }

    #[tokio::test]
    async fn a_full_history_expires_the_oldest_and_keeps_every_value() {
        let store = MemoryStore::with_history(2);
        for name in ["a", "b", "c", "d"] {
            let written = store.put(name.into(), name.into(), Expected::Absent, Durability::Durable).await;
            assert!(written.is_ok());
        }
        let mut stream = store.watch("".into(), Revision(1));
        assert!(matches!(stream.next().await, Some(Err(Error::Expired { oldest: Revision(2), .. }))));
        let listing = store.list(&"".into(), Page::default()).await.expect("lists the newest");
        assert_eq!(listing.entries.len(), 4);
    }

    #[tokio::test]
    async fn deleted_keys_leave_nothing_behind() {
        let store = MemoryStore::with_history(1);
        let at = store.put("a".into(), "1".into(), Expected::Absent, Durability::Durable).await.expect("absent");
        store.delete(&"a".into(), at).await.expect("present");
        store.put("b".into(), "1".into(), Expected::Absent, Durability::Durable).await.expect("absent");
        assert_eq!(store.shared.state.lock().keys.len(), 1);
    }
}
