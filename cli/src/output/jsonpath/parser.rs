//! Text to templates. What the steps do is in [`super`].

use super::{Comparison, Filter, Node, Operand, Path, Step};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{iter::Peekable, str::Chars};

/// What is left of the text.
pub(super) struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text.chars().peekable() }
    }

    /// Nodes until the end of the text or, inside a range, until `{end}`.
    pub(super) fn nodes(&mut self, in_range: bool) -> Result<Vec<Node>> {
        let mut nodes = Vec::new();
        let mut plain = String::new();
        while let Some(letter) = self.rest.next() {
            if letter != '{' {
                plain.push(letter);
                continue;
            }
            if !plain.is_empty() {
                nodes.push(Node::Text(std::mem::take(&mut plain)));
            }
            match self.action()? {
                Action::End if in_range => return Ok(nodes),
                Action::End => bail!("not in range, nothing to end"),
                Action::Range(over) => nodes.push(Node::Range { over, body: self.nodes(true)? }),
                Action::Nodes(more) => nodes.extend(more),
            }
        }
        if in_range {
            bail!("unterminated range");
        }
        if !plain.is_empty() {
            nodes.push(Node::Text(plain));
        }
        Ok(nodes)
    }

    fn action(&mut self) -> Result<Action> {
        let mut nodes = Vec::new();
        loop {
            self.skip_spaces();
            match self.rest.peek().copied() {
                None => bail!("unclosed action"),
                Some('}') => {
                    self.rest.next();
                    return Ok(Action::Nodes(nodes));
                }
                Some(quote @ ('"' | '\'')) => nodes.push(Node::Text(self.quoted(quote)?)),
                Some('.' | '$' | '@' | '[') => nodes.push(Node::Paths(vec![self.path()?])),
                Some(_) => match self.word().as_str() {
                    "end" => return self.close(Action::End),
                    "range" => {
                        self.skip_spaces();
                        let over = self.path()?;
                        return self.close(Action::Range(over));
                    }
                    "" => bail!("unexpected character {:?}", self.rest.next().unwrap_or_default()),
                    name => nodes.push(Node::Paths(vec![self.path_after(Step::Field(name.to_owned()))?])),
                },
            }
        }
    }

    fn close(&mut self, action: Action) -> Result<Action> {
        self.skip_spaces();
        self.expect('}')?;
        Ok(action)
    }

    fn path(&mut self) -> Result<Path> {
        let from_root = self.rest.peek() == Some(&'$');
        if matches!(self.rest.peek(), Some('$' | '@')) {
            self.rest.next();
        }
        Ok(Path { from_root, steps: self.steps()? })
    }

    fn path_after(&mut self, first: Step) -> Result<Path> {
        let mut steps = vec![first];
        steps.extend(self.steps()?);
        Ok(Path { from_root: false, steps })
    }

    fn steps(&mut self) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            match self.rest.peek() {
                Some('.') => {
                    self.rest.next();
                    steps.extend(self.dotted());
                }
                Some('[') => {
                    self.rest.next();
                    steps.push(self.bracket()?);
                }
                _ => return Ok(steps),
            }
        }
    }

    /// What follows a dot; a lone dot is the value itself.
    fn dotted(&mut self) -> Option<Step> {
        let recursive = self.rest.peek() == Some(&'.');
        if recursive {
            self.rest.next();
        }
        if self.rest.peek() == Some(&'*') {
            self.rest.next();
            return Some(if recursive { Step::RecursiveAll } else { Step::Wildcard });
        }
        let name = self.word();
        match (name.is_empty(), recursive) {
            (true, _) => None,
            (false, true) => Some(Step::Recursive(name)),
            (false, false) => Some(Step::Field(name)),
        }
    }

    fn bracket(&mut self) -> Result<Step> {
        self.skip_spaces();
        if self.rest.peek() == Some(&'?') {
            return self.filter();
        }
        let mut steps = Vec::new();
        loop {
            self.skip_spaces();
            steps.push(self.bracket_item()?);
            self.skip_spaces();
            match self.rest.next() {
                Some(']') => break,
                Some(',') => {}
                _ => bail!("unterminated array"),
            }
        }
        let only = steps.pop().context("empty brackets")?;
        if steps.is_empty() {
            return Ok(only);
        }
        steps.push(only);
        Ok(Step::Union(steps.into_iter().map(|step| vec![step]).collect()))
    }

    fn bracket_item(&mut self) -> Result<Step> {
        match self.rest.peek().copied() {
            Some(quote @ ('\'' | '"')) => {
                let name = self.quoted_name(quote)?;
                let mut steps = Parser::new(&format!(".{name}")).steps()?;
                let last = steps.pop().context("empty name in brackets")?;
                if steps.is_empty() {
                    return Ok(last);
                }
                steps.push(last);
                Ok(Step::Nested(steps))
            }
            Some('*') => {
                self.rest.next();
                Ok(Step::Wildcard)
            }
            _ => self.index_or_slice(),
        }
    }

    fn index_or_slice(&mut self) -> Result<Step> {
        let mut bounds = vec![self.number()?];
        while self.rest.peek() == Some(&':') {
            self.rest.next();
            bounds.push(self.number()?);
        }
        match bounds.as_slice() {
            [Some(index)] => Ok(Step::Index(*index)),
            [None] if self.rest.peek() != Some(&']') => bail!("unterminated array"),
            [start, end] => Ok(Step::Slice { start: *start, end: *end, step: 1 }),
            [start, end, step] => Ok(Step::Slice { start: *start, end: *end, step: step.unwrap_or(1) }),
            _ => bail!("invalid array index"),
        }
    }

    fn number(&mut self) -> Result<Option<i64>> {
        let mut digits = String::new();
        while let Some(letter) = self.rest.peek().copied().filter(|letter| letter.is_ascii_digit() || *letter == '-') {
            digits.push(letter);
            self.rest.next();
        }
        if digits.is_empty() {
            return Ok(None);
        }
        digits.parse().map(Some).with_context(|| format!("invalid array index {digits}"))
    }

    /// `?(@.x=="y")`
    fn filter(&mut self) -> Result<Step> {
        self.rest.next();
        self.expect('(')?;
        let left = self.operand()?;
        self.skip_spaces();
        let mut right = None;
        if self.rest.peek() != Some(&')') {
            let comparison = self.comparison()?;
            right = Some((comparison, self.operand()?));
            self.skip_spaces();
        }
        self.expect(')')?;
        self.expect(']')?;
        Ok(Step::Filter(Filter { left, right }))
    }

    fn operand(&mut self) -> Result<Operand> {
        self.skip_spaces();
        match self.rest.peek().copied() {
            Some(quote @ ('"' | '\'')) => Ok(Operand::Literal(Value::from(self.quoted(quote)?))),
            Some('@' | '$' | '.') => Ok(Operand::Path(self.path()?)),
            _ => {
                let mut text = String::new();
                while let Some(letter) = self.rest.peek().copied().filter(|letter| !" )=<>!".contains(*letter)) {
                    text.push(letter);
                    self.rest.next();
                }
                let value =
                    serde_json::from_str(&text).with_context(|| format!("unrecognized character in filter: {text}"))?;
                Ok(Operand::Literal(value))
            }
        }
    }

    fn comparison(&mut self) -> Result<Comparison> {
        let first = self.rest.next();
        let equal = self.rest.peek() == Some(&'=');
        if equal {
            self.rest.next();
        }
        Ok(match (first, equal) {
            (Some('='), true) => Comparison::Equal,
            (Some('!'), true) => Comparison::NotEqual,
            (Some('<'), true) => Comparison::LessOrEqual,
            (Some('<'), false) => Comparison::Less,
            (Some('>'), true) => Comparison::GreaterOrEqual,
            (Some('>'), false) => Comparison::Greater,
            _ => bail!("unrecognized operator in filter"),
        })
    }

    /// A field name; a backslash takes the next letter as it is (`k8s\.io`).
    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(letter) = self.rest.peek().copied() {
            if letter == '\\' {
                self.rest.next();
                word.extend(self.rest.next());
            } else if letter.is_alphanumeric() || matches!(letter, '_' | '-' | '/') {
                word.push(letter);
                self.rest.next();
            } else {
                break;
            }
        }
        word
    }

    /// A name between quotes as it stands there, backslashes and all.
    fn quoted_name(&mut self, quote: char) -> Result<String> {
        self.rest.next();
        let mut name = String::new();
        for letter in self.rest.by_ref() {
            if letter == quote {
                return Ok(name);
            }
            name.push(letter);
        }
        bail!("unterminated quoted string")
    }

    fn quoted(&mut self, quote: char) -> Result<String> {
        self.rest.next();
        let mut text = String::new();
        while let Some(letter) = self.rest.next() {
            match letter {
                '\\' => match self.rest.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some(other) => text.push(other),
                    None => break,
                },
                letter if letter == quote => return Ok(text),
                letter => text.push(letter),
            }
        }
        bail!("unterminated quoted string")
    }

    fn skip_spaces(&mut self) {
        while self.rest.peek().is_some_and(|letter| letter.is_whitespace()) {
            self.rest.next();
        }
    }

    fn expect(&mut self, wanted: char) -> Result<()> {
        match self.rest.next() {
            Some(found) if found == wanted => Ok(()),
            Some(found) => bail!("expected {wanted:?}, found {found:?}"),
            None => bail!("expected {wanted:?} at the end"),
        }
    }
}

enum Action {
    End,
    Range(Path),
    Nodes(Vec<Node>),
}
