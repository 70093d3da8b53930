//! `-o go-template=…`: Go's text/template over objects, with the functions that
//! kubectl adds (upstream: `cli-runtime/pkg/printers/template.go`).

use anyhow::{Context, Result, anyhow};
use base64::{Engine, prelude::BASE64_STANDARD};
use gotmpl::{TemplateError, Value as Data};
use serde_json::Value;
use std::sync::Arc;

/// Turns of a `range`, in case a template goes round for ever.
const TURNS_MAX: u64 = 10_000_000;

/// A template whose syntax is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
}

impl Template {
    /// # Errors
    /// What does not parse, and where.
    pub fn parse(text: &str) -> Result<Self> {
        compile(text).map_err(|error| anyhow!("error parsing template {text}, {error}"))?;
        Ok(Self { text: text.to_owned() })
    }

    /// The template's text for an object.
    ///
    /// # Errors
    /// The template does not fit the object.
    pub fn render(&self, object: &Value) -> Result<String> {
        let template = compile(&self.text).map_err(|error| anyhow!("{error}"))?;
        let rendered = template.execute_to_string(&data(object)).map_err(|error| anyhow!("{error}"));
        rendered.with_context(|| format!("error executing template {:?}", self.text))
    }
}

fn compile(text: &str) -> Result<gotmpl::Template, TemplateError> {
    gotmpl::Template::new("output")
        .max_range_iters(TURNS_MAX)
        .func("exists", |words| Ok(Data::Bool(exists(words))))
        .func("base64decode", |words| decode(words.first().and_then(Data::as_str).unwrap_or_default()))
        .parse(text)
}

/// Whether a map has the keys, each in what the one before leads to.
fn exists(words: &[Data]) -> bool {
    let Some((first, path)) = words.split_first() else { return false };
    let mut found = first;
    for key in path {
        match key.as_str().and_then(|key| found.field(key)) {
            Some(inner) => found = inner,
            None => return false,
        }
    }
    !matches!(found, Data::Nil)
}

fn decode(text: &str) -> Result<Data, TemplateError> {
    let bytes =
        BASE64_STANDARD.decode(text).map_err(|error| TemplateError::Exec(format!("base64 decode failed: {error}")))?;
    Ok(Data::String(String::from_utf8_lossy(&bytes).into()))
}

/// As Go reads JSON into nothing in particular: every number is a float. (Above
/// a million Go prints `1e+06`; here it stays readable.)
fn data(value: &Value) -> Data {
    match value {
        Value::Null => Data::Nil,
        Value::Bool(value) => Data::Bool(*value),
        Value::Number(value) => Data::Float(value.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Data::String(text.as_str().into()),
        Value::Array(items) => Data::List(items.iter().map(data).collect()),
        Value::Object(fields) => {
            Data::Map(Arc::new(fields.iter().map(|(key, value)| (key.as_str().into(), data(value))).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rendered(template: &str) -> Result<String> {
        let list = json!({"kind": "List", "items": [
            {"metadata": {"name": "a", "labels": {"x/y": "1"}}, "n": 3, "secret": "aGk="},
            {"metadata": {"name": "b"}, "n": 30001, "ready": true},
        ]});
        Template::parse(template)?.render(&list)
    }

    #[test]
    fn templates_print_as_gos_do() {
        for (template, expected) in [
            (r#"{{range .items}}{{.metadata.name}}{{"\n"}}{{end}}"#, "a\nb\n"),
            ("{{range $i, $o := .items}}{{$i}}={{$o.n}} {{end}}", "0=3 1=30001 "),
            (r#"{{with index .items 0}}{{index .metadata.labels "x/y"}}{{end}}"#, "1"),
            ("{{(index .items 1).nope}} {{len .items}}", "<no value> 2"),
            (r#"{{range .items}}{{if exists . "metadata" "labels"}}{{.secret | base64decode}}{{end}}{{end}}"#, "hi"),
            (r#"{{range .items}}{{if .ready}}{{printf "%s!" .metadata.name}}{{end}}{{end}}"#, "b!"),
        ] {
            assert_eq!(rendered(template).expect(template), expected);
        }
    }

    #[test]
    fn mistakes_are_errors() {
        for template in ["{{.items", "{{nope .}}", "{{index .items 7}}", "{{base64decode \"?\"}}"] {
            assert!(rendered(template).is_err(), "{template}");
        }
    }
}
