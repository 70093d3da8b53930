//! Objects that pods refer to: ConfigMaps, Secrets (one watch each, only while a
//! pod refers to it, shared by all that do) and all Services (for environment
//! variables). Workers read them from memory and wake when one changes.

use crate::spec;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Debug,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;
use wk_platform::{TaskGroup, tasks::OnError};

/// How long a start waits for the API server's first answer about an object.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// What is known of an object.
#[derive(Clone, Debug)]
pub enum Answer<K> {
    /// The API server has not answered yet.
    Unknown,
    /// There is none.
    Absent,
    /// It is this.
    Present(Arc<K>),
}

/// A kind whose objects pods refer to by name.
pub trait Referable:
    kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
    + Clone
    + Debug
    + serde::de::DeserializeOwned
    + Send
    + Sync
    + 'static
{
}
impl Referable for ConfigMap {}
impl Referable for Secret {}

/// A subscription to one object; the watch ends with the last one.
#[derive(Clone)]
pub struct Reference<K> {
    answer: watch::Receiver<Answer<K>>,
    _watch: Arc<DropGuard>,
}

impl<K> Reference<K> {
    /// What is known now.
    pub fn get(&self) -> Answer<K>
    where
        K: Clone,
    {
        self.answer.borrow().clone()
    }
}

#[cfg(test)]
impl<K> Reference<K> {
    /// A reference whose answer never changes.
    pub fn fixed(object: Option<K>) -> Self {
        let answer = object.map_or(Answer::Absent, |object| Answer::Present(Arc::new(object)));
        Self { answer: watch::channel(answer).1, _watch: Arc::new(CancellationToken::new().drop_guard()) }
    }
}

/// The objects of one kind that are watched.
struct Cache<K> {
    watches: Mutex<HashMap<(String, String), Watched<K>>>,
}

struct Watched<K> {
    answer: watch::Receiver<Answer<K>>,
    watch: Weak<DropGuard>,
}

/// By namespace and name.
type Services = BTreeMap<(String, String), Arc<Service>>;

/// All objects that pods of this node refer to.
pub struct Objects {
    client: Client,
    tasks: TaskGroup,
    config_maps: Cache<ConfigMap>,
    secrets: Cache<Secret>,
    services: watch::Sender<Option<Services>>,
}

/// The references of one pod.
#[derive(Clone, Default)]
pub struct References {
    /// By name, in the pod's namespace.
    pub config_maps: BTreeMap<String, Reference<ConfigMap>>,
    /// By name, in the pod's namespace.
    pub secrets: BTreeMap<String, Reference<Secret>>,
}

impl Objects {
    /// Nothing watched yet.
    pub fn new(client: Client, tasks: TaskGroup) -> Arc<Self> {
        let (config_maps, secrets) = (Cache::default(), Cache::default());
        Arc::new(Self { client, tasks, config_maps, secrets, services: watch::Sender::new(None) })
    }

    /// Follows all Services; a task of the kubelet.
    ///
    /// # Errors
    /// None: the watch recovers by itself.
    pub async fn watch_services(self: Arc<Self>) -> Result<(), std::convert::Infallible> {
        let api: Api<Service> = Api::all(self.client.clone());
        let mut stream = watcher(api, watcher::Config::default()).default_backoff().boxed();
        let mut fresh = Services::new();
        let key = |service: &Service| {
            (service.metadata.namespace.clone().unwrap_or_default(), service.metadata.name.clone().unwrap_or_default())
        };
        while let Some(event) = stream.next().await {
            let change = |change: &mut dyn FnMut(&mut Services)| {
                self.services.send_modify(|services| change(services.get_or_insert_default()));
            };
            match event {
                Ok(watcher::Event::Init) => fresh = Services::new(),
                Ok(watcher::Event::InitApply(service)) => drop(fresh.insert(key(&service), Arc::new(service))),
                Ok(watcher::Event::InitDone) => drop(self.services.send_replace(Some(std::mem::take(&mut fresh)))),
                Ok(watcher::Event::Apply(service)) => {
                    let service = Arc::new(service);
                    change(&mut |services| drop(services.insert(key(&service), Arc::clone(&service))));
                }
                Ok(watcher::Event::Delete(service)) => change(&mut |services| drop(services.remove(&key(&service)))),
                Err(error) => debug!(%error, "watch of services failed"),
            }
        }
        Ok(())
    }

    /// All Services, once they are known.
    ///
    /// # Errors
    /// When the API server has not listed them for long.
    pub async fn services(&self) -> Result<Vec<Arc<Service>>, String> {
        let mut services = self.services.subscribe();
        let known = tokio::time::timeout(FIRST_ANSWER, services.wait_for(Option::is_some)).await;
        let late = || "services have not yet been read at least once, cannot construct envvars".to_owned();
        let known = known.map_err(|_| late())?.map_err(|_| late())?;
        Ok(known.iter().flat_map(BTreeMap::values).cloned().collect())
    }

    /// Subscribes to what the pod refers to.
    pub fn references(&self, pod: &Pod) -> References {
        let namespace = spec::namespace(pod);
        let (config_maps, secrets) = names(pod);
        References {
            config_maps: self.config_maps.subscribe(self, namespace, config_maps),
            secrets: self.secrets.subscribe(self, namespace, secrets),
        }
    }
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self { watches: Mutex::default() }
    }
}

impl<K: Referable> Cache<K> {
    fn subscribe(&self, objects: &Objects, namespace: &str, names: BTreeSet<String>) -> BTreeMap<String, Reference<K>> {
        names.into_iter().map(|name| (name.clone(), self.reference(objects, namespace, name))).collect()
    }

