//! How many bytes the connections of a pod may hold together.
//!
//! Charged to the pod that writes. When a pod is over its budget its windows
//! shrink, they do not close: every connection goes on, slower, as Linux does
//! under `tcp_mem` pressure. So a pod is bounded by its budget plus
//! [`WINDOW_UNDER_PRESSURE`] per socket.

use crate::half::HALF_BYTES_MAX;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a direction may hold while its writer's pod is over its budget: enough
/// for a request or a chunk of an answer.
pub(crate) const WINDOW_UNDER_PRESSURE: usize = 16 * 1024;

/// The bytes of one pod.
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    pub fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max }
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What one direction may hold now.
    pub fn window(&self) -> usize {
        if self.used() < self.max { HALF_BYTES_MAX } else { WINDOW_UNDER_PRESSURE }
    }
}
