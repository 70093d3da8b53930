//! The page of a kind or a field: heading, description, fields. The layout,
//! blanks at line ends included, is upstream's (`plaintext.tmpl`).

use super::{
    schema::{self, Document, map_values, parts, properties, reference, title},
    wrap::{indent, wrap},
};
use crate::resources::ResourceType;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fmt::Write;

/// Values of an enum that a list of fields shows.
const ENUM_SHOWN: usize = 4;

/// Columns of a description.
const WIDTH: usize = 80;

/// A page as it is printed: kubectl has the heading out before it looks for the
/// field.
pub(super) struct Rendered {
    pub(super) heading: String,
    pub(super) body: Result<String>,
}

/// # Errors
/// The document lacks the resource.
pub(super) fn render(
    document: &Document,
    resource: &ResourceType,
    path: &[String],
    recursive: bool,
) -> Result<Rendered> {
    let kind =
        document.kind_of(resource).with_context(|| format!("GVR ({}) not found in OpenAPI schema", title(resource)))?;
    let schema = document.schema_of(kind).with_context(|| format!("GVK {kind} not found in OpenAPI schema"))?;
    let body = Page { document, recursive }.output(schema, path, &Seen::default());
    let last = path.last().map(String::as_str).unwrap_or_default();
    let text = |key: &str| kind[key].as_str().unwrap_or_default().to_owned();
    let group = Some(text("group")).filter(|group| !group.is_empty());
    let group = group.map(|group| format!("GROUP:      {group}\n")).unwrap_or_default();
    Ok(Rendered {
        heading: format!("{group}KIND:       {}\nVERSION:    {}\n\n", text("kind"), text("version")),
        body: body.with_context(|| format!("field {last:?} does not exist")),
    })
}

/// References on the way from the root; schemas refer to themselves.
#[derive(Clone, Default)]
struct Seen<'a> {
    references: Vec<&'a str>,
}

impl<'a> Seen<'a> {
    fn knows(&self, schema: &Value) -> bool {
        reference(schema).is_some_and(|reference| self.references.contains(&reference))
    }

    fn with(&self, schema: &'a Value) -> Self {
        let references = self.references.iter().copied().chain(reference(schema)).collect();
        Self { references }
    }
}

struct Page<'a> {
    document: &'a Document,
    recursive: bool,
}

impl<'a> Page<'a> {
    /// What is at the end of the path; `None` when there is no such field.
    fn output(&self, schema: &'a Value, path: &[String], seen: &Seen<'a>) -> Option<String> {
        let resolved = self.document.resolve(schema);
        let Some((first, rest)) = path.split_first() else { return Some(self.body(resolved)) };
        if seen.knows(schema) {
            return None;
        }
        if let Some(field) = properties(resolved).and_then(|fields| fields.get(first)) {
            let body = self.output(field, rest, &Seen::default())?;
            let heading = if rest.is_empty() { self.heading(first, field) } else { String::new() };
            return Some(format!("{heading}{body}"));
        }
        let seen = seen.with(schema);
        if let Some(inner) = resolved.get("items").or_else(|| map_values(resolved)) {
            return self.output(inner, path, &seen);
        }
        schema::items(resolved, "allOf").iter().find_map(|part| self.output(part, path, &seen))
    }

    fn heading(&self, name: &str, field: &Value) -> String {
        let mut heading = format!("FIELD: {name} <{}>\n", self.document.type_of(field));
        let values = schema::items(field, "enum");
        if !values.is_empty() {
            heading.push_str("ENUM:");
            heading.extend(values.iter().map(|value| format!("\n    {}", enum_text(value))));
        }
        heading + "\n\n"
    }

    fn body(&self, schema: &'a Value) -> String {
        let mut description = self.description(schema);
        if description.is_empty() {
            description.push_str("<empty>");
        }
        let description = indent(4, &wrap(WIDTH - 4, &description));
        let fields = self.fields(schema, 1, &Seen::default());
        let fields = if fields.is_empty() { fields } else { format!("FIELDS:\n{fields}") };
        format!("DESCRIPTION:\n{description}\n{fields}")
    }

    /// Its own, then those of the schemas that it is made of.
    fn description(&self, schema: &Value) -> String {
        let schema = self.document.resolve(schema);
        let own = schema["description"].as_str().filter(|own| !own.is_empty());
        let own = own.map(|own| format!("{own}\n")).unwrap_or_default();
        parts(schema).fold(own, |text, part| text + &self.description(part))
    }

