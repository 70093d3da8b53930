//! kubectl's dialect of JSONPath templates (upstream:
//! `client-go/util/jsonpath`): text with `{…}` actions, `range`/`end`, quoted
//! text, relative and recursive paths, unions, slices and filters. It differs
//! from RFC 9535, which no library for that speaks.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{iter::Peekable, str::Chars};

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Text(String),
    Paths(Vec<Path>),
    Range { over: Path, body: Vec<Node> },
}

/// Steps from the root (`$`) or the current value (`@` or nothing).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Path {
    from_root: bool,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Wildcard,
    Recursive(String),
    RecursiveAll,
    Slice { start: Option<i64>, end: Option<i64>, step: i64 },
    Index(i64),
    Union(Vec<Step>),
    Filter(Filter),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Filter {
    left: Operand,
    right: Option<(Comparison, Operand)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operand {
    Path(Path),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Template {
    /// Parses text with `{…}` actions.
    ///
    /// # Errors
    /// What does not parse, and where.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parser = Parser { rest: text.chars().peekable() };
        let nodes = parser.nodes(false).with_context(|| format!("error parsing jsonpath {text}"))?;
        Ok(Self { nodes })
    }

    /// Parses a bare path: `x.y`, `.x.y`, `{.x.y}`.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn parse_relaxed(text: &str) -> Result<Self> {
        if text.starts_with('{') {
            return Self::parse(text);
        }
        let dot = if text.starts_with(['.', '[', '$', '@']) { "" } else { "." };
        Self::parse(&format!("{{{dot}{text}}}"))
    }

    /// The template's text for `root`. Missing fields print nothing, as with
    /// kubectl's allow-missing-keys.
    ///
    /// # Errors
    /// None today; the signature leaves room for strict templates.
    pub fn render(&self, root: &Value) -> Result<String> {
        let mut out = String::new();
        render(&self.nodes, root, root, &mut out);
        Ok(out)
    }

    /// Every value the template's paths find.
    pub fn find<'a>(&self, root: &'a Value) -> Vec<&'a Value> {
        let paths = self.nodes.iter().filter_map(|node| match node {
            Node::Paths(paths) => Some(paths),
            _ => None,
        });
        paths.flatten().flat_map(|path| path.find(root, root)).collect()
    }
}

/// A value as kubectl prints it: strings bare, all else as JSON.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn render(nodes: &[Node], root: &Value, current: &Value, out: &mut String) {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Paths(paths) => {
                let found = paths.iter().flat_map(|path| path.find(root, current));
                out.push_str(&found.map(text).collect::<Vec<_>>().join(" "));
            }
            Node::Range { over, body } => {
                for item in over.find(root, current) {
                    render(body, root, item, out);
                }
            }
        }
    }
}

impl Path {
    fn find<'a>(&self, root: &'a Value, current: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![if self.from_root { root } else { current }];
        for step in &self.steps {
            found = found.into_iter().flat_map(|value| step.apply(root, value)).collect();
        }
        found
    }
}

impl Step {
    fn apply<'a>(&self, root: &'a Value, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Self::Field(name) => value.get(name).into_iter().collect(),
            Self::Wildcard => children(value),
            Self::Recursive(name) => descendants(value).into_iter().filter_map(|inner| inner.get(name)).collect(),
            Self::RecursiveAll => descendants(value),
            Self::Index(index) => at(value, *index).into_iter().collect(),
            Self::Slice { start, end, step } => slice(value, *start, *end, *step),
            Self::Union(steps) => steps.iter().flat_map(|step| step.apply(root, value)).collect(),
            Self::Filter(filter) => children(value).into_iter().filter(|item| filter.holds(root, item)).collect(),
        }
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

fn descendants(value: &Value) -> Vec<&Value> {
    let mut all = vec![value];
    all.extend(children(value).into_iter().flat_map(descendants));
    all
}

fn at(value: &Value, index: i64) -> Option<&Value> {
    let items = value.as_array()?;
    let index = if index < 0 { index + i64::try_from(items.len()).ok()? } else { index };
    items.get(usize::try_from(index).ok()?)
}

