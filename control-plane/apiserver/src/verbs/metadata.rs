//! The metadata that the server itself writes (upstream: `registry/rest`,
//! `FillObjectMetaSystemFields` and `BeforeUpdate`). Pure but for randomness.

use crate::{
    http::status::ApiError,
    object,
    registry::{Resource, metadata as rules},
    schema::FieldError,
};
use jiff::Timestamp;
use serde_json::{Map, Value};
use wk_platform::Entropy;

/// Letters that a generated name gets at its end.
const SUFFIX_LETTERS: usize = 5;

/// The longest name that is generated (upstream: `maxNameLength`).
const GENERATED_NAME_MAX: usize = 63;

/// Fields that only the server sets.
const SERVER_FIELDS: &[&str] = &["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"];

/// Sets what a new object has from the server.
///
/// # Errors
/// 500 (as upstream) when the caller sent a resource version.
pub fn fill_new(row: &Resource, object: &mut Value, entropy: &Entropy, now: Timestamp) -> Result<(), ApiError> {
    let metadata = object::metadata_mut(object);
    let version = metadata.remove("resourceVersion");
    if version.as_ref().and_then(Value::as_str).is_some_and(|version| !version.is_empty() && version != "0") {
        return Err(ApiError::Untyped("resourceVersion should not be set on objects to be created".to_owned()));
    }
    SERVER_FIELDS.iter().for_each(|field| drop(metadata.remove(*field)));
    metadata.insert("uid".to_owned(), entropy.uid().into());
    metadata.insert("creationTimestamp".to_owned(), time(now).into());
    if row.strategy.generation() {
        metadata.insert("generation".to_owned(), 1.into());
    }
    Ok(())
}

/// Gives the object a name when it asks for one; whether it did.
pub fn generate_name(object: &mut Value, entropy: &Entropy) -> bool {
    let metadata = object::metadata_mut(object);
    let text = |field: &str| metadata.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, prefix) = (text("name"), text("generateName"));
    if !name.is_empty() || prefix.is_empty() {
        return false;
    }
    metadata.insert("name".to_owned(), generated(&prefix, entropy).into());
    true
}

/// A name from a prefix.
pub fn generated(prefix: &str, entropy: &Entropy) -> String {
    let kept: String = prefix.chars().take(GENERATED_NAME_MAX - SUFFIX_LETTERS).collect();
    format!("{kept}{}", entropy.suffix(SUFFIX_LETTERS))
}

/// `metav1.Time`
pub fn time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Takes from the old version what no update changes.
pub fn keep_system_fields(new: &mut Value, old: &Value) {
    let old = object::metadata(old);
    let metadata = object::metadata_mut(new);
    metadata.remove("selfLink");
    for field in ["creationTimestamp", "generation"] {
        copy(old, metadata, field);
    }
    if metadata.get("uid").and_then(Value::as_str).unwrap_or_default().is_empty() {
        copy(old, metadata, "uid");
    }
    // An update neither takes back nor moves a deletion.
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        if old.contains_key(field) {
            copy(old, metadata, field);
        }
    }
    copy(old, metadata, "resourceVersion");
}

fn copy(from: &Map<String, Value>, to: &mut Map<String, Value>, field: &str) {
    match from.get(field) {
        Some(value) => drop(to.insert(field.to_owned(), value.clone())),
        None => drop(to.remove(field)),
    }
}

/// One more generation when anything but metadata and status has changed.
pub fn bump_generation(row: &Resource, new: &mut Value, old: &Value) {
    if row.strategy.generation() && !same_desired_state(new, old) {
        next_generation(new);
    }
}

/// Adds one to the generation, if the object has one.
pub fn next_generation(object: &mut Value) {
    let metadata = object::metadata_mut(object);
    if let Some(generation) = metadata.get("generation").and_then(Value::as_i64).filter(|generation| *generation > 0) {
        metadata.insert("generation".to_owned(), (generation + 1).into());
    }
}

fn same_desired_state(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return new == old };
    let matters = |field: &str| !matches!(field, "metadata" | "status" | "apiVersion" | "kind");
    let fields = new.keys().chain(old.keys()).filter(|field| matters(field));
    fields.into_iter().all(|field| new.get(field) == old.get(field))
}

/// All that is wrong with a new object.
pub fn validate_new(row: &'static Resource, object: &Value) -> Vec<FieldError> {
    let mut errors = rules::validate(row, object);
    errors.extend(row.strategy.validate(object));
    errors
}

/// Whether the object is marked for deletion.
pub fn is_deleting(object: &Value) -> bool {
    object::metadata(object).get("deletionTimestamp").is_some_and(|time| !time.is_null())
}

/// Whether an update that leaves `new` was the last thing its deletion waited for.
pub fn deletion_is_complete(new: &Value, old: &Value) -> bool {
    let no_finalizers = object::list_at(new, "metadata.finalizers").is_empty();
    let expired = object::metadata(old).get("deletionGracePeriodSeconds").and_then(Value::as_i64) == Some(0);
    let namespace_is_empty = new["kind"] != "Namespace" || object::list_at(new, "spec.finalizers").is_empty();
    is_deleting(old) && no_finalizers && expired && namespace_is_empty
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn generated_names_fit() {
        let entropy = Entropy::seeded(1);
        let name = generated(&"x".repeat(100), &entropy);
        assert_eq!(name.len(), GENERATED_NAME_MAX);
        let mut object = json!({"metadata": {"generateName": "web-"}});
        assert!(generate_name(&mut object, &entropy));
        assert!(object::name(&object).starts_with("web-") && object::name(&object).len() == 9);
        assert!(!generate_name(&mut object, &entropy));
    }

    #[test]
    fn updates_keep_what_the_server_wrote() {
        let old = json!({"metadata": {"uid": "u", "creationTimestamp": "t", "deletionTimestamp": "d", "generation": 2,
                                      "resourceVersion": "7"}});
        let mut new = json!({"metadata": {"creationTimestamp": "other", "generation": 9, "labels": {}}});
        keep_system_fields(&mut new, &old);
        let expected = json!({"uid": "u", "creationTimestamp": "t", "deletionTimestamp": "d", "generation": 2,
                              "resourceVersion": "7", "labels": {}});
        assert_eq!(new["metadata"], expected);
    }

    #[test]
    fn the_last_finalizer_completes_a_deletion() {
        let old =
            json!({"metadata": {"deletionTimestamp": "d", "deletionGracePeriodSeconds": 0, "finalizers": ["a/b"]}});
        assert!(!deletion_is_complete(&old, &old));
        assert!(deletion_is_complete(&json!({"metadata": {"deletionTimestamp": "d"}}), &old));
    }
}
