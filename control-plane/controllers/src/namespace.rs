//! Namespaces: when one is deleted, everything in it goes first, whatever
//! resources there are; then its finalizer `kubernetes` is removed
//! (upstream: `pkg/controller/namespace/deletion`).
//!
//! What is there is asked of the API server, never of a cache: a stale answer
//! would leave objects without a namespace. `namespace/conditions.rs` is pure.

mod conditions;

use crate::{
    discovery::{self, Resource},
    runner::{Cache, Error, Key, Next, Queue, Reconcile, Runner, is_conflict, patch, unless_gone},
};
use conditions::{Remains, Remnant};
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, Preconditions},
    core::{DynamicObject, PartialObjectMeta},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use wk_platform::Clock;

/// Namespaces emptied at once (upstream: `--concurrent-namespace-syncs`).
const WORKERS: usize = 10;
/// The finalizer this controller serves.
const FINALIZER: &str = "kubernetes";
/// How long to wait for objects that go in their own time, when no pod says otherwise.
const RECHECK: Duration = Duration::from_secs(1);
/// Objects of one listing.
const PAGE: u32 = 500;

struct Controller {
    client: Client,
    clock: Clock,
    namespaces: Arc<Cache<Namespace>>,
}

/// Puts the controller into `runner`.
pub fn register(runner: &mut Runner) {
    let mut builder = runner.controller("namespace-controller");
    let (namespaces, pods) = (builder.cache_of_own::<Namespace>(), builder.cache::<Pod>());
    let (queue, known) = (builder.queue.clone(), namespaces.clone());
    pods.on_change(move |change| {
        if let (Some(gone), None) = (change.old, change.new) {
            on_pod_gone(&queue, &known, gone);
        }
    });
    let (client, clock) = (builder.runner.client.clone(), builder.runner.clock.clone());
    builder.run(WORKERS, Controller { client, clock, namespaces });
}

/// Pods are what an ending namespace waits for longest: the last one that goes is not waited for.
fn on_pod_gone(queue: &Queue<Key>, namespaces: &Cache<Namespace>, pod: &Pod) {
    let key = Key::new("", pod.namespace().unwrap_or_default());
    if namespaces.get(&key).is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some()) {
        queue.add(key);
    }
}

/// Whether the namespace is on its way out.
pub fn is_terminating(namespace: &Namespace) -> bool {
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    namespace.metadata.deletion_timestamp.is_some() || phase == Some("Terminating")
}

/// Whether the API server refuses to create something because its namespace is
/// being deleted.
pub fn refuses_content(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

impl Reconcile for Controller {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(namespace) = self.namespaces.get(key) else { return Ok(Next::Change) };
        let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
        match stage(&namespace) {
            Stage::Living => return Ok(Next::Change),
            Stage::Finalized => return self.remove(&namespace).await,
            Stage::Ending => {}
        }
        let remains = self.empty(&key.name).await;
        self.write_conditions(&namespace, remains.as_ref()).await?;
        let remains = remains?;
        if let Some(failure) = remains.failure {
            return Err(Error::Object { object: key.to_string(), problem: failure });
        }
        if !remains.remnants.is_empty() {
            return Ok(Next::After(remains.recheck_after(RECHECK)));
        }
        self.finalize(&namespace, finalizers).await?;
        Ok(Next::Change)
    }
}

/// How far the deletion of a namespace is, for this controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// There is nothing to do, or only for other finalizers' owners.
    Living,
    /// Its contents have to go.
    Ending,
    /// Nothing holds it any more.
    Finalized,
}

fn stage(namespace: &Namespace) -> Stage {
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_deref()).unwrap_or_default();
    let is_held = namespace.metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty());
    match namespace.metadata.deletion_timestamp {
        Some(_) if finalizers.iter().any(|name| name == FINALIZER) => Stage::Ending,
        Some(_) if finalizers.is_empty() && !is_held => Stage::Finalized,
        Some(_) | None => Stage::Living,
    }
}

impl Controller {
    /// Deletes what there is and says what is left. Pods go first, since what
    /// they use must not go before them (upstream: `OrderedNamespaceDeletion`).
    async fn empty(&self, namespace: &str) -> Result<Remains, Error> {
        let resources = discovery::resources(&self.client, &["list", "delete"]).await?;
        let (pods, others): (Vec<_>, Vec<_>) = resources
            .into_iter()
            .filter(|resource| resource.is_namespaced)
            .partition(|resource| resource.api.group.is_empty() && resource.api.plural == "pods");
        let mut remains = self.empty_of(namespace, &pods).await;
        if remains.remnants.is_empty() && remains.failure.is_none() {
            remains = self.empty_of(namespace, &others).await;
        }
        Ok(remains)
    }

