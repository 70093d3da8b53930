//! Lets deleted claims and volumes go when nothing uses them any more (upstream:
//! `pkg/controller/volume/{pvcprotection,pvprotection}`).
//!
//! Watches PersistentVolumeClaims and pods, and PersistentVolumes; removes the
//! finalizers that the API server gave them.

use crate::{
    pod,
    runner::{Cache, Error, Key, Kind, Next, Reconcile, Runner, patch, uid, unless_gone},
};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{Api, Client, Resource, ResourceExt, api::Patch};
use serde_json::json;
use std::sync::Arc;
use tracing::info;

const WORKERS: usize = 1;
const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";

struct Claims {
    client: Client,
    claims: Arc<Cache<PersistentVolumeClaim>>,
    pods: Arc<Cache<Pod>>,
}

struct Volumes {
    client: Client,
    volumes: Arc<Cache<PersistentVolume>>,
}

/// Puts the controller of claims into `runner`.
pub fn register_claims(runner: &mut Runner) {
    let mut builder = runner.controller("persistentvolumeclaim-protection-controller");
    let (claims, pods) = (builder.cache::<PersistentVolumeClaim>(), builder.cache::<Pod>());
    let queue = builder.queue.clone();
    claims.on_change(move |change| {
        if let Some(claim) = change.new.filter(|claim| is_held(&***claim, CLAIM_FINALIZER)) {
            queue.add(Key::of(&**claim));
        }
    });
    let queue = builder.queue.clone();
    pods.on_change(move |change| {
        // A pod that has ended or is gone uses nothing.
        if change.new.is_none_or(|pod| pod::is_terminal(pod)) {
            let namespace = change.latest().namespace().unwrap_or_default();
            claims_of(change.latest()).for_each(|name| queue.add(Key::new(namespace.clone(), name)));
        }
    });
    let client = builder.runner.client.clone();
    builder.run(WORKERS, Claims { client, claims, pods });
}

/// Puts the controller of volumes into `runner`.
pub fn register_volumes(runner: &mut Runner) {
    let mut builder = runner.controller("persistentvolume-protection-controller");
    let volumes = builder.cache::<PersistentVolume>();
    let queue = builder.queue.clone();
    volumes.on_change(move |change| {
        if let Some(volume) = change.new.filter(|volume| is_held(&***volume, VOLUME_FINALIZER)) {
            queue.add(Key::of(&**volume));
        }
    });
    let client = builder.runner.client.clone();
    builder.run(WORKERS, Volumes { client, volumes });
}

/// Names of the claims that a pod uses.
fn claims_of(pod: &Pod) -> impl Iterator<Item = String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone()))
}

/// Whether the object would be gone but for this finalizer.
fn is_held(object: &impl ResourceExt, finalizer: &str) -> bool {
    object.meta().deletion_timestamp.is_some() && object.finalizers().iter().any(|held| held == finalizer)
}

/// Whether a pod that has not ended uses the claim.
fn is_used(claim: &str, pods: &[Arc<Pod>]) -> bool {
    pods.iter().any(|pod| !pod::is_terminal(pod) && claims_of(pod).any(|used| used == claim))
}

impl Reconcile for Claims {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let claim = self.claims.get(key).filter(|claim| is_held(&**claim, CLAIM_FINALIZER));
        let Some(claim) = claim else { return Ok(Next::Change) };
        if is_used(&key.name, &self.pods.in_namespace(&key.namespace)) {
            return Ok(Next::Change);
        }
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &key.namespace);
        release(&api, key, &*claim, CLAIM_FINALIZER).await
    }
}

impl Reconcile for Volumes {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let volume = self.volumes.get(key).filter(|volume| is_held(&**volume, VOLUME_FINALIZER));
        let Some(volume) = volume else { return Ok(Next::Change) };
        if volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound") {
            return Ok(Next::Change);
        }
        release(&Api::all(self.client.clone()), key, &*volume, VOLUME_FINALIZER).await
    }
}

/// Takes the finalizer off, unless the object has changed meanwhile.
async fn release<K: Kind + Resource>(api: &Api<K>, key: &Key, object: &K, finalizer: &str) -> Result<Next, Error> {
    let left: Vec<&String> = object.finalizers().iter().filter(|held| *held != finalizer).collect();
    let metadata = json!({"uid": uid(object), "resourceVersion": object.resource_version(), "finalizers": left});
    let released = api.patch(&key.name, &patch::params(), &Patch::Merge(json!({"metadata": metadata}))).await;
    unless_gone(released).map_err(Error::api("release", key))?;
    info!(object = %key, finalizer, "nothing uses it any more");
    Ok(Next::Change)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(phase: &str, claim: &str) -> Arc<Pod> {
        let volume = json!({"name": "v", "persistentVolumeClaim": {"claimName": claim}});
        let pod = json!({"spec": {"containers": [], "volumes": [volume]}, "status": {"phase": phase}});
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    }

    #[test]
    fn pods_hold_their_claims_until_they_end() {
        let pods = [pod("Running", "a"), pod("Succeeded", "b")];
        assert!(is_used("a", &pods) && !is_used("b", &pods) && !is_used("c", &pods));
    }

    #[test]
    fn only_what_is_deleted_is_released() {
        let claim = |deleted: bool| -> PersistentVolumeClaim {
            let mut metadata = json!({"finalizers": [CLAIM_FINALIZER]});
            if deleted {
                metadata["deletionTimestamp"] = "2024-01-01T00:00:00Z".into();
            }
            serde_json::from_value(json!({"metadata": metadata})).expect("a claim")
        };
        assert!(is_held(&claim(true), CLAIM_FINALIZER) && !is_held(&claim(false), CLAIM_FINALIZER));
        assert!(!is_held(&claim(true), VOLUME_FINALIZER));
    }
}
