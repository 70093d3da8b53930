//! ConfigMap: named texts and bytes.

use crate::object;
use crate::registry::check::Errors;
use crate::registry::metadata::too_long;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Part, Resource, Strategy, names};
use crate::schema::FieldError;
use base64::Engine;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of ConfigMaps.
pub const RESOURCE: Resource = Resource {
    short_names: &["cm"],
    ..Resource::new("ConfigMap", "configmaps", "configmap", "io.k8s.api.core.v1.ConfigMap", &ConfigMap)
};

/// All values together; what does not fit in here does not fit into the store.
pub(super) const VALUES_MAX_BYTES: usize = 1024 * 1024;

struct ConfigMap;

impl Strategy for ConfigMap {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let (data, binary) = (&object["data"], &object["binaryData"]);
        validate_keys(data, "data", &mut errors);
        for key in data.as_object().into_iter().flatten().map(|(key, _)| key) {
            if binary.get(key).is_some() {
                let detail = "duplicate of key present in binaryData";
                errors.push(FieldError::invalid(format!("data[{key}]"), key.as_str(), detail));
            }
        }
        validate_keys(binary, "binaryData", &mut errors);
        let texts = data.as_object().into_iter().flatten().map(|(_, value)| value.as_str().map_or(0, str::len));
        if texts.sum::<usize>() + decoded_size(binary) > VALUES_MAX_BYTES {
            errors.push(too_long("[]", VALUES_MAX_BYTES)); // upstream's way to name the whole object
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        let mut errors = Errors::new();
        validate_immutable(new, old, &["data", "binaryData"], &mut errors);
        errors.extend(self.validate(new));
        errors
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, table::text("Data", "How many entries it has."), AGE] }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let entries = |field| object::at(object, field).and_then(Value::as_object).map_or(0, serde_json::Map::len);
        vec![table::name(object), json!(entries("data") + entries("binaryData")), table::age(object, now)]
    }
}

/// Keys of a ConfigMap or Secret.
pub(super) fn validate_keys(data: &Value, path: &str, errors: &mut Errors) {
    for key in data.as_object().into_iter().flatten().map(|(key, _)| key) {
        let invalid = |text| FieldError::invalid(format!("{path}[{key}]"), key.as_str(), text);
        errors.extend(names::config_key(key).into_iter().map(invalid));
    }
}

/// Bytes that the base64 values amount to.
pub(super) fn decoded_size(data: &Value) -> usize {
    let values = data.as_object().into_iter().flatten().filter_map(|(_, value)| value.as_str());
    values.map(|value| base64::engine::general_purpose::STANDARD.decode(value).map_or(0, |bytes| bytes.len())).sum()
}

/// What was made immutable stays so, with all its `fields`.
pub(super) fn validate_immutable(new: &Value, old: &Value, fields: &[&str], errors: &mut Errors) {
    if old["immutable"] != true {
        return;
    }
    let detail = "field is immutable when `immutable` is set";
    if new["immutable"] != true {
        errors.push(FieldError::forbidden("immutable", detail));
    }
    let changed = fields.iter().filter(|field| new[**field] != old[**field]);
    errors.extend(changed.map(|field| FieldError::forbidden(*field, detail)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::shown_errors;
    use expect_test::expect;

    #[test]
    fn keys_and_sizes_are_checked() {
        let object = json!({"data": {"a b": "", "k": "v"}, "binaryData": {"k": "dg=="}});
        expect![[r#"
            data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
            data[k]: Invalid value: "k": duplicate of key present in binaryData"#]]
        .assert_eq(&shown_errors(&ConfigMap.validate(&object)));
        let big = json!({"data": {"k": "x".repeat(VALUES_MAX_BYTES + 1)}});
        assert_eq!(shown_errors(&ConfigMap.validate(&big)), "[]: Too long: may not be more than 1048576 bytes");
    }

    #[test]
    fn immutable_means_immutable() {
        let old = json!({"data": {"k": "v"}, "immutable": true});
        let new = json!({"data": {"k": "w"}});
        expect![[r#"
            immutable: Forbidden: field is immutable when `immutable` is set
            data: Forbidden: field is immutable when `immutable` is set"#]]
        .assert_eq(&shown_errors(&ConfigMap.validate_update(&new, &old, Part::Main)));
    }
}
