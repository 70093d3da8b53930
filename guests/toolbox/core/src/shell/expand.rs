//! Words become fields: parameters, substitutions, splitting, paths (POSIX 2.6).

use super::{Flow, Shell, arithmetic, pattern, syntax::*};
use crate::host::{Errno, File, Host, OpenFile};
use std::{any::Any, cell::RefCell, rc::Rc, time::Duration};

/// One field: its text, and the same as a pattern in which quoted characters are escaped.
#[derive(Debug, Default, Clone)]
struct Field {
    text: String,
    pattern: String,
}

/// Collects what a word expands to.
struct Fields {
    done: Vec<Field>,
    current: Option<Field>,
    /// Characters that split unquoted values; nothing splits without.
    separators: Option<String>,
    /// The last separator was a blank, which ends no further field.
    after_blank: bool,
}

impl Fields {
    fn new(separators: Option<String>) -> Self {
        Self { done: Vec::new(), current: None, separators, after_blank: false }
    }

    fn push(&mut self, text: &str, quoted: bool) {
        self.after_blank = false;
        let field = self.current.get_or_insert_default();
        field.text.push_str(text);
        if quoted {
            text.chars().for_each(|character| pattern::escape_into(&mut field.pattern, character));
        } else {
            field.pattern.push_str(text);
        }
    }

    fn end_field(&mut self) {
        self.done.extend(self.current.take());
    }

    /// A value that was not quoted: split.
    fn push_value(&mut self, text: &str) {
        let Some(separators) = self.separators.clone() else {
            if !text.is_empty() {
                self.push(text, false);
            }
            return;
        };
        for character in text.chars() {
            if !separators.contains(character) {
                self.push(character.encode_utf8(&mut [0; 4]), false);
            } else if matches!(character, ' ' | '\t' | '\n') {
                self.after_blank |= self.current.is_some();
                self.end_field();
            } else {
                if self.current.is_none() && !self.after_blank {
                    self.current = Some(Field::default());
                }
                self.after_blank = false;
                self.end_field();
            }
        }
    }
}

impl Shell {
    /// All fields of some words, with paths.
    pub(super) fn expand_words(&mut self, words: &[Word]) -> Result<Vec<String>, Flow> {
        let mut all = Vec::new();
        for word in words {
            let mut fields = Fields::new(Some(self.separators()));
            self.expand_into(word, &mut fields, false)?;
            fields.end_field();
            for field in fields.done {
                let paths = if !self.options.noglob && pattern::is_pattern(&field.pattern) {
                    pattern::paths(&field.pattern, |path| self.path(path))
                } else {
                    Vec::new()
                };
                if paths.is_empty() {
                    all.push(field.text);
                } else {
                    all.extend(paths);
                }
            }
        }
        Ok(all)
    }

    /// A word that stays one.
    pub(super) fn expand_text(&mut self, word: &Word) -> Result<String, Flow> {
        Ok(self.expand_one(word)?.text)
    }

    /// A word as a pattern.
    pub(super) fn expand_pattern(&mut self, word: &Word) -> Result<String, Flow> {
        Ok(self.expand_one(word)?.pattern)
    }

    fn expand_one(&mut self, word: &Word) -> Result<Field, Flow> {
        let mut fields = Fields::new(None);
        self.expand_into(word, &mut fields, false)?;
        Ok(fields.current.unwrap_or_default())
    }

    fn separators(&self) -> String {
        self.get("IFS").unwrap_or_else(|| " \t\n".to_owned())
    }

    fn expand_into(&mut self, word: &Word, fields: &mut Fields, quoted: bool) -> Result<(), Flow> {
        for (index, part) in word.0.iter().enumerate() {
            match part {
                Part::Plain(text) => {
                    let rest = if index == 0 { self.tilde(text, word.0.len() == 1, fields) } else { text };
                    if !rest.is_empty() {
                        fields.push(rest, false);
                    }
                }
                Part::Quoted(text) => fields.push(text, true),
                Part::Double(inner) => {
                    let no_arguments = self.positional.is_empty() && inner.0.len() == 1 && is_all(&inner.0[0]);
                    if !no_arguments {
                        fields.push("", true);
                    }
                    self.expand_into(inner, fields, true)?;
                }
                Part::Parameter(parameter) => self.parameter(parameter, fields, quoted)?,
                Part::Substitution(list) => {
                    let text = self.substitute(list)?;
                    self.push_expanded(&text, fields, quoted);
                }
                Part::Arithmetic(expression) => {
                    let value = self.arithmetic(expression)?.to_string();
                    self.push_expanded(&value, fields, quoted);
                }
            }
        }
        Ok(())
    }

