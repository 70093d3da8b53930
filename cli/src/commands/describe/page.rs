//! Lines of a description, with values in columns.

use serde_json::{Map, Value};

/// Spaces after the longest cell of a column.
const GAP: usize = 2;

/// A description being written: lines of cells. A column is as wide as its
/// widest cell in lines that follow each other; a line without the column ends
/// it (as Go's `text/tabwriter`, through which kubectl writes).
#[derive(Default)]
pub(super) struct Page {
    lines: Vec<Vec<String>>,
}

impl Page {
    /// `label:  value` at a level of indentation.
    pub(super) fn line(&mut self, level: usize, label: &str, value: impl Into<String>) {
        self.lines.push(vec![format!("{}{label}:", "  ".repeat(level)), value.into()]);
    }

    /// A heading with nothing after it, which ends all columns.
    pub(super) fn heading(&mut self, level: usize, label: &str) {
        self.raw(level, &format!("{label}:"));
    }

    /// Text that stands alone, and ends all columns.
    pub(super) fn raw(&mut self, level: usize, text: &str) {
        let indent = "  ".repeat(level);
        self.lines.extend(text.split('\n').map(|line| vec![format!("{indent}{line}")]));
    }

    /// A label whose values go below each other: maps and lists.
    pub(super) fn lines(&mut self, level: usize, label: &str, values: &[String]) {
        let Some((first, rest)) = values.split_first() else { return self.line(level, label, "<none>") };
        self.line(level, label, first.clone());
        self.lines.extend(rest.iter().map(|value| vec![String::new(), value.clone()]));
    }

    /// Rows under headings, indented.
    pub(super) fn table(&mut self, level: usize, rows: &[Vec<String>]) {
        for row in rows {
            let mut cells = row.clone();
            if let Some(first) = cells.first_mut() {
                *first = format!("{}{first}", "  ".repeat(level));
            }
            self.lines.push(cells);
        }
    }

    /// The whole text.
    pub(super) fn finish(self) -> String {
        let columns = self.lines.iter().map(Vec::len).max().unwrap_or(0);
        let mut widths: Vec<Vec<usize>> = self.lines.iter().map(|line| vec![0; line.len()]).collect();
        for column in 0..columns {
            self.measure(column, &mut widths);
        }
        let mut text = String::new();
        for (line, widths) in self.lines.iter().zip(&widths) {
            let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            text.push_str(cells.collect::<String>().trim_end());
            text.push('\n');
        }
        text
    }

    /// Finds the widths of one column; a line's last cell is in none.
    fn measure(&self, column: usize, widths: &mut [Vec<usize>]) {
        let has = |line: &Vec<String>| column + 1 < line.len();
        let mut start = 0;
        while start < self.lines.len() {
            let end =
                self.lines[start..].iter().position(|line| !has(line)).map_or(self.lines.len(), |end| start + end);
            let cells = self.lines[start..end].iter().map(|line| line[column].chars().count());
            let width = cells.max().unwrap_or(0) + GAP;
            widths[start..end].iter_mut().for_each(|line| line[column] = width);
            start = end + 1;
        }
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

/// A time as kubectl writes it in descriptions; text that is none stays.
pub(super) fn date(time: &str) -> String {
    let Ok(time) = time.parse::<jiff::Timestamp>() else { return time.to_owned() };
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
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
    page.raw(0, "Conditions:");
    let mut rows = vec![columns.iter().map(|(heading, _)| (*heading).to_owned()).collect::<Vec<_>>()];
    // A pod's table has no rule under its headings.
    if columns.len() > 2 {
        rows.push(columns.iter().map(|(heading, _)| "-".repeat(heading.len())).collect());
    }
    for condition in conditions {
        let mut row: Vec<String> =
            columns.iter().map(|(_, field)| condition[*field].as_str().unwrap_or_default().to_owned()).collect();
        // As upstream: the widest type too has a blank after it.
        row[0].push(' ');
        rows.push(row);
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
        page.heading(0, "Rows");
        page.table(1, &[vec!["Type".to_owned(), "Status".to_owned()], vec!["Ready".to_owned(), "True".to_owned()]]);
        page.line(0, "Last", "x");
        assert_eq!(
            page.finish(),
            "Name:         web\nAnnotations:  a: 1\n              b: 2\nRows:\n  Type   Status\n  Ready  True\nLast:    x\n"
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