    async fn empty_of(&self, namespace: &str, resources: &[Resource]) -> Remains {
        let results = join_all(resources.iter().map(|resource| self.empty_one(namespace, resource))).await;
        let mut remains = Remains::default();
        for result in results {
            match result {
                Ok(None) => {}
                Ok(Some(remnant)) => remains.remnants.push(remnant),
                Err(error) => remains.failure = Some(error.to_string()),
            }
        }
        remains
    }

    /// Deletes the objects of one resource, and counts those that do not go at once.
    async fn empty_one(&self, namespace: &str, resource: &Resource) -> Result<Option<Remnant>, Error> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource.api);
        let list = ListParams::default().limit(PAGE);
        let failed = || Error::api("delete the contents of", namespace);
        let found = api.list_metadata(&list).await.map_err(failed())?;
        if found.items.is_empty() {
            return Ok(None);
        }
        let params = DeleteParams::background();
        if resource.has_delete_collection {
            api.delete_collection(&params, &ListParams::default()).await.map(|_| ()).map_err(failed())?;
        } else {
            for object in found.items.iter().filter(|object| object.metadata.deletion_timestamp.is_none()) {
                unless_gone(api.delete(&object.name_any(), &params).await).map_err(failed())?;
            }
        }
        let left = api.list_metadata(&list).await.map_err(failed())?;
        Ok(remnant(resource, &left.items))
    }

    async fn write_conditions(&self, namespace: &Namespace, remains: Result<&Remains, &Error>) -> Result<(), Error> {
        let old = namespace.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let new = conditions::conditions(&old, remains, self.clock.now_seconds());
        if new == old {
            return Ok(());
        }
        let body = json!({"metadata": {"uid": namespace.uid()}, "status": {"conditions": new}});
        let api: Api<Namespace> = Api::all(self.client.clone());
        let name = namespace.name_any();
        let written = api.patch_status(&name, &patch::params(), &Patch::Merge(&body)).await;
        unless_gone(written).map_err(Error::api("write the conditions of namespace", &name))
    }

    /// Deletes a namespace that was finalized and is still there, because the
    /// server did not take the last finalizer's removal as the end.
    async fn remove(&self, namespace: &Namespace) -> Result<Next, Error> {
        let preconditions = Some(Preconditions { uid: namespace.uid(), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        let (api, name): (Api<Namespace>, _) = (Api::all(self.client.clone()), namespace.name_any());
        match api.delete(&name, &params).await {
            Err(error) if is_conflict(&error) => Ok(Next::Change), // it is gone, and another has its name
            other => unless_gone(other).map(|()| Next::Change).map_err(Error::api("remove namespace", &name)),
        }
    }

    async fn finalize(&self, namespace: &Namespace, mut finalizers: Vec<String>) -> Result<(), Error> {
        finalizers.retain(|name| name != FINALIZER);
        let mut finalized = namespace.clone();
        finalized.spec.get_or_insert_default().finalizers = Some(finalizers);
        // Without a version: conditions have just been written, and finalizers belong to us.
        finalized.metadata.resource_version = None;
        let (api, name): (Api<Namespace>, _) = (Api::all(self.client.clone()), namespace.name_any());
        let written = api.replace_subresource("finalize", &name, &patch::post_params(), &finalized).await;
        unless_gone(written).map_err(Error::api("finalize namespace", &name))
    }
}

fn remnant(resource: &Resource, objects: &[PartialObjectMeta<DynamicObject>]) -> Option<Remnant> {
    if objects.is_empty() {
        return None;
    }
    let grace = objects.iter().filter_map(|object| object.metadata.deletion_grace_period_seconds).max();
    let finalizers = objects.iter().flat_map(|object| object.metadata.finalizers.iter().flatten().cloned());
    Some(Remnant {
        resource: format!("{}.{}", resource.api.plural, resource.api.group),
        count: objects.len(),
        finalizers: finalizers.collect(),
        grace_seconds: grace.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_ends_once_nothing_holds_it() {
        let of = |deleting: bool, spec: &[&str], held: &[&str]| {
            let time = deleting.then_some("2024-01-01T00:00:00Z");
            let metadata = json!({"deletionTimestamp": time, "finalizers": held});
            stage(&serde_json::from_value(json!({"metadata": metadata, "spec": {"finalizers": spec}})).expect("valid"))
        };
        assert_eq!(of(false, &[FINALIZER], &[]), Stage::Living);
        assert_eq!(of(true, &[FINALIZER], &[]), Stage::Ending);
        assert_eq!(of(true, &[], &[]), Stage::Finalized);
        assert_eq!(of(true, &[], &["example.com/hold"]), Stage::Living);
        assert_eq!(of(true, &["example.com/hold"], &[]), Stage::Living);
    }
}
