//! Reads an object of a known kind as upstream's Go types would, and gives it
//! the form they would give it: unknown fields dropped, empty optional fields
//! dropped, fields that Go always writes present. One pass over the tree.
//!
//! Not here: defaults and validation of a kind, which are its strategy's.

use super::node::Node;
use super::quantity::Quantity;
use super::table::{Definition, Field, Schema, Shape};
use super::time::{self, Precision};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

/// Unknown and duplicate fields told of; Go's decoder has the same bound.
const COMPLAINTS_MAX: usize = 100;

/// Text of the first field that has the wrong type.
type WrongType = String;

/// Where the decoder is, and what it noticed.
pub(super) struct Decoder {
    /// Unknown and duplicate fields, in the order of the document.
    pub complaints: Vec<String>,
    /// The path with indices, for complaints: `spec.containers[0]`.
    path: String,
    /// The path without indices, for wrong types: `spec.containers`.
    fields: Vec<&'static str>,
    /// The innermost struct, for wrong types.
    within: &'static str,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { complaints: Vec::new(), path: String::new(), fields: Vec::new(), within: "" }
    }

    /// Reads a struct.
    pub(super) fn structure(&mut self, definition: &'static Definition, node: Node) -> Result<Value, WrongType> {
        let entries = match node {
            Node::Object(entries) => entries,
            Node::Null => Vec::new(),
            other => return Err(self.mismatch(&other, definition.go_type())),
        };
        let mut found = Map::new();
        let mut seen: Vec<&'static str> = Vec::new();
        for (key, node) in entries {
            let Some(field) = definition.field(&key) else {
                self.complain("unknown", &key);
                continue;
            };
            if seen.contains(&field.name) {
                self.complain("duplicate", &key);
            }
            seen.push(field.name);
            let value = self.field(definition, field, node)?;
            if is_written(field, &value) {
                found.insert(key, value);
            } else {
                found.remove(&key);
            }
        }
        add_empty(definition, &mut found);
        Ok(Value::Object(found))
    }

    fn field(
        &mut self,
        definition: &'static Definition,
        field: &'static Field,
        node: Node,
    ) -> Result<Value, WrongType> {
        if node == Node::Null {
            return Ok(Value::Null);
        }
        let (length, outer) = (self.path.len(), self.within);
        self.enter(field.name);
        self.fields.push(field.name);
        self.within = definition.short_name();
        let value = self.value(&field.schema, field.go_type.trim_start_matches('*'), node)?;
        self.within = outer;
        self.fields.pop();
        self.path.truncate(length);
        Ok(value)
    }

    /// Reads a value that is not null.
    fn value(&mut self, schema: &'static Schema, go_type: &str, node: Node) -> Result<Value, WrongType> {
        match (&schema.shape, node) {
            (Shape::Any, node) => Ok(node.into_value()),
            (Shape::Struct(id), node) => self.structure(id.get(), node),
            (Shape::List(items), Node::Array(elements)) => self.list(items, go_type, elements),
            (Shape::Map(values), Node::Object(entries)) => self.map(values, go_type, entries),
            (Shape::String, Node::String(text)) => Ok(Value::String(text)),
            (Shape::Bytes, Node::String(text)) => bytes(&text).map(Value::String),
            (Shape::Boolean, Node::Bool(value)) => Ok(Value::Bool(value)),
            (Shape::Int32, Node::Number(number)) if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => {
                Ok(Value::Number(number))
            }
            (Shape::Int64, Node::Number(number)) if number.is_i64() => Ok(Value::Number(number)),
            (Shape::Double, Node::Number(number)) => Ok(Value::Number(number)),
            (Shape::Quantity, node) => quantity(&node),
            (Shape::IntOrString, node) => int_or_string(node),
            (Shape::Time, node) => timestamp(&node, Precision::Seconds),
            (Shape::MicroTime, node) => timestamp(&node, Precision::Microseconds),
            (_, node) => Err(self.mismatch(&node, go_type)),
        }
    }

    fn list(&mut self, items: &'static Schema, go_type: &str, elements: Vec<Node>) -> Result<Value, WrongType> {
        let element_type = go_type.strip_prefix("[]").unwrap_or("string");
        let length = self.path.len();
        let mut values = Vec::with_capacity(elements.len());
        for (index, node) in elements.into_iter().enumerate() {
            self.path.push_str(&format!("[{index}]"));
            values.push(self.element(items, element_type, node)?);
            self.path.truncate(length);
        }
        Ok(Value::Array(values))
    }

    fn map(
        &mut self,
        values: &'static Schema,
        go_type: &str,
        entries: Vec<(String, Node)>,
    ) -> Result<Value, WrongType> {
        let value_type = map_value_type(go_type, values);
        let length = self.path.len();
        let mut found = Map::new();
        for (key, node) in entries {
            if found.contains_key(&key) {
                self.complain("duplicate", &key);
            }
            self.enter(&key);
            let value = self.element(values, value_type, node)?;
            self.path.truncate(length);
            found.insert(key, value);
        }
        Ok(Value::Object(found))
    }

    /// Reads an element of a list or map; null is the empty value.
    fn element(&mut self, schema: &'static Schema, go_type: &str, node: Node) -> Result<Value, WrongType> {
        match node {
            Node::Null => Ok(empty(schema)),
            node => self.value(schema, go_type, node),
        }
    }

    fn enter(&mut self, key: &str) {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(key);
    }

    fn complain(&mut self, what: &str, key: &str) {
        if self.complaints.len() >= COMPLAINTS_MAX {
            return;
        }
        let dot = if self.path.is_empty() { "" } else { "." };
        let complaint = format!("{what} field \"{}{dot}{key}\"", self.path);
        if !self.complaints.contains(&complaint) {
            self.complaints.push(complaint);
        }
    }

    fn mismatch(&self, node: &Node, go_type: &str) -> WrongType {
        let kind = match node {
            // Go shows a number only where it wanted another kind of number.
            Node::Number(_) if !is_number(go_type) => "number".to_owned(),
            node => node.go_kind(),
        };
        if self.fields.is_empty() {
            return format!("json: cannot unmarshal {kind} into Go value of type {go_type}");
        }
        let path = self.fields.join(".");
        format!("json: cannot unmarshal {kind} into Go struct field {}.{path} of type {go_type}", self.within)
    }
}

