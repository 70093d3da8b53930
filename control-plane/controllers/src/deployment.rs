//! Deployment: a new ReplicaSet per template, old ones replaced step by step.
//!
//! Watches Deployments, ReplicaSets and pods; writes ReplicaSets and Deployment
//! status. Decisions are pure: `rollout` (which sets, how big), `status`, and
//! `template` (names, hashes, annotations). This file does what they say
//! (upstream: `pkg/controller/deployment`).

mod rollout;
mod status;
mod template;

use crate::{
    ownership, pod,
    runner::{
        Cache, Change, Error, EventType, Key, Next, Queue, Reconcile, Recorder, Runner, patch, resolve_controller, uid,
        unless_gone,
    },
};
use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentStatus, ReplicaSet},
    core::v1::Pod,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, Preconditions},
    core::SelectorExt,
};
use rollout::{Plan, Resize};
use serde_json::json;
use std::sync::Arc;
use wk_platform::Clock;

/// Deployments reconciled at once (upstream: `--concurrent-deployment-syncs`).
const WORKERS: usize = 5;

struct Controller {
    client: Client,
    clock: Clock,
    recorder: Recorder,
    deployments: Arc<Cache<Deployment>>,
    sets: Arc<Cache<ReplicaSet>>,
    pods: Arc<Cache<Pod>>,
}

/// Puts the controller into `runner`.
pub fn register(runner: &mut Runner) {
    let mut builder = runner.controller("deployment-controller");
    let deployments = builder.cache_of_own::<Deployment>();
    let (sets, pods) = (builder.cache::<ReplicaSet>(), builder.cache::<Pod>());
    let (queue, owners) = (builder.queue.clone(), deployments.clone());
    sets.on_change(move |change| on_set(&queue, &owners, change));
    let (queue, owners, owned) = (builder.queue.clone(), deployments.clone(), sets.clone());
    pods.on_change(move |change| on_pod(&queue, &owners, &owned, change));
    let (client, clock) = (builder.runner.client.clone(), builder.runner.clock.clone());
    let controller = Controller { client, clock, recorder: builder.recorder.clone(), deployments, sets, pods };
    builder.run(WORKERS, controller);
}

fn on_set(queue: &Queue<Key>, deployments: &Cache<Deployment>, change: &Change<'_, ReplicaSet>) {
    for set in [change.old, change.new].into_iter().flatten() {
        if let Some(owner) = resolve_controller(deployments, &**set) {
            queue.add(Key::of(&*owner));
        }
    }
    let Some(set) = change.new else { return };
    if set.owner_references().iter().any(|owner| owner.controller == Some(true)) {
        return;
    }
    for deployment in deployments.in_namespace(&set.namespace().unwrap_or_default()) {
        let selector = deployment.spec.as_ref().map(|spec| ownership::selector(&*deployment, &spec.selector));
        if selector.is_some_and(|selector| selector.is_ok_and(|selector| selector.matches(set.labels()))) {
            queue.add(Key::of(&*deployment));
        }
    }
}

/// Only a Recreate rollout waits for pods; the others see them through the
/// status of their ReplicaSets.
fn on_pod(queue: &Queue<Key>, deployments: &Cache<Deployment>, sets: &Cache<ReplicaSet>, change: &Change<'_, Pod>) {
    let (Some(old), None) = (change.old, change.new) else {
        return;
    };
    let owner = resolve_controller(sets, &**old).and_then(|set| resolve_controller(deployments, &*set));
    if let Some(deployment) = owner.filter(|deployment| rollout::is_recreate(deployment)) {
        queue.add(Key::of(&*deployment));
    }
}

impl Reconcile for Controller {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(deployment) = self.deployments.get(key) else { return Ok(Next::Change) };
        let sets = self.claim_sets(key, &deployment).await?;
        let pods_of = |set: &ReplicaSet| self.pods.controlled_by(uid(set)).iter().any(|pod| !pod::is_terminal(pod));
        let plan = rollout::plan(&deployment, &sets, &pods_of);
        let progress = self.act(key, &deployment, &plan).await;
        let now = self.clock.now();
        let created = progress.as_ref().map_or_else(|failure| failure.as_progress(), Progress::clone);
        let status = status::status(&deployment, &plan.view, &created, now);
        self.write_status(key, &deployment, &status).await?;
        match progress {
            Err(Failure { error, .. }) => Err(error),
            Ok(_) => Ok(status::recheck_after(&deployment, &status, now).into()),
        }
    }
}

/// What became of the new ReplicaSet in this attempt; the status tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It was there, or is not wanted.
    Unchanged,
    /// It was created, under this name.
    Created(String),
    /// Another set has its name.
    Collided,
    /// The server refused it: its name, and why.
    Refused(String, String),
}

struct Failure {
    error: Error,
    progress: Progress,
}

impl Failure {
    fn as_progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, progress: Progress::Unchanged }
    }
}

impl Controller {
    fn sets_api(&self, key: &Key) -> Api<ReplicaSet> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    fn deployments_api(&self, key: &Key) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    async fn claim_sets(&self, key: &Key, deployment: &Deployment) -> Result<Vec<Arc<ReplicaSet>>, Error> {
        let Some(spec) = &deployment.spec else { return Ok(Vec::new()) };
        let selector = ownership::selector(deployment, &spec.selector)?;
        let (owned, ownerless) = (self.sets.controlled_by(uid(deployment)), self.sets.uncontrolled_in(&key.namespace));
        let claims = ownership::claim(deployment, &selector, owned, ownerless);
        let (deployments, sets) = (self.deployments_api(key), self.sets_api(key));
        ownership::release(deployment, &sets, &claims.release).await?;
        let mut mine = claims.keep;
        mine.extend(ownership::adopt(&deployments, deployment, &sets, &claims.adopt).await?);
        Ok(mine)
    }

