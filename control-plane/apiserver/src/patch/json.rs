//! JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386) with upstream's bounds
//! and errors. The operations themselves are the json-patch crate's.

use super::{Error, object_body};
use crate::schema::node::Node;
use json_patch::{PatchOperation, jsonptr::Pointer};
use serde_json::Value;

/// Operations allowed in one patch (upstream: `maxJSONPatchOperations`).
const OPERATIONS_MAX: usize = 10_000;
/// What copies and moves may add up to, in values: a patch of copies doubles an
/// object with every operation.
const CARRIED_VALUES_MAX: usize = 1_000_000;
/// Levels of an object that an operation may reach or make. What is read from a
/// client or the store has fewer than 128 (`serde_json`'s bound); operations that
/// nest what others have nested could make thousands, which no stack holds.
const DEPTH_MAX: usize = 120;

/// Applies a JSON patch.
///
/// # Errors
/// [`Error::BadRequest`] when the body is no list of operations,
/// [`Error::TooLarge`] when there are too many, [`Error::Unprocessable`] when
/// one does not fit.
pub fn json_patch(object: &Value, body: &[u8]) -> Result<Value, Error> {
    let bad_request = |text: String| Error::BadRequest(format!("error decoding patch: {text}"));
    let operations = match Node::parse(body).map_err(bad_request)? {
        Node::Array(operations) => operations,
        Node::Null => Vec::new(),
        other => {
            let kind = other.go_kind();
            let kind = kind.split(' ').next().unwrap_or_default();
            let text = format!("json: cannot unmarshal {kind} into Go value of type []handlers.jsonPatchOp");
            return Err(bad_request(text));
        }
    };
    if operations.len() > OPERATIONS_MAX {
        let text =
            format!("The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {}", operations.len());
        return Err(Error::TooLarge(text));
    }
    let mut patched = object.clone();
    let mut carried = 0;
    for operation in operations {
        let operation: PatchOperation = serde_json::from_value(operation.into_value()).map_err(unprocessable)?;
        let size = added(&operation, &patched);
        if matches!(operation, PatchOperation::Copy(_) | PatchOperation::Move(_)) {
            carried += size.values;
        }
        if carried > CARRIED_VALUES_MAX {
            return Err(Error::Unprocessable("the copies of the patch are too large".to_owned()));
        }
        if operation.path().count() + size.depth > DEPTH_MAX {
            return Err(Error::Unprocessable("the patched object is nested too deeply".to_owned()));
        }
        json_patch::patch(&mut patched, &[operation]).map_err(unprocessable)?;
    }
    Ok(patched)
}

/// How much an operation puts at its path.
fn added(operation: &PatchOperation, object: &Value) -> Size {
    let there = |from: &Pointer| from.resolve(object).map(Size::of).unwrap_or_default();
    match operation {
        PatchOperation::Add(add) => Size::of(&add.value),
        PatchOperation::Replace(replace) => Size::of(&replace.value),
        PatchOperation::Move(step) => there(&step.from),
        PatchOperation::Copy(copy) => there(&copy.from),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => Size::default(),
    }
}

/// How many values a value is made of, and in how many levels.
#[derive(Clone, Copy, Default)]
struct Size {
    values: usize,
    depth: usize,
}

impl Size {
    /// Recursive: no value here has more levels than [`DEPTH_MAX`] or what was read.
    fn of(value: &Value) -> Self {
        let within = match value {
            Value::Array(elements) => elements.iter().map(Self::of).fold(Self::default(), Self::beside),
            Value::Object(fields) => fields.values().map(Self::of).fold(Self::default(), Self::beside),
            _ => return Self { values: 1, depth: 0 },
        };
        Self { values: within.values + 1, depth: within.depth + 1 }
    }

    fn beside(self, other: Self) -> Self {
        Self { values: self.values + other.values, depth: self.depth.max(other.depth) }
    }
}

fn unprocessable(error: impl std::fmt::Display) -> Error {
    Error::Unprocessable(error.to_string())
}

