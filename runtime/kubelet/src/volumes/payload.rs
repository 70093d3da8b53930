//! Files that change all at once (upstream: `pkg/volume/util/atomic_writer.go`):
//! they are written to a new directory, and one rename of a link makes them the
//! current ones. A reader sees the old files or the new ones, never a mixture.
//!
//! ```text
//!   volume/key   -> ..data/key
//!   volume/..data -> ..1767225600000000000
//!   volume/..1767225600000000000/key
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
};

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// A file's bytes and permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What it says.
    pub bytes: Vec<u8>,
    /// Unix permissions.
    pub mode: u32,
}

/// By path relative to the volume.
pub type Files = BTreeMap<PathBuf, File>;

/// Makes `files` the content of `directory`. `stamp` names the new version;
/// nothing happens when the content is the same already.
///
/// # Errors
/// The operating system's, and `InvalidInput` for a path that is not relative.
pub fn write(directory: &Path, stamp: &str, files: &Files) -> io::Result<()> {
    if files.keys().any(|path| !is_plain(path)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file of a volume leads out of it"));
    }
    std::fs::create_dir_all(directory)?;
    if read(directory)? == *files && directory.join(DATA).exists() {
        return Ok(());
    }
    let old = std::fs::read_link(directory.join(DATA)).ok();
    let version = format!("..{stamp}");
    for (path, file) in files {
        let path = directory.join(&version).join(path);
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(&path, &file.bytes)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(file.mode))?;
    }
    std::fs::create_dir_all(directory.join(&version))?;
    let _ = std::fs::remove_file(directory.join(NEW_DATA)); // left by a crash
    symlink(&version, directory.join(NEW_DATA))?;
    std::fs::rename(directory.join(NEW_DATA), directory.join(DATA))?;
    link_names(directory, files)?;
    match old.filter(|old| old != Path::new(&version)) {
        Some(old) => super::remove_tree(&directory.join(old)),
        None => Ok(()),
    }
}

/// Links for the names that are there, and none for those that went.
fn link_names(directory: &Path, files: &Files) -> io::Result<()> {
    let wanted: BTreeSet<_> =
        files.keys().filter_map(|path| path.components().next()).map(|name| PathBuf::from(name.as_os_str())).collect();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = PathBuf::from(entry.file_name());
        let internal = entry.file_name().to_string_lossy().starts_with("..");
        if !internal && !wanted.contains(&name) && entry.file_type()?.is_symlink() {
            std::fs::remove_file(entry.path())?;
        }
    }
    for name in wanted {
        match symlink(Path::new(DATA).join(&name), directory.join(&name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// What a volume says now.
///
/// # Errors
/// The operating system's.
pub fn read(directory: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    let data = directory.join(DATA);
    let mut pending = vec![data.clone()];
    while let Some(next) = pending.pop() {
        let entries = match std::fs::read_dir(&next) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
                continue;
            }
            let mode = entry.metadata()?.permissions().mode() & 0o777;
            let path = entry.path().strip_prefix(&data).map(Path::to_path_buf).unwrap_or_default();
            files.insert(path, File { bytes: std::fs::read(entry.path())?, mode });
        }
    }
    Ok(files)
}

fn is_plain(path: &Path) -> bool {
    let mut parts = path.components().peekable();
    let internal = |part: &Component| part.as_os_str().to_string_lossy().starts_with("..");
    parts.peek().is_some_and(|first| !internal(first)) && parts.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(entries: &[(&str, &str)]) -> Files {
        let file = |text: &str| File { bytes: text.as_bytes().to_vec(), mode: 0o644 };
        entries.iter().map(|(path, text)| (PathBuf::from(path), file(text))).collect()
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).expect("a directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with("..")).collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_replaced_all_at_once() {
        let root = tempfile::tempdir().expect("a directory");
        let volume = root.path().join("v");
        write(&volume, "1", &files(&[("a", "1"), ("sub/b", "2")])).expect("a write");
        assert_eq!(std::fs::read_to_string(volume.join("sub/b")).expect("a file"), "2");
        assert_eq!(names(&volume), ["a", "sub"]);
        write(&volume, "2", &files(&[("a", "new"), ("c", "3")])).expect("a write");
        assert_eq!(std::fs::read_to_string(volume.join("a")).expect("a file"), "new");
        assert_eq!(names(&volume), ["a", "c"]);
        assert_eq!(std::fs::read_link(volume.join("..data")).expect("a link"), Path::new("..2"));
        assert!(!volume.join("..1").exists(), "the old version is deleted");
    }

    #[test]
    fn the_same_files_are_left_alone() {
        let root = tempfile::tempdir().expect("a directory");
        write(root.path(), "1", &files(&[("a", "1")])).expect("a write");
        write(root.path(), "2", &files(&[("a", "1")])).expect("a write");
        assert_eq!(std::fs::read_link(root.path().join("..data")).expect("a link"), Path::new("..1"));
        let mut other = files(&[("a", "1")]);
        other.values_mut().for_each(|file| file.mode = 0o400);
        write(root.path(), "3", &other).expect("a write");
        assert_eq!(read(root.path()).expect("files"), other);
    }

    #[test]
    fn no_file_leads_out() {
        let root = tempfile::tempdir().expect("a directory");
        for path in ["../a", "/a", "..data", "a/../../b", ""] {
            assert!(write(root.path(), "1", &files(&[(path, "1")])).is_err(), "{path}");
        }
    }
}
