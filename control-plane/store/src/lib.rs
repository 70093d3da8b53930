//! Revisioned key/value store with watch.
//!
//! etcd's model: every commit gets the next number of one total order (the
//! *revision*); a write states what it expects to replace; a list can be read
//! as of a revision; a watch delivers every change after a revision, in order,
//! without gaps or repeats, or says that it cannot ([`Error::Expired`]). The
//! store knows nothing of Kubernetes: it sees keys, bytes and revisions. The
//! API server is its only user.
//!
//! ```text
//!   put, delete ──▶ one writer ──▶ commit ──▶ history ──▶ watchers
//!   get, list  ───────────────────▶ versions as of a revision
//! ```
//!
//! Reading order: this file, [`memory`] (the reference), [`rocksdb`] (the
//! default), [`snapshot`] (a whole store in a file), `conformance` (the laws, as
//! tests over `dyn Store`).
#![forbid(unsafe_code)]

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::fmt;

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
pub mod memory;
#[cfg(feature = "rocksdb")]
pub mod rocksdb;
pub mod snapshot;

/// The number of a commit. The first commit is 1; 0 means "before everything".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A key: any bytes, compared as bytes. Printed as text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub Bytes);

impl Key {
    /// Whether this key begins with `prefix`.
    pub fn starts_with(&self, prefix: &Key) -> bool {
        self.0.starts_with(&prefix.0)
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// A value and the commits that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is stored under.
    pub key: Key,
    /// What is stored.
    pub value: Bytes,
    /// The commit that created the key (since it was last absent).
    pub created: Revision,
    /// The commit that wrote this value.
    pub modified: Revision,
    /// Whether it survives the process.
    pub durability: Durability,
}

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No value: the write creates.
    Absent,
    /// The value written by this commit: the write replaces.
    At(Revision),
}

/// Whether a value must survive the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Acknowledged means on disk.
    #[default]
    Durable,
    /// Never reaches the disk: heartbeats. It is gone after a restart; it takes
    /// part in the order of revisions like any other value.
    Volatile,
}

/// Which part of a prefix to list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Only keys after this one.
    pub after: Option<Key>,
    /// At most this many entries; all when `None`.
    pub limit: Option<usize>,
    /// As of this commit; the newest when `None`.
    pub at: Option<Revision>,
}

/// Entries of one moment.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// In key order.
    pub entries: Vec<Entry>,
    /// The moment: `Page::at`, or the newest commit of the whole store.
    pub revision: Revision,
    /// How many more entries follow the last one.
    pub remaining: usize,
}

/// One commit, seen from a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A value was written.
    Put {
        /// The value now.
        new: Entry,
        /// The value before, if there was one.
        old: Option<Entry>,
    },
    /// A value was deleted.
    Delete {
        /// The last value.
        old: Entry,
        /// The commit that deleted it.
        at: Revision,
    },
}

impl Change {
    /// The commit.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put { new, .. } => new.modified,
            Self::Delete { at, .. } => *at,
        }
    }

    /// The key concerned.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { new: entry, .. } | Self::Delete { old: entry, .. } => &entry.key,
        }
    }
}

/// Revisions that nobody ever gets when the content is replaced: a snapshot does
/// not know how far its store went on afterwards, and no client may see a number
/// again that meant something else to it. etcd's disaster recovery recommends
/// about as much (`etcdutl snapshot restore --bump-revision 1000000000`).
pub const REPLACE_REVISIONS_SKIPPED: u64 = 1 << 30;

/// The commit that replaces everything: above all that was ever given out.
fn replacing(newest: Revision, above: Revision) -> Revision {
    Revision(newest.max(above).0.saturating_add(REPLACE_REVISIONS_SKIPPED))
}

/// Changes in commit order. After an error it ends.
pub type ChangeStream = BoxStream<'static, Result<Change, Error>>;

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A write expected something else; `found` is what is there. Read again.
    #[error("key {key} is at revision {found:?}, not what the write expected ({expected:?})")]
    Conflict {
        /// The key.
        key: Key,
        /// What the write expected.
        expected: Expected,
        /// What is there.
        found: Option<Box<Entry>>,
    },
    /// Nothing is stored under the key.
    #[error("key {0} not found")]
    NotFound(Key),
    /// The revision is no longer kept; list again and watch from there.
    #[error("revision {asked} has been compacted, the oldest kept is {oldest}")]
    Expired {
        /// The revision asked for.
        asked: Revision,
        /// The oldest revision that can still be asked for.
        oldest: Revision,
    },
    /// The revision has not happened yet.
    #[error("revision {asked} is in the future, the newest is {newest}")]
    Future {
        /// The revision asked for.
        asked: Revision,
        /// The newest revision.
        newest: Revision,
    },
    /// The disk is full; nothing was written. It works again when there is space.
    #[error("the store cannot write: no space left on device: {0}")]
    NoSpace(String),
    /// The disk is read-only, or refuses otherwise; nothing was written.
    #[error("the store cannot write: {0}")]
    Unavailable(String),
    /// What is on disk is not what was written.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

/// Keys to bytes under one total order of commits. The laws are in
/// `conformance`; every implementation passes them.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The newest value of `key`.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Closed`].
    async fn get(&self, key: &Key) -> Result<Option<Entry>, Error>;

    /// Entries under `prefix` in key order, all as of one revision.
    ///
    /// # Errors
    /// [`Error::Expired`] or [`Error::Future`] when `page.at` cannot be read.
    async fn list(&self, prefix: &Key, page: Page) -> Result<Listing, Error>;

    /// Writes `value` if `expected` holds. `Ok` means committed and, unless
    /// volatile, on disk. Cancel safety: once polled the write happens or not as
    /// a whole, whether or not the future is polled to its end.
    ///
    /// # Errors
    /// [`Error::Conflict`] with what is there, [`Error::Unavailable`].
    async fn put(&self, key: Key, value: Bytes, expected: Expected, durability: Durability) -> Result<Revision, Error>;

    /// Deletes `key` if `expected` is its commit. Cancel safety: as `put`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`], [`Error::Unavailable`].
    async fn delete(&self, key: &Key, expected: Revision) -> Result<Revision, Error>;

    /// Every change under `prefix` after `after`: in order, no gaps, no repeats.
    /// The first item is [`Error::Expired`] when `after` is older than what is
    /// kept; a watcher that falls too far behind ends with it.
    fn watch(&self, prefix: Key, after: Revision) -> ChangeStream;

    /// The newest commit.
    fn revision(&self) -> Revision;

    /// Forgets versions and history before `before`; the newest value of each
    /// key stays.
    ///
    /// # Errors
    /// [`Error::Future`], [`Error::Unavailable`].
    async fn compact(&self, before: Revision) -> Result<(), Error>;

    /// Replaces everything by `values`, durably and as one commit: after a crash
    /// either all of the old or all of the new is there. All values are as if
    /// created by that commit, whose number is above [`REPLACE_REVISIONS_SKIPPED`]
    /// more than both the newest one and `above`. There is no history from before:
    /// every watch ends with [`Error::Expired`]. Cancel safety: as `put`.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Unavailable`]: all is as before.
    async fn replace(&self, values: Vec<(Key, Bytes)>, above: Revision) -> Result<Revision, Error>;

    /// Finishes what is accepted, syncs, and refuses everything after.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the last sync failed.
    async fn close(&self) -> Result<(), Error>;
}
