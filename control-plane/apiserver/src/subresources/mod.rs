//! Resources under resources. Those that are another view of the object go
//! through the verbs; streams to nodes have files of their own.

mod attach;
pub mod binding;
mod budget;
mod eviction;
mod exec;
mod finalize;
mod log;
mod pod_connection;
mod port_forward;
mod proxy;
mod scale;
mod stream;
mod token;

#[cfg(test)]
mod tests;

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

/// Serves a stream: the one of a pod's subresources, or a proxy.
///
/// # Errors
/// 404 without the object, 400 when it cannot be streamed from as it is, else
/// that its node cannot be reached.
pub async fn stream(call: &Call, request: Request) -> Result<Reply, ApiError> {
    let (server, namespace, name) = (&*call.server, call.namespace(), call.info.name.as_str());
    let response = match (call.row.plural, call.info.subresource.as_str()) {
        ("pods", "log") => log::log(server, request, namespace, name).await?,
        ("pods", "exec") => exec::exec(server, request, namespace, name).await?,
        ("pods", "attach") => attach::attach(server, request, namespace, name).await?,
        ("pods", "portforward") => port_forward::port_forward(server, request, namespace, name).await?,
        ("pods", "proxy") => proxy::pod(server, request, namespace, name, &call.info.rest).await?,
        ("services", "proxy") => proxy::service(server, request, namespace, name, &call.info.rest).await?,
        ("nodes", "proxy") => proxy::node(server, request, name, &call.info.rest).await?,
        _ => return Err(ApiError::NoSuchResource),
    };
    Ok(Reply::response(response))
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
        ("scale", "get") => scale::get(call).await,
        ("scale", "update") => scale::update(call, body).await,
        ("scale", "patch") => scale::patch(call, body).await,
        ("binding", "create") => binding::create(call, body).await,
        ("token", "create") => token::create(call, body).await,
        ("eviction", "create") => eviction::create(call, body).await,
        ("finalize", "update") => finalize::update(call, body).await,
        _ => Err(ApiError::NoSuchResource),
    }
}
