//! Open files as the standard streams that WASI gives a guest.
//!
//! Nothing is read ahead: what a program leaves in its stdin is for the next one.
//! A program that writes to a pipe without a reader ends as by SIGPIPE, whose
//! default action that is; one that writes for a client who has gone gets an error.

use super::{CALL_BYTES_MAX, OpenFile};
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasmtime_wasi::{
    I32Exit, async_trait,
    cli::{IsTerminal, StdinStream, StdoutStream},
    p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult},
};

/// The exit code of a program that SIGPIPE ended.
const BROKEN_PIPE: i32 = 128 + libc::SIGPIPE;

/// A guest's standard input.
pub(crate) struct GuestStdin(pub OpenFile);

/// A guest's standard output or error.
pub(crate) struct GuestStdout(pub OpenFile);

impl IsTerminal for GuestStdin {
    fn is_terminal(&self) -> bool {
        self.0.as_terminal().is_some()
    }
}

impl StdinStream for GuestStdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(AsyncFile::new(self.0.clone()))
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(Reading(self.0.clone()))
    }
}

impl IsTerminal for GuestStdout {
    fn is_terminal(&self) -> bool {
        self.0.as_terminal().is_some()
    }
}

impl StdoutStream for GuestStdout {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(AsyncFile::new(self.0.clone()))
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Writing { file: self.0.clone(), pending: None })
    }
}

/// A `wasi:io` input stream.
struct Reading(OpenFile);

#[async_trait]
impl Pollable for Reading {
    async fn ready(&mut self) {
        self.0.readable().await;
    }
}

#[async_trait]
impl InputStream for Reading {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        match self.0.try_read(size).map_err(failed)? {
            Some(bytes) if bytes.is_empty() && size > 0 => Err(StreamError::Closed),
            bytes => Ok(bytes.unwrap_or_default()),
        }
    }

    /// Not by `ready` and `read` as usual: another process may be faster.
    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        match self.0.read(size).await.map_err(failed)? {
            bytes if bytes.is_empty() && size > 0 => Err(StreamError::Closed),
            bytes => Ok(bytes),
        }
    }
}

/// A `wasi:io` output stream. What there was permission for and no room after all
/// (another process was faster, or it is a disk) is pending, and nothing more is
/// permitted until it is written.
struct Writing {
    file: OpenFile,
    pending: Option<Pending>,
}

/// A write that goes on; behind a lock only to be `Sync`.
type Pending = parking_lot::Mutex<BoxFuture<'static, io::Result<()>>>;

impl Writing {
    /// Waits for what is pending. Cancel safe.
    async fn settle(&mut self) -> io::Result<()> {
        let Some(pending) = &mut self.pending else { return Ok(()) };
        let result = pending.get_mut().await;
        self.pending = None;
        result
    }
}

#[async_trait]
impl Pollable for Writing {
    async fn ready(&mut self) {
        match self.settle().await {
            Ok(()) => self.file.writable().await,
            // For `check_write` to see.
            Err(error) => self.pending = Some(parking_lot::Mutex::new(futures::future::err(error).boxed())),
        }
    }
}

#[async_trait]
impl OutputStream for Writing {
    fn check_write(&mut self) -> StreamResult<usize> {
        if let Some(pending) = &mut self.pending {
            let Some(result) = pending.get_mut().now_or_never() else { return Ok(0) };
            self.pending = None;
            result.map_err(|error| broken(&self.file, error))?;
        }
        self.file.room().map(|room| room.min(CALL_BYTES_MAX)).map_err(|error| broken(&self.file, error))
    }

