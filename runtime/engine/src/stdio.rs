//! The standard streams of a guest, as WASI wants them.
//!
//! [`Stdin`] gives what a client sends; [`Stdout`] takes what the guest writes
//! into a [`Sink`]: the container's log (and whoever is attached), or the client
//! of an exec. A full sink makes the guest wait, never drops its output.

use crate::logs::ContainerOutput;
use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
};
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdinStream, StdoutStream},
    p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult},
};
use wk_cri::Output;

/// Bytes a guest may write at a time.
pub(crate) const WRITE_BYTES_MAX: usize = 64 * 1024;

/// Pieces of output on the way to a client; the guest waits beyond that.
pub(crate) const OUTPUT_PIECES_MAX: usize = 32;

/// Pieces kept free: a guest may ask for room on several streams before it
/// writes to the first.
const OUTPUT_PIECES_KEPT: usize = 4;

/// Whether a stream claims to be a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terminal {
    Yes,
    No,
}

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

/// The guest's standard input. Clones are the same stream.
#[derive(Clone)]
pub(crate) struct Stdin {
    pipe: Arc<Mutex<Pipe>>,
    terminal: Terminal,
}

struct Pipe {
    incoming: mpsc::Receiver<Bytes>,
    pending: Bytes,
    ended: bool,
}

impl Stdin {
    /// Gives what arrives; the end is when every sender is gone.
    pub fn new(incoming: mpsc::Receiver<Bytes>, terminal: Terminal) -> Self {
        let pipe = Pipe { incoming, pending: Bytes::new(), ended: false };
        Self { pipe: Arc::new(Mutex::new(pipe)), terminal }
    }
}

impl Pipe {
    /// Ready when there are bytes, or never will be.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.pending.is_empty() && !self.ended {
            match ready!(self.incoming.poll_recv(cx)) {
                Some(bytes) => self.pending = bytes,
                None => self.ended = true,
            }
        }
        Poll::Ready(())
    }

    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if self.pending.is_empty() {
            match self.incoming.try_recv() {
                Ok(bytes) => self.pending = bytes,
                Err(mpsc::error::TryRecvError::Empty) => {}
                Err(mpsc::error::TryRecvError::Disconnected) => return Err(StreamError::Closed),
            }
        }
        Ok(self.pending.split_to(size.min(self.pending.len())))
    }
}

#[async_trait]
impl Pollable for Stdin {
    async fn ready(&mut self) {
        poll_fn(|cx| self.pipe.lock().poll_ready(cx)).await;
    }
}

impl InputStream for Stdin {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.pipe.lock().read(size)
    }
}

impl AsyncRead for Stdin {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut pipe = self.pipe.lock();
        ready!(pipe.poll_ready(cx));
        let length = buffer.remaining().min(pipe.pending.len());
        buffer.put_slice(&pipe.pending[..length]);
        pipe.pending.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl IsTerminal for Stdin {
    fn is_terminal(&self) -> bool {
        self.terminal == Terminal::Yes
    }
}

impl StdinStream for Stdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
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
    /// Bytes that can be written now; an error when nobody will read them.
    fn room(&self) -> StreamResult<usize> {
        match self {
            Self::Container(output) => Ok(output.room().min(WRITE_BYTES_MAX)),
            Self::Client(client) if client.is_closed() => Err(StreamError::Closed),
            Self::Client(client) if client.capacity() < OUTPUT_PIECES_KEPT => Ok(0),
            Self::Client(_) => Ok(WRITE_BYTES_MAX),
        }
    }

    async fn wait_for_room(self) {
        match self {
            Self::Container(output) => poll_fn(|cx| output.poll_room(cx)).await,
            // An error means that nobody reads; `room` says so.
            Self::Client(client) => drop(client.reserve_many(OUTPUT_PIECES_KEPT).await),
        }
    }

    fn write(&self, source: Source, bytes: Bytes) -> StreamResult<()> {
        match self {
            Self::Container(output) => output.write(source, &bytes),
            Self::Client(client) => match client.try_send(source.output(bytes)) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(StreamError::Closed),
                Err(mpsc::error::TrySendError::Full(_)) => return Err(StreamError::trap("wrote without permission")),
            },
        }
        Ok(())
    }
}

/// The guest's standard output or error. Clones are the same stream.
pub(crate) struct Stdout {
    sink: Sink,
    source: Source,
    terminal: Terminal,
    /// Only for [`AsyncWrite`], which cannot await.
    waiting: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
}

impl Stdout {
    /// Writes to `sink` as `source`.
    pub fn new(sink: Sink, source: Source, terminal: Terminal) -> Self {
        Self { sink, source, terminal, waiting: Mutex::new(None) }
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting.lock();
        let future = waiting.get_or_insert_with(|| Box::pin(self.sink.clone().wait_for_room()));
        ready!(future.as_mut().poll(cx));
        *waiting = None;
        Poll::Ready(())
    }
}

impl Clone for Stdout {
    fn clone(&self) -> Self {
        Self::new(self.sink.clone(), self.source, self.terminal)
    }
}

#[async_trait]
impl Pollable for Stdout {
    async fn ready(&mut self) {
        self.sink.clone().wait_for_room().await;
    }
}

impl OutputStream for Stdout {
    fn check_write(&mut self) -> StreamResult<usize> {
        self.sink.room()
    }

    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.sink.write(self.source, bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
}

impl AsyncWrite for Stdout {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(cx));
        let written = self.sink.room().map(|room| room.min(bytes.len()));
        let result = written
            .and_then(|length| self.sink.write(self.source, Bytes::copy_from_slice(&bytes[..length])).map(|()| length));
        Poll::Ready(result.map_err(|_| io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl IsTerminal for Stdout {
    fn is_terminal(&self) -> bool {
        self.terminal == Terminal::Yes
    }
}

impl StdoutStream for Stdout {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stdin_gives_what_was_sent_in_any_portions_and_then_ends() {
        let (client, incoming) = mpsc::channel(4);
        let mut stdin = Stdin::new(incoming, Terminal::No);
        assert_eq!(InputStream::read(&mut stdin, 8).unwrap(), Bytes::new());
        client.send(Bytes::from_static(b"hello")).await.unwrap();
        drop(client);
        stdin.ready().await;
        assert_eq!(InputStream::read(&mut stdin, 2).unwrap(), "he");
        assert_eq!(InputStream::read(&mut stdin, 8).unwrap(), "llo");
        stdin.ready().await;
        assert!(matches!(InputStream::read(&mut stdin, 8), Err(StreamError::Closed)));
    }

    #[tokio::test]
    async fn a_slow_client_makes_the_guest_wait_and_loses_nothing() {
        let (client, mut output) = mpsc::channel(OUTPUT_PIECES_MAX);
        let mut stdout = Stdout::new(Sink::Client(client), Source::Stdout, Terminal::No);
        let mut written = 0;
        while stdout.check_write().unwrap() > 0 {
            OutputStream::write(&mut stdout, Bytes::from_static(b"x")).unwrap();
            written += 1;
        }
        assert!(written < OUTPUT_PIECES_MAX);
        let (received, ()) = tokio::join!(output.recv(), stdout.ready());
        assert_eq!(received, Some(Output::Stdout(Bytes::from_static(b"x"))));
        assert!(stdout.check_write().unwrap() > 0);
        drop(output);
        assert!(matches!(stdout.check_write(), Err(StreamError::Closed)));
    }
}
