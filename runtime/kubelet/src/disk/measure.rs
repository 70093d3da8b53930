//! How much of the disk directories use, as `du` counts: the blocks of files and
//! directories, a file with several names once.
//!
//! Guests fill these directories while they are measured, so no name is trusted:
//! every directory is opened in its parent, without following a link
//! (`O_NOFOLLOW`), and never by a path. Blocking; one walk at a time on a node.

use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat},
    io::Errno,
};
use std::{collections::HashSet, io, path::Path};

/// Directories within each other that are opened at once. What is deeper counts
/// as more than any limit: nobody but a guest that hides something goes there.
const DEPTH_MAX: usize = 128;

/// Files with several names that are remembered; beyond that they count again.
const LINKED_MAX: usize = 65_536;

/// Bytes in a block of `st_blocks`, whatever the file system's are.
const BLOCK_BYTES: u64 = 512;

/// The bytes that a directory and all in it use; none when there is no directory.
///
/// # Errors
/// The operating system's.
pub fn directory(path: &Path) -> io::Result<u64> {
    let mut walk = Walk::default();
    match openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(root) => walk.enter(root, 0)?,
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(walk.bytes)
}

#[derive(Default)]
struct Walk {
    bytes: u64,
    linked: HashSet<(u64, u64)>,
}

impl Walk {
    fn enter(&mut self, directory: OwnedFd, depth: usize) -> io::Result<()> {
        if depth >= DEPTH_MAX {
            self.bytes = u64::MAX;
            return Ok(());
        }
        // Reads by a descriptor of its own; the given one opens what is inside.
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue, // it has just gone
                other => other?,
            };
            self.add(&stat);
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(&directory, name, flags, Mode::empty()) {
                Ok(inner) => self.enter(inner, depth + 1)?,
                // It has gone, or has become a file or a link since.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn add(&mut self, stat: &rustix::fs::Stat) {
        let has_names = stat.st_nlink > 1 && FileType::from_raw_mode(stat.st_mode) != FileType::Directory;
        if has_names && self.linked.len() < LINKED_MAX && !self.linked.insert((stat.st_dev, stat.st_ino)) {
            return;
        }
        let blocks = u64::try_from(stat.st_blocks).unwrap_or_default();
        self.bytes = self.bytes.saturating_add(blocks.saturating_mul(BLOCK_BYTES));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const KILO: usize = 1 << 10;

    #[test]
    fn files_count_with_their_blocks_and_once() {
        let root = tempfile::tempdir().expect("a directory");
        assert_eq!(directory(&root.path().join("none")).expect("nothing"), 0);
        let empty = directory(root.path()).expect("measured");
        std::fs::create_dir_all(root.path().join("a/b")).expect("made");
        std::fs::write(root.path().join("a/b/file"), vec![1; 64 * KILO]).expect("a write");
        std::fs::hard_link(root.path().join("a/b/file"), root.path().join("again")).expect("a link");
        let used = directory(root.path()).expect("measured") - empty;
        assert!((64 * KILO as u64..96 * KILO as u64).contains(&used), "{used}");
    }

    #[test]
    fn no_link_is_followed() {
        let (root, outside) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        std::fs::write(outside.path().join("big"), vec![1; 1 << 20]).expect("a write");
        symlink(outside.path(), root.path().join("directory")).expect("a link");
        symlink(outside.path().join("big"), root.path().join("file")).expect("a link");
        symlink("..", root.path().join("up")).expect("a link");
        assert!(directory(root.path()).expect("measured") < 64 * KILO as u64);
        let link = root.path().join("directory");
        assert!(directory(&link).is_err(), "not even the volume itself");
    }

    #[test]
    fn what_is_too_deep_to_look_at_is_too_much() {
        let root = tempfile::tempdir().expect("a directory");
        let deep = |depth: usize| root.path().join(vec!["d"; depth].join("/"));
        std::fs::create_dir_all(deep(DEPTH_MAX - 1)).expect("made");
        assert!(directory(root.path()).expect("measured") < u64::MAX);
        std::fs::create_dir_all(deep(DEPTH_MAX)).expect("made");
        assert_eq!(directory(root.path()).expect("measured"), u64::MAX);
    }
}
