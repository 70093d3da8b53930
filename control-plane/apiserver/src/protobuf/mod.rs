//! Kubernetes' protobuf bodies as JSON values and back. kubectl since 1.32
//! sends nothing else for `create …`, and client-go's typed clients prefer it.
//! The HTTP layer calls [`decode`] on requests and [`encode`] for answers; what
//! comes out of [`decode`] goes through `schema::normalize` like any JSON body.
//!
//! ```text
//!  "k8s\0" ┃ Unknown { typeMeta { apiVersion, kind }, raw, contentEncoding, contentType }
//!                                                       └─ the object's own message
//! ```
//!
//! One generic codec driven by the facts in `data/protobuf-facts.json`; only the
//! messages that are no plain structs in JSON have code of their own.

use crate::schema::definition_for;
use serde_json::Value;

mod decode;
mod encode;
mod special;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

use wire::{Reader, Writer};

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";
/// Messages within messages; the deepest real ones (schemas of custom
/// resources) are far from it.
const DEPTH_MAX: usize = 100;
/// Values that one body may have. Two bytes can make an empty object of a
/// hundred, so the size of a body alone does not bound memory.
const VALUES_MAX: usize = 1_000_000;

/// Why bytes are no object, or an object has no bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The body does not begin as protobuf does.
    #[error("provided data does not appear to be a protobuf message, expected prefix {MAGIC:?}")]
    NoMagic,
    /// The bytes end within a field.
    #[error("unexpected EOF")]
    Truncated,
    /// A number has more bytes than numbers have.
    #[error("proto: integer overflow")]
    Overflow,
    /// A field has a form that its type cannot have.
    #[error("proto: wrong wireType = {wire_type} for field {field}")]
    WireType {
        /// Number of the field.
        field: u32,
        /// What it came as.
        wire_type: u8,
    },
    /// Messages are nested too deep, or there are too many values.
    #[error("the message is too large")]
    TooLarge,
    /// There is no message for the kind.
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    UnknownKind {
        /// `apps/v1`
        api_version: String,
        /// `Deployment`
        kind: String,
    },
    /// A value is not what its field holds.
    #[error("{0}")]
    Value(String),
}

/// Reads a body into an object with `apiVersion` and `kind`.
///
/// # Errors
/// [`Error`]; all are the caller's fault (400).
pub fn decode(body: &[u8]) -> Result<Value, Error> {
    decode_nested(body, &mut decode::Budget::new())
}

fn decode_nested(body: &[u8], budget: &mut decode::Budget) -> Result<Value, Error> {
    let frame = Frame::read(body.strip_prefix(MAGIC).ok_or(Error::NoMagic)?)?;
    let mut object = if frame.content_type == "application/json" {
        serde_json::from_slice(frame.raw).map_err(|error| Error::Value(error.to_string()))?
    } else {
        let message = table::message_for(&frame.api_version, &frame.kind).ok_or_else(|| frame.unknown_kind())?;
        decode::message(message, frame.raw, budget)?
    };
    if let Some(fields) = object.as_object_mut() {
        fields.insert("apiVersion".to_owned(), Value::String(frame.api_version));
        fields.insert("kind".to_owned(), Value::String(frame.kind));
    }
    Ok(object)
}

/// Writes an object that has `apiVersion` and `kind`.
///
/// # Errors
/// [`Error::UnknownKind`] for kinds without a message (Table, custom
/// resources), [`Error::Value`] when the object does not have the kind's form.
pub fn encode(object: &Value) -> Result<Vec<u8>, Error> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let Some(message) = table::message_for(&api_version, &kind) else {
        return Err(Error::UnknownKind { api_version, kind });
    };
    let mut raw = Writer::new();
    encode::message(message, object, &mut raw)?;
    let mut type_meta = Writer::new();
    type_meta.bytes(1, api_version.as_bytes());
    type_meta.bytes(2, kind.as_bytes());
    let mut frame = Writer::starting_with(MAGIC);
    frame.bytes(1, type_meta.as_slice());
    frame.bytes(2, raw.as_slice());
    frame.bytes(3, b"");
    frame.bytes(4, b"");
    Ok(frame.into_bytes())
}

/// Whether objects of the kind can be written as protobuf.
pub fn has_message(api_version: &str, kind: &str) -> bool {
    table::message_for(api_version, kind).is_some()
}

/// `runtime.Unknown`
#[derive(Default)]
struct Frame<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
    content_type: String,
}

impl<'a> Frame<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut frame = Self::default();
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => frame.read_type_meta(field.bytes()?)?,
                2 => frame.raw = field.bytes()?,
                3 if !field.bytes()?.is_empty() => {
                    return Err(Error::Value("content encodings are not supported".to_owned()));
                }
                4 => frame.content_type = field.text()?,
                _ => {}
            }
        }
        Ok(frame)
    }

    fn read_type_meta(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => self.api_version = field.text()?,
                2 => self.kind = field.text()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn unknown_kind(&self) -> Error {
        Error::UnknownKind { api_version: self.api_version.clone(), kind: self.kind.clone() }
    }
}

/// The schema's name of the kind.
fn definition_name(api_version: &str, kind: &str) -> Option<&'static str> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    definition_for(group, version, kind)
}
