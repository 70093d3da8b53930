//! Definitions as OpenAPI schemas, with all extensions that clients merge by.
//! Version 3 and version 2 differ in how they refer to each other and in the
//! few types that are several things at once.

use super::descriptions;
use crate::schema::table::Gvk;
use crate::schema::{self, Definition, ListType, Schema, Shape};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Which OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Version 2: `#/definitions/…`, side by side with a description.
    V2,
    /// Version 3: `#/components/schemas/…`, within `allOf`.
    V3,
}

type Object = Map<String, Value>;

/// A reference to a definition.
pub(super) fn reference(definition: &str, style: Style) -> Value {
    match style {
        Style::V2 => json!({"$ref": format!("#/definitions/{definition}")}),
        Style::V3 => json!({"$ref": format!("#/components/schemas/{definition}")}),
    }
}

/// The schemas of the definitions and of all that they refer to.
pub(super) fn reachable(roots: &BTreeSet<&'static str>, style: Style) -> Object {
    let mut waiting: Vec<&'static str> = roots.iter().copied().collect();
    let mut found = Object::new();
    while let Some(name) = waiting.pop() {
        if found.contains_key(name) {
            continue;
        }
        let Some(definition) = schema::definition(name) else { continue };
        found.insert(name.to_owned(), definition_schema(definition, style));
        waiting.extend(definition.fields.iter().filter_map(|field| referred(&field.schema)));
    }
    found
}

/// The definition that a value refers to, itself or through its elements.
fn referred(schema: &'static Schema) -> Option<&'static str> {
    match &schema.shape {
        Shape::List(inner) | Shape::Map(inner) => referred(inner),
        _ => schema.reference,
    }
}

fn definition_schema(definition: &'static Definition, style: Style) -> Value {
    let mut object = Object::new();
    if let Some(text) = descriptions::of(definition.name) {
        object.insert("description".to_owned(), text.into());
    }
    if definition.fields.is_empty() {
        object.extend(plain_type(definition, style));
    } else {
        object.insert("type".to_owned(), "object".into());
        let fields = definition.fields.iter();
        let properties: Object = fields
            .map(|field| {
                let text = descriptions::of_field(definition.name, field.name);
                (field.name.to_owned(), Value::Object(value_schema(&field.schema, text, style)))
            })
            .collect();
        object.insert("properties".to_owned(), Value::Object(properties));
    }
    if !definition.required.is_empty() {
        object.insert("required".to_owned(), definition.required.iter().copied().collect());
    }
    if definition.atomic {
        object.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
    }
    if !definition.gvks.is_empty() {
        object.insert("x-kubernetes-group-version-kind".to_owned(), definition.gvks.iter().map(gvk).collect());
    }
    if let Some(unions) = &definition.unions {
        object.insert("x-kubernetes-unions".to_owned(), unions.clone());
    }
    Value::Object(object)
}

/// A group, version and kind as the extension has it.
pub(super) fn gvk(gvk: &Gvk) -> Value {
    json!({"group": gvk.group, "version": gvk.version, "kind": gvk.kind})
}

/// Type and format of a definition that is no struct.
fn plain_type(definition: &Definition, style: Style) -> Object {
    let mut object = Object::new();
    match (style, definition.one_of.is_empty()) {
        (Style::V3, false) => {
            let types = definition.one_of.iter().map(|name| json!({"type": name})).collect();
            object.insert("oneOf".to_owned(), types);
        }
        // Version 2 cannot say it; upstream calls these strings.
        (Style::V2, false) => drop(object.insert("type".to_owned(), "string".into())),
        (_, true) if !definition.json_type.is_empty() => {
            object.insert("type".to_owned(), definition.json_type.into());
        }
        _ => {}
    }
    if !definition.format.is_empty() {
        object.insert("format".to_owned(), definition.format.into());
    }
    object
}

/// The schema of a field, an element or a map's values.
fn value_schema(schema: &'static Schema, description: Option<&str>, style: Style) -> Object {
    let mut object = Object::new();
    if let Some(text) = description {
        object.insert("description".to_owned(), text.into());
    }
    match (schema.reference, style) {
        (Some(name), Style::V2) => object.extend(reference(name, style).as_object().cloned().unwrap_or_default()),
        (Some(name), Style::V3) => drop(object.insert("allOf".to_owned(), json!([reference(name, style)]))),
        (None, _) => add_type(schema, style, &mut object),
    }
    // Version 2 has defaults of scalars only.
    let shown = |default: &&Value| style == Style::V3 || !default.is_object();
    if let Some(default) = schema.default.as_ref().filter(shown) {
        object.insert("default".to_owned(), default.clone());
    }
    if !schema.enumeration.is_empty() {
        object.insert("enum".to_owned(), schema.enumeration.iter().copied().collect());
    }
    add_extensions(schema, &mut object);
    object
}

fn add_type(schema: &'static Schema, style: Style, object: &mut Object) {
    let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    let (json_type, format) = match &schema.shape {
        Shape::String => ("string", ""),
        Shape::Bytes => ("string", "byte"),
        Shape::Int32 => ("integer", "int32"),
        Shape::Int64 => ("integer", "int64"),
        Shape::Double => ("number", "double"),
        Shape::Boolean => ("boolean", ""),
        Shape::List(_) => ("array", ""),
        _ => ("object", ""),
    };
    put("type", json_type.into());
    if !format.is_empty() {
        put("format", format.into());
    }
    match &schema.shape {
        Shape::List(items) => put("items", Value::Object(value_schema(items, None, style))),
        Shape::Map(values) => put("additionalProperties", Value::Object(value_schema(values, None, style))),
        _ => {}
    }
}

fn add_extensions(schema: &Schema, object: &mut Object) {
    let mut put = |name: &str, value: Value| drop(object.insert(format!("x-kubernetes-{name}"), value));
    if let Some(list_type) = schema.list_type {
        let word = match list_type {
            ListType::Atomic => "atomic",
            ListType::Set => "set",
            ListType::Map => "map",
        };
        put("list-type", word.into());
    }
    if !schema.list_map_keys.is_empty() {
        put("list-map-keys", schema.list_map_keys.iter().copied().collect());
    }
    if let Some(atomic) = schema.atomic {
        put("map-type", if atomic { "atomic" } else { "granular" }.into());
    }
    if let Some(key) = schema.patch_merge_key {
        put("patch-merge-key", key.into());
    }
    if !schema.patch_strategy.is_empty() {
        put("patch-strategy", schema.patch_strategy.into());
    }
}
