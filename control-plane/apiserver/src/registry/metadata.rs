//! Validates the metadata that all kinds share (upstream:
//! `apimachinery/pkg/api/validation/objectmeta.go`). The verbs call it before
//! the strategy's own validation.

use super::{Resource, Scope, names};
use crate::object;
use crate::schema::{FieldError, FieldErrorKind};
use serde_json::{Map, Value};

const ANNOTATIONS_MAX_BYTES: usize = 256 * 1024;
const STANDARD_FINALIZERS: [&str; 3] = ["foregroundDeletion", "orphan", "kubernetes"];
const UNOWNABLE: (&str, &str) = ("v1", "Event");

/// All that is wrong with the metadata of a new object, in upstream's order.
pub fn validate(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    validate_names(resource, object, &mut errors);
    validate_namespace(resource, object, &mut errors);
    validate_free_parts(object, &mut errors);
    errors
}

/// All that is wrong with the metadata of a new version of `old`.
///
/// Upstream looks at it three times (as at a new object, as at an update, and
/// once more from the kind's own validation) and reports what it finds each time.
pub fn validate_update(object: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    validate_free_parts(object, &mut errors);
    for _ in 0..2 {
        validate_changes(object, old, &mut errors);
    }
    errors
}

fn validate_changes(object: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if !object::metadata_str(old, "deletionTimestamp").is_empty() {
        let before = object::list_at(old, "metadata.finalizers");
        let is_new = |finalizer: &&Value| !before.contains(finalizer);
        let added: Vec<Value> = object::list_at(object, "metadata.finalizers").iter().filter(is_new).cloned().collect();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers {}",
                super::check::shown_strings(&added)
            );
            errors.push(FieldError::forbidden("metadata.finalizers", detail));
        }
    }
    for field in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let (new_value, old_value) = (object::metadata(object).get(field), object::metadata(old).get(field));
        if new_value.unwrap_or(&Value::Null) != old_value.unwrap_or(&Value::Null) {
            let field = format!("metadata.{field}");
            errors.push(match new_value.and_then(go_time) {
                Some(shown) => invalid_shown(field, &shown, IMMUTABLE),
                None => FieldError::invalid(field, new_value.cloned().unwrap_or_default(), IMMUTABLE),
            });
        }
    }
    validate_labels_and_owners(object, errors);
}

/// A time as Go prints it; `None` for anything else.
fn go_time(value: &Value) -> Option<String> {
    let time = value.as_str()?.parse::<jiff::Timestamp>().ok()?;
    Some(time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string())
}

/// What is said about a field that cannot change.
pub const IMMUTABLE: &str = "field is immutable";

fn validate_names(resource: &Resource, object: &Value, errors: &mut Vec<FieldError>) {
    let (name, prefix) = (object::name(object), object::metadata_str(object, "generateName"));
    if !prefix.is_empty() {
        let messages = resource.strategy.validate_name(prefix, true);
        errors.extend(messages.into_iter().map(|text| FieldError::invalid("metadata.generateName", prefix, text)));
    }
    if name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
        return;
    }
    let messages = resource.strategy.validate_name(name, false);
    errors.extend(messages.into_iter().map(|text| FieldError::invalid("metadata.name", name, text)));
}

fn validate_namespace(resource: &Resource, object: &Value, errors: &mut Vec<FieldError>) {
    let namespace = object::namespace(object);
    match resource.scope {
        Scope::Namespaced if namespace.is_empty() => errors.push(FieldError::required("metadata.namespace", "")),
        Scope::Namespaced => {
            let messages = names::dns_label(namespace, false);
            let invalid = |text| FieldError::invalid("metadata.namespace", namespace, text);
            errors.extend(messages.into_iter().map(invalid));
        }
        Scope::Cluster if !namespace.is_empty() => {
            errors.push(FieldError::forbidden("metadata.namespace", "not allowed on this type"));
        }
        Scope::Cluster => {}
    }
}

fn validate_free_parts(object: &Value, errors: &mut Vec<FieldError>) {
    validate_labels_and_owners(object, errors);
    validate_finalizers(object::list_at(object, "metadata.finalizers"), errors);
}

fn validate_labels_and_owners(object: &Value, errors: &mut Vec<FieldError>) {
    let metadata = object::metadata(object);
    labels(metadata.get("labels").and_then(Value::as_object), "metadata.labels", errors);
    annotations(metadata.get("annotations").and_then(Value::as_object), "metadata.annotations", errors);
    let owners = metadata.get("ownerReferences").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    validate_owners(owners, errors);
}

/// Why these are no labels; `path` names them.
pub fn labels(labels: Option<&Map<String, Value>>, path: &str, errors: &mut Vec<FieldError>) {
    for (key, value) in labels.into_iter().flatten() {
        let invalid_key = |text| FieldError::invalid(path, key.as_str(), text);
        errors.extend(names::qualified_name(key).into_iter().map(invalid_key));
        let value = value.as_str().unwrap_or_default();
        errors.extend(names::label_value(value).into_iter().map(|text| FieldError::invalid(path, value, text)));
    }
}

/// Why these are no annotations; `path` names them. Keys may have upper case.
pub fn annotations(annotations: Option<&Map<String, Value>>, path: &str, errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for (key, value) in annotations.into_iter().flatten() {
        let messages = names::qualified_name(&key.to_lowercase());
        errors.extend(messages.into_iter().map(|text| FieldError::invalid(path, key.as_str(), text)));
        size += key.len() + value.as_str().unwrap_or_default().len();
    }
    if size > ANNOTATIONS_MAX_BYTES {
        errors.push(too_long(path, ANNOTATIONS_MAX_BYTES));
    }
}

