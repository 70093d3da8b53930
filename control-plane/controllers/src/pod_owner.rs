//! Kinds that own pods by a selector: which change of a pod concerns which
//! owner, and which pods an owner has (upstream: the pod handlers that its
//! ReplicaSet, Job, DaemonSet and StatefulSet controllers share in spirit).

use crate::{
    ownership, pod,
    runner::{Cache, Change, Error, Key, Kind, Queue, expectations::Expectations, resolve_controller, uid},
};
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, ReplicaSet, StatefulSet},
        batch::v1::Job,
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{Api, Client, ResourceExt, core::SelectorExt};
use std::{sync::Arc, time::Duration};

/// A kind that owns pods.
pub trait PodOwner: Kind {
    /// Which pods are meant; absent while the object says nothing.
    fn pod_selector(&self) -> Option<&LabelSelector>;

    /// How long a pod must be ready to count as available.
    fn min_ready_seconds(&self) -> i32 {
        0
    }
}

impl PodOwner for ReplicaSet {
    fn pod_selector(&self) -> Option<&LabelSelector> {
        self.spec.as_ref().map(|spec| &spec.selector)
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or_default()
    }
}

impl PodOwner for DaemonSet {
    fn pod_selector(&self) -> Option<&LabelSelector> {
        self.spec.as_ref().map(|spec| &spec.selector)
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or_default()
    }
}

impl PodOwner for StatefulSet {
    fn pod_selector(&self) -> Option<&LabelSelector> {
        self.spec.as_ref().map(|spec| &spec.selector)
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or_default()
    }
}

impl PodOwner for Job {
    fn pod_selector(&self) -> Option<&LabelSelector> {
        self.spec.as_ref().and_then(|spec| spec.selector.as_ref())
    }
}

/// Turns changes of pods into keys of their owners.
pub struct PodWatch<O> {
    /// The owners.
    pub owners: Arc<Cache<O>>,
    /// Where their keys go.
    pub queue: Arc<Queue<Key>>,
    /// What is waited for.
    pub expectations: Arc<Expectations>,
}

impl<O: PodOwner> PodWatch<O> {
    /// Calls the watch for each change of a pod.
    pub fn watch(self, pods: &Cache<Pod>) {
        let expectations = self.expectations.clone();
        self.owners.on_change(move |change| {
            if let (Some(gone), None) = (change.old, change.new) {
                expectations.forget(&Key::of(&**gone)); // the next of this name waits for nothing
            }
        });
        pods.on_change(move |change| self.on_pod(change));
    }

    fn on_pod(&self, change: &Change<'_, Pod>) {
        match (change.old, change.new) {
            (None, Some(new)) => self.on_added(new),
            (Some(old), Some(new)) => self.on_updated(old, new),
            (Some(old), None) => self.on_deleted(old),
            (None, None) => {}
        }
    }

    fn on_added(&self, new: &Pod) {
        if pod::is_deleting(new) {
            return self.on_deleted(new);
        }
        match resolve_controller(&self.owners, new) {
            Some(owner) => {
                let key = Key::of(&*owner);
                self.expectations.creations_observed(&key, 1);
                self.queue.add(key);
            }
            None => self.offer(new),
        }
    }

    fn on_updated(&self, old: &Pod, new: &Pod) {
        if pod::is_deleting(new) && !pod::is_deleting(old) {
            return self.on_deleted(new);
        }
        let (before, after) = (resolve_controller(&self.owners, old), resolve_controller(&self.owners, new));
        if let Some(before) = before.filter(|before| after.as_ref().map(|owner| uid(&**owner)) != Some(uid(&**before)))
        {
            self.queue.add(Key::of(&*before));
        }
        match after {
            Some(owner) => {
                let min_ready_seconds = owner.min_ready_seconds();
                if min_ready_seconds > 0 && pod::is_ready(new) && !pod::is_ready(old) {
                    // A second more than the minimum, since conditions carry whole seconds.
                    let pause = Duration::from_secs(u64::try_from(min_ready_seconds).unwrap_or_default() + 1);
                    self.queue.add_after(Key::of(&*owner), pause);
                }
                self.queue.add(Key::of(&*owner));
            }
            None if ownership::labels(old) != ownership::labels(new)
                || old.owner_references() != new.owner_references() =>
            {
                self.offer(new);
            }
            None => {}
        }
    }

    fn on_deleted(&self, last: &Pod) {
        if let Some(owner) = resolve_controller(&self.owners, last) {
            let key = Key::of(&*owner);
            self.expectations.deletion_observed(&key, uid(last));
            self.queue.add(key);
        }
    }

    /// A pod without a controller may suit any owner of its namespace.
    fn offer(&self, orphan: &Pod) {
        if orphan.owner_references().iter().any(|owner| owner.controller == Some(true)) {
            return;
        }
        for owner in self.owners.in_namespace(&orphan.namespace().unwrap_or_default()) {
            let Some(selector) = owner.pod_selector() else { continue };
            let matches = ownership::selector(&*owner, selector)
                .is_ok_and(|selector| selector.matches(ownership::labels(orphan)));
            if matches {
                self.queue.add(Key::of(&*owner));
            }
        }
    }
}

/// The pods of `owner` that `counts` takes, after adopting those that match and
/// releasing those that no longer do.
///
/// # Errors
/// When the selector is not valid or the API server fails.
pub async fn claim<O>(
    client: &Client,
    owner: &O,
    pods: &Cache<Pod>,
    counts: impl Fn(&Pod) -> bool,
) -> Result<Vec<Arc<Pod>>, Error>
where
    O: PodOwner + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
{
    let Some(selector) = owner.pod_selector() else { return Ok(Vec::new()) };
    let (selector, namespace) = (ownership::selector(owner, selector)?, Key::of(owner).namespace);
    let chosen = |pods: Vec<Arc<Pod>>| pods.into_iter().filter(|pod| counts(pod)).collect();
    let (owned, ownerless) = (chosen(pods.controlled_by(uid(owner))), chosen(pods.uncontrolled_in(&namespace)));
    let claims = ownership::claim(owner, &selector, owned, ownerless);
    let owners: Api<O> = Api::namespaced(client.clone(), &namespace);
    let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    ownership::release(owner, &api, &claims.release).await?;
    let mut mine = claims.keep;
    mine.extend(ownership::adopt(&owners, owner, &api, &claims.adopt).await?);
    Ok(mine)
}
