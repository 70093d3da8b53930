//! From bytes to keys and values, in one pass and with one entry in memory.
//! Whoever uses what comes out waits for the end: only then is it known that all
//! of it is what was saved.

use super::{Error, HEAD_BYTES, LENGTHS_BYTES, MAGIC, Summary, VERSION};
use crate::{Key, Revision};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::io::{BufReader, ErrorKind, Read};

/// A snapshot in memory, checked; for `Store::replace`.
#[derive(Debug)]
pub struct Contents {
    /// What it says of itself.
    pub summary: Summary,
    /// Keys and values, ascending.
    pub values: Vec<(Key, Bytes)>,
}

/// Reads a whole snapshot and checks it. Blocks.
///
/// # Errors
/// [`Error`]: all but [`Error::NotEmpty`] and [`Error::Store`].
pub fn load(input: impl Read) -> Result<Contents, Error> {
    let mut reader = Reader::new(input)?;
    let mut values = Vec::new();
    while let Some(value) = reader.next()? {
        values.push(value);
    }
    Ok(Contents { summary: reader.finish()?, values })
}

/// Checks a snapshot and says what it is. Blocks; reads it all.
///
/// # Errors
/// As [`load`].
pub fn status(input: impl Read) -> Result<Summary, Error> {
    let mut reader = Reader::new(input)?;
    while reader.next()?.is_some() {}
    reader.finish()
}

/// Reads one entry after the other.
pub(super) struct Reader<Input> {
    input: BufReader<Input>,
    hash: Sha256,
    size_bytes: u64,
    version: u32,
    revision: Revision,
    keys: u64,
    read: u64,
    last: Option<Key>,
}

impl<Input: Read> Reader<Input> {
    pub(super) fn new(input: Input) -> Result<Self, Error> {
        let mut input = BufReader::new(input);
        let head = read_up_to(&mut input, HEAD_BYTES)?;
        if !head.starts_with(MAGIC) {
            return Err(Error::Foreign);
        }
        let cut_off = || Error::Truncated { read: 0, keys: 0 };
        let version = u32::from_be_bytes(*head[8..].first_chunk().ok_or_else(cut_off)?);
        if version > VERSION {
            return Err(Error::Newer { found: version });
        }
        let revision = Revision(u64::from_be_bytes(*head[12..].first_chunk().ok_or_else(cut_off)?));
        let keys = u64::from_be_bytes(*head[20..].first_chunk().ok_or_else(cut_off)?);
        let hash = Sha256::new_with_prefix(&head);
        Ok(Self { input, hash, size_bytes: HEAD_BYTES as u64, version, revision, keys, read: 0, last: None })
    }

    /// For a restore into a directory.
    #[cfg(feature = "rocksdb")]
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// The next entry; `None` behind the last one.
    pub(super) fn next(&mut self) -> Result<Option<(Key, Bytes)>, Error> {
        if self.read == self.keys {
            return Ok(None);
        }
        let lengths = self.exactly(LENGTHS_BYTES)?;
        let length = |at: usize| lengths[at..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes)) as usize;
        let (key, value) = (self.exactly(length(0))?, self.exactly(length(4))?);
        let key = Key(key.into());
        if self.last.as_ref().is_some_and(|last| *last >= key) {
            return Err(Error::Damaged("its keys are out of order"));
        }
        self.last = Some(key.clone());
        self.read += 1;
        Ok(Some((key, value.into())))
    }

    /// Checks that what was read is what was saved.
    pub(super) fn finish(mut self) -> Result<Summary, Error> {
        let sha256: [u8; 32] = self.hash.finalize().into();
        let found = read_up_to(&mut self.input, sha256.len())?;
        if found.len() < sha256.len() {
            return Err(Error::Truncated { read: self.read, keys: self.keys });
        }
        if found != sha256 {
            return Err(Error::Damaged("its checksum does not match"));
        }
        if !read_up_to(&mut self.input, 1)?.is_empty() {
            return Err(Error::Damaged("something follows its end"));
        }
        let (version, revision, keys) = (self.version, self.revision, self.keys);
        Ok(Summary { version, revision, keys, size_bytes: self.size_bytes + sha256.len() as u64, sha256 })
    }

    fn exactly(&mut self, count: usize) -> Result<Vec<u8>, Error> {
        let bytes = read_up_to(&mut self.input, count)?;
        if bytes.len() < count {
            return Err(Error::Truncated { read: self.read, keys: self.keys });
        }
        self.hash.update(&bytes);
        self.size_bytes += count as u64;
        Ok(bytes)
    }
}

/// At most `count` bytes; fewer at the end. A wrong `count` costs no more memory
/// than there is input.
fn read_up_to(input: &mut impl Read, count: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    match input.take(count as u64).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(bytes),
        Err(error) => Err(Error::reading(error)),
    }
}
