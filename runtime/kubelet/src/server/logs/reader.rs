//! A log file as a stream of shown bytes, to its end or as long as it grows.
//!
//! Following ends when the container has ended and all that it wrote was read.
//! Nothing runs while nobody reads: the stream is driven by the response.

use super::{line::Shown, options::LogOptions, tail};
use crate::server::LogNotifier;
use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, future::BoxFuture, stream};
use std::{io, os::unix::fs::MetadataExt, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
};
use wk_cri::{ContainerEvents, ContainerId, ContainerState, RuntimeService};

/// Bytes read from the file at a time.
const READ_BYTES: usize = 32 * 1024;

/// A line longer than this is no CRI log line (they have 16 KiB) and is dropped.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// While following, the container's state is looked at this often even when no
/// event says that it changed: events are hints and may be lost.
const STATE_INTERVAL: Duration = Duration::from_secs(1);

/// What is read.
pub struct Source {
    /// The log file.
    pub path: PathBuf,
    /// The container that writes it.
    pub container: ContainerId,
    /// Says whether the container runs.
    pub runtime: Arc<dyn RuntimeService>,
    /// Says when the file has grown.
    pub notifier: Arc<dyn LogNotifier>,
}

/// Where following is.
enum Follow {
    /// The end of the file is the end.
    No,
    /// The container may write more.
    Yes(ContainerEvents),
    /// The container has ended: what is in the file now is the rest.
    Rest,
}

/// Reads one log.
pub struct Reader {
    source: Source,
    file: File,
    unread: BytesMut,
    shown: Shown,
    follow: Follow,
    /// The writer has moved on to a new file.
    rotated: bool,
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
        let mut file = File::open(&source.path).await?;
        let start = match options.tail_lines {
            Some(lines) => tail::start(&mut file, lines).await?,
            None => 0,
        };
        file.seek(io::SeekFrom::Start(start)).await?;
        let follow = if options.follow { Follow::Yes(source.runtime.events()) } else { Follow::No };
        let shown = Shown::new(options.timestamps, options.since, options.limit_bytes);
        Ok(Self { source, file, unread: BytesMut::new(), shown, follow, rotated: false })
    }

    /// The shown bytes, in pieces.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        stream::try_unfold(self, |mut reader| async move { Ok(reader.next().await?.map(|bytes| (bytes, reader))) })
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut output = BytesMut::new();
        while !self.shown.is_full() {
            // Before reading, so that no write falls in between.
            let written = self.source.notifier.written(&self.source.path);
            let more = self.read(&mut output).await?;
            if !output.is_empty() {
                return Ok(Some(output.freeze()));
            }
            if !more && matches!(self.at_end(written).await?, AtEnd::Ended) {
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

    async fn at_end(&mut self, written: BoxFuture<'static, ()>) -> io::Result<AtEnd> {
        if std::mem::take(&mut self.rotated) {
            self.file = File::open(&self.source.path).await?;
            self.unread.clear();
            return Ok(AtEnd::More);
        }
        let Follow::Yes(events) = &mut self.follow else { return Ok(AtEnd::Ended) };
        if has_moved(&self.file, &self.source.path).await? {
            // What was written to the old file since the last read comes first.
            self.rotated = true;
        } else if has_ended(&self.source).await {
            self.follow = Follow::Rest;
        } else {
            tokio::select! {
                () = written => {}
                () = change_of(events, &self.source.container) => {}
                () = tokio::time::sleep(STATE_INTERVAL) => {}
            }
        }
        Ok(AtEnd::More)
    }
}

/// Whether the path names another file now. A removed log has not moved.
async fn has_moved(file: &File, path: &std::path::Path) -> io::Result<bool> {
    match tokio::fs::metadata(path).await {
        Ok(now) => Ok(now.ino() != file.metadata().await?.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

async fn has_ended(source: &Source) -> bool {
    match source.runtime.container_status(&source.container).await {
        Ok(status) => matches!(status.state, ContainerState::Exited { .. }),
        Err(error) => matches!(error, wk_cri::Error::NotFound(_)),
    }
}

/// Resolves at the container's next event, or when events were missed.
async fn change_of(events: &mut ContainerEvents, container: &ContainerId) {
    loop {
        match events.next().await {
            Some(Ok(event)) if event.container != *container => {}
            Some(_) => return,
            None => std::future::pending().await,
        }
    }
}