fn slice(value: &Value, start: Option<i64>, end: Option<i64>, step: i64) -> Vec<&Value> {
    let Some(items) = value.as_array() else { return Vec::new() };
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let absolute =
        |index: i64| usize::try_from((if index < 0 { index + length } else { index }).clamp(0, length)).unwrap_or(0);
    let (start, end) = (absolute(start.unwrap_or(0)), absolute(end.unwrap_or(length)));
    let step = usize::try_from(step.max(1)).unwrap_or(1);
    items.get(start..end.max(start)).unwrap_or_default().iter().step_by(step).collect()
}

impl Filter {
    fn holds(&self, root: &Value, item: &Value) -> bool {
        let left = self.left.values(root, item);
        let Some((comparison, right)) = &self.right else { return !left.is_empty() };
        let right = right.values(root, item);
        match (left.first(), right.first()) {
            (Some(left), Some(right)) => comparison.holds(left, right),
            _ => false,
        }
    }
}

impl Operand {
    fn values<'a>(&'a self, root: &'a Value, item: &'a Value) -> Vec<&'a Value> {
        match self {
            Self::Path(path) => path.find(root, item),
            Self::Literal(value) => vec![value],
        }
    }
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let order = match (left, right) {
            (Value::Number(left), Value::Number(right)) => left.as_f64().partial_cmp(&right.as_f64()),
            (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
            (left, right) => (left == right).then_some(Equal),
        };
        match self {
            Self::Equal => order == Some(Equal),
            Self::NotEqual => order != Some(Equal),
            Self::Less => order == Some(Less),
            Self::LessOrEqual => matches!(order, Some(Less | Equal)),
            Self::Greater => order == Some(Greater),
            Self::GreaterOrEqual => matches!(order, Some(Greater | Equal)),
        }
    }
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Parser<'_> {
    /// Nodes until the end of the text or, inside a range, until `{end}`.
    fn nodes(&mut self, in_range: bool) -> Result<Vec<Node>> {
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
        Ok(Step::Union(steps))
    }

    fn bracket_item(&mut self) -> Result<Step> {
        match self.rest.peek().copied() {
            Some(quote @ ('\'' | '"')) => Ok(Step::Field(self.quoted(quote)?)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rendered(template: &str) -> String {
        let list = json!({"items": [
            {"metadata": {"name": "a", "labels": {"k8s.io/x": "1"}}, "n": 3, "ready": true},
            {"metadata": {"name": "b"}, "n": 7},
        ]});
        Template::parse(template).expect(template).render(&list).expect("renders")
    }

    #[test]
    fn paths_wildcards_and_indexes() {
        assert_eq!(rendered("{.items[*].metadata.name}"), "a b");
        assert_eq!(rendered("{.items[0].metadata.name} {$.items[-1].n}"), "a 7");
        assert_eq!(rendered("{.items[0:1].n}{.items[1:].n}"), "37");
        assert_eq!(rendered("{..name}"), "a b");
        assert_eq!(rendered("{.items[0]['metadata','n']}"), r#"{"labels":{"k8s.io/x":"1"},"name":"a"} 3"#);
        assert_eq!(rendered(r"{.items[0].metadata.labels.k8s\.io/x}"), "1");
        assert_eq!(rendered("{.items[0].missing.deep}"), "");
    }

    #[test]
    fn range_prints_each() {
        assert_eq!(rendered(r#"{range .items[*]}{.metadata.name}{"\t"}{.n}{"\n"}{end}"#), "a\t3\nb\t7\n");
    }

    #[test]
    fn filters_compare() {
        assert_eq!(rendered("{.items[?(@.n>3)].metadata.name}"), "b");
        assert_eq!(rendered(r#"{.items[?(@.metadata.name=="a")].n}"#), "3");
        assert_eq!(rendered("{.items[?(@.ready)].n}"), "3");
        assert_eq!(rendered("{.items[?(@.ready==true)].n}"), "3");
    }

    #[test]
    fn mistakes_are_errors() {
        for template in ["{.items", "{range .items[*]}", "{end}", "{.items[}", "{.items[?(@.n~3)]}", "{\"x}"] {
            assert!(Template::parse(template).is_err(), "{template}");
        }
    }
}
