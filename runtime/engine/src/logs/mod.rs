//! The output of a container: into its log, and to who is attached.
//!
//! ```text
//! guest ─▶ ContainerOutput ─▶ Lines (CRI format) ─▶ queue ─▶ LogWriter's thread ─▶ file, rotated
//!                         └▶ attached clients                                     └▶ who follows the file
//! ```
//!
//! The guest's side never touches the disk: it formats into a queue of bounded
//! size and waits when that is full, or an attached client is behind. One thread writes all logs of a runtime.

mod file;
mod lines;
mod writer;

pub(crate) use writer::LogWriter;

use crate::{
    files::CALL_BYTES_MAX,
    stdio::{OUTPUT_PIECES_KEPT, OUTPUT_PIECES_MAX, Source},
};
use bytes::Bytes;
use file::LogFile;
use lines::Lines;
use parking_lot::Mutex;
use std::{
    future::poll_fn,
    io,
    path::Path,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::sync::{mpsc, watch};
use tracing::warn;
use wk_cri::{LogProgress, Output};
use wk_platform::Clock;

/// Bytes on their way to the disk; the guest waits beyond that. A few of the
/// biggest writes, so that the writer has work while the guest goes on.
const QUEUE_BYTES_MAX: usize = 4 * CALL_BYTES_MAX;

/// How long a guest waits for an attached client that takes nothing; then the
/// client is cut off. Long enough for a slow terminal, and a client that is stuck
/// does not stop the guest for good.
const ATTACHED_PATIENCE: Duration = Duration::from_secs(10);

/// Where the output of one container goes.
pub(crate) struct ContainerOutput {
    clock: Clock,
    writer: Arc<LogWriter>,
    queue: Mutex<Queue>,
    file: Mutex<LogFile>,
    progress: watch::Sender<LogProgress>,
    attached: Mutex<Vec<mpsc::Sender<Output>>>,
}

struct Queue {
    stdout: Lines,
    stderr: Lines,
    bytes: Vec<u8>,
    /// Bytes that the writer has taken and not yet written.
    in_flight: usize,
    /// Whether the writer knows that there is something.
    scheduled: bool,
    wakers: Vec<Waker>,
}

impl Queue {
    fn room(&self) -> usize {
        QUEUE_BYTES_MAX.saturating_sub(self.bytes.len() + self.in_flight)
    }

    fn is_flushed(&self) -> bool {
        self.bytes.is_empty() && self.in_flight == 0
    }
}

impl ContainerOutput {
    /// Opens the log at `path`, making its directory; `progress` is told when the
    /// file has changed.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(
        path: &Path,
        clock: Clock,
        writer: Arc<LogWriter>,
        progress: watch::Sender<LogProgress>,
    ) -> io::Result<Arc<Self>> {
        let queue = Queue {
            stdout: Lines::new("stdout"),
            stderr: Lines::new("stderr"),
            bytes: Vec::new(),
            in_flight: 0,
            scheduled: false,
            wakers: Vec::new(),
        };
        let file = Mutex::new(LogFile::open(path)?);
        Ok(Arc::new(Self { clock, writer, queue: Mutex::new(queue), file, progress, attached: Mutex::default() }))
    }

    /// Bytes that may be written now.
    pub fn room(&self) -> usize {
        let is_behind = |client: &mpsc::Sender<Output>| !client.is_closed() && client.capacity() < OUTPUT_PIECES_KEPT;
        if self.attached.lock().iter().any(is_behind) { 0 } else { self.queue.lock().room() }
    }

    /// Waits until there is room. Cancel safe.
    pub async fn wait_for_room(&self) {
        poll_fn(|cx| self.poll_until(cx, |queue| queue.room() > 0)).await;
        let attached = self.attached.lock().clone();
        for client in attached {
            let room = tokio::time::timeout(ATTACHED_PATIENCE, client.reserve_many(OUTPUT_PIECES_KEPT)).await;
            if room.is_err() {
                self.attached.lock().retain(|other| !other.same_channel(&client));
            }
        }
    }

    /// Takes what the guest wrote.
    pub fn write(self: &Arc<Self>, source: Source, bytes: &Bytes) {
        let now = self.clock.now();
        let mut queue = self.queue.lock();
        let Queue { stdout, stderr, bytes: queued, .. } = &mut *queue;
        match source {
            Source::Stdout => stdout.push(now, bytes, queued),
            Source::Stderr => stderr.push(now, bytes, queued),
        }
        self.schedule(&mut queue);
        drop(queue);
        // Full only when several wrote at once for whom there was room.
        self.attached.lock().retain(|client| client.try_send(source.output(bytes.clone())).is_ok());
    }

    /// Writes what is left of unfinished lines and waits until everything is in
    /// the file. Cancel safety: what is not waited for is written all the same.
    pub async fn finish(self: &Arc<Self>) {
        self.attached.lock().clear();
        let now = self.clock.now();
        {
            let mut queue = self.queue.lock();
            let Queue { stdout, stderr, bytes, .. } = &mut *queue;
            stdout.finish(now, bytes);
            stderr.finish(now, bytes);
            self.schedule(&mut queue);
        }
        poll_fn(|cx| self.poll_until(cx, Queue::is_flushed)).await;
    }

    /// What the guest writes from now on.
    pub fn attach(&self) -> mpsc::Receiver<Output> {
        let (client, output) = mpsc::channel(OUTPUT_PIECES_MAX);
        self.attached.lock().push(client);
        output
    }

    /// Closes the file and opens its path anew.
    ///
    /// # Errors
    /// The operating system's; the old file is then kept.
    pub fn reopen(&self) -> io::Result<()> {
        self.file.lock().reopen()?;
        self.progress.send_modify(LogProgress::note_write);
        Ok(())
    }

    fn schedule(self: &Arc<Self>, queue: &mut Queue) {
        if !queue.bytes.is_empty() && !queue.scheduled {
            queue.scheduled = true;
            self.writer.schedule(self.clone());
        }
    }

    fn poll_until(&self, cx: &mut Context<'_>, condition: impl Fn(&Queue) -> bool) -> Poll<()> {
        let mut queue = self.queue.lock();
        if condition(&queue) {
            return Poll::Ready(());
        }
        if !queue.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            queue.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Writes what is queued; called by the writer's thread.
    fn write_out(&self) {
        let bytes = {
            let mut queue = self.queue.lock();
            queue.scheduled = false;
            queue.in_flight = queue.bytes.len();
            std::mem::take(&mut queue.bytes)
        };
        // A full disk costs lines, not the guest: it cannot do anything about it.
        if let Err(error) = self.file.lock().append(&bytes) {
            warn!(%error, bytes = bytes.len(), "lost log lines");
        }
        self.progress.send_modify(LogProgress::note_write);
        let wakers = {
            let mut queue = self.queue.lock();
            queue.in_flight = 0;
            std::mem::take(&mut queue.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests;
