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

use crate::{
    Change, ChangeStream, Durability, Entry, Error, Expected, Key, Listing, Page, Revision, Store,
    memory::{MemoryStore, plan_delete, plan_put},
};
use ::rocksdb::{DB, IteratorMode, LogLevel, Options, WriteBatch, WriteOptions};
use async_trait::async_trait;
use bytes::{BufMut, Bytes};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info};

/// Writes waiting for the disk; more wait in their callers.
const QUEUE_WRITES_MAX: usize = 1024;

/// Writes acknowledged by one fsync. Beyond a few hundred the fsync no longer
/// dominates.
const BATCH_WRITES_MAX: usize = 512;

/// Revisions set aside on disk at a time: one small write for each million
/// commits that would not reach the disk otherwise.
const REVISIONS_RESERVED: u64 = 1 << 20;

/// What RocksDB collects in memory before it writes a file.
const WRITE_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// Write-ahead log on disk before older parts are flushed and dropped.
const WAL_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// The layout of what is below; a directory with another one is refused.
const FORMAT: &[u8] = b"1";
const FORMAT_KEY: &[u8] = b"m/format";
const RESERVED_KEY: &[u8] = b"m/reserved-revision";
/// Before each of the caller's keys.
const ENTRY_PREFIX: u8 = b'k';

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

enum Request {
    Put { key: Key, value: Bytes, expected: Expected, durability: Durability, answer: Answer },
    Delete { key: Key, expected: Revision, answer: Answer },
    Close { answer: oneshot::Sender<Result<(), Error>> },
}

type Answer = oneshot::Sender<Result<Revision, Error>>;

impl RocksStore {
    /// Opens the store in `directory`, made when absent, and reads it all.
    /// Blocks; call it before serving, or on a blocking thread.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when another process has it open or the disk
    /// refuses, [`Error::Corrupt`] when it holds something else.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, Error> {
        let directory = directory.into();
        let db = open_db(&directory)?;
        let reserved = check_format(&db, &directory)?;
        let memory = MemoryStore::restored(read_all(&db)?, reserved);
        let (queue, requests) = mpsc::channel(QUEUE_WRITES_MAX);
        let writer = Writer {
            memory: memory.clone(),
            directory,
            db: Some(db),
            reserved,
            newest: reserved,
            volatile: HashMap::new(),
            doubtful: Vec::new(),
        };
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

fn open_db(directory: &Path) -> Result<DB, Error> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_max_background_jobs(2);
    // Its own log and statistics would write to an idle disk.
    options.set_log_level(LogLevel::Error);
    options.set_keep_log_file_num(1);
    options.set_stats_dump_period_sec(0);
    std::fs::create_dir_all(directory)
        .map_err(|error| Error::Unavailable(format!("{}: {error}", directory.display())))?;
    DB::open(&options, directory).map_err(|error| explain_open(directory, &error))
}

fn explain_open(directory: &Path, error: &::rocksdb::Error) -> Error {
    let text = error.to_string();
    match error.kind() {
        ::rocksdb::ErrorKind::IOError if text.contains("lock") => {
            Error::Unavailable(format!("{} is in use by another process", directory.display()))
        }
        ::rocksdb::ErrorKind::Corruption => Error::Corrupt(format!("{}: {text}", directory.display())),
        _ => Error::Unavailable(format!("{}: {text}", directory.display())),
    }
}

/// Checks that the directory is ours; the revision that none has reached yet.
fn check_format(db: &DB, directory: &Path) -> Result<Revision, Error> {
    match db.get(FORMAT_KEY).map_err(unavailable)? {
        Some(format) if format == FORMAT => {}
        Some(format) => {
            let format = String::from_utf8_lossy(&format).into_owned();
            return Err(Error::Corrupt(format!("{} has the unknown format {format:?}", directory.display())));
        }
        None if db.iterator(IteratorMode::Start).next().is_none() => {}
        None => return Err(Error::Corrupt(format!("{} is not a store of wk", directory.display()))),
    }
    match db.get(RESERVED_KEY).map_err(unavailable)? {
        None => Ok(Revision(0)),
        Some(bytes) => <[u8; 8]>::try_from(bytes.as_slice())
            .map(|bytes| Revision(u64::from_be_bytes(bytes)))
            .map_err(|_| Error::Corrupt("the reserved revision is not a number".to_owned())),
    }
}

fn read_all(db: &DB) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    for item in db.iterator(IteratorMode::From(&[ENTRY_PREFIX], ::rocksdb::Direction::Forward)) {
        let (key, value) = item.map_err(unavailable)?;
        if key.first() == Some(&ENTRY_PREFIX) {
            entries.push(decode(&key[1..], value.into_vec().into())?);
        } else {
            break;
        }
    }
    Ok(entries)
}

fn disk_key(key: &Key) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.0.len() + 1);
    bytes.push(ENTRY_PREFIX);
    bytes.extend_from_slice(&key.0);
    bytes
}

/// Created, modified (8 bytes each, big-endian), value.
fn encode(entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + entry.value.len());
    bytes.put_u64(entry.created.0);
    bytes.put_u64(entry.modified.0);
    bytes.extend_from_slice(&entry.value);
    bytes
}

