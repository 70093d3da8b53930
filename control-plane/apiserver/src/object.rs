//! Reading and writing the parts that every object has.

use serde_json::{Map, Value, json};

/// The object's metadata; an empty map when there is none.
pub fn metadata(object: &Value) -> &Map<String, Value> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    object.get("metadata").and_then(Value::as_object).unwrap_or(&EMPTY)
}

/// The object's metadata, made when there is none.
///
/// # Panics
/// When `object` is not a JSON object; the decoder has made sure that it is.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    map_mut(object, "metadata")
}

/// The map under `field`, made when there is none (or something else).
///
/// # Panics
/// When `object` is not a JSON object.
pub fn map_mut<'a>(object: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    let fields = object.as_object_mut().expect("the decoder accepts only JSON objects");
    let value = fields.entry(field.to_owned()).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("it was made an object above")
}

/// The list under `field`, made when there is none (or something else).
pub fn list_mut<'a>(fields: &'a mut Map<String, Value>, field: &str) -> &'a mut Vec<Value> {
    let value = fields.entry(field.to_owned()).or_insert_with(|| json!([]));
    if !value.is_array() {
        *value = json!([]);
    }
    value.as_array_mut().expect("it was made a list above")
}

/// A string field of the metadata; empty when absent.
pub fn metadata_str<'a>(object: &'a Value, field: &str) -> &'a str {
    metadata(object).get(field).and_then(Value::as_str).unwrap_or_default()
}

/// `metadata.name`; empty when absent.
pub fn name(object: &Value) -> &str {
    metadata_str(object, "name")
}

/// `metadata.namespace`; empty when absent.
pub fn namespace(object: &Value) -> &str {
    metadata_str(object, "namespace")
}

/// `metadata.uid`; empty when absent.
pub fn uid(object: &Value) -> &str {
    metadata_str(object, "uid")
}

/// The value at a dotted path of object fields, such as `spec.nodeName`.
pub fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(object, |value, field| value.get(field))
}

/// The string at a dotted path; empty when absent or no string.
pub fn str_at<'a>(object: &'a Value, path: &str) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// The list at a dotted path; empty when absent or no list.
pub fn list_at<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    at(object, path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Puts a condition into `status.conditions`, in place of one of the same type.
///
/// # Panics
/// When `object` is not a JSON object.
pub fn set_condition(object: &mut Value, condition: Value) {
    let conditions = map_mut(object, "status").entry("conditions").or_insert_with(|| json!([]));
    let Some(conditions) = conditions.as_array_mut() else { return };
    match conditions.iter_mut().find(|known| known["type"] == condition["type"]) {
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
}

/// A value as Go prints an `interface{}` with `%v`: `map[a:1 b:[x y]]`.
pub fn go_map(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(" ");
    match value {
        Value::Object(fields) => {
            let pairs = fields.iter().map(|(field, value)| format!("{field}:{}", go_map(value)));
            format!("map[{}]", joined(pairs.collect()))
        }
        Value::Array(elements) => format!("[{}]", joined(elements.iter().map(go_map).collect())),
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_parts_read_as_empty() {
        let object = json!({"metadata": {"name": "web"}, "spec": {"nodeName": "n1"}});
        assert_eq!((name(&object), namespace(&object), str_at(&object, "spec.nodeName")), ("web", "", "n1"));
        assert!(list_at(&object, "spec.containers").is_empty());
    }
}
