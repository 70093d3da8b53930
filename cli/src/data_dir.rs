//! The data directory of a server: what is in it, who may change it, and how it
//! is removed without taking anything else along.

use crate::{args::Up, control, kubeconfig::Document};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// What a server and its commands make; nothing else is ever removed.
const OURS: [&str; 13] = [
    crate::compose::STORE_DIRECTORY,
    "store.restoring",
    "pki",
    "images",
    "cache",
    "nodes",
    "kubeconfig",
    control::SOCKET,
    LOG,
    OLD_LOG,
    SETTINGS,
    "server.lock",
    CHANGES_LOCK,
];

/// What the server says in the background, and what it said before that.
const LOG: &str = "server.log";
const OLD_LOG: &str = "server.log.1";

/// How the server was last started in the background.
const SETTINGS: &str = "up.json";

/// Held by who starts or stops the server.
const CHANGES_LOCK: &str = "up.lock";

/// A data directory, by its absolute path. It need not exist.
#[derive(Clone, Debug)]
pub struct DataDir {
    path: PathBuf,
}

/// How a server is started in the background.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    nodes: u32,
    listen: SocketAddr,
    server_flags: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { nodes: 1, listen: ([127, 0, 0, 1], 6443).into(), server_flags: Vec::new() }
    }
}

impl Settings {
    /// What was typed, and what was not as the last time.
    pub fn of(args: &Up, last: &Self) -> Self {
        Self {
            nodes: args.nodes.unwrap_or(last.nodes),
            listen: args.listen.unwrap_or(last.listen),
            server_flags: if args.server_flags.is_empty() {
                last.server_flags.clone()
            } else {
                args.server_flags.clone()
            },
        }
    }

    /// As flags of `wk server`.
    pub fn to_args(&self) -> Vec<String> {
        let Self { nodes, listen, server_flags } = self;
        let mut args = vec!["--nodes".to_owned(), nodes.to_string(), "--listen".to_owned(), listen.to_string()];
        args.extend(server_flags.iter().cloned());
        args
    }
}

impl DataDir {
    /// The directory at `path`.
    ///
    /// # Errors
    /// When the current directory is gone and `path` is relative to it.
    pub fn new(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self { path: std::path::absolute(path).context("find the data directory")? })
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it, for its owner alone.
    ///
    /// # Errors
    /// When it cannot be made or protected.
    pub fn prepare(&self) -> Result<()> {
        let path = &self.path;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.with_context(|| format!("make the data directory {}", path.display()))?;
        // Keys and Secrets live here; a directory made by hand may be open to all.
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .with_context(|| format!("protect the data directory {}", path.display()))
    }

    /// Waits until nobody else starts or stops the server, and keeps others from it.
    ///
    /// # Errors
    /// When the lock cannot be had.
    pub fn lock_changes(&self) -> Result<File> {
        let path = self.path.join(CHANGES_LOCK);
        loop {
            let open = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
            let file = match open {
                // Whoever held it has removed it with the directory.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.prepare()?;
                    continue;
                }
                open => open.with_context(|| format!("open {}", path.display()))?,
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let _ = writeln!(io::stderr(), "another `wk up` or `wk down` is at work; waiting for it");
                    file.lock().with_context(|| format!("lock {}", path.display()))?;
                }
                Err(TryLockError::Error(error)) => return Err(error).context(format!("lock {}", path.display())),
            }
            // Who held it may have removed it with the directory.
            let (ours, there) = (file.metadata()?.ino(), fs::metadata(&path).map(|found| found.ino()));
            match there {
                Ok(there) if there == ours => return Ok(file),
                _ => self.prepare()?,
            }
        }
    }

    /// Where the server's log is.
    pub fn log_path(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// The log, to append to.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_log(&self) -> Result<File> {
        let path = self.log_path();
        let opened = File::options().create(true).append(true).mode(0o600).open(&path);
        opened.with_context(|| format!("open {}", path.display()))
    }

    /// Bytes in the log.
    pub fn log_length(&self) -> u64 {
        fs::metadata(self.log_path()).map(|found| found.len()).unwrap_or(0)
    }

    /// The kubeconfig that the server wrote.
    ///
    /// # Errors
    /// When it has not, or it cannot be read.
    pub fn kubeconfig(&self) -> Result<Document> {
        let path = self.path.join("kubeconfig");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Document::parse(&text).with_context(|| format!("understand {}", path.display()))
    }

    /// How the server was last started in the background; the defaults when it
    /// never was.
    ///
    /// # Errors
    /// When that cannot be read or understood: a server with other settings, fewer
    /// nodes say, would lose what runs there.
    pub fn settings(&self) -> Result<Settings> {
        let path = self.path.join(SETTINGS);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Settings::default()),
            text => text.with_context(|| format!("read {}", path.display()))?,
        };
        serde_json::from_slice(&text).with_context(|| {
            let path = path.display();
            format!("{path} is damaged: remove it, and give `wk up` the flags that this cluster was started with")
        })
    }

    /// Remembers how the server is started.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn remember(&self, settings: &Settings) -> Result<()> {
        if self.settings().is_ok_and(|last| last == *settings) {
            return Ok(());
        }
        let path = self.path.join(SETTINGS);
        let text = serde_json::to_vec_pretty(settings).context("write the settings")?;
        let mut file = tempfile::NamedTempFile::new_in(&self.path).context("write the settings")?;
        file.write_all(&text).and_then(|()| file.as_file().sync_all()).context("write the settings")?;
        file.persist(&path).with_context(|| format!("write {}", path.display()))?;
        Ok(())
    }

    /// Bytes of disk that it takes. Files that go meanwhile do not count.
    pub fn disk_bytes(&self) -> u64 {
        disk_bytes(&self.path)
    }

    /// Removes what a server and its commands have made, and the directory when
    /// nothing else is in it; the names of what else is.
    ///
    /// # Errors
    /// What cannot be removed.
    pub fn purge(&self) -> Result<Vec<String>> {
        for name in OURS {
            let path = self.path.join(name);
            let removed = match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
                Ok(_) => fs::remove_file(&path),
                Err(error) => Err(error),
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("remove {}", path.display()));
                }
                _ => {}
            }
        }
        let mut left: Vec<_> = match fs::read_dir(&self.path) {
            Ok(entries) => entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect(),
            Err(_) => return Ok(Vec::new()),
        };
        left.sort();
        if left.is_empty() {
            match fs::remove_dir(&self.path) {
                // Somebody who waited for the lock has begun anew.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                removed => removed.with_context(|| format!("remove {}", self.path.display()))?,
            }
        }
        Ok(left)
    }
}

