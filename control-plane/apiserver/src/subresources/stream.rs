//! What the streaming subresources share: finding the node, asking its kubelet,
//! passing on an upgraded connection (upstream: `proxy.UpgradeAwareHandler`).
//!
//! The API server understands nothing of the streams: the kubelet speaks all
//! protocols, and what follows an upgrade is copied both ways.

use crate::{
    Server,
    http::status::ApiError,
    object::{list_at, str_at},
    registry,
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{convert::Infallible, fmt::Write, time::Duration};
use tracing::debug;
use wk_platform::{
    TaskGroup,
    http::{BodyError, Request, Response, asks_for_upgrade, empty},
    listen::ByteStream,
    tasks::OnError,
};

/// How long a kubelet may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a kubelet's error text that are passed on (upstream's limit).
const ERROR_BYTES_MAX: usize = 50_000;

/// An object of the core group.
///
/// # Errors
/// [`ApiError::NotFound`].
pub(super) async fn object(server: &Server, resource: &str, namespace: &str, name: &str) -> Result<Value, ApiError> {
    let row = registry::find("", "v1", resource).expect("the core resources are in the registry");
    server.storage.get(row, namespace, name).await?.decode(row)
}

/// Sends a request to the kubelet of `node`. The connection ends with the
/// response's body, or goes on as upgraded.
pub(super) async fn ask(server: &Server, node: &str, request: Request) -> Result<http::Response<Incoming>, ApiError> {
    let found = object(server, "nodes", "", node).await?;
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, server.nodes.connect(node, &found)).await;
    let stream = connecting.map_err(|_| unreachable_node("i/o timeout"))?.map_err(unreachable_node)?;
    send(&server.tasks, stream, request).await.map_err(unreachable_node)
}

/// One request over a connection of its own.
pub(super) async fn send<T>(
    tasks: &TaskGroup,
    stream: T,
    mut request: Request,
) -> Result<http::Response<Incoming>, hyper::Error>
where
    T: ByteStream + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tasks.spawn("request to a node", OnError::Log, async move {
        if let Err(error) = connection.with_upgrades().await {
            debug!(%error, "connection to a node ended early");
        }
        Ok::<_, Infallible>(())
    });
    request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("kubelet"));
    sender.send_request(request).await
}

/// Passes the request on to `target` of the kubelet, with whatever it upgrades
/// to.
///
/// # Errors
/// [`ApiError::BadRequest`] when it asks for no upgrade, or that the node
/// cannot be reached. A refusal of the kubelet is its response.
pub(super) async fn upgrade(
    server: &Server,
    node: &str,
    target: Uri,
    mut request: Request,
) -> Result<Response, ApiError> {
    if !asks_for_upgrade(&request) {
        return Err(ApiError::BadRequest("Upgrade request required".to_owned()));
    }
    let client = hyper::upgrade::on(&mut request);
    let response = ask(server, node, retarget(request, target)).await?;
    Ok(pass_upgrade(&server.tasks, client, response))
}

/// The response as the client gets it. When it changes the protocol, what
/// follows is copied both ways.
pub(super) fn pass_upgrade(tasks: &TaskGroup, client: OnUpgrade, mut response: http::Response<Incoming>) -> Response {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return pass(response);
    }
    let other = hyper::upgrade::on(&mut response);
    tasks.spawn("upgraded connection", OnError::Log, async move {
        if let Err(error) = copy(client, other).await {
            debug!(%error, "upgraded connection ended early");
        }
        Ok::<_, Infallible>(())
    });
    response.map(|_| empty())
}

async fn copy(client: OnUpgrade, server: OnUpgrade) -> Result<(), BodyError> {
    let (client, server) = futures::try_join!(client, server).map_err(BodyError::other)?;
    tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(server)).await.map(drop)
}

/// The request as another server gets it: elsewhere, without the credentials
/// that were for us.
pub(super) fn retarget(mut request: Request, target: Uri) -> Request {
    *request.uri_mut() = target;
    *request.version_mut() = http::Version::HTTP_11;
    request.headers_mut().remove(header::AUTHORIZATION);
    if !asks_for_upgrade(&request) {
        remove_hop_headers(request.headers_mut());
    }
    request
}

/// The response as the client gets it, as it comes.
pub(super) fn pass(response: http::Response<Incoming>) -> Response {
    let mut response = response.map(|body| body.map_err(BodyError::other).boxed_unsync());
    remove_hop_headers(response.headers_mut());
    response
}

