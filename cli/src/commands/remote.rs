//! The client's end of exec and attach: standard streams over a WebSocket
//! (`v5.channel.k8s.io`, else `v4.channel.k8s.io`; KEP-4006).
//!
//! Each binary message begins with its channel: 0 stdin, 1 stdout, 2 stderr,
//! 3 the final `Status`, 4 the terminal's size. In v5 `ff 00` ends stdin.

use super::terminal;
use crate::rest::ApiError;
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt, stream::SplitSink, stream::SplitStream};
use http::Request;
use serde_json::Value;
use std::{
    io::{Read, Write},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error as SocketError, Message},
};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// Bytes of standard input per message, as kubectl sends them.
const CHUNK_BYTES: usize = 32 * 1024;

/// Pieces that wait between a reader and a writer; a slow one makes the other wait.
const PIECES_MAX: usize = 16;

/// How often the connection shows that it lives, as kubectl does.
const PING: Duration = Duration::from_secs(5);

/// Where the remote program's input comes from.
pub(super) enum Input {
    /// It gets none.
    None,
    /// Pieces until the sender is dropped.
    Pieces(mpsc::Receiver<Vec<u8>>),
}

impl Input {
    /// This process's standard input.
    pub(super) fn stdin() -> Self {
        let (sender, receiver) = mpsc::channel(PIECES_MAX);
        // A thread of its own that nobody waits for: a read of a terminal
        // cannot be interrupted, and must not keep the process from ending.
        std::thread::spawn(move || {
            let mut buffer = vec![0; CHUNK_BYTES];
            while let Ok(count) = std::io::stdin().read(&mut buffer) {
                if count == 0 || sender.blocking_send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self::Pieces(receiver)
    }
}

/// Where the remote program's standard output goes.
pub(super) enum Output {
    /// To ours.
    Stdout,
    /// To a receiver, which makes the program wait when it is slow.
    Pieces(mpsc::Sender<Bytes>),
}

/// What to connect.
pub(super) struct Streams {
    pub(super) input: Input,
    pub(super) output: Output,
    /// Whether the terminal's size is sent, first and at each change.
    pub(super) sizes: bool,
}

/// How the remote program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Success,
    Code(u8),
}

impl End {
    /// The exit code to pass on; says it as kubectl does when it is not zero.
    pub(super) fn exit_code(self) -> std::process::ExitCode {
        match self {
            Self::Success => std::process::ExitCode::SUCCESS,
            Self::Code(code) => {
                let _ = writeln!(std::io::stderr(), "command terminated with exit code {code}");
                std::process::ExitCode::from(code)
            }
        }
    }
}

/// Connects the streams to `path` and copies until the program ends.
///
/// # Errors
/// The server refuses, the connection breaks, or the program could not be run.
pub(super) async fn run(client: &kube::Client, path: &str, streams: Streams) -> Result<End> {
    let request = Request::get(path).body(Vec::new()).context("make the request")?;
    let connection = client.connect(request).await.map_err(explain)?;
    let half_close = connection.supports_stream_close();
    let (sink, stream) = connection.into_stream().split();
    let Streams { input, output, sizes } = streams;
    // The program may end while its input is still open, never the other way round.
    tokio::select! {
        end = receive(stream, output) => end,
        error = send(sink, input, sizes, half_close) => Err(error.context("write to the container")),
    }
}

fn explain(error: kube::Error) -> anyhow::Error {
    match error {
        // An answer that is no Status: a proxy's or the kubelet's own words.
        kube::Error::Api(status) if status.reason == "Failed to parse error data" => {
            anyhow::anyhow!("unable to upgrade connection: {}", status.message)
        }
        kube::Error::Api(status) => match serde_json::to_value(&status) {
            Ok(status) => ApiError { status }.into(),
            Err(error) => error.into(),
        },
        other => anyhow::Error::new(other).context("unable to upgrade connection"),
    }
}

async fn receive<S>(mut stream: SplitStream<WebSocketStream<S>>, output: Output) -> Result<End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    receive_from(&mut stream, output).await
}

async fn receive_from(
    stream: &mut (impl Stream<Item = Result<Message, SocketError>> + Unpin),
    output: Output,
) -> Result<End> {
    let mut end = None;
    while let Some(message) = stream.next().await {
        let message = match message {
            Ok(Message::Binary(message)) => message,
            Ok(Message::Close(_)) => break,
            Ok(_) => continue,
            // After the status nothing more is expected.
            Err(_) if end.is_some() => break,
            Err(error) => return Err(error).context("read from the container"),
        };
        let Some((channel, data)) = message.split_first() else { continue };
        match *channel {
            STDOUT => write_out(&output, message.slice(1..)).await?,
            STDERR => std::io::stderr().write_all(data)?,
            STATUS => end = Some(parse_end(data)?),
            _ => {}
        }
    }
    end.context("the connection ended before the program did")
}

async fn write_out(output: &Output, data: Bytes) -> Result<()> {
    match output {
        Output::Stdout => {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(&data)?;
            Ok(stdout.flush()?)
        }
        // Who no longer reads does not want the rest.
        Output::Pieces(sender) => {
            let _ = sender.send(data).await;
            Ok(())
        }
    }
}

/// The final `Status`.
fn parse_end(data: &[u8]) -> Result<End> {
    if data.is_empty() {
        return Ok(End::Success);
    }
    let status: Value = serde_json::from_slice(data).context("the program's end is no JSON")?;
    if status["status"] == "Success" {
        return Ok(End::Success);
    }
    if status["reason"] == "NonZeroExitCode" {
        let causes = status["details"]["causes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let code =
            causes.iter().find(|cause| cause["reason"] == "ExitCode").and_then(|cause| cause["message"].as_str());
        let code: i32 = code.and_then(|code| code.parse().ok()).context("the program's end has no exit code")?;
        // An exit code is a byte; one that is not must not look like success.
        return Ok(End::Code(u8::try_from(code & 0xff).ok().filter(|code| *code != 0).unwrap_or(1)));
    }
    bail!("{}", status["message"].as_str().unwrap_or("the server gave no reason"))
}

/// Sends until an error; the program's end is what stops it.
async fn send<S>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    input: Input,
    sizes: bool,
    half_close: bool,
) -> anyhow::Error
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match send_all(&mut sink, input, sizes, half_close).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn send_all(
    sink: &mut (impl Sink<Message, Error = SocketError> + Unpin),
    input: Input,
    sizes: bool,
    half_close: bool,
) -> Result<std::convert::Infallible> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut resized = signal(SignalKind::window_change()).context("watch the terminal's size")?;
    let mut ping = tokio::time::interval(PING);
    let mut pieces = match input {
        Input::None => None,
        Input::Pieces(pieces) => Some(pieces),
    };
    if sizes {
        send_size(sink).await?;
    }
    loop {
        let next = async {
            match pieces.as_mut() {
                Some(pieces) => pieces.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            piece = next => match piece {
                Some(piece) => sink.send(framed(STDIN, &piece)).await?,
                None => {
                    pieces = None;
                    // In v4 nothing says that the input has ended.
                    if half_close {
                        sink.send(framed(CLOSE, &[STDIN])).await?;
                    }
                }
            },
            _ = resized.recv(), if sizes => send_size(sink).await?,
            _ = ping.tick() => sink.send(Message::Ping(Bytes::new())).await?,
        }
    }
}

async fn send_size(sink: &mut (impl Sink<Message, Error = SocketError> + Unpin)) -> Result<()> {
    let Some((width, height)) = terminal::size() else { return Ok(()) };
    let size = serde_json::json!({"Width": width, "Height": height}).to_string();
    Ok(sink.send(framed(RESIZE, size.as_bytes())).await?)
}

fn framed(channel: u8, data: &[u8]) -> Message {
    let mut message = Vec::with_capacity(data.len() + 1);
    message.push(channel);
    message.extend_from_slice(data);
    Message::Binary(message.into())
}

/// A future that ends when the user or the system asks this process to end.
pub(super) async fn interrupted() -> Result<u8> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [interrupt, terminate, hangup] = &mut kinds;
    let failed = |error: &mut std::io::Error| anyhow::anyhow!("watch for signals: {error}");
    let (interrupt, terminate, hangup) =
        (interrupt.as_mut().map_err(failed)?, terminate.as_mut().map_err(failed)?, hangup.as_mut().map_err(failed)?);
    // What a shell says of a program that a signal ended.
    Ok(tokio::select! {
        _ = interrupt.recv() => 128 + 2,
        _ = terminate.recv() => 128 + 15,
        _ = hangup.recv() => 128 + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_end_has_an_exit_code() {
        let end = |status: Value| parse_end(status.to_string().as_bytes());
        let code = |code: &str| json!({"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": [{"reason": "ExitCode", "message": code}]}});
        assert_eq!(end(json!({"status": "Success"})).expect("an end"), End::Success);
        assert_eq!(end(code("42")).expect("an end"), End::Code(42));
        assert_eq!(end(code("256")).expect("an end"), End::Code(1));
        assert!(end(code("x")).is_err());
        let error = end(json!({"status": "Failure", "message": "no such program"})).expect_err("not run");
        assert_eq!(error.to_string(), "no such program");
    }

    #[tokio::test]
    async fn output_comes_until_the_status() {
        let (sender, mut receiver) = mpsc::channel(4);
        let frames = [
            Ok(framed(STDOUT, b"one ")),
            Ok(Message::Ping(Bytes::new())),
            Ok(framed(STDOUT, b"two")),
            Ok(framed(STATUS, br#"{"status":"Success"}"#)),
            Err(SocketError::ConnectionClosed),
        ];
        let end = receive_from(&mut futures::stream::iter(frames), Output::Pieces(sender)).await;
        assert_eq!(end.expect("an end"), End::Success);
        assert_eq!(
            [receiver.recv().await, receiver.recv().await, receiver.recv().await],
            [Some("one ".into()), Some("two".into()), None]
        );
        let cut = [Ok(framed(STDOUT, b"x"))];
        assert!(receive_from(&mut futures::stream::iter(cut), Output::Stdout).await.is_err());
    }

    #[tokio::test]
    async fn the_end_of_the_input_is_said_in_v5_only() {
        for (half_close, expected) in
            [(true, vec![framed(STDIN, b"hi"), framed(CLOSE, &[STDIN])]), (false, vec![framed(STDIN, b"hi")])]
        {
            let (pieces, input) = mpsc::channel(4);
            pieces.send(b"hi".to_vec()).await.expect("open");
            drop(pieces);
            let (sent, mut seen) = futures::channel::mpsc::unbounded();
            let mut sink = sent.sink_map_err(|_| SocketError::ConnectionClosed);
            let sending = send_all(&mut sink, Input::Pieces(input), false, half_close);
            let reading = async {
                let mut messages = Vec::new();
                while messages.len() < expected.len() {
                    messages.extend(seen.next().await.filter(Message::is_binary));
                }
                messages
            };
            let messages = tokio::select! {
                _ = sending => Vec::new(),
                messages = reading => messages,
            };
            assert_eq!(messages, expected);
        }
    }
}
