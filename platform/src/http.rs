//! The one shape of an HTTP service inside `wk`.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use std::convert::Infallible;

/// Why a body ended early. A concrete type: a boxed `dyn Error` in the type of a
/// service keeps the compiler from proving futures over it `Send`.
pub type BodyError = std::io::Error;

/// A request or response body.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A request as services see it.
pub type Request = http::Request<Body>;

/// A response as services give it.
pub type Response = http::Response<Body>;

/// A router: called concurrently, cloned per connection, never fails (an error
/// is a response). A request may carry a [`crate::UserInfo`] or
/// [`crate::serve::PeerCertificate`] and, over a real connection, hyper's
/// `OnUpgrade` in its extensions.
pub type HttpService = tower::util::BoxCloneSyncService<Request, Response, Infallible>;

/// A body of no bytes.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body of these bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Whether the request asks to change the protocol (RFC 9110, section 7.8).
pub fn asks_for_upgrade<B>(request: &http::Request<B>) -> bool {
    request.headers().contains_key(http::header::UPGRADE)
}
