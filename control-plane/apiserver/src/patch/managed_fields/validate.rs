//! Whether a configuration fits the schema, before it is merged: undeclared
//! fields, wrong types, elements that cannot be told apart. Messages are
//! upstream's (structured-merge-diff's `typed/validate.go`).

use super::field_set::readable;
use super::typed::{Atom, Leaf, Type};
use crate::schema::{Schema, Shape};
use serde_json::Value;
use std::collections::BTreeSet;

/// All that is wrong, in one text, or nothing.
pub(super) fn check(kind: Type, value: &Value) -> Result<(), String> {
    let mut errors = Vec::new();
    walk(kind, value, "", &mut errors);
    match errors.as_slice() {
        [] => Ok(()),
        [only] => Err(only.clone()),
        many => Err(format!("errors:\n  {}", many.join("\n  "))),
    }
}

fn complain(path: &str, text: &str, errors: &mut Vec<String>) {
    errors.push(if path.is_empty() { text.to_owned() } else { format!("{path}: {text}") });
}

fn walk(kind: Type, value: &Value, path: &str, errors: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    match kind.atom(value) {
        Atom::Leaf(leaf) => walk_leaf(kind, leaf, value, path, errors),
        Atom::Fields(fields) => {
            let Value::Object(entries) = value else {
                return complain(path, &format!("expected map, got {}", shown(value)), errors);
            };
            for (key, child) in entries {
                let path = format!("{path}.{key}");
                match fields.accepts(key) {
                    Some(kind) => walk(kind, child, &path, errors),
                    None => complain(&path, "field not declared in schema", errors),
                }
            }
        }
        Atom::Items(items) => {
            let Value::Array(elements) = value else {
                return complain(path, &format!("expected list, got {}", shown(value)), errors);
            };
            let mut seen = BTreeSet::new();
            for (index, child) in elements.iter().enumerate() {
                let element = match items.element(child) {
                    Ok(element) => element,
                    Err(text) => return complain(path, &format!("element {index}: {text}"), errors),
                };
                let element_path = format!("{path}{}", readable(&element));
                if seen.contains(&element) {
                    complain(path, &format!("duplicate entries for key {}", readable(&element)), errors);
                }
                seen.insert(element);
                walk(items.child(), child, &element_path, errors);
            }
        }
    }
}

/// A leaf may be a whole map or list, whose inside must fit as well.
fn walk_leaf(kind: Type, leaf: Leaf, value: &Value, path: &str, errors: &mut Vec<String>) {
    let Type::Known(schema) = kind else { return };
    match (leaf, &schema.shape, value) {
        (Leaf::Scalar, shape, value) => {
            if let Some(text) = scalar_mismatch(shape, value) {
                complain(path, &text, errors);
            }
        }
        (Leaf::List, Shape::List(items), Value::Array(elements)) => {
            for (index, child) in elements.iter().enumerate() {
                walk(Type::Known(items), child, &format!("{path}[{index}]"), errors);
            }
        }
        (Leaf::List, Shape::List(_), value) => complain(path, &format!("expected list, got {}", shown(value)), errors),
        (Leaf::Map, _, Value::Object(entries)) => {
            for (key, child) in entries {
                match leaf_child(schema, key) {
                    Some(kind) => walk(kind, child, &format!("{path}.{key}"), errors),
                    None => complain(&format!("{path}.{key}"), "field not declared in schema", errors),
                }
            }
        }
        (Leaf::Map, _, value) => complain(path, &format!("expected map, got {}", shown(value)), errors),
        _ => {}
    }
}

fn leaf_child(schema: &'static Schema, key: &str) -> Option<Type> {
    match &schema.shape {
        Shape::Map(values) => Some(Type::Known(values)),
        Shape::Struct(id) => id.get().field(key).map(|field| Type::Known(&field.schema)),
        _ => None,
    }
}

fn scalar_mismatch(shape: &Shape, value: &Value) -> Option<String> {
    let is_composite = value.is_object() || value.is_array();
    match shape {
        Shape::String | Shape::Bytes if !value.is_string() => {
            Some(format!("expected string, got &value.valueUnstructured{{Value:{value}}}"))
        }
        Shape::Int32 | Shape::Int64 | Shape::Double if !value.is_number() => {
            Some(format!("expected numeric (int or float), got {}", go_type(value)))
        }
        Shape::Boolean if !value.is_boolean() => Some(format!("expected boolean, got {}", shown(value))),
        _ if is_composite => Some(format!("expected any scalar, got {}", shown(value))),
        _ => None,
    }
}

/// A value as Go's `%v` prints upstream's wrapper of it.
fn shown(value: &Value) -> String {
    format!("&{{{}}}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Array(_) => "[]interface {}",
        _ => "map[string]interface {}",
    }
}
