//! Files of a container's root and mounts, opened for `wk:toolbox/processes`.
//!
//! A path is resolved as the guest's own WASI would: the longest mount that
//! contains it, and below that by the kernel with `RESOLVE_BENEATH`, so that
//! neither `..` nor a symbolic link leads out. Reading and writing happen on
//! tokio's pool for blocking work. The position is the kernel's: all who hold the
//! description share it.

use crate::run::Preopen;
use bytes::Bytes;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// For reading; it must exist.
    Read,
    /// For writing, empty.
    Write,
    /// For writing, at its end.
    Append,
    /// For both, without losing what is there.
    ReadWrite,
}

/// An open file of the disk.
#[derive(Clone, Debug)]
pub(crate) struct Disk(Arc<File>);

impl Disk {
    /// Opens `path` (absolute; `..` stays within `/`) among what is mounted.
    ///
    /// # Errors
    /// The operating system's; `ReadOnlyFilesystem` in a read-only mount.
    pub async fn open(preopens: &[Preopen], path: &str, access: Access) -> io::Result<Self> {
        let path = normal(path);
        let none = || io::Error::from(io::ErrorKind::NotFound);
        let (mount, inside) = mount_of(preopens, &path).ok_or_else(none)?;
        if mount.readonly && access != Access::Read {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let (host, inside) = (mount.host.clone(), inside.to_owned());
        blocking(move || open_beneath(&host, &inside, access)).await
    }

    /// At most `size` bytes; none at the end. Cancel safety: a read that was
    /// begun moves the position all the same.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn read(&self, size: usize) -> io::Result<Bytes> {
        let file = self.0.clone();
        blocking(move || {
            let mut bytes = vec![0; size];
            let length = (&*file).read(&mut bytes)?;
            bytes.truncate(length);
            Ok(bytes.into())
        })
        .await
    }

    /// Writes all. Cancel safety: what was begun is written all the same.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn write(&self, bytes: Bytes) -> io::Result<()> {
        let file = self.0.clone();
        blocking(move || (&*file).write_all(&bytes)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Absolute and without `.` and `..`, as the shell's own paths are.
fn normal(path: &str) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => drop(normal.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    normal
}

/// The mount that a path is in, and the rest of the path.
fn mount_of<'a>(preopens: &'a [Preopen], path: &'a Path) -> Option<(&'a Preopen, &'a Path)> {
    let within = preopens.iter().filter_map(|mount| Some((mount, path.strip_prefix(&mount.guest).ok()?)));
    // Of two at the same place the later one covers the earlier.
    within.min_by_key(|(_, rest)| rest.components().count()).map(|(first, rest)| {
        let covering = preopens.iter().rev().find(|mount| mount.guest == first.guest);
        (covering.unwrap_or(first), rest)
    })
}

fn open_beneath(host: &Path, inside: &Path, access: Access) -> io::Result<Disk> {
    let root = rustix::fs::openat(CWD, host, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = match access {
        Access::Read => OFlags::RDONLY,
        Access::Write => OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC,
        Access::Append => OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND,
        Access::ReadWrite => OFlags::RDWR | OFlags::CREATE,
    };
    // A FIFO in a directory of the host must not make a thread wait.
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let mode = if access == Access::Read { Mode::empty() } else { Mode::from_raw_mode(0o666) };
    let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let opened: OwnedFd = rustix::fs::openat2(root, inside, flags, mode, beneath)?;
    let file = File::from(opened);
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_dir() {
        return Ok(Disk(Arc::new(file)));
    }
    // Devices and sockets of the host are not a container's business.
    Err(io::ErrorKind::PermissionDenied.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Fixture {
        _directory: tempfile::TempDir,
        root: PathBuf,
        preopens: Vec<Preopen>,
    }

    /// A root with a read-only mount at `/ro`, and a secret beside it.
    fn fixture() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let (root, ro) = (directory.path().join("root"), directory.path().join("mounted"));
        fs::create_dir_all(root.join("ro")).unwrap();
        fs::create_dir_all(&ro).unwrap();
        fs::write(ro.join("file"), "mounted").unwrap();
        fs::write(directory.path().join("secret"), "secret").unwrap();
        let preopens = vec![
            Preopen { host: root.clone(), guest: "/".to_owned(), readonly: false },
            Preopen { host: ro, guest: "/ro".to_owned(), readonly: true },
        ];
        Fixture { _directory: directory, root, preopens }
    }

    impl Fixture {
        async fn open(&self, path: &str, access: Access) -> io::Result<Disk> {
            Disk::open(&self.preopens, path, access).await
        }

        async fn read(&self, path: &str) -> io::Result<Bytes> {
            self.open(path, Access::Read).await?.read(100).await
        }
    }

    #[tokio::test]
    async fn each_access_does_what_its_name_says() {
        let fixture = fixture();
        let missing = fixture.open("/f", Access::Read).await.unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let file = fixture.open("/f", Access::Write).await.unwrap();
        file.write("one".into()).await.unwrap();
        file.clone().write("two".into()).await.unwrap();
        assert_eq!(fixture.read("/f").await.unwrap(), "onetwo", "clones share the position");
        fixture.open("/f", Access::Append).await.unwrap().write("!".into()).await.unwrap();
        fixture.open("/f", Access::ReadWrite).await.unwrap().write("ON".into()).await.unwrap();
        assert_eq!(fixture.read("/f").await.unwrap(), "ONetwo!");
        fixture.open("/f", Access::Write).await.unwrap();
        assert_eq!(fixture.read("/f").await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_mount_covers_the_root_and_may_be_read_only() {
        let fixture = fixture();
        assert_eq!(fixture.read("/ro/file").await.unwrap(), "mounted");
        assert_eq!(fixture.read("/x/../ro//./file").await.unwrap(), "mounted");
        for access in [Access::Write, Access::Append, Access::ReadWrite] {
            let refused = fixture.open("/ro/file", access).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ReadOnlyFilesystem, "{access:?}");
        }
    }

    #[tokio::test]
    async fn nothing_leads_out_of_the_root() {
        let fixture = fixture();
        std::os::unix::fs::symlink("../secret", fixture.root.join("relative")).unwrap();
        std::os::unix::fs::symlink(fixture.root.join("../secret"), fixture.root.join("absolute")).unwrap();
        std::os::unix::fs::symlink("..", fixture.root.join("up")).unwrap();
        for path in ["/../secret", "../secret", "/relative", "/absolute", "/up/secret", "/ro/../../secret"] {
            for access in [Access::Read, Access::Append] {
                if let Ok(opened) = fixture.open(path, access).await {
                    assert_ne!(opened.read(9).await.unwrap_or_default(), "secret", "{path}");
                }
            }
        }
        let secret = fs::read_to_string(fixture.root.join("../secret")).unwrap();
        assert_eq!(secret, "secret");
        assert!(fixture.open("/relative", Access::Read).await.is_err());
    }

    #[tokio::test]
    async fn a_fifo_of_the_host_is_refused_and_makes_nobody_wait() {
        let fixture = fixture();
        rustix::fs::mknodat(CWD, fixture.root.join("fifo"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        let refused = fixture.open("/fifo", Access::Read).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }
}