fn is_number(go_type: &str) -> bool {
    matches!(go_type, "int32" | "int64" | "float64")
}

/// The type of a map's values: `string` of `map[string]string`. Named map types
/// do not say it.
fn map_value_type<'a>(go_type: &'a str, values: &'static Schema) -> &'a str {
    let written = go_type.split_once(']').map(|(_, value)| value);
    match (written, &values.shape) {
        (Some(value), _) => value,
        (None, Shape::List(_)) => "[]string",
        (None, Shape::Bytes) => "[]uint8",
        (None, _) => "string",
    }
}

/// Whether Go's encoder writes the field with this value.
fn is_written(field: &Field, value: &Value) -> bool {
    let empty = match value {
        Value::Null => true,
        _ if field.pointer => false,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        // Kept, because an explicit empty list resets the managed fields.
        Value::Array(elements) => elements.is_empty() && field.name != "managedFields",
        Value::Object(entries) => entries.is_empty() && matches!(field.schema.shape, Shape::Map(_)),
    };
    // What is kept although empty is added afterwards, in the form for empty.
    !empty
}

/// Adds the fields that Go writes even when empty.
fn add_empty(definition: &'static Definition, found: &mut Map<String, Value>) {
    for field in definition.fields.iter().filter(|field| field.keeps_empty) {
        if !found.contains_key(field.name) {
            found.insert(field.name.to_owned(), empty_field(field));
        }
    }
}

fn empty_field(field: &'static Field) -> Value {
    if field.pointer { Value::Null } else { empty(&field.schema) }
}

/// What Go writes for the zero value.
fn empty(schema: &'static Schema) -> Value {
    match &schema.shape {
        Shape::String => Value::from(""),
        Shape::Int32 | Shape::Int64 | Shape::Double | Shape::IntOrString => Value::from(0),
        Shape::Boolean => Value::from(false),
        Shape::Quantity => Value::from("0"),
        Shape::Bytes | Shape::Time | Shape::MicroTime | Shape::Any | Shape::List(_) | Shape::Map(_) => Value::Null,
        Shape::Struct(id) => {
            let mut fields = Map::new();
            add_empty(id.get(), &mut fields);
            Value::Object(fields)
        }
    }
}

fn bytes(text: &str) -> Result<String, WrongType> {
    let text: String = text.chars().filter(|character| !matches!(character, '\r' | '\n')).collect();
    match BASE64.decode(&text) {
        Ok(decoded) => Ok(BASE64.encode(decoded)),
        Err(error) => Err(format!("illegal base64 data at input byte {}", base64_offset(&error, text.len()))),
    }
}

fn base64_offset(error: &base64::DecodeError, length: usize) -> usize {
    match error {
        base64::DecodeError::InvalidByte(offset, _) | base64::DecodeError::InvalidLastSymbol(offset, _) => *offset,
        base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => length / 4 * 4,
    }
}

fn quantity(node: &Node) -> Result<Value, WrongType> {
    let text = match node {
        Node::String(text) => text.trim().to_owned(),
        Node::Number(number) => number.to_string(),
        other => serde_json::to_string(&other.clone().into_value()).unwrap_or_default(),
    };
    text.parse::<Quantity>().map(|quantity| Value::from(quantity.to_string())).map_err(|error| error.to_string())
}

fn int_or_string(node: Node) -> Result<Value, WrongType> {
    match node {
        Node::String(text) => Ok(Value::String(text)),
        Node::Number(number) if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => Ok(Value::Number(number)),
        other => Err(format!("json: cannot unmarshal {} into Go value of type int32", bare_kind(&other, true))),
    }
}

fn timestamp(node: &Node, precision: Precision) -> Result<Value, WrongType> {
    match node {
        Node::String(text) => time::canonical(text, precision).map(Value::String),
        other => Err(format!("json: cannot unmarshal {} into Go value of type string", bare_kind(other, false))),
    }
}

fn bare_kind(node: &Node, into_number: bool) -> String {
    match node {
        Node::Number(_) if !into_number => "number".to_owned(),
        node => node.go_kind(),
    }
}
