//! An open TCP connection: two [`Half`]s and what must be freed with them.
//!
//! Made by `switch.rs`, used by hosts as `AsyncRead + AsyncWrite` and by guests
//! through the `try_` and `poll_` methods. It never retries or times out: bytes
//! cannot be lost in memory.

use crate::{
    budget::Budget,
    half::Half,
    handover::{Inlet, Orphan},
    leases::FlowGuard,
};
use bytes::Bytes;
use std::{
    io,
    net::{Shutdown, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::coop,
};

/// Both directions, shared by both ends.
pub(crate) struct Flow {
    from_client: Half,
    from_server: Half,
}

/// Which end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Flow {
    /// A flow whose client charges what it writes to `client`; `None` is the
    /// host. So is the server until [`Pod::admit`](crate::pod::Pod::admit) names one.
    pub fn new(client: Option<Arc<Budget>>) -> Self {
        Self { from_client: Half::charged_to(client), from_server: Half::charged_to(None) }
    }

    /// Whether no server has read or written anything, and both ends are there
    /// to be joined anew.
    pub fn is_untouched(&self) -> bool {
        self.from_client.is_unread() && self.from_server.is_unwritten()
    }

    pub fn outgoing(&self, side: Side) -> &Half {
        match side {
            Side::Client => &self.from_client,
            Side::Server => &self.from_server,
        }
    }

    pub fn incoming(&self, side: Side) -> &Half {
        match side {
            Side::Client => &self.from_server,
            Side::Server => &self.from_client,
        }
    }

    pub fn reset(&self) {
        self.from_client.reset();
        self.from_server.reset();
    }
}

/// One end of a flow: shared by its two halves and its controls, and freed
/// (port, socket count, registration) with the last of them.
struct End {
    flow: Arc<Flow>,
    side: Side,
    local: SocketAddr,
    peer: SocketAddr,
    /// `None` for the host's end.
    guard: Option<FlowGuard>,
    /// Of a server's end that was reached through a virtual address.
    inlet: Option<Inlet>,
}

impl End {
    /// Whether its server is going and has not touched it: then dropping it
    /// hands the flow over to another server instead of closing it.
    fn is_deserted(&self) -> bool {
        self.inlet.as_ref().is_some_and(Inlet::is_closed) && self.flow.is_untouched()
    }

    fn incoming(&self) -> &Half {
        self.flow.incoming(self.side)
    }

    fn outgoing(&self) -> &Half {
        self.flow.outgoing(self.side)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let deserted = self.is_deserted();
        let (Some(inlet), Some(guard)) = (self.inlet.take(), self.guard.take()) else { return };
        if deserted {
            let network = guard.network();
            drop(guard); // so that closing the pod no longer resets the flow
            network.hand_over(Orphan::new(self.flow.clone(), inlet, self.peer));
        } else {
            // A half that was dropped while the end was deserted is still open.
            self.incoming().stop_reading();
            self.outgoing().finish();
        }
    }
}

/// One end of an open TCP connection. Dropping it closes both directions.
pub struct Connection {
    reader: ReadHalf,
    writer: WriteHalf,
}

/// The receiving direction. Dropping it makes the peer's writes fail with
/// `BrokenPipe`.
pub struct ReadHalf {
    end: Arc<End>,
}

/// The sending direction. Dropping it ends the stream for the peer (FIN).
pub struct WriteHalf {
    end: Arc<End>,
}

/// Closes directions of a connection whose halves live elsewhere, and knows its
/// addresses. Holding it keeps the local port in use, not the streams open.
pub struct Control {
    end: Arc<End>,
}

impl Connection {
    pub(crate) fn new(
        flow: Arc<Flow>,
        side: Side,
        local: SocketAddr,
        peer: SocketAddr,
        guard: Option<FlowGuard>,
    ) -> Self {
        Self::of(End { flow, side, local, peer, guard, inlet: None })
    }

    /// The server's end of `flow`, which came in through `inlet`.
    pub(crate) fn of_server(
        flow: Arc<Flow>,
        local: SocketAddr,
        peer: SocketAddr,
        guard: FlowGuard,
        inlet: Option<Inlet>,
    ) -> Self {
        Self::of(End { flow, side: Side::Server, local, peer, guard: Some(guard), inlet })
    }

