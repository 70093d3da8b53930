//! The streams of one connection.
//!
//! [`server`] gives the streams that the peer opens and a future that moves the
//! bytes; whoever calls it runs that future. Bounds: streams of a connection,
//! chunks waiting in each stream, frames waiting to be written. When one is
//! full, its producer waits, up to the peer's socket.
//!
//! The connection ends when the peer ends it, or when [`Incoming`] and all
//! streams are dropped and everything written is out.

use super::{
    Error,
    frame::{CANCEL, Decoder, Encoder, Frame, REFUSED_STREAM, StreamId},
    headers::Headers,
};
use bytes::{Buf, Bytes};
use futures::{SinkExt, StreamExt, future::BoxFuture};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf},
    sync::mpsc,
};
use tokio_util::{
    codec::{FramedRead, FramedWrite},
    sync::PollSender,
};

/// Streams open at once; further ones are refused. Two or five belong to one
/// forwarded connection or command.
const STREAMS_MAX: usize = 4096;

/// Opened streams that nobody has taken yet.
const UNTAKEN_MAX: usize = 64;

/// Chunks (of at most 8 KiB, a read) that wait in one stream.
const CHUNKS_MAX: usize = 16;

/// Frames of all streams that wait for the socket.
const FRAMES_MAX: usize = 32;

/// Bytes of a data frame that we send.
const DATA_BYTES_MAX: usize = 16 * 1024;

/// The streams that the peer opens.
pub struct Incoming {
    streams: mpsc::Receiver<Stream>,
    // Keeps the connection open while nothing else does.
    _frames: mpsc::Sender<Frame>,
}

impl Incoming {
    /// The next stream; `None` when the connection has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<Stream> {
        self.streams.recv().await
    }
}

/// Where the reader puts what comes for a stream.
struct Inbound {
    chunks: Option<mpsc::Sender<Bytes>>,
    reset: Arc<AtomicBool>,
}

/// The open streams by id; shared, since each stream leaves when dropped.
type Table = Arc<Mutex<HashMap<StreamId, Inbound>>>;

/// A stream: what the peer sends is read, what is written goes to the peer.
/// Shutting down the writer is end of file for the peer; dropping the stream
/// before that resets it.
pub struct Stream {
    id: StreamId,
    headers: Headers,
    chunks: mpsc::Receiver<Bytes>,
    unread: Bytes,
    frames: PollSender<Frame>,
    reset: Arc<AtomicBool>,
    finished: bool,
    table: Table,
}

