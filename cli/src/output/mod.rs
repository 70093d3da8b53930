//! Objects become bytes on standard output; nothing else prints.

pub mod columns;
mod format;
pub mod gotemplate;
pub mod jsonpath;
pub mod table;
pub mod yaml;

pub use format::Format;

use crate::resources::ResourceType;
use anyhow::Result;
use serde_json::{Value, json};
use std::io::Write;

/// Standard output, locked for one command's piece of output.
pub fn stdout() -> impl Write {
    std::io::stdout().lock()
}

/// Prints one line.
///
/// # Errors
/// When standard output is gone.
pub fn line(text: impl std::fmt::Display) -> Result<()> {
    Ok(writeln!(stdout(), "{text}")?)
}

/// A number of bytes as docker shows it.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes}B"),
        1_000..1_000_000 => format!("{:.1}kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1}MB", bytes as f64 / 1e6),
        _ => format!("{:.1}GB", bytes as f64 / 1e9),
    }
}

/// Objects of a command, and how they were asked for.
#[derive(Default)]
pub struct Objects {
    /// Type and object.
    pub items: Vec<(ResourceType, Value)>,
    /// A single named object prints as itself, all else as a list.
    pub single: bool,
    /// Whether who manages which field is shown.
    pub managed_fields: bool,
}

impl Objects {
    fn document(&self) -> Value {
        let mut document = self.whole_document();
        if !self.managed_fields {
            hide_managed_fields(&mut document);
        }
        document
    }

    fn whole_document(&self) -> Value {
        match self.items.as_slice() {
            [(_, object)] if self.single => object.clone(),
            items => {
                let items: Vec<&Value> = items.iter().map(|(_, object)| object).collect();
                json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}})
            }
        }
    }

    /// Prints in any format but a table.
    ///
    /// # Errors
    /// When standard output is gone, or a template does not fit the objects.
    pub fn print(&self, format: &Format, headers: bool) -> Result<()> {
        self.write(&mut stdout(), format, headers)
    }

    /// The same to somewhere else.
    ///
    /// # Errors
    /// As [`Objects::print`].
    pub fn write(&self, mut out: impl Write, format: &Format, headers: bool) -> Result<()> {
        match format {
            Format::Json => writeln!(out, "{}", json_text(&self.document())?)?,
            Format::Yaml => write!(out, "{}", yaml::to_string(&self.document()))?,
            Format::Name | Format::Table { .. } => {
                for (resource, object) in &self.items {
                    writeln!(out, "{}", resource.display(object["metadata"]["name"].as_str().unwrap_or_default()))?;
                }
            }
            Format::JsonPath(template) => write!(out, "{}", template.render(&self.document())?)?,
            Format::JsonPathAsJson(template) => {
                for found in template.find_each(&self.document()) {
                    writeln!(out, "{}", json_text(&json!(found))?)?;
                }
            }
            Format::GoTemplate(template) => write!(out, "{}", template.render(&self.document())?)?,
            Format::CustomColumns(spec) => {
                let objects: Vec<&Value> = self.items.iter().map(|(_, object)| object).collect();
                write!(out, "{}", spec.render(&objects, headers)?)?;
            }
        }
        Ok(out.flush()?)
    }
}

/// As kubectl since 1.21: who manages which field is long and rarely asked for.
fn hide_managed_fields(document: &mut Value) {
    let remove = |object: &mut Value| {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    };
    match document.get_mut("items").and_then(Value::as_array_mut) {
        Some(items) => items.iter_mut().for_each(remove),
        None => remove(document),
    }
}

/// JSON as kubectl prints it: four spaces.
///
/// # Errors
/// None in practice; a `Value` always has a text.
pub fn json_text(value: &Value) -> Result<String> {
    use serde::Serialize;
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(String::from_utf8(bytes)?)
}
