//! Objects become bytes on standard output; nothing else prints.

pub mod columns;
pub mod jsonpath;
pub mod table;
pub mod yaml;

use crate::resources::ResourceType;
use anyhow::{Result, bail};
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

/// `-o`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table; wide or not.
    Table {
        /// Also columns of priority 1.
        wide: bool,
    },
    /// `json`
    Json,
    /// `yaml`
    Yaml,
    /// `name`
    Name,
    /// `jsonpath=…`
    JsonPath(jsonpath::Template),
    /// `custom-columns=…`
    CustomColumns(columns::Spec),
}

/// What can follow `-o`.
const FORMATS: &str = "custom-columns,json,jsonpath,name,wide,yaml";

impl Format {
    /// Reads `-o`'s value.
    ///
    /// # Errors
    /// An unknown format; a template that does not parse.
    pub fn parse(text: Option<&str>) -> Result<Self> {
        let Some(text) = text else { return Ok(Self::Table { wide: false }) };
        let (name, argument) = text.split_once('=').unwrap_or((text, ""));
        Ok(match name {
            "wide" => Self::Table { wide: true },
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            "name" => Self::Name,
            "jsonpath" if !argument.is_empty() => Self::JsonPath(jsonpath::Template::parse(argument)?),
            "jsonpath" => bail!("template format specified but no template given"),
            "custom-columns" if !argument.is_empty() => Self::CustomColumns(columns::Spec::parse(argument)?),
            "custom-columns" => bail!("custom-columns format specified but no custom columns given"),
            other => bail!(
                "unable to match a printer suitable for the output format {other:?}, allowed formats are: {FORMATS}"
            ),
        })
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
        let mut out = stdout();
        match format {
            Format::Json => writeln!(out, "{}", json_text(&self.document())?)?,
            Format::Yaml => write!(out, "{}", yaml::to_string(&self.document()))?,
            Format::Name | Format::Table { .. } => {
                for (resource, object) in &self.items {
                    writeln!(out, "{}", resource.display(object["metadata"]["name"].as_str().unwrap_or_default()))?;
                }
            }
            Format::JsonPath(template) => write!(out, "{}", template.render(&self.document())?)?,
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
