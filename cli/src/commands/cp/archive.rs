//! Files to a tar archive and back. What comes out of a container is not
//! trusted: nothing is written outside the destination.

use anyhow::{Context, Result};
use bytes::Bytes;
use std::{
    io::{self, Read, Write},
    path::{Component, Path, PathBuf},
};
use tokio::sync::mpsc;

/// Sends the archive of a file or directory, under a new name.
pub(super) fn pack(from: &Path, name: &str, sender: mpsc::Sender<Vec<u8>>) -> Result<()> {
    let mut builder = tar::Builder::new(io::BufWriter::with_capacity(32 * 1024, Sender { sender }));
    builder.follow_symlinks(false);
    let added = if from.is_dir() {
        builder.append_dir_all(name, from)
    } else {
        // A link that is named itself means its target, as for `cp`.
        let mut file = std::fs::File::open(from).with_context(|| format!("read {}", from.display()))?;
        builder.append_file(name, &mut file)
    };
    added.with_context(|| format!("read {}", from.display()))?;
    builder.into_inner().and_then(|mut writer| writer.flush()).context("send the files")
}

/// Writes the archive below `to`: the part of each name after `prefix`. The
/// count of entries.
///
/// # Errors
/// Unreadable archive, unwritable files. Links and names that lead outside are
/// left out and said.
pub(super) fn unpack(pieces: mpsc::Receiver<Bytes>, prefix: &str, to: &Path) -> Result<usize> {
    let mut archive = tar::Archive::new(Receiver { pieces, current: Bytes::new() });
    let mut count = 0;
    for entry in archive.entries().context("read the archive")? {
        let mut entry = entry.context("read the archive")?;
        let name = entry.path().context("read a name in the archive")?.into_owned();
        let Some(target) = target(&name, prefix, to) else {
            warn(&format!("warning: file {:?} is outside target destination, skipping", name.display().to_string()));
            continue;
        };
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            std::fs::create_dir_all(&target).with_context(|| format!("make {}", target.display()))?;
        } else if kind.is_file() {
            write_file(&mut entry, &target, to)?;
        } else {
            warn(&format!("warning: skipping symlink: {:?}", name.display().to_string()));
            continue;
        }
        count += 1;
    }
    Ok(count)
}

fn warn(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Where an entry goes; `None` when its name leads elsewhere.
fn target(name: &Path, prefix: &str, to: &Path) -> Option<PathBuf> {
    let plain = |path: &Path| -> Option<PathBuf> {
        let mut plain = PathBuf::new();
        for part in path.components() {
            match part {
                Component::Normal(part) => plain.push(part),
                Component::CurDir | Component::RootDir => {}
                Component::ParentDir | Component::Prefix(_) => return None,
            }
        }
        Some(plain)
    };
    // The prefix was typed by the user, so dots in it are as `tar` leaves them.
    let name = name.strip_prefix(prefix).ok().map(Path::to_owned).or_else(|| {
        let (name, prefix) = (plain(name)?, plain(Path::new(prefix))?);
        name.strip_prefix(prefix).ok().map(Path::to_owned)
    })?;
    let rest = plain(&name)?;
    Some(if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) })
}

fn write_file(entry: &mut impl Read, target: &Path, to: &Path) -> Result<()> {
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if target != to {
        std::fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    }
    // Nothing is written through a link that lies in the way.
    if std::fs::symlink_metadata(target).is_ok_and(|metadata| metadata.is_symlink()) && target != to {
        warn(&format!("warning: {:?} is a link, skipping", target.display().to_string()));
        return Ok(());
    }
    let mut file = std::fs::File::create(target).with_context(|| format!("write {}", target.display()))?;
    io::copy(entry, &mut file).with_context(|| format!("write {}", target.display()))?;
    Ok(())
}

struct Sender {
    sender: mpsc::Sender<Vec<u8>>,
}

impl Write for Sender {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let closed = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.sender.blocking_send(data.to_vec()).map_err(closed)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Receiver {
    pieces: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for Receiver {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packs in one thread and unpacks in this one.
    fn copy(from: &Path, name: &str, prefix: &str, to: &Path) -> usize {
        let (packed, mut pieces) = mpsc::channel(4);
        let (sender, receiver) = mpsc::channel(4);
        let from = from.to_owned();
        std::thread::scope(|scope| {
            scope.spawn(|| pack(&from, name, packed).expect("readable"));
            scope.spawn(move || {
                while let Some(piece) = pieces.blocking_recv() {
                    sender.blocking_send(Bytes::from(piece)).expect("open");
                }
            });
            unpack(receiver, prefix, to).expect("an archive")
        })
    }

    #[test]
    fn directories_come_back_as_they_were() {
        let (from, to) = (tempfile::tempdir().expect("made"), tempfile::tempdir().expect("made"));
        std::fs::create_dir(from.path().join("sub")).expect("made");
        std::fs::write(from.path().join("sub/file"), vec![7; 100_000]).expect("written");
        copy(from.path(), "tmp/data", "tmp/data", &to.path().join("copy"));
        assert_eq!(std::fs::read(to.path().join("copy/sub/file")).expect("copied"), vec![7; 100_000]);
    }

    #[test]
    fn a_file_takes_its_new_name() {
        let directory = tempfile::tempdir().expect("made");
        std::fs::write(directory.path().join("a"), "x").expect("written");
        let to = directory.path().join("b");
        assert_eq!(copy(&directory.path().join("a"), "etc/a", "etc/a", &to), 1);
        assert_eq!(std::fs::read_to_string(to).expect("copied"), "x");
    }

    #[test]
    fn names_that_lead_outside_are_refused() {
        let to = Path::new("/dest");
        assert_eq!(target(Path::new("data/a"), "data", to), Some("/dest/a".into()));
        assert_eq!(target(Path::new("data/./a"), "data", to), Some("/dest/a".into()));
        assert_eq!(target(Path::new("data"), "data", to), Some("/dest".into()));
        for name in ["data/../x", "../x", "other/x", "data/a/../../x"] {
            assert_eq!(target(Path::new(name), "data", to), None, "{name}");
        }
    }
}
