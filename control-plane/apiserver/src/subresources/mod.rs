//! Resources under resources. Those that are another view of the object go
//! through the verbs; streams to nodes have files of their own.

use crate::{
    http::{reply::Reply, status::ApiError},
    verbs::{self, Call},
};
use bytes::Bytes;
use wk_platform::http::Request;

/// Whether the subresource is a stream, which reads its own body.
pub fn is_stream(subresource: &str) -> bool {
    matches!(subresource, "log" | "exec" | "attach" | "portforward" | "proxy")
}

/// Serves a stream.
///
/// # Errors
/// 404 for those that this build does not have.
pub async fn stream(_call: &Call, _request: Request) -> Result<Reply, ApiError> {
    Err(ApiError::NoSuchResource)
}

/// Serves any other subresource.
///
/// # Errors
/// The verb's.
pub async fn serve(call: &Call, body: Bytes) -> Result<Reply, ApiError> {
    match (call.info.subresource.as_str(), call.info.verb) {
        ("status" | "ephemeralcontainers" | "resize", "get") => verbs::get::get(call).await,
        ("status" | "ephemeralcontainers" | "resize", "update") => verbs::update::update(call, body).await,
        ("status" | "ephemeralcontainers" | "resize", "patch") => verbs::patch::patch(call, body).await,
        _ => Err(ApiError::NoSuchResource),
    }
}
