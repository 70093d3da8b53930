//! `/openapi/v3`, its documents, and `/openapi/v2`: what [`crate::openapi`] has
//! made, with caching headers.

use crate::{
    http::{
        negotiate::Format,
        query::Query,
        reply::{bytes_response, error_response},
        status::ApiError,
    },
    openapi::{self, Document, V2_MEDIA_TYPE},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use wk_platform::http::Response;

/// A document at a URL with its hash never changes.
const FOREVER: HeaderValue = HeaderValue::from_static("public, immutable");

/// `/openapi/v3`
pub fn index() -> Response {
    bytes_response(StatusCode::OK, "application/json", openapi::v3_index(""))
}

/// `/openapi/v3/api/v1`, `/openapi/v3/apis/apps/v1`
pub fn document(headers: &HeaderMap, query: &Query, path: &[&str]) -> Response {
    let found = match path {
        ["api", version] => openapi::v3_document("", version),
        ["apis", group, version] => openapi::v3_document(group, version),
        _ => None,
    };
    let Some(document) = found else { return error_response(&ApiError::NoSuchPath, Format::Json) };
    let mut response = revalidated(headers, document);
    if query.has("hash") {
        response.headers_mut().insert(header::CACHE_CONTROL, FOREVER);
    }
    response
}

fn revalidated(headers: &HeaderMap, document: Document) -> Response {
    let etag = format!("\"{}\"", document.hash);
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == etag.as_str());
    let mut response = match known {
        true => bytes_response(StatusCode::NOT_MODIFIED, "application/json", bytes::Bytes::new()),
        false => bytes_response(StatusCode::OK, "application/json", document.bytes),
    };
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// `/openapi/v2`: clients that still read it ask for protobuf.
pub fn v2() -> Response {
    bytes_response(StatusCode::OK, V2_MEDIA_TYPE, openapi::v2_protobuf())
}
