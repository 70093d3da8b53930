//! JSON values to messages. Fields that are absent or null are not written,
//! which readers take for the zero value.

use super::table::{Field, Form, Kind, Message};
use super::wire::Writer;
use super::{Error, special};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

/// Writes a message.
pub(super) fn message(message: &'static Message, value: &Value, out: &mut Writer) -> Result<(), Error> {
    match message.form {
        Form::Struct => fields(message, value, out),
        Form::Items => match message.fields.first() {
            Some(items) => repeated(items, value, out),
            None => Ok(()),
        },
        Form::SchemaOr => fields(message, &special::from_schema_or(message, value), out),
        form => special::write(form, value, out),
    }
}

fn fields(message: &'static Message, value: &Value, out: &mut Writer) -> Result<(), Error> {
    if !value.is_object() {
        return Err(wrong("an object", value));
    }
    for field in &message.fields {
        if let (Kind::Message(id), true) = (field.kind, field.inline) {
            // The embedded message picks its own fields from the parent's.
            out.message(field.number, |inner| fields(id.get(), value, inner))?;
            continue;
        }
        match value.get(&field.name) {
            None | Some(Value::Null) => {}
            Some(value) => one_field(field, value, out)?,
        }
    }
    Ok(())
}

fn one_field(field: &Field, value: &Value, out: &mut Writer) -> Result<(), Error> {
    match field.kind {
        Kind::Map(values) => {
            let entries = value.as_object().ok_or_else(|| wrong("an object", value))?;
            for (key, value) in entries {
                out.message(field.number, |entry| {
                    entry.bytes(1, key.as_bytes());
                    scalar(values.kind(), 2, value, entry)
                })?;
            }
            Ok(())
        }
        _ if field.repeated => repeated(field, value, out),
        kind => scalar(kind, field.number, value, out),
    }
}

fn repeated(field: &Field, value: &Value, out: &mut Writer) -> Result<(), Error> {
    let elements = value.as_array().ok_or_else(|| wrong("a list", value))?;
    elements.iter().try_for_each(|element| scalar(field.kind, field.number, element, out))
}

fn scalar(kind: Kind, number: u32, value: &Value, out: &mut Writer) -> Result<(), Error> {
    match kind {
        Kind::String => out.bytes(number, value.as_str().ok_or_else(|| wrong("a string", value))?.as_bytes()),
        Kind::Bytes => {
            let text = value.as_str().ok_or_else(|| wrong("a string", value))?;
            out.bytes(number, &BASE64.decode(text).map_err(|error| Error::Value(error.to_string()))?);
        }
        Kind::Bool => out.varint(number, u64::from(value.as_bool().ok_or_else(|| wrong("a boolean", value))?)),
        // Negative numbers are written with all their 64 bits.
        Kind::Int32 | Kind::Int64 => {
            out.varint(number, value.as_i64().ok_or_else(|| wrong("an integer", value))?.cast_unsigned());
        }
        Kind::Double => out.double(number, value.as_f64().ok_or_else(|| wrong("a number", value))?),
        Kind::Message(id) => out.message(number, |inner| message(id.get(), value, inner))?,
        Kind::Map(_) => return Err(wrong("no map", value)),
    }
    Ok(())
}

pub(super) fn wrong(wanted: &str, value: &Value) -> Error {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Error::Value(format!("expected {wanted}, found {kind}"))
}