/// As `du` counts: blocks, not lengths, and no links.
fn disk_bytes(path: &Path) -> u64 {
    let Ok(found) = fs::symlink_metadata(path) else { return 0 };
    let own = found.blocks() * 512;
    if !found.is_dir() {
        return own;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    own + entries.map(|entry| disk_bytes(&entry.path())).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(nodes: Option<u32>, flags: &[&str]) -> Up {
        let server_flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Up { nodes, listen: None, wait: "0s".to_owned(), no_kubeconfig: false, server_flags }
    }

    #[test]
    fn what_is_not_typed_is_as_the_last_time() {
        let directory = tempfile::tempdir().expect("a directory");
        let data_dir = DataDir::new(directory.path()).expect("absolute");
        let last = || data_dir.settings().expect("readable");
        let first = Settings::of(&up(Some(3), &["--roles", "apiserver"]), &last());
        assert_eq!(first.to_args(), ["--nodes", "3", "--listen", "127.0.0.1:6443", "--roles", "apiserver"]);
        data_dir.remember(&first).expect("writes");
        assert_eq!(Settings::of(&up(None, &[]), &last()), first);
        assert_eq!(Settings::of(&up(Some(1), &[]), &last()).nodes, 1);
    }

    #[test]
    fn settings_that_were_torn_are_not_taken_for_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let data_dir = DataDir::new(directory.path()).expect("absolute");
        data_dir.remember(&Settings { nodes: 3, ..Settings::default() }).expect("writes");
        let path = directory.path().join(SETTINGS);
        let whole = fs::read(&path).expect("written");
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).expect("writable");
            let error = data_dir.settings().expect_err("torn").to_string();
            assert!(error.contains("up.json is damaged: remove it"), "{error}");
        }
        fs::remove_file(&path).expect("removable");
        assert_eq!(data_dir.settings().expect("none"), Settings::default());
    }

    #[test]
    fn a_purge_removes_what_is_ours_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let data_dir = DataDir::new(directory.path().join("data")).expect("absolute");
        data_dir.prepare().expect("makes it");
        fs::create_dir_all(data_dir.path().join("store/deep")).expect("makes it");
        fs::write(data_dir.path().join("kubeconfig"), "").expect("writes");
        fs::write(data_dir.path().join("thesis.txt"), "mine").expect("writes");
        assert_eq!(data_dir.purge().expect("purges"), ["thesis.txt"]);
        assert!(!data_dir.path().join("store").exists() && data_dir.path().join("thesis.txt").exists());
        fs::remove_file(data_dir.path().join("thesis.txt")).expect("removes");
        assert!(data_dir.purge().expect("purges").is_empty());
        assert!(!data_dir.path().exists());
        assert!(data_dir.purge().expect("nothing is left to do").is_empty());
    }

    #[test]
    fn a_lock_of_a_removed_directory_is_taken_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let data_dir = DataDir::new(directory.path().join("data")).expect("absolute");
        data_dir.prepare().expect("makes it");
        let held = data_dir.lock_changes().expect("free");
        let waiting = std::thread::spawn({
            let data_dir = data_dir.clone();
            move || data_dir.lock_changes().map(drop)
        });
        data_dir.purge().expect("purges");
        drop(held);
        waiting.join().expect("no panic").expect("takes a lock of a new directory");
        assert!(data_dir.path().join(CHANGES_LOCK).exists());
    }
}
