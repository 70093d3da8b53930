//! Label selectors and field selectors: the string forms of the query, the
//! `metav1.LabelSelector` of objects, and matching (upstream:
//! `apimachinery/pkg/labels/selector.go`, `apimachinery/pkg/fields/selector.go`).
//! Called by the verbs for lists and watches, and by the strategies.

use crate::registry::{Resource, names};
use crate::schema::FieldError;
use serde_json::{Map, Value};
use std::fmt;

pub mod fields;
mod tokens;

pub use fields::Fields;
use tokens::{Context, Token, Tokens};

/// A conjunction of requirements on labels. The default matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    requirements: Vec<Requirement>,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What must hold of its value.
    pub condition: Condition,
}

/// What must hold of a label's value. Sets are sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `key=value`
    Equals(String),
    /// `key!=value`; also true without the label
    NotEquals(String),
    /// `key in (a,b)`
    In(Vec<String>),
    /// `key notin (a,b)`; also true without the label
    NotIn(Vec<String>),
    /// `key`
    Exists,
    /// `!key`
    DoesNotExist,
    /// `key>1`
    GreaterThan(i64),
    /// `key<1`
    LessThan(i64),
}

impl Labels {
    /// Parses the string form: `a=b,c!=d,e in (x,y),!f,g>1`.
    ///
    /// # Errors
    /// Upstream's message.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Tokens::new(text);
        let mut requirements = Vec::new();
        loop {
            match tokens.peek(Context::Values) {
                (Token::Identifier | Token::Not, _) => {
                    let requirement = parse_requirement(&mut tokens);
                    requirements.push(requirement.map_err(|error| format!("unable to parse requirement: {error}"))?);
                    if parse_separator(&mut tokens)? == Token::End {
                        break;
                    }
                }
                (Token::End, _) => break,
                (_, found) => return Err(format!("found '{found}', expected: !, identifier, or 'end of string'")),
            }
        }
        Ok(Self::sorted(requirements))
    }

    /// Reads a `metav1.LabelSelector`. `None` when there is none (it selects
    /// nothing) or it is invalid; an empty one selects everything.
    pub fn from_object(selector: &Value) -> Option<Self> {
        let selector = selector.as_object()?;
        let mut requirements = equalities(selector.get("matchLabels").and_then(Value::as_object));
        for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            requirements.push(Requirement::from_expression(expression)?);
        }
        Some(Self::sorted(requirements))
    }

    /// A selector that is a plain map of labels, as Services have.
    pub fn from_map(labels: &Map<String, Value>) -> Self {
        Self::sorted(equalities(Some(labels)))
    }

    fn sorted(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|left, right| left.key.cmp(&right.key));
        Self { requirements }
    }

    /// Whether it has no requirements, so that it matches everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether the labels fulfil all requirements.
    pub fn matches(&self, labels: &Map<String, Value>) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.condition.holds(labels.get(&requirement.key).and_then(Value::as_str)))
    }

    /// The requirements, sorted by key.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }
}

fn equalities(labels: Option<&Map<String, Value>>) -> Vec<Requirement> {
    let pairs = labels.into_iter().flatten();
    let requirement = |(key, value): (&String, &Value)| Requirement {
        key: key.clone(),
        condition: Condition::Equals(value.as_str().unwrap_or_default().to_owned()),
    };
    pairs.map(requirement).collect()
}

impl Requirement {
    fn from_expression(expression: &Value) -> Option<Self> {
        let key = expression["key"].as_str()?.to_owned();
        let values = expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut values: Vec<String> = values.map(str::to_owned).collect();
        values.sort();
        values.dedup();
        let condition = match expression["operator"].as_str()? {
            "In" => Condition::In(values),
            "NotIn" => Condition::NotIn(values),
            "Exists" => Condition::Exists,
            "DoesNotExist" => Condition::DoesNotExist,
            _ => return None,
        };
        Some(Self { key, condition })
    }
}

impl Condition {
    /// Whether a label with this value (`None`: no such label) fulfils it.
    pub fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::Equals(wanted) => value == Some(wanted),
            Self::NotEquals(refused) => value != Some(refused),
            Self::In(wanted) => value.is_some_and(|value| wanted.iter().any(|wanted| wanted == value)),
            Self::NotIn(refused) => value.is_none_or(|value| refused.iter().all(|refused| refused != value)),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
            Self::GreaterThan(bound) => number().is_some_and(|number| number > *bound),
            Self::LessThan(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            write!(formatter, "{}{requirement}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.condition {
            Condition::Equals(value) => write!(formatter, "{key}={value}"),
            Condition::NotEquals(value) => write!(formatter, "{key}!={value}"),
            Condition::In(values) => write!(formatter, "{key} in ({})", values.join(",")),
            Condition::NotIn(values) => write!(formatter, "{key} notin ({})", values.join(",")),
            Condition::Exists => write!(formatter, "{key}"),
            Condition::DoesNotExist => write!(formatter, "!{key}"),
            Condition::GreaterThan(bound) => write!(formatter, "{key}>{bound}"),
            Condition::LessThan(bound) => write!(formatter, "{key}<{bound}"),
        }
    }
}

