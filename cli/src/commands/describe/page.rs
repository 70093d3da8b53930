//! Lines of a description, with the values of each block in one column.

use serde_json::{Map, Value};

/// Spaces between the longest label of a block and its values.
const GAP: usize = 2;

/// A description being written. Labels and values collect in a block; a block
/// ends where the next one begins.
#[derive(Default)]
pub(super) struct Page {
    text: String,
    block: Vec<(usize, String, String)>,
}

impl Page {
    /// `label:  value` at a level of indentation.
    pub(super) fn line(&mut self, level: usize, label: &str, value: impl Into<String>) {
        self.block.push((level, format!("{label}:"), value.into()));
    }

    /// A heading with nothing after it.
    pub(super) fn heading(&mut self, level: usize, label: &str) {
        self.line(level, label, "");
    }

    /// Text that stands alone.
    pub(super) fn raw(&mut self, level: usize, text: &str) {
        self.end_block();
        self.text.push_str(&format!("{}{text}\n", "  ".repeat(level)));
    }

    /// A label whose values go below each other: maps and lists.
    pub(super) fn lines(&mut self, level: usize, label: &str, values: &[String]) {
        let Some((first, rest)) = values.split_first() else { return self.line(level, label, "<none>") };
        self.line(level, label, first.clone());
        self.block.extend(rest.iter().map(|value| (level, String::new(), value.clone())));
    }

    /// Rows under headings, indented.
    pub(super) fn table(&mut self, level: usize, rows: &[Vec<String>]) {
        self.end_block();
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0) + GAP).collect();
        for row in rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            let line = format!("{}{}", "  ".repeat(level), cells.collect::<String>());
            self.text.push_str(line.trim_end());
            self.text.push('\n');
        }
    }

    fn end_block(&mut self) {
        let label_width = |(level, label, _): &(usize, String, String)| level * 2 + label.chars().count() + GAP;
        let width = self.block.iter().map(label_width).max().unwrap_or(0);
        for (level, label, value) in self.block.drain(..) {
            let label = format!("{}{label}", "  ".repeat(level));
            self.text.push_str(format!("{label:<width$}{value}").trim_end());
            self.text.push('\n');
        }
    }

    /// Ends the current block, so that the next one has its own column.
    pub(super) fn next_block(&mut self) {
        self.end_block();
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        self.end_block();
        self.text
    }
}

/// The value as text: strings bare, absent as `<none>`.
pub(in super::super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "<none>".to_owned(),
        Value::String(text) if text.is_empty() => "<none>".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `key: value` lines (annotations) or `key=value` lines (labels).
pub(in super::super) fn pairs(map: &Value, separator: &str) -> Vec<String> {
    let hidden = "kubectl.kubernetes.io/last-applied-configuration";
    let shown = map.as_object().into_iter().flatten().filter(|(key, _)| *key != hidden);
    shown.map(|(key, value)| format!("{key}{separator}{}", value.as_str().unwrap_or_default())).collect()
}

/// Name, namespace, labels and annotations.
pub(super) fn metadata(page: &mut Page, object: &Value) {
    let metadata = &object["metadata"];
    page.line(0, "Name", text(&metadata["name"]));
    if metadata["namespace"].is_string() {
        page.line(0, "Namespace", text(&metadata["namespace"]));
    }
}

/// Labels and annotations.
pub(super) fn labels(page: &mut Page, object: &Value) {
    page.lines(0, "Labels", &pairs(&object["metadata"]["labels"], "="));
    page.lines(0, "Annotations", &pairs(&object["metadata"]["annotations"], ": "));
}

/// `Type  Status` (and reason) of the conditions.
pub(super) fn conditions(page: &mut Page, object: &Value, columns: &[(&str, &str)]) {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if conditions.is_empty() {
        return;
    }
    page.heading(0, "Conditions");
    let mut rows = vec![columns.iter().map(|(heading, _)| (*heading).to_owned()).collect::<Vec<_>>()];
    rows.push(columns.iter().map(|(heading, _)| "-".repeat(heading.len())).collect());
    for condition in conditions {
        rows.push(columns.iter().map(|(_, field)| condition[*field].as_str().unwrap_or_default().to_owned()).collect());
    }
    page.table(1, &rows);
}

/// Any object: its metadata, then every other field as an outline.
pub(super) fn describe_any(page: &mut Page, object: &Value) {
    metadata(page, object);
    labels(page, object);
    page.line(0, "API Version", text(&object["apiVersion"]));
    page.line(0, "Kind", text(&object["kind"]));
    let empty = Map::new();
    for (field, value) in object.as_object().unwrap_or(&empty) {
        if !matches!(field.as_str(), "apiVersion" | "kind" | "metadata") {
            outline(page, 0, field, value);
        }
    }
    page.next_block();
}

fn outline(page: &mut Page, level: usize, field: &str, value: &Value) {
    let label = words(field);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            page.heading(level, &label);
            fields.iter().for_each(|(field, value)| outline(page, level + 1, field, value));
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            page.heading(level, &label);
            for item in items {
                item.as_object()
                    .into_iter()
                    .flatten()
                    .for_each(|(field, value)| outline(page, level + 1, field, value));
            }
        }
        Value::Array(items) => page.lines(level, &label, &items.iter().map(text).collect::<Vec<_>>()),
        scalar => page.line(level, &label, text(scalar)),
    }
}

/// `clusterIP` as `Cluster IP`.
fn words(field: &str) -> String {
    let mut words = String::new();
    let mut before_lower = false;
    for letter in field.chars() {
        if letter.is_uppercase() && before_lower {
            words.push(' ');
        }
        before_lower = letter.is_lowercase();
        words.extend(if words.is_empty() { letter.to_uppercase().collect::<Vec<_>>() } else { vec![letter] });
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_stand_in_one_column_per_block() {
        let mut page = Page::default();
        page.line(0, "Name", "web");
        page.lines(0, "Annotations", &["a: 1".to_owned(), "b: 2".to_owned()]);
        page.table(1, &[vec!["Type".to_owned(), "Status".to_owned()], vec!["Ready".to_owned(), "True".to_owned()]]);
        assert_eq!(
            page.finish(),
            "Name:         web\nAnnotations:  a: 1\n              b: 2\n  Type   Status\n  Ready  True\n"
        );
    }

    #[test]
    fn any_object_has_an_outline() {
        let mut page = Page::default();
        describe_any(&mut page, &json!({"kind": "Lease", "metadata": {"name": "n"}, "spec": {"holderIdentity": "n"}}));
        let text = page.finish();
        assert!(text.contains("Spec:\n  Holder Identity:  n\n"), "{text}");
    }
}
