//! What every controller needs, written once: one watch and one [`Cache`] per
//! resource kind shared by all controllers, a work queue with backoff per
//! controller, workers, and recorded events.
//!
//! A controller is one file: it asks for caches, maps their changes to keys of
//! its queue, and gives a [`Reconcile`]. A change reaches its worker in the time
//! of a function call and a task wake-up: nothing polls and nothing waits for more.

pub(crate) mod cache;
pub(crate) mod events;
pub(crate) mod expectations;
#[cfg(test)]
pub(crate) mod fake_api;
pub(crate) mod patch;
pub(crate) mod queue;

use cache::Retry;
pub(crate) use cache::{Cache, Change, Key, Kind};
pub(crate) use events::{EventType, Recorder};
pub(crate) use queue::Queue;

use kube::{Api, Client, Resource, ResourceExt, runtime::watcher};
use std::{
    any::{Any, TypeId},
    collections::HashMap,
    convert::Infallible,
    fmt::{Debug, Display},
    future::Future,
    hash::Hash,
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;
use tracing::{debug, warn};
use wk_platform::{Clock, Entropy, TaskGroup, tasks::OnError};

/// Why a reconcile did not finish; the runner logs it and tries again later.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or could not be asked.
    #[error("{operation} {object}: {source}")]
    Api {
        /// What was tried: a verb and a kind.
        operation: &'static str,
        /// Which object.
        object: String,
        /// What the client said.
        #[source]
        source: Box<kube::Error>,
    },
    /// An object cannot be acted on as it is.
    #[error("{object}: {problem}")]
    Object {
        /// Which object.
        object: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Error {
    /// For `map_err`: the failure of `operation` on `object`.
    pub fn api<D: Display + ?Sized>(operation: &'static str, object: &D) -> impl FnOnce(kube::Error) -> Self {
        let object = object.to_string();
        move |source| Self::Api { operation, object, source: Box::new(source) }
    }

    /// Whether somebody else was quicker; the cache will soon say how.
    fn is_staleness(&self) -> bool {
        match self {
            Self::Api { source, .. } => is_conflict(source) || is_not_found(source),
            Self::Object { .. } => false,
        }
    }
}

/// The object has changed since it was read, or exists already.
pub(crate) fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict() || status.is_already_exists())
}

/// The object is gone.
pub(crate) fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found())
}

/// A failure that means the object is already gone is none.
pub(crate) fn unless_gone<T>(result: kube::Result<T>) -> kube::Result<()> {
    match result {
        Err(error) if is_not_found(&error) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// When a key that went well wants to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At the next change.
    Change,
    /// At the next change, or after this long.
    After(Duration),
}

impl From<Option<Duration>> for Next {
    fn from(pause: Option<Duration>) -> Self {
        pause.map_or(Self::Change, Self::After)
    }
}

/// Brings what one key stands for to where it should be.
pub trait Reconcile: Send + Sync + 'static {
    /// What the queue holds.
    type Key: Clone + Eq + Hash + Debug + Send + Sync;

    /// Looks at the level, acts once. Called for one key by one worker at a time.
    ///
    /// # Errors
    /// The key comes back after its backoff.
    fn reconcile(&self, key: &Self::Key) -> impl Future<Output = Result<Next, Error>> + Send;
}

/// Starts the watch of one kind.
type Feed = Box<dyn FnOnce(&Runner) + Send>;

/// Where controllers are put together; [`Runner::start`] sets the watches going.
pub struct Runner {
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) tasks: TaskGroup,
    recorder: Recorder,
    caches: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    feeds: Vec<Feed>,
}

impl Runner {
    /// A runner without controllers.
    pub fn new(client: Client, clock: Clock, entropy: Entropy, tasks: TaskGroup) -> Self {
        let (recorder, inbox) = Recorder::new("kube-controller-manager");
        let writer = events::write(client.clone(), clock.clone(), inbox);
        tasks.spawn("event recorder", OnError::Log, async move {
            writer.await;
            Ok::<_, Infallible>(())
        });
        Self { client, clock, entropy, tasks, recorder, caches: HashMap::new(), feeds: Vec::new() }
    }

