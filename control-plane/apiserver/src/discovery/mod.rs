//! What a client can find here: groups, resources, versions, health. Everything
//! that is not a resource is served here.

mod groups;
mod health;
mod openapi;
pub mod version;

use crate::{
    Server,
    http::{
        negotiate::{self, Clause, Format},
        query::Query,
        reply::{bytes_response, error_response, text_response},
        status::ApiError,
    },
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};
use std::sync::{Arc, LazyLock};
use wk_platform::http::Response;

/// Serves a path that is no resource.
pub fn serve(server: &Arc<Server>, parts: &Parts, query: &Query) -> Response {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return error_response(&ApiError::MethodNotAllowed, Format::Json);
    }
    let path = parts.uri.path();
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match segments.as_slice() {
        [] => json_response(&json!({"paths": paths()})),
        ["version"] => json_response(&version::version()),
        ["healthz" | "livez" | "readyz", ..] => health::serve(server, path, query),
        [".well-known", "openid-configuration"] => {
            for_verifiers("application/json", &server.tokens.configuration(server.advertise))
        }
        ["openid", "v1", "jwks"] => for_verifiers("application/jwk-set+json", &server.tokens.key_set()),
        ["metrics"] => text_response(StatusCode::OK, server.metrics.text()),
        ["api"] => negotiated(&parts.headers, &CORE, || groups::legacy_versions(&server.advertise)),
        ["apis"] => negotiated(&parts.headers, &GROUPS, groups::group_list),
        ["apis", group] => or_no_path(groups::group(group)),
        ["openapi", "v2"] => openapi::v2(),
        ["openapi", "v3"] => openapi::index(),
        ["openapi", "v3", document @ ..] => openapi::document(&parts.headers, query, document),
        ["api", version] => resources("", version),
        ["apis", group, version] => resources(group, version),
        _ => error_response(&ApiError::NoSuchPath, Format::Json),
    }
}

fn resources(group: &str, version: &str) -> Response {
    match groups::resource_list(group, version) {
        Some(list) => json_response(&list),
        // A known group that has not this version.
        None if group.is_empty() || groups::group(group).is_some() => {
            error_response(&ApiError::NoSuchResource, Format::Json)
        }
        None => error_response(&ApiError::NoSuchPath, Format::Json),
    }
}

fn or_no_path(value: Option<Value>) -> Response {
    value.map_or_else(|| error_response(&ApiError::NoSuchPath, Format::Json), |value| json_response(&value))
}

fn json_response(value: &Value) -> Response {
    bytes_response(StatusCode::OK, "application/json", format!("{value}\n").into())
}

/// What a verifier of tokens may keep for an hour, as upstream says.
fn for_verifiers(media_type: &'static str, value: &Value) -> Response {
    let mut response = bytes_response(StatusCode::OK, media_type, value.to_string().into());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}

/// An aggregated document, made once: the registry does not change.
struct Aggregated {
    v2: Document,
    v2beta1: Document,
}

struct Document {
    bytes: Bytes,
    /// A quoted hash of the bytes.
    etag: String,
    media_type: &'static str,
}

impl Document {
    fn new(value: &Value, media_type: &'static str) -> Self {
        let bytes = Bytes::from(format!("{value}\n"));
        let etag = format!("\"{}\"", hex::encode_upper(Sha512::digest(&bytes)));
        Self { bytes, etag, media_type }
    }
}

impl Aggregated {
    fn new(of_core: bool) -> Self {
        let document = |version, media_type| Document::new(&groups::aggregated(version, of_core), media_type);
        Self {
            v2: document("v2", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
            v2beta1: document("v2beta1", "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"),
        }
    }
}

static CORE: LazyLock<Aggregated> = LazyLock::new(|| Aggregated::new(true));
static GROUPS: LazyLock<Aggregated> = LazyLock::new(|| Aggregated::new(false));

/// The aggregated form if the client knows it, else the plain one.
fn negotiated(headers: &HeaderMap, aggregated: &Aggregated, plain: impl FnOnce() -> Value) -> Response {
    let wanted = negotiate::clauses(headers).iter().find_map(|clause| form(clause, aggregated));
    let mut response = match wanted.flatten() {
        Some(document) => aggregated_response(headers, document),
        None => json_response(&plain()),
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// Which form a clause of the Accept header is for, if any: `Some(None)` is the
/// plain one.
fn form<'a>(clause: &Clause<'_>, aggregated: &'a Aggregated) -> Option<Option<&'a Document>> {
    match (clause.media_type, clause.parameter("as"), clause.parameter("v")) {
        ("application/json", "APIGroupDiscoveryList", "v2") => Some(Some(&aggregated.v2)),
        ("application/json", "APIGroupDiscoveryList", "v2beta1") => Some(Some(&aggregated.v2beta1)),
        (_, "", _) => Some(None),
        _ => None,
    }
}

fn aggregated_response(headers: &HeaderMap, document: &Document) -> Response {
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|etag| etag == document.etag.as_str());
    let (code, bytes) =
        if known { (StatusCode::NOT_MODIFIED, Bytes::new()) } else { (StatusCode::OK, document.bytes.clone()) };
    let mut response = bytes_response(code, document.media_type, bytes);
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    response
}

/// What `/` lists.
fn paths() -> Vec<String> {
    let mut paths: Vec<String> = ["/api", "/apis"].map(str::to_owned).to_vec();
    for (group, version) in groups::group_versions() {
        if group.is_empty() {
            paths.push(format!("/api/{version}"));
        } else {
            paths.extend([format!("/apis/{group}"), format!("/apis/{group}/{version}")]);
        }
    }
    let others = [
        "/.well-known/openid-configuration",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ];
    paths.extend(others.map(str::to_owned));
    paths.sort();
    paths.dedup();
    paths
}
