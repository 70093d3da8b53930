//! Open file descriptions (POSIX 3.258): what the streams of a guest are, and
//! what processes of a container hand to each other.
//!
//! ```text
//!  guest ─ wasi:io streams (`streams`) ─┐
//!                                       ├▶ OpenFile ─▶ input (client) | stdio::Sink (client, log)
//!  guest ─ wk:toolbox/processes.file ───┘              terminal | pipe | disk | bytes | nothing
//! ```
//!
//! Clones of an [`OpenFile`] are the same description: one position, one pipe
//! end, closed when the last one goes. Everything waits without a thread.
//!
//! Reading order: `waiters`, `pipe`, `input`, `disk`, here, `streams`.

mod disk;
mod input;
mod pipe;
mod streams;
mod waiters;

pub(crate) use disk::{Access, Disk};
pub(crate) use input::Input;
pub(crate) use streams::{GuestStdin, GuestStdout};
pub(crate) use waiters::Waiters;

use crate::{
    stdio::{Sink, Source},
    terminal::Terminal,
};
use bytes::Bytes;
use parking_lot::Mutex;
use pipe::{PipeReader, PipeWriter, pipe};
use std::{future::poll_fn, io, sync::Arc};

/// Bytes of one read or write; longer ones are done in parts.
pub(crate) const CALL_BYTES_MAX: usize = 64 * 1024;

/// An open file. Clones are the same description.
#[derive(Clone)]
pub struct OpenFile(Arc<Description>);

enum Description {
    Null,
    Input(Input),
    Output { sink: Sink, source: Source },
    Terminal(Arc<Terminal>),
    PipeReader(PipeReader),
    PipeWriter(PipeWriter),
    Disk(Disk),
    Bytes(Mutex<Bytes>),
}

impl OpenFile {
    fn new(description: Description) -> Self {
        Self(Arc::new(description))
    }

    /// `/dev/null`.
    pub fn null() -> Self {
        Self::new(Description::Null)
    }

    /// What a client sends.
    pub fn input(input: Input) -> Self {
        Self::new(Description::Input(input))
    }

    /// To a client or a log.
    pub fn output(sink: Sink, source: Source) -> Self {
        Self::new(Description::Output { sink, source })
    }

    /// A terminal, read and written.
    pub fn terminal(terminal: Arc<Terminal>) -> Self {
        Self::new(Description::Terminal(terminal))
    }

    /// The two ends of a new pipe: read, written.
    pub fn pipe() -> (Self, Self) {
        let (reader, writer) = pipe();
        (Self::new(Description::PipeReader(reader)), Self::new(Description::PipeWriter(writer)))
    }

    /// A file of the container.
    pub fn disk(disk: Disk) -> Self {
        Self::new(Description::Disk(disk))
    }

    /// A file with these bytes, which exists nowhere.
    pub fn bytes(bytes: Bytes) -> Self {
        Self::new(Description::Bytes(Mutex::new(bytes)))
    }

    /// The terminal that it is.
    pub fn as_terminal(&self) -> Option<&Arc<Terminal>> {
        match &*self.0 {
            Description::Terminal(terminal) => Some(terminal),
            _ => None,
        }
    }

    /// Whether it is the writing end of a pipe, whose writer gets a signal when
    /// nobody reads.
    pub fn is_pipe_writer(&self) -> bool {
        matches!(&*self.0, Description::PipeWriter(_))
    }

    /// Waits until a read would not. Cancel safe.
    pub async fn readable(&self) {
        match &*self.0 {
            Description::Input(input) => poll_fn(|cx| input.poll_readable(cx)).await,
            Description::Terminal(terminal) => poll_fn(|cx| terminal.poll_readable(cx)).await,
            Description::PipeReader(pipe) => poll_fn(|cx| pipe.poll_readable(cx)).await,
            _ => {}
        }
    }

    /// At most `size` bytes without waiting: `None` when nothing is there yet,
    /// empty at the end. A disk always makes wait: see [`OpenFile::read`].
    ///
    /// # Errors
    /// That it is not open for reading.
    pub fn try_read(&self, size: usize) -> io::Result<Option<Bytes>> {
        let size = size.min(CALL_BYTES_MAX);
        match &*self.0 {
            Description::Null => Ok(Some(Bytes::new())),
            Description::Input(input) => Ok(input.try_read(size)),
            Description::Terminal(terminal) => Ok(terminal.try_read(size)),
            Description::PipeReader(pipe) => Ok(pipe.try_read(size)),
            Description::Bytes(bytes) => {
                let mut bytes = bytes.lock();
                let length = size.min(bytes.len());
                Ok(Some(bytes.split_to(length)))
            }
            Description::Disk(_) => Ok(None),
            Description::Output { .. } | Description::PipeWriter(_) => Err(wrong_direction()),
        }
    }

