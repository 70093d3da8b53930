//! What follows `-o`.

use super::{columns, gotemplate, jsonpath};
use anyhow::{Result, anyhow, bail};

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
    /// `jsonpath-as-json=…`
    JsonPathAsJson(jsonpath::Template),
    /// `go-template=…`
    GoTemplate(gotemplate::Template),
    /// `custom-columns=…`
    CustomColumns(columns::Spec),
}

/// What can follow `-o` of `get`.
const FORMATS: &str = "custom-columns,custom-columns-file,go-template,go-template-file,json,jsonpath,jsonpath-as-json,jsonpath-file,name,template,templatefile,wide,yaml";

/// What can follow any other command's `-o`.
const OBJECT_FORMATS: &str =
    "go-template,go-template-file,json,jsonpath,jsonpath-as-json,jsonpath-file,name,template,templatefile,yaml";

impl Format {
    /// Reads `-o`'s value; without one it is a table.
    ///
    /// # Errors
    /// An unknown format; a template that does not parse.
    pub fn parse(text: Option<&str>) -> Result<Self> {
        text.map_or(Ok(Self::Table { wide: false }), parse)
    }

    /// The same when the template may be `--template`'s value.
    ///
    /// # Errors
    /// As [`Format::parse`].
    pub fn with_template(text: Option<&str>, template: Option<&str>) -> Result<Self> {
        Self::parse(joined(text, template).as_deref())
    }

    /// The format of what a command has changed; `None` for a line that says so.
    ///
    /// # Errors
    /// As [`Format::parse`]; also for a table, which only `get` prints.
    pub fn of_change(text: Option<&str>, template: Option<&str>) -> Result<Option<Self>> {
        let Some(text) = joined(text, template) else { return Ok(None) };
        let name = text.split_once('=').map_or(text.as_str(), |(name, _)| name);
        if name == "wide" || name.starts_with("custom-columns") || !FORMATS.split(',').any(|known| known == name) {
            return Err(unknown(name, OBJECT_FORMATS));
        }
        parse(&text).map(Some)
    }
}

/// `-o jsonpath --template=X` is `-o jsonpath=X`, and a template alone is Go's.
fn joined(text: Option<&str>, template: Option<&str>) -> Option<String> {
    match (text.filter(|text| !text.is_empty()), template.filter(|template| !template.is_empty())) {
        (None, None) => None,
        (None, Some(template)) => Some(format!("go-template={template}")),
        (Some(text), Some(template)) if is_template(text) => Some(format!("{text}={template}")),
        (Some(text), _) => Some(text.to_owned()),
    }
}

fn is_template(name: &str) -> bool {
    ["jsonpath", "go-template", "template"].iter().any(|kind| name.starts_with(kind)) && !name.contains('=')
}

fn parse(text: &str) -> Result<Format> {
    let (name, argument) = text.split_once('=').unwrap_or((text, ""));
    if argument.is_empty() && is_template(name) && FORMATS.split(',').any(|known| known == name) {
        bail!("template format specified but no template given");
    }
    Ok(match name {
        "wide" => Format::Table { wide: true },
        "json" => Format::Json,
        "yaml" => Format::Yaml,
        "name" => Format::Name,
        "jsonpath" => Format::JsonPath(jsonpath::Template::parse(argument)?),
        "jsonpath-file" => Format::JsonPath(jsonpath::Template::parse(&read(argument)?)?),
        "jsonpath-as-json" => Format::JsonPathAsJson(jsonpath::Template::parse(argument)?),
        "go-template" | "template" => Format::GoTemplate(gotemplate::Template::parse(argument)?),
        "go-template-file" | "templatefile" => Format::GoTemplate(gotemplate::Template::parse(&read(argument)?)?),
        "custom-columns" | "custom-columns-file" if argument.is_empty() => {
            bail!("custom-columns format specified but no custom columns given")
        }
        "custom-columns" => Format::CustomColumns(columns::Spec::parse(argument)?),
        "custom-columns-file" => Format::CustomColumns(columns::Spec::parse_file(&read(argument)?)?),
        other => return Err(unknown(other, FORMATS)),
    })
}

fn unknown(name: &str, known: &str) -> anyhow::Error {
    anyhow!("unable to match a printer suitable for the output format {name:?}, allowed formats are: {known}")
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            anyhow!("error reading --template {path}, open {path}: no such file or directory")
        }
        _ => anyhow!("error reading --template {path}, {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_may_come_by_its_own_flag() {
        let format = |text, template| Format::with_template(text, template).expect("valid");
        assert_eq!(format(Some("jsonpath"), Some("{.a}")), format(Some("jsonpath={.a}"), None));
        assert_eq!(format(None, Some("{{.a}}")), format(Some("go-template={{.a}}"), None));
        assert_eq!(format(Some("template={{.a}}"), Some("x")), format(Some("go-template={{.a}}"), None));
        assert_eq!(format(Some("yaml"), Some("{{.a}}")), Format::Yaml);
        let error = Format::parse(Some("jsonpath")).expect_err("no template").to_string();
        assert_eq!(error, "template format specified but no template given");
    }

    #[test]
    fn only_get_prints_tables() {
        let error = Format::of_change(Some("wide"), None).expect_err("a table").to_string();
        assert!(error.contains("\"wide\", allowed formats are: go-template,"), "{error}");
        assert_eq!(Format::of_change(None, None).expect("none given"), None);
        let error = Format::parse(Some("xml")).expect_err("unknown").to_string();
        assert!(error.contains("\"xml\", allowed formats are: custom-columns,"), "{error}");
    }
}