    fn of(end: End) -> Self {
        let end = Arc::new(end);
        Self { reader: ReadHalf { end: end.clone() }, writer: WriteHalf { end } }
    }

    /// Whether another server could have its flow: dropping it hands that over
    /// once its listener is closed.
    pub(crate) fn is_movable(&self) -> bool {
        self.reader.end.inlet.is_some() && self.reader.end.flow.is_untouched()
    }

    /// The address of this end.
    pub fn local_addr(&self) -> SocketAddr {
        self.reader.end.local
    }

    /// The address that this end talks to: a virtual one when it dialed one.
    pub fn peer_addr(&self) -> SocketAddr {
        self.reader.end.peer
    }

    /// The two directions, for owners that live apart.
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        (self.reader, self.writer)
    }

    /// A handle that outlives the halves.
    pub fn control(&self) -> Control {
        Control { end: self.reader.end.clone() }
    }

    /// Tears the connection down at once; both ends get `ConnectionReset`.
    pub fn reset(self) {
        self.reader.end.flow.reset();
    }
}

impl Control {
    /// The address of this end.
    pub fn local_addr(&self) -> SocketAddr {
        self.end.local
    }

    /// The address that this end talks to.
    pub fn peer_addr(&self) -> SocketAddr {
        self.end.peer
    }

    /// Closes one direction or both; again is not an error.
    pub fn shutdown(&self, how: Shutdown) {
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            self.end.incoming().stop_reading();
        }
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            self.end.outgoing().finish();
        }
    }
}

impl ReadHalf {
    /// Up to `bytes_max` queued bytes without a copy; none at the end of the
    /// stream.
    ///
    /// # Errors
    /// `WouldBlock` (then [`ReadHalf::poll_readable`]), `ConnectionReset`.
    pub fn try_read(&mut self, bytes_max: usize) -> io::Result<Bytes> {
        self.end.incoming().try_read(bytes_max)
    }

    /// Ready when [`ReadHalf::try_read`] would not give `WouldBlock`. Cancel
    /// safety: only the last waker is kept.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.end.incoming().poll_readable(cx)
    }
}

impl WriteHalf {
    /// How many bytes a write would take now; 0 means wait.
    ///
    /// # Errors
    /// `BrokenPipe` when either end closed this direction, `ConnectionReset`.
    pub fn writable(&mut self) -> io::Result<usize> {
        self.end.outgoing().writable()
    }

    /// Ready when [`WriteHalf::writable`] would not be 0. Cancel safety: only
    /// the last waker is kept.
    pub fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.end.outgoing().poll_writable(cx)
    }

    /// Queues as much of `data` as fits and cuts it off the front.
    ///
    /// # Errors
    /// `WouldBlock` (then [`WriteHalf::poll_writable`]), and those of
    /// [`WriteHalf::writable`].
    pub fn try_write(&mut self, data: &mut Bytes) -> io::Result<usize> {
        self.end.outgoing().try_write_bytes(data)
    }

    /// Ends the stream for the peer once it has read what is queued.
    pub fn finish(&mut self) {
        self.end.outgoing().finish();
    }
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        if !self.end.is_deserted() {
            self.end.incoming().stop_reading();
        }
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        if !self.end.is_deserted() {
            self.end.outgoing().finish();
        }
    }
}

/// Repeats `attempt` until it gives something else than `WouldBlock`, waiting
/// through `wait` between. It takes from tokio's budget, so that two ends in
/// memory cannot keep a thread to themselves.
fn poll_io<T>(
    cx: &mut Context<'_>,
    mut attempt: impl FnMut() -> io::Result<T>,
    wait: impl Fn(&mut Context<'_>) -> Poll<()>,
) -> Poll<io::Result<T>> {
    let budget = ready!(coop::poll_proceed(cx));
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(wait(cx)),
            result => {
                budget.made_progress();
                return Poll::Ready(result);
            }
        }
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let half = self.end.incoming();
        poll_io(cx, || half.try_read_into(buffer), |cx| half.poll_readable(cx))
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let half = self.end.outgoing();
        poll_io(cx, || half.try_write(data), |cx| half.poll_writable(cx))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}
