//! Filling in what a caller left out. Go's zero values count as left out, as
//! upstream's defaulting functions have it. Called by the strategies.

use serde_json::{Map, Value, json};

/// Sets a field that is absent, null or an empty string.
pub fn set(fields: &mut Map<String, Value>, field: &str, value: impl Into<Value>) {
    let unset = match fields.get(field) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    };
    if unset {
        fields.insert(field.to_owned(), value.into());
    }
}

/// Sets a number that is absent or 0.
pub fn set_number(fields: &mut Map<String, Value>, field: &str, number: i64) {
    if fields.get(field).and_then(Value::as_i64).unwrap_or(0) == 0 {
        fields.insert(field.to_owned(), json!(number));
    }
}

/// Calls `change` with the object under `field`, if there is one.
pub fn within(fields: &mut Map<String, Value>, field: &str, change: impl FnOnce(&mut Map<String, Value>)) {
    if let Some(inner) = fields.get_mut(field).and_then(Value::as_object_mut) {
        change(inner);
    }
}

/// Calls `change` with every object in the list under `field`.
pub fn each(fields: &mut Map<String, Value>, field: &str, change: impl FnMut(&mut Map<String, Value>)) {
    let list = fields.get_mut(field).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut).for_each(change);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_values_count_as_left_out() {
        let mut object = json!({"empty": "", "zero": 0, "set": "x", "list": [{}, 1]});
        let fields = object.as_object_mut().unwrap();
        set(fields, "empty", "a");
        set(fields, "set", "b");
        set_number(fields, "zero", 3);
        each(fields, "list", |item| set(item, "k", true));
        assert_eq!(object, json!({"empty": "a", "zero": 3, "set": "x", "list": [{"k": true}, 1]}));
    }
}