    fn push_expanded(&self, text: &str, fields: &mut Fields, quoted: bool) {
        if quoted { fields.push(text, true) } else { fields.push_value(text) }
    }

    /// `~` is the home directory: what is left of the text then.
    fn tilde<'a>(&self, text: &'a str, whole: bool, fields: &mut Fields) -> &'a str {
        match text.strip_prefix('~') {
            Some(rest) if rest.starts_with('/') || (rest.is_empty() && whole) => match self.get("HOME") {
                Some(home) => {
                    fields.push(&home, true);
                    rest
                }
                None => text,
            },
            _ => text,
        }
    }

    fn arithmetic(&mut self, expression: &Word) -> Result<i64, Flow> {
        let text = self.expand_text(expression)?;
        arithmetic::evaluate(&text, self).map_err(|message| self.fatal(&message))
    }

    fn parameter(&mut self, parameter: &Parameter, fields: &mut Fields, quoted: bool) -> Result<(), Flow> {
        let name = parameter.name.as_str();
        if matches!(name, "@" | "*") && matches!(parameter.operation, Operation::Value) {
            self.all_positional(name, fields, quoted);
            return Ok(());
        }
        let value = self.parameter_value(name);
        if let Operation::Absent { operator, colon, word } = &parameter.operation {
            let present = value.as_ref().is_some_and(|value| !*colon || !value.is_empty());
            match (operator, present) {
                ('+', true) | ('-', false) => return self.expand_into(word, fields, quoted),
                ('+', false) => return Ok(()),
                ('=', false) => {
                    let text = self.expand_text(word)?;
                    self.assign(name, &text)?;
                    self.push_expanded(&text, fields, quoted);
                    return Ok(());
                }
                ('?', false) => {
                    let text = self.expand_text(word)?;
                    let missing = if *colon { "parameter not set or null" } else { "parameter not set" };
                    let text = if text.is_empty() { missing } else { &text };
                    return Err(self.fatal(&format!("{name}: {text}")));
                }
                _ => {
                    if name == "@" || name == "*" {
                        self.all_positional(name, fields, quoted);
                    } else {
                        self.push_expanded(&value.unwrap_or_default(), fields, quoted);
                    }
                    return Ok(());
                }
            }
        }
        if value.is_none() && self.options.nounset {
            return Err(self.fatal(&format!("{name}: parameter not set")));
        }
        let value = value.unwrap_or_default();
        let text = self.operate(&parameter.operation, name, value)?;
        self.push_expanded(&text, fields, quoted);
        Ok(())
    }

    fn all_positional(&self, name: &str, fields: &mut Fields, quoted: bool) {
        if fields.separators.is_none() || (quoted && name == "*") {
            let separator = if name == "*" { self.separators().chars().next() } else { Some(' ') };
            let joined = self.positional.join(&separator.map(String::from).unwrap_or_default());
            self.push_expanded(&joined, fields, quoted);
            return;
        }
        for (index, argument) in self.positional.iter().enumerate() {
            if index > 0 {
                fields.end_field();
            }
            self.push_expanded(argument, fields, quoted);
        }
    }

    fn operate(&mut self, operation: &Operation, name: &str, value: String) -> Result<String, Flow> {
        Ok(match operation {
            Operation::Value | Operation::Absent { .. } => value,
            Operation::Length if matches!(name, "@" | "*") => self.positional.len().to_string(),
            Operation::Length => value.chars().count().to_string(),
            Operation::Trim { suffix, longest, pattern } => {
                let pattern: Vec<char> = self.expand_pattern(pattern)?.chars().collect();
                trim(&value, &pattern, *suffix, *longest)
            }
            Operation::Replace { all, pattern, text } => {
                let pattern: Vec<char> = self.expand_pattern(pattern)?.chars().collect();
                let text = self.expand_text(text)?;
                replace(&value, &pattern, &text, *all)
            }
            Operation::Slice { offset, length } => {
                let offset = self.arithmetic(offset)?;
                let length = match length {
                    Some(length) => Some(self.arithmetic(length)?),
                    None => None,
                };
                slice(&value, offset, length)
            }
        })
    }

    /// The output of commands, without newlines at its end.
    fn substitute(&mut self, list: &List) -> Result<String, Flow> {
        let capture = Rc::new(Capture::default());
        let mut inner = self.subshell();
        inner.files.insert(1, Rc::clone(&capture) as File);
        let code = inner.run_as_subshell(|shell| shell.run_list(list));
        drop(inner);
        capture.drain();
        self.status = code;
        self.substituted = true;
        let bytes = capture.bytes.take();
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        text.retain(|character| character != '\0');
        text.truncate(text.trim_end_matches('\n').len());
        Ok(text)
    }
}

