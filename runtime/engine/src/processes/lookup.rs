//! From a command line to a program: names, paths, `PATH`, scripts with `#!`.
//!
//! ```text
//! arguments ─▶ a name or path ─▶ the image's program, or one of the toolbox
//!      ▲                     └─▶ a file: "#!" ─▶ its interpreter ─┐
//!      └──────────────────────────────────────────────────────────┘
//! ```
//!
//! As execvp(3) and Linux's binfmt_script, with one difference: there are no
//! execute permissions. WASI has none, so nothing in a container could give them,
//! and a file that `cp` or a ConfigMap brings would lack them. Any regular file may
//! be executed; its first bytes say whether it can be. A file without `#!` is for
//! the shell to run, as POSIX says.

use crate::{
    files::{Access, Disk},
    run::Preopen,
    toolbox::{self, Origin, Toolbox},
};
use std::io;
use wk_images::ImageRecord;

/// Scripts that are each other's interpreters (Linux's limit).
const INTERPRETERS_MAX: usize = 4;

/// Bytes of a script's first line (Linux's `BINPRM_BUF_SIZE`).
const LINE_BYTES_MAX: usize = 256;

/// Where `PATH` leads when it is not set.
pub(crate) const DEFAULT_SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a command cannot be executed, in the words of runc.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CannotExecute {
    /// There is no such program, or no such interpreter.
    #[error("{0}")]
    Missing(String),
    /// It is a directory, or outside of the container.
    #[error("exec: {0:?}: permission denied")]
    Denied(String),
    /// It is no script.
    #[error("exec {0}: exec format error")]
    Format(String),
}

/// Where programs are looked for.
pub(crate) struct Places<'a> {
    pub image: &'a ImageRecord,
    pub toolbox: Option<&'a Toolbox>,
    pub preopens: &'a [Preopen],
    /// `PATH`.
    pub search: &'a str,
    /// Where relative paths begin.
    pub directory: &'a str,
}

/// A program, and what it is to be called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Executable {
    pub origin: Origin,
    pub arguments: Vec<String>,
}

/// What a name means.
enum Found {
    Program { origin: Origin, path: String },
    File { path: String, head: Vec<u8> },
}

impl Places<'_> {
    /// The program that a command line means.
    ///
    /// # Errors
    /// [`CannotExecute`].
    pub async fn resolve(&self, mut arguments: Vec<String>) -> Result<Executable, CannotExecute> {
        let mut script = None;
        for _ in 0..=INTERPRETERS_MAX {
            let name = arguments.first().cloned().unwrap_or_default();
            let found = self.find(&name).await.map_err(|error| of_script(script.as_deref(), error))?;
            let (path, head) = match found {
                Found::Program { origin, .. } => return Ok(Executable { origin, arguments }),
                Found::File { path, head } => (path, head),
            };
            let interpreter = interpreter(&head).ok_or_else(|| CannotExecute::Format(path.clone()))?;
            arguments.splice(0..1, interpreter.into_iter().chain([path.clone()]));
            script.get_or_insert(path);
        }
        Err(CannotExecute::Format(script.unwrap_or_default()))
    }

    /// Where a program is, for who only asks.
    pub async fn locate(&self, name: &str) -> Option<String> {
        match self.find(name).await.ok()? {
            Found::Program { path, .. } | Found::File { path, .. } => Some(path),
        }
    }

    async fn find(&self, name: &str) -> Result<Found, CannotExecute> {
        if name.contains('/') { self.find_path(name).await } else { self.find_name(name).await }
    }

    async fn find_path(&self, name: &str) -> Result<Found, CannotExecute> {
        let path = if name.starts_with('/') { name.to_owned() } else { format!("{}/{name}", self.directory) };
        let read = self.head(&path).await;
        if let Ok(head) = read {
            return Ok(Found::File { path: name.to_owned(), head });
        }
        match (toolbox::locate(self.image, self.toolbox, &path), read) {
            (Some(origin), _) => Ok(Found::Program { origin, path: name.to_owned() }),
            (None, Err(error)) if is_missing(&error) => Err(missing(name)),
            (None, _) => Err(CannotExecute::Denied(name.to_owned())),
        }
    }

    async fn find_name(&self, name: &str) -> Result<Found, CannotExecute> {
        if toolbox::is_program_of(self.image, name) {
            return Ok(Found::Program { origin: Origin::Image, path: format!("/bin/{name}") });
        }
        for directory in self.search.split(':').filter(|_| !name.is_empty()) {
            let directory = if directory.is_empty() { self.directory } else { directory };
            let path = format!("{}/{name}", directory.trim_end_matches('/'));
            if let Some(origin) = toolbox::locate(self.image, self.toolbox, &path) {
                return Ok(Found::Program { origin, path: format!("/bin/{name}") });
            }
            if let Ok(head) = self.head(&path).await {
                return Ok(Found::File { path, head });
            }
        }
        Err(missing(name))
    }

    async fn head(&self, path: &str) -> io::Result<Vec<u8>> {
        Disk::open(self.preopens, path, Access::Read).await?.read(LINE_BYTES_MAX).await.map(Vec::from)
    }
}

fn missing(name: &str) -> CannotExecute {
    CannotExecute::Missing(if name.contains('/') {
        format!("exec: {name:?}: stat {name}: no such file or directory")
    } else {
        format!("exec: {name:?}: executable file not found in $PATH")
    })
}