    fn fields(&self, schema: &'a Value, level: usize, seen: &Seen<'a>) -> String {
        let mut text = String::new();
        if seen.knows(schema) {
            return text;
        }
        let seen = seen.with(schema);
        let resolved = self.document.resolve(schema);
        for (name, field) in properties(resolved).into_iter().flatten() {
            let is_required = schema::items(resolved, "required").iter().any(|required| required == name);
            text.push_str(&self.field(name, field, is_required, level * 2));
            if self.recursive {
                text.push_str(&self.fields(field, level + 1, &seen));
            }
        }
        parts(resolved).fold(text, |text, part| text + &self.fields(part, level, &seen))
    }

    fn field(&self, name: &str, field: &Value, is_required: bool, margin: usize) -> String {
        let required = if is_required { " -required-" } else { "" };
        let mut text = format!(
            "{}\t<{}>{required}{}\n",
            indent(margin, name),
            self.document.type_of(field),
            enum_line(field, margin)
        );
        if !self.recursive {
            let description = field["description"].as_str().filter(|own| !own.is_empty()).unwrap_or("<no description>");
            let wrapped = indent(margin + 2, &wrap(WIDTH - 2 - margin, description));
            let _ = write!(text, "{wrapped}\n\n");
        }
        text
    }
}

fn enum_line(field: &Value, margin: usize) -> String {
    let values = schema::items(field, "enum");
    if values.is_empty() {
        return String::new();
    }
    let mut shown: Vec<String> = values.iter().take(ENUM_SHOWN).map(enum_text).collect();
    if values.len() > ENUM_SHOWN {
        shown.push("....".to_owned());
    }
    format!("\n{}enum: {}", " ".repeat(margin), shown.join(", "))
}

fn enum_text(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn page(path: &str, recursive: bool) -> Result<String> {
        let schemas = json!({
            "W": {"x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "W"}],
                "description": "A thing.", "required": ["spec"],
                "properties": {"spec": {"description": "What.", "allOf": [{"$ref": "#/components/schemas/S"}]}}},
            "S": {"type": "object", "properties": {
                "mode": {"type": "string", "enum": ["", "a", "b", "c", "d"]},
                "more": {"type": "array", "items": {"$ref": "#/components/schemas/S"}}}},
        });
        let kind = json!({"group": "", "version": "v1", "kind": "W"});
        let paths = json!({"/api/v1/ws": {"get": {"x-kubernetes-group-version-kind": kind}}});
        let document = Document::new(json!({"paths": paths, "components": {"schemas": schemas}}));
        let discovery = json!({"items": [{"metadata": {"name": ""}, "versions": [{"version": "v1", "resources": [{"resource": "ws"}]}]}]});
        let resources = crate::resources::Discovery::parse(&[discovery]).resources;
        let path: Vec<String> = path.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let page = render(&document, &resources[0], &path, recursive)?;
        Ok(format!("{}{}\n", page.heading, page.body?))
    }

    #[test]
    fn a_kind_a_field_and_an_enum() {
        let head = "KIND:       W\nVERSION:    v1\n\n";
        let whole = page("", false).expect("there");
        assert_eq!(
            whole,
            format!("{head}DESCRIPTION:\n    A thing.\n    \nFIELDS:\n  spec\t<S> -required-\n    What.\n\n\n")
        );
        let mode = page("spec.mode", false).expect("there");
        let expected =
            "FIELD: mode <string>\nENUM:\n    \"\"\n    a\n    b\n    c\n    d\n\nDESCRIPTION:\n    <empty>\n\n";
        assert_eq!(mode, format!("{head}{expected}"));
        let error = page("spec.nope", false).expect_err("no such field");
        assert_eq!(error.to_string(), "field \"nope\" does not exist");
    }

    #[test]
    fn what_refers_to_itself_ends() {
        let all = page("", true).expect("there");
        let fields = "  spec\t<S> -required-\n    mode\t<string>\n    enum: \"\", a, b, c, ....\n    more\t<[]S>\n";
        assert!(all.ends_with(&format!("FIELDS:\n{fields}\n")), "{all}");
        assert!(page("spec.more.more.mode", false).is_ok(), "a path may go round");
    }
}
