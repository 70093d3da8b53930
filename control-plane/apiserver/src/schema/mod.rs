//! What is known about the fields of each kind: types, defaults, list and map
//! types, merge keys ([`table`]), and reading bodies by it ([`decode`],
//! [`normalize`]). Facts are data (`data/schema-facts.json`,
//! `data/go-facts.json`), rules are code. The verbs call this for every body and
//! every patched object; defaults and validation of a kind come after it.

use serde_json::Value;

mod decoder;
pub mod field_error;
pub mod node;
pub mod quantity;
pub mod table;
pub mod time;

#[cfg(test)]
mod tests;

use decoder::Decoder;
pub use field_error::{FieldError, FieldErrorKind};
use node::Node;
pub use quantity::Quantity;
pub use table::{Definition, Field, ListType, Schema, Shape, definition, definition_for};

/// What to do with fields that the schema does not know, and with duplicates
/// (`fieldValidation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and warn.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

/// A decoded body.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// As if it had been through upstream's Go types: unknown fields dropped,
    /// fields that Go always writes present (`status: {}`, zero values of
    /// required fields, `creationTimestamp: null`).
    pub object: Value,
    /// What [`FieldValidation::Warn`] has to say, in order.
    pub warnings: Vec<String>,
}

/// Why a body is no object of the kind. The text is upstream's, without the
/// frame that the verb puts around it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Not JSON, or a field of the wrong type: 400 BadRequest.
    #[error("{0}")]
    Malformed(String),
    /// Unknown or duplicate fields under [`FieldValidation::Strict`]: 400.
    #[error("strict decoding error: {}", .0.join(", "))]
    Strict(Vec<String>),
}

/// Decodes a JSON body as the kind whose schema is `definition`. A body of a
/// kind without a schema is only parsed.
///
/// # Errors
/// [`DecodeError`].
pub fn decode(definition: &str, body: &[u8], validation: FieldValidation) -> Result<Decoded, DecodeError> {
    read(definition, Node::parse(body).map_err(DecodeError::Malformed)?, validation)
}

/// Brings a value (the result of a patch) into the form that [`decode`] gives.
///
/// # Errors
/// [`DecodeError`].
pub fn normalize(definition: &str, object: Value, validation: FieldValidation) -> Result<Decoded, DecodeError> {
    read(definition, Node::from(object), validation)
}

fn read(definition: &str, node: Node, validation: FieldValidation) -> Result<Decoded, DecodeError> {
    let Some(definition) = table::definition(definition) else {
        return Ok(Decoded { object: node.into_value(), warnings: Vec::new() });
    };
    let mut decoder = Decoder::new();
    let object = decoder.structure(definition, node).map_err(DecodeError::Malformed)?;
    match validation {
        FieldValidation::Ignore => Ok(Decoded { object, warnings: Vec::new() }),
        FieldValidation::Warn => Ok(Decoded { object, warnings: decoder.complaints }),
        FieldValidation::Strict if decoder.complaints.is_empty() => Ok(Decoded { object, warnings: Vec::new() }),
        FieldValidation::Strict => Err(DecodeError::Strict(decoder.complaints)),
    }
}
