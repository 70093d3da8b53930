//! Accept loop, TLS, hyper, upgrades, graceful drain. The API server and the
//! kubelet both serve through this.

use crate::{
    http::{BodyError, HttpService, Response},
    listen::{BoxByteStream, Listener},
    tasks::{OnError, TaskGroup},
};
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls_pki_types::CertificateDer;
use std::{convert::Infallible, io, sync::Arc, time::Duration};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::debug;

/// HTTP/2 streams per connection (Go's default, which upstream keeps).
const HTTP2_STREAMS_MAX: u32 = 250;

/// How long a connection may take for its TLS handshake and request head.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// After a failed accept (out of file descriptors, say), wait before the next.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// The client certificate of a TLS connection, in the extensions of each of
/// its requests. It has passed the verifier of the listener.
#[derive(Clone, Debug)]
pub struct PeerCertificate(pub CertificateDer<'static>);

/// Serves `service` on `listener` until `tasks` stops, then lets requests in
/// flight finish. `tls: None` serves plain HTTP.
///
/// # Errors
/// Only when the listener itself is gone for good.
pub async fn serve(
    mut listener: Listener,
    tls: Option<Arc<rustls::ServerConfig>>,
    service: HttpService,
    tasks: TaskGroup,
) -> io::Result<()> {
    let stop = tasks.stopping();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => {
                debug!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let (tls, service, stop) = (tls.clone(), service.clone(), stop.clone());
        tasks.spawn_to_completion("connection", OnError::Log, async move {
            if let Err(error) = serve_one(stream, tls, service, stop).await {
                debug!(?peer, %error, "connection ended");
            }
            Ok::<_, Infallible>(())
        });
    }
}

async fn serve_one(
    stream: BoxByteStream,
    tls: Option<Arc<rustls::ServerConfig>>,
    service: HttpService,
    stop: CancellationToken,
) -> Result<(), BodyError> {
    let Some(tls) = tls else { return serve_connection(stream, service, None, stop).await };
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(tls).accept(stream)).await??;
    let certificates = stream.get_ref().1.peer_certificates();
    let peer = certificates.and_then(|chain| chain.first()).map(|leaf| PeerCertificate(leaf.clone().into_owned()));
    serve_connection(Box::new(stream), service, peer, stop).await
}

/// What hyper calls for each request of a connection. A type of its own, since
/// a closure over a boxed service cannot be proven `Send` inside a task.
struct Connection {
    service: HttpService,
    peer: Option<PeerCertificate>,
}

impl hyper::service::Service<hyper::Request<hyper::body::Incoming>> for Connection {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn call(&self, request: hyper::Request<hyper::body::Incoming>) -> Self::Future {
        let mut request = request.map(|body| body.map_err(BodyError::other).boxed_unsync());
        if let Some(peer) = &self.peer {
            request.extensions_mut().insert(peer.clone());
        }
        Box::pin(self.service.clone().oneshot(request))
    }
}

/// Serves one connection, HTTP/1.1 (with upgrades) or HTTP/2, until it closes
/// or, after `stop`, until the requests in flight are answered.
///
/// # Errors
/// What hyper found wrong with the connection.
pub async fn serve_connection(
    stream: BoxByteStream,
    service: HttpService,
    peer: Option<PeerCertificate>,
    stop: CancellationToken,
) -> Result<(), BodyError> {
    let service = Connection { service, peer };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(HTTP2_STREAMS_MAX);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return result.map_err(BodyError::other),
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await.map_err(BodyError::other)
}
