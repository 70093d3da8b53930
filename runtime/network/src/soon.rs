//! A result that is usually there at once.
//!
//! Connections and lookups inside the cluster need no waiting, so they need no
//! boxed future and no task switch; only delays and the way out do.

use futures::future::BoxFuture;
use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

/// A future of an `io::Result` that may already be ready. Cancel safety:
/// dropped, whatever it had opened is closed.
pub struct Soon<T> {
    state: State<T>,
}

enum State<T> {
    /// `None` once taken.
    Done(Option<io::Result<T>>),
    Waiting(BoxFuture<'static, io::Result<T>>),
}

impl<T> Soon<T> {
    pub(crate) fn done(result: io::Result<T>) -> Self {
        Self { state: State::Done(Some(result)) }
    }

    pub(crate) fn waiting(future: impl Future<Output = io::Result<T>> + Send + 'static) -> Self {
        Self { state: State::Waiting(Box::pin(future)) }
    }
}

impl<T: Unpin> Future for Soon<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            State::Done(result) => Poll::Ready(result.take().expect("a future is not polled after it is ready")),
            State::Waiting(future) => future.as_mut().poll(cx),
        }
    }
}
