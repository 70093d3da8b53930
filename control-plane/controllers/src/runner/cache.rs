//! What a controller knows of one resource kind: the objects of a watch, with
//! the indexes controllers ask for. Fed by one watcher per kind; read by every
//! controller of the process.
//!
//! A cache is always a little behind. It never polls and never writes; handlers
//! are called in the watcher's task right after the cache has changed.

use futures::StreamExt;
use kube::{
    Api, Resource, ResourceExt,
    runtime::{
        utils::{Backoff, WatchStreamExt},
        watcher,
    },
};
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::{self, Debug, Display},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;
use tracing::debug;
use wk_platform::Entropy;

/// The first pause after a failed list or watch; doubles up to the longest.
const RETRY_MIN: Duration = Duration::from_millis(20);
/// The longest pause between attempts to list or watch.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Which object: a namespace (empty for cluster-scoped kinds) and a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl Key {
    /// A key from its two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object.
    pub fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// A statically known resource kind.
pub trait Kind: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static {}
impl<K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static> Kind for K {}

/// One object appeared (`old` is absent), changed, or went (`new` is absent).
pub struct Change<'a, K> {
    /// What the cache held before.
    pub old: Option<&'a Arc<K>>,
    /// What it holds now.
    pub new: Option<&'a Arc<K>>,
}

impl<K> Change<'_, K> {
    /// The newest known state of the object.
    pub fn latest(&self) -> &Arc<K> {
        self.new.or(self.old).expect("a change has at least one side")
    }
}

type Handler<K> = Box<dyn Fn(&Change<'_, K>) + Send + Sync>;

/// Who controls an object: the UID of its controller, or nobody in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Control {
    By(String),
    Nobody(String),
}

fn control_of<K: Resource>(object: &K) -> Control {
    let meta = object.meta();
    let controller = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    match controller {
        Some(owner) => Control::By(owner.uid.clone()),
        None => Control::Nobody(meta.namespace.clone().unwrap_or_default()),
    }
}

struct Objects<K> {
    by_key: BTreeMap<Key, Arc<K>>,
    by_control: HashMap<Control, BTreeSet<Key>>,
}

impl<K: Kind> Objects<K> {
    fn insert(&mut self, key: &Key, object: Arc<K>) -> Option<Arc<K>> {
        let control = control_of(&*object);
        let old = self.by_key.insert(key.clone(), object);
        if let Some(old) = &old {
            let before = control_of(&**old);
            if before == control {
                return Some(old.clone());
            }
            self.unindex(&before, key);
        }
        self.by_control.entry(control).or_default().insert(key.clone());
        old
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<K>> {
        let old = self.by_key.remove(key)?;
        self.unindex(&control_of(&*old), key);
        Some(old)
    }

    fn unindex(&mut self, control: &Control, key: &Key) {
        if let Some(keys) = self.by_control.get_mut(control) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_control.remove(control);
            }
        }
    }

    fn under(&self, control: &Control) -> Vec<Arc<K>> {
        let keys = self.by_control.get(control).into_iter().flatten();
        keys.filter_map(|key| self.by_key.get(key).cloned()).collect()
    }
}

/// The objects of one kind, in key order.
pub struct Cache<K> {
    objects: RwLock<Objects<K>>,
    handlers: RwLock<Vec<Handler<K>>>,
    synced: watch::Sender<bool>,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        let objects = RwLock::new(Objects { by_key: BTreeMap::new(), by_control: HashMap::new() });
        Self { objects, handlers: RwLock::default(), synced: watch::Sender::new(false) }
    }
}

impl<K: Kind> Cache<K> {
    /// Calls `handler` after each change, in order. Register before the watch
    /// starts; a handler must be quick and must not wait.
    pub fn on_change(&self, handler: impl Fn(&Change<'_, K>) + Send + Sync + 'static) {
        self.handlers.write().push(Box::new(handler));
    }

    /// The object, as last seen.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.objects.read().by_key.get(key).cloned()
    }

    /// Every object of every namespace.
    pub fn everything(&self) -> Vec<Arc<K>> {
        self.objects.read().by_key.values().cloned().collect()
    }

