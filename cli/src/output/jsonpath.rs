//! kubectl's dialect of JSONPath templates (upstream:
//! `client-go/util/jsonpath`): text with `{…}` actions, `range`/`end`, quoted
//! text, relative and recursive paths, unions, slices and filters. It differs
//! from RFC 9535, which no library for that speaks.

mod parser;

use anyhow::{Result, anyhow};
use parser::Parser;
use serde_json::Value;

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
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        step: i64,
    },
    Index(i64),
    /// Each alternative is some steps.
    Union(Vec<Vec<Step>>),
    /// A quoted name with dots: the steps between them.
    Nested(Vec<Step>),
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
        let nodes =
            Parser::new(text).nodes(false).map_err(|error| anyhow!("error parsing jsonpath {text}, {error}"))?;
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

    /// What each of the template's paths finds.
    pub fn find_each<'a>(&self, root: &'a Value) -> Vec<Vec<&'a Value>> {
        let paths = self.nodes.iter().filter_map(|node| match node {
            Node::Paths(paths) => Some(paths),
            _ => None,
        });
        paths.map(|paths| paths.iter().flat_map(|path| path.find(root, root)).collect()).collect()
    }

    /// Every value the template's paths find.
    pub fn find<'a>(&self, root: &'a Value) -> Vec<&'a Value> {
        self.find_each(root).concat()
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
            found = step.apply_to_all(root, found);
        }
        found
    }
}

impl Step {
    fn apply_to_all<'a>(&self, root: &'a Value, values: Vec<&'a Value>) -> Vec<&'a Value> {
        let along = |steps: &[Self]| steps.iter().fold(values.clone(), |found, step| step.apply_to_all(root, found));
        match self {
            // One alternative of all values, then the next.
            Self::Union(alternatives) => alternatives.iter().flat_map(|steps| along(steps)).collect(),
            Self::Nested(steps) => along(steps),
            step => values.into_iter().flat_map(|value| step.apply(root, value)).collect(),
        }
    }

    fn apply<'a>(&self, root: &'a Value, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Self::Field(name) => value.get(name).into_iter().collect(),
            Self::Wildcard => children(value),
            Self::Recursive(name) => descendants(value).into_iter().filter_map(|inner| inner.get(name)).collect(),
            Self::RecursiveAll => descendants(value),
            Self::Index(index) => at(value, *index).into_iter().collect(),
            Self::Slice { start, end, step } => slice(value, *start, *end, *step),
            Self::Union(_) | Self::Nested(_) => self.apply_to_all(root, vec![value]),
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
        assert_eq!(rendered(r"{.items[0].metadata.labels['k8s\.io/x']}"), "1");
        assert_eq!(rendered("{.items[*]['metadata.name','n']}"), "a b 3 7");
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