    /// Starts to describe a controller whose queue holds `T`.
    pub fn controller<T: Clone + Eq + Hash>(&mut self, name: &'static str) -> Builder<'_, T> {
        Builder { recorder: self.recorder.named(name), runner: self, name, queue: Arc::default(), synced: Vec::new() }
    }

    fn cache<K: Kind>(&mut self) -> Arc<Cache<K>> {
        if let Some(known) = self.caches.get(&TypeId::of::<K>()).cloned() {
            return known.downcast().expect("a cache is stored under the type of its kind");
        }
        let cache = self.fed_cache::<K>(Api::all(self.client.clone()), watcher::Config::default());
        self.caches.insert(TypeId::of::<K>(), cache.clone());
        cache
    }

    fn fed_cache<K: Kind>(&mut self, api: Api<K>, config: watcher::Config) -> Arc<Cache<K>> {
        let cache = Arc::new(Cache::<K>::default());
        let fed = cache.clone();
        self.feeds.push(Box::new(move |runner| {
            let retry = Retry::new(runner.entropy.clone());
            runner.tasks.spawn("controller watch", OnError::Log, async move {
                fed.feed(api, config, retry).await;
                Ok::<_, Infallible>(())
            });
        }));
        cache
    }

    /// Starts the watches. Every handler has been registered by now.
    pub fn start(mut self) {
        for feed in std::mem::take(&mut self.feeds) {
            feed(&self);
        }
    }
}

/// One controller in the making.
pub struct Builder<'a, T> {
    pub(crate) runner: &'a mut Runner,
    pub(crate) queue: Arc<Queue<T>>,
    pub(crate) recorder: Recorder,
    name: &'static str,
    synced: Vec<watch::Receiver<bool>>,
}

impl<T: Clone + Eq + Hash + Debug + Send + Sync + 'static> Builder<'_, T> {
    /// The shared cache of a kind; work starts when it is filled.
    pub fn cache<K: Kind>(&mut self) -> Arc<Cache<K>> {
        let cache = self.runner.cache::<K>();
        self.synced.push(cache.synced());
        cache
    }

    /// A cache of its own with only some objects of a kind.
    pub fn cache_of_some<K: Kind>(&mut self, api: Api<K>, config: watcher::Config) -> Arc<Cache<K>> {
        let cache = self.runner.fed_cache(api, config);
        self.synced.push(cache.synced());
        cache
    }

    /// Starts `workers` workers once the caches are filled.
    pub fn run<R: Reconcile<Key = T>>(self, workers: usize, reconciler: R) {
        let Self { runner, queue, name, synced, .. } = self;
        let (reconciler, tasks) = (Arc::new(reconciler), runner.tasks.clone());
        runner.tasks.spawn(name, OnError::Log, async move {
            wait_for_all(synced).await;
            debug!(controller = name, "caches are filled");
            for _ in 0..workers {
                let (queue, reconciler) = (queue.clone(), reconciler.clone());
                tasks.spawn(name, OnError::Log, async move {
                    work(name, &queue, &*reconciler).await;
                    Ok::<_, Infallible>(())
                });
            }
            Ok::<_, Infallible>(())
        });
    }
}

impl Builder<'_, Key> {
    /// The shared cache of a kind each change of which is a change of its own key.
    pub fn cache_of_own<K: Kind>(&mut self) -> Arc<Cache<K>> {
        let (cache, queue) = (self.cache::<K>(), self.queue.clone());
        cache.on_change(move |change| queue.add(Key::of(&**change.latest())));
        cache
    }
}

async fn wait_for_all(synced: Vec<watch::Receiver<bool>>) {
    for mut cache in synced {
        // The sender lives in the cache, which the controller holds.
        let _ = cache.wait_for(|synced| *synced).await;
    }
}

async fn work<R: Reconcile>(controller: &'static str, queue: &Queue<R::Key>, reconciler: &R) {
    loop {
        let key = queue.next().await;
        // In a box: all workers together would hold a megabyte of idle reconciles.
        match Box::pin(reconciler.reconcile(&key)).await {
            Ok(Next::Change) => queue.done(&key),
            Ok(Next::After(pause)) => {
                queue.done(&key);
                queue.add_after(key, pause);
            }
            Err(error) => {
                let pause = queue.failed(&key);
                if error.is_staleness() {
                    debug!(controller, ?key, %error, ?pause, "will try again with a fresher cache");
                } else {
                    warn!(controller, ?key, %error, ?pause, "reconcile failed");
                }
            }
        }
    }
}

/// The UID of an object; empty for one that was never stored.
pub(crate) fn uid<K: Resource>(object: &K) -> &str {
    object.meta().uid.as_deref().unwrap_or_default()
}

/// The object `reference` names, when the cache has it with the right UID.
pub(crate) fn resolve_controller<O: Kind, K: Resource>(owners: &Cache<O>, object: &K) -> Option<Arc<O>> {
    let owner = object.meta().owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    if owner.kind != O::kind(&()) {
        return None;
    }
    let key = Key::new(object.meta().namespace.clone().unwrap_or_default(), owner.name.clone());
    owners.get(&key).filter(|found| found.uid().as_deref() == Some(&owner.uid))
}
