//! What a verb answers and the HTTP response it becomes: JSON, YAML, protobuf,
//! Table or partial metadata, as negotiated. Stored objects reach the client
//! without being parsed unless another shape is wanted.

use super::{
    negotiate::{Accepted, Format, Shape},
    status::ApiError,
};
use crate::{object, protobuf, registry::Resource, storage::Encoded};
use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::io::Write;
use wk_platform::http::{Response, full};

/// What a verb answers.
pub struct Reply {
    /// The content.
    pub content: Content,
    /// The HTTP code.
    pub code: StatusCode,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
}

/// The content of an answer.
pub enum Content {
    /// One stored object.
    Object(&'static Resource, Encoded),
    /// A list of stored objects.
    List(&'static Resource, List),
    /// Something else: a Status, a Scale.
    Value(Value),
    /// A response that is complete, such as a stream.
    Response(Response),
}

/// A list and its metadata.
pub struct List {
    /// In key order.
    pub items: Vec<Encoded>,
    /// The moment.
    pub revision: u64,
    /// Token for the next page; empty at the end.
    pub next: String,
    /// How many follow, when that is known.
    pub remaining: Option<usize>,
}

impl Reply {
    /// 200 with one object.
    pub fn object(row: &'static Resource, object: Encoded) -> Self {
        Self::new(StatusCode::OK, Content::Object(row, object))
    }

    /// 200 with a value.
    pub fn value(value: Value) -> Self {
        Self::new(StatusCode::OK, Content::Value(value))
    }

    /// A complete response.
    pub fn response(response: Response) -> Self {
        Self::new(response.status(), Content::Response(response))
    }

    /// Any content.
    pub fn new(code: StatusCode, content: Content) -> Self {
        Self { content, code, warnings: Vec::new() }
    }

    /// With another code.
    pub fn with_code(self, code: StatusCode) -> Self {
        Self { code, ..self }
    }

    /// With warnings.
    pub fn with_warnings(self, warnings: Vec<String>) -> Self {
        Self { warnings, ..self }
    }
}

/// The objects that a table or a list of metadata shows of each row's object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Only its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
    /// Nothing.
    Nothing,
}

impl IncludeObject {
    /// Reads the query's `includeObject`.
    pub fn parse(text: &str) -> Self {
        match text {
            "Object" => Self::Object,
            "None" => Self::Nothing,
            _ => Self::Metadata,
        }
    }
}

/// How to render: the negotiated form and what it depends on.
#[derive(Clone, Copy, Debug)]
pub struct Rendering {
    /// What the client accepts.
    pub accepted: Accepted,
    /// What tables include.
    pub include: IncludeObject,
    /// For ages.
    pub now: Timestamp,
    /// Whether the client takes large answers compressed.
    pub gzip: bool,
}

impl Rendering {
    /// The HTTP response of an answer.
    pub fn response(&self, reply: Reply) -> Response {
        let Reply { content, code, warnings } = reply;
        let mut response = match self.content(content) {
            Ok(Rendered::Bytes(bytes, format)) if self.gzip && bytes.len() >= GZIP_BYTES_MIN => {
                compressed(bytes_response(code, format.media_type(), gzip(&bytes)))
            }
            Ok(Rendered::Bytes(bytes, format)) => bytes_response(code, format.media_type(), bytes),
            Ok(Rendered::Response(response)) => response,
            Err(error) => return error_response(&error, self.accepted.format),
        };
        for warning in &warnings {
            if let Ok(value) = HeaderValue::from_str(&warning_header(warning)) {
                response.headers_mut().append(header::WARNING, value);
            }
        }
        response
    }

