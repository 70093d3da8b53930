//! Tables: column constructors and the cells that many kinds share (ages,
//! selectors, container names). Called by the strategies' `columns` and `row`;
//! the frame of a `Table` is the verbs' work
//! (upstream: `pkg/printers`, `apimachinery/pkg/util/duration`).

use super::Column;
use crate::object;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// A cell for something that is not there.
pub const NONE: &str = "<none>";
/// A cell for something that is not known.
pub const UNKNOWN: &str = "<unknown>";
/// A cell for something that nobody has set.
pub const UNSET: &str = "<unset>";

/// The first column of nearly every kind.
pub const NAME: Column =
    Column { name: "Name", kind: "string", format: "name", description: "Unique within the namespace.", priority: 0 };
/// How long ago the object was created.
pub const AGE: Column = text("Age", "Time since the object was created.");
/// Container names, only shown wide.
pub const CONTAINERS: Column = wide("Containers", "Names of the template's containers.");
/// Container images, only shown wide.
pub const IMAGES: Column = wide("Images", "Images of the template's containers.");
/// The label selector, only shown wide.
pub const SELECTOR: Column = wide("Selector", "Selects the pods by their labels.");

/// A column of strings that is always shown.
pub const fn text(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", format: "", description, priority: 0 }
}

/// A column of integers that is always shown.
pub const fn integer(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "integer", format: "", description, priority: 0 }
}

/// A column of booleans that is always shown.
pub const fn boolean(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "boolean", format: "", description, priority: 0 }
}

/// A column of strings that only `-o wide` shows.
pub const fn wide(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", format: "", description, priority: 1 }
}

/// The object's name as a cell.
pub fn name(object: &Value) -> Value {
    json!(object::name(object))
}

/// Time since the object was created as a cell.
pub fn age(object: &Value, now: Timestamp) -> Value {
    json!(since(object::metadata_str(object, "creationTimestamp"), now))
}

/// How long ago an RFC 3339 time was; `<unknown>` when it is none.
pub fn since(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(then) => human_duration(now.as_second() - then.as_second()),
        Err(_) => UNKNOWN.to_owned(),
    }
}

/// Seconds in at most two units, less precise the longer it is: `45s`, `3m5s`,
/// `7h`, `2y30d`.
pub fn human_duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        _ if seconds < 120 => format!("{seconds}s"),
        _ if minutes < 10 => two_units(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two_units(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 24 * 8 => two_units(hours / 24, "d", hours % 24, "h"),
        _ if hours < 24 * 365 * 2 => format!("{}d", hours / 24),
        _ if hours < 24 * 365 * 8 => two_units(hours / 24 / 365, "y", hours / 24 % 365, "d"),
        _ => format!("{}y", hours / 24 / 365),
    }
}

fn two_units(big: i64, big_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 { format!("{big}{big_unit}") } else { format!("{big}{big_unit}{small}{small_unit}") }
}

/// Names and images of a pod spec's containers, each joined by commas.
pub fn containers(pod_spec: &Value) -> (Value, Value) {
    let joined = |field| {
        let values = object::list_at(pod_spec, "containers").iter().map(|container| object::str_at(container, field));
        json!(values.collect::<Vec<_>>().join(","))
    };
    (joined("name"), joined("image"))
}

/// `a=b,c=d`, or `<none>`.
pub fn labels(labels: Option<&Map<String, Value>>) -> String {
    match labels {
        Some(labels) if !labels.is_empty() => {
            let pairs = labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
            pairs.collect::<Vec<_>>().join(",")
        }
        _ => NONE.to_owned(),
    }
}

/// A `metav1.LabelSelector` in the string form; `<none>` when it selects
/// everything or nothing.
pub fn selector(selector: &Value) -> Value {
    let parsed = crate::selector::Labels::from_object(selector).unwrap_or_default().to_string();
    json!(if parsed.is_empty() { NONE.to_owned() } else { parsed })
}

/// The string, or `<none>` when it is empty.
pub fn or_none(text: &str) -> &str {
    if text.is_empty() { NONE } else { text }
}

/// The first `limit` items joined by commas, then how many more there are.
pub fn some_of(items: &[String], limit: usize) -> String {
    let shown = items.iter().take(limit).map(String::as_str).collect::<Vec<_>>().join(",");
    if items.len() > limit { format!("{shown} + {} more...", items.len() - limit) } else { shown }
}

/// The number at a dotted path as a cell; 0 when absent.
pub fn number(object: &Value, path: &str) -> Value {
    json!(object::at(object, path).and_then(Value::as_i64).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_lose_precision_as_they_grow() {
        let shown: Vec<String> =
            [-5, -1, 0, 119, 120, 185, 600, 10800, 28800, 100_000, 180_000, 700_000, 70_000_000, 300_000_000]
                .map(human_duration)
                .into();
        let expected =
            ["<invalid>", "0s", "0s", "119s", "2m", "3m5s", "10m", "3h", "8h", "27h", "2d2h", "8d", "2y80d", "9y"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn long_lists_are_cut() {
        let items = ["a", "b", "c"].map(str::to_owned);
        assert_eq!((some_of(&items, 3), some_of(&items, 2)), ("a,b,c".to_owned(), "a,b + 1 more...".to_owned()));
    }
}
