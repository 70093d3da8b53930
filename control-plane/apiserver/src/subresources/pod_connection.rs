//! A connection to a port of a pod, through its kubelet's port-forward over
//! WebSocket channels: one port, so channel 0 has the bytes and channel 1 what
//! is wrong. Used by `proxy` for plain HTTP.

use super::stream::{ask, refusal, target};
use crate::{Server, http::status::ApiError};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use http::{HeaderValue, StatusCode, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};
use wk_platform::{
    http::{Request, empty},
    tasks::OnError,
};

/// Bytes in flight each way.
const PIPE_BYTES: usize = 32 * 1024;

/// Bytes of a message to the pod.
const MESSAGE_BYTES: usize = 16 * 1024;

/// Any sixteen bytes: it protects from caches in between, and there are none.
const KEY: HeaderValue = HeaderValue::from_static("d2suYXBpc2VydmVyLmtleQ==");

const DATA: u8 = 0;
const ERROR: u8 = 1;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// An open connection.
pub struct PodConnection {
    /// Its bytes.
    pub stream: DuplexStream,
    /// Why it ended, when the port did not answer.
    pub failure: Arc<OnceLock<String>>,
}

/// Opens a connection to `port`.
///
/// # Errors
/// That the node cannot be reached, or its kubelet's refusal.
pub async fn open(
    server: &Server,
    node: &str,
    namespace: &str,
    pod: &str,
    port: u16,
) -> Result<PodConnection, ApiError> {
    let mut response = ask(server, node, handshake(namespace, pod, port)?).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refusal(response).await);
    }
    let upgraded = hyper::upgrade::on(&mut response).await.map_err(|error| ApiError::Untyped(error.to_string()))?;
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await;
    let (stream, far) = tokio::io::duplex(PIPE_BYTES);
    let failure = Arc::new(OnceLock::new());
    let said = failure.clone();
    server.tasks.spawn("connection to a pod", OnError::Log, async move {
        relay(socket, far, &said).await;
        Ok::<_, Infallible>(())
    });
    Ok(PodConnection { stream, failure })
}

fn handshake(namespace: &str, pod: &str, port: u16) -> Result<Request, ApiError> {
    let mut request = http::Request::new(empty());
    *request.uri_mut() = target(&format!("/portForward/{namespace}/{pod}"), [("port", port.to_string().as_str())])?;
    let headers = request.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(header::SEC_WEBSOCKET_KEY, KEY);
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("v4.channel.k8s.io"));
    Ok(request)
}

/// Ends when either side does.
async fn relay(socket: Socket, stream: DuplexStream, failure: &OnceLock<String>) {
    let (sink, messages) = socket.split();
    let (from_client, to_client) = tokio::io::split(stream);
    tokio::select! {
        () = send(from_client, sink) => {}
        () = receive(messages, to_client, failure) => {}
    }
}

async fn send(mut client: ReadHalf<DuplexStream>, mut sink: SplitSink<Socket, Message>) {
    loop {
        let mut message = BytesMut::with_capacity(1 + MESSAGE_BYTES);
        message.put_u8(DATA);
        let Ok(1..) = client.read_buf(&mut message).await else { return };
        if sink.send(Message::Binary(message.freeze())).await.is_err() {
            return;
        }
    }
}

async fn receive(mut messages: SplitStream<Socket>, mut client: WriteHalf<DuplexStream>, failure: &OnceLock<String>) {
    // The first message of each channel is the port's number.
    let mut begun = [false; 2];
    while let Some(Ok(message)) = messages.next().await {
        let Some((channel, bytes)) = split(message) else { continue };
        let Some(begun) = begun.get_mut(usize::from(channel)) else { continue };
        if !std::mem::replace(begun, true) {
            continue;
        }
        if channel == ERROR {
            let _ = failure.set(String::from_utf8_lossy(&bytes).into_owned()); // the first one counts
        } else if client.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

fn split(message: Message) -> Option<(u8, Bytes)> {
    let Message::Binary(mut bytes) = message else { return None };
    if bytes.is_empty() {
        return None;
    }
    let channel = bytes.split_to(1)[0];
    Some((channel, bytes))
}