fn is_all(part: &Part) -> bool {
    matches!(part, Part::Parameter(parameter) if parameter.name == "@" && matches!(parameter.operation, Operation::Value))
}

fn trim(value: &str, pattern: &[char], suffix: bool, longest: bool) -> String {
    let characters: Vec<char> = value.chars().collect();
    let count = characters.len();
    // How much to take away, in the order of preference.
    let lengths: Box<dyn Iterator<Item = usize>> =
        if longest { Box::new((0..=count).rev()) } else { Box::new(0..=count) };
    for length in lengths {
        let (taken, kept) = if suffix {
            (&characters[count - length..], &characters[..count - length])
        } else {
            (&characters[..length], &characters[length..])
        };
        if pattern::matches_all(pattern, taken) {
            return kept.iter().collect();
        }
    }
    value.to_owned()
}

fn replace(value: &str, pattern: &[char], text: &str, all: bool) -> String {
    let characters: Vec<char> = value.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    while at < characters.len() {
        let longest =
            (at + 1..=characters.len()).rev().find(|end| pattern::matches_all(pattern, &characters[at..*end]));
        match longest {
            Some(end) => {
                out.push_str(text);
                at = end;
                if !all {
                    break;
                }
            }
            None => {
                out.push(characters[at]);
                at += 1;
            }
        }
    }
    out.extend(&characters[at..]);
    out
}

fn slice(value: &str, offset: i64, length: Option<i64>) -> String {
    let count = i64::try_from(value.chars().count()).unwrap_or(i64::MAX);
    let start = if offset < 0 { (count + offset).max(0) } else { offset.min(count) };
    let end = match length {
        None => count,
        Some(length) if length < 0 => count + length,
        Some(length) => start.saturating_add(length).min(count),
    };
    let wanted = usize::try_from(end - start).unwrap_or(0);
    value.chars().skip(usize::try_from(start).unwrap_or(0)).take(wanted).collect()
}

/// Collects what is written by this process, and through pipes by others.
#[derive(Default)]
pub struct Capture {
    bytes: RefCell<Vec<u8>>,
    pipes: RefCell<Vec<File>>,
}

impl Capture {
    /// The write end of a pipe that this one will read.
    pub fn pipe(&self, host: &dyn Host) -> File {
        let (reader, writer) = host.pipe();
        self.pipes.borrow_mut().push(reader);
        writer
    }

    /// Reads all pipes to their ends.
    pub fn drain(&self) {
        for pipe in self.pipes.take() {
            while let Ok(bytes) = pipe.read(64 * 1024) {
                if bytes.is_empty() {
                    break;
                }
                self.bytes.borrow_mut().extend(bytes);
            }
        }
    }
}

impl OpenFile for Capture {
    fn read(&self, _: u32) -> Result<Vec<u8>, Errno> {
        Err(Errno::Invalid)
    }

    fn read_or_signal(&self, _: u32, _: Option<Duration>) -> Result<Vec<u8>, Errno> {
        Err(Errno::Invalid)
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Errno> {
        self.bytes.borrow_mut().extend_from_slice(bytes);
        Ok(())
    }

    fn is_terminal(&self) -> bool {
        false
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
