//! The upgrade of an HTTP connection to SPDY/3.1 (upstream: `util/httpstream`).

use crate::server::{
    Error,
    websocket::{lists, words},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use wk_platform::http::{Request, Response, empty};

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const SPDY: &str = "SPDY/3.1";

/// An accepted upgrade.
pub struct Handshake {
    /// `101 Switching Protocols`.
    pub response: Response,
    /// What the streams carry.
    pub protocol: &'static str,
    /// Resolves to the connection once the response is out.
    pub upgrade: OnUpgrade,
}

/// Accepts the first of `supported` that the client offers; the last of them
/// when it offers none, as clients before the negotiation do.
///
/// # Errors
/// [`Error::BadRequest`] when the request asks for no upgrade to SPDY,
/// [`Error::Forbidden`] without a common protocol.
pub fn handshake(request: &mut Request, supported: &[&'static str]) -> Result<Handshake, Error> {
    let headers = request.headers();
    if !lists(headers, header::CONNECTION, "upgrade") || !lists(headers, header::UPGRADE, SPDY) {
        return Err(Error::BadRequest("Upgrade request required".to_owned()));
    }
    let protocol = choose(headers, supported)?;
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static(SPDY));
    answer.insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
    Ok(Handshake { response, protocol, upgrade: hyper::upgrade::on(request) })
}

fn choose(headers: &HeaderMap, supported: &[&'static str]) -> Result<&'static str, Error> {
    let offered: Vec<&str> = words(headers, STREAM_PROTOCOL).collect();
    let common = match offered.is_empty() {
        true => supported.last(),
        false => supported.iter().find(|protocol| offered.contains(protocol)),
    };
    common.copied().ok_or_else(|| {
        Error::Forbidden(format!(
            "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts {supported:?}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_first_common_choice_is_taken() {
        let supported = ["v4.channel.k8s.io", "v3.channel.k8s.io", "channel.k8s.io"];
        let mut headers = HeaderMap::new();
        assert_eq!(choose(&headers, &supported).expect("the oldest"), "channel.k8s.io");
        headers.insert(STREAM_PROTOCOL, HeaderValue::from_static("channel.k8s.io, v3.channel.k8s.io"));
        assert_eq!(choose(&headers, &supported).expect("common"), "v3.channel.k8s.io");
        assert!(matches!(choose(&headers, &["portforward.k8s.io"]), Err(Error::Forbidden(_))));
    }
}
