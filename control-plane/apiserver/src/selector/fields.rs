//! Field selectors: `metadata.name=a,status.phase!=Running`. Values may have
//! backslashes before `\`, `,` and `=`.

use super::Resource;
use std::fmt;

/// The name in `metadata.name=NAME`, when the selector is nothing else
/// (upstream: `RequestInfoFactory` reads it so that rules can name the object).
pub fn exact_name(selector: &str) -> Option<&str> {
    let value = selector.strip_prefix("metadata.name=")?;
    let name = value.strip_prefix('=').unwrap_or(value);
    (!name.is_empty() && !name.contains([',', '=', '\\', '/', '%'])).then_some(name)
}

/// A conjunction of conditions on fields. The default matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    terms: Vec<Term>,
}

/// One condition on one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// `metadata.name`
    pub field: String,
    /// Whether the value must be equal or must differ.
    pub equal: bool,
    /// The value, without escapes.
    pub value: String,
}

impl Fields {
    /// Parses the string form. Which fields a kind knows is [`Fields::check`]'s
    /// business.
    ///
    /// # Errors
    /// Upstream's message.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut terms = Vec::new();
        for part in split_unescaped(text) {
            if part.is_empty() {
                continue;
            }
            let (field, equal, value) =
                split_term(part).ok_or_else(|| format!("invalid selector: '{text}'; can't understand '{part}'"))?;
            terms.push(Term { field: field.to_owned(), equal, value: unescape(value)? });
        }
        terms.sort_by(|left, right| left.field.cmp(&right.field));
        Ok(Self { terms })
    }

    /// Whether the resource can be selected by all the fields.
    ///
    /// # Errors
    /// Upstream's message for the first field that it cannot.
    pub fn check(&self, resource: &Resource) -> Result<(), String> {
        let known = resource.strategy.selectable_field_names();
        let generic = |field: &str| field == "metadata.name" || field == "metadata.namespace";
        for term in &self.terms {
            if generic(&term.field) || known.contains(&term.field.as_str()) {
                continue;
            }
            return Err(if known.is_empty() {
                format!(
                    "{:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                    term.field
                )
            } else {
                format!("field label not supported: {}", term.field)
            });
        }
        Ok(())
    }

    /// Whether the field values fulfil all conditions; a field without a value
    /// counts as empty.
    pub fn matches<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms.iter().all(|term| (value_of(&term.field).unwrap_or_default() == term.value) == term.equal)
    }

    /// Whether an object of the resource fulfils all conditions.
    pub fn matches_object(&self, resource: &Resource, object: &serde_json::Value) -> bool {
        if self.terms.is_empty() {
            return true;
        }
        let own = resource.strategy.selectable_fields(object);
        self.matches(|field| match field {
            "metadata.name" => Some(crate::object::name(object)),
            "metadata.namespace" => Some(crate::object::namespace(object)),
            _ => own.iter().find(|(name, _)| *name == field).map(|(_, value)| value.as_str()),
        })
    }

    /// The value that the field must have, when the selector asks for one: a
    /// list by `metadata.name` is then a get.
    pub fn required_value(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.field == field).map(|term| term.value.as_str())
    }

    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            let operator = if term.equal { "=" } else { "!=" };
            let value = term.value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            write!(formatter, "{separator}{}{operator}{value}", term.field)?;
        }
        Ok(())
    }
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    (0..term.len()).filter(|index| term.is_char_boundary(*index)).find_map(|index| {
        let (field, rest) = term.split_at(index);
        [("!=", false), ("==", true), ("=", true)]
            .into_iter()
            .find_map(|(operator, equal)| rest.strip_prefix(operator).map(|value| (field, equal, value)))
    })
}

fn unescape(value: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
                Some(other) => return Err(format!("invalid field selector: invalid escape sequence: \\{other}")),
                None => return Err("invalid field selector: invalid escape sequence: \\".to_owned()),
            },
            ',' | '=' => return Err(format!("invalid field selector: unescaped character in value: {character}")),
            other => plain.push(other),
        }
    }
    Ok(plain)
}
