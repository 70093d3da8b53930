//! Where commands come from: a text, a file, standard input.

use super::{
    Flow, Shell,
    parser::{Error, Parser},
};
use crate::host::{Errno, File};

/// The longest script; the host bounds memory too, but this says why.
const SCRIPT_BYTES_MAX: usize = 16 << 20;

impl Shell {
    /// Runs a text line by line, so that what stands before an error is done.
    pub(super) fn run_text(&mut self, text: &str) -> Result<u8, Flow> {
        let mut parser = Parser::new(text);
        let mut code = 0;
        loop {
            let start = parser.position();
            match parser.line() {
                Ok(Some(list)) => {
                    if self.options.verbose {
                        let line = &text.as_bytes()[start..parser.position()];
                        let _ = self.files.get(&2).map(|stderr| stderr.write(line));
                    }
                    if !self.options.noexec {
                        code = self.run_list(&list)?;
                    }
                }
                Ok(None) => return Ok(code),
                Err(error) => {
                    self.complain(&error.to_string());
                    return Err(Flow::Fatal(2));
                }
            }
        }
    }

    pub(super) fn run_file(&mut self, file: &File) -> Result<u8, Flow> {
        let mut bytes = Vec::new();
        while let Ok(more) = file.read(64 * 1024) {
            if more.is_empty() {
                break;
            }
            bytes.extend(more);
            if bytes.len() > SCRIPT_BYTES_MAX {
                return Err(self.fatal("script too long"));
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.run_text(&text)
    }

    /// Reads commands as they are needed: what they read follows them.
    pub(super) fn run_stdin(&mut self) -> Result<u8, Flow> {
        let mut code = 0;
        let mut text = String::new();
        loop {
            let Some(stdin) = self.files.get(&0).cloned() else { return Ok(code) };
            let line = read_line(&stdin);
            let at_end = !line.ends_with('\n');
            text.push_str(&line);
            if text.len() > SCRIPT_BYTES_MAX {
                return Err(self.fatal("command too long"));
            }
            let mut parser = Parser::new(&text);
            match parser.line() {
                Ok(Some(list)) => code = self.run_list(&list)?,
                Ok(None) => {}
                Err(Error::Incomplete(_)) if !at_end => continue,
                Err(error) => {
                    self.complain(&error.to_string());
                    return Err(Flow::Fatal(2));
                }
            }
            text.clear();
            if at_end {
                return Ok(code);
            }
        }
    }
}

/// A line with its newline, and not a byte more: others read what follows.
pub fn read_line(file: &File) -> String {
    // What cannot be read is the end.
    read_line_by(|| Ok(file.read(1).unwrap_or_default())).unwrap_or_default()
}

/// The same, while a caught signal may come first.
///
/// # Errors
/// [`Errno::Interrupted`] then; what was read is lost, as in other shells.
pub fn read_line_or_signal(file: &File) -> Result<String, Errno> {
    read_line_by(|| match file.read_or_signal(1, None) {
        Err(Errno::Interrupted) => Err(Errno::Interrupted),
        read => Ok(read.unwrap_or_default()),
    })
}

fn read_line_by(mut read: impl FnMut() -> Result<Vec<u8>, Errno>) -> Result<String, Errno> {
    let mut line = Vec::new();
    loop {
        let byte = read()?;
        line.extend(&byte);
        if byte.is_empty() || byte == b"\n" || line.len() > SCRIPT_BYTES_MAX {
            return Ok(String::from_utf8_lossy(&line).into_owned());
        }
    }
}