fn parse_separator(tokens: &mut Tokens<'_>) -> Result<Token, String> {
    match tokens.next(Context::Values) {
        (Token::End, _) => Ok(Token::End),
        (Token::Comma, _) => match tokens.peek(Context::Values) {
            (Token::Identifier | Token::Not, _) => Ok(Token::Comma),
            (_, found) => Err(format!("found '{found}', expected: identifier after ','")),
        },
        (_, found) => Err(format!("found '{found}', expected: ',' or 'end of string'")),
    }
}

fn parse_requirement(tokens: &mut Tokens<'_>) -> Result<Requirement, String> {
    let (mut token, mut text) = tokens.next(Context::Values);
    let negated = token == Token::Not;
    if negated {
        (token, text) = tokens.next(Context::Values);
    }
    if token != Token::Identifier {
        return Err(format!("found '{text}', expected: identifier"));
    }
    check_key(text)?;
    let bare = matches!(tokens.peek(Context::Values).0, Token::End | Token::Comma);
    let condition = match (negated, bare) {
        (true, _) => Condition::DoesNotExist,
        (false, true) => Condition::Exists,
        (false, false) => parse_condition(tokens, text)?,
    };
    Ok(Requirement { key: text.to_owned(), condition })
}

fn parse_condition(tokens: &mut Tokens<'_>, key: &str) -> Result<Condition, String> {
    let (operator, text) = tokens.next(Context::Operator);
    let condition = match operator {
        Token::In => Condition::In(parse_values(tokens)?),
        Token::NotIn => Condition::NotIn(parse_values(tokens)?),
        Token::Equals => Condition::Equals(parse_value(tokens)?),
        Token::NotEquals => Condition::NotEquals(parse_value(tokens)?),
        Token::Greater => Condition::GreaterThan(parse_bound(tokens)?),
        Token::Less => Condition::LessThan(parse_bound(tokens)?),
        _ => return Err(format!("found '{text}', expected: in, notin, =, ==, !=, gt, lt")),
    };
    check_values(key, &condition)?;
    Ok(condition)
}

fn parse_value(tokens: &mut Tokens<'_>) -> Result<String, String> {
    if matches!(tokens.peek(Context::Values).0, Token::End | Token::Comma) {
        return Ok(String::new());
    }
    match tokens.next(Context::Values) {
        (Token::Identifier, text) => Ok(text.to_owned()),
        (_, found) => Err(format!("found '{found}', expected: identifier")),
    }
}

fn parse_bound(tokens: &mut Tokens<'_>) -> Result<i64, String> {
    let text = parse_value(tokens)?;
    let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
    text.parse().map_err(|_| FieldError::invalid("values[0]", text, detail).to_string())
}

/// `(a,b)`, with empty values where upstream has them: `()`, `(,b)`, `(a,)`.
fn parse_values(tokens: &mut Tokens<'_>) -> Result<Vec<String>, String> {
    match tokens.next(Context::Values) {
        (Token::Open, _) => {}
        (_, found) => return Err(format!("found '{found}' expected: '('")),
    }
    let mut values = match tokens.peek(Context::Values) {
        (Token::Identifier | Token::Comma, _) => parse_list(tokens)?,
        (Token::Close, _) => vec![String::new()],
        (_, found) => return Err(format!("found '{found}', expected: ',', ')' or identifier")),
    };
    tokens.next(Context::Values); // the closing parenthesis that the arms above have seen
    values.sort();
    values.dedup();
    Ok(values)
}

fn parse_list(tokens: &mut Tokens<'_>) -> Result<Vec<String>, String> {
    let mut values = Vec::new();
    loop {
        match tokens.next(Context::Values) {
            (Token::Identifier, text) => {
                values.push(text.to_owned());
                match tokens.peek(Context::Values) {
                    (Token::Comma, _) => {}
                    (Token::Close, _) => return Ok(values),
                    (_, found) => return Err(format!("found '{found}', expected: ',' or ')'")),
                }
            }
            (Token::Comma, _) => {
                let next = tokens.peek(Context::Values).0;
                if values.is_empty() || matches!(next, Token::Close | Token::Comma) {
                    values.push(String::new());
                }
                match next {
                    Token::Close => return Ok(values),
                    Token::Comma => drop(tokens.next(Context::Values)),
                    _ => {}
                }
            }
            (_, found) => return Err(format!("found '{found}', expected: ',', or identifier")),
        }
    }
}

fn check_key(key: &str) -> Result<(), String> {
    let messages = names::qualified_name(key);
    if messages.is_empty() { Ok(()) } else { Err(FieldError::invalid("key", key, messages.join("; ")).to_string()) }
}

fn check_values(key: &str, condition: &Condition) -> Result<(), String> {
    let values = match condition {
        Condition::Equals(value) | Condition::NotEquals(value) => std::slice::from_ref(value),
        Condition::In(values) | Condition::NotIn(values) => values,
        _ => return Ok(()),
    };
    let broken = values.iter().enumerate().filter_map(|(index, value)| {
        let messages = names::label_value(value);
        let field = format!("values[{index}][{key}]");
        (!messages.is_empty()).then(|| FieldError::invalid(field, value.as_str(), messages.join("; ")).to_string())
    });
    let messages: Vec<String> = broken.collect();
    match messages.len() {
        0 => Ok(()),
        1 => Err(messages.join("")),
        _ => Err(format!("[{}]", messages.join(", "))),
    }
}

#[cfg(test)]
mod tests;
