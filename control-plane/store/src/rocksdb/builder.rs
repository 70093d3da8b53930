//! A new store from given values, in batches; for a restore. Nobody may open it
//! before it is finished.

use super::{disk, disk::Disk};
use crate::{Error, Key, Revision, memory::entries_at};
use ::rocksdb::WriteBatch;
use bytes::Bytes;
use std::path::Path;

/// A store that is being made.
pub(crate) struct Builder {
    disk: Disk,
    /// Which commit all values are of.
    at: Revision,
}

impl Builder {
    /// An empty store in a new directory; its revisions begin at `at`.
    pub(crate) fn new(directory: &Path, at: Revision) -> Result<Self, Error> {
        let mut disk = Disk::open(directory)?;
        let mut batch = WriteBatch::default();
        disk::reserve(&mut batch, at);
        disk.commit(batch)?;
        Ok(Self { disk, at })
    }

    /// Adds values.
    pub(crate) fn add(&mut self, values: Vec<(Key, Bytes)>) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        entries_at(values, self.at).for_each(|entry| disk::put(&mut batch, &entry));
        if batch.is_empty() { Ok(()) } else { self.disk.commit(batch) }
    }

    /// Everything is on disk when it returns.
    pub(crate) fn finish(self) -> Result<(), Error> {
        self.disk.close()
    }
}
