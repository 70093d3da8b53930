//! What lies in the directory: RocksDB with our keys, and a note of how far it
//! has come.
//!
//! ```text
//!  m/format             the layout
//!  m/reserved-revision  a number that no revision has reached
//!  k<key>               created, modified, value
//!  wk-sequence          (a file) RocksDB's sequence number at some commit
//! ```
//!
//! RocksDB cannot know that its newest files are missing: a manifest or a log
//! cut off at a record looks like an older store in order. The note can: a store
//! that has come less far than once noted is refused. It is written after each
//! open and then once in a while; it lags behind, and nothing depends on it.
//! Called by the store's opening and its writer; it decides nothing.

use super::log;
use crate::{Durability, Entry, Error, Key, Revision};
use ::rocksdb::{DB, DBRecoveryMode, Direction, ErrorKind, IteratorMode, LogLevel, Options, WriteBatch, WriteOptions};
use bytes::{BufMut, Bytes};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};
use tracing::warn;

/// What RocksDB collects in memory before it writes a file.
const WRITE_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// Write-ahead log on disk before older parts are flushed and dropped.
const WAL_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Bytes written between two notes: less than [`WRITE_BUFFER_BYTES`], so that
/// each file of RocksDB has one.
const NOTE_EVERY_BYTES: usize = 4 * 1024 * 1024;

const NOTE: &str = "wk-sequence";

/// The layout; a directory with another one is refused.
const FORMAT: &[u8] = b"1";
const FORMAT_KEY: &[u8] = b"m/format";
const RESERVED_KEY: &[u8] = b"m/reserved-revision";
/// Before each of the caller's keys.
const ENTRY_PREFIX: u8 = b'k';

/// An open store.
pub(super) struct Disk {
    db: DB,
    directory: PathBuf,
    /// Written since the last note.
    unnoted_bytes: usize,
}

impl Disk {
    /// Opens the store in `directory`, made when absent. Blocks.
    pub(super) fn open(directory: &Path) -> Result<Self, Error> {
        Self::open_with(directory, &options())
    }

    pub(super) fn open_with(directory: &Path, options: &Options) -> Result<Self, Error> {
        fs::create_dir_all(directory).map_err(|error| io_error(directory, &error))?;
        let noted = read_note(directory);
        if noted.is_some() && !directory.join("CURRENT").exists() {
            return Err(damaged(directory, &format!("{} is missing", directory.join("CURRENT").display())));
        }
        check_logs(directory)?;
        let db = DB::open(options, directory).map_err(|error| explain(directory, &error))?;
        let reached = db.latest_sequence_number();
        if let Some(noted) = noted.filter(|noted| *noted > reached) {
            let what =
                format!("its newest files are missing or cut off (it ends at {reached}, and had come to {noted})");
            return Err(damaged(directory, &what));
        }
        check_format(&db, directory)?;
        let mut disk = Self { db, directory: directory.to_owned(), unnoted_bytes: 0 };
        if noted != Some(reached) {
            disk.note()?;
        }
        Ok(disk)
    }

    /// The number that no revision has reached.
    pub(super) fn reserved(&self) -> Result<Revision, Error> {
        match self.db.get(RESERVED_KEY).map_err(|error| explain(&self.directory, &error))? {
            None => Ok(Revision(0)),
            Some(bytes) => <[u8; 8]>::try_from(bytes.as_slice())
                .map(|bytes| Revision(u64::from_be_bytes(bytes)))
                .map_err(|_| damaged(&self.directory, "the reserved revision is not a number")),
        }
    }

    /// Everything that is stored.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        for item in self.db.iterator(IteratorMode::From(&[ENTRY_PREFIX], Direction::Forward)) {
            let (key, value) = item.map_err(|error| explain(&self.directory, &error))?;
            match key.split_first() {
                Some((&ENTRY_PREFIX, key)) => entries.push(decode(&self.directory, key, value.into_vec().into())?),
                _ => break,
            }
        }
        Ok(entries)
    }

    /// Writes a batch; on disk when it returns. After an error the state on disk
    /// is not known, and RocksDB refuses everything until it is opened again.
    pub(super) fn commit(&mut self, batch: WriteBatch) -> Result<(), Error> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.unnoted_bytes += batch.size_in_bytes();
        self.db.write_opt(batch, &options).map_err(|error| explain(&self.directory, &error))?;
        // It is written: a note that cannot be does not change that.
        if self.unnoted_bytes > NOTE_EVERY_BYTES
            && let Err(error) = self.note()
        {
            warn!(%error, "kept no note of the store's progress");
        }
        Ok(())
    }

    /// Finishes what is on the way.
    pub(super) fn close(self) -> Result<(), Error> {
        self.db.flush_wal(true).map_err(|error| explain(&self.directory, &error))
    }

    fn note(&mut self) -> Result<(), Error> {
        let temporary = self.directory.join("wk-sequence.new");
        let written = (|| {
            let mut file = File::create(&temporary)?;
            writeln!(file, "{}", self.db.latest_sequence_number())?;
            file.sync_all()?;
            fs::rename(&temporary, self.directory.join(NOTE))?;
            File::open(&self.directory)?.sync_all()
        })();
        self.unnoted_bytes = 0;
        written.map_err(|error: io::Error| io_error(&temporary, &error))
    }
}

