//! Which file follows one that was rotated.
//!
//! The writer moves `0.log` to `0.log.1`, that to `0.log.2` and so on, and goes on
//! in a new `0.log`. Who reads slowly finds its file some places up and must not
//! leave out those between. The writer may rotate at any moment; that it moves the
//! older files first is what makes looking from the newest to the oldest safe.

use std::{ffi::OsString, io, os::unix::fs::MetadataExt, path::Path};
use tokio::fs::{self, File};

/// Rotated files that are looked at; runtimes keep a handful.
const ROTATED_MAX: u32 = 16;

/// The file that was begun after `file`, one of the log at `path`; `None` while
/// that is the one being written, or was removed with all others. When there is a
/// next one, `file` is complete.
///
/// # Errors
/// The operating system's.
pub async fn next_file(file: &File, path: &Path) -> io::Result<Option<File>> {
    let own = file.metadata().await?;
    loop {
        let Some(place) = place_of(own.ino(), path).await? else {
            // Either too old to be kept, or moved elsewhere by somebody.
            return if file.metadata().await?.nlink() == 0 { oldest(path).await } else { open(path, 0).await };
        };
        let Some(newer) = place.checked_sub(1) else { return Ok(None) };
        let next = open(path, newer).await?;
        if inode(path, place).await? == Some(own.ino()) {
            return Ok(next);
        }
        // Rotated in between: what was opened may be one too new.
    }
}

/// How often the file with this inode was rotated.
async fn place_of(own: u64, path: &Path) -> io::Result<Option<u32>> {
    for place in 0..=ROTATED_MAX {
        if inode(path, place).await? == Some(own) {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

async fn oldest(path: &Path) -> io::Result<Option<File>> {
    for place in (0..=ROTATED_MAX).rev() {
        if let Some(file) = open(path, place).await? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

async fn inode(path: &Path, place: u32) -> io::Result<Option<u64>> {
    Ok(if_there(fs::metadata(name(path, place)).await)?.map(|found| found.ino()))
}

async fn open(path: &Path, place: u32) -> io::Result<Option<File>> {
    if_there(File::open(name(path, place)).await)
}

fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn name(path: &Path, place: u32) -> OsString {
    let mut name = OsString::from(path);
    if place > 0 {
        name.push(format!(".{place}"));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    async fn text(file: Option<File>) -> Option<String> {
        let mut text = String::new();
        file?.read_to_string(&mut text).await.expect("text");
        Some(text)
    }

    /// A log rotated twice: its path, and its files from the oldest.
    async fn rotated_twice(directory: &tempfile::TempDir) -> (std::path::PathBuf, [File; 3]) {
        let path = directory.path().join("0.log");
        let mut files = Vec::new();
        for (place, text) in [(2, "one"), (1, "two"), (0, "three")] {
            std::fs::write(name(&path, place), text).expect("writes");
            files.push(File::open(name(&path, place)).await.expect("opens"));
        }
        (path, files.try_into().expect("three"))
    }

    #[tokio::test]
    async fn each_file_is_followed_by_the_next_newer_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, [one, two, three]) = rotated_twice(&directory).await;
        assert_eq!(text(next_file(&one, &path).await.expect("reads")).await.as_deref(), Some("two"));
        assert_eq!(text(next_file(&two, &path).await.expect("reads")).await.as_deref(), Some("three"));
        assert!(next_file(&three, &path).await.expect("reads").is_none());
    }

    #[tokio::test]
    async fn a_file_between_two_names_is_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, [_, _, three]) = rotated_twice(&directory).await;
        std::fs::rename(name(&path, 1), name(&path, 2)).expect("renames");
        std::fs::rename(&path, name(&path, 1)).expect("renames");
        assert!(next_file(&three, &path).await.expect("reads").is_none(), "there is no new file yet");
    }

    #[tokio::test]
    async fn after_a_removed_file_comes_the_oldest_and_after_a_moved_one_the_newest() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, [one, two, _]) = rotated_twice(&directory).await;
        std::fs::remove_file(name(&path, 2)).expect("removes");
        assert_eq!(text(next_file(&one, &path).await.expect("reads")).await.as_deref(), Some("two"));
        std::fs::rename(name(&path, 1), directory.path().join("elsewhere")).expect("renames");
        assert_eq!(text(next_file(&two, &path).await.expect("reads")).await.as_deref(), Some("three"));
    }
}
