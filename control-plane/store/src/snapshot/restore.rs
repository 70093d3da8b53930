//! From a snapshot to the directory of a store that is not running.
//!
//! The new store grows beside its place and takes it by one rename, after the
//! checksum has been found right and everything is on disk. A crash leaves
//! nothing, or `<directory>.restoring`, which the next restore removes.

use super::{Error, Summary, read::Reader};
use crate::{Key, REPLACE_REVISIONS_SKIPPED, Revision, rocksdb::Builder};
use bytes::Bytes;
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Bytes written to the store at a time.
const BATCH_BYTES: usize = 1024 * 1024;

/// Makes the store in `directory` (the one that `RocksStore::open` is given),
/// which must be absent or empty, from a snapshot. Its revisions go on far above
/// the snapshot's, see [`REPLACE_REVISIONS_SKIPPED`]. Blocks.
///
/// # Errors
/// [`Error`]; then `directory` is as before.
pub fn restore(input: impl Read, directory: &Path) -> Result<Summary, Error> {
    let present = fs::read_dir(directory).and_then(|mut entries| entries.next().transpose());
    match present {
        Ok(None) => {}
        Ok(Some(_)) => return Err(Error::NotEmpty(directory.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(Error::Io { what: format!("read {}", directory.display()), source }),
    }
    let mut growing = directory.as_os_str().to_owned();
    growing.push(".restoring");
    let growing = PathBuf::from(growing);
    let restored = remove(&growing).and_then(|()| grow(input, &growing)).and_then(|summary| {
        put_in_place(&growing, directory).map_err(Error::writing(directory))?;
        Ok(summary)
    });
    if restored.is_err() {
        let _ = fs::remove_dir_all(&growing);
    }
    restored
}

fn remove(growing: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(growing) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::writing(growing)(error)),
        _ => Ok(()),
    }
}

fn grow(input: impl Read, growing: &Path) -> Result<Summary, Error> {
    let mut reader = Reader::new(input)?;
    let at = Revision(reader.revision().0.saturating_add(REPLACE_REVISIONS_SKIPPED));
    let mut builder = Builder::new(growing, at)?;
    let (mut batch, mut batch_bytes): (Vec<(Key, Bytes)>, _) = (Vec::new(), 0);
    while let Some((key, value)) = reader.next()? {
        batch_bytes += key.0.len() + value.len();
        batch.push((key, value));
        if batch_bytes >= BATCH_BYTES {
            builder.add(std::mem::take(&mut batch))?;
            batch_bytes = 0;
        }
    }
    builder.add(batch)?;
    let summary = reader.finish()?;
    builder.finish()?;
    Ok(summary)
}

/// An empty directory gives way to the rename.
fn put_in_place(growing: &Path, directory: &Path) -> io::Result<()> {
    fs::rename(growing, directory)?;
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}