pub(super) fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_max_background_jobs(2);
    // Drops a torn end; anything else has been refused by `log::check` before.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // Its own log and statistics would write to an idle disk.
    options.set_log_level(LogLevel::Error);
    options.set_keep_log_file_num(1);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

/// How far the store had come once; `None` when there is no (readable) note.
fn read_note(directory: &Path) -> Option<u64> {
    fs::read_to_string(directory.join(NOTE)).ok()?.trim().parse().ok()
}

fn check_logs(directory: &Path) -> Result<(), Error> {
    let files = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let files = files.map_err(|error| io_error(directory, &error))?;
    let mut logs: Vec<PathBuf> =
        files.iter().map(fs::DirEntry::path).filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    logs.sort_by_key(|path| path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok()));
    log::check(&logs).map_err(|error| match error {
        log::Error::Read(path, error) => io_error(&path, &error),
        log::Error::Damaged(path, at) => damaged(
            directory,
            &format!("{} is damaged at byte {at}, in a change that was acknowledged", path.display()),
        ),
    })
}

/// Checks that the directory is ours.
fn check_format(db: &DB, directory: &Path) -> Result<(), Error> {
    match db.get(FORMAT_KEY).map_err(|error| explain(directory, &error))? {
        Some(format) if format == FORMAT => Ok(()),
        Some(format) => {
            let format = String::from_utf8_lossy(&format).into_owned();
            Err(Error::Corrupt(format!("{} has the unknown format {format:?}", directory.display())))
        }
        None if db.iterator(IteratorMode::Start).next().is_none() => Ok(()),
        None => Err(Error::Corrupt(format!("{} is not a store of wk", directory.display()))),
    }
}

/// Adds to a batch that a value is stored.
pub(super) fn put(batch: &mut WriteBatch, entry: &Entry) {
    batch.put(disk_key(&entry.key), encode(entry));
}

/// Adds to a batch that a key is gone.
pub(super) fn delete(batch: &mut WriteBatch, key: &Key) {
    batch.delete(disk_key(key));
}

/// Adds to a batch that no revision goes beyond `reserved`.
pub(super) fn reserve(batch: &mut WriteBatch, reserved: Revision) {
    batch.put(FORMAT_KEY, FORMAT);
    batch.put(RESERVED_KEY, reserved.0.to_be_bytes());
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

fn decode(directory: &Path, key: &[u8], bytes: Bytes) -> Result<Entry, Error> {
    let key = Key(Bytes::copy_from_slice(key));
    let number = |at: usize| bytes.get(at..at + 8).and_then(|part| part.try_into().ok()).map(u64::from_be_bytes);
    match (number(0), number(8)) {
        (Some(created), Some(modified)) => {
            let (created, modified) = (Revision(created), Revision(modified));
            Ok(Entry { key, value: bytes.slice(16..), created, modified, durability: Durability::Durable })
        }
        _ => Err(damaged(directory, &format!("the value of {key} is too short"))),
    }
}

fn explain(directory: &Path, error: &::rocksdb::Error) -> Error {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::IOError if text.contains("lock") => {
            Error::Unavailable(format!("{} is in use by another process", directory.display()))
        }
        // RocksDB tells apart by text only.
        _ if text.contains("No space left on device") || text.contains("Disk quota exceeded") => {
            Error::NoSpace(directory.display().to_string())
        }
        ErrorKind::Corruption => damaged(directory, &text),
        _ if text.contains("No such file or directory") => damaged(directory, &text),
        _ => Error::Unavailable(format!("{}: {text}", directory.display())),
    }
}

fn io_error(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace(path.display().to_string()),
        _ => Error::Unavailable(format!("{}: {error}", path.display())),
    }
}

/// With what to do about it.
fn damaged(directory: &Path, what: &str) -> Error {
    let directory = directory.display();
    Error::Corrupt(format!("{directory}: {what}; move {directory} away, then restore a snapshot or start anew"))
}
