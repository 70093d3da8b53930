//! What `kubectl apply --server-side` needs on objects that client-side apply
//! made: fields that are as client-side apply left them are no conflict, and the
//! annotation follows the new configuration (upstream:
//! `internal/lastappliedmanager.go`, `lastappliedupdater.go`).

use super::apply::Conflicts;
use super::compare::compare;
use super::{Request, typed};
use crate::object;
use serde_json::Value;

/// The only manager this is for.
pub(super) const MANAGER: &str = "kubectl";
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Annotations of an object may have this many bytes together.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

fn annotation(object: &Value) -> Option<&str> {
    object::metadata(object).get("annotations")?.get(ANNOTATION)?.as_str().filter(|text| !text.is_empty())
}

/// The conflicts over fields that are no longer as client-side apply left them.
pub(super) fn without_allowed(request: &Request<'_>, live: &Value, conflicts: Conflicts) -> Conflicts {
    let last: Option<Value> = annotation(live).and_then(|text| serde_json::from_str(text).ok());
    let Some(last) = last else { return conflicts };
    if last.get("apiVersion").and_then(Value::as_str) != Some(request.api_version) {
        return conflicts;
    }
    let comparison = compare(request.kind, &last, live);
    let allowed =
        typed::field_set(request.kind, &last).difference(&comparison.changed()).difference(&comparison.removed);
    let left = conflicts.into_iter().map(|(manager, fields)| (manager, fields.difference(&allowed)));
    left.filter(|(_, fields)| !fields.is_empty()).collect()
}

/// Brings the annotation up to date when the object has one.
pub(super) fn refresh(object: &mut Value, patch: &Value) {
    if annotation(object).is_none() {
        return;
    }
    let mut applied = patch.clone();
    if let Some(annotations) = object::metadata_mut(&mut applied).get_mut("annotations").and_then(Value::as_object_mut)
    {
        annotations.remove(ANNOTATION);
        if annotations.is_empty() {
            object::metadata_mut(&mut applied).remove("annotations");
        }
    }
    // Go's encoder writes a newline after the object and escapes these.
    let text = applied.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026") + "\n";
    let Some(annotations) = object::metadata_mut(object).get_mut("annotations").and_then(Value::as_object_mut) else {
        return;
    };
    let bytes: usize = annotations.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if bytes + text.len() > ANNOTATIONS_BYTES_MAX {
        annotations.remove(ANNOTATION);
    } else {
        annotations.insert(ANNOTATION.to_owned(), Value::String(text));
    }
}
