//! A cursor into the history of one resource. It holds no events of its own, so
//! that a slow reader costs nothing; it is told when it has lost its place.

use super::{
    history::{CachedEvent, Lost},
    resource::ResourceCache,
};
use std::sync::Arc;
use tokio::sync::watch;

/// Events taken at a time, so that the cache's lock is held briefly.
const BATCH: usize = 128;

/// Reads changes in order.
pub struct Watcher {
    cache: Arc<ResourceCache>,
    position: u64,
    end: watch::Receiver<u64>,
}

impl Watcher {
    pub(super) fn new(cache: Arc<ResourceCache>, position: u64, end: watch::Receiver<u64>) -> Self {
        Self { cache, position, end }
    }

    /// Whether there is something that it has not read. Costs next to nothing.
    pub fn is_behind(&self) -> bool {
        self.end.has_changed().unwrap_or(true)
    }

    /// What is there now; empty when the reader has caught up.
    ///
    /// # Errors
    /// [`Lost`] when the reader was too slow.
    pub fn ready(&mut self) -> Result<Vec<Arc<CachedEvent>>, Lost> {
        self.end.mark_unchanged();
        let events = self.cache.events(self.position, BATCH)?;
        self.position += events.len() as u64;
        Ok(events)
    }

    /// Waits for the next changes; never empty. Cancel safety: nothing is lost.
    ///
    /// # Errors
    /// [`Lost`] when the reader was too slow.
    pub async fn next(&mut self) -> Result<Vec<Arc<CachedEvent>>, Lost> {
        loop {
            let events = self.ready()?;
            if !events.is_empty() {
                return Ok(events);
            }
            // The sender lives in the cache that this watcher keeps alive.
            if self.end.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
