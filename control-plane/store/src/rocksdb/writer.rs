//! The only one who writes, on its own thread: decides each write, makes a batch
//! of those that wait, writes it once, then shows and acknowledges it.
//!
//! When the disk refuses, the batch is refused as a whole and RocksDB is let go:
//! after a failed write it refuses all others until it is opened again. The next
//! write opens it, undoes what the failed one may have left, and goes on; so a
//! full disk needs nobody to do anything but make room. Reads never notice.

use super::disk::{self, Disk};
use crate::{
    Change, Durability, Entry, Error, Expected, Key, Revision, Store,
    memory::{MemoryStore, Put, entries_at, plan_delete},
    replacing,
};
use ::rocksdb::WriteBatch;
use bytes::Bytes;
use std::{collections::HashMap, path::PathBuf, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tracing::{error, info};

/// Writes acknowledged by one fsync. Beyond a few hundred the fsync no longer
/// dominates.
const BATCH_WRITES_MAX: usize = 512;

/// Revisions set aside on disk at a time: one small write for each million
/// commits that would not reach the disk otherwise.
const REVISIONS_RESERVED: u64 = 1 << 20;

/// Least time between two attempts to open a disk that refuses: each costs some
/// milliseconds, and clients repeat what was refused.
const REOPEN_PAUSE: Duration = Duration::from_millis(200);

pub(super) enum Request {
    Put { key: Key, value: Bytes, expected: Expected, durability: Durability, answer: Answer },
    Delete { key: Key, expected: Revision, answer: Answer },
    Replace { values: Vec<(Key, Bytes)>, above: Revision, answer: Answer },
    Close { answer: oneshot::Sender<Result<(), Error>> },
}

pub(super) type Answer = oneshot::Sender<Result<Revision, Error>>;

pub(super) struct Writer {
    pub(super) memory: MemoryStore,
    pub(super) directory: PathBuf,
    /// `None` after a failed write, until it can be opened again.
    pub(super) disk: Option<Disk>,
    /// Not opened again before this, since it has refused so.
    reopen_at: Instant,
    refused: Error,
    /// On disk: no revision beyond it may be given out.
    reserved: Revision,
    newest: Revision,
    /// Keys of failed writes: RocksDB may or may not have kept them, and must
    /// be made to agree with memory before anything else is written.
    doubtful: Vec<Key>,
}

/// Decided writes that wait for the disk.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    answers: Vec<(Revision, Answer)>,
    /// What the batch's keys will hold.
    overlay: HashMap<Key, Option<Entry>>,
    disk: WriteBatch,
}

