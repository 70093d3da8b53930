//! Socket options that a network in memory has no use for.
//!
//! They are kept and given back, because programs read back what they set, and
//! a listener's go to the sockets it accepts.

use wasmtime_wasi::p2::{SocketResult, bindings::sockets::network::ErrorCode};
use wk_network::HALF_BYTES_MAX;

/// Options of a TCP socket. The defaults are Linux's, but for the buffers.
#[derive(Clone, Debug)]
pub(crate) struct TcpOptions {
    pub keep_alive: bool,
    pub keep_alive_idle_nanos: u64,
    pub keep_alive_interval_nanos: u64,
    pub keep_alive_count: u32,
    pub hop_limit: u8,
    pub receive_bytes: u64,
    pub send_bytes: u64,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            keep_alive: false,
            keep_alive_idle_nanos: 7_200_000_000_000,
            keep_alive_interval_nanos: 75_000_000_000,
            keep_alive_count: 9,
            hop_limit: HOP_LIMIT,
            receive_bytes: HALF_BYTES_MAX as u64,
            send_bytes: HALF_BYTES_MAX as u64,
        }
    }
}

/// Linux's default time to live.
pub(crate) const HOP_LIMIT: u8 = 64;

/// The value, unless it is zero.
///
/// # Errors
/// `invalid-argument`, which the WIT asks for on every numeric option.
pub(crate) fn not_zero<T: Default + PartialEq>(value: T) -> SocketResult<T> {
    if value == T::default() { Err(ErrorCode::InvalidArgument.into()) } else { Ok(value) }
}
