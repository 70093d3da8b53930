//! List and watch from memory.
//!
//! ```text
//!  store ── one watch of everything ──▶ Feeder ──▶ ResourceCache (pods)  ──▶ lists, watchers
//!                                           └────▶ ResourceCache (nodes) ──▶ …
//! ```
//!
//! One task reads the store's changes and hands each to the cache of its
//! resource; a resource nobody has listed or watched has none. Because it sees
//! every commit, it knows how far *every* cache has come, so that a list can wait
//! until the cache is as new as the store. Called by the list and watch verbs.

mod history;
mod resource;
mod watcher;

pub use history::{CachedEvent, EventKind, Lost, frame};
pub use resource::{CachedObject, ResourceCache, Snapshot};
pub use watcher::Watcher;

use crate::{http::status::ApiError, registry::Resource, storage};
use futures::StreamExt;
use parking_lot::RwLock;
use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};
use tokio::sync::watch;
use tracing::warn;
use wk_platform::tasks::{OnError, TaskGroup};
use wk_store::{Change, Error, Key, Page, Revision, Store};

/// How long a list waits for a revision that has not come yet (upstream:
/// `blockTimeout` of the watch cache).
const FRESHNESS_WAIT: Duration = Duration::from_secs(3);

/// Wait before looking again when the store cannot be read.
const STORE_RETRY: Duration = Duration::from_millis(200);

/// Attempts to read a cache while all start over. One is enough, unless the
/// store's content is replaced several times in the meantime.
const SNAPSHOT_ATTEMPTS_MAX: usize = 8;

/// The caches of all resources. Cheap to clone.
#[derive(Clone)]
pub struct Caches {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    /// By storage prefix.
    resources: RwLock<HashMap<String, Arc<ResourceCache>>>,
    /// Every commit up to here has been handed out.
    progress: watch::Sender<Revision>,
}

impl Caches {
    /// Caches over `store`, fed by a task of `tasks`.
    pub fn start(store: Arc<dyn Store>, tasks: &TaskGroup) -> Self {
        let begin = store.revision();
        let shared = Shared { store, resources: RwLock::default(), progress: watch::Sender::new(begin) };
        let caches = Self { shared: Arc::new(shared) };
        let feeder = caches.clone();
        tasks.spawn("watch cache", OnError::StopGroup, async move {
            feeder.feed(begin).await;
            Ok::<_, Infallible>(())
        });
        caches
    }

    /// The cache of a resource, filled on first use.
    ///
    /// # Errors
    /// The store's.
    pub async fn of(&self, row: &'static Resource) -> Result<Arc<ResourceCache>, ApiError> {
        let prefix = storage::prefix(row, "");
        let known = self.shared.resources.read().get(&prefix).cloned();
        // Known to the feeder before it is listed: no change falls in between.
        let cache = known.unwrap_or_else(|| {
            let mut resources = self.shared.resources.write();
            resources.entry(prefix).or_insert_with(|| Arc::new(ResourceCache::new(row))).clone()
        });
        cache.filled(&self.shared.store).await?;
        Ok(cache)
    }

    /// The objects of a resource whose key begins with `prefix`, as cached now.
    ///
    /// # Errors
    /// The store's; 503 when the caches keep starting over.
    pub async fn snapshot(&self, row: &'static Resource, prefix: &str) -> Result<Snapshot, ApiError> {
        for _ in 0..SNAPSHOT_ATTEMPTS_MAX {
            let cache = self.of(row).await?;
            // An expired cache would show nothing, as if all objects were gone.
            if let Ok(snapshot) = cache.snapshot(prefix, self.progress()) {
                return Ok(snapshot);
            }
        }
        Err(ApiError::Unavailable(format!("the cache of {} starts over", row.plural)))
    }

    /// Waits until every cache has seen what the store has committed by now.
    ///
    /// # Errors
    /// 504 when it takes too long.
    pub async fn wait_until_fresh(&self) -> Result<(), ApiError> {
        self.wait_for(self.shared.store.revision()).await
    }

    /// Waits until every cache has seen `revision`.
    ///
    /// # Errors
    /// 504 when it takes too long.
    pub async fn wait_for(&self, revision: Revision) -> Result<(), ApiError> {
        let mut progress = self.shared.progress.subscribe();
        let reached = progress.wait_for(|now| *now >= revision);
        let waited = tokio::time::timeout(FRESHNESS_WAIT, reached).await.map(|reached| reached.is_ok());
        match waited {
            Ok(true) => Ok(()),
            _ => Err(ApiError::FutureRevision { asked: revision.0, current: self.progress().0 }),
        }
    }

    /// Tells whenever something was committed.
    pub fn changes(&self) -> watch::Receiver<Revision> {
        self.shared.progress.subscribe()
    }

    /// Every cache has seen every commit up to here.
    pub fn progress(&self) -> Revision {
        *self.shared.progress.borrow()
    }

    /// Hands changes to the caches until the store closes.
    async fn feed(&self, mut after: Revision) {
        loop {
            let mut changes = self.shared.store.watch(Key::from(""), after);
            let end = loop {
                match changes.next().await {
                    Some(Ok(change)) => {
                        after = change.revision();
                        self.hand_out(&change);
                        self.shared.progress.send_replace(after);
                    }
                    end => break end,
                }
            };
            drop(changes);
            // The store's content was replaced, or the feeder fell out of its history:
            // lists wait for it. Otherwise the store cannot be read, or is closed.
            if !matches!(end, Some(Err(Error::Expired { .. }))) {
                tokio::time::sleep(STORE_RETRY).await;
            }
            after = self.start_over().await.unwrap_or(after);
        }
    }

    fn hand_out(&self, change: &Change) {
        let Some((core, grouped)) = std::str::from_utf8(&change.key().0).ok().and_then(resource_prefixes) else {
            return;
        };
        let cache = {
            let resources = self.shared.resources.read();
            resources.get(core).or_else(|| resources.get(grouped)).cloned()
        };
        if let Some(cache) = cache {
            cache.apply(change);
        }
    }

    /// Forgets every cache; their watchers are told to list again.
    async fn start_over(&self) -> Option<Revision> {
        let now = self.shared.store.list(&Key::from("/registry/none/"), Page::default()).await.ok()?.revision;
        warn!(revision = %now, "watch cache started over");
        let dropped = std::mem::take(&mut *self.shared.resources.write());
        dropped.values().for_each(|cache| cache.expire());
        self.shared.progress.send_replace(now);
        Some(now)
    }
}

/// The parts of a key that may name its resource: `/registry/pods/` and
/// `/registry/pods/default/`, `/registry/apps/` and `/registry/apps/deployments/`.
/// No core resource is called like a group, so at most one has a cache.
fn resource_prefixes(key: &str) -> Option<(&str, &str)> {
    let mut ends = key.match_indices('/').map(|(at, _)| at + 1).skip(2);
    let core = ends.next()?;
    let grouped = ends.next().unwrap_or(core);
    Some((&key[..core], &key[..grouped]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_their_resource() {
        let (core, _) = resource_prefixes("/registry/nodes/n1").expect("a resource");
        assert_eq!(core, "/registry/nodes/");
        let (_, grouped) = resource_prefixes("/registry/apps/deployments/default/web").expect("a resource");
        assert_eq!(grouped, "/registry/apps/deployments/");
        assert_eq!(resource_prefixes("/registry"), None);
    }
}
