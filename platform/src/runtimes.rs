//! The two tokio runtimes of a process.
//!
//! Guests never share one with the control plane: six spinning guests on two
//! workers of a shared runtime delayed a 10 ms timer by 920 ms.

use std::io;
use tokio::runtime::{Builder, Runtime};

/// Polls between looking at timers and sockets on the guests' runtime. The
/// default of 61 lets a few spinning guests starve every timer.
const GUEST_EVENT_INTERVAL: u32 = 2;

/// The runtime of the API server, scheduler, controllers and kubelet.
///
/// # Errors
/// When the operating system gives no threads.
pub fn control_plane() -> io::Result<Runtime> {
    Builder::new_multi_thread().thread_name("wk-control").enable_all().build()
}

/// The runtime that polls guests, and nothing else.
///
/// # Errors
/// When the operating system gives no threads.
pub fn guests() -> io::Result<Runtime> {
    Builder::new_multi_thread().thread_name("wk-guest").event_interval(GUEST_EVENT_INTERVAL).enable_all().build()
}
