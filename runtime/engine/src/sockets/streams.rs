//! The two directions of a connection as `wasi:io` streams.
//!
//! Made by `tcp.rs`. The only back-pressure a guest sees is `check-write`: it
//! permits what the connection has room for, and none means wait.

use bytes::Bytes;
use std::{future::poll_fn, io};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};
use wk_network::{ReadHalf, WriteHalf};

/// Bytes per call: bounds what one call copies into or out of a guest.
const CALL_BYTES_MAX: usize = 64 * 1024;

/// What a guest reads.
pub(crate) struct Incoming(pub ReadHalf);

/// What a guest writes.
pub(crate) struct Outgoing(pub WriteHalf);

#[async_trait::async_trait]
impl Pollable for Incoming {
    async fn ready(&mut self) {
        poll_fn(|cx| self.0.poll_readable(cx)).await;
    }
}

#[async_trait::async_trait]
impl InputStream for Incoming {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        match self.0.try_read(size.min(CALL_BYTES_MAX)) {
            Ok(bytes) if bytes.is_empty() && size > 0 => Err(StreamError::Closed),
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Bytes::new()),
            Err(error) => Err(StreamError::LastOperationFailed(error.into())),
        }
    }
}

#[async_trait::async_trait]
impl Pollable for Outgoing {
    async fn ready(&mut self) {
        poll_fn(|cx| self.0.poll_writable(cx)).await;
    }
}

#[async_trait::async_trait]
impl OutputStream for Outgoing {
    fn write(&mut self, mut bytes: Bytes) -> StreamResult<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        match self.0.try_write(&mut bytes) {
            Ok(_) if bytes.is_empty() => Ok(()),
            Ok(_) => Err(StreamError::trap("a write larger than check-write permitted")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(StreamError::trap("a write that check-write did not permit"))
            }
            Err(error) => Err(ended(error)),
        }
    }

    /// Nothing is held back: written bytes are the peer's at once.
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.0.writable().map(|free| free.min(CALL_BYTES_MAX)).map_err(ended)
    }
}

/// A closed direction is `closed` (EPIPE in the guest), anything else a failure.
fn ended(error: io::Error) -> StreamError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => StreamError::Closed,
        _ => StreamError::LastOperationFailed(error.into()),
    }
}
