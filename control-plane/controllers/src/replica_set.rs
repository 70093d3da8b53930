//! ReplicaSet: as many pods as asked for, from one template.
//!
//! Watches ReplicaSets and pods; writes pods and ReplicaSet status. `plan` (pure)
//! is in `replica_set/plan.rs`; this file does what it says
//! (upstream: `pkg/controller/replicaset/replica_set.go`).

mod plan;

use crate::{
    namespace, ownership, pod,
    runner::{
        Cache, Change, Error, EventType, Key, Next, Queue, Reconcile, Recorder, Runner, expectations::Expectations,
        is_not_found, patch, resolve_controller, uid,
    },
};
use futures::future::join_all;
use k8s_openapi::api::{
    apps::v1::{ReplicaSet, ReplicaSetStatus},
    core::v1::Pod,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Preconditions},
    core::SelectorExt,
};
use plan::{Failure, Plan};
use std::{sync::Arc, time::Duration};
use wk_platform::Clock;

pub use plan::OWNED_STATUS_FIELDS;

/// ReplicaSets reconciled at once (upstream: `--concurrent-replicaset-syncs`).
const WORKERS: usize = 5;

struct Controller {
    client: Client,
    clock: Clock,
    recorder: Recorder,
    sets: Arc<Cache<ReplicaSet>>,
    pods: Arc<Cache<Pod>>,
    expectations: Arc<Expectations>,
}

/// Puts the controller into `runner`.
pub fn register(runner: &mut Runner) {
    let mut builder = runner.controller("replicaset-controller");
    let (sets, pods) = (builder.cache_of_own::<ReplicaSet>(), builder.cache::<Pod>());
    let expectations = Arc::new(Expectations::default());
    let watch = PodWatch { sets: sets.clone(), queue: builder.queue.clone(), expectations: expectations.clone() };
    pods.on_change(move |change| watch.on_pod(change));
    let (client, clock) = (builder.runner.client.clone(), builder.runner.clock.clone());
    let controller = Controller { client, clock, recorder: builder.recorder.clone(), sets, pods, expectations };
    builder.run(WORKERS, controller);
}

/// Turns changes of pods into keys of ReplicaSets.
struct PodWatch {
    sets: Arc<Cache<ReplicaSet>>,
    queue: Arc<Queue<Key>>,
    expectations: Arc<Expectations>,
}

