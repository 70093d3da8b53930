//! What is wrong with one field (upstream: `util/validation/field.Error`).

use serde_json::Value;
use std::fmt;

/// The kinds of field errors that upstream knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// `FieldValueNotFound`
    NotFound,
    /// `FieldValueRequired`
    Required,
    /// `FieldValueDuplicate`
    Duplicate,
    /// `FieldValueInvalid`
    Invalid,
    /// `FieldValueNotSupported`
    NotSupported,
    /// `FieldValueForbidden`
    Forbidden,
    /// `FieldValueTooLong`
    TooLong,
    /// `FieldValueTooMany`
    TooMany,
    /// `InternalError`
    Internal,
    /// `FieldValueTypeInvalid`
    TypeInvalid,
}

impl FieldErrorKind {
    /// The `reason` of a cause in `status.details`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::Internal => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// Which kind of wrong.
    pub kind: FieldErrorKind,
    /// `spec.containers[0].name`
    pub field: String,
    /// The value, where the message shows it.
    pub bad_value: Option<Value>,
    /// What to do about it; may be empty.
    pub detail: String,
}

impl FieldError {
    /// An error that shows the value.
    pub fn with_value(
        kind: FieldErrorKind,
        field: impl Into<String>,
        bad_value: Value,
        detail: impl Into<String>,
    ) -> Self {
        Self { kind, field: field.into(), bad_value: Some(bad_value), detail: detail.into() }
    }

    /// `Invalid value: …: detail`
    pub fn invalid(field: impl Into<String>, bad_value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::with_value(FieldErrorKind::Invalid, field, bad_value.into(), detail)
    }

    /// `Required value: detail`
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: FieldErrorKind::Required, field: field.into(), bad_value: None, detail: detail.into() }
    }

    /// `Forbidden: detail`
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: FieldErrorKind::Forbidden, field: field.into(), bad_value: None, detail: detail.into() }
    }

    /// `Duplicate value: …`
    pub fn duplicate(field: impl Into<String>, bad_value: impl Into<Value>) -> Self {
        Self::with_value(FieldErrorKind::Duplicate, field, bad_value.into(), "")
    }

    /// `Unsupported value: …: supported values: …`
    pub fn not_supported(field: impl Into<String>, bad_value: impl Into<Value>, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        let detail = if quoted.is_empty() { String::new() } else { format!("supported values: {}", quoted.join(", ")) };
        Self::with_value(FieldErrorKind::NotSupported, field, bad_value.into(), detail)
    }

    /// The message without the field, as `status.details.causes[].message` has it.
    pub fn body(&self) -> String {
        let mut text = self.kind.label().to_owned();
        if let Some(value) = &self.bad_value {
            text.push_str(": ");
            text.push_str(&shown(value));
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.field, self.body())
    }
}

/// A value as Go's `%#v` or JSON shows it in upstream's messages.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        other => other.to_string(),
    }
}
