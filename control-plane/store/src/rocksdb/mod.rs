//! The default store: RocksDB in a directory.
//!
//! The disk holds the newest value of each key and nothing else; versions,
//! history and watchers are those of [`MemoryStore`], which also answers every
//! read, so that no read ever waits for the disk. After a restart there is no
//! history: a watch from before it gets [`Error::Expired`] and lists anew, as
//! after a compaction.
//!
//! ```text
//!   put, delete ─▶ queue ─▶ writer thread: decide, batch, fsync once ─▶ memory ─▶ watchers
//!                                              └─ refused or failed: the caller is told
//! ```
//!
//! One owned thread writes; whatever has queued up while it waited for the disk
//! becomes its next batch (group commit). A batch is acknowledged after one
//! fsync, or refused as a whole.
//!
//! Revisions never go back: the disk holds a number that no revision has
//! reached yet, and a restart goes on from there. So volatile writes take
//! revisions without ever reaching the disk.
//!
//! Reading order: this file, `writer`, `disk` (what lies in the directory), `log`
//! (torn or damaged?), `crc`, `builder` (a new store, for a restore).

mod builder;
mod crc;
mod disk;
mod log;
mod writer;

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod tests;

pub(crate) use self::builder::Builder;
use self::{
    disk::Disk,
    writer::{Request, Writer},
};
use crate::{
    ChangeStream, Durability, Entry, Error, Expected, Key, Listing, Page, Revision, Store, memory::MemoryStore,
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{path::PathBuf, sync::Arc, thread::JoinHandle};
use tokio::sync::{mpsc, oneshot};

/// Writes waiting for the disk; more wait in their callers.
const QUEUE_WRITES_MAX: usize = 1024;

/// A store on disk. Clones share it; it closes when [`Store::close`] is called
/// or the last clone is dropped.
#[derive(Clone)]
pub struct RocksStore {
    memory: MemoryStore,
    queue: mpsc::Sender<Request>,
    _writer: Arc<WriterThread>,
}

/// The thread, joined when the last clone goes.
struct WriterThread {
    handle: parking_lot::Mutex<Option<JoinHandle<()>>>,
}

impl RocksStore {
    /// Opens the store in `directory`, made when absent, and reads it all.
    /// Blocks; call it before serving, or on a blocking thread.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when another process has it open or the disk
    /// refuses, [`Error::NoSpace`], [`Error::Corrupt`] when it holds something
    /// else or is damaged: a torn last commit is not.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, Error> {
        let directory = directory.into();
        let disk = Disk::open(&directory)?;
        let reserved = disk.reserved()?;
        let memory = MemoryStore::restored(disk.entries()?, reserved);
        let (queue, requests) = mpsc::channel(QUEUE_WRITES_MAX);
        let writer = Writer::new(memory.clone(), directory, disk, reserved);
        let handle = std::thread::Builder::new()
            .name("wk-store".to_owned())
            .spawn(move || writer.run(requests))
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Self { memory, queue, _writer: Arc::new(WriterThread { handle: parking_lot::Mutex::new(Some(handle)) }) })
    }

    async fn request<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Request) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(request(answer)).await.map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)?
    }
}

#[async_trait]
impl Store for RocksStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, Error> {
        self.memory.get(key).await
    }

    async fn list(&self, prefix: &Key, page: Page) -> Result<Listing, Error> {
        self.memory.list(prefix, page).await
    }

    async fn put(&self, key: Key, value: Bytes, expected: Expected, durability: Durability) -> Result<Revision, Error> {
        self.request(|answer| Request::Put { key, value, expected, durability, answer }).await
    }

    async fn delete(&self, key: &Key, expected: Revision) -> Result<Revision, Error> {
        let key = key.clone();
        self.request(|answer| Request::Delete { key, expected, answer }).await
    }

    fn watch(&self, prefix: Key, after: Revision) -> ChangeStream {
        self.memory.watch(prefix, after)
    }

    fn revision(&self) -> Revision {
        self.memory.revision()
    }

    async fn compact(&self, before: Revision) -> Result<(), Error> {
        self.memory.compact(before).await
    }

    async fn replace(&self, values: Vec<(Key, Bytes)>, above: Revision) -> Result<Revision, Error> {
        self.request(|answer| Request::Replace { values, above, answer }).await
    }

    async fn close(&self) -> Result<(), Error> {
        let result = match self.request(|answer| Request::Close { answer }).await {
            // Closed before: nothing is left to close.
            Err(Error::Closed) => Ok(()),
            result => result,
        };
        self.memory.close().await?;
        result
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        // The queue's last sender is gone by now (fields drop in order), so the
        // thread is on its way out and the directory is free when this returns.
        if let Some(handle) = self.handle.lock().take() {
            let _ = handle.join();
        }
    }
}
