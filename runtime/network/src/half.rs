//! One direction of a connection: a bounded queue of bytes.
//!
//! Written by one end, read by the other; both through `connection.rs`. It never
//! blocks and owns no task: a caller that cannot go on leaves a waker behind.
//! There is one waker per role, because each role has one owner (the methods
//! above this file take `&mut`).
//!
//! ```text
//! try_write ──▶ [chunk][chunk][tail] ──▶ try_read
//!    finish ──▶ end of stream once the queue is empty
//!     reset ──▶ queue thrown away, an error for both roles
//! stop_reading (by the reader) ──▶ queue thrown away, BrokenPipe for the writer
//! ```

use crate::budget::Budget;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// Bytes one direction holds before its writer must wait: what makes a
/// connection's memory bounded, and two reads of a guest (64 KiB each) per wake.
pub const HALF_BYTES_MAX: usize = 256 * 1024;

/// A writer that found the queue full is woken when this much or less is left,
/// so that it is woken for work worth a task switch.
const WAKE_WRITER_AT: usize = HALF_BYTES_MAX / 2;

/// Writes below this are copied together, so that a million writes of one byte
/// are not a million allocations.
const COALESCE_BELOW: usize = 4 * 1024;

/// The collected small writes become a chunk at this size, so that growing the
/// buffer never copies more than this.
const TAIL_BYTES_MAX: usize = 64 * 1024;

/// The first allocation for small writes.
const TAIL_BYTES_MIN: usize = 512;

/// One direction of a connection.
#[derive(Default)]
pub(crate) struct Half {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Bytes>,
    /// Small writes, after all of `chunks`.
    tail: BytesMut,
    /// Sum of the above.
    bytes: usize,
    end: End,
    /// Whether anything was ever written.
    written: bool,
    /// Whether anything was ever read.
    read: bool,
    /// Of the pod that writes; `None` when the host does.
    budget: Option<Arc<Budget>>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    /// The writer said that this is all.
    Finished,
    /// The reader wants no more; the writer may or may not have finished.
    Unread,
    /// Torn down from outside.
    Reset,
}

impl Half {
    /// An empty half whose bytes are charged to `budget`.
    pub fn charged_to(budget: Option<Arc<Budget>>) -> Self {
        Self { state: Mutex::new(State { budget, ..State::default() }) }
    }

    /// Charges what is written from now on to `budget`. Call it while nothing is
    /// queued.
    pub fn charge_to(&self, budget: Arc<Budget>) {
        self.state.lock().budget = Some(budget);
    }

    /// Whether another reader would miss nothing.
    pub fn is_unread(&self) -> bool {
        let state = self.state.lock();
        !state.read && matches!(state.end, End::Open | End::Finished)
    }

    /// Whether another writer could begin.
    pub fn is_unwritten(&self) -> bool {
        let state = self.state.lock();
        !state.written && state.end == End::Open
    }

    /// Up to `bytes_max` bytes; no bytes at the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock`, `ConnectionReset`.
    pub fn try_read(&self, bytes_max: usize) -> io::Result<Bytes> {
        let mut state = self.state.lock();
        if !state.check_readable()? || bytes_max == 0 {
            return Ok(Bytes::new());
        }
        let chunk = state.take_chunk(bytes_max);
        let writer = state.writer_to_wake();
        drop(state);
        wake(writer);
        Ok(chunk)
    }

