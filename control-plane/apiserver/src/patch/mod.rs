//! The four ways to change an object by a patch, and who manages which field.
//! The verbs call [`json_patch()`], [`merge_patch`] or [`strategic`] with the live
//! object in the version of the request, and [`managed_fields::apply`] for
//! server-side apply; the result goes through `schema::normalize` next. All are
//! pure functions.

use crate::schema::node::Node;
use serde_json::Value;

mod json;
pub mod managed_fields;
mod strategic;

pub use json::{json_patch, merge_patch};
pub use strategic::strategic;

/// Why a patch cannot be applied. Messages are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The body is no patch: 400 BadRequest.
    #[error("{0}")]
    BadRequest(String),
    /// More operations than allowed: 413 RequestEntityTooLarge.
    #[error("{0}")]
    TooLarge(String),
    /// The operations do not fit the object: 422 Invalid. Upstream does not
    /// show this text to the client ("the server rejected our request due to
    /// an error in our request").
    #[error("{0}")]
    Unprocessable(String),
    /// A strategic merge or an apply does not fit the schema: 500, no reason.
    #[error("{0}")]
    Internal(String),
    /// Others manage the fields: 409 Conflict.
    #[error("{message}")]
    Conflict {
        /// The whole message.
        message: String,
        /// One per field.
        causes: Vec<ConflictCause>,
    },
}

/// One field that somebody else manages (reason `FieldManagerConflict`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictCause {
    /// `.spec.replicas`
    pub field: String,
    /// `conflict with "kubectl" using apps/v1`
    pub message: String,
}

/// Reads the body of a strategic merge patch.
///
/// # Errors
/// [`Error::BadRequest`] with the text of Go's decoder.
pub fn decode_strategic(body: &[u8]) -> Result<Value, Error> {
    object_body(body).map_err(Error::BadRequest)
}

/// A body that must be an object.
fn object_body(body: &[u8]) -> Result<Value, String> {
    match Node::parse(body)? {
        object @ Node::Object(_) => Ok(object.into_value()),
        Node::Null => Ok(Value::Object(serde_json::Map::new())),
        other => Err(format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            other.go_kind().split(' ').next().unwrap_or_default()
        )),
    }
}