    /// The objects of one namespace.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let objects = self.objects.read();
        let range = objects.by_key.range(Key::new(namespace, "")..);
        range.take_while(|(key, _)| key.namespace == namespace).map(|(_, object)| object.clone()).collect()
    }

    /// The objects whose controller has this UID.
    pub fn controlled_by(&self, uid: &str) -> Vec<Arc<K>> {
        self.objects.read().under(&Control::By(uid.to_owned()))
    }

    /// The objects of a namespace that have no controller.
    pub fn uncontrolled_in(&self, namespace: &str) -> Vec<Arc<K>> {
        self.objects.read().under(&Control::Nobody(namespace.to_owned()))
    }

    /// Turns true after the first complete list, and stays so.
    pub fn synced(&self) -> watch::Receiver<bool> {
        self.synced.subscribe()
    }

    /// Puts an object in and tells the handlers.
    pub fn apply(&self, mut object: K) {
        object.meta_mut().managed_fields = None; // the larger half of most objects, and no controller reads it
        let (key, object) = (Key::of(&object), Arc::new(object));
        let old = self.objects.write().insert(&key, object.clone());
        self.tell(old.as_ref(), Some(&object));
    }

    /// Takes an object out and tells the handlers, which see its last state.
    pub fn delete(&self, last: K) {
        let key = Key::of(&last);
        if self.objects.write().remove(&key).is_some() {
            self.tell(Some(&Arc::new(last)), None);
        }
    }

    fn tell(&self, old: Option<&Arc<K>>, new: Option<&Arc<K>>) {
        // A deletion and a creation of the same name may arrive as one change
        // after a lost watch; handlers are told of two objects.
        if let (Some(before), Some(after)) = (old, new)
            && before.uid() != after.uid()
        {
            self.tell(Some(before), None);
            return self.tell(None, Some(after));
        }
        for handler in self.handlers.read().iter() {
            handler(&Change { old, new });
        }
    }

    /// After a new list: what it did not contain is gone.
    fn retain(&self, listed: &BTreeSet<Key>) {
        let gone: Vec<Key> = self.objects.read().by_key.keys().filter(|key| !listed.contains(*key)).cloned().collect();
        for key in gone {
            let old = self.objects.write().remove(&key);
            self.tell(old.as_ref(), None);
        }
        self.synced.send_replace(true);
    }

    /// Lists, watches and keeps the cache current, for ever.
    pub async fn feed(&self, api: Api<K>, config: watcher::Config, retry: Retry) {
        let stream = watcher(api, config).backoff(retry);
        let mut stream = std::pin::pin!(stream);
        let mut listed = BTreeSet::new();
        while let Some(event) = stream.next().await {
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(object)) => {
                    listed.insert(Key::of(&object));
                    self.apply(object);
                }
                Ok(watcher::Event::InitDone) => self.retain(&std::mem::take(&mut listed)),
                Ok(watcher::Event::Apply(object)) => self.apply(object),
                Ok(watcher::Event::Delete(object)) => self.delete(object),
                Err(error) => debug!(resource = %K::plural(&()), %error, "watch failed"),
            }
        }
    }
}

/// Pauses between attempts to list and watch: doubling, with jitter, reset by success.
pub(crate) struct Retry {
    failures: u32,
    entropy: Entropy,
}

impl Retry {
    /// Before the first failure.
    pub fn new(entropy: Entropy) -> Self {
        Self { failures: 0, entropy }
    }
}

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = RETRY_MIN.saturating_mul(1 << self.failures.min(16)).min(RETRY_MAX);
        self.failures += 1;
        Some(self.entropy.jitter(pause, 0.5))
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::OwnerReference};
    use parking_lot::Mutex;

    fn pod(namespace: &str, name: &str, uid: &str, controller: Option<&str>) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.namespace = Some(namespace.to_owned());
        pod.metadata.name = Some(name.to_owned());
        pod.metadata.uid = Some(uid.to_owned());
        pod.metadata.owner_references = controller.map(|uid| {
            vec![OwnerReference { uid: uid.to_owned(), controller: Some(true), ..OwnerReference::default() }]
        });
        pod
    }

    fn names(pods: &[Arc<Pod>]) -> Vec<String> {
        pods.iter().map(|pod| pod.name_any()).collect()
    }

    #[test]
    fn indexes_follow_the_controller_of_an_object() {
        let cache = Cache::default();
        cache.apply(pod("a", "one", "1", Some("rs")));
        cache.apply(pod("a", "two", "2", None));
        cache.apply(pod("b", "one", "3", None));
        assert_eq!(names(&cache.controlled_by("rs")), ["one"]);
        assert_eq!(names(&cache.uncontrolled_in("a")), ["two"]);
        assert_eq!(names(&cache.in_namespace("a")), ["one", "two"]);

        cache.apply(pod("a", "one", "1", None));
        assert!(cache.controlled_by("rs").is_empty());
        assert_eq!(names(&cache.uncontrolled_in("a")), ["one", "two"]);
    }

    #[test]
    fn a_new_list_deletes_what_it_lacks_and_a_reused_name_is_two_changes() {
        let cache = Cache::default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        cache.on_change(move |change: &Change<'_, Pod>| {
            log.lock().push((change.old.and_then(|old| old.uid()), change.new.and_then(|new| new.uid())));
        });
        cache.apply(pod("a", "one", "1", None));
        cache.apply(pod("a", "one", "2", None));
        cache.retain(&BTreeSet::new());
        let uid = |uid: &str| Some(uid.to_owned());
        assert_eq!(*seen.lock(), [(None, uid("1")), (uid("1"), None), (None, uid("2")), (uid("2"), None)]);
        assert!(*cache.synced().borrow());
    }
}
