//! Changing a kubeconfig that others use too: under client-go's lock, as a whole
//! or not at all, readable by its owner alone.

use anyhow::{Context, Result, bail};
use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// How often, and with which pause, a lock that another program holds is tried
/// for: two seconds, far longer than a client takes to write a file.
const TRIES: usize = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// `PATH.lock`, which client-go and kind honour too (`clientcmd.lockFile`).
pub(super) struct Lock {
    path: PathBuf,
}

impl Lock {
    pub fn take(path: &Path) -> Result<Self> {
        let mut name = OsString::from(path);
        name.push(".lock");
        let lock = PathBuf::from(name);
        make_parent(path)?;
        for attempt in 0..TRIES {
            match File::options().write(true).create_new(true).open(&lock) {
                Ok(_) => return Ok(Self { path: lock }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("lock kubeconfig {}", path.display())),
            }
            if attempt + 1 < TRIES {
                thread::sleep(PAUSE);
            }
        }
        bail!("kubeconfig {} is locked; if no other program is changing it, remove {}", path.display(), lock.display())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Nobody can be told; the next who wants it is told how to go on.
        let _ = fs::remove_file(&self.path);
    }
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = DirBuilder::new().recursive(true).mode(0o755).create(parent);
    made.with_context(|| format!("make the directory {}", parent.display()))
}

/// Replaces the content of `path`. A link stays a link: the file it leads to is replaced.
pub(super) fn replace(path: &Path, text: &str) -> Result<()> {
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(_) => path.to_owned(), // it does not exist yet
    };
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        // Made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(parent)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&target)?;
        Ok(())
    };
    write().with_context(|| format!("write kubeconfig {}", path.display()))
}
