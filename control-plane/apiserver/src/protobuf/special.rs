//! Messages that JSON writes as something other than an object of their fields:
//! times, durations, amounts, ports by number or name, JSON within protobuf, and
//! the alternatives of schemas.

use super::decode::Budget;
use super::encode::wrong;
use super::table::{Form, Kind, Message};
use super::wire::{Reader, Writer};
use super::{Error, MAGIC, decode_nested};
use crate::schema::time::{self, Precision};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Fields 1 to 3 of a small message, by what they can hold.
#[derive(Default)]
struct Parts {
    integers: [i64; 3],
    texts: [String; 3],
}

impl Parts {
    fn read(bytes: &[u8]) -> Result<Self, Error> {
        let mut parts = Self::default();
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.next()? {
            let Some(index) = (field.number as usize).checked_sub(1).filter(|index| *index < 3) else { continue };
            match field.varint() {
                Ok(value) => parts.integers[index] = value as i64,
                Err(_) => parts.texts[index] = field.text()?,
            }
        }
        Ok(parts)
    }
}

/// Reads a message of a form that is no struct.
pub(super) fn read(form: Form, bytes: &[u8]) -> Result<Value, Error> {
    let parts = Parts::read(bytes)?;
    let [first, second, _] = parts.integers;
    Ok(match form {
        Form::Time | Form::MicroTime if bytes.is_empty() => Value::Null,
        Form::Time => time_value(first, 0, Precision::Seconds)?,
        Form::MicroTime => time_value(first, second, Precision::Microseconds)?,
        Form::Duration => Value::String(duration_text(first)),
        Form::Quantity if parts.texts[0].is_empty() => Value::from("0"),
        Form::Quantity => Value::from(parts.texts[0].as_str()),
        Form::IntOrString if first == 1 => Value::from(parts.texts[2].as_str()),
        Form::IntOrString => Value::from(second as i32),
        Form::Struct | Form::Items | Form::Raw | Form::SchemaOr => Value::Null,
    })
}

fn time_value(seconds: i64, nanos: i64, precision: Precision) -> Result<Value, Error> {
    let nanos = i32::try_from(nanos).map_err(|_| Error::Overflow)?;
    let time = Timestamp::new(seconds, nanos).map_err(|error| Error::Value(error.to_string()))?;
    Ok(Value::String(time::format(time, precision)))
}

/// Writes a message of a form that is no struct.
pub(super) fn write(form: Form, value: &Value, out: &mut Writer) -> Result<(), Error> {
    let text = || value.as_str().ok_or_else(|| wrong("a string", value));
    match form {
        Form::Time | Form::MicroTime => {
            let time: Timestamp = text()?.parse().map_err(|error: jiff::Error| Error::Value(error.to_string()))?;
            out.varint(1, time.as_second().cast_unsigned());
            let nanos = if form == Form::MicroTime { time.subsec_nanosecond() } else { 0 };
            out.varint(2, i64::from(nanos).cast_unsigned());
        }
        Form::Duration => out.varint(1, duration_nanos(text()?)?.cast_unsigned()),
        Form::Quantity => out.bytes(1, text()?.as_bytes()),
        Form::IntOrString => match value {
            Value::String(text) => {
                out.varint(1, 1);
                out.bytes(3, text.as_bytes());
            }
            _ => {
                let number = value.as_i64().ok_or_else(|| wrong("an integer or a string", value))?;
                out.varint(1, 0);
                out.varint(2, number.cast_unsigned());
            }
        },
        Form::Raw => out.bytes(1, value.to_string().as_bytes()),
        Form::Struct | Form::Items | Form::SchemaOr => return Err(wrong("no struct", value)),
    }
    Ok(())
}

/// Reads JSON, or a whole object in protobuf, from field 1.
pub(super) fn read_raw(bytes: &[u8], budget: &mut Budget) -> Result<Value, Error> {
    let mut raw: &[u8] = b"";
    let mut reader = Reader::new(bytes);
    while let Some(field) = reader.next()? {
        if field.number == 1 {
            raw = field.bytes()?;
        }
    }
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    if raw.starts_with(MAGIC) {
        return budget.deeper(|budget| decode_nested(raw, budget));
    }
    serde_json::from_slice(raw).map_err(|error| Error::Value(error.to_string()))
}

/// A schema, or what may stand for one: a boolean, a list of schemas or names.
pub(super) fn schema_or(mut fields: Map<String, Value>) -> Value {
    let schema = fields.remove("schema").filter(|schema| !schema.is_null());
    let other = ["jSONSchemas", "property", "allows"].iter().find_map(|name| fields.remove(*name));
    schema.or(other).unwrap_or(Value::Null)
}

/// The fields of the message for a schema or what stands for it.
pub(super) fn from_schema_or(message: &Message, value: &Value) -> Value {
    let is_schema = |field: &str| field == "schema";
    let other = message.fields.iter().find(|field| !is_schema(&field.name)).map_or("", |field| field.name.as_str());
    let allows = message.fields.iter().any(|field| field.kind == Kind::Bool);
    match value {
        Value::Object(_) if allows => json!({"schema": value, other: true}),
        Value::Object(_) => json!({"schema": value}),
        _ => json!({other: value}),
    }
}

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// A duration as Go prints it: `1h2m3.5s`.
fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let magnitude = nanos.unsigned_abs();
    let per_second = NANOS_PER_SECOND.unsigned_abs();
    if magnitude == 0 {
        return "0s".to_owned();
    }
    if magnitude < per_second {
        let (unit, name) = if magnitude < 1_000 {
            (1, "ns")
        } else if magnitude < 1_000_000 {
            (1_000, "µs")
        } else {
            (1_000_000, "ms")
        };
        return format!("{sign}{}{name}", decimal(magnitude, unit));
    }
    let (hours, minutes) = (magnitude / per_second / 3600, magnitude / per_second / 60 % 60);
    let seconds = decimal(magnitude % (60 * per_second), per_second);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// `value / unit` without trailing zeros.
fn decimal(value: u64, unit: u64) -> String {
    let digits = unit.ilog10() as usize;
    let text = format!("{}.{:0digits$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Reads a duration as Go does.
fn duration_nanos(text: &str) -> Result<i64, Error> {
    let invalid = || Error::Value(format!("time: invalid duration {text:?}"));
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text),
    };
    let mut nanos = 0.0;
    while !rest.is_empty() && rest != "0" {
        let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.').ok_or_else(invalid)?;
        let (number, after) = rest.split_at(end);
        let units = [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];
        let unit = units.iter().find_map(|(name, nanos)| Some((nanos, after.strip_prefix(name)?)));
        let (unit, after) = unit.ok_or_else(invalid)?;
        nanos += number.parse::<f64>().map_err(|_| invalid())? * unit;
        rest = after;
    }
    Ok((sign * nanos).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_as_in_go() {
        let cases = [
            (0, "0s"),
            (1, "1ns"),
            (1_500_000, "1.5ms"),
            (90 * NANOS_PER_SECOND, "1m30s"),
            (-3_600_500_000_000, "-1h0m0.5s"),
        ];
        for (nanos, text) in cases {
            assert_eq!(duration_text(nanos), text);
            assert_eq!(duration_nanos(text).unwrap(), nanos);
        }
        assert!(duration_nanos("1x").is_err());
    }
}
