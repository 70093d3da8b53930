//! What a script is once read: POSIX's grammar as data.

use std::{cell::OnceCell, ops::Range, rc::Rc};

/// Commands in order.
#[derive(Debug, Default)]
pub struct List(pub Vec<Item>);

/// One and-or list with what ends it.
#[derive(Debug)]
pub struct Item {
    pub first: Pipeline,
    pub rest: Vec<(Connection, Pipeline)>,
    /// Ended with `&`.
    pub background: bool,
    /// Its text, for a shell of its own.
    pub source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    And,
    Or,
}

#[derive(Debug)]
pub struct Pipeline {
    pub negated: bool,
    pub commands: Vec<Command>,
}

#[derive(Debug)]
pub struct Command {
    pub kind: Kind,
    pub redirections: Vec<Redirection>,
    pub source: Source,
}

/// Text that means the same when it is read again alone; known once its line
/// and the here-documents behind it are read, for what is ever read again.
#[derive(Debug, Clone, Default)]
pub struct Source(pub Rc<OnceCell<String>>);

impl Source {
    pub fn text(&self) -> &str {
        self.0.get().map_or("", String::as_str)
    }
}

#[derive(Debug)]
pub enum Kind {
    Simple {
        assignments: Vec<(String, Word)>,
        words: Vec<Word>,
    },
    Group(List),
    Subshell(List),
    /// Conditions with what follows each, and the `else`.
    If(Vec<(List, List)>, Option<List>),
    While {
        until: bool,
        condition: List,
        body: List,
    },
    /// Without words, over the positional parameters.
    For {
        name: String,
        words: Option<Vec<Word>>,
        body: List,
    },
    Case {
        word: Word,
        arms: Vec<(Vec<Word>, List)>,
    },
    Function {
        name: String,
        body: Rc<Command>,
    },
}

#[derive(Debug)]
pub struct Redirection {
    pub fd: u32,
    pub kind: RedirectionKind,
}

#[derive(Debug)]
pub enum RedirectionKind {
    In(Word),
    Out(Word),
    /// `>|`: also where `set -C` is on.
    Clobber(Word),
    Append(Word),
    ReadWrite(Word),
    /// `<&` and `>&`: a descriptor's number, or `-` to close.
    Duplicate(Word),
    /// A here-document; read after the line it is named on.
    Here(Rc<OnceCell<Word>>),
}

/// Pieces that make one word before expansion.
#[derive(Debug, Clone, Default)]
pub struct Word(pub Vec<Part>);

#[derive(Debug, Clone)]
pub enum Part {
    /// Outside quotes.
    Plain(String),
    /// In quotes, or after a backslash.
    Quoted(String),
    /// Between double quotes.
    Double(Word),
    Parameter(Box<Parameter>),
    Substitution(Rc<List>),
    Arithmetic(Word),
}

#[derive(Debug, Clone)]
pub struct Parameter {
    pub name: String,
    pub operation: Operation,
}

/// What is done to a parameter's value.
#[derive(Debug, Clone)]
pub enum Operation {
    Value,
    /// `${#x}`
    Length,
    /// `-`, `=`, `?` or `+`; with a colon an empty value counts as none.
    Absent {
        operator: char,
        colon: bool,
        word: Word,
    },
    /// `%` or `#`, twice for the longest match.
    Trim {
        suffix: bool,
        longest: bool,
        pattern: Word,
    },
    /// `${x/pattern/text}`
    Replace {
        all: bool,
        pattern: Word,
        text: Word,
    },
    /// `${x:offset:length}`
    Slice {
        offset: Word,
        length: Option<Word>,
    },
}

/// A here-document: where its operator is, and its lines with the last.
#[derive(Debug, Clone)]
pub struct HereText {
    pub operator_at: usize,
    pub lines: Range<usize>,
}