impl Writer {
    pub(super) fn new(memory: MemoryStore, directory: PathBuf, disk: Disk, reserved: Revision) -> Self {
        let (disk, newest, reopen_at, doubtful) = (Some(disk), reserved, Instant::now(), Vec::new());
        Self { memory, directory, disk, reopen_at, refused: Error::Closed, reserved, newest, doubtful }
    }

    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(first) = requests.blocking_recv() {
            let mut batch = Batch::default();
            let mut next = Some(first);
            while let Some(request) = next.take() {
                if let Request::Close { answer } = request {
                    self.finish(batch);
                    requests.close();
                    let _ = answer.send(self.close());
                    return;
                }
                self.decide(&mut batch, request);
                if batch.changes.len() < BATCH_WRITES_MAX {
                    next = requests.try_recv().ok();
                }
            }
            self.finish(batch);
        }
        let _ = self.close();
    }

    /// One request and its batch.
    #[cfg(test)]
    pub(super) fn one(&mut self, request: Request) {
        let mut batch = Batch::default();
        self.decide(&mut batch, request);
        self.finish(batch);
    }

    /// Adds the write to the batch, or refuses it at once.
    fn decide(&mut self, batch: &mut Batch, request: Request) {
        let next = Revision(self.newest.0 + 1);
        match request {
            Request::Put { key, value, expected, durability, answer } => {
                let old = self.current(batch, &key);
                self.add(batch, Put { key, value, expected, durability }.plan(old, next), answer);
            }
            Request::Delete { key, expected, answer } => {
                let change = plan_delete(self.current(batch, &key), &key, expected, next);
                self.add(batch, change, answer);
            }
            Request::Replace { values, above, answer } => {
                // A batch of its own.
                self.finish(std::mem::take(batch));
                let _ = answer.send(self.replace(values, above));
            }
            Request::Close { .. } => unreachable!("the loop ends with it"),
        }
    }

    fn current(&self, batch: &Batch, key: &Key) -> Option<Entry> {
        batch.overlay.get(key).cloned().unwrap_or_else(|| self.memory.current(key))
    }

    fn add(&mut self, batch: &mut Batch, change: Result<Change, Error>, answer: Answer) {
        let change = match change {
            Ok(change) => change,
            Err(error) => return drop(answer.send(Err(error))),
        };
        self.newest = change.revision();
        add_to_disk(&mut batch.disk, &change);
        let holds = match &change {
            Change::Put { new, .. } => Some(new.clone()),
            Change::Delete { .. } => None,
        };
        batch.overlay.insert(change.key().clone(), holds);
        batch.changes.push(change);
        batch.answers.push((self.newest, answer));
    }

    /// Makes the batch durable, then visible, then acknowledged.
    fn finish(&mut self, batch: Batch) {
        if batch.changes.is_empty() {
            return;
        }
        let keys = || batch.changes.iter().map(|change| change.key().clone());
        match self.write(batch.disk, keys) {
            Ok(()) => {
                self.memory.record(batch.changes);
                for (revision, answer) in batch.answers {
                    let _ = answer.send(Ok(revision));
                }
            }
            Err(error) => {
                for (_, answer) in batch.answers {
                    let _ = answer.send(Err(refusal(&error)));
                }
            }
        }
    }

    fn replace(&mut self, values: Vec<(Key, Bytes)>, above: Revision) -> Result<Revision, Error> {
        let at = replacing(self.newest, above);
        let mut keys = self.memory.keys();
        let entries: Vec<Entry> = entries_at(values, at).collect();
        keys.extend(entries.iter().map(|entry| entry.key.clone()));
        let mut batch = WriteBatch::default();
        // In this order: what is in both stays.
        keys.iter().for_each(|key| disk::delete(&mut batch, key));
        entries.iter().for_each(|entry| disk::put(&mut batch, entry));
        self.newest = at;
        self.write(batch, || keys.into_iter())?;
        self.memory.begin_again(entries, at);
        info!(revision = %at, "the store's content was replaced");
        Ok(at)
    }

    /// Writes a batch that concerns `keys`. After an error all is as before.
    fn write<Keys: Iterator<Item = Key>>(
        &mut self,
        batch: WriteBatch,
        keys: impl FnOnce() -> Keys,
    ) -> Result<(), Error> {
        let written = self.try_write(batch);
        if let Err(error) = &written {
            error!(%error, "writes refused");
            self.newest = self.memory.revision();
            self.refused = refusal(error);
            self.doubtful.extend(keys());
        }
        written
    }

    fn try_write(&mut self, mut batch: WriteBatch) -> Result<(), Error> {
        if self.newest > self.reserved {
            let reserved = Revision(self.newest.0 + REVISIONS_RESERVED);
            disk::reserve(&mut batch, reserved);
            self.commit(batch)?;
            self.reserved = reserved;
            return Ok(());
        }
        if batch.is_empty() { Ok(()) } else { self.commit(batch) }
    }

    fn commit(&mut self, batch: WriteBatch) -> Result<(), Error> {
        let mut disk = match self.disk.take() {
            Some(disk) => disk,
            None => self.reopen()?,
        };
        disk.commit(batch)?;
        self.disk = Some(disk);
        Ok(())
    }

    /// Opens the directory again and undoes what a failed write may have left.
    fn reopen(&mut self) -> Result<Disk, Error> {
        if Instant::now() < self.reopen_at {
            return Err(refusal(&self.refused));
        }
        self.reopen_at = Instant::now() + REOPEN_PAUSE;
        let mut disk = Disk::open(&self.directory)?;
        let mut undo = WriteBatch::default();
        for key in &self.doubtful {
            match self.memory.current(key).filter(|entry| entry.durability == Durability::Durable) {
                Some(entry) => disk::put(&mut undo, &entry),
                None => disk::delete(&mut undo, key),
            }
        }
        disk.commit(undo)?;
        self.doubtful.clear();
        info!("the store can write again");
        Ok(disk)
    }

    fn close(&mut self) -> Result<(), Error> {
        self.disk.take().map_or(Ok(()), Disk::close)
    }
}

/// The same error for each writer of a batch.
fn refusal(error: &Error) -> Error {
    match error {
        Error::NoSpace(at) => Error::NoSpace(at.clone()),
        Error::Unavailable(why) => Error::Unavailable(why.clone()),
        error => Error::Unavailable(error.to_string()),
    }
}

fn add_to_disk(batch: &mut WriteBatch, change: &Change) {
    let volatile = |entry: &Entry| entry.durability == Durability::Volatile;
    match change {
        Change::Put { new, .. } if !volatile(new) => disk::put(batch, new),
        // A value that was durable must not come back after a restart.
        Change::Put { old: Some(old), .. } | Change::Delete { old, .. } if !volatile(old) => {
            disk::delete(batch, &old.key);
        }
        Change::Put { .. } | Change::Delete { .. } => {}
    }
}
