//! Who waits for a change of something that several processes hold.
//!
//! Tokio's channels remember one reader each; an open file may have many, each in
//! a task of its own. They are all woken by any change and look again.

use parking_lot::Mutex;
use std::{
    sync::Arc,
    task::{Context, Wake, Waker},
};

/// The wakers of who waits; at most one for each task of a container.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<Vec<Waker>>);

impl Waiters {
    /// Remembers who asks. To be called before looking at the thing, so that no
    /// change falls in between.
    pub fn register(&self, cx: &Context<'_>) {
        let mut wakers = self.0.lock();
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
    }

    /// Wakes them all.
    pub fn wake_all(&self) {
        let wakers = std::mem::take(&mut *self.0.lock());
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Wake for Waiters {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }
}