/// Applies a JSON merge patch.
///
/// # Errors
/// [`Error::BadRequest`] when the body is no object.
pub fn merge_patch(object: &Value, body: &[u8]) -> Result<Value, Error> {
    let patch = object_body(body).map_err(|text| Error::BadRequest(format!("error decoding patch: {text}")))?;
    let mut patched = object.clone();
    json_patch::merge(&mut patched, &patch);
    Ok(patched)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn operations_apply_in_order() {
        let object = json!({"data": {"a": "1"}, "list": [1, 2]});
        let patch = json!([
            {"op": "test", "path": "/data/a", "value": "1"},
            {"op": "add", "path": "/data/a~1b", "value": "2"},
            {"op": "remove", "path": "/list/0"},
        ]);
        let patched = json_patch(&object, patch.to_string().as_bytes()).unwrap();
        assert_eq!(patched, json!({"data": {"a": "1", "a/b": "2"}, "list": [2]}));
    }

    #[test]
    fn what_does_not_fit_is_told_apart_from_what_is_no_patch() {
        let check = |body: &str| json_patch(&json!({"data": {"k": "v"}}), body.as_bytes()).unwrap_err();
        let text = "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp";
        assert_eq!(check(r#"{"a": 1}"#), Error::BadRequest(text.to_owned()));
        for body in [
            r#"[{"op": "frob", "path": "/data"}]"#,
            r#"[{"op": "test", "path": "/data/k", "value": "z"}]"#,
            r#"[{"op": "replace", "path": "/data/x", "value": "y"}]"#,
        ] {
            assert!(matches!(check(body), Error::Unprocessable(_)), "{body}");
        }
    }

    #[test]
    fn operations_are_bounded() {
        let many = vec![json!({"op": "test", "path": "", "value": {}}); OPERATIONS_MAX + 1];
        let error = json_patch(&json!({}), Value::from(many).to_string().as_bytes()).unwrap_err();
        let text = "The allowed maximum operations in a JSON patch is 10000, got 10001";
        assert_eq!(error, Error::TooLarge(text.to_owned()));
        let doubling: Vec<Value> =
            (0..40).map(|n| json!({"op": "copy", "from": "", "path": format!("/{n}")})).collect();
        let error = json_patch(&json!({"b": 1}), Value::from(doubling).to_string().as_bytes()).unwrap_err();
        assert!(matches!(error, Error::Unprocessable(_)));
    }

    #[test]
    fn nesting_is_bounded_however_it_is_made() {
        let refused = |operations: Vec<Value>| {
            let error = json_patch(&json!({"a": {}}), Value::from(operations).to_string().as_bytes());
            let text = "the patched object is nested too deeply".to_owned();
            assert_eq!(error, Err(Error::Unprocessable(text)));
        };
        refused((1..200).map(|n| json!({"op": "add", "path": "/a".repeat(n), "value": {}})).collect());
        let names = || (0..200).map(|n| (format!("/x{n}"), format!("/x{}", n + 1)));
        let wrap = |op: &'static str| {
            let steps = names().flat_map(move |(old, new)| {
                [
                    json!({"op": "add", "path": new, "value": {}}),
                    json!({"op": op, "from": old, "path": format!("{new}/y")}),
                ]
            });
            std::iter::once(json!({"op": "move", "from": "/a", "path": "/x0"})).chain(steps).collect()
        };
        refused(wrap("move"));
        refused(wrap("copy"));
    }

    #[test]
    fn merge_patch_removes_by_null_and_replaces_lists() {
        let object = json!({"data": {"a": "1", "b": "2"}, "list": [1, 2]});
        let patched = merge_patch(&object, br#"{"data": {"a": null, "c": {"d": null}}, "list": [3]}"#).unwrap();
        assert_eq!(patched, json!({"data": {"b": "2", "c": {}}, "list": [3]}));
        let error = merge_patch(&object, b"{").unwrap_err();
        assert_eq!(error.to_string(), "error decoding patch: unexpected end of JSON input");
    }
}
