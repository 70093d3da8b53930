//! Kubeconfig files: how several become one, and how one is changed without
//! losing what this program does not know.
//!
//! The rules are client-go's (`tools/clientcmd/loader.go`, `config.go`): of
//! several files the first that says something wins; an entry is changed in the
//! file that it came from, a new one goes into the first file that exists, or
//! else the last. Documents stay JSON values from reading to writing, so that
//! fields of newer clients survive. Used by [`crate::client`] and by the commands
//! that change kubeconfigs; does not talk to any cluster.

pub mod cluster;
mod document;
mod write;

pub use document::{Document, Section, encode};

use crate::args::Global;
use anyhow::{Context, Result};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The files of a kubeconfig, in order of precedence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    paths: Vec<PathBuf>,
}

/// One file as it was read.
#[derive(Clone, Debug)]
struct Source {
    path: PathBuf,
    exists: bool,
    document: Document,
}

/// A kubeconfig as it was read.
#[derive(Clone, Debug)]
pub struct Kubeconfig {
    sources: Vec<Source>,
}

impl Sources {
    /// `--kubeconfig`, else `$KUBECONFIG`, else `~/.kube/config`.
    ///
    /// # Errors
    /// When none of the three is set and there is no home directory.
    pub fn of(global: &Global) -> Result<Self> {
        if let Some(path) = &global.kubeconfig {
            return Ok(Self { paths: vec![path.clone()] });
        }
        let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
        let mut paths = Vec::new();
        for path in std::env::split_paths(&listed) {
            if !path.as_os_str().is_empty() && !paths.contains(&path) {
                paths.push(path);
            }
        }
        if paths.is_empty() {
            let home = crate::client::home().context("there is no $HOME with a kubeconfig; give --kubeconfig")?;
            paths.push(home.join(".kube/config"));
        }
        Ok(Self { paths })
    }

    /// Reads them. A file that does not exist is an empty one.
    ///
    /// # Errors
    /// When a file cannot be read or is no kubeconfig.
    pub fn read(&self) -> Result<Kubeconfig> {
        let sources = self.paths.iter().map(|path| Source::read(path)).collect::<Result<_>>()?;
        Ok(Kubeconfig { sources })
    }

    /// Reads them, changes them, and writes the files that have changed.
    ///
    /// # Errors
    /// As [`Sources::read`], what `change` says, and when a file cannot be written.
    pub fn edit<T>(&self, change: impl FnOnce(&mut Kubeconfig) -> Result<T>) -> Result<T> {
        // All at once, so that an entry cannot move between files meanwhile, and in
        // client-go's order, so that two programs cannot wait for each other.
        let mut order: Vec<_> = self.paths.iter().collect();
        order.sort();
        let _locks = order.into_iter().map(|path| write::Lock::take(path)).collect::<Result<Vec<_>>>()?;
        let mut kubeconfig = self.read()?;
        let before = kubeconfig.clone();
        let result = change(&mut kubeconfig)?;
        for (old, new) in before.sources.iter().zip(&kubeconfig.sources) {
            if old.document != new.document {
                write::replace(&new.path, &new.document.to_yaml())?;
            }
        }
        Ok(result)
    }
}

impl Source {
    fn read(path: &Path) -> Result<Self> {
        let (exists, text) = match std::fs::read_to_string(path) {
            Ok(text) => (true, text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (false, String::new()),
            Err(error) => return Err(error).with_context(|| format!("read kubeconfig {}", path.display())),
        };
        let document = Document::parse(&text)
            .with_context(|| format!("error loading config file {:?}", path.display().to_string()))?;
        Ok(Self { path: path.to_owned(), exists, document })
    }
}

impl Kubeconfig {
    /// Whether any of its files exists.
    pub fn exists(&self) -> bool {
        self.sources.iter().any(|source| source.exists)
    }

    /// All files as one, with absolute paths.
    pub fn merged(&self) -> Document {
        let mut merged = Document::default();
        for source in &self.sources {
            let base = std::path::absolute(&source.path).unwrap_or_else(|_| source.path.clone());
            let mut document = source.document.clone();
            document.resolve_paths(base.parent().unwrap_or(Path::new("/")));
            merged.add(&document);
        }
        merged
    }

    /// The file that new things go into.
    pub fn default_path(&self) -> &Path {
        &self.sources[self.default_source()].path
    }

    fn default_source(&self) -> usize {
        self.sources.iter().position(|source| source.exists).unwrap_or(self.sources.len() - 1)
    }

    /// The document that an entry is in, or would go into.
    pub fn document_of(&mut self, section: Section, name: &str) -> &mut Document {
        let holds = |source: &Source| source.document.get(section, name).is_some();
        let index = self.sources.iter().position(holds).unwrap_or_else(|| self.default_source());
        &mut self.sources[index].document
    }

    /// Makes a context the current one; an empty name makes none.
    pub fn set_current_context(&mut self, name: &str) {
        let naming = self.sources.iter().position(|source| source.document.current_context().is_some());
        let index = if name.is_empty() { naming.unwrap_or(0) } else { self.default_source() };
        self.sources[index].document.set_current_context(name);
        // An earlier file that exists is the default, so nothing before it says otherwise.
    }

    /// Removes an entry from every file; whether there was one.
    pub fn remove(&mut self, section: Section, name: &str) -> bool {
        let mut removed = false;
        for source in &mut self.sources {
            removed |= source.document.remove(section, name);
        }
        removed
    }
}

#[cfg(test)]
mod tests;