fn decode(key: &[u8], bytes: Bytes) -> Result<Entry, Error> {
    let key = Key(Bytes::copy_from_slice(key));
    let number = |at: usize| bytes.get(at..at + 8).and_then(|part| part.try_into().ok()).map(u64::from_be_bytes);
    match (number(0), number(8)) {
        (Some(created), Some(modified)) => {
            Ok(Entry { key, value: bytes.slice(16..), created: Revision(created), modified: Revision(modified) })
        }
        _ => Err(Error::Corrupt(format!("the value of {key} is too short"))),
    }
}

fn unavailable(error: ::rocksdb::Error) -> Error {
    match error.kind() {
        ::rocksdb::ErrorKind::Corruption => Error::Corrupt(error.to_string()),
        _ => Error::Unavailable(error.to_string()),
    }
}

/// The only one who writes, on its own thread.
struct Writer {
    memory: MemoryStore,
    directory: PathBuf,
    /// `None` after a failed write, until it can be opened again.
    db: Option<DB>,
    /// On disk: no revision beyond it may be given out.
    reserved: Revision,
    newest: Revision,
    /// Keys whose newest value is not on disk.
    volatile: HashMap<Key, ()>,
    /// Keys of failed writes: RocksDB may or may not have kept them, and must
    /// be made to agree with memory before anything else is written.
    doubtful: Vec<Key>,
}

/// Decided writes of one batch that wait for the disk.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    answers: Vec<(Revision, Answer)>,
    /// What the batch's keys will hold.
    overlay: HashMap<Key, Option<Entry>>,
    disk: WriteBatch,
}

