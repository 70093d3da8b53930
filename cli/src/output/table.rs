//! Rows under headings, as kubectl's tab writer lays them out: three spaces
//! between columns, no column narrower than six, no padding after the last.

use serde_json::Value;

/// Spaces after the longest cell of a column.
const PADDING: usize = 3;

/// Width of the narrowest column, padding included.
const WIDTH_MIN: usize = 6;

/// Gives a table without columns those of an earlier one: a watch sends them
/// with its first event only.
pub fn remember_columns(columns: &mut Value, table: &mut Value) {
    match &table["columnDefinitions"] {
        Value::Array(own) if !own.is_empty() => *columns = table["columnDefinitions"].clone(),
        _ => table["columnDefinitions"] = columns.clone(),
    }
}

/// A table that remembers its widths, so that rows of a watch stay aligned.
#[derive(Clone, Debug)]
pub struct Table {
    widths: Vec<usize>,
    padding: usize,
    width_min: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self { widths: Vec::new(), padding: PADDING, width_min: WIDTH_MIN }
    }
}

impl Table {
    /// A table with this many spaces after the longest cell, and no least width.
    pub fn with_padding(padding: usize) -> Self {
        Self { widths: Vec::new(), padding, width_min: 0 }
    }

    /// Lays out `rows`; columns never get narrower than in earlier calls.
    pub fn layout(&mut self, rows: &[Vec<String>]) -> String {
        for row in rows {
            self.widths.resize(self.widths.len().max(row.len()), self.width_min);
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count() + self.padding);
            }
        }
        rows.iter().map(|row| self.line(row)).collect()
    }

    fn line(&self, row: &[String]) -> String {
        let mut line = String::new();
        for (index, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if index + 1 < row.len() {
                let width = self.widths.get(index).copied().unwrap_or(0);
                line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
            }
        }
        line.push('\n');
        line
    }
}

/// How to show a server's `Table`.
#[derive(Clone, Copy, Debug, Default)]
pub struct View<'a> {
    /// Columns of priority 1 too.
    pub wide: bool,
    /// A first column with the namespace.
    pub namespace: bool,
    /// A last column with the labels.
    pub labels: bool,
    /// Names with their type, for a list of several types.
    pub kind_prefix: bool,
    /// These labels as columns, before the one with all.
    pub label_columns: &'a [String],
}

/// The headings of a server's `Table`.
pub fn headings(table: &Value, view: View<'_>) -> Vec<String> {
    let mut headings: Vec<String> = view.namespace.then(|| "NAMESPACE".to_owned()).into_iter().collect();
    headings.extend(columns(table, view).map(|(_, column)| column["name"].as_str().unwrap_or_default().to_uppercase()));
    // As kubectl: the last part of the label's name.
    headings.extend(view.label_columns.iter().map(|label| label.rsplit('/').next().unwrap_or(label).to_uppercase()));
    headings.extend(view.labels.then(|| "LABELS".to_owned()));
    headings
}

/// The rows of a server's `Table`; `prefix` goes before each name.
pub fn rows(table: &Value, view: View<'_>, prefix: &str) -> Vec<Vec<String>> {
    let rows = table["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().map(|row| cells(table, row, view, prefix)).collect()
}

fn columns<'a>(table: &'a Value, view: View<'_>) -> impl Iterator<Item = (usize, &'a Value)> {
    let wide = view.wide;
    let all = table["columnDefinitions"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().enumerate().filter(move |(_, column)| wide || column["priority"].as_i64().unwrap_or(0) == 0)
}

fn cells(table: &Value, row: &Value, view: View<'_>, prefix: &str) -> Vec<String> {
    let metadata = &row["object"]["metadata"];
    let mut cells = Vec::new();
    if view.namespace {
        cells.push(metadata["namespace"].as_str().unwrap_or_default().to_owned());
    }
    for (index, _) in columns(table, view) {
        let text = cell_text(&row["cells"][index]);
        cells.push(if index == 0 { format!("{prefix}{text}") } else { text });
    }
    let label = |name: &String| metadata["labels"][name].as_str().unwrap_or_default().to_owned();
    cells.extend(view.label_columns.iter().map(label));
    if view.labels {
        cells.push(labels_text(&metadata["labels"]));
    }
    cells
}

fn cell_text(cell: &Value) -> String {
    match cell {
        Value::Null => "<none>".to_owned(),
        Value::String(text) => text.replace(['\n', '\r'], " "),
        other => other.to_string(),
    }
}

/// `a=b,c=d`, or `<none>`.
pub fn labels_text(labels: &Value) -> String {
    let pairs: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_three_spaces_apart_and_the_last_is_not_padded() {
        let rows = [["NAME", "READY", "AGE"], ["hello-kiamol", "1/1", "5s"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(Table::default().layout(&rows), "NAME           READY   AGE\nhello-kiamol   1/1     5s\n");
    }

    #[test]
    fn a_table_without_columns_takes_the_earlier_ones() {
        let mut columns = Value::Null;
        let mut first = json!({"columnDefinitions": [{"name": "Name", "priority": 0}], "rows": []});
        let mut second = json!({"columnDefinitions": null, "rows": [{"cells": ["a"]}]});
        remember_columns(&mut columns, &mut first);
        remember_columns(&mut columns, &mut second);
        assert_eq!(rows(&second, View::default(), ""), [["a"]]);
    }

    #[test]
    fn wide_columns_and_labels_are_shown_when_asked() {
        let table = json!({
            "columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "Node", "priority": 1}],
            "rows": [{"cells": ["a", null], "object": {"metadata": {"namespace": "x", "labels": {"k": "v"}}}}],
        });
        let k = ["k".to_owned()];
        let all = View { wide: true, namespace: true, labels: true, kind_prefix: false, label_columns: &k };
        assert_eq!(headings(&table, all), ["NAMESPACE", "NAME", "NODE", "K", "LABELS"]);
        assert_eq!(rows(&table, all, "pod/"), [["x", "pod/a", "<none>", "v", "k=v"]]);
        assert_eq!(rows(&table, View::default(), ""), [["a"]]);
    }
}
