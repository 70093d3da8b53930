//! Messages to JSON values. Zero values are kept as they come: the schema drops
//! those that Go would not write.

use super::table::{Field, Form, Kind, MapValue, Message};
use super::wire::{Reader, Wire, WireField};
use super::{DEPTH_MAX, Error, VALUES_MAX, special};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

/// What one body may still take.
pub(super) struct Budget {
    depth: usize,
    values: usize,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { depth: DEPTH_MAX, values: VALUES_MAX }
    }

    fn take_value(&mut self) -> Result<(), Error> {
        self.values = self.values.checked_sub(1).ok_or(Error::TooLarge)?;
        Ok(())
    }

    /// Runs `read` one level deeper.
    pub(super) fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.depth = self.depth.checked_sub(1).ok_or(Error::TooLarge)?;
        let result = read(self);
        self.depth += 1;
        result
    }
}

/// Reads a message.
pub(super) fn message(message: &'static Message, bytes: &[u8], budget: &mut Budget) -> Result<Value, Error> {
    budget.deeper(|budget| match message.form {
        Form::Struct => {
            let mut fields = Map::new();
            read_fields(message, bytes, &mut fields, budget)?;
            Ok(Value::Object(fields))
        }
        Form::Items => {
            let mut fields = Map::new();
            read_fields(message, bytes, &mut fields, budget)?;
            Ok(fields.remove("items").unwrap_or_else(|| Value::Array(Vec::new())))
        }
        Form::SchemaOr => {
            let mut fields = Map::new();
            read_fields(message, bytes, &mut fields, budget)?;
            Ok(special::schema_or(fields))
        }
        Form::Raw => special::read_raw(bytes, budget),
        form => special::read(form, bytes),
    })
}

fn read_fields(
    message: &'static Message,
    bytes: &[u8],
    fields: &mut Map<String, Value>,
    budget: &mut Budget,
) -> Result<(), Error> {
    let mut reader = Reader::new(bytes);
    while let Some(wire) = reader.next()? {
        // A newer client may know fields that the facts do not.
        let Some(field) = message.field(wire.number) else { continue };
        match field.kind {
            Kind::Message(id) if field.inline => {
                budget.deeper(|budget| read_fields(id.get(), wire.bytes()?, fields, budget))?;
            }
            Kind::Map(values) => read_entry(values, field, wire, fields, budget)?,
            _ if field.repeated => read_repeated(field, wire, fields, budget)?,
            kind => {
                let value = scalar(kind, wire, budget)?;
                fields.insert(field.name.clone(), value);
            }
        }
    }
    Ok(())
}

fn read_repeated(
    field: &Field,
    wire: WireField<'_>,
    fields: &mut Map<String, Value>,
    budget: &mut Budget,
) -> Result<(), Error> {
    let list = fields.entry(field.name.clone()).or_insert_with(|| Value::Array(Vec::new()));
    let Value::Array(elements) = list else { return Ok(()) };
    let packed = matches!(field.kind, Kind::Bool | Kind::Int32 | Kind::Int64);
    if let (true, Wire::Bytes(bytes)) = (packed, wire.value) {
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let value = Wire::Varint(reader.varint()?);
            elements.push(scalar(field.kind, WireField { number: wire.number, value }, budget)?);
        }
        return Ok(());
    }
    elements.push(scalar(field.kind, wire, budget)?);
    Ok(())
}

/// Reads one entry of a map: a message of key and value.
fn read_entry(
    values: MapValue,
    field: &Field,
    wire: WireField<'_>,
    fields: &mut Map<String, Value>,
    budget: &mut Budget,
) -> Result<(), Error> {
    let (mut key, mut value) = (String::new(), None);
    let mut reader = Reader::new(wire.bytes()?);
    while let Some(part) = reader.next()? {
        match part.number {
            1 => key = part.text()?,
            2 => value = Some(scalar(values.kind(), part, budget)?),
            _ => {}
        }
    }
    let empty = WireField { number: 2, value: Wire::Bytes(b"") };
    let value = value.map_or_else(|| scalar(values.kind(), empty, budget), Ok)?;
    let map = fields.entry(field.name.clone()).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(entries) = map {
        entries.insert(key, value);
    }
    Ok(())
}

fn scalar(kind: Kind, wire: WireField<'_>, budget: &mut Budget) -> Result<Value, Error> {
    budget.take_value()?;
    Ok(match kind {
        Kind::String => Value::String(wire.text()?),
        Kind::Bytes => Value::String(BASE64.encode(wire.bytes()?)),
        Kind::Bool => Value::Bool(wire.varint()? != 0),
        // Integers come as 64 bits; those of 32 bits are cut off as Go does.
        Kind::Int32 => Value::from(wire.varint()? as i32),
        Kind::Int64 => Value::from(wire.varint()? as i64),
        Kind::Double => Value::from(wire.double()?),
        Kind::Message(id) => message(id.get(), wire.bytes()?, budget)?,
        Kind::Map(_) => Value::Null, // maps of maps do not exist
    })
}
