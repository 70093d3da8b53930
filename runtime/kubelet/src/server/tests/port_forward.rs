//! Port-forward in its three wire protocols.

use super::Node;
use crate::server::{
    spdy::{
        frame::{self, Frame},
        headers::Headers,
    },
    websocket::Tunnel,
};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{StatusCode, header};
use hyper_util::rt::TokioIo;
use std::collections::{BTreeMap, HashMap};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
use tokio_util::codec::{FramedRead, FramedWrite};
use wk_cri::fake::{Port, Script};
use wk_platform::{http::empty, serve::serve_connection, tasks::OnError};

type Io = Box<dyn wk_platform::listen::ByteStream>;

/// A client that speaks frames.
pub struct SpdyPeer {
    input: FramedRead<ReadHalf<Io>, frame::Decoder>,
    output: FramedWrite<WriteHalf<Io>, frame::Encoder>,
    /// What has come for each stream, and whether it has ended.
    streams: HashMap<u32, (Vec<u8>, bool)>,
}

/// Upgrades a connection to the node's kubelet.
async fn upgrade(node: &Node, uri: &str, headers: &[(&str, &str)]) -> (http::HeaderMap, Io) {
    let (near, far) = tokio::io::duplex(4096);
    let (service, stop) = (node.service.clone(), node.tasks.stopping());
    node.tasks.spawn("server", OnError::Log, serve_connection(Box::new(far), service, None, stop));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(near)).await.expect("a connection");
    node.tasks.spawn("client", OnError::Log, connection.with_upgrades());
    let mut request = http::Request::get(uri).header(header::HOST, "kubelet").header(header::CONNECTION, "Upgrade");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(empty()).expect("a request");
    let mut response = sender.send_request(request).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let upgraded = hyper::upgrade::on(&mut response).await.expect("upgrades");
    (response.headers().clone(), Box::new(TokioIo::new(upgraded)))
}

impl SpdyPeer {
    /// Over an upgraded connection.
    pub async fn upgrade(node: &Node, uri: &str, protocols: &str) -> Self {
        let asked = [("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", protocols)];
        let (headers, io) = upgrade(node, uri, &asked).await;
        let chosen = headers["x-stream-protocol-version"].to_str().expect("text");
        assert!(protocols.split(", ").any(|protocol| protocol == chosen));
        Self::over(io)
    }

    /// Over a connection tunnelled in a WebSocket, as kubectl does it.
    async fn tunnel(node: &Node, uri: &str) -> Self {
        let asked = [
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "SPDY/3.1+portforward.k8s.io"),
        ];
        let (headers, io) = upgrade(node, uri, &asked).await;
        // The example of RFC 6455, section 1.3.
        assert_eq!(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(headers["sec-websocket-protocol"], "SPDY/3.1+portforward.k8s.io");
        let socket = WebSocketStream::from_raw_socket(io, Role::Client, None).await;
        Self::over(Box::new(Tunnel::new(socket)))
    }

    fn over(io: Io) -> Self {
        let (input, output) = tokio::io::split(io);
        let input = FramedRead::new(input, frame::Decoder::new());
        Self { input, output: FramedWrite::new(output, frame::Encoder::new()), streams: HashMap::new() }
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: Frame) {
        self.output.send(frame).await.expect("the server reads");
    }

    /// Opens a stream.
    pub async fn open(&mut self, stream: u32, headers: &[(&str, &str)]) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.send(Frame::SynStream { stream, fin: false, headers: Headers(headers.collect()) }).await;
    }

    /// Opens the two streams of a forwarded connection.
    async fn connect(&mut self, first: u32, port: &str, request: &str) {
        for (stream, kind) in [(first, "error"), (first + 2, "data")] {
            self.open(stream, &[("streamtype", kind), ("port", port), ("requestid", request)]).await;
        }
    }

    async fn say(&mut self, stream: u32, fin: bool, text: &'static str) {
        self.send(Frame::Data { stream, fin, bytes: Bytes::from_static(text.as_bytes()) }).await;
    }

    /// All that comes for a stream until it ends.
    pub async fn read(&mut self, stream: u32) -> Vec<u8> {
        loop {
            if let Some((bytes, true)) = self.streams.get(&stream) {
                return bytes.clone();
            }
            match self.input.next().await.expect("the stream ends before the connection").expect("frames") {
                Frame::Data { stream, fin, bytes } => {
                    let (all, ended) = self.streams.entry(stream).or_default();
                    all.extend_from_slice(&bytes);
                    *ended |= fin;
                }
                Frame::Reset { stream, .. } => self.streams.entry(stream).or_default().1 = true,
                _ => {}
            }
        }
    }
}

fn echo() -> Script {
    Script { ports: BTreeMap::from([(7, Port::Echo), (80, Port::Http(200))]), ..Script::default() }
}

/// What any client of the stream-pair protocol sees.
async fn check_pairs(mut peer: SpdyPeer) {
    peer.connect(1, "7", "0").await;
    peer.connect(5, "81", "1").await;
    peer.connect(9, "7", "2").await;
    peer.say(3, false, "hello ").await;
    peer.say(11, true, "other").await;
    peer.say(3, true, "world").await;
    assert_eq!(peer.read(3).await, b"hello world");
    assert_eq!(peer.read(1).await, b"", "nothing was wrong");
    assert_eq!(peer.read(11).await, b"other");
    let error = String::from_utf8(peer.read(5).await).expect("text");
    assert!(error.starts_with("error forwarding port 81 to pod "), "{error}");
    // A dead port has ended its own connection only.
    peer.connect(13, "80", "3").await;
    peer.say(15, false, "GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
    assert!(peer.read(15).await.starts_with(b"HTTP/1.1 200 "));
}

#[tokio::test]
async fn streams_in_pairs_over_spdy() {
    let node = Node::start(echo()).await;
    check_pairs(SpdyPeer::upgrade(&node, "/portForward/default/web", "portforward.k8s.io").await).await;
}

#[tokio::test]
async fn streams_in_pairs_tunnelled_in_a_websocket() {
    let node = Node::start(echo()).await;
    check_pairs(SpdyPeer::tunnel(&node, "/portForward/default/web").await).await;
}

async fn read_all(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("ends");
    text
}

#[tokio::test]
async fn kube_forwards_over_channels() {
    let node = Node::start(echo()).await;
    let mut forward = node.pods().portforward("web", &[80, 81]).await.expect("connects");
    let mut stream = forward.take_stream(80).expect("once");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n").await.expect("connected");
    let error = forward.take_error(81).expect("once").await.expect("the port is dead");
    assert!(error.starts_with("error forwarding port 81 to pod "), "{error}");
    assert!(read_all(stream).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn hundred_connections_share_one_upgrade() {
    let node = Node::start(echo()).await;
    let mut peer = SpdyPeer::upgrade(&node, "/portForward/default/web", "portforward.k8s.io").await;
    for connection in 0..100 {
        peer.connect(4 * connection + 1, "7", &connection.to_string()).await;
        peer.say(4 * connection + 3, true, "hello").await;
    }
    for connection in (0..100).rev() {
        assert_eq!(peer.read(4 * connection + 3).await, b"hello", "connection {connection}");
    }
}