    fn write(&mut self, mut bytes: Bytes) -> StreamResult<()> {
        if self.pending.is_some() || bytes.len() > CALL_BYTES_MAX {
            return Err(StreamError::trap("a write that check-write did not permit"));
        }
        let written = self.file.try_write(&bytes).map_err(|error| broken(&self.file, error))?;
        let rest = bytes.split_off(written);
        if !rest.is_empty() {
            let file = self.file.clone();
            let mut writing = async move { file.write(rest).await }.boxed();
            // Begins now: a guest need not ask again before it ends.
            match (&mut writing).now_or_never() {
                Some(result) => result.map_err(|error| broken(&self.file, error))?,
                None => self.pending = Some(parking_lot::Mutex::new(writing)),
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    /// As [`InputStream::blocking_read`] above: as often as it takes.
    async fn write_ready(&mut self) -> StreamResult<usize> {
        loop {
            self.ready().await;
            match self.check_write()? {
                0 => {}
                room => return Ok(room),
            }
        }
    }
}

fn failed(error: io::Error) -> StreamError {
    StreamError::LastOperationFailed(error.into())
}

fn broken(file: &OpenFile, error: io::Error) -> StreamError {
    match error.kind() {
        io::ErrorKind::BrokenPipe if file.is_pipe_writer() => StreamError::Trap(I32Exit(BROKEN_PIPE).into()),
        io::ErrorKind::BrokenPipe => StreamError::Closed,
        _ => failed(error),
    }
}

/// An open file as tokio wants it, for interfaces that are not of WASI 0.2.
struct AsyncFile {
    file: OpenFile,
    reading: Option<Operation<Bytes>>,
    writing: Option<Operation<usize>>,
}

/// Behind a lock only to be `Sync`.
type Operation<T> = parking_lot::Mutex<BoxFuture<'static, io::Result<T>>>;

impl AsyncFile {
    fn new(file: OpenFile) -> Self {
        Self { file, reading: None, writing: None }
    }
}

/// Polls the operation that goes on, or a new one.
fn poll_operation<T: 'static>(
    slot: &mut Option<Operation<T>>,
    cx: &mut Context<'_>,
    begin: impl FnOnce() -> BoxFuture<'static, io::Result<T>>,
) -> Poll<io::Result<T>> {
    let operation = slot.get_or_insert_with(|| parking_lot::Mutex::new(begin()));
    let result = ready!(operation.get_mut().as_mut().poll(cx));
    *slot = None;
    Poll::Ready(result)
}

impl AsyncRead for AsyncFile {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (file, size) = (self.file.clone(), buffer.remaining());
        let read = ready!(poll_operation(&mut self.reading, cx, || async move { file.read(size).await }.boxed()))?;
        buffer.put_slice(&read[..read.len().min(buffer.remaining())]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for AsyncFile {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (file, length) = (self.file.clone(), bytes.len().min(CALL_BYTES_MAX));
        let begin = || {
            let bytes = Bytes::copy_from_slice(&bytes[..length]);
            async move { file.write(bytes).await.map(|()| length) }.boxed()
        };
        poll_operation(&mut self.writing, cx, begin)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Access, Disk, pipe::PIPE_BYTES};
    use crate::run::Preopen;

    #[tokio::test]
    async fn output_to_a_disk_is_there_once_it_is_flushed() {
        let directory = tempfile::tempdir().unwrap();
        let root = Preopen { host: directory.path().to_owned(), guest: "/".to_owned(), readonly: false };
        let file = OpenFile::disk(Disk::open(&[root], "/out", Access::Write).await.unwrap());
        let mut stdout = GuestStdout(file).p2_stream();
        for piece in ["one ", "two"] {
            assert!(stdout.write_ready().await.unwrap() > 0);
            stdout.write(piece.into()).unwrap();
        }
        stdout.flush().unwrap();
        stdout.write_ready().await.unwrap();
        assert_eq!(std::fs::read_to_string(directory.path().join("out")).unwrap(), "one two");
    }

    #[tokio::test]
    async fn two_who_were_permitted_both_write_all() {
        let (reader, writer) = OpenFile::pipe();
        let (stdout, stderr) = (GuestStdout(writer.clone()), GuestStdout(writer));
        let (mut stdout, mut stderr) = (stdout.p2_stream(), stderr.p2_stream());
        assert_eq!((stdout.check_write().unwrap(), stderr.check_write().unwrap()), (PIPE_BYTES, PIPE_BYTES));
        stdout.write(vec![1; PIPE_BYTES].into()).unwrap();
        stderr.write(vec![2; PIPE_BYTES].into()).unwrap();
        assert_eq!(stderr.check_write().unwrap(), 0, "the write goes on");
        let mut received = 0;
        let reading = async {
            while received < 2 * PIPE_BYTES {
                received += reader.read(PIPE_BYTES).await.unwrap().len();
            }
        };
        let (room, ()) = tokio::join!(stderr.write_ready(), reading);
        assert!(room.unwrap() > 0);
    }

    #[tokio::test]
    async fn a_program_that_nobody_reads_ends_as_by_sigpipe() {
        let (reader, writer) = OpenFile::pipe();
        drop(reader);
        let error = GuestStdout(writer).p2_stream().check_write().unwrap_err();
        let StreamError::Trap(error) = error else { panic!("{error:?}") };
        assert_eq!(error.downcast_ref::<I32Exit>().map(|exit| exit.0), Some(141));
    }
}
