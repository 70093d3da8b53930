//! SPDY/3.1, as far as Kubernetes speaks it: many streams, each with headers,
//! over one connection that was upgraded or is tunnelled in a WebSocket.
//!
//! ```text
//!  bytes ─▶ frame::Decoder ─▶ session ─▶ Stream (AsyncRead + AsyncWrite)
//!  bytes ◀─ frame::Encoder ◀─ session ◀─┘
//! ```
//!
//! Called by `port_forward` and `remote_command`. Follows the SPDY/3.1 draft in
//! what the Go client of Kubernetes (moby/spdystream) uses: it has no flow
//! control, so SETTINGS and WINDOW_UPDATE are accepted and ignored, and a slow
//! stream slows its whole connection. This end never opens a stream.

mod dictionary;
pub mod frame;
mod handshake;
pub mod headers;
mod session;

pub use handshake::{Handshake, handshake};
pub use session::{Incoming, Stream, server};

/// What ends a connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes could not be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The peer broke the protocol.
    #[error("spdy: {0}")]
    Protocol(&'static str),
}