impl PodWatch {
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
        match resolve_controller(&self.sets, new) {
            Some(set) => {
                let key = Key::of(&*set);
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
        let (before, after) = (resolve_controller(&self.sets, old), resolve_controller(&self.sets, new));
        if let Some(before) = before.filter(|before| after.as_ref().map(|set| uid(&**set)) != Some(uid(&**before))) {
            self.queue.add(Key::of(&*before));
        }
        match after {
            Some(set) => {
                let min_ready_seconds = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or_default();
                if min_ready_seconds > 0 && pod::is_ready(new) && !pod::is_ready(old) {
                    // A second more than the minimum, since conditions carry whole seconds.
                    let pause = Duration::from_secs(u64::try_from(min_ready_seconds).unwrap_or_default() + 1);
                    self.queue.add_after(Key::of(&*set), pause);
                }
                self.queue.add(Key::of(&*set));
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
        if let Some(set) = resolve_controller(&self.sets, last) {
            let key = Key::of(&*set);
            self.expectations.deletion_observed(&key, uid(last));
            self.queue.add(key);
        }
    }

    /// A pod without a controller may suit any ReplicaSet of its namespace.
    fn offer(&self, orphan: &Pod) {
        if orphan.owner_references().iter().any(|owner| owner.controller == Some(true)) {
            return;
        }
        for set in self.sets.in_namespace(&orphan.namespace().unwrap_or_default()) {
            let Some(spec) = &set.spec else { continue };
            let matches = ownership::selector(&*set, &spec.selector)
                .is_ok_and(|selector| selector.matches(ownership::labels(orphan)));
            if matches {
                self.queue.add(Key::of(&*set));
            }
        }
    }
}

impl Reconcile for Controller {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(set) = self.sets.get(key) else {
            self.expectations.forget(key);
            return Ok(Next::Change);
        };
        // Before looking at the pods: what is seen later is not missed.
        let may_act = self.expectations.satisfied(key) && set.metadata.deletion_timestamp.is_none();
        let pods = self.claim_pods(key, &set).await?;
        let plan = if may_act { plan::plan(&set, &pods, &self.related(&set)) } else { Plan::Nothing };
        let managed = self.act(key, &set, plan).await;
        let failure = managed.as_ref().err().and_then(Attempt::failure);
        let now = self.clock.now();
        let status = plan::status(&set, &pods, failure, now);
        let recheck = plan::recheck_after(&set, &status, now, &pods);
        self.write_status(key, &set, &status).await?;
        managed.map(|()| recheck.into()).map_err(|attempt| attempt.error)
    }
}

/// A batch of creations or deletions that did not all go well.
struct Attempt {
    error: Error,
    reason: Option<&'static str>,
}

impl Attempt {
    fn failure(&self) -> Option<Failure> {
        let message = match &self.error {
            Error::Api { source, .. } => source_message(source),
            Error::Object { .. } => self.error.to_string(),
        };
        self.reason.map(|reason| Failure { reason, message })
    }
}

/// What the server said, without the client's wrapping.
fn source_message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl Controller {
    fn pods_api(&self, key: &Key) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    async fn claim_pods(&self, key: &Key, set: &ReplicaSet) -> Result<Vec<Arc<Pod>>, Error> {
        let Some(spec) = &set.spec else { return Ok(Vec::new()) };
        let selector = ownership::selector(set, &spec.selector)?;
        let active = |pods: Vec<Arc<Pod>>| pods.into_iter().filter(|pod| pod::is_active(pod)).collect();
        let owned = active(self.pods.controlled_by(uid(set)));
        let ownerless = active(self.pods.uncontrolled_in(&key.namespace));
        let claims = ownership::claim(set, &selector, owned, ownerless);
        let (sets, pods) = (Api::namespaced(self.client.clone(), &key.namespace), self.pods_api(key));
        ownership::release(set, &pods, &claims.release).await?;
        let mut mine = claims.keep;
        mine.extend(ownership::adopt(&sets, set, &pods, &claims.adopt).await?);
        Ok(mine)
    }

    /// Active pods of all ReplicaSets of the same owner: they share nodes, and
    /// a node with many of them is the first to give one up.
    fn related(&self, set: &ReplicaSet) -> Vec<Arc<Pod>> {
        let owner = set.owner_references().iter().find(|owner| owner.controller == Some(true));
        let siblings = owner.map(|owner| self.sets.controlled_by(&owner.uid)).unwrap_or_default();
        let mut uids: Vec<&str> = siblings.iter().map(|sibling| uid(&**sibling)).collect();
        if uids.is_empty() {
            uids.push(uid(set));
        }
        uids.into_iter().flat_map(|uid| self.pods.controlled_by(uid)).filter(|pod| pod::is_active(pod)).collect()
    }

    async fn act(&self, key: &Key, set: &ReplicaSet, plan: Plan) -> Result<(), Attempt> {
        match plan {
            Plan::Nothing => Ok(()),
            Plan::Create(count) => self.create_pods(key, set, count).await,
            Plan::Delete(pods) => self.delete_pods(key, set, &pods).await,
        }
    }

    /// Creates in batches of 1, 2, 4 and so on, each in parallel: when every
    /// creation is bound to fail, only a few are tried.
    async fn create_pods(&self, key: &Key, set: &ReplicaSet, count: usize) -> Result<(), Attempt> {
        self.expectations.expect_creations(key, count);
        let (api, template) = (self.pods_api(key), plan::pod_from_template(set));
        let (mut left, mut batch) = (count, 1);
        while left > 0 {
            batch = batch.min(left);
            let results = join_all((0..batch).map(|_| self.create_pod(set, &api, &template))).await;
            left -= batch;
            batch *= 2;
            let failed = results.iter().filter(|result| result.is_err()).count();
            if let Some(error) = results.into_iter().find_map(Result::err) {
                self.expectations.creations_observed(key, failed + left);
                if namespace::refuses_content(&error) {
                    return Ok(()); // nothing can be created there any more, and nothing needs to be
                }
                let error = Error::api("create a pod of", key)(error);
                return Err(Attempt { error, reason: Some("FailedCreate") });
            }
        }
        Ok(())
    }

    async fn create_pod(&self, set: &ReplicaSet, api: &Api<Pod>, template: &Pod) -> kube::Result<()> {
        let created = api.create(&patch::post_params(), template).await;
        match &created {
            Ok(pod) => {
                let message = format!("Created pod: {}", pod.name_any());
                self.recorder.record(set, EventType::Normal, "SuccessfulCreate", message);
            }
            Err(error) if namespace::refuses_content(error) => {}
            Err(error) => {
                let message = format!("Error creating: {}", source_message(error));
                self.recorder.record(set, EventType::Warning, "FailedCreate", message);
            }
        }
        created.map(|_| ())
    }

    async fn delete_pods(&self, key: &Key, set: &ReplicaSet, pods: &[Arc<Pod>]) -> Result<(), Attempt> {
        self.expectations.expect_deletions(key, pods.iter().map(|pod| uid(&**pod).to_owned()));
        let api = self.pods_api(key);
        let results = join_all(pods.iter().map(|pod| self.delete_pod(key, set, &api, pod))).await;
        match results.into_iter().find_map(Result::err) {
            None => Ok(()),
            Some(error) => {
                let error = Error::api("delete a pod of", key)(error);
                Err(Attempt { error, reason: Some("FailedDelete") })
            }
        }
    }

    async fn delete_pod(&self, key: &Key, set: &ReplicaSet, api: &Api<Pod>, pod: &Pod) -> kube::Result<()> {
        let preconditions = Preconditions { uid: pod.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match api.delete(&pod.name_any(), &params).await {
            Ok(_) => {
                let message = format!("Deleted pod: {}", pod.name_any());
                self.recorder.record(set, EventType::Normal, "SuccessfulDelete", message);
                Ok(())
            }
            Err(error) => {
                self.expectations.deletion_observed(key, uid(pod));
                if is_not_found(&error) {
                    return Ok(());
                }
                let message = format!("Error deleting: {}", source_message(&error));
                self.recorder.record(set, EventType::Warning, "FailedDelete", message);
                Err(error)
            }
        }
    }

    async fn write_status(&self, key: &Key, set: &ReplicaSet, status: &ReplicaSetStatus) -> Result<(), Error> {
        if set.status.as_ref() == Some(status) {
            return Ok(());
        }
        let api: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &key.namespace);
        ownership::patch_status(&api, &key.name, &patch::set_fields(status, OWNED_STATUS_FIELDS)).await
    }
}