    /// At most `size` bytes, waiting for the first; none at the end. Cancel safe,
    /// but for the position of a file on disk.
    ///
    /// # Errors
    /// That it is not open for reading, or the disk's.
    pub async fn read(&self, size: usize) -> io::Result<Bytes> {
        if let Description::Disk(disk) = &*self.0 {
            return disk.read(size.min(CALL_BYTES_MAX)).await;
        }
        loop {
            if let Some(bytes) = self.try_read(size)? {
                return Ok(bytes);
            }
            self.readable().await;
        }
    }

    /// Waits until there is room, or an error to see. Cancel safe.
    pub async fn writable(&self) {
        match &*self.0 {
            Description::Output { sink, .. } => sink.clone().wait_for_room().await,
            Description::Terminal(terminal) => terminal.writable().await,
            Description::PipeWriter(pipe) => poll_fn(|cx| pipe.poll_writable(cx)).await,
            _ => {}
        }
    }

    /// Bytes that can be written now.
    ///
    /// # Errors
    /// `BrokenPipe` when nobody will read them; that it is not open for writing.
    pub fn room(&self) -> io::Result<usize> {
        match &*self.0 {
            Description::Null | Description::Disk(_) => Ok(CALL_BYTES_MAX),
            Description::Output { sink, .. } => sink.room(),
            Description::Terminal(terminal) => terminal.room(),
            Description::PipeWriter(pipe) => pipe.room(),
            Description::Input(_) | Description::PipeReader(_) | Description::Bytes(_) => Err(wrong_direction()),
        }
    }

    /// Writes as much as there is room for; how much that was. Nothing to a disk,
    /// which makes wait: see [`OpenFile::write`].
    ///
    /// # Errors
    /// As [`OpenFile::room`].
    pub fn try_write(&self, bytes: &Bytes) -> io::Result<usize> {
        let length = bytes.len().min(self.room()?);
        match &*self.0 {
            Description::Null => Ok(bytes.len()),
            Description::Output { .. } | Description::Terminal(_) if length == 0 => Ok(0),
            Description::Output { sink, source } => written(sink.write(*source, bytes.slice(..length)), length),
            Description::Terminal(terminal) => written(terminal.write(&bytes[..length]), length),
            Description::PipeWriter(pipe) => pipe.try_write(bytes),
            Description::Disk(_) => Ok(0),
            Description::Input(_) | Description::PipeReader(_) | Description::Bytes(_) => Err(wrong_direction()),
        }
    }

    /// Writes all, waiting for room. When dropped, a part may have been written.
    ///
    /// # Errors
    /// As [`OpenFile::room`], or the disk's.
    pub async fn write(&self, mut bytes: Bytes) -> io::Result<()> {
        if let Description::Disk(disk) = &*self.0 {
            return disk.write(bytes).await;
        }
        loop {
            let written = self.try_write(&bytes)?;
            bytes = bytes.split_off(written);
            if bytes.is_empty() {
                return Ok(());
            }
            self.writable().await;
        }
    }
}

/// How much was written to where others may have been faster.
fn written(result: io::Result<()>, length: usize) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result.map(|()| length),
    }
}

/// What read(2) and write(2) say of a descriptor that is open the other way.
fn wrong_direction() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}

#[cfg(test)]
mod tests {
    use super::{pipe::PIPE_BYTES, *};

    #[tokio::test]
    async fn a_here_document_is_read_once_by_all_who_hold_it() {
        let file = OpenFile::bytes("one two".into());
        assert_eq!(file.clone().read(4).await.unwrap(), "one ");
        assert_eq!(file.read(100).await.unwrap(), "two");
        assert_eq!(file.read(100).await.unwrap(), "");
        assert!(file.write("x".into()).await.is_err());
    }

    #[tokio::test]
    async fn a_long_write_waits_for_its_reader() {
        let (reader, writer) = OpenFile::pipe();
        let sent = Bytes::from(vec![7; 3 * PIPE_BYTES + 5]);
        let writing = async {
            writer.write(sent.clone()).await.unwrap();
            drop(writer);
        };
        let reading = async {
            let mut received = Vec::new();
            loop {
                match reader.read(1000).await.unwrap() {
                    bytes if bytes.is_empty() => return received,
                    bytes => received.extend_from_slice(&bytes),
                }
            }
        };
        let ((), received) = tokio::join!(writing, reading);
        assert_eq!(received, sent);
    }
}
