//! A client that speaks SPDY/3.1: kubectl before 1.31, and later ones when a
//! WebSocket does not get through.
//!
//! It opens a stream for the error and one for each of stdin, stdout, stderr and
//! (with a terminal) resize; each says in `streamtype` which it is.

use super::{Client, Connecting, Error, FromClient, ToClient, Wanted, parse_size, status::Status};
use crate::server::spdy::{self, Incoming, Stream};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use std::{convert::Infallible, io, time::Duration};
use tokio::{io::AsyncWriteExt, sync::oneshot};
use tokio_util::{
    codec::{FramedRead, LinesCodec},
    io::ReaderStream,
};
use wk_cri::Output;
use wk_platform::{
    TaskGroup,
    http::{Request, Response},
    tasks::OnError,
};

const PROTOCOLS: &[&str] = &["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];

/// How long the client may take to open its streams (upstream's default).
const STREAMS_TIMEOUT: Duration = Duration::from_secs(30);

/// A resize message has 30 bytes.
const RESIZE_BYTES_MAX: usize = 1024;

/// Accepts the upgrade.
///
/// # Errors
/// As [`spdy::handshake`].
pub fn upgrade(tasks: TaskGroup, wanted: Wanted, mut request: Request) -> Result<(Response, Connecting), Error> {
    let spdy::Handshake { response, protocol, upgrade } = spdy::handshake(&mut request, PROTOCOLS)?;
    let connecting = Box::pin(async move {
        let upgraded = upgrade.await.map_err(io::Error::other)?;
        let (incoming, work) = spdy::server(hyper_util::rt::TokioIo::new(upgraded));
        let (ended, gone) = oneshot::channel::<Infallible>();
        tasks.spawn("spdy session", OnError::Log, async move {
            let _ended = ended; // dropped with the session
            // A broken connection is the client's affair.
            let _ = work.await;
            Ok::<_, Infallible>(())
        });
        let streams = tokio::time::timeout(STREAMS_TIMEOUT, collect(incoming, wanted, protocol)).await??;
        let gone = Box::pin(async move {
            let _ = gone.await;
        });
        Ok(streams.into_client(protocol, gone))
    });
    Ok((response, connecting))
}

/// The streams of one command.
#[derive(Default)]
struct Streams {
    error: Option<Stream>,
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    resize: Option<Stream>,
}

impl Streams {
    fn slot(&mut self, name: &str) -> Option<&mut Option<Stream>> {
        match name {
            "error" => Some(&mut self.error),
            "stdin" => Some(&mut self.stdin),
            "stdout" => Some(&mut self.stdout),
            "stderr" => Some(&mut self.stderr),
            "resize" => Some(&mut self.resize),
            _ => None,
        }
    }

    fn are_complete(&self, wanted: Wanted, protocol: &str) -> bool {
        let resize = wanted.tty && !matches!(protocol, "v2.channel.k8s.io" | "channel.k8s.io");
        self.error.is_some()
            && (self.stdin.is_some() || !wanted.stdin)
            && (self.stdout.is_some() || !wanted.stdout)
            && (self.stderr.is_some() || !wanted.stderr)
            && (self.resize.is_some() || !resize)
    }

    fn into_client(self, protocol: &'static str, gone: futures::future::BoxFuture<'static, ()>) -> Client {
        let Self { error, stdin, stdout, stderr, resize } = self;
        let stdin = stdin.map(|stdin| {
            let bytes = ReaderStream::new(stdin).filter_map(|read| async { read.ok().map(FromClient::Stdin) });
            bytes.chain(stream::once(async { FromClient::StdinEnd }))
        });
        let resize = resize.map(|resize| {
            let lines = FramedRead::new(resize, LinesCodec::new_with_max_length(RESIZE_BYTES_MAX));
            lines.filter_map(|line| async { parse_size(line.ok()?.as_bytes()).map(FromClient::Resize) })
        });
        let input = stream::select(
            stream::iter(stdin.map(StreamExt::boxed)).flatten(),
            stream::iter(resize.map(StreamExt::boxed)).flatten(),
        );
        let with_status = protocol == "v4.channel.k8s.io";
        Client { input: Box::pin(input), output: Box::new(ToStreams { error, stdout, stderr, with_status }), gone }
    }
}

async fn collect(mut incoming: Incoming, wanted: Wanted, protocol: &str) -> io::Result<Streams> {
    let mut streams = Streams::default();
    while !streams.are_complete(wanted, protocol) {
        let mut stream = incoming.next().await.ok_or(io::ErrorKind::UnexpectedEof)?;
        let name = stream.headers().get("streamtype").unwrap_or_default().to_owned();
        // One that we do not know is reset by dropping it.
        if let Some(slot) = streams.slot(&name) {
            stream.accept().await?;
            *slot = Some(stream);
        }
    }
    Ok(streams)
}

struct ToStreams {
    error: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    with_status: bool,
}

#[async_trait]
impl ToClient for ToStreams {
    async fn output(&mut self, output: Output) -> io::Result<()> {
        let (stream, bytes) = match output {
            Output::Stdout(bytes) => (&mut self.stdout, bytes),
            Output::Stderr(bytes) => (&mut self.stderr, bytes),
        };
        match stream {
            Some(stream) => stream.write_all(&bytes).await,
            None => Ok(()),
        }
    }

    async fn finish(&mut self, status: &Status) -> io::Result<()> {
        for mut stream in [self.stdout.take(), self.stderr.take()].into_iter().flatten() {
            stream.shutdown().await?;
        }
        let Some(mut error) = self.error.take() else { return Ok(()) };
        if self.with_status {
            error.write_all(status.json.to_string().as_bytes()).await?;
        } else if let Some(message) = &status.failure {
            error.write_all(message.as_bytes()).await?;
        }
        error.shutdown().await
    }
}
