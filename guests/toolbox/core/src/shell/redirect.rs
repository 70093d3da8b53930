//! Redirections: which file is behind which descriptor.

use super::{Flow, Shell, syntax::*};
use crate::{
    context::reason,
    host::{Access, Errno, File},
};
use std::{collections::BTreeMap, io, rc::Rc};

impl Shell {
    /// Changes `files`; false, and a message, when one cannot be opened.
    pub(super) fn redirect(&mut self, redirections: &[Redirection]) -> Result<bool, Flow> {
        for redirection in redirections {
            let file = match &redirection.kind {
                RedirectionKind::In(word) => self.open_for(word, Access::Read)?,
                RedirectionKind::Out(word) if self.options.noclobber => self.open_new(word)?,
                RedirectionKind::Out(word) | RedirectionKind::Clobber(word) => self.open_for(word, Access::Write)?,
                RedirectionKind::Append(word) => self.open_for(word, Access::Append)?,
                RedirectionKind::ReadWrite(word) => self.open_for(word, Access::ReadWrite)?,
                RedirectionKind::Here(body) => {
                    let text = match body.get() {
                        Some(body) => self.expand_text(&body.clone())?,
                        None => String::new(),
                    };
                    Some(self.host.file_of(text.into_bytes()))
                }
                RedirectionKind::Duplicate(word) => {
                    let text = self.expand_text(word)?;
                    if text == "-" {
                        self.files.remove(&redirection.fd);
                        continue;
                    }
                    match text.parse::<u32>().ok().and_then(|fd| self.files.get(&fd)) {
                        Some(file) => Some(Rc::clone(file)),
                        None => {
                            self.complain(&format!("{text}: Bad file descriptor"));
                            None
                        }
                    }
                }
            };
            let Some(file) = file else { return Ok(false) };
            self.files.insert(redirection.fd, file);
        }
        Ok(true)
    }

    fn open_new(&mut self, word: &Word) -> Result<Option<File>, Flow> {
        let path = self.expand_text(word)?;
        if self.path(&path).is_file() {
            self.complain(&format!("can't create {path}: File exists"));
            return Ok(None);
        }
        Ok(self.open_path(&path, Access::Write))
    }

    fn open_for(&mut self, word: &Word, access: Access) -> Result<Option<File>, Flow> {
        let path = self.expand_text(word)?;
        Ok(self.open_path(&path, access))
    }

    fn open_path(&mut self, path: &str, access: Access) -> Option<File> {
        let own = match path {
            "/dev/stdin" => self.files.get(&0),
            "/dev/stdout" => self.files.get(&1),
            "/dev/stderr" => self.files.get(&2),
            _ => None,
        };
        if let Some(file) = own {
            return Some(Rc::clone(file));
        }
        let opened = match path {
            "" => Err(Errno::NoEntry),
            path if path.ends_with('/') && access != Access::Read => Err(Errno::IsDirectory),
            path => self.host.open(&self.absolute(path), access),
        };
        match opened {
            Ok(file) => Some(file),
            Err(errno) => {
                let message = match (access, errno) {
                    (Access::Read, Errno::NoEntry) => format!("can't open {path}: no such file"),
                    (Access::Read, _) => format!("can't open {path}: {}", reason(&io::Error::from(errno))),
                    (_, Errno::NoEntry) => format!("can't create {path}: nonexistent directory"),
                    _ => format!("can't create {path}: {}", reason(&io::Error::from(errno))),
                };
                self.complain(&message);
                None
            }
        }
    }

    /// Runs with redirections that end with it; 1 when one cannot be opened.
    pub(super) fn with_redirections(
        &mut self,
        redirections: &[Redirection],
        run: impl FnOnce(&mut Self) -> Result<u8, Flow>,
    ) -> Result<u8, Flow> {
        if redirections.is_empty() {
            return run(self);
        }
        let before: BTreeMap<u32, File> = self.files.clone();
        let result = match self.redirect(redirections) {
            Ok(true) => run(self),
            Ok(false) => Ok(1),
            Err(flow) => Err(flow),
        };
        self.files = before;
        result
    }
}
