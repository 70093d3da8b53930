//! Files of machine code: written as a whole, for us alone, with their sum beside
//! them. `compiler.rs` writes them, `programs.rs` reads them.
//!
//! wasmtime checks the head of such a file and then runs the rest; what a disk has
//! changed since must be found here.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use wk_images::ImageDigest;

/// Where the digest of compiled code is kept.
pub(crate) fn sum_path(code: &Path) -> PathBuf {
    code.with_extension("sha256")
}

/// Checks that compiled code is what was written.
///
/// # Errors
/// The operating system's, and what differs.
pub(crate) fn check_sum(path: &Path) -> io::Result<()> {
    let (code, sum) = (fs::read(path)?, fs::read(sum_path(path))?);
    if ImageDigest::of(&code).as_str().as_bytes() == sum {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "it is not what was written"))
}

/// Writes code and its sum, in this order: code without its sum is not run, a sum
/// without code harms nobody.
///
/// # Errors
/// The operating system's; the space of what was not finished is given back.
pub(crate) fn write(path: &Path, code: &[u8]) -> io::Result<()> {
    write_private(&sum_path(path), ImageDigest::of(code).as_str().as_bytes())?;
    write_private(path, code)
}

/// Writes a file that only we may read, and gives it its name when it is whole.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| drop(fs::remove_file(&temporary)))
}
