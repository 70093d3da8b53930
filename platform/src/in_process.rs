//! A router and an identity become a `kube::Client`.
//!
//! A request is a plain call. Only one that asks for an upgrade (exec, attach,
//! port-forward) travels over an in-memory connection with hyper at both ends,
//! because only hyper can make the upgraded stream that the client looks for.

use crate::{
    http::{BodyError, HttpService, Request, Response, asks_for_upgrade},
    identity::UserInfo,
    serve,
    tasks::{OnError, TaskGroup},
};
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tower::ServiceExt;

/// Bytes in flight each way on an upgraded in-memory connection.
const UPGRADE_BYTES: usize = 64 * 1024;

/// A client whose requests `service` sees as coming from `user`. The tasks of
/// upgraded connections belong to `tasks`. Call it inside a tokio runtime.
pub fn client(service: HttpService, user: UserInfo, tasks: TaskGroup) -> kube::Client {
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let mut request = request.map(|body| body.map_err(BodyError::other).boxed_unsync());
        request.extensions_mut().insert(user.clone());
        call(service.clone(), user.clone(), tasks.clone(), request)
    });
    kube::Client::new(service, "default")
}

fn call(
    service: HttpService,
    user: UserInfo,
    tasks: TaskGroup,
    request: Request,
) -> BoxFuture<'static, Result<Response, BodyError>> {
    if asks_for_upgrade(&request) {
        return Box::pin(over_a_connection(service, user, tasks, request));
    }
    Box::pin(async move { service.oneshot(request).await.map_err(|never| match never {}) })
}

async fn over_a_connection(
    service: HttpService,
    user: UserInfo,
    tasks: TaskGroup,
    request: Request,
) -> Result<Response, BodyError> {
    let (near, far) = tokio::io::duplex(UPGRADE_BYTES);
    let tagged = HttpService::new(tower::service_fn(move |mut request: Request| {
        request.extensions_mut().insert(user.clone());
        service.clone().oneshot(request)
    }));
    let stop = tasks.stopping();
    tasks.spawn("in-process connection", OnError::Log, async move {
        serve::serve_connection(Box::new(far), tagged, None, stop).await
    });
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(near)).await.map_err(BodyError::other)?;
    tasks.spawn("in-process request", OnError::Log, async move { connection.with_upgrades().await });
    let mut request = request;
    if !request.headers().contains_key(http::header::HOST) {
        request.headers_mut().insert(http::header::HOST, http::HeaderValue::from_static("wk.in-process"));
    }
    let response = sender.send_request(request).await.map_err(BodyError::other)?;
    Ok(response.map(|body| body.map_err(BodyError::other).boxed_unsync()))
}
