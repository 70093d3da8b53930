//! Port-forward over WebSocket channels: kube-rs and the Python client.
//!
//! Port number `n` of the query has channel `2n` for its bytes and `2n + 1` for
//! what is wrong; the first message on each carries the port, low byte first.
//! There is no half-close in v4: a port ends when the pod closes its connection,
//! and the WebSocket when all ports have ended or the client closes it.

use super::{
    Error, Query, Target,
    protocol::{Input, Protocol, goodbye},
    websocket::Socket,
};
use bytes::Bytes;
use futures::{
    SinkExt, StreamExt,
    future::join_all,
    stream::{SplitSink, SplitStream},
};
use std::io;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::Message;

/// Ports of one WebSocket: the channel's number is one byte, and base64 has a
/// digit for it.
const PORTS_MAX: usize = 5;

/// Messages that wait for a port, and for the socket.
const MESSAGES_MAX: usize = 16;

/// Bytes read from a port at a time.
const READ_BYTES: usize = 16 * 1024;

/// The ports of the query: `port=80&port=81` or `port=80,81`.
///
/// # Errors
/// [`Error::BadRequest`] without ports, with too many, or with one that is none.
pub fn parse_ports(query: &Query) -> Result<Vec<u16>, Error> {
    let texts: Vec<&str> = query.all("port").flat_map(|text| text.split(',')).collect();
    if texts.is_empty() {
        return Err(Error::BadRequest("query parameter \"port\" is required".to_owned()));
    }
    if texts.len() > PORTS_MAX {
        return Err(Error::BadRequest(format!("at most {PORTS_MAX} ports can be forwarded over one WebSocket")));
    }
    let parse = |text: &&str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let ports = texts.iter().map(|text| parse(text).ok_or_else(|| not_a_port(text)));
    ports.collect()
}

fn not_a_port(text: &str) -> Error {
    Error::BadRequest(format!("unable to parse \"{text}\" as a port"))
}

/// Bytes for a channel.
type Outgoing = (u8, Bytes);

/// Serves `ports` over `socket` until all have ended or the client closes it.
pub async fn serve(target: Target, socket: Socket, protocol: Protocol, ports: Vec<u16>) -> io::Result<()> {
    let (sink, stream) = socket.split();
    let (output, outgoing) = mpsc::channel(MESSAGES_MAX);
    let (inputs, connections): (Vec<_>, Vec<_>) = ports
        .into_iter()
        .enumerate()
        .map(|(index, port)| {
            let (input, incoming) = mpsc::channel(MESSAGES_MAX);
            let connection = Connection { port, channel: 2 * index as u8, incoming, output: output.clone() };
            (input, connection.run(target.clone()))
        })
        .unzip();
    drop(output);
    tokio::select! {
        // Ends when the last connection has dropped its sender.
        ((), written) = async { tokio::join!(async { join_all(connections).await; }, write(sink, protocol, outgoing)) } => written,
        () = read(stream, protocol, inputs) => Ok(()),
    }
}

async fn write(
    mut sink: SplitSink<Socket, Message>,
    protocol: Protocol,
    mut outgoing: mpsc::Receiver<Outgoing>,
) -> io::Result<()> {
    while let Some((channel, bytes)) = outgoing.recv().await {
        sink.send(protocol.encode(channel, &bytes)).await.map_err(io::Error::other)?;
    }
    sink.send(goodbye()).await.map_err(io::Error::other)
}

/// Hands out what comes; returns when the client has gone.
async fn read(mut stream: SplitStream<Socket>, protocol: Protocol, inputs: Vec<mpsc::Sender<Bytes>>) {
    while let Some(Ok(message)) = stream.next().await {
        match protocol.decode(message) {
            Input::Data(channel, bytes) if channel % 2 == 0 => {
                if let Some(input) = inputs.get(usize::from(channel / 2)) {
                    // A port that has ended takes no more.
                    let _ = input.send(bytes).await;
                }
            }
            Input::Close => return,
            Input::Data(..) | Input::End(_) | Input::Nothing => {}
        }
    }
}

/// One port.
struct Connection {
    port: u16,
    channel: u8,
    incoming: mpsc::Receiver<Bytes>,
    output: mpsc::Sender<Outgoing>,
}

impl Connection {
    /// Ends when the pod closes the connection, or the socket cannot be written.
    async fn run(self, target: Target) {
        let Self { port, channel, incoming, output } = self;
        let first = Bytes::copy_from_slice(&port.to_le_bytes());
        for channel in [channel, channel + 1] {
            if output.send((channel, first.clone())).await.is_err() {
                return;
            }
        }
        match target.connect(port).await {
            Ok(pod) => {
                let (from_pod, to_pod) = tokio::io::split(pod);
                tokio::select! {
                    () = copy_out(from_pod, channel, &output) => {}
                    () = copy_in(incoming, to_pod) => {}
                }
            }
            Err(message) => {
                // Fails only when the socket has gone.
                let _ = output.send((channel + 1, message.into())).await;
            }
        }
    }
}

async fn copy_out(mut pod: impl tokio::io::AsyncRead + Unpin, channel: u8, output: &mpsc::Sender<Outgoing>) {
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(count @ 1..) = pod.read(&mut buffer).await {
        if output.send((channel, Bytes::copy_from_slice(&buffer[..count]))).await.is_err() {
            return;
        }
    }
}

/// Never ends by itself: a pod that reads no more may still write.
async fn copy_in(mut incoming: mpsc::Receiver<Bytes>, mut pod: impl tokio::io::AsyncWrite + Unpin) {
    while let Some(bytes) = incoming.recv().await {
        if pod.write_all(&bytes).await.is_err() || pod.flush().await.is_err() {
            break;
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(query: &str) -> Result<Vec<u16>, String> {
        parse_ports(&Query::parse(query)).map_err(|error| error.to_string())
    }

    #[test]
    fn ports_come_one_by_one_or_in_a_list() {
        assert_eq!(ports("port=80&port=81"), Ok(vec![80, 81]));
        assert_eq!(ports("port=80,81"), Ok(vec![80, 81]));
    }

    #[test]
    fn wrong_ports_are_named() {
        assert_eq!(ports(""), Err("query parameter \"port\" is required".to_owned()));
        assert_eq!(ports("port=http"), Err("unable to parse \"http\" as a port".to_owned()));
        assert!(ports("port=0").is_err() && ports("port=1,2,3,4,5,6").is_err());
    }
}
