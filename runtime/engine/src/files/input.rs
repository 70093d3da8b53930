//! What a client sends, as a file: the standard input of an exec, or of a
//! container that someone is attached to.

use super::waiters::Waiters;
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tokio::sync::mpsc;

/// The reading end of a client's stdin.
#[derive(Debug)]
pub(crate) struct Input {
    state: Mutex<State>,
    waiters: Arc<Waiters>,
}

#[derive(Debug)]
struct State {
    incoming: mpsc::Receiver<Bytes>,
    pending: Bytes,
    ended: bool,
}

impl Input {
    /// Gives what arrives; the end is when every sender is gone.
    pub fn new(incoming: mpsc::Receiver<Bytes>) -> Self {
        let state = State { incoming, pending: Bytes::new(), ended: false };
        Self { state: Mutex::new(state), waiters: Arc::default() }
    }

    /// Ready when a read would not wait.
    pub fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        self.waiters.register(cx);
        if self.state.lock().fill(&self.waiters) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// What is there, up to `size`; `None` when that is nothing yet, empty at the end.
    pub fn try_read(&self, size: usize) -> Option<Bytes> {
        let mut state = self.state.lock();
        if !state.fill(&self.waiters) {
            return None;
        }
        let length = size.min(state.pending.len());
        Some(state.pending.split_to(length))
    }
}

impl State {
    /// Whether there are bytes, or never will be. Whoever waits is woken later.
    fn fill(&mut self, waiters: &Arc<Waiters>) -> bool {
        let waker = Waker::from(waiters.clone());
        while self.pending.is_empty() && !self.ended {
            match self.incoming.poll_recv(&mut Context::from_waker(&waker)) {
                Poll::Ready(Some(bytes)) => self.pending = bytes,
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test]
    async fn stdin_gives_what_was_sent_in_any_portions_and_then_ends() {
        let (client, incoming) = mpsc::channel(4);
        let input = Input::new(incoming);
        assert_eq!(input.try_read(8), None);
        client.send(Bytes::from_static(b"hello")).await.unwrap();
        drop(client);
        poll_fn(|cx| input.poll_readable(cx)).await;
        assert_eq!(input.try_read(2).unwrap(), "he");
        assert_eq!(input.try_read(8).unwrap(), "llo");
        poll_fn(|cx| input.poll_readable(cx)).await;
        assert_eq!(input.try_read(8).unwrap(), "");
    }

    #[tokio::test]
    async fn a_second_reader_does_not_take_the_firsts_place() {
        let (client, incoming) = mpsc::channel(4);
        let input = Input::new(incoming);
        let read = || async {
            poll_fn(|cx| input.poll_readable(cx)).await;
        };
        let sending = async { client.send(Bytes::from_static(b"x")).await.unwrap() };
        let reading = async { tokio::join!(read(), read(), sending) };
        tokio::time::timeout(std::time::Duration::from_secs(10), reading).await.unwrap();
    }
}