    fn reference(&self, objects: &Objects, namespace: &str, name: String) -> Reference<K> {
        let mut watches = self.watches.lock();
        watches.retain(|_, watched| watched.watch.strong_count() > 0);
        let key = (namespace.to_owned(), name.clone());
        let known = watches.get(&key).and_then(|watched| Some((watched.answer.clone(), watched.watch.upgrade()?)));
        if let Some((answer, watch)) = known {
            return Reference { answer, _watch: watch };
        }
        let (sender, answer) = watch::channel(Answer::Unknown);
        let stop = CancellationToken::new();
        let watch = Arc::new(stop.clone().drop_guard());
        let api: Api<K> = Api::namespaced(objects.client.clone(), namespace);
        objects.tasks.spawn("reference", OnError::Log, async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = follow(api, name, sender) => {}
            }
            Ok::<_, std::convert::Infallible>(())
        });
        watches.insert(key, Watched { answer: answer.clone(), watch: Arc::downgrade(&watch) });
        Reference { answer, _watch: watch }
    }
}

async fn follow<K: Referable>(api: Api<K>, name: String, answer: watch::Sender<Answer<K>>) {
    let mut stream = watcher::watch_object(api, &name).default_backoff().boxed();
    while let Some(event) = stream.next().await {
        match event {
            Ok(Some(object)) => drop(answer.send_replace(Answer::Present(Arc::new(object)))),
            Ok(None) => drop(answer.send_replace(Answer::Absent)),
            Err(error) => debug!(%error, name, "watch of a referenced object failed"),
        }
    }
}

impl References {
    /// Waits until every object has been answered for, or for long.
    pub async fn answered(&mut self) {
        let config_maps = self.config_maps.values_mut().map(|reference| first(&mut reference.answer).boxed());
        let secrets = self.secrets.values_mut().map(|reference| first(&mut reference.answer).boxed());
        let all = futures::future::join_all(config_maps.chain(secrets));
        // What is unknown after that is treated as absent, and looked at again when it changes.
        let _ = tokio::time::timeout(FIRST_ANSWER, all).await;
    }

    /// Completes when an object changes; never, without objects. Cancel safe.
    pub async fn changed(&mut self) {
        let config_maps = self.config_maps.values_mut().map(|reference| next(&mut reference.answer).boxed());
        let secrets = self.secrets.values_mut().map(|reference| next(&mut reference.answer).boxed());
        let all: Vec<_> = config_maps.chain(secrets).collect();
        if all.is_empty() {
            return std::future::pending().await;
        }
        futures::future::select_all(all).await;
    }

    /// What is known of a ConfigMap.
    pub fn config_map(&self, name: &str) -> Option<Arc<ConfigMap>> {
        present(self.config_maps.get(name)?)
    }

    /// What is known of a Secret.
    pub fn secret(&self, name: &str) -> Option<Arc<Secret>> {
        present(self.secrets.get(name)?)
    }
}

fn present<K: Clone>(reference: &Reference<K>) -> Option<Arc<K>> {
    match reference.get() {
        Answer::Present(object) => Some(object),
        Answer::Unknown | Answer::Absent => None,
    }
}

async fn first<K: Send + Sync>(answer: &mut watch::Receiver<Answer<K>>) {
    // A closed channel is a kubelet that stops.
    let _ = answer.wait_for(|answer| !matches!(answer, Answer::Unknown)).await;
}

async fn next<K: Send + Sync>(answer: &mut watch::Receiver<Answer<K>>) {
    if answer.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The names of ConfigMaps and Secrets that the pod refers to.
fn names(pod: &Pod) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut config_maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for (_, container) in spec::containers(pod) {
        for source in container.env_from.iter().flatten() {
            config_maps.extend(source.config_map_ref.as_ref().map(|reference| reference.name.clone()));
            secrets.extend(source.secret_ref.as_ref().map(|reference| reference.name.clone()));
        }
        for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
            config_maps.extend(source.config_map_key_ref.as_ref().map(|reference| reference.name.clone()));
            secrets.extend(source.secret_key_ref.as_ref().map(|reference| reference.name.clone()));
        }
    }
    for volume in spec::of(pod).volumes.iter().flatten() {
        config_maps.extend(volume.config_map.as_ref().map(|source| source.name.clone()));
        secrets.extend(volume.secret.as_ref().and_then(|source| source.secret_name.clone()));
        let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        for source in projected {
            config_maps.extend(source.config_map.as_ref().map(|source| source.name.clone()));
            secrets.extend(source.secret.as_ref().map(|source| source.name.clone()));
        }
    }
    (config_maps, secrets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_place_that_can_name_an_object_is_found() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": {
            "initContainers": [{"name": "i", "envFrom": [{"configMapRef": {"name": "a"}}, {"secretRef": {"name": "x"}}]}],
            "containers": [{"name": "m", "env": [
                {"name": "P", "value": "v"},
                {"name": "Q", "valueFrom": {"configMapKeyRef": {"name": "b", "key": "k"}}},
                {"name": "R", "valueFrom": {"secretKeyRef": {"name": "y", "key": "k"}}}]}],
            "volumes": [{"name": "1", "configMap": {"name": "c"}}, {"name": "2", "secret": {"secretName": "z"}},
                {"name": "3", "projected": {"sources": [{"configMap": {"name": "d"}}, {"secret": {"name": "w"}}]}}]}}))
        .expect("a pod");
        let (config_maps, secrets) = names(&pod);
        assert_eq!(config_maps.into_iter().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert_eq!(secrets.into_iter().collect::<Vec<_>>(), ["w", "x", "y", "z"]);
    }
}
