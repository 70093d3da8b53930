//! `-o custom-columns=NAME:.metadata.name,…` (upstream:
//! `cli-runtime/pkg/printers`, `kubectl/pkg/cmd/get/customcolumn.go`).

use super::{jsonpath::Template, table::Table};
use anyhow::{Result, bail};
use serde_json::Value;

/// Headings and what is under them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    columns: Vec<(String, Template)>,
}

impl Spec {
    /// Reads `HEADING:path,HEADING:path`.
    ///
    /// # Errors
    /// A part without a colon; a path that does not parse.
    pub fn parse(text: &str) -> Result<Self> {
        let mut columns = Vec::new();
        for part in text.split(',') {
            let Some((heading, path)) =
                part.split_once(':').filter(|(heading, path)| !heading.is_empty() && !path.is_empty())
            else {
                bail!("unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>");
            };
            columns.push((heading.to_owned(), Template::parse_relaxed(path)?));
        }
        Ok(Self { columns })
    }

    /// Reads a file of two lines: headings, and the paths under them.
    ///
    /// # Errors
    /// As many headings as paths are needed; a path that does not parse.
    pub fn parse_file(text: &str) -> Result<Self> {
        let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let (Some(headings), Some(paths)) = (lines.next(), lines.next()) else {
            bail!(
                "invalid template, missing header line. Expected format is one line of space separated headers, one line of space separated column specs."
            );
        };
        if headings.len() != paths.len() {
            bail!("number of headers ({}) and field specifications ({}) don't match", headings.len(), paths.len());
        }
        let column = |(heading, path): (&str, &str)| Ok((heading.to_owned(), Template::parse_relaxed(path)?));
        Ok(Self { columns: headings.into_iter().zip(paths).map(column).collect::<Result<_>>()? })
    }

    /// The table; `<none>` where a path finds nothing.
    ///
    /// # Errors
    /// None today: a path that does not fit finds nothing.
    pub fn render(&self, objects: &[&Value], headers: bool) -> Result<String> {
        let mut rows: Vec<Vec<String>> = Vec::new();
        if headers {
            rows.push(self.columns.iter().map(|(heading, _)| heading.clone()).collect());
        }
        for object in objects {
            rows.push(self.columns.iter().map(|(_, template)| cell(template, object)).collect());
        }
        Ok(Table::default().layout(&rows))
    }
}

fn cell(template: &Template, object: &Value) -> String {
    let found: Vec<String> = template.find(object).iter().map(|value| super::jsonpath::text(value)).collect();
    if found.is_empty() { "<none>".to_owned() } else { found.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_find_values_or_none() {
        let spec =
            Spec::parse("NAME:.metadata.name,IMAGES:spec.containers[*].image,NODE:.spec.nodeName").expect("valid");
        let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"image": "x"}, {"image": "y"}]}});
        assert_eq!(spec.render(&[&pod], true).expect("renders"), "NAME   IMAGES   NODE\na      x,y      <none>\n");
        assert!(Spec::parse("NAME").is_err());
        let file = Spec::parse_file("NAME  NODE\n.metadata.name .spec.nodeName\n").expect("valid");
        assert_eq!(file, Spec::parse("NAME:.metadata.name,NODE:.spec.nodeName").expect("valid"));
        assert!(Spec::parse_file("NAME NODE\n.a\n").is_err() && Spec::parse_file("NAME\n").is_err());
    }
}