    fn content(&self, content: Content) -> Result<Rendered, ApiError> {
        match (content, self.accepted) {
            (Content::Response(response), _) => Ok(Rendered::Response(response)),
            (Content::Object(row, object), Accepted { format: Format::Json, shape: Shape::Object }) => {
                Ok(Rendered::Bytes(object.on_wire(row), Format::Json))
            }
            (Content::List(row, list), Accepted { format: Format::Json, shape: Shape::Object }) => {
                Ok(Rendered::Bytes(list_on_wire(row, &list), Format::Json))
            }
            (content, Accepted { format, .. }) => serialised(&self.shaped(content)?, format),
        }
    }

    /// The content as a value of the wanted shape.
    fn shaped(&self, content: Content) -> Result<Value, ApiError> {
        match (content, self.accepted.shape) {
            (Content::Object(row, object), shape) => Ok(self.object(row, shape, object.decode(row)?, Columns::Told)),
            (Content::List(row, list), shape) => self.list(row, shape, &list),
            (Content::Value(value), _) => Ok(value),
            (Content::Response(_), _) => Ok(Value::Null),
        }
    }

    /// One object in the wanted shape. Of a table's metadata, the revision is
    /// the object's.
    pub fn object(&self, row: &Resource, shape: Shape, object: Value, columns: Columns) -> Value {
        match shape {
            Shape::Object => object,
            Shape::Partial(version) => partial(version, &object),
            Shape::Table(version) => {
                let meta = json!({"resourceVersion": object::metadata_str(&object, "resourceVersion")});
                let rows = vec![self.row(row, version, object)];
                table(row, version, meta, rows, columns)
            }
        }
    }

    fn list(&self, row: &Resource, shape: Shape, list: &List) -> Result<Value, ApiError> {
        let meta = Value::Object(list_meta(list));
        let objects = list.items.iter().map(|item| item.decode(row)).collect::<Result<Vec<Value>, ApiError>>()?;
        Ok(match shape {
            Shape::Object => {
                let items: Vec<Value> = objects.into_iter().map(without_type).collect();
                json!({"kind": format!("{}List", row.kind), "apiVersion": row.api_version(), "metadata": meta, "items": items})
            }
            Shape::Partial(version) => {
                let items: Vec<Value> = objects.iter().map(|object| partial(version, object)).collect();
                let api_version = format!("meta.k8s.io/{version}");
                json!({"kind": "PartialObjectMetadataList", "apiVersion": api_version, "metadata": meta, "items": items})
            }
            Shape::Table(version) => {
                let rows = objects.into_iter().map(|object| self.row(row, version, object)).collect();
                table(row, version, meta, rows, Columns::Told)
            }
        })
    }

    fn row(&self, row: &Resource, version: &str, object: Value) -> Value {
        let (cells, conditions) = (row.strategy.row(&object, self.now), row.strategy.row_conditions(&object));
        let shown = match self.include {
            IncludeObject::Metadata => partial(version, &object),
            IncludeObject::Object => object,
            IncludeObject::Nothing => Value::Null,
        };
        match conditions.is_empty() {
            true => json!({"cells": cells, "object": shown}),
            false => json!({"cells": cells, "object": shown, "conditions": conditions}),
        }
    }
}

/// Smaller answers are not worth compressing (upstream: `defaultGzipThresholdBytes`).
const GZIP_BYTES_MIN: usize = 128 * 1024;

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.expect("writing to memory does not fail").into()
}

fn compressed(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

enum Rendered {
    Bytes(Bytes, Format),
    Response(Response),
}

/// Whether a table tells its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// With definitions.
    Told,
    /// Without: an earlier table of the same watch told them.
    Known,
}

fn table(row: &Resource, version: &str, meta: Value, rows: Vec<Value>, columns: Columns) -> Value {
    let definitions: Vec<Value> = match columns {
        Columns::Known => Vec::new(),
        Columns::Told => row.strategy.columns().iter().map(column).collect(),
    };
    json!({
        "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": meta,
        "columnDefinitions": definitions, "rows": rows,
    })
}

fn column(column: &crate::registry::Column) -> Value {
    json!({
        "name": column.name, "type": column.kind, "format": column.format,
        "description": column.description, "priority": column.priority,
    })
}

