//! Garbage collector: an object all of whose owners are gone goes too; one that
//! is deleted in the foreground waits for what it owns; one that orphans lets go
//! of it first (upstream: `pkg/controller/garbagecollector`).
//!
//! A metadata-only watch of every deletable resource fills a graph of owners and
//! dependents (`garbage_collector/graph.rs`, pure), which says what to look at.
//! Before anything is deleted the API server is asked anew, and deletions carry
//! the UID: the graph may be stale, its conclusions may not.

mod graph;

use crate::{
    discovery::{self, Resource},
    runner::{Error, Next, Queue, Reconcile, Runner, cache::Retry, is_conflict, is_not_found, patch, unless_gone},
};
use futures::StreamExt;
use graph::{Graph, Identity, Work};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, Preconditions, PropagationPolicy},
    core::{DynamicObject, PartialObjectMeta},
    runtime::{WatchStreamExt, watcher},
};
use parking_lot::{Mutex, RwLock};
use serde_json::json;
use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};
use tracing::{debug, info};
use wk_platform::{Entropy, TaskGroup, tasks::OnError};

/// Objects looked at once (upstream: `--concurrent-gc-syncs`).
const WORKERS: usize = 20;
/// How often new resources are looked for, as upstream does.
const DISCOVERY_PERIOD: Duration = Duration::from_secs(30);
/// The pause after a failed discovery.
const DISCOVERY_RETRY: Duration = Duration::from_millis(200);

/// What an object is called while it waits for its dependents.
const FOREGROUND: &str = "foregroundDeletion";
/// What an object is called while it lets go of its dependents.
const ORPHAN: &str = "orphan";

type Metadata = PartialObjectMeta<DynamicObject>;

/// What watches and workers share.
struct Shared {
    client: Client,
    graph: Mutex<Graph>,
    queue: Arc<Queue<Work>>,
    /// By `apiVersion` and kind.
    resources: RwLock<HashMap<(String, String), Resource>>,
}

/// Puts the controller into `runner`.
pub fn register(runner: &mut Runner) {
    let builder = runner.controller("garbage-collector-controller");
    let shared = Arc::new(Shared {
        client: builder.runner.client.clone(),
        graph: Mutex::new(Graph::default()),
        queue: builder.queue.clone(),
        resources: RwLock::default(),
    });
    let (tasks, entropy) = (builder.runner.tasks.clone(), builder.runner.entropy.clone());
    let discoverer = shared.clone();
    builder.runner.tasks.spawn("garbage collector discovery", OnError::Log, async move {
        discoverer.discover(tasks, entropy).await;
        Ok::<_, Infallible>(())
    });
    builder.run(WORKERS, Collector { shared });
}

