//! A pipe between processes of a container (pipe(7)): 64 KiB, a reader that
//! waits for bytes, a writer that waits for room and is told when nobody reads.

use super::waiters::Waiters;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
};

/// Bytes in flight, as Linux has it.
pub(crate) const PIPE_BYTES: usize = 64 * 1024;

/// The end that is read. Dropping it breaks the pipe.
#[derive(Debug)]
pub(crate) struct PipeReader(Arc<Pipe>);

/// The end that is written. Dropping it is the end for the reader.
#[derive(Debug)]
pub(crate) struct PipeWriter(Arc<Pipe>);

#[derive(Debug)]
struct Pipe {
    state: Mutex<State>,
    waiters: Waiters,
}

#[derive(Debug)]
struct State {
    bytes: BytesMut,
    has_reader: bool,
    has_writer: bool,
}

/// A new pipe.
pub(crate) fn pipe() -> (PipeReader, PipeWriter) {
    let state = State { bytes: BytesMut::new(), has_reader: true, has_writer: true };
    let pipe = Arc::new(Pipe { state: Mutex::new(state), waiters: Waiters::default() });
    (PipeReader(pipe.clone()), PipeWriter(pipe))
}

impl PipeReader {
    /// Ready when a read would not wait.
    pub fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.waiters.register(cx);
        let state = self.0.state.lock();
        if state.bytes.is_empty() && state.has_writer { Poll::Pending } else { Poll::Ready(()) }
    }

    /// What is there, up to `size`; `None` when that is nothing yet, empty at the end.
    pub fn try_read(&self, size: usize) -> Option<Bytes> {
        let mut state = self.0.state.lock();
        if state.bytes.is_empty() {
            return (!state.has_writer).then(Bytes::new);
        }
        let length = size.min(state.bytes.len());
        let bytes = state.bytes.split_to(length).freeze();
        drop(state);
        self.0.waiters.wake_all();
        Some(bytes)
    }
}

impl PipeWriter {
    /// Ready when there is room, or never will be a reader.
    pub fn poll_writable(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.waiters.register(cx);
        let state = self.0.state.lock();
        if state.bytes.len() >= PIPE_BYTES && state.has_reader { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Bytes that can be written now.
    ///
    /// # Errors
    /// `BrokenPipe` when nobody reads any more.
    pub fn room(&self) -> io::Result<usize> {
        let state = self.0.state.lock();
        if state.has_reader { Ok(PIPE_BYTES - state.bytes.len()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    /// Writes as much as there is room for; how much that was.
    ///
    /// # Errors
    /// As [`PipeWriter::room`].
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state.lock();
        if !state.has_reader {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let length = bytes.len().min(PIPE_BYTES - state.bytes.len());
        state.bytes.extend_from_slice(&bytes[..length]);
        drop(state);
        self.0.waiters.wake_all();
        Ok(length)
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        self.0.state.lock().has_reader = false;
        self.0.waiters.wake_all();
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        self.0.state.lock().has_writer = false;
        self.0.waiters.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[test]
    fn what_is_written_is_read_in_order_and_then_the_end() {
        let (reader, writer) = pipe();
        assert_eq!(reader.try_read(9), None);
        assert_eq!(writer.try_write(b"hello").unwrap(), 5);
        assert_eq!(reader.try_read(2).unwrap(), "he");
        drop(writer);
        assert_eq!(reader.try_read(9).unwrap(), "llo");
        assert_eq!(reader.try_read(9).unwrap(), "");
    }

    #[tokio::test]
    async fn a_full_pipe_makes_the_writer_wait_for_the_reader() {
        let (reader, writer) = pipe();
        let piece = vec![7; PIPE_BYTES + 1];
        assert_eq!(writer.try_write(&piece).unwrap(), PIPE_BYTES);
        assert_eq!(writer.room().unwrap(), 0);
        let written = async {
            poll_fn(|cx| writer.poll_writable(cx)).await;
            writer.try_write(&piece).unwrap()
        };
        let (written, read) = tokio::join!(written, async { reader.try_read(10).unwrap().len() });
        assert_eq!((written, read), (10, 10));
    }

    #[tokio::test]
    async fn a_writer_without_a_reader_is_told() {
        let (reader, writer) = pipe();
        writer.try_write(&[0; PIPE_BYTES]).unwrap();
        let waiting = poll_fn(|cx| writer.poll_writable(cx));
        let ((), ()) = tokio::join!(waiting, async { drop(reader) });
        assert_eq!(writer.try_write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn all_who_read_are_woken() {
        let (reader, writer) = pipe();
        let (one, two) = (poll_fn(|cx| reader.poll_readable(cx)), poll_fn(|cx| reader.poll_readable(cx)));
        let writing = async { writer.try_write(b"x").unwrap() };
        let waiting = async { tokio::join!(one, two, writing) };
        tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await.unwrap();
    }
}
