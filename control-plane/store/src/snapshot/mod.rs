//! A whole store in a file: what `wk snapshot` saves and restores.
//!
//! ```text
//!  "wk snap\n"  version u32  revision u64  keys u64           head
//!  key length u32  value length u32  key  value               for each key, ascending
//!  sha256 of all of the above                                 as at the end of etcd's
//! ```
//!
//! Numbers are big-endian. A snapshot is of one revision, taken while writers go
//! on: it holds on to the values of that moment, which the store has in memory
//! anyway, and writes them out one after the other. Volatile values (heartbeats)
//! are not part of it.
//!
//! The checksum covers everything and is checked before anything becomes
//! visible. What is restored counts as written by one new commit, with a number
//! far above the snapshot's: clients that had seen later revisions before the
//! restore see none twice, neither of a list nor of an object.
//!
//! Reading order: this file (save), `read` (status, load), `restore`.

mod read;
#[cfg(feature = "rocksdb")]
mod restore;
#[cfg(all(test, feature = "rocksdb"))]
mod tests;

pub use read::{Contents, load, status};
#[cfg(feature = "rocksdb")]
pub use restore::restore;

use crate::{Durability, Entry, Error as StoreError, Key, Page, Revision, Store};
use sha2::{Digest, Sha256};
use std::{
    io,
    path::{Path, PathBuf},
};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// How a snapshot begins. The line feed does not survive a transfer as text.
const MAGIC: &[u8; 8] = b"wk snap\n";

/// The form of what follows. A reader refuses newer ones.
const VERSION: u32 = 1;

/// Magic, version, revision, number of keys.
const HEAD_BYTES: usize = 28;

/// The two lengths before a key.
const LENGTHS_BYTES: usize = 8;

/// Collected before it is written.
const BUFFER_BYTES: usize = 64 * 1024;

/// What a snapshot says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The form.
    pub version: u32,
    /// The moment.
    pub revision: Revision,
    /// Number of keys.
    pub keys: u64,
    /// Bytes of the whole snapshot.
    pub size_bytes: u64,
    /// The checksum, which is at its end.
    pub sha256: [u8; 32],
}

/// Why there is no snapshot, or why it was not restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is something else.
    #[error("this is not a snapshot of wk")]
    Foreign,
    /// It was made by a later version.
    #[error("the snapshot has format {found}; this version of wk knows formats up to {VERSION}")]
    Newer {
        /// Its format.
        found: u32,
    },
    /// Its end is missing.
    #[error("the snapshot is cut off: it ends after {read} of {keys} keys")]
    Truncated {
        /// Whole keys in it.
        read: u64,
        /// Keys that it should have.
        keys: u64,
    },
    /// It is not what was saved.
    #[error("the snapshot is damaged: {0}")]
    Damaged(&'static str),
    /// Nothing is overwritten.
    #[error("{0} is not empty: restore into a new data directory, or move it away")]
    NotEmpty(PathBuf),
    /// It cannot be read or written.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with which file.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Error {
    fn reading(source: io::Error) -> Self {
        Self::Io { what: "read the snapshot".to_owned(), source }
    }

    fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = format!("write {}", path.display());
        |source| Self::Io { what, source }
    }
}

/// Writes a snapshot of `store` as it is now. Writers are not held up. Cancel
/// safety: what has been written by then is no snapshot.
///
/// # Errors
/// [`Error::Io`], [`Error::Store`].
pub async fn save(store: &dyn Store, out: &mut (impl AsyncWrite + Unpin)) -> Result<Summary, Error> {
    let listing = store.list(&Key::from(""), Page::default()).await?;
    let durable = |entry: &&Entry| entry.durability == Durability::Durable;
    let keys = listing.entries.iter().filter(durable).count() as u64;
    let mut sink = Sink { out, buffer: Vec::with_capacity(BUFFER_BYTES), hash: Sha256::new(), size_bytes: 0 };
    sink.buffer.extend_from_slice(&head(listing.revision, keys));
    for entry in listing.entries.iter().filter(durable) {
        sink.entry(entry).await.map_err(|source| Error::Io { what: "write the snapshot".to_owned(), source })?;
    }
    let (sha256, size_bytes) =
        sink.finish().await.map_err(|source| Error::Io { what: "write the snapshot".to_owned(), source })?;
    Ok(Summary { version: VERSION, revision: listing.revision, keys, size_bytes, sha256 })
}

/// Saves into a file, readable by its owner only since there are Secrets in it.
/// The file appears when it is whole and on disk; one that was there is replaced.
/// Cancel safety: it appears or not.
///
/// # Errors
/// [`Error::Io`], [`Error::Store`].
pub async fn save_file(store: &dyn Store, path: &Path) -> Result<Summary, Error> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let result = write_file(store, path, &partial).await;
    if result.is_err() {
        let _ = tokio::fs::remove_file(&partial).await;
    }
    result
}

async fn write_file(store: &dyn Store, path: &Path, partial: &Path) -> Result<Summary, Error> {
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(partial).await.map_err(Error::writing(partial))?;
    let summary = save(store, &mut file).await?;
    file.sync_all().await.map_err(Error::writing(partial))?;
    tokio::fs::rename(partial, path).await.map_err(Error::writing(path))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = async { tokio::fs::File::open(parent).await?.sync_all().await };
    synced.await.map_err(Error::writing(parent))?;
    Ok(summary)
}

fn head(revision: Revision, keys: u64) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_be_bytes());
    head[12..20].copy_from_slice(&revision.0.to_be_bytes());
    head[20..].copy_from_slice(&keys.to_be_bytes());
    head
}

/// Bytes on their way out, summed up.
struct Sink<'a, Out> {
    out: &'a mut Out,
    buffer: Vec<u8>,
    hash: Sha256,
    size_bytes: u64,
}

impl<Out: AsyncWrite + Unpin> Sink<'_, Out> {
    async fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        for part in [&entry.key.0, &entry.value] {
            let length = u32::try_from(part.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
            self.buffer.extend_from_slice(&length.to_be_bytes());
        }
        self.buffer.extend_from_slice(&entry.key.0);
        self.buffer.extend_from_slice(&entry.value);
        if self.buffer.len() >= BUFFER_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.hash.update(&self.buffer);
        self.size_bytes += self.buffer.len() as u64;
        self.out.write_all(&self.buffer).await?;
        self.buffer.clear();
        Ok(())
    }

    async fn finish(mut self) -> io::Result<([u8; 32], u64)> {
        self.flush().await?;
        let sum: [u8; 32] = self.hash.finalize().into();
        self.out.write_all(&sum).await?;
        self.out.flush().await?;
        Ok((sum, self.size_bytes + sum.len() as u64))
    }
}
