//! Reading request bodies: size limit, JSON or YAML, and the check that a body
//! is of the kind that the path is for.

use super::{
    negotiate::{self, Format},
    status::ApiError,
    yaml,
};
use crate::{
    protobuf,
    registry::{self, Resource},
    schema::{self, DecodeError, Decoded, FieldValidation},
};
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use wk_platform::http::Body;

/// The largest body, as upstream's `MaxRequestBodyBytes`.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// How much of a body an error message repeats.
const SHOWN_BYTES_MAX: usize = 1024;

/// Reads a whole body.
///
/// # Errors
/// 413 beyond [`BODY_BYTES_MAX`]; 400 when the client stops sending.
pub async fn read(body: Body) -> Result<Bytes, ApiError> {
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => Err(ApiError::TooLarge(BODY_BYTES_MAX)),
        Err(error) => Err(ApiError::BadRequest(format!("unable to read the body: {error}"))),
    }
}

/// The kind that a body must be of.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// API group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// The kind's schema.
    pub definition: &'a str,
}

impl<'a> Expected<'a> {
    /// Objects of a resource.
    pub fn of(row: &'a Resource) -> Self {
        Self { group: row.group, version: row.version, kind: row.kind, definition: row.definition }
    }

    fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Upstream's frame around a decoding error.
    fn refused(&self, version: &str, kind: &str, why: impl std::fmt::Display) -> ApiError {
        let kind = if kind.is_empty() { self.kind } else { kind };
        ApiError::BadRequest(format!("{kind} in version {version:?} cannot be handled as a {}: {why}", self.kind))
    }
}

/// Decodes a body as an object of the expected kind. Its `apiVersion` and `kind`
/// are filled in when the body leaves them out.
///
/// # Errors
/// 400 and 415 with upstream's texts.
pub fn decode(
    expected: Expected<'_>,
    headers: &HeaderMap,
    body: &[u8],
    validation: FieldValidation,
) -> Result<Decoded, ApiError> {
    let json = match negotiate::body_format(headers)? {
        Format::Json => Cow::Borrowed(body),
        Format::Yaml => Cow::Owned(yaml_to_json(expected, body)?),
        Format::Protobuf => return protobuf(expected, body),
    };
    let said = type_of(expected, &json)?;
    check_type(expected, &said)?;
    let mut decoded = schema::decode(expected.definition, &json, validation)
        .map_err(|error| expected.refused(expected.version, expected.kind, error))?;
    if !decoded.object.is_object() {
        return Err(expected.refused(expected.version, expected.kind, "not an object"));
    }
    name_type(expected, &mut decoded.object);
    Ok(decoded)
}

/// Sets `apiVersion` and `kind`.
pub fn name_type(expected: Expected<'_>, object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert("apiVersion".to_owned(), expected.api_version().into());
        fields.insert("kind".to_owned(), expected.kind.into());
    }
}

/// Protobuf says its kind in its frame, and cannot have unknown fields.
fn protobuf(expected: Expected<'_>, body: &[u8]) -> Result<Decoded, ApiError> {
    let refused = |why: &dyn std::fmt::Display| expected.refused(expected.version, expected.kind, why);
    let object = protobuf::decode(body).map_err(|error| refused(&error))?;
    let text = |field: &str| Cow::Owned(crate::object::str_at(&object, field).to_owned());
    check_type(expected, &TypeMeta { api_version: text("apiVersion"), kind: text("kind") })?;
    let decoded = schema::normalize(expected.definition, object, FieldValidation::Ignore);
    let mut decoded = decoded.map_err(|error| refused(&error))?;
    name_type(expected, &mut decoded.object);
    Ok(decoded)
}

#[derive(Default, Deserialize)]
struct TypeMeta<'a> {
    #[serde(default, rename = "apiVersion", borrow)]
    api_version: Cow<'a, str>,
    #[serde(default, borrow)]
    kind: Cow<'a, str>,
}

fn type_of<'a>(expected: Expected<'_>, json: &'a [u8]) -> Result<TypeMeta<'a>, ApiError> {
    serde_json::from_slice(json).map_err(|error| {
        let why = match schema::decode(expected.definition, json, FieldValidation::Ignore) {
            Err(DecodeError::Malformed(why)) if error.is_syntax() || error.is_eof() => why,
            _ => cannot_unmarshal(json),
        };
        let (kind, shown) = (expected.kind, shown(json));
        ApiError::BadRequest(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; \
             json parse error: {why} ({shown})"
        ))
    })
}

/// Go's words for JSON that is no object.
fn cannot_unmarshal(json: &[u8]) -> String {
    let found = match json.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "bool",
        _ => "number",
    };
    let target =
        r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    format!("json: cannot unmarshal {found} into Go value of type {target}")
}

/// Upstream shows a JSON object as text and everything else in hex.
fn shown(body: &[u8]) -> String {
    let part = &body[..body.len().min(SHOWN_BYTES_MAX)];
    let more = if part.len() < body.len() { " ..." } else { "" };
    match part.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(part)),
        Some(_) => format!("{}{more}", hex::encode(part)),
    }
}

fn yaml_to_json(expected: Expected<'_>, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let value = yaml::parse(body).map_err(|why| {
        let (kind, shown) = (expected.kind, hex::encode(&body[..body.len().min(SHOWN_BYTES_MAX)]));
        ApiError::BadRequest(format!(
            "the object provided is unrecognized (must be of type {kind}): yaml: {why} ({shown})"
        ))
    })?;
    serde_json::to_vec(&value).map_err(|error| ApiError::BadRequest(error.to_string()))
}

/// Refuses a body that says another kind.
fn check_type(expected: Expected<'_>, said: &TypeMeta<'_>) -> Result<(), ApiError> {
    let (group, version) = said.api_version.split_once('/').unwrap_or(("", &said.api_version));
    let (group, version) = if version.is_empty() { (expected.group, expected.version) } else { (group, version) };
    let kind = if said.kind.is_empty() { expected.kind } else { &said.kind };
    if (group, version, kind) == (expected.group, expected.version, expected.kind) {
        return Ok(());
    }
    let known = registry::all().iter().any(|row| (row.group, row.version, row.kind) == (group, version, kind));
    if known {
        return Err(expected.refused(version, kind, no_conversion(expected, version, kind)));
    }
    if group == expected.group && version != expected.version && kind == expected.kind {
        let (said, wanted) = (&said.api_version, expected.api_version());
        return Err(ApiError::BadRequest(format!(
            "the API version in the data ({said}) does not match the expected API version ({wanted})"
        )));
    }
    let full = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let why = format!("no kind {kind:?} is registered for version {full:?} in scheme \"pkg/runtime/scheme.go:100\"");
    Err(expected.refused(version, kind, why))
}

fn no_conversion(expected: Expected<'_>, version: &str, kind: &str) -> String {
    format!("converting ({version}.{kind}) to ({}.{}): unknown conversion", package(expected.group), expected.kind)
}

/// Why a patched object is no longer of the expected kind, if so.
pub fn other_kind(expected: Expected<'_>, object: &Value) -> Option<String> {
    let (said, kind) = (crate::object::str_at(object, "apiVersion"), crate::object::str_at(object, "kind"));
    let version = said.rsplit('/').next().unwrap_or_default();
    let same = kind == expected.kind && said == expected.api_version();
    (!same).then(|| no_conversion(expected, version, kind))
}

/// The Go package of a group's internal types.
fn package(group: &str) -> &str {
    if group.is_empty() { "core" } else { group.split('.').next().unwrap_or(group) }
}