    /// Fills `buffer` with what is there; 0 at the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock`, `ConnectionReset`.
    pub fn try_read_into(&self, buffer: &mut tokio::io::ReadBuf<'_>) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.check_readable()? {
            return Ok(());
        }
        while buffer.remaining() > 0 && state.bytes > 0 {
            let chunk = state.take_chunk(buffer.remaining());
            buffer.put_slice(&chunk);
        }
        let writer = state.writer_to_wake();
        drop(state);
        wake(writer);
        Ok(())
    }

    /// Whether a read would give something: bytes, the end, or an error.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.bytes > 0 || state.end != End::Open {
            return Poll::Ready(());
        }
        remember(&mut state.reader, cx);
        Poll::Pending
    }

    /// Free space in bytes; 0 means wait.
    ///
    /// # Errors
    /// `BrokenPipe` after either role closed, `ConnectionReset`.
    pub fn writable(&self) -> io::Result<usize> {
        self.state.lock().free()
    }

    /// Whether a write would give something: progress or an error.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if !matches!(state.free(), Ok(0)) {
            return Poll::Ready(());
        }
        remember(&mut state.writer, cx);
        Poll::Pending
    }

    /// Takes as much of `data` as fits, at least one byte.
    ///
    /// # Errors
    /// `WouldBlock`, and those of [`Half::writable`].
    pub fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        self.append(data.len(), |state, taken| match taken < COALESCE_BELOW {
            true => state.push_small(&data[..taken]),
            false => state.push_large(Bytes::copy_from_slice(&data[..taken])),
        })
    }

    /// Like [`Half::try_write`], but large data moves without a copy. What was
    /// taken is cut off the front of `data`.
    ///
    /// # Errors
    /// `WouldBlock`, and those of [`Half::writable`].
    pub fn try_write_bytes(&self, data: &mut Bytes) -> io::Result<usize> {
        self.append(data.len(), |state, taken| {
            let taken = data.split_to(taken);
            match taken.len() < COALESCE_BELOW {
                true => state.push_small(&taken),
                false => state.push_large(taken),
            }
        })
    }

    fn append(&self, wanted: usize, push: impl FnOnce(&mut State, usize)) -> io::Result<usize> {
        let mut state = self.state.lock();
        let free = state.free()?;
        if wanted == 0 {
            return Ok(0);
        }
        if free == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = wanted.min(free);
        push(&mut state, taken);
        state.bytes += taken;
        state.written = true;
        if let Some(budget) = &state.budget {
            budget.take(taken);
        }
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        Ok(taken)
    }

    /// No more will be written; what is queued can still be read.
    pub fn finish(&self) {
        self.close(|state| {
            if state.end == End::Open {
                state.end = End::Finished;
            }
        });
    }

    /// No more will be read; the writer gets `BrokenPipe`, the reader the end.
    pub fn stop_reading(&self) {
        self.close(|state| {
            if state.end != End::Reset {
                state.end = End::Unread;
            }
            state.discard();
        });
    }

    /// Tears the direction down: `ConnectionReset` for both roles.
    pub fn reset(&self) {
        self.close(|state| {
            state.end = End::Reset;
            state.discard();
        });
    }

    /// Bytes written and not yet read.
    pub fn queued(&self) -> usize {
        self.state.lock().bytes
    }

    fn close(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        let (reader, writer) = (state.reader.take(), state.writer.take());
        drop(state);
        wake(reader);
        wake(writer);
    }
}

impl State {
    /// `Ok(false)` is the end of the stream.
    fn check_readable(&self) -> io::Result<bool> {
        match self.end {
            _ if self.bytes > 0 => Ok(true),
            End::Open => Err(io::ErrorKind::WouldBlock.into()),
            End::Finished | End::Unread => Ok(false),
            End::Reset => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    fn free(&self) -> io::Result<usize> {
        let window = self.budget.as_ref().map_or(HALF_BYTES_MAX, |budget| budget.window());
        match self.end {
            End::Open => Ok(window.saturating_sub(self.bytes)),
            End::Finished | End::Unread => Err(io::ErrorKind::BrokenPipe.into()),
            End::Reset => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    /// The front chunk, cut to `bytes_max`. Call it when there are bytes.
    fn take_chunk(&mut self, bytes_max: usize) -> Bytes {
        let Some(front) = self.chunks.front_mut() else {
            let tail = std::mem::take(&mut self.tail).freeze();
            self.chunks.push_back(tail);
            return self.take_chunk(bytes_max);
        };
        let chunk = match front.len() <= bytes_max {
            true => self.chunks.pop_front().unwrap_or_default(),
            false => front.split_to(bytes_max),
        };
        self.bytes -= chunk.len();
        self.read = true;
        self.give_back(chunk.len());
        chunk
    }

    fn give_back(&self, bytes: usize) {
        if let Some(budget) = &self.budget {
            budget.give_back(bytes);
        }
    }

    fn push_small(&mut self, data: &[u8]) {
        if self.tail.is_empty() {
            self.tail = BytesMut::with_capacity(data.len().max(TAIL_BYTES_MIN));
        }
        self.tail.extend_from_slice(data);
        if self.tail.len() >= TAIL_BYTES_MAX {
            self.seal_tail();
        }
    }

    fn push_large(&mut self, data: Bytes) {
        self.seal_tail();
        self.chunks.push_back(data);
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(std::mem::take(&mut self.tail).freeze());
        }
    }

    /// Empties the queue.
    fn discard(&mut self) {
        self.chunks = VecDeque::new();
        self.tail = BytesMut::new();
        let bytes = std::mem::take(&mut self.bytes);
        self.give_back(bytes);
    }

    fn writer_to_wake(&mut self) -> Option<Waker> {
        if self.bytes <= WAKE_WRITER_AT { self.writer.take() } else { None }
    }
}

fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests;