fn remove_hop_headers(headers: &mut HeaderMap) {
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, header::TE, header::TRAILER] {
        headers.remove(name);
    }
}

fn unreachable_node(error: impl std::fmt::Display) -> ApiError {
    ApiError::Untyped(format!("error dialing backend: {error}"))
}

/// The error that a kubelet's refusal is (upstream: `GenericHttpResponseChecker`).
pub(super) async fn refusal(response: http::Response<Incoming>) -> ApiError {
    let status = response.status();
    let body = Limited::new(response.into_body(), ERROR_BYTES_MAX).collect().await;
    let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).trim().to_owned()).unwrap_or_default();
    match status {
        StatusCode::BAD_REQUEST => ApiError::BadRequest(text),
        StatusCode::INTERNAL_SERVER_ERROR => ApiError::Internal(text),
        StatusCode::NOT_FOUND => ApiError::NoSuchResource,
        _ => ApiError::Untyped(text),
    }
}

/// The node of a pod.
///
/// # Errors
/// [`ApiError::BadRequest`] when it has none yet.
pub(super) fn node_of<'a>(pod: &'a Value, name: &str) -> Result<&'a str, ApiError> {
    match str_at(pod, "spec.nodeName") {
        "" => Err(ApiError::BadRequest(format!("pod {name} does not have a host assigned"))),
        node => Ok(node),
    }
}

/// The container that is meant: the named one, else the only one (upstream:
/// `validateContainer` in `registry/core/pod/strategy.go`).
///
/// # Errors
/// [`ApiError::BadRequest`] that names the choices.
pub(super) fn choose_container<'a>(pod: &'a Value, name: &str, asked: &'a str) -> Result<&'a str, ApiError> {
    let (containers, init) = (names(pod, "spec.containers"), names(pod, "spec.initContainers"));
    if !asked.is_empty() {
        let known =
            containers.iter().chain(&init).chain(&names(pod, "spec.ephemeralContainers")).any(|one| *one == asked);
        let unknown = || ApiError::BadRequest(format!("container {asked} is not valid for pod {name}"));
        return if known { Ok(asked) } else { Err(unknown()) };
    }
    if let [only] = containers.as_slice() {
        return Ok(only);
    }
    let mut message = format!("a container name must be specified for pod {name}");
    if !containers.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(message, ", choose one of: [{}]", containers.join(" "));
        if !init.is_empty() {
            let _ = write!(message, " or one of the init containers: [{}]", init.join(" "));
        }
    }
    Err(ApiError::BadRequest(message))
}

fn names<'a>(pod: &'a Value, path: &str) -> Vec<&'a str> {
    list_at(pod, path).iter().map(|container| str_at(container, "name")).collect()
}

/// A path and query of these pairs.
///
/// # Errors
/// [`ApiError::BadRequest`] when they make no URI.
pub(super) fn target<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Uri, ApiError> {
    let mut text = path.to_owned();
    for (index, (name, value)) in pairs.into_iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        escape(value, &mut text);
    }
    text.parse().map_err(|error| ApiError::BadRequest(format!("{error}")))
}

fn escape(value: &str, output: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => output.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(output, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(error: ApiError) -> String {
        error.status()["message"].as_str().unwrap_or_default().to_owned()
    }

    #[test]
    fn the_only_container_is_meant_when_none_is_named() {
        let pod = json!({"spec": {"containers": [{"name": "a"}]}});
        assert_eq!(choose_container(&pod, "x", "").expect("the only one"), "a");
        let error = choose_container(&pod, "x", "zz").expect_err("no such container");
        assert_eq!(message(error), "container zz is not valid for pod x");
    }

    #[test]
    fn of_several_containers_one_must_be_named() {
        let mut pod = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        let error = choose_container(&pod, "x", "").expect_err("which one?");
        assert_eq!(message(error), "a container name must be specified for pod x, choose one of: [a b]");
        pod["spec"]["initContainers"] = json!([{"name": "i"}]);
        assert_eq!(choose_container(&pod, "x", "i").expect("named"), "i");
        let error = choose_container(&pod, "x", "").expect_err("which one?");
        assert!(message(error).ends_with("[a b] or one of the init containers: [i]"));
    }

    #[test]
    fn values_are_escaped() {
        let uri = target("/exec/ns/p/c", [("command", "a b&c"), ("tty", "1")]).expect("a uri");
        assert_eq!(uri.to_string(), "/exec/ns/p/c?command=a%20b%26c&tty=1");
    }
}
