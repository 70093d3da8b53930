//! Where the output of a guest ends: the container's log (and whoever is
//! attached), or the client of an exec. A full sink makes the guest wait, never
//! drops its output.

use crate::{files::CALL_BYTES_MAX, logs::ContainerOutput};
use bytes::Bytes;
use std::{io, sync::Arc};
use tokio::sync::mpsc;
use wk_cri::Output;

/// Pieces of output on the way to a client; the guest waits beyond that.
pub(crate) const OUTPUT_PIECES_MAX: usize = 32;

/// Pieces kept free: a guest may ask for room on several streams before it
/// writes to the first.
pub(crate) const OUTPUT_PIECES_KEPT: usize = 4;

/// Which of the two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

impl Source {
    /// These bytes as a piece of output of this stream.
    pub fn output(self, bytes: Bytes) -> Output {
        match self {
            Self::Stdout => Output::Stdout(bytes),
            Self::Stderr => Output::Stderr(bytes),
        }
    }
}

/// Where output goes.
#[derive(Clone)]
pub(crate) enum Sink {
    /// To the container's log, and to who is attached.
    Container(Arc<ContainerOutput>),
    /// To the client of an exec.
    Client(mpsc::Sender<Output>),
}

impl Sink {
    /// Bytes that can be written now.
    ///
    /// # Errors
    /// `BrokenPipe` when nobody will read them.
    pub fn room(&self) -> io::Result<usize> {
        match self {
            Self::Container(output) => Ok(output.room().min(CALL_BYTES_MAX)),
            Self::Client(client) if client.is_closed() => Err(io::ErrorKind::BrokenPipe.into()),
            Self::Client(client) if client.capacity() < OUTPUT_PIECES_KEPT => Ok(0),
            Self::Client(_) => Ok(CALL_BYTES_MAX),
        }
    }

    /// Waits until there is room, or nobody reads. Cancel safe.
    pub async fn wait_for_room(self) {
        match self {
            Self::Container(output) => output.wait_for_room().await,
            // An error means that nobody reads; `room` says so.
            Self::Client(client) => drop(client.reserve_many(OUTPUT_PIECES_KEPT).await),
        }
    }

    /// Writes these bytes as one piece.
    ///
    /// # Errors
    /// `BrokenPipe` when nobody reads; `WouldBlock` when others have used the
    /// room that there was.
    pub fn write(&self, source: Source, bytes: Bytes) -> io::Result<()> {
        match self {
            Self::Container(output) => output.write(source, &bytes),
            Self::Client(client) => client.try_send(source.output(bytes)).map_err(|error| match error {
                mpsc::error::TrySendError::Closed(_) => io::ErrorKind::BrokenPipe,
                mpsc::error::TrySendError::Full(_) => io::ErrorKind::WouldBlock,
            })?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_client_makes_the_guest_wait_and_loses_nothing() {
        let (client, mut output) = mpsc::channel(OUTPUT_PIECES_MAX);
        let sink = Sink::Client(client);
        let mut written = 0;
        while sink.room().unwrap() > 0 {
            sink.write(Source::Stdout, Bytes::from_static(b"x")).unwrap();
            written += 1;
        }
        assert!(written < OUTPUT_PIECES_MAX);
        let (received, ()) = tokio::join!(output.recv(), sink.clone().wait_for_room());
        assert_eq!(received, Some(Output::Stdout(Bytes::from_static(b"x"))));
        assert!(sink.room().unwrap() > 0);
        drop(output);
        assert_eq!(sink.room().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
