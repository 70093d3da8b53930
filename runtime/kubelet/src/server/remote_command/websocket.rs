//! A client that speaks a channel protocol over a WebSocket.

use super::{Client, Connecting, Error, FromClient, ToClient, Wanted, handshake, parse_size, status::Status};
use crate::server::{
    channels::{Input, Protocol, Version, goodbye},
    websocket::Socket,
};
use async_trait::async_trait;
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream, once},
};
use std::io;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use wk_cri::Output;
use wk_platform::http::{Request, Response};

const PROTOCOLS: &[&str] = &[
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "",
];

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;

/// Accepts the handshake.
///
/// # Errors
/// As [`handshake::handshake`].
pub fn upgrade(wanted: Wanted, mut request: Request) -> Result<(Response, Connecting), Error> {
    let handshake::Handshake { response, protocol, upgrade } = handshake::handshake(&mut request, PROTOCOLS)?;
    let protocol = Protocol::named(protocol).expect("one of PROTOCOLS");
    let connecting = Box::pin(async move { connect(handshake::open(upgrade).await?, protocol, wanted).await });
    Ok((response, connecting))
}

async fn connect(socket: Socket, protocol: Protocol, wanted: Wanted) -> io::Result<Client> {
    let (sink, stream) = socket.split();
    let mut output = ToSocket { sink, protocol };
    // Upstream says with an empty message that the connection is there.
    let first = if wanted.stdout {
        STDOUT
    } else if wanted.stderr {
        STDERR
    } else {
        ERROR
    };
    output.send(first, &[]).await?;
    Ok(Client {
        input: Box::pin(input(stream, protocol)),
        output: Box::new(output),
        gone: Box::pin(std::future::pending()),
    })
}

fn input(stream: SplitStream<Socket>, protocol: Protocol) -> impl futures::Stream<Item = FromClient> + Send {
    let said = stream.filter_map(move |message| std::future::ready(understand(protocol, message)));
    said.chain(once(std::future::ready(FromClient::Gone)))
}

fn understand(protocol: Protocol, message: Result<Message, SocketError>) -> Option<FromClient> {
    let Ok(message) = message else { return Some(FromClient::Gone) };
    match protocol.decode(message) {
        Input::Data(STDIN, bytes) => Some(FromClient::Stdin(bytes)),
        Input::Data(RESIZE, bytes) => parse_size(&bytes).map(FromClient::Resize),
        Input::End(STDIN) => Some(FromClient::StdinEnd),
        Input::Close => Some(FromClient::Gone),
        Input::Data(..) | Input::End(_) | Input::Nothing => None,
    }
}

struct ToSocket {
    sink: SplitSink<Socket, Message>,
    protocol: Protocol,
}

impl ToSocket {
    async fn send(&mut self, channel: u8, bytes: &[u8]) -> io::Result<()> {
        self.sink.send(self.protocol.encode(channel, bytes)).await.map_err(io::Error::other)
    }
}

#[async_trait]
impl ToClient for ToSocket {
    async fn output(&mut self, output: Output) -> io::Result<()> {
        match output {
            Output::Stdout(bytes) => self.send(STDOUT, &bytes).await,
            Output::Stderr(bytes) => self.send(STDERR, &bytes).await,
        }
    }

    async fn finish(&mut self, status: &Status) -> io::Result<()> {
        match (self.protocol.version, &status.failure) {
            (Version::V1, None) => {}
            (Version::V1, Some(message)) => self.send(ERROR, message.as_bytes()).await?,
            _ => self.send(ERROR, status.json.to_string().as_bytes()).await?,
        }
        self.sink.send(goodbye()).await.map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wk_cri::TerminalSize;

    #[test]
    fn channels_have_their_meaning() {
        let protocol = Protocol::named("v5.channel.k8s.io").expect("known");
        let understood = |channel, bytes: &[u8]| understand(protocol, Ok(protocol.encode(channel, bytes)));
        let size = TerminalSize { width: 80, height: 24 };
        assert_eq!(understood(RESIZE, br#"{"Width":80,"Height":24}"#), Some(FromClient::Resize(size)));
        assert_eq!(understood(RESIZE, b"wide"), None);
        assert_eq!(understood(255, &[STDIN]), Some(FromClient::StdinEnd));
        assert_eq!(understood(STDOUT, b"x"), None);
    }
}