/// An interpreter that cannot be had is the script's error.
fn of_script(script: Option<&str>, error: CannotExecute) -> CannotExecute {
    match (script, error) {
        (Some(script), CannotExecute::Missing(_)) => {
            CannotExecute::Missing(format!("exec {script}: no such file or directory"))
        }
        (Some(script), CannotExecute::Denied(_)) => CannotExecute::Denied(script.to_owned()),
        (_, error) => error,
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What a script's first line names: the interpreter, and the one argument that
/// the rest of the line is.
fn interpreter(head: &[u8]) -> Option<Vec<String>> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    let blank = [' ', '\t'];
    let line = line.trim_matches(blank);
    let (interpreter, argument) = line.split_once(blank).unwrap_or((line, ""));
    let argument = argument.trim_start_matches(blank);
    let words = [interpreter, argument].into_iter().filter(|word| !word.is_empty());
    Some(words.map(str::to_owned).collect()).filter(|words: &Vec<String>| !words.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use wk_images::{ImageDigest, WasmKind};

    const TOOLBOX: Toolbox = Toolbox { wasm: b"", code: b"", programs: &["env", "ls", "sh"] };

    struct Fixture {
        _directory: tempfile::TempDir,
        preopens: Vec<Preopen>,
        image: ImageRecord,
    }

    /// A root with these files, and an image whose program is `web`.
    fn fixture(files: &[(&str, &str)]) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let root = Preopen { host: directory.path().to_owned(), guest: "/".to_owned(), readonly: false };
        let image = ImageRecord {
            digest: ImageDigest::of(b"web"),
            size_bytes: 3,
            tags: Vec::new(),
            kind: WasmKind::Component,
            entrypoint: vec!["web".to_owned()],
            args: Vec::new(),
            env: Vec::new(),
            working_dir: String::new(),
        };
        Fixture { _directory: directory, preopens: vec![root], image }
    }

    impl Fixture {
        /// The arguments it is called with; `web` is the image's program.
        async fn resolve(&self, arguments: &[&str]) -> Result<String, CannotExecute> {
            let places = Places {
                image: &self.image,
                toolbox: Some(&TOOLBOX),
                preopens: &self.preopens,
                search: "/scripts:/usr/bin:/bin",
                directory: "/tmp",
            };
            let found = places.resolve(arguments.iter().map(|word| (*word).to_owned()).collect()).await?;
            let origin = if found.origin == Origin::Image { "image" } else { "toolbox" };
            Ok(format!("{origin}: {}", found.arguments.join("|")))
        }

        async fn error(&self, name: &str) -> String {
            self.resolve(&[name]).await.unwrap_err().to_string()
        }
    }

    #[tokio::test]
    async fn a_script_becomes_its_interpreter_with_one_argument_at_most() {
        let fixture = fixture(&[
            ("tmp/a", "#!/bin/sh\necho"),
            ("tmp/b", "#! /bin/sh  -e  x \n"),
            ("tmp/c", "#!/usr/bin/env sh"),
            ("tmp/d", "#!/tmp/b two\n"),
            ("tmp/e", "#!/app/web --serve\n"),
            ("scripts/hello", "#!/bin/sh\n"),
            ("scripts/ls", "#!/bin/sh\n"),
        ]);
        for (called, expected) in [
            (&["/tmp/a", "one"][..], "toolbox: /bin/sh|/tmp/a|one"),
            (&["./b", "one"], "toolbox: /bin/sh|-e  x|./b|one"),
            (&["../tmp/c"], "toolbox: /usr/bin/env|sh|../tmp/c"),
            (&["/tmp/d", "x"], "toolbox: /bin/sh|-e  x|/tmp/b|two|/tmp/d|x"),
            (&["/tmp/e"], "image: /app/web|--serve|/tmp/e"),
            (&["hello", "x"], "toolbox: /bin/sh|/scripts/hello|x"),
            (&["ls"], "toolbox: /bin/sh|/scripts/ls"),
            (&["/bin/ls", "-l"], "toolbox: /bin/ls|-l"),
            (&["sh"], "toolbox: sh"),
            (&["web"], "image: web"),
        ] {
            assert_eq!(fixture.resolve(called).await.as_deref(), Ok(expected));
        }
    }

    #[tokio::test]
    async fn what_cannot_be_executed_says_why() {
        let fixture = fixture(&[
            ("tmp/text", "echo"),
            ("tmp/empty", "#!\n"),
            ("tmp/bash", "#!/bin/bash\n"),
            ("tmp/dos", "#!/bin/sh\r\n"),
            ("tmp/loop", "#!/tmp/loop\n"),
            ("tmp/directory/file", ""),
        ]);
        assert_eq!(fixture.error("nosuch").await, "exec: \"nosuch\": executable file not found in $PATH");
        assert_eq!(fixture.error("").await, "exec: \"\": executable file not found in $PATH");
        assert_eq!(fixture.error("/no/such").await, "exec: \"/no/such\": stat /no/such: no such file or directory");
        assert_eq!(fixture.error("/tmp/directory").await, "exec: \"/tmp/directory\": permission denied");
        assert_eq!(fixture.error("/tmp/text").await, "exec /tmp/text: exec format error");
        assert_eq!(fixture.error("/tmp/empty").await, "exec /tmp/empty: exec format error");
        assert_eq!(fixture.error("/tmp/bash").await, "exec /tmp/bash: no such file or directory");
        assert_eq!(fixture.error("/tmp/dos").await, "exec /tmp/dos: no such file or directory");
        assert_eq!(fixture.error("/tmp/loop").await, "exec /tmp/loop: exec format error");
    }
}
