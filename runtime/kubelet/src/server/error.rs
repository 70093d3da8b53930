//! Why a request was refused, and its answer: plain text, as upstream's kubelet
//! gives it. The API server makes a `Status` of it.

use http::{HeaderValue, StatusCode, header};
use wk_platform::http::{Response, full};

/// Why a request was refused. The text goes to the user.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such path, pod or container.
    #[error("{0}")]
    NotFound(String),
    /// The request cannot be served as it is.
    #[error("{0}")]
    BadRequest(String),
    /// No protocol in common.
    #[error("{0}")]
    Forbidden(String),
    /// The path is known, the method is not.
    #[error("405: Method Not Allowed")]
    MethodNotAllowed,
    /// The runtime failed.
    #[error("{0}")]
    Runtime(#[from] wk_cri::Error),
}

impl Error {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) | Self::Runtime(wk_cri::Error::NotFound(_)) => StatusCode::NOT_FOUND,
            Self::BadRequest(_) | Self::Runtime(wk_cri::Error::InvalidArgument(_)) => StatusCode::BAD_REQUEST,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Runtime(wk_cri::Error::ResourceExhausted(_)) => StatusCode::TOO_MANY_REQUESTS,
            Self::Runtime(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn into_response(self) -> Response {
        text(self.status(), &self.to_string())
    }
}

/// A plain text answer.
pub(super) fn text(status: StatusCode, message: &str) -> Response {
    let mut response = Response::new(full(message.to_owned()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
