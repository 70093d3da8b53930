//! HTTP/1.1, as much as the servers need: one request and one response per
//! connection, bodies of requests ignored.

use crate::{Conversation, Next, serve};
use std::{fmt::Write as _, io, net::SocketAddr};

/// Bytes of a request's head; more is refused.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// The head of a request, and who sent it.
#[derive(Debug)]
pub struct Request {
    /// Such as `GET`.
    pub method: String,
    /// Such as `/index.html`, without the query.
    pub path: String,
    /// The head as it came, without the empty line.
    pub head: String,
    /// Who asks.
    pub peer: SocketAddr,
    /// The address that was asked.
    pub own: SocketAddr,
}

/// What to answer.
#[derive(Debug)]
pub struct Response {
    /// Such as `200 OK`.
    pub status: &'static str,
    /// Such as `text/html; charset=utf-8`.
    pub content_type: &'static str,
    /// The bytes of the page.
    pub body: String,
}

impl Response {
    /// A page in HTML.
    pub fn html(body: String) -> Self {
        Self { status: "200 OK", content_type: "text/html; charset=utf-8", body }
    }

    /// Plain text, with a status.
    pub fn text(status: &'static str, body: String) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body }
    }
}

/// Answers every request on `port` with `answer`, until the listener is closed.
///
/// # Errors
/// When the port cannot be listened on.
pub fn serve_http(port: u16, answer: impl Fn(&Request) -> Response) -> io::Result<()> {
    let answer = &answer;
    serve(port, |peer, own| Exchange { head: Vec::new(), peer, own, answer })
}

struct Exchange<'a, A> {
    head: Vec<u8>,
    peer: SocketAddr,
    own: SocketAddr,
    answer: &'a A,
}

impl<A: Fn(&Request) -> Response> Conversation for Exchange<'_, A> {
    fn is_idle(&self) -> bool {
        self.head.is_empty()
    }

    fn hear(&mut self, received: &[u8], reply: &mut Vec<u8>) -> Next {
        self.head.extend_from_slice(received);
        let response = match self.head.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(end) => self.respond(end),
            None if self.head.len() > HEAD_BYTES_MAX => {
                encode(&Response::text("431 Request Header Fields Too Large", "too long\n".to_owned()), Body::Send)
            }
            None => return Next::Listen,
        };
        reply.extend_from_slice(response.as_bytes());
        Next::Close
    }
}

impl<A: Fn(&Request) -> Response> Exchange<'_, A> {
    fn respond(&self, end: usize) -> String {
        let head = String::from_utf8_lossy(&self.head[..end]).into_owned();
        let Some(request) = parse(head, self.peer, self.own) else {
            return encode(&Response::text("400 Bad Request", "not a request\n".to_owned()), Body::Send);
        };
        let body = if request.method == "HEAD" { Body::Omit } else { Body::Send };
        encode(&(self.answer)(&request), body)
    }
}

fn parse(head: String, peer: SocketAddr, own: SocketAddr) -> Option<Request> {
    let line = head.lines().next()?;
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if !version.starts_with("HTTP/1.") || words.next().is_some() {
        return None;
    }
    let path = target.split('?').next().unwrap_or(target).to_owned();
    Some(Request { method: method.to_owned(), path, head, peer, own })
}

/// A response to HEAD has the length of the body but not the body.
enum Body {
    Send,
    Omit,
}

fn encode(response: &Response, body: Body) -> String {
    let Response { status, content_type, body: text } = response;
    let mut message = String::with_capacity(text.len() + 160);
    let _ = write!(message, "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n");
    let _ = write!(message, "Content-Length: {}\r\nConnection: close\r\n\r\n", text.len());
    if let Body::Send = body {
        message.push_str(text);
    }
    message
}
