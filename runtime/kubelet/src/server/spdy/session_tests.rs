//! The session against a peer that speaks frames.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use wk_platform::{TaskGroup, tasks::OnError};

struct Peer {
    input: FramedRead<ReadHalf<DuplexStream>, Decoder>,
    output: FramedWrite<WriteHalf<DuplexStream>, Encoder>,
}

impl Peer {
    async fn send(&mut self, frame: Frame) {
        self.output.send(frame).await.expect("the session reads");
    }

    async fn open(&mut self, stream: StreamId) {
        self.send(Frame::SynStream { stream, fin: false, headers: Headers::from([("port", "80")]) }).await;
    }

    async fn data(&mut self, stream: StreamId, fin: bool, text: &'static str) {
        self.send(Frame::Data { stream, fin, bytes: Bytes::from_static(text.as_bytes()) }).await;
    }

    async fn next(&mut self) -> Option<Frame> {
        self.input.next().await.transpose().expect("valid frames")
    }
}

fn connect() -> (Peer, Incoming, TaskGroup) {
    let (near, far) = tokio::io::duplex(4096);
    let (incoming, work) = server(far);
    let tasks = TaskGroup::new();
    tasks.spawn("session", OnError::Log, work);
    let (input, output) = tokio::io::split(near);
    let (input, output) = (FramedRead::new(input, Decoder::new()), FramedWrite::new(output, Encoder::new()));
    (Peer { input, output }, incoming, tasks)
}

#[tokio::test]
async fn a_stream_carries_bytes_both_ways_and_ends_both_ways() {
    let (mut peer, mut incoming, _tasks) = connect();
    peer.open(1).await;
    let mut stream = incoming.next().await.expect("a stream");
    assert_eq!((stream.id(), stream.headers().get("port")), (1, Some("80")));
    stream.accept().await.expect("connected");
    assert_eq!(peer.next().await, Some(Frame::SynReply { stream: 1, fin: false, headers: Headers::default() }));

    peer.data(1, false, "hel").await;
    peer.data(1, true, "lo").await;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("ends");
    assert_eq!(text, "hello");

    stream.write_all(b"world").await.expect("connected");
    stream.shutdown().await.expect("connected");
    assert_eq!(peer.next().await, Some(Frame::Data { stream: 1, fin: false, bytes: Bytes::from_static(b"world") }));
    assert_eq!(peer.next().await, Some(Frame::Data { stream: 1, fin: true, bytes: Bytes::new() }));
}

#[tokio::test]
async fn pings_are_echoed_and_a_reset_reaches_reader_and_writer() {
    let (mut peer, mut incoming, _tasks) = connect();
    peer.send(Frame::Ping(1)).await;
    assert_eq!(peer.next().await, Some(Frame::Ping(1)));
    peer.open(1).await;
    let mut stream = incoming.next().await.expect("a stream");
    peer.send(Frame::Reset { stream: 1, status: CANCEL }).await;
    let error = stream.read_u8().await.expect_err("it was reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let error = stream.write_all(b"x").await.expect_err("it was reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_dropped_stream_is_reset_and_the_connection_goes_on() {
    let (mut peer, mut incoming, _tasks) = connect();
    peer.open(1).await;
    drop(incoming.next().await.expect("a stream"));
    assert_eq!(peer.next().await, Some(Frame::Reset { stream: 1, status: CANCEL }));
    peer.data(1, false, "late").await;
    peer.open(3).await;
    assert_eq!(incoming.next().await.expect("a stream").id(), 3);
}

#[tokio::test]
async fn the_connection_ends_when_nothing_uses_it_and_loses_nothing() {
    let (mut peer, mut incoming, _tasks) = connect();
    peer.open(1).await;
    let mut stream = incoming.next().await.expect("a stream");
    stream.write_all(b"last words").await.expect("connected");
    stream.shutdown().await.expect("connected");
    drop((stream, incoming));
    assert!(matches!(peer.next().await, Some(Frame::Data { fin: false, .. })));
    assert!(matches!(peer.next().await, Some(Frame::Data { fin: true, .. })));
    assert!(matches!(peer.next().await, Some(Frame::GoAway { .. })));
    assert_eq!(peer.next().await, None);
}

#[tokio::test]
async fn when_the_peer_goes_every_stream_is_reset() {
    let (mut peer, mut incoming, _tasks) = connect();
    peer.open(1).await;
    let mut stream = incoming.next().await.expect("a stream");
    drop(peer);
    let error = stream.read_u8().await.expect_err("nobody is there");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(incoming.next().await.is_none());
}

#[tokio::test]
async fn a_reused_stream_id_ends_the_connection() {
    let (mut peer, mut incoming, _tasks) = connect();
    peer.open(3).await;
    let _stream = incoming.next().await.expect("a stream");
    peer.open(1).await;
    assert!(incoming.next().await.is_none());
}

#[tokio::test]
async fn megabytes_pass_through_a_small_pipe() {
    let (mut peer, mut incoming, tasks) = connect();
    tasks.spawn("echo", OnError::Log, async move {
        let stream = incoming.next().await.expect("a stream");
        let (mut input, mut output) = tokio::io::split(stream);
        tokio::io::copy(&mut input, &mut output).await?;
        output.shutdown().await
    });
    peer.open(1).await;
    let Peer { mut input, mut output } = peer;
    tasks.spawn("sender", OnError::Log, async move {
        for part in 0..256 {
            let bytes = Bytes::from(vec![part as u8; 8 * 1024]);
            output.send(Frame::Data { stream: 1, fin: part == 255, bytes }).await?;
        }
        std::future::pending::<Result<(), Error>>().await
    });
    let mut echoed = Vec::new();
    while let Some(Ok(Frame::Data { fin, bytes, .. })) = input.next().await {
        echoed.extend_from_slice(&bytes);
        if fin {
            break;
        }
    }
    let expected: Vec<u8> = (0..256).flat_map(|part| vec![part as u8; 8 * 1024]).collect();
    assert!(echoed == expected, "{} bytes came back, or others", echoed.len());
}
