//! The WebSocket handshake (RFC 6455) with a choice of subprotocol, and a
//! WebSocket whose binary messages carry one stream of bytes.

use super::{Error, error::text};
use bytes::{Buf, Bytes};
use futures::{Sink, Stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as SocketError, Message,
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};
use wk_platform::http::{Request, Response, empty};

/// Bytes of one message. Clients send at most 32 KiB and a channel number.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The server's end.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Whether the request asks for a WebSocket.
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    lists(headers, header::UPGRADE, "websocket") && lists(headers, header::CONNECTION, "upgrade")
}

/// Whether one of the comma-separated words of a header is `word`.
pub fn lists(headers: &HeaderMap, name: header::HeaderName, word: &str) -> bool {
    words(headers, name).any(|found| found.eq_ignore_ascii_case(word))
}

/// The comma-separated words of all headers of a name.
pub fn words(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

/// The answer to a handshake and what comes after it.
pub struct Handshake {
    /// `101 Switching Protocols`.
    pub response: Response,
    /// The subprotocol; empty when the client named none.
    pub protocol: &'static str,
    /// For [`open`].
    pub upgrade: OnUpgrade,
}

/// Accepts the first subprotocol of the client's that is in `supported`; `""`
/// there stands for naming none.
///
/// # Errors
/// [`Error::BadRequest`] without a key, [`Error::Forbidden`] without a common
/// subprotocol.
pub fn handshake(request: &mut Request, supported: &[&'static str]) -> Result<Handshake, Error> {
    let headers = request.headers();
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let key = key.ok_or_else(|| Error::BadRequest("missing Sec-WebSocket-Key".to_owned()))?;
    let accept = derive_accept_key(key.as_bytes());
    let protocol = choose(headers, supported)?;
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "").map(|_| empty());
    let answer = response.headers_mut();
    answer.clear();
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&accept).expect("base64 is valid in a header"));
    if !protocol.is_empty() {
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    Ok(Handshake { response, protocol, upgrade: hyper::upgrade::on(request) })
}

fn choose(headers: &HeaderMap, supported: &[&'static str]) -> Result<&'static str, Error> {
    let mut offered = words(headers, header::SEC_WEBSOCKET_PROTOCOL).peekable();
    if offered.peek().is_none() && supported.contains(&"") {
        return Ok("");
    }
    let common = offered.find_map(|word| supported.iter().find(|protocol| **protocol == word));
    common.copied().ok_or_else(|| {
        let asked: Vec<&str> = words(headers, header::SEC_WEBSOCKET_PROTOCOL).collect();
        Error::Forbidden(format!("requested protocol(s) are not supported: {asked:?}; supports {supported:?}"))
    })
}

/// The socket, once the response is out.
///
/// # Errors
/// When the client has gone.
pub async fn open(upgrade: OnUpgrade) -> io::Result<Socket> {
    let upgraded = upgrade.await.map_err(io::Error::other)?;
    let limits =
        WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX)).max_frame_size(Some(MESSAGE_BYTES_MAX));
    Ok(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(limits)).await)
}

/// The bytes of a socket's messages; the borders of messages mean nothing.
pub struct Tunnel<S> {
    socket: S,
    unread: Bytes,
}

impl<S> Tunnel<S> {
    /// Over an open socket.
    pub fn new(socket: S) -> Self {
        Self { socket, unread: Bytes::new() }
    }
}

impl<S: Stream<Item = Result<Message, SocketError>> + Unpin> AsyncRead for Tunnel<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, output: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "text in a tunnel of bytes")));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let count = self.unread.len().min(output.remaining());
        output.put_slice(&self.unread[..count]);
        self.unread.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: Sink<Message, Error = SocketError> + Unpin> AsyncWrite for Tunnel<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(io::Error::other)?;
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        Pin::new(&mut self.socket).start_send(message).map_err(io::Error::other)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(io::Error::other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(protocols: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for protocol in protocols {
            headers.append(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        }
        headers
    }

    #[test]
    fn the_clients_first_common_choice_is_taken() {
        let supported = ["", "v4.channel.k8s.io", "v5.channel.k8s.io"];
        let offered = headers(&["v9, v5.channel.k8s.io", "v4.channel.k8s.io"]);
        assert_eq!(choose(&offered, &supported).expect("common"), "v5.channel.k8s.io");
        assert_eq!(choose(&headers(&[]), &supported).expect("none is fine"), "");
        assert!(matches!(choose(&headers(&["v9"]), &supported), Err(Error::Forbidden(_))));
        assert!(choose(&headers(&[]), &["v4.channel.k8s.io"]).is_err());
    }
}
