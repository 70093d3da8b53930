//! Secret: named bytes that are not shown.

use super::config_map::{VALUES_MAX_BYTES, decoded_size, validate_immutable, validate_keys};
use crate::object;
use crate::registry::check::Errors;
use crate::registry::defaults::set;
use crate::registry::metadata::{IMMUTABLE, too_long};
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Part, Resource, Strategy};
use crate::schema::FieldError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of Secrets.
pub const RESOURCE: Resource = Resource::new("Secret", "secrets", "secret", "io.k8s.api.core.v1.Secret", &Secret);

struct Secret;

/// What each type must hold: all of the keys, or (basic-auth) one of them.
const KEYS: [(&str, &[&str]); 4] = [
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
];

impl Strategy for Secret {
    /// Texts become bytes; the field for texts is only ever written.
    fn default(&self, object: &mut Value) {
        let Some(fields) = object.as_object_mut() else { return };
        set(fields, "type", "Opaque");
        let Some(Value::Object(texts)) = fields.remove("stringData") else { return };
        let data = object::map_mut(object, "data");
        for (key, text) in texts {
            data.insert(key, json!(STANDARD.encode(text.as_str().unwrap_or_default())));
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let data = &object["data"];
        validate_keys(data, "data", &mut errors);
        if decoded_size(data) > VALUES_MAX_BYTES {
            errors.push(too_long("data", VALUES_MAX_BYTES));
        }
        validate_type(object, &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        let mut errors = Errors::new();
        if new["type"] != old["type"] {
            errors.push(FieldError::invalid("type", new["type"].clone(), IMMUTABLE));
        }
        validate_immutable(new, old, &["data"], &mut errors);
        errors.extend(self.validate(new));
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        if object["type"] != "kubernetes.io/tls" {
            return Vec::new();
        }
        let is_pem =
            |key: &str| value(object, key).is_some_and(|bytes| bytes.windows(11).any(|part| part == b"-----BEGIN "));
        let missing = [("tls.crt", "certificate"), ("tls.key", "key")].into_iter().find(|(key, _)| !is_pem(key));
        missing.map(|(_, what)| format!("tls: failed to find any PEM data in {what} input")).into_iter().collect()
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("type", object::str_at(object, "type").to_owned())]
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["type"]
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, table::text("Type", "What its keys mean."), table::text("Data", "How many entries it has."), AGE] }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let entries = object::at(object, "data").and_then(Value::as_object).map_or(0, serde_json::Map::len);
        vec![table::name(object), json!(object::str_at(object, "type")), json!(entries), table::age(object, now)]
    }
}

fn value(secret: &Value, key: &str) -> Option<Vec<u8>> {
    STANDARD.decode(secret["data"][key].as_str()?).ok()
}

fn validate_type(secret: &Value, errors: &mut Errors) {
    let kind = object::str_at(secret, "type");
    let missing = |key: &str| secret["data"].get(key).is_none();
    let required = |key: &str| FieldError::required(format!("data[{key}]"), "");
    let keys = KEYS.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, keys)| keys);
    errors.extend(keys.iter().filter(|key| missing(key)).map(|key| required(key)));
    match kind {
        "kubernetes.io/basic-auth" if missing("username") && missing("password") => {
            errors.extend([required("username"), required("password")]);
        }
        "kubernetes.io/dockercfg" | "kubernetes.io/dockerconfigjson" => {
            for key in keys.iter().filter(|key| !missing(key)) {
                let bytes = value(secret, key).unwrap_or_default();
                if let Err(error) = serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes) {
                    let (field, detail) = (format!("data[{key}]"), json_problem(&bytes, &error));
                    errors.push(FieldError::invalid(field, "<secret contents redacted>", detail));
                }
            }
        }
        "kubernetes.io/service-account-token" => {
            const ACCOUNT: &str = "kubernetes.io/service-account.name";
            let annotations = object::metadata(secret).get("annotations");
            if annotations.map_or("", |annotations| annotations[ACCOUNT].as_str().unwrap_or_default()).is_empty() {
                errors.push(FieldError::required(format!("metadata.annotations[{ACCOUNT}]"), ""));
            }
        }
        _ => {}
    }
}

/// What is wrong with the JSON, as Go says it where the two can be told alike.
fn json_problem(bytes: &[u8], error: &serde_json::Error) -> String {
    match bytes.first() {
        None => "unexpected end of JSON input".to_owned(),
        Some(first) if !b"{ \t\r\n".contains(first) => {
            format!("invalid character {:?} looking for beginning of value", char::from(*first))
        }
        Some(_) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::shown_errors;
    use expect_test::{Expect, expect};

    fn check(mut object: Value, expected: Expect) {
        Secret.default(&mut object);
        expected.assert_eq(&shown_errors(&Secret.validate(&object)));
    }

    #[test]
    fn texts_replace_bytes() {
        let mut object = json!({"data": {"a": "YQ=="}, "stringData": {"a": "over", "b": "plain"}});
        Secret.default(&mut object);
        assert_eq!(object, json!({"data": {"a": "b3Zlcg==", "b": "cGxhaW4="}, "type": "Opaque"}));
    }

    #[test]
    fn types_need_their_keys() {
        check(json!({"type": "kubernetes.io/dockerconfigjson"}), expect!["data[.dockerconfigjson]: Required value"]);
        check(
            json!({"type": "kubernetes.io/tls", "stringData": {"tls.crt": ""}}),
            expect!["data[tls.key]: Required value"],
        );
        check(json!({"type": "kubernetes.io/basic-auth", "stringData": {"username": "u"}}), expect![""]);
        check(json!({"type": "example.com/own"}), expect![""]);
    }
}