fn partial(version: &str, object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object.get("metadata").cloned().unwrap_or_default(),
    })
}

fn without_type(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    object
}

fn list_meta(list: &List) -> Map<String, Value> {
    let mut meta = Map::new();
    meta.insert("resourceVersion".to_owned(), list.revision.to_string().into());
    if !list.next.is_empty() {
        meta.insert("continue".to_owned(), list.next.clone().into());
        if let Some(remaining) = list.remaining {
            meta.insert("remainingItemCount".to_owned(), remaining.into());
        }
    }
    meta
}

/// A list as JSON, without a look into its items.
fn list_on_wire(row: &Resource, list: &List) -> Bytes {
    let size: usize = list.items.iter().map(Encoded::room).sum();
    let mut out = BytesMut::with_capacity(size + 256);
    let (kind, api_version, meta) = (row.kind, row.api_version(), Value::Object(list_meta(list)));
    let head = format!("{{\"kind\":\"{kind}List\",\"apiVersion\":\"{api_version}\",\"metadata\":{meta},\"items\":[");
    out.put_slice(head.as_bytes());
    for (index, item) in list.items.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        item.write_item(&mut out);
    }
    out.put_slice(b"]}\n");
    out.freeze()
}

fn serialised(value: &Value, format: Format) -> Result<Rendered, ApiError> {
    let internal = |error: &dyn std::fmt::Display| ApiError::Internal(error.to_string());
    if format == Format::Protobuf
        && let Ok(bytes) = protobuf::encode(value)
    {
        return Ok(Rendered::Bytes(bytes.into(), Format::Protobuf));
    }
    let (bytes, format) = match format {
        Format::Yaml => (serde_yaml::to_string(value).map_err(|error| internal(&error))?.into_bytes(), Format::Yaml),
        // What has no protobuf form is given as JSON, which every client that
        // asks for protobuf also accepts.
        Format::Json | Format::Protobuf => {
            let mut bytes = serde_json::to_vec(value).map_err(|error| internal(&error))?;
            bytes.push(b'\n');
            (bytes, Format::Json)
        }
    };
    Ok(Rendered::Bytes(bytes.into(), format))
}

/// The response of a failure.
pub fn error_response(error: &ApiError, format: Format) -> Response {
    if let ApiError::NoSuchPath = error {
        return text_response(StatusCode::NOT_FOUND, "404 page not found\n");
    }
    let mut response = match serialised(&error.status(), format) {
        Ok(Rendered::Bytes(bytes, format)) => bytes_response(error.code(), format.media_type(), bytes),
        _ => text_response(error.code(), "failed to say what failed\n"),
    };
    if let Some(seconds) = error.retry_after_seconds() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Plain text.
pub fn text_response(code: StatusCode, text: impl Into<Bytes>) -> Response {
    let mut response = bytes_response(code, "text/plain; charset=utf-8", text.into());
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// Bytes of a media type.
pub fn bytes_response(code: StatusCode, media_type: &'static str, bytes: Bytes) -> Response {
    let mut response = http::Response::new(full(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// `299 - "text"` with quotes and backslashes escaped (RFC 7234, 5.5).
fn warning_header(text: &str) -> String {
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("299 - \"{quoted}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_answers_are_compressed() {
        let now = Timestamp::from_second(0).expect("valid");
        let (accepted, include) = (Accepted::default(), IncludeObject::default());
        let rendering = Rendering { accepted, include, now, gzip: true };
        let encoded = |length: usize| {
            let reply = Reply::value(Value::from("x".repeat(length)));
            rendering.response(reply).headers().contains_key(header::CONTENT_ENCODING)
        };
        assert!(!encoded(1024) && encoded(GZIP_BYTES_MIN));
    }

    #[test]
    fn warnings_are_quoted() {
        assert_eq!(warning_header("unknown field \"a\""), "299 - \"unknown field \\\"a\\\"\"");
    }
}
