//! JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386) with upstream's bounds
//! and errors. The operations themselves are the json-patch crate's.

use super::{Error, object_body};
use crate::schema::node::Node;
use json_patch::PatchOperation;
use serde_json::Value;

/// Operations allowed in one patch (upstream: `maxJSONPatchOperations`).
const OPERATIONS_MAX: usize = 10_000;
/// What copies may add up to, in values: a patch of copies doubles an object
/// with every operation.
const COPIED_VALUES_MAX: usize = 1_000_000;

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
    let mut copied = 0;
    for operation in operations {
        let operation: PatchOperation = serde_json::from_value(operation.into_value()).map_err(unprocessable)?;
        if let PatchOperation::Copy(copy) = &operation {
            copied += copy.from.resolve(&patched).map_or(0, count_values);
        }
        if copied > COPIED_VALUES_MAX {
            return Err(Error::Unprocessable("the copies of the patch are too large".to_owned()));
        }
        json_patch::patch(&mut patched, &[operation]).map_err(unprocessable)?;
    }
    Ok(patched)
}

fn unprocessable(error: impl std::fmt::Display) -> Error {
    Error::Unprocessable(error.to_string())
}

fn count_values(value: &Value) -> usize {
    1 + match value {
        Value::Array(elements) => elements.iter().map(count_values).sum::<usize>(),
        Value::Object(fields) => fields.values().map(count_values).sum::<usize>(),
        _ => 0,
    }
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
    fn merge_patch_removes_by_null_and_replaces_lists() {
        let object = json!({"data": {"a": "1", "b": "2"}, "list": [1, 2]});
        let patched = merge_patch(&object, br#"{"data": {"a": null, "c": {"d": null}}, "list": [3]}"#).unwrap();
        assert_eq!(patched, json!({"data": {"b": "2", "c": {}}, "list": [3]}));
        let error = merge_patch(&object, b"{").unwrap_err();
        assert_eq!(error.to_string(), "error decoding patch: unexpected end of JSON input");
    }
}
