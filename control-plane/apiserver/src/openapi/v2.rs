//! The OpenAPI v2 document in the only form that kubectl before 1.27 asks for:
//! gnostic's protobuf. Those clients validate, explain and merge by the
//! definitions, and look among the paths only for what PATCH accepts, so that is
//! all that the paths have. Field numbers are those of gnostic's
//! `OpenAPIv2.proto`.

use super::paths::PATCH_TYPES;
use super::schemas::{Style, reachable};
use super::{TITLE, VERSION, root};
use crate::protobuf::wire::Writer;
use crate::registry::{self, Resource, Scope};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::LazyLock;

/// The media type of [`v2_protobuf`] in an answer. Clients ask for it with an `@`
/// in place of the second dot, but newer ones fail to parse that in an answer.
pub const V2_MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// `/openapi/v2` in protobuf.
pub fn v2_protobuf() -> Bytes {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document().into_bytes()));
    DOCUMENT.clone()
}

fn document() -> Writer {
    let roots: BTreeSet<&'static str> = registry::all().iter().map(|row| row.definition).collect();
    let mut document = Writer::new();
    document.bytes(1, b"2.0");
    inner(&mut document, 2, |info| {
        info.bytes(1, TITLE.as_bytes());
        info.bytes(2, VERSION.as_bytes());
    });
    inner(&mut document, 8, |paths| {
        for row in registry::all().iter().filter(|row| row.verbs.contains(&"patch")) {
            inner(paths, 2, |named| path(row, named));
        }
    });
    inner(&mut document, 9, |definitions| named_schemas(1, &reachable(&roots, Style::V2), definitions));
    document
}

/// A message that cannot fail.
fn inner(out: &mut Writer, number: u32, write: impl FnOnce(&mut Writer)) {
    let result: Result<(), Infallible> = out.message(number, |message| {
        write(message);
        Ok(())
    });
    let Ok(()) = result;
}

/// `NamedPathItem` with the one operation that old clients look for.
fn path(row: &Resource, named: &mut Writer) {
    let namespace = if row.scope == Scope::Namespaced { "namespaces/{namespace}/" } else { "" };
    let path = format!("/{}/{namespace}{}/{{name}}", root(row.group, row.version), row.plural);
    named.bytes(1, path.as_bytes());
    inner(named, 2, |item| {
        inner(item, 8, |patch| {
            for media_type in PATCH_TYPES {
                patch.bytes(7, media_type.as_bytes());
            }
            for name in ["dryRun", "fieldManager", "fieldValidation", "force"] {
                inner(patch, 8, |item| query_parameter(name, item));
            }
            let gvk = json!({"group": row.group, "kind": row.kind, "version": row.version});
            extension(13, "x-kubernetes-action", &json!("patch"), patch);
            extension(13, "x-kubernetes-group-version-kind", &gvk, patch);
        });
    });
}

/// `ParametersItem` of a parameter in the query.
fn query_parameter(name: &str, item: &mut Writer) {
    inner(item, 1, |parameter| {
        inner(parameter, 2, |non_body| {
            inner(non_body, 3, |query| {
                query.bytes(2, b"query");
                query.bytes(4, name.as_bytes());
                query.bytes(6, if name == "force" { b"boolean" } else { b"string" });
                query.varint(20, 1);
            });
        });
    });
}

/// `NamedAny`
fn extension(number: u32, name: &str, value: &Value, out: &mut Writer) {
    inner(out, number, |named| {
        named.bytes(1, name.as_bytes());
        inner(named, 2, |any| yaml(value, any));
    });
}

/// `Any`, whose YAML may be JSON.
fn yaml(value: &Value, any: &mut Writer) {
    any.bytes(2, value.to_string().as_bytes());
}

/// A list of `NamedSchema`.
fn named_schemas(number: u32, schemas: &Map<String, Value>, out: &mut Writer) {
    for (name, value) in schemas {
        inner(out, number, |named| {
            named.bytes(1, name.as_bytes());
            inner(named, 2, |message| schema(value, message));
        });
    }
}

/// `Schema`
fn schema(value: &Value, out: &mut Writer) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let text = || value.as_str().unwrap_or_default().as_bytes();
        match key.as_str() {
            "$ref" => out.bytes(1, text()),
            "format" => out.bytes(2, text()),
            "description" => out.bytes(4, text()),
            "default" => inner(out, 5, |any| yaml(value, any)),
            "required" => texts(19, value, out),
            "enum" => value.as_array().into_iter().flatten().for_each(|word| inner(out, 20, |any| yaml(word, any))),
            "additionalProperties" => inner(out, 21, |item| inner(item, 1, |message| schema(value, message))),
            "type" => inner(out, 22, |item| item.bytes(1, text())),
            "items" => inner(out, 23, |item| inner(item, 1, |message| schema(value, message))),
            "properties" => {
                let Some(properties) = value.as_object() else { continue };
                inner(out, 25, |message| named_schemas(1, properties, message));
            }
            key if key.starts_with("x-") => extension(31, key, value, out),
            _ => {}
        }
    }
}

fn texts(number: u32, list: &Value, out: &mut Writer) {
    for text in list.as_array().into_iter().flatten().filter_map(Value::as_str) {
        out.bytes(number, text.as_bytes());
    }
}
