//! The log of a server in the background: a file with a bound.
//!
//! When it is full, its content becomes the old log, whose content is lost, and
//! it starts over. The file itself stays, since it is also the standard error of
//! the process, where a panic would be told.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

/// Bytes of a log and of the old one. A busy day's worth of an `info` log.
const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// An open log.
pub struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
}

impl LogFile {
    /// Opens the log at `path` to append to it.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        Self::with_bound(path, LOG_BYTES_MAX)
    }

    fn with_bound(path: PathBuf, bytes_max: u64) -> io::Result<Self> {
        let file = File::options().create(true).append(true).mode(0o600).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, file, bytes, bytes_max })
    }

    fn start_over(&mut self) -> io::Result<()> {
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        fs::copy(&self.path, old)?;
        self.file.set_len(0)?;
        self.bytes = 0;
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes + bytes.len() as u64 > self.bytes_max && self.bytes > 0 {
            self.start_over()?;
        }
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_starts_over_and_keeps_what_was_last() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let mut log = LogFile::with_bound(path.clone(), 10).expect("opens");
        let mut panics = File::options().append(true).open(&path).expect("opens");
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            log.write_all(line.as_bytes()).expect("writes");
        }
        panics.write_all(b"!\n").expect("writes");
        assert_eq!(fs::read_to_string(&path).expect("reads"), "four\n!\n");
        assert_eq!(fs::read_to_string(directory.path().join("log.1")).expect("reads"), "three\n");
        drop(log);
        let mut log = LogFile::with_bound(path.clone(), 10).expect("opens again");
        log.write_all(b"five\n").expect("writes");
        assert_eq!(fs::read_to_string(&path).expect("reads"), "five\n");
    }
}