/// `Too long: may not be more than … bytes`
pub fn too_long(field: impl Into<String>, max: usize) -> FieldError {
    let detail = format!("may not be more than {max} bytes");
    FieldError { kind: FieldErrorKind::TooLong, field: field.into(), bad_value: None, detail }
}

fn validate_owners(owners: &[Value], errors: &mut Vec<FieldError>) {
    const PATH: &str = "metadata.ownerReferences";
    for owner in owners {
        let text = |field| object::str_at(owner, field);
        for (field, what) in [("apiVersion", "version"), ("kind", "kind"), ("name", "name"), ("uid", "uid")] {
            if text(field).is_empty() {
                errors.push(FieldError::invalid(format!("{PATH}.{field}"), "", format!("{what} must not be empty")));
            }
        }
        if (text("apiVersion"), text("kind")) == UNOWNABLE {
            let detail = format!("{} is disallowed from being an owner", "/v1, Kind=Event");
            errors.push(invalid_shown(PATH, &shown_owner(owner), &detail));
        }
    }
    let mut controllers = owners.iter().filter(|owner| owner["controller"] == true);
    if let (Some(first), Some(second)) = (controllers.next(), controllers.next()) {
        let named = |owner| format!("{}/{}", object::str_at(owner, "kind"), object::str_at(owner, "name"));
        let shown: Vec<String> = owners.iter().map(shown_owner).collect();
        let detail = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
            named(first),
            named(second)
        );
        errors.push(invalid_shown(PATH, &format!("[]v1.OwnerReference{{{}}}", shown.join(", ")), &detail));
    }
}

/// An `Invalid value` whose value is shown as Go shows a struct.
pub fn invalid_shown(field: impl Into<String>, shown: &str, detail: &str) -> FieldError {
    let detail = format!("{shown}: {detail}");
    FieldError { kind: FieldErrorKind::Invalid, field: field.into(), bad_value: None, detail }
}

/// An owner reference as Go's `%#v` shows it; addresses of pointers say nothing.
fn shown_owner(owner: &Value) -> String {
    let text = |field| format!("{:?}", object::str_at(owner, field));
    let pointer = |field| if owner[field].is_boolean() { "(*bool)(0xc000000000)" } else { "(*bool)(nil)" };
    format!(
        "v1.OwnerReference{{APIVersion:{}, Kind:{}, Name:{}, UID:{}, Controller:{}, BlockOwnerDeletion:{}}}",
        text("apiVersion"),
        text("kind"),
        text("name"),
        text("uid"),
        pointer("controller"),
        pointer("blockOwnerDeletion")
    )
}

fn validate_finalizers(finalizers: &[Value], errors: &mut Vec<FieldError>) {
    for (index, finalizer) in finalizers.iter().enumerate() {
        let name = finalizer.as_str().unwrap_or_default();
        let messages = names::qualified_name(name);
        errors.extend(messages.into_iter().map(|text| FieldError::invalid("metadata.finalizers", name, text)));
        if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(format!("metadata.finalizers[{index}]"), name, detail));
        }
    }
    let has = |wanted: &str| finalizers.iter().any(|finalizer| finalizer == wanted);
    if has("orphan") && has("foregroundDeletion") {
        let shown: Vec<String> =
            finalizers.iter().map(|name| format!("{:?}", name.as_str().unwrap_or_default())).collect();
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(invalid_shown("metadata.finalizers", &format!("[]string{{{}}}", shown.join(", ")), detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::core;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(metadata: Value, expected: Expect) {
        let errors = validate(&core::config_map::RESOURCE, &json!({"metadata": metadata}));
        expected.assert_eq(&errors.iter().map(FieldError::to_string).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn names_and_namespaces_are_needed() {
        check(
            json!({}),
            expect![[r#"
            metadata.name: Required value: name or generateName is required
            metadata.namespace: Required value"#]],
        );
        check(
            json!({"name": "a", "namespace": "b.c"}),
            expect![[r#"metadata.namespace: Invalid value: "b.c": must not contain dots"#]],
        );
    }

    #[test]
    fn finalizers_and_owners_are_checked() {
        check(
            json!({"name": "a", "namespace": "b", "finalizers": ["plain"], "ownerReferences": [{"apiVersion": "v1"}]}),
            expect![[r#"
                metadata.ownerReferences.kind: Invalid value: "": kind must not be empty
                metadata.ownerReferences.name: Invalid value: "": name must not be empty
                metadata.ownerReferences.uid: Invalid value: "": uid must not be empty
                metadata.finalizers[0]: Invalid value: "plain": name is neither a standard finalizer name nor is it fully qualified"#]],
        );
    }

    #[test]
    fn a_dying_object_gets_no_new_finalizers() {
        let old =
            json!({"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}});
        let mut new = old.clone();
        assert_eq!(validate_update(&new, &old), []);
        new["metadata"]["finalizers"] = json!(["a/b", "a/c"]);
        assert_eq!(
            validate_update(&new, &old)[0].to_string(),
            "metadata.finalizers: Forbidden: no new finalizers can be \
            added if the object is being deleted, found new finalizers []string{\"a/c\"}"
        );
    }

    #[test]
    fn labels_say_what_is_wrong() {
        check(
            json!({"name": "a", "namespace": "b", "labels": {"a b": "x", "c": "y z"}}),
            expect![[r#"
            metadata.labels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            metadata.labels: Invalid value: "y z": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"#]],
        );
    }
}
