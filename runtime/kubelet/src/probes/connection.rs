//! One HTTP request over one connection to a guest, in HTTP/1.1 or HTTP/2.
//!
//! A probe owns all of its futures: dropping it at its timeout leaves nothing
//! behind. Used by HTTP probes and hooks (`http.rs`) and gRPC probes (`grpc.rs`).

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wk_cri::{ByteStream, ReadWrite};

/// How much of an answer is read (upstream: `maxRespBodyLength`).
const BODY_BYTES_MAX: usize = 10 * 1024;

/// Bytes remembered of what a guest says first: a frame's head in HTTP/2.
const FIRST_BYTES: usize = 9;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// What a guest answered.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Its first [`BODY_BYTES_MAX`] bytes.
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

/// Sends a request and reads the answer.
///
/// # Errors
/// The connection's.
pub(super) async fn exchange(
    stream: ByteStream,
    version: Version,
    request: Request<Full<Bytes>>,
) -> hyper::Result<Answer> {
    let io = TokioIo::new(stream);
    match version {
        Version::Http1 => {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
            beside(connection, async move { read(sender.send_request(request).await?).await }).await
        }
        Version::Http2 => {
            let spawned = Spawned::default();
            let running = spawned.clone().run();
            let work = async move {
                let (mut sender, connection) = hyper::client::conn::http2::handshake(spawned, io).await?;
                beside(connection, async move { read(sender.send_request(request).await?).await }).await
            };
            tokio::select! {
                biased; // what the work spawns is polled after it
                answer = work => answer,
                never = running => match never {},
            }
        }
    }
}

/// An exchange, and the connection that carries it.
async fn beside(
    connection: impl Future<Output = hyper::Result<()>>,
    exchange: impl Future<Output = hyper::Result<Answer>>,
) -> hyper::Result<Answer> {
    tokio::pin!(exchange);
    let mut connection = Box::pin(connection);
    let ended = tokio::select! {
        biased;
        answer = &mut exchange => return answer,
        ended = &mut connection => ended,
    };
    // An answer that came with the end of the connection is an answer, however
    // rude the end was: dropped, it can no longer keep the exchange waiting.
    drop(connection);
    exchange.await.map_err(|lost| ended.err().unwrap_or(lost))
}

async fn read(response: Response<Incoming>) -> hyper::Result<Answer> {
    let (parts, mut body) = response.into_parts();
    let mut answer =
        Answer { status: parts.status, headers: parts.headers, body: Vec::new(), trailers: HeaderMap::new() };
    while answer.body.len() < BODY_BYTES_MAX
        && let Some(frame) = body.frame().await
    {
        match frame?.into_data() {
            Ok(data) => answer.body.extend_from_slice(&data[..data.len().min(BODY_BYTES_MAX - answer.body.len())]),
            Err(frame) => answer.trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    Ok(answer)
}

/// What hyper's HTTP/2 wants to have run beside a connection: two futures at most.
#[derive(Clone, Default)]
struct Spawned(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Spawned {
    fn execute(&self, future: F) {
        self.0.lock().push(future.boxed());
    }
}

impl Spawned {
    /// Runs what is spawned. Whoever spawns is polled by the same task, before this.
    async fn run(self) -> Infallible {
        let mut running = FuturesUnordered::new();
        std::future::poll_fn(|context| {
            loop {
                running.extend(self.0.lock().drain(..));
                match running.poll_next_unpin(context) {
                    Poll::Ready(Some(())) => {}
                    Poll::Ready(None) | Poll::Pending if self.0.lock().is_empty() => return Poll::Pending,
                    Poll::Ready(None) | Poll::Pending => {}
                }
            }
        })
        .await
    }
}

/// A connection that remembers how the guest began: the protocol it speaks when
/// it is not the one that was hoped for.
pub(super) struct Heard {
    stream: ByteStream,
    first: First,
}

/// The first bytes of a guest, as far as they have come.
#[derive(Clone, Default)]
pub(super) struct First(Arc<Mutex<Vec<u8>>>);

impl Heard {
    /// The connection, and what will be heard on it.
    pub fn listen_to(stream: ByteStream) -> (ByteStream, First) {
        let first = First::default();
        let heard: Box<dyn ReadWrite> = Box::new(Self { stream, first: first.clone() });
        (heard, first)
    }
}

impl First {
    /// Whether it is a frame of HTTP/2's settings, with which every server begins.
    pub fn is_http2(&self) -> bool {
        self.0.lock().get(3) == Some(&4)
    }

    /// Whether it is HTTP/1 in plain text.
    pub fn is_http1(&self) -> bool {
        self.0.lock().starts_with(b"HTTP/")
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let mut first = self.first.0.lock();
        let wanted = FIRST_BYTES - first.len();
        first.extend(buffer.filled()[before..].iter().take(wanted));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Heard {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
