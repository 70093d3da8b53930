//! Real servers for tests of probes: HTTP/1.1, HTTPS with a certificate that
//! nobody has signed, gRPC health. Each is played on one forwarded connection.

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    convert::Infallible,
    sync::{Arc, LazyLock},
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsAcceptor;

type Body = UnsyncBoxBody<Bytes, Infallible>;

static IDENTITY: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(vec!["someone.else".to_owned()]).expect("a certificate");
    (made.cert.der().to_vec(), made.signing_key.serialize_der())
});

fn acceptor(protocol: &[u8]) -> TlsAcceptor {
    let (certificate, key) = IDENTITY.clone();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key).expect("a key");
    let mut config = builder.with_single_cert(vec![certificate.into()], key).expect("an identity");
    config.alpn_protocols = vec![protocol.to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// HTTP/1.1.
pub fn http(stream: DuplexStream) -> BoxFuture<'static, ()> {
    serve_http1(stream).boxed()
}

/// HTTP/1.1 over TLS.
pub fn https(stream: DuplexStream) -> BoxFuture<'static, ()> {
    async {
        if let Ok(stream) = acceptor(b"http/1.1").accept(stream).await {
            serve_http1(stream).await;
        }
    }
    .boxed()
}

/// HTTP/2 over TLS, and nothing else.
pub fn https_h2(stream: DuplexStream) -> BoxFuture<'static, ()> {
    async {
        if let Ok(stream) = acceptor(b"h2").accept(stream).await {
            serve_http2(stream, |request| async move { answer(request) }).await;
        }
    }
    .boxed()
}

/// Answers of no protocol.
pub fn nonsense(mut stream: DuplexStream) -> BoxFuture<'static, ()> {
    async move { drop(stream.write_all(b"220 mail.example ESMTP\r\n").await) }.boxed()
}

/// Hangs up at once.
pub fn hangs_up(stream: DuplexStream) -> BoxFuture<'static, ()> {
    async move { drop(stream) }.boxed()
}

/// gRPC health: of the service "" and "up" it is well, "down" not; "slow" never
/// answers, nobody knows another one.
pub fn grpc(stream: DuplexStream) -> BoxFuture<'static, ()> {
    serve_http2(stream, health).boxed()
}

/// gRPC without health.
pub fn grpc_without_health(stream: DuplexStream) -> BoxFuture<'static, ()> {
    serve_http2(stream, |_| async { refusal("12", "unknown%20service grpc.health.v1.Health") }).boxed()
}

/// HTTP/2 that has never heard of gRPC.
pub fn http2(stream: DuplexStream) -> BoxFuture<'static, ()> {
    serve_http2(stream, |request| async move { answer(request) }).boxed()
}

async fn serve_http1(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let service = service_fn(|request| async move { Ok::<_, Infallible>(answer(request)) });
    // The prober may hang up at any time.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn serve_http2<S, F>(stream: S, answer: fn(Request<Incoming>) -> F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request| answer(request).map(Ok::<_, Infallible>));
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// `/to/CODE/LOCATION` redirects, `/has/NAME/VALUE` is well when the request has
/// this header, `/hasnt/NAME` when it has not; all else is well with a text.
fn answer(request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.splitn(4, '/').collect();
    let host = request.uri().authority().map(|authority| authority.to_string());
    let header = |name: &str| {
        let given = request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        if name == "host" { given.or(host.clone()) } else { given }
    };
    let (status, location) = match parts.as_slice() {
        ["", "to", code, location] => (code.parse().expect("a status"), Some((*location).to_owned())),
        ["", "has", name, value] if header(name).as_deref() != Some(*value) => (417, None),
        ["", "hasnt", name] if header(name).is_some() => (417, None),
        ["", "status", code] => (code.parse().expect("a status"), None),
        _ => (200, None),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(b"well")).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    if let Some(location) = location {
        response.headers_mut().insert("location", location.parse().expect("a location"));
    }
    response
}

async fn health(request: Request<Incoming>) -> Response<Body> {
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    assert_eq!(request.headers()["te"], "trailers");
    let sent = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let service = String::from_utf8_lossy(sent.get(7..).unwrap_or_default()).into_owned();
    assert_eq!(sent.get(..5).map(|head| usize::from(head[4])), Some(sent.len() - 5), "a frame says its length");
    match service.as_str() {
        "" | "up" => serving(1),
        "down" => serving(2),
        "slow" => std::future::pending().await,
        _ => refusal("5", "unknown service"),
    }
}

fn grpc_response(body: Body) -> Response<Body> {
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(body).expect("a response")
}

fn serving(status: u8) -> Response<Body> {
    let message = Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]);
    let trailers =
        HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), "0".parse().expect("a value"))]);
    let frames = [Ok(Frame::data(message)), Ok(Frame::trailers(trailers))];
    grpc_response(StreamBody::new(futures::stream::iter(frames)).boxed_unsync())
}

fn refusal(code: &str, message: &str) -> Response<Body> {
    let mut response = grpc_response(Full::default().boxed_unsync());
    response.headers_mut().insert("grpc-status", code.parse().expect("a value"));
    response.headers_mut().insert("grpc-message", message.parse().expect("a value"));
    response
}
