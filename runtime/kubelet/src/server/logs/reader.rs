//! A log file as a stream of shown bytes, to its end or as long as it grows.
//!
//! Following ends when the container has ended and all that it wrote was read,
//! rotated files included. The runtime says when to look again; nothing is looked
//! at while nothing is written, nor while nobody reads: the stream is driven by
//! the response.

use super::{line::Shown, options::LogOptions, rotation, tail};
use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, stream};
use std::{io, path::PathBuf, sync::Arc};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
    sync::watch,
};
use wk_cri::{ContainerId, LogProgress, RuntimeService};

/// Bytes read from the file at a time.
const READ_BYTES: usize = 32 * 1024;

/// A line longer than this is no CRI log line (they have 16 KiB) and is dropped.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// What is read.
pub struct Source {
    /// The log file.
    pub path: PathBuf,
    /// The container that writes it.
    pub container: ContainerId,
    /// Says when the file has changed, and when it is complete.
    pub runtime: Arc<dyn RuntimeService>,
}

/// Reads one log.
pub struct Reader {
    path: PathBuf,
    file: File,
    unread: BytesMut,
    shown: Shown,
    /// Of whom to hear of more; `None` when the end of the file is the end.
    log: Option<watch::Receiver<LogProgress>>,
    /// The file that the writer has moved on to.
    next: Option<File>,
}

/// What the end of the file means.
enum AtEnd {
    Ended,
    More,
}

impl Reader {
    /// Opens the log at the first line that the options want.
    ///
    /// # Errors
    /// The file's.
    pub async fn open(source: Source, options: &LogOptions) -> io::Result<Self> {
        let Source { path, container, runtime } = source;
        // A container that the runtime has forgotten writes no more.
        let log = if options.follow { runtime.log_progress(&container).ok() } else { None };
        let mut file = File::open(&path).await?;
        let start = match options.tail_lines {
            Some(lines) => tail::start(&mut file, lines).await?,
            None => 0,
        };
        file.seek(io::SeekFrom::Start(start)).await?;
        let shown = Shown::new(options.timestamps, options.since, options.limit_bytes);
        Ok(Self { path, file, unread: BytesMut::new(), shown, log, next: None })
    }

    /// The shown bytes, in pieces.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        stream::try_unfold(self, |mut reader| async move { Ok(reader.next().await?.map(|bytes| (bytes, reader))) })
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut output = BytesMut::new();
        while !self.shown.is_full() {
            // Before reading, so that no write falls in between.
            let was_complete = self.log.as_mut().is_some_and(is_complete);
            let more = self.read(&mut output).await?;
            if !output.is_empty() {
                return Ok(Some(output.freeze()));
            }
            if !more && matches!(self.at_end(was_complete).await?, AtEnd::Ended) {
                break;
            }
        }
        Ok(None)
    }

    /// Shows the complete lines of the next piece; whether there was one.
    async fn read(&mut self, output: &mut BytesMut) -> io::Result<bool> {
        self.unread.reserve(READ_BYTES);
        let searched = self.unread.len();
        if self.file.read_buf(&mut self.unread).await? == 0 {
            return Ok(false);
        }
        let mut from = searched;
        while let Some(end) = self.unread[from..].iter().position(|byte| *byte == b'\n') {
            let line = self.unread.split_to(from + end);
            self.unread.advance(1);
            self.shown.show(&line, output);
            from = 0;
        }
        if self.unread.len() > LINE_BYTES_MAX {
            self.unread.clear();
        }
        Ok(true)
    }

    /// At the end of the file: goes on to the next one, or waits for a change.
    /// `was_complete`: nothing was written since before the last read.
    async fn at_end(&mut self, was_complete: bool) -> io::Result<AtEnd> {
        let Some(log) = &mut self.log else { return Ok(AtEnd::Ended) };
        if let Some(next) = self.next.take() {
            self.file = next;
            self.unread.clear();
        } else if let Some(next) = rotation::next_file(&self.file, &self.path).await? {
            // What was written to this one since the last read comes first.
            self.next = Some(next);
        } else if was_complete {
            return Ok(AtEnd::Ended);
        } else {
            // An error means that the container has gone, which the next look sees.
            let _ = log.changed().await;
        }
        Ok(AtEnd::More)
    }
}

/// Whether there is no more to come than is in the files; the next wait is for
/// what changes from here on.
fn is_complete(log: &mut watch::Receiver<LogProgress>) -> bool {
    let gone = log.has_changed().is_err();
    gone || log.borrow_and_update().is_complete
}