/// Starts the server's end of a connection: the streams to come, and the future
/// that does the work.
pub fn server<T>(io: T) -> (Incoming, BoxFuture<'static, Result<(), Error>>)
where
    T: AsyncRead + AsyncWrite + Send + 'static,
{
    let (input, output) = tokio::io::split(io);
    let (streams, untaken) = mpsc::channel(UNTAKEN_MAX);
    let (frames, outgoing) = mpsc::channel(FRAMES_MAX);
    let table = Table::default();
    let reader = Reader { streams, frames: frames.downgrade(), table: table.clone(), last: 0 };
    let work = async move {
        let result = tokio::select! {
            result = reader.run(FramedRead::new(input, Decoder::new())) => result,
            result = write(FramedWrite::new(output, Encoder::new()), outgoing) => result,
        };
        let orphans = std::mem::take(&mut *table.lock());
        orphans.values().for_each(|inbound| inbound.reset.store(true, Ordering::Release));
        result
    };
    (Incoming { streams: untaken, _frames: frames }, Box::pin(work))
}

struct Reader {
    streams: mpsc::Sender<Stream>,
    // Weak: the reader alone does not keep the connection open.
    frames: mpsc::WeakSender<Frame>,
    table: Table,
    last: StreamId,
}

impl Reader {
    async fn run<T: AsyncRead>(mut self, mut input: FramedRead<ReadHalf<T>, Decoder>) -> Result<(), Error> {
        while let Some(frame) = input.next().await {
            match frame? {
                Frame::SynStream { stream, fin, headers } => self.open(stream, fin, headers).await?,
                Frame::Data { stream, fin, bytes } => self.deliver(stream, fin, bytes).await,
                Frame::Headers { stream, fin, .. } => self.deliver(stream, fin, Bytes::new()).await,
                Frame::Reset { stream, .. } => self.reset(stream),
                // Ours would be even; we send none.
                Frame::Ping(id) if id % 2 == 1 => self.send(Frame::Ping(id)).await,
                Frame::Ping(_) | Frame::SynReply { .. } | Frame::GoAway { .. } => {}
            }
        }
        Ok(())
    }

    async fn send(&self, frame: Frame) {
        if let Some(frames) = self.frames.upgrade() {
            // Fails only when the writer has ended, and with it this reader.
            let _ = frames.send(frame).await;
        }
    }

    async fn open(&mut self, id: StreamId, fin: bool, headers: Headers) -> Result<(), Error> {
        if id.is_multiple_of(2) || id <= self.last {
            return Err(Error::Protocol("stream id is not the next odd one"));
        }
        self.last = id;
        let Some(frames) = self.frames.upgrade() else { return Ok(()) };
        if self.table.lock().len() >= STREAMS_MAX {
            self.send(Frame::Reset { stream: id, status: REFUSED_STREAM }).await;
            return Ok(());
        }
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let reset = Arc::new(AtomicBool::new(false));
        let inbound = Inbound { chunks: (!fin).then_some(sender), reset: reset.clone() };
        self.table.lock().insert(id, inbound);
        let (frames, table) = (PollSender::new(frames), self.table.clone());
        let stream = Stream { id, headers, chunks, unread: Bytes::new(), frames, reset, finished: false, table };
        // Fails when nobody takes streams any more: dropping it resets it.
        let _ = self.streams.send(stream).await;
        Ok(())
    }

    async fn deliver(&self, id: StreamId, fin: bool, bytes: Bytes) {
        let chunks = self.table.lock().get(&id).and_then(|inbound| inbound.chunks.clone());
        // Data for a stream that has ended here is late, not wrong.
        let Some(chunks) = chunks else { return };
        if !bytes.is_empty() {
            let _ = chunks.send(bytes).await;
        }
        if fin && let Some(inbound) = self.table.lock().get_mut(&id) {
            inbound.chunks = None;
        }
    }

    fn reset(&self, id: StreamId) {
        if let Some(inbound) = self.table.lock().remove(&id) {
            inbound.reset.store(true, Ordering::Release);
        }
    }
}

async fn write<T: AsyncWrite>(
    mut output: FramedWrite<WriteHalf<T>, Encoder>,
    mut frames: mpsc::Receiver<Frame>,
) -> Result<(), Error> {
    while let Some(frame) = frames.recv().await {
        output.feed(frame).await?;
        // One flush for all that is there.
        while let Ok(frame) = frames.try_recv() {
            output.feed(frame).await?;
        }
        output.flush().await?;
    }
    output.send(Frame::GoAway { last: 0 }).await?;
    output.close().await
}

impl Stream {
    /// Its number on the connection.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// What the peer opened it with.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Tells the peer that the stream is taken; it waits for this.
    ///
    /// # Errors
    /// `BrokenPipe` when the connection has ended.
    pub async fn accept(&mut self) -> io::Result<()> {
        let reply = Frame::SynReply { stream: self.id, fin: false, headers: Headers::default() };
        std::future::poll_fn(|cx| self.poll_frames(cx)).await?;
        self.frames.send_item(reply).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reset.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        self.frames.poll_reserve(cx).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn send(&mut self, fin: bool, bytes: Bytes) -> io::Result<()> {
        let frame = Frame::Data { stream: self.id, fin, bytes };
        self.frames.send_item(frame).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, output: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            match ready!(self.chunks.poll_recv(cx)) {
                Some(chunk) => self.unread = chunk,
                None if self.reset.load(Ordering::Acquire) => {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.unread.len().min(output.remaining());
        output.put_slice(&self.unread[..count]);
        self.unread.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.poll_frames(cx))?;
        let count = bytes.len().min(DATA_BYTES_MAX);
        self.send(false, Bytes::copy_from_slice(&bytes[..count]))?;
        Poll::Ready(Ok(count))
    }

    /// The connection flushes by itself when it has nothing more to write.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.finished {
            ready!(self.poll_frames(cx))?;
            self.finished = true;
            self.send(true, Bytes::new())?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.table.lock().remove(&self.id);
        if self.finished || self.reset.load(Ordering::Acquire) {
            return;
        }
        // Best effort: with a full queue the peer learns it when the connection ends.
        if let Some(frames) = self.frames.get_ref() {
            let _ = frames.try_send(Frame::Reset { stream: self.id, status: CANCEL });
        }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
