//! A log file that is rotated: `0.log`, `0.log.1` (the newest before it), …

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Bytes of one file, and how many files there are: the kubelet's defaults
/// (`containerLogMaxSize`, `containerLogMaxFiles`).
const FILE_BYTES_MAX: u64 = 10 * 1024 * 1024;
const FILES_MAX: u32 = 5;

/// The file that is written now.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    size_bytes: u64,
    bytes_max: u64,
}

impl LogFile {
    /// Opens or makes it, and its directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::with_limit(path, FILE_BYTES_MAX)
    }

    fn with_limit(path: &Path, bytes_max: u64) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let (file, size_bytes) = open_to_append(path)?;
        Ok(Self { path: path.to_owned(), file, size_bytes, bytes_max })
    }

    /// Adds whole lines, in a new file when the old one would get too long.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let length = lines.len() as u64;
        if self.size_bytes > 0 && self.size_bytes + length > self.bytes_max {
            self.rotate()?;
        }
        self.file.write_all(lines)?;
        self.size_bytes += length;
        Ok(())
    }

    /// Opens the path anew, after somebody else moved the file away.
    pub fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.size_bytes) = open_to_append(&self.path)?;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..FILES_MAX - 1).rev() {
            move_if_there(&self.numbered(number), &self.numbered(number + 1))?;
        }
        move_if_there(&self.path, &self.numbered(1))?;
        self.reopen()
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut path = OsString::from(&self.path);
        path.push(format!(".{number}"));
        path.into()
    }
}

fn open_to_append(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
    let size_bytes = file.metadata()?.len();
    Ok((file, size_bytes))
}

fn move_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_oldest_file_goes_when_there_are_too_many() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pod/0.log");
        let mut log = LogFile::with_limit(&path, 8).unwrap();
        for number in 0..9 {
            log.append(format!("line{number}\n").as_bytes()).unwrap();
        }
        let expected = ["0.log", "0.log.1", "0.log.2", "0.log.3", "0.log.4"];
        assert_eq!(names(path.parent().unwrap()), expected);
        assert_eq!(fs::read_to_string(&path).unwrap(), "line8\n");
        assert_eq!(fs::read_to_string(log.numbered(4)).unwrap(), "line4\n");
    }

    #[test]
    fn a_file_that_was_moved_is_written_until_reopened() {
        let directory = tempfile::tempdir().unwrap();
        let (path, moved) = (directory.path().join("0.log"), directory.path().join("moved"));
        let mut log = LogFile::open(&path).unwrap();
        log.append(b"one\n").unwrap();
        fs::rename(&path, &moved).unwrap();
        log.append(b"two\n").unwrap();
        log.reopen().unwrap();
        log.append(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
    }
}