    async fn act(&self, key: &Key, deployment: &Deployment, plan: &Plan) -> Result<Progress, Failure> {
        let mut progress = Progress::Unchanged;
        if let Some(wanted) = &plan.create {
            progress = self.create_set(key, deployment, wanted).await?;
        }
        for resize in &plan.resize {
            self.resize_set(key, deployment, resize).await?;
        }
        for set in &plan.delete {
            self.delete_set(key, set).await?;
        }
        self.write_revision(key, deployment, plan).await?;
        Ok(progress)
    }

    async fn create_set(&self, key: &Key, deployment: &Deployment, wanted: &ReplicaSet) -> Result<Progress, Failure> {
        let (api, name) = (self.sets_api(key), wanted.name_any());
        match api.create(&patch::post_params(), wanted).await {
            Ok(created) => {
                self.record_scaling(deployment, &name, 0, rollout::replicas(&created));
                Ok(Progress::Created(name))
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                self.on_existing(&api, deployment, wanted).await
            }
            Err(error) => {
                let message = match &error {
                    kube::Error::Api(status) => status.message.clone(),
                    other => other.to_string(),
                };
                let progress = Progress::Refused(name.clone(), message);
                Err(Failure { error: Error::api("create ReplicaSet", &name)(error), progress })
            }
        }
    }

    /// The name is taken: by our own set that the cache has not seen yet, or by
    /// one with another template and the same hash.
    async fn on_existing(
        &self,
        api: &Api<ReplicaSet>,
        deployment: &Deployment,
        wanted: &ReplicaSet,
    ) -> Result<Progress, Failure> {
        let name = wanted.name_any();
        let existing = api.get(&name).await.map_err(Error::api("get ReplicaSet", &name))?;
        let ours = existing.owner_references().iter().any(|owner| owner.uid == uid(deployment));
        if ours && template::is_same(&existing, wanted.spec.as_ref().and_then(|spec| spec.template.as_ref())) {
            return Ok(Progress::Unchanged);
        }
        let problem = "another ReplicaSet has the name of the new one".to_owned();
        Err(Failure { error: Error::Object { object: name, problem }, progress: Progress::Collided })
    }

    async fn resize_set(&self, key: &Key, deployment: &Deployment, resize: &Resize) -> Result<(), Error> {
        let (set, name) = (&resize.set, resize.set.name_any());
        // With the version: a decision from a stale size must not be carried out.
        let mut body = json!({"metadata": {"uid": set.uid(), "resourceVersion": set.resource_version()}});
        if !resize.annotations.is_empty() {
            body["metadata"]["annotations"] = json!(resize.annotations);
        }
        if resize.replicas != rollout::replicas(set) {
            body["spec"]["replicas"] = json!(resize.replicas);
        }
        if let Some(seconds) = resize.min_ready_seconds {
            body["spec"]["minReadySeconds"] = json!(seconds);
        }
        let written = self.sets_api(key).patch(&name, &patch::params(), &Patch::Merge(&body)).await;
        written.map_err(Error::api("scale ReplicaSet", &name))?;
        self.record_scaling(deployment, &name, rollout::replicas(set), resize.replicas);
        Ok(())
    }

    fn record_scaling(&self, deployment: &Deployment, set: &str, from: i32, to: i32) {
        let direction = match to.cmp(&from) {
            std::cmp::Ordering::Equal => return,
            std::cmp::Ordering::Greater => "up",
            std::cmp::Ordering::Less => "down",
        };
        let message = format!("Scaled {direction} replica set {set} from {from} to {to}");
        self.recorder.record(deployment, EventType::Normal, "ScalingReplicaSet", message);
    }

    async fn delete_set(&self, key: &Key, set: &ReplicaSet) -> Result<(), Error> {
        let preconditions = Preconditions { uid: set.uid(), resource_version: set.resource_version() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let deleted = self.sets_api(key).delete(&set.name_any(), &params).await;
        unless_gone(deleted).map_err(Error::api("delete ReplicaSet", &set.name_any()))
    }

    async fn write_revision(&self, key: &Key, deployment: &Deployment, plan: &Plan) -> Result<(), Error> {
        let Some(revision) = &plan.revision else { return Ok(()) };
        if deployment.annotations().get(template::REVISION) == Some(revision) {
            return Ok(());
        }
        let annotations = json!({template::REVISION: revision});
        let body = json!({"metadata": {"uid": deployment.uid(), "annotations": annotations}});
        let written = self.deployments_api(key).patch(&key.name, &patch::params(), &Patch::Merge(&body)).await;
        unless_gone(written).map_err(Error::api("annotate Deployment", key))
    }

    async fn write_status(&self, key: &Key, deployment: &Deployment, status: &DeploymentStatus) -> Result<(), Error> {
        if deployment.status.as_ref() == Some(status) {
            return Ok(());
        }
        let body = patch::set_fields(status, status::OWNED_FIELDS);
        ownership::patch_status(&self.deployments_api(key), &key.name, &body).await
    }
}
