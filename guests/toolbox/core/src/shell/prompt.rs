//! A shell that a person types at: prompts, and what a terminal's keys do.
//!
//! With a terminal that can be raw, lines are edited here (`edit.rs`), because
//! only then ^C at the prompt can give a new prompt. Otherwise the host edits.

use super::{
    Flow, Shell,
    input::read_line_or_signal,
    parser::{Error, Parser},
    signals::INTERRUPTED,
};
use crate::{
    edit::{Editor, Line},
    host::End,
};

impl Shell {
    pub(super) fn converse(&mut self) -> Result<u8, Flow> {
        let mut editor = Editor::default();
        self.begin_conversation();
        let mut text = String::new();
        loop {
            self.report_jobs();
            let prompt = if text.is_empty() { self.prompt("PS1") } else { self.prompt("PS2") };
            match self.typed(&mut editor, &prompt) {
                Line::Text(line) => text.push_str(&line),
                Line::Interrupted => {
                    text.clear();
                    self.status = INTERRUPTED;
                    continue;
                }
                Line::Signalled => {
                    if let Err(Flow::Exit(code)) = self.run_traps(self.status) {
                        return Err(Flow::Exit(code));
                    }
                    self.forget_interrupt();
                    continue;
                }
                Line::End => {
                    self.write_error("\n");
                    return Ok(self.status);
                }
            }
            let mut parser = Parser::new(&text);
            let list = match parser.line() {
                Ok(list) => list,
                Err(Error::Incomplete(_)) => continue,
                Err(error) => {
                    self.complain(&error.to_string());
                    self.status = 2;
                    None
                }
            };
            text.clear();
            if let Some(list) = list {
                match self.run_list(&list) {
                    Err(Flow::Exit(code)) => return Err(Flow::Exit(code)),
                    Err(Flow::Return(code) | Flow::Fatal(code)) => self.status = code,
                    Err(Flow::Interrupted) => {
                        self.write_error("\n");
                        self.status = INTERRUPTED;
                    }
                    Ok(_) | Err(Flow::Break(_) | Flow::Continue(_)) => {}
                }
                self.forget_interrupt();
                self.tested = 0;
                self.loops = 0;
            }
        }
    }

    fn typed(&mut self, editor: &mut Editor, prompt: &str) -> Line {
        let Some(stdin) = self.files.get(&0).cloned() else { return Line::End };
        let stderr = self.files.get(&2).cloned();
        if let Some(stderr) = &stderr
            && stdin.is_terminal()
            && self.host.set_raw(true).is_ok()
        {
            let columns = self.host.terminal_size().map_or(80, |(columns, _)| usize::from(columns));
            let line = editor.read(&stdin, stderr, prompt, columns, |word| self.completions(word));
            let _ = self.host.set_raw(false);
            return line;
        }
        self.write_error(prompt);
        match read_line_or_signal(&stdin) {
            Err(_) => Line::Signalled,
            Ok(line) if line.is_empty() => Line::End,
            Ok(line) => Line::Text(line),
        }
    }

    /// Paths that begin so.
    fn completions(&self, word: &str) -> Vec<String> {
        let mut pattern = String::new();
        for character in word.chars() {
            super::pattern::escape_into(&mut pattern, character);
        }
        let mut paths = super::pattern::paths(&format!("{pattern}*"), |path| self.path(path));
        for path in &mut paths {
            if self.path(path).is_dir() {
                path.push('/');
            }
        }
        paths
    }

    fn prompt(&self, name: &str) -> String {
        let home = self.get("HOME").filter(|home| home != "/");
        let directory = match home.and_then(|home| self.directory.strip_prefix(&home).map(str::to_owned)) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("~{rest}"),
            _ => self.directory.clone(),
        };
        let base = self.directory.rsplit('/').next().unwrap_or_default();
        let host = self.get("HOSTNAME").unwrap_or_default();
        let text = self.get(name).unwrap_or_default();
        let text = text.replace("\\w", &directory).replace("\\W", base).replace("\\$", "#").replace("\\u", "root");
        text.replace("\\h", &host).replace("\\[", "").replace("\\]", "").replace("\\e", "\x1b").replace("\\n", "\n")
    }

    fn report_jobs(&mut self) {
        for (index, job) in self.jobs.iter().enumerate() {
            match job.poll().map(End::code) {
                Some(0) => self.write_error(&format!("[{}]+  Done\n", index + 1)),
                Some(code) => self.write_error(&format!("[{}]+  Done({code})\n", index + 1)),
                None => {}
            }
        }
        self.jobs.retain(|job| job.poll().is_none());
    }

    fn write_error(&self, text: &str) {
        let _ = self.files.get(&2).map(|stderr| stderr.write(text.as_bytes()));
    }
}