impl Shared {
    /// Keeps a watch on every resource there is. A watch of a resource that has
    /// gone fails and retries at its longest pause until it comes back.
    async fn discover(self: Arc<Self>, tasks: TaskGroup, entropy: Entropy) {
        loop {
            let pause = match discovery::resources(&self.client, &["list", "watch", "delete"]).await {
                Ok(found) => {
                    self.watch_new(found, &tasks, &entropy);
                    DISCOVERY_PERIOD
                }
                Err(error) => {
                    debug!(%error, "discovery failed");
                    DISCOVERY_RETRY
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    fn watch_new(self: &Arc<Self>, found: Vec<Resource>, tasks: &TaskGroup, entropy: &Entropy) {
        for resource in found.into_iter().filter(|resource| resource.api.plural != "events") {
            let name = (resource.api.api_version.clone(), resource.api.kind.clone());
            if self.resources.write().insert(name, resource.clone()).is_some() {
                continue;
            }
            let (shared, entropy) = (self.clone(), entropy.clone());
            tasks.spawn("garbage collector watch", OnError::Log, async move {
                shared.watch(resource, entropy).await;
                Ok::<_, Infallible>(())
            });
        }
    }

    async fn watch(&self, resource: Resource, entropy: Entropy) {
        let api: Api<Metadata> = Api::all_with(self.client.clone(), &resource.api);
        let stream = watcher(api, watcher::Config::default()).backoff(Retry::new(entropy));
        let mut stream = std::pin::pin!(stream);
        let mut listed = HashSet::new();
        while let Some(event) = stream.next().await {
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(object)) => {
                    listed.extend(object.uid());
                    self.seen(&resource, &object.metadata);
                }
                Ok(watcher::Event::InitDone) => self.listed(&resource, &std::mem::take(&mut listed)),
                Ok(watcher::Event::Apply(object)) => self.seen(&resource, &object.metadata),
                Ok(watcher::Event::Delete(object)) => self.gone(&object.uid().unwrap_or_default()),
                Err(error) => debug!(resource = %resource.api.plural, %error, "watch failed"),
            }
        }
    }

    fn seen(&self, resource: &Resource, metadata: &ObjectMeta) {
        let work = self.graph.lock().put(identity(resource, metadata), metadata);
        work.into_iter().for_each(|work| self.queue.add(work));
    }

    fn gone(&self, uid: &str) {
        let work = self.graph.lock().remove(uid);
        work.into_iter().for_each(|work| self.queue.add(work));
    }

    fn listed(&self, resource: &Resource, uids: &HashSet<String>) {
        let gone = self.graph.lock().others_of(&resource.api.api_version, &resource.api.kind, uids);
        gone.iter().for_each(|uid| self.gone(uid));
    }

    /// The API of an object; none when its kind is not (or no longer) served.
    fn api(&self, identity: &Identity) -> Option<Api<DynamicObject>> {
        let name = (identity.api_version.clone(), identity.kind.clone());
        let resource = self.resources.read().get(&name).cloned()?;
        if resource.is_namespaced && identity.namespace.is_empty() {
            return None; // a cluster-scoped object cannot be owned by a namespaced one
        }
        Some(if resource.is_namespaced {
            Api::namespaced_with(self.client.clone(), &identity.namespace, &resource.api)
        } else {
            Api::all_with(self.client.clone(), &resource.api)
        })
    }

    /// The object itself, asked of the API server; none when another, or none, has its name.
    async fn live(&self, identity: &Identity) -> Result<Live, Error> {
        let Some(api) = self.api(identity) else { return Ok(Live::Unknown) };
        match api.get_metadata_opt(&identity.name).await.map_err(Error::api("get", identity))? {
            Some(found) if found.metadata.uid.as_deref() == Some(&identity.uid) => {
                Ok(Live::Found(Box::new(found.metadata)))
            }
            _ => Ok(Live::Absent),
        }
    }
}

/// What the API server says of an object.
enum Live {
    Found(Box<ObjectMeta>),
    Absent,
    /// Its kind is not served: nothing is concluded from that.
    Unknown,
}

fn identity(resource: &Resource, metadata: &ObjectMeta) -> Identity {
    Identity {
        api_version: resource.api.api_version.clone(),
        kind: resource.api.kind.clone(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
    }
}

struct Collector {
    shared: Arc<Shared>,
}

impl Reconcile for Collector {
    type Key = Work;

    async fn reconcile(&self, work: &Work) -> Result<Next, Error> {
        match work {
            Work::Examine(uid) => self.examine(uid).await?,
            Work::Orphan(uid) => self.orphan(uid).await?,
        }
        Ok(Next::Change)
    }
}

impl Collector {
    /// Decides whether an object has to go.
    async fn examine(&self, uid: &str) -> Result<(), Error> {
        let Some(node) = self.shared.graph.lock().get(uid) else { return Ok(()) };
        let live = match self.shared.live(&node.identity).await? {
            Live::Found(live) => live,
            Live::Absent => {
                self.shared.gone(uid);
                return Ok(());
            }
            Live::Unknown => return Ok(()),
        };
        if has_finalizer(&live, FOREGROUND) && live.deletion_timestamp.is_some() {
            return self.finish_foreground(&node.identity, &live).await;
        }
        if live.deletion_timestamp.is_some() {
            return Ok(());
        }
        let owners = live.owner_references.clone().unwrap_or_default();
        let standing = self.standing(&node.identity, &owners).await?;
        let has_dependents = !self.shared.graph.lock().dependents(uid).is_empty();
        match graph::verdict(&standing, has_dependents) {
            graph::Verdict::Keep => Ok(()),
            graph::Verdict::Disown(uids) => self.disown(&node.identity, &live, &uids).await,
            graph::Verdict::Delete(graph::Manner::Foreground) => {
                self.delete(&node.identity, PropagationPolicy::Foreground).await
            }
            graph::Verdict::Delete(graph::Manner::AsMarked) => self.delete(&node.identity, policy_of(&live)).await,
        }
    }

    /// How each owner stands, by asking for it.
    async fn standing(
        &self,
        dependent: &Identity,
        owners: &[OwnerReference],
    ) -> Result<Vec<(String, graph::Standing)>, Error> {
        let mut standing = Vec::new();
        for owner in owners {
            let found = match self.shared.live(&Identity::of_owner(owner, &dependent.namespace)).await? {
                Live::Found(live) if live.deletion_timestamp.is_some() && has_finalizer(&live, FOREGROUND) => {
                    graph::Standing::WaitsForDependents
                }
                Live::Found(_) | Live::Unknown => graph::Standing::Solid,
                Live::Absent => graph::Standing::Absent,
            };
            standing.push((owner.uid.clone(), found));
        }
        Ok(standing)
    }

    async fn delete(&self, identity: &Identity, policy: PropagationPolicy) -> Result<(), Error> {
        let Some(api) = self.shared.api(identity) else { return Ok(()) };
        let preconditions = Some(Preconditions { uid: Some(identity.uid.clone()), resource_version: None });
        let params = DeleteParams { preconditions, propagation_policy: Some(policy), ..DeleteParams::default() };
        match api.delete(&identity.name, &params).await {
            Ok(_) => info!(object = %identity, "deleted an object whose owners are gone"),
            Err(error) if is_not_found(&error) || is_conflict(&error) => {}
            Err(error) => return Err(Error::api("delete", identity)(error)),
        }
        Ok(())
    }

    /// Takes owners that are gone, or going, off an object that has others.
    async fn disown(&self, identity: &Identity, live: &ObjectMeta, uids: &[String]) -> Result<(), Error> {
        let kept = live.owner_references.iter().flatten().filter(|owner| !uids.contains(&owner.uid));
        let references: Vec<&OwnerReference> = kept.collect();
        let references = if references.is_empty() { json!(null) } else { json!(references) };
        let body = json!({"metadata": {
            "uid": live.uid, "resourceVersion": live.resource_version, "ownerReferences": references,
        }});
        self.patch(identity, &body).await
    }

    /// Lets an object go whose blocking dependents are gone.
    async fn finish_foreground(&self, identity: &Identity, live: &ObjectMeta) -> Result<(), Error> {
        let dependents = self.shared.graph.lock().dependents(&identity.uid);
        if !dependents.iter().any(|dependent| dependent.blocks(&identity.uid)) {
            return self.remove_finalizer(identity, live, FOREGROUND).await;
        }
        dependents.iter().filter(|dependent| !dependent.is_deleting_dependents()).for_each(|dependent| {
            self.shared.queue.add(Work::Examine(dependent.identity.uid.clone()));
        });
        Ok(())
    }

    /// Takes the owner off everything it owns, then its finalizer off the owner.
    async fn orphan(&self, uid: &str) -> Result<(), Error> {
        let Some(owner) = self.shared.graph.lock().get(uid) else { return Ok(()) };
        let Live::Found(live) = self.shared.live(&owner.identity).await? else { return Ok(()) };
        if !has_finalizer(&live, ORPHAN) {
            return Ok(());
        }
        let dependents = self.shared.graph.lock().dependents(uid);
        for dependent in dependents {
            if let Live::Found(child) = self.shared.live(&dependent.identity).await?
                && child.owner_references.iter().flatten().any(|owner| owner.uid == uid)
            {
                self.disown(&dependent.identity, &child, &[uid.to_owned()]).await?;
            }
        }
        self.remove_finalizer(&owner.identity, &live, ORPHAN).await
    }

    async fn remove_finalizer(&self, identity: &Identity, live: &ObjectMeta, name: &str) -> Result<(), Error> {
        let kept: Vec<&String> = live.finalizers.iter().flatten().filter(|finalizer| *finalizer != name).collect();
        let kept = if kept.is_empty() { json!(null) } else { json!(kept) };
        let body = json!({"metadata": {
            "uid": live.uid, "resourceVersion": live.resource_version, "finalizers": kept,
        }});
        self.patch(identity, &body).await
    }

    async fn patch(&self, identity: &Identity, body: &serde_json::Value) -> Result<(), Error> {
        let Some(api) = self.shared.api(identity) else { return Ok(()) };
        let written = api.patch_metadata(&identity.name, &patch::params(), &Patch::Merge(body)).await;
        unless_gone(written).map_err(Error::api("patch", identity))
    }
}

fn has_finalizer(metadata: &ObjectMeta, name: &str) -> bool {
    metadata.finalizers.iter().flatten().any(|finalizer| finalizer == name)
}

/// A dependent that was itself marked to be deleted in a special way keeps to it.
fn policy_of(metadata: &ObjectMeta) -> PropagationPolicy {
    if has_finalizer(metadata, ORPHAN) {
        PropagationPolicy::Orphan
    } else if has_finalizer(metadata, FOREGROUND) {
        PropagationPolicy::Foreground
    } else {
        PropagationPolicy::Background
    }
}
