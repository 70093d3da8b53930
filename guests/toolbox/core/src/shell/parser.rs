//! Text becomes [`syntax`](super::syntax): commands, one line at a time, as a
//! shell reads its input. Words are in `words.rs`, redirections in `here.rs`.

use super::{here::Pending, syntax::*};
use std::{ops::Range, rc::Rc};

/// Why text is not a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// More text may make it one.
    Incomplete(String),
    /// No text will.
    Unexpected(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Incomplete(what) | Self::Unexpected(what) => write!(formatter, "syntax error: {what}"),
        }
    }
}

pub type Parsed<T> = Result<T, Error>;

/// Levels of nesting; deeper text would end the guest's stack.
const DEPTH_MAX: usize = 200;

const RESERVED: [&str; 16] =
    ["if", "then", "else", "elif", "fi", "do", "done", "case", "esac", "while", "until", "for", "{", "}", "!", "in"];

/// Reads commands from a text.
pub struct Parser<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    pub(super) pending: Vec<Pending>,
    pub(super) here_texts: Vec<HereText>,
    pub(super) sources: Vec<(Source, Range<usize>)>,
    pub(super) depth: usize,
}

impl<'a> Parser<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, pending: Vec::new(), here_texts: Vec::new(), sources: Vec::new(), depth: 0 }
    }

    /// How much of the text was read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The commands of the next line that has some; none at the end.
    pub fn line(&mut self) -> Parsed<Option<List>> {
        self.newlines()?;
        if self.rest().is_empty() {
            return Ok(None);
        }
        let mut list = List::default();
        loop {
            self.item(&mut list)?;
            self.blanks();
            match self.rest().chars().next() {
                None => break,
                Some('\n') => {
                    self.newline()?;
                    break;
                }
                Some(')') => return Err(self.unexpected()),
                _ => {}
            }
        }
        self.finish()?;
        Ok(Some(list))
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn take(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        if found {
            self.at += prefix.len();
        }
        found
    }

    /// Skips blanks, joined lines and a comment.
    pub(super) fn blanks(&mut self) {
        loop {
            let trimmed = self.rest().trim_start_matches([' ', '\t']);
            self.at = self.text.len() - trimmed.len();
            if self.take("\\\n") {
                continue;
            }
            if trimmed.starts_with('#') {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            }
            return;
        }
    }

    pub(super) fn newlines(&mut self) -> Parsed<()> {
        loop {
            self.blanks();
            if !self.rest().starts_with('\n') {
                return Ok(());
            }
            self.newline()?;
        }
    }

    /// The end of a line: here-documents begin.
    fn newline(&mut self) -> Parsed<()> {
        self.at += 1;
        self.read_here_documents()
    }

    pub(super) fn unexpected(&mut self) -> Error {
        self.blanks();
        let rest = self.rest();
        let operators = ["&&", "||", ";;", "<<", ">>", "<&", ">&", "<>", ">|"];
        if rest.is_empty() {
            return Error::Incomplete("unexpected end of file".to_owned());
        }
        if rest.starts_with('\n') {
            return Error::Unexpected("unexpected newline".to_owned());
        }
        let token = match operators.iter().find(|operator| rest.starts_with(**operator)) {
            Some(operator) => operator,
            None if rest.starts_with(is_meta) => &rest[..1],
            None => &rest[..rest.find(is_meta).unwrap_or(rest.len())],
        };
        Error::Unexpected(format!("unexpected \"{token}\""))
    }

    /// Whether a reserved word is next; it stays.
    fn peek_word(&mut self, word: &str) -> bool {
        self.blanks();
        let rest = self.rest();
        rest.strip_prefix(word).is_some_and(|after| after.is_empty() || after.starts_with(is_meta))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.peek_word(word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if self.take_word(word) {
            return Ok(());
        }
        Err(match self.unexpected() {
            Error::Incomplete(_) => Error::Incomplete(format!("unexpected end of file (expecting \"{word}\")")),
            Error::Unexpected(what) => Error::Unexpected(format!("{what} (expecting \"{word}\")")),
        })
    }

    /// Commands up to one of these words, or a bracket, which stay.
    pub(super) fn commands(&mut self, ends: &[&str]) -> Parsed<List> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Error::Unexpected("too deeply nested".to_owned()));
        }
        let mut list = List::default();
        loop {
            self.newlines()?;
            let rest = self.rest();
            if rest.is_empty()
                || rest.starts_with(')')
                || rest.starts_with(";;")
                || ends.iter().any(|end| self.peek_word(end))
            {
                break;
            }
            self.item(&mut list)?;
        }
        self.depth -= 1;
        Ok(list)
    }

    /// Commands that must be there.
    fn body(&mut self, ends: &[&str]) -> Parsed<List> {
        let list = self.commands(ends)?;
        if list.0.is_empty() { Err(self.unexpected()) } else { Ok(list) }
    }

    /// One and-or list with its `;` or `&`.
    fn item(&mut self, list: &mut List) -> Parsed<()> {
        let start = self.skipped();
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            self.blanks();
            let connection = match self.rest() {
                text if text.starts_with("&&") => Connection::And,
                text if text.starts_with("||") => Connection::Or,
                _ => break,
            };
            self.at += 2;
            self.newlines()?;
            rest.push((connection, self.pipeline()?));
        }
        let end = self.at;
        let background = self.rest().starts_with('&');
        if background {
            self.at += 1;
        } else if !self.rest().starts_with(";;") {
            self.take(";");
        }
        // Only what runs in the background is ever read again.
        let source = if background { self.source(start..end) } else { Source::default() };
        list.0.push(Item { first, rest, background, source });
        Ok(())
    }

    fn skipped(&mut self) -> usize {
        self.blanks();
        self.at
    }

    fn pipeline(&mut self) -> Parsed<Pipeline> {
        let mut negated = false;
        while self.take_word("!") {
            negated = !negated;
        }
        let mut ranges = Vec::new();
        let mut commands = Vec::new();
        loop {
            let start = self.skipped();
            commands.push(self.command()?);
            ranges.push(start..self.at);
            self.blanks();
            if self.rest().starts_with("||") || !self.take("|") {
                break;
            }
            self.newlines()?;
        }
        // A command alone is never read again, except a function, which keeps its own text.
        if commands.len() > 1 {
            for (command, range) in commands.iter_mut().zip(ranges) {
                command.source = self.source(range);
            }
        }
        Ok(Pipeline { negated, commands })
    }

    fn command(&mut self) -> Parsed<Command> {
        let start = self.skipped();
        let kind = self.compound()?;
        let (kind, mut redirections) = match kind {
            Some(kind) => (kind, Vec::new()),
            None => self.simple(start)?,
        };
        while let Some(redirection) = self.redirection()? {
            redirections.push(redirection);
        }
        Ok(Command { kind, redirections, source: Source::default() })
    }

    fn compound(&mut self) -> Parsed<Option<Kind>> {
        if self.take("(") {
            let list = self.body(&[])?;
            return self.close_bracket().map(|()| Some(Kind::Subshell(list)));
        }
        let Some(word) = RESERVED.into_iter().find(|word| self.peek_word(word)) else { return Ok(None) };
        if !matches!(word, "{" | "if" | "while" | "until" | "for" | "case") {
            return if word == "in" { Ok(None) } else { Err(self.unexpected()) };
        }
        self.at += word.len();
        let kind = match word {
            "{" => {
                let list = self.body(&["}"])?;
                self.expect_word("}")?;
                Kind::Group(list)
            }
            "if" => self.if_clause()?,
            "while" | "until" => {
                let condition = self.body(&["do"])?;
                Kind::While { until: word == "until", condition, body: self.do_group()? }
            }
            "for" => self.for_clause()?,
            _ => self.case_clause()?,
        };
        Ok(Some(kind))
    }

    pub(super) fn close_bracket(&mut self) -> Parsed<()> {
        self.newlines()?;
        if self.take(")") {
            return Ok(());
        }
        Err(match self.unexpected() {
            Error::Incomplete(_) => Error::Incomplete("unexpected end of file (expecting \")\")".to_owned()),
            other => other,
        })
    }

    fn do_group(&mut self) -> Parsed<List> {
        self.expect_word("do")?;
        let list = self.body(&["done"])?;
        self.expect_word("done")?;
        Ok(list)
    }

    fn if_clause(&mut self) -> Parsed<Kind> {
        let mut branches = Vec::new();
        loop {
            let condition = self.body(&["then"])?;
            self.expect_word("then")?;
            branches.push((condition, self.body(&["elif", "else", "fi"])?));
            if self.take_word("elif") {
                continue;
            }
            let otherwise = if self.take_word("else") { Some(self.body(&["fi"])?) } else { None };
            self.expect_word("fi")?;
            return Ok(Kind::If(branches, otherwise));
        }
    }

    fn for_clause(&mut self) -> Parsed<Kind> {
        self.blanks();
        let rest = self.rest();
        let name = rest[..rest.find(is_meta).unwrap_or(rest.len())].to_owned();
        if rest.is_empty() {
            return Err(self.unexpected());
        }
        if !is_name(&name) {
            return Err(Error::Unexpected("bad for loop variable".to_owned()));
        }
        self.at += name.len();
        self.newlines()?;
        let mut words = None;
        if self.take_word("in") {
            let mut list = Vec::new();
            while let Some(word) = self.word()? {
                list.push(word);
            }
            words = Some(list);
        }
        self.blanks();
        self.take(";");
        self.newlines()?;
        Ok(Kind::For { name, words, body: self.do_group()? })
    }

    fn case_clause(&mut self) -> Parsed<Kind> {
        let Some(word) = self.word()? else { return Err(self.unexpected()) };
        self.newlines()?;
        self.expect_word("in")?;
        let mut arms = Vec::new();
        loop {
            self.newlines()?;
            if self.take_word("esac") {
                return Ok(Kind::Case { word, arms });
            }
            self.take("(");
            let mut patterns = Vec::new();
            loop {
                let Some(pattern) = self.word()? else { return Err(self.unexpected()) };
                patterns.push(pattern);
                self.blanks();
                if !self.take("|") {
                    break;
                }
            }
            self.close_bracket()?;
            arms.push((patterns, self.commands(&["esac"])?));
            self.newlines()?;
            if !self.take(";;") && !self.peek_word("esac") {
                return Err(self.unexpected());
            }
        }
    }

    fn simple(&mut self, start: usize) -> Parsed<(Kind, Vec<Redirection>)> {
        let (mut assignments, mut words, mut redirections) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            if let Some(redirection) = self.redirection()? {
                redirections.push(redirection);
                continue;
            }
            let begin = self.skipped();
            if words.is_empty()
                && let Some(assignment) = self.assignment()?
            {
                assignments.push(assignment);
                continue;
            }
            let Some(word) = self.word()? else { break };
            let name = &self.text[begin..self.at];
            let is_first = words.is_empty() && assignments.is_empty() && redirections.is_empty();
            words.push(word);
            self.blanks();
            if is_first && is_function_name(name) && self.rest().starts_with('(') {
                return Ok((self.function(name.to_owned(), start)?, redirections));
            }
        }
        if assignments.is_empty() && words.is_empty() && redirections.is_empty() {
            return Err(self.unexpected());
        }
        Ok((Kind::Simple { assignments, words }, redirections))
    }

    fn assignment(&mut self) -> Parsed<Option<(String, Word)>> {
        let rest = self.rest();
        let Some(equals) = rest.find('=').filter(|equals| is_name(&rest[..*equals])) else { return Ok(None) };
        let name = rest[..equals].to_owned();
        self.at += equals + 1;
        // A blank ends an empty value; it must not be skipped.
        let word = if self.rest().starts_with(is_meta) { None } else { self.word()? };
        Ok(Some((name, word.unwrap_or_default())))
    }

    fn function(&mut self, name: String, start: usize) -> Parsed<Kind> {
        self.at += 1;
        self.blanks();
        if !self.take(")") {
            return Err(self.unexpected());
        }
        self.newlines()?;
        let mut body = self.command()?;
        if matches!(body.kind, Kind::Simple { .. }) {
            return Err(Error::Unexpected("bad function definition".to_owned()));
        }
        body.source = self.source(start..self.at);
        Ok(Kind::Function { name, body: Rc::new(body) })
    }
}

/// What ends a word outside quotes.
pub fn is_meta(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '|' | '&' | ';' | '<' | '>' | '(' | ')')
}

/// Whether text may name a variable.
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}

fn is_function_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['$', '\'', '"', '\\', '`', '='])
}