impl Writer {
    fn run(mut self, mut requests: mpsc::Receiver<Request>) {
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

    /// Adds the write to the batch, or refuses it at once.
    fn decide(&mut self, batch: &mut Batch, request: Request) {
        let at = Revision(self.newest.0 + 1);
        let (change, durability, answer) = match request {
            Request::Put { key, value, expected, durability, answer } => {
                let old = self.current(batch, &key);
                (plan_put(old, key, value, expected, at), durability, answer)
            }
            Request::Delete { key, expected, answer } => {
                let durability =
                    if self.volatile.contains_key(&key) { Durability::Volatile } else { Durability::Durable };
                (plan_delete(self.current(batch, &key), &key, expected, at), durability, answer)
            }
            Request::Close { .. } => unreachable!("the loop ends with it"),
        };
        match change {
            Err(error) => drop(answer.send(Err(error))),
            Ok(change) => {
                self.newest = at;
                self.add_to_disk(batch, &change, durability);
                let holds = match &change {
                    Change::Put { new, .. } => Some(new.clone()),
                    Change::Delete { .. } => None,
                };
                batch.overlay.insert(change.key().clone(), holds);
                batch.changes.push(change);
                batch.answers.push((at, answer));
            }
        }
    }

    fn current(&self, batch: &Batch, key: &Key) -> Option<Entry> {
        batch.overlay.get(key).cloned().unwrap_or_else(|| self.memory.current(key))
    }

    fn add_to_disk(&mut self, batch: &mut Batch, change: &Change, durability: Durability) {
        let key = change.key();
        match (change, durability) {
            (Change::Put { new, .. }, Durability::Durable) => {
                self.volatile.remove(key);
                batch.disk.put(disk_key(key), encode(new));
            }
            (Change::Put { old, .. }, Durability::Volatile) => {
                // A value that was durable must not come back after a restart.
                if self.volatile.insert(key.clone(), ()).is_none() && old.is_some() {
                    batch.disk.delete(disk_key(key));
                }
            }
            (Change::Delete { .. }, Durability::Durable) => batch.disk.delete(disk_key(key)),
            (Change::Delete { .. }, Durability::Volatile) => drop(self.volatile.remove(key)),
        }
    }

    /// Makes the batch durable, then visible, then acknowledged.
    fn finish(&mut self, batch: Batch) {
        if batch.changes.is_empty() {
            return;
        }
        match self.write(batch.disk) {
            Ok(()) => {
                self.memory.record(batch.changes);
                for (revision, answer) in batch.answers {
                    let _ = answer.send(Ok(revision));
                }
            }
            Err(error) => {
                error!(%error, writes = batch.answers.len(), "writes refused");
                self.newest = self.memory.revision();
                self.doubtful.extend(batch.changes.iter().map(|change| change.key().clone()));
                for (_, answer) in batch.answers {
                    let _ = answer.send(Err(Error::Unavailable(error.to_string())));
                }
            }
        }
    }

    fn write(&mut self, mut disk: WriteBatch) -> Result<(), Error> {
        if self.newest > self.reserved {
            let reserved = Revision(self.newest.0 + REVISIONS_RESERVED);
            disk.put(FORMAT_KEY, FORMAT);
            disk.put(RESERVED_KEY, reserved.0.to_be_bytes());
            self.commit(disk)?;
            self.reserved = reserved;
            return Ok(());
        }
        if disk.is_empty() { Ok(()) } else { self.commit(disk) }
    }

    fn commit(&mut self, disk: WriteBatch) -> Result<(), Error> {
        let db = match self.db.take() {
            Some(db) => db,
            None => self.reopen()?,
        };
        let mut options = WriteOptions::default();
        options.set_sync(true);
        // After a failed write RocksDB refuses all others until it is opened
        // again, so it is let go here and opened when the next write comes.
        db.write_opt(disk, &options).map_err(unavailable)?;
        self.db = Some(db);
        Ok(())
    }

    /// Opens the directory again and undoes what a failed write may have left.
    fn reopen(&mut self) -> Result<DB, Error> {
        let db = open_db(&self.directory)?;
        let mut undo = WriteBatch::default();
        for key in &self.doubtful {
            match self.memory.current(key).filter(|_| !self.volatile.contains_key(key)) {
                Some(entry) => undo.put(disk_key(key), encode(&entry)),
                None => undo.delete(disk_key(key)),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        db.write_opt(undo, &options).map_err(unavailable)?;
        self.doubtful.clear();
        info!("the store can write again");
        Ok(db)
    }

    fn close(&mut self) -> Result<(), Error> {
        match self.db.take() {
            Some(db) => db.flush_wal(true).map_err(unavailable),
            None => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[tokio::test]
    async fn obeys_the_laws() {
        // The directories outlive the stores made in them.
        let directories = parking_lot::Mutex::new(Vec::new());
        conformance::run(|| async {
            let directory = tempfile::tempdir().expect("a directory");
            let store = RocksStore::open(directory.path()).expect("opens");
            directories.lock().push(directory);
            Arc::new(store) as Arc<dyn Store>
        })
        .await;
    }

    async fn put(store: &RocksStore, key: &str, durability: Durability) -> Revision {
        store.put(key.into(), Bytes::from_static(b"1"), Expected::Absent, durability).await.expect("absent")
    }

    #[tokio::test]
    async fn a_restart_keeps_durable_values_and_never_goes_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = RocksStore::open(directory.path()).expect("opens");
        let kept = put(&store, "kept", Durability::Durable).await;
        let deleted = put(&store, "deleted", Durability::Durable).await;
        store.delete(&"deleted".into(), deleted).await.expect("present");
        let newest = put(&store, "heartbeat", Durability::Volatile).await;
        drop(store);

        let store = RocksStore::open(directory.path()).expect("opens again");
        assert!(store.revision() >= newest);
        let listing = store.list(&"".into(), Page::default()).await.expect("lists");
        let found: Vec<_> = listing.entries.iter().map(|entry| (entry.key.to_string(), entry.modified)).collect();
        assert_eq!(found, [("kept".to_owned(), kept)]);
        assert!(put(&store, "later", Durability::Durable).await > newest);
    }

    #[tokio::test]
    async fn a_volatile_write_over_a_durable_value_does_not_bring_it_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = RocksStore::open(directory.path()).expect("opens");
        let at = put(&store, "lease", Durability::Durable).await;
        let renewed = store.put("lease".into(), "2".into(), Expected::At(at), Durability::Volatile).await;
        assert!(renewed.is_ok());
        drop(store);
        let store = RocksStore::open(directory.path()).expect("opens again");
        assert_eq!(store.get(&"lease".into()).await.expect("reads"), None);
    }

    #[tokio::test]
    async fn a_second_process_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let _store = RocksStore::open(directory.path()).expect("opens");
        let Err(error) = RocksStore::open(directory.path()) else { panic!("opened twice") };
        assert!(error.to_string().contains("in use by another process"), "{error}");
    }

    #[tokio::test]
    async fn a_foreign_directory_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let foreign = DB::open_default(directory.path()).expect("opens");
        foreign.put(b"x", b"y").expect("writes");
        drop(foreign);
        assert!(matches!(RocksStore::open(directory.path()), Err(Error::Corrupt(_))));
    }

    #[test]
    fn a_refused_batch_changes_nothing_and_the_next_one_works() {
        let directory = tempfile::tempdir().expect("a directory");
        let db = open_db(directory.path()).expect("opens");
        let mut writer = Writer {
            memory: MemoryStore::new(),
            directory: directory.path().join("missing/\0/invalid"),
            db: None,
            reserved: Revision(0),
            newest: Revision(0),
            volatile: HashMap::new(),
            doubtful: Vec::new(),
        };
        let put = |writer: &mut Writer| {
            let (answer, mut answered) = oneshot::channel();
            let mut batch = Batch::default();
            let (key, value) = (Key::from("a"), Bytes::from_static(b"1"));
            let request =
                Request::Put { key, value, expected: Expected::Absent, durability: Durability::Durable, answer };
            writer.decide(&mut batch, request);
            writer.finish(batch);
            answered.try_recv().expect("answered")
        };
        assert!(matches!(put(&mut writer), Err(Error::Unavailable(_))));
        assert_eq!((writer.memory.revision(), writer.memory.current(&"a".into())), (Revision(0), None));

        writer.db = Some(db);
        assert_eq!(put(&mut writer).expect("the disk is back"), Revision(1));
    }
}
