//! StatefulSet: numbered pods that keep their names.
//!
//! Watches StatefulSets, pods and ControllerRevisions; writes pods, revisions
//! and StatefulSet status. Pure: `identity` (names and contents of pods), `plan`
//! (what to do next). This file does what they say
//! (upstream: `pkg/controller/statefulset`). Claims for storage are not served:
//! a set that wants some gets an event and no pods.

mod identity;
mod plan;

use crate::{
    history::{self, History, Problem, Revisions, Wanted},
    ownership,
    pod_control::PodControl,
    pod_owner::{self, PodWatch},
    runner::{Cache, Error, EventType, Key, Next, Reconcile, Recorder, Runner, expectations::Expectations, patch},
};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus},
    core::v1::{Pod, PodTemplateSpec},
};
use kube::{Api, Client, ResourceExt};
use plan::{Plan, Revision, View};
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc};
use wk_platform::Clock;

/// StatefulSets reconciled at once (upstream: `--concurrent-statefulset-syncs`).
const WORKERS: usize = 5;

struct Controller {
    client: Client,
    clock: Clock,
    recorder: Recorder,
    control: PodControl,
    revisions: Revisions,
    sets: Arc<Cache<StatefulSet>>,
    pods: Arc<Cache<Pod>>,
    expectations: Arc<Expectations>,
}

/// Puts the controller into `runner`.
pub fn register(runner: &mut Runner) {
    let mut builder = runner.controller("statefulset-controller");
    let (sets, pods) = (builder.cache_of_own::<StatefulSet>(), builder.cache::<Pod>());
    let known = builder.cache::<ControllerRevision>();
    let expectations = Arc::new(Expectations::default());
    PodWatch { owners: sets.clone(), queue: builder.queue.clone(), expectations: expectations.clone() }.watch(&pods);
    let queue = builder.queue.clone();
    known.on_change(move |change| history::wake_owner(&queue, "StatefulSet", change));
    let (client, clock) = (builder.runner.client.clone(), builder.runner.clock.clone());
    let recorder = builder.recorder.clone();
    let control = PodControl::of_stateful_set(client.clone(), recorder.clone(), expectations.clone());
    let revisions = Revisions::new(client.clone(), known);
    builder.run(WORKERS, Controller { client, clock, recorder, control, revisions, sets, pods, expectations });
}

impl Reconcile for Controller {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(set) = self.sets.get(key) else {
            self.expectations.forget(key);
            return Ok(Next::Change);
        };
        let Some(spec) = set.spec.as_ref().filter(|_| set.metadata.deletion_timestamp.is_none()) else {
            return Ok(Next::Change);
        };
        let collisions = set.status.as_ref().and_then(|status| status.collision_count);
        // No collision and none counted yet must give the same name.
        let counted = collisions.filter(|count| *count != 0);
        let wanted = Wanted::of(&spec.template, counted, identity::HASH_LABEL);
        match self.revisions.sync(&*set, &wanted).await {
            Ok(history) => self.sync(key, &set, &history).await,
            Err(Problem::Failed(error)) => Err(error),
            Err(Problem::Collision) => {
                let body = json!({"collisionCount": collisions.unwrap_or_default() + 1});
                ownership::patch_status(&self.api(key), &key.name, &body).await?;
                Ok(Next::Change) // the write is a change
            }
        }
    }
}

fn revision(known: &ControllerRevision) -> Revision {
    let template: Option<PodTemplateSpec> =
        known.data.as_ref().and_then(|data| serde_json::from_value(data.0["spec"]["template"].clone()).ok());
    Revision { name: known.name_any(), template: template.unwrap_or_default() }
}

impl Controller {
    fn api(&self, key: &Key) -> Api<StatefulSet> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    async fn sync(&self, key: &Key, set: &Arc<StatefulSet>, history: &History) -> Result<Next, Error> {
        // Before looking at the pods: what is seen later is not missed.
        let may_act = self.expectations.satisfied(key);
        let pods = pod_owner::claim(&self.client, &**set, &self.pods, |pod| identity::ordinal(set, pod).is_some());
        let pods = pods.await?;
        let current_name = set.status.as_ref().and_then(|status| status.current_revision.clone());
        let current = history.old.iter().find(|known| Some(known.name_any()) == current_name);
        let (current, update) = (revision(current.unwrap_or(&history.current)), revision(&history.current));
        let view = View { set, pods: &pods, current: &current, update: &update, now: self.clock.now() };
        let acted = if may_act { self.act(key, set, plan::plan(&view)).await } else { Ok(()) };
        let status = plan::status(&view);
        self.trim(key, set, history, &pods, &status).await?;
        let recheck = plan::recheck_after(&view, &status);
        self.write_status(key, set, &status).await?;
        acted.map(|()| recheck.into())
    }

    async fn act(&self, key: &Key, set: &Arc<StatefulSet>, mut step: Plan) -> Result<(), Error> {
        if identity::wants_claims(set) {
            for pod in step.create.drain(..) {
                let (pod, set_name) = (pod.name_any(), set.name_any());
                let message = format!(
                    "create Claims Pod {pod} in StatefulSet {set_name} failed error: this cluster makes no volumes for PersistentVolumeClaims"
                );
                self.recorder.record(&**set, EventType::Warning, "FailedCreate", message);
            }
        }
        let applied = self.control.apply(key, &**set, step.create, &step.delete).await;
        applied.map_err(|failed| failed.error)
    }

    /// Old revisions go, but those that pods or the status still name.
    async fn trim(
        &self,
        key: &Key,
        set: &StatefulSet,
        history: &History,
        pods: &[Arc<Pod>],
        status: &StatefulSetStatus,
    ) -> Result<(), Error> {
        let limit = set.spec.as_ref().and_then(|spec| spec.revision_history_limit);
        let mut live: BTreeSet<String> = pods.iter().map(|pod| identity::revision(pod).to_owned()).collect();
        live.extend(status.current_revision.clone());
        let of_set = set.status.as_ref().and_then(|status| status.current_revision.clone());
        live.extend(of_set);
        let (kept, free): (Vec<_>, Vec<_>) =
            history.old.iter().cloned().partition(|known| live.contains(&known.name_any()));
        debug_assert_eq!(kept.len() + free.len(), history.old.len());
        // Unlike a DaemonSet's, revisions in use do not count towards the limit.
        for surplus in history::beyond_limit(&free, limit, |_| false) {
            self.revisions.delete(key, &surplus).await?;
        }
        Ok(())
    }

    async fn write_status(&self, key: &Key, set: &StatefulSet, status: &StatefulSetStatus) -> Result<(), Error> {
        let known = set.status.clone().map(|known| StatefulSetStatus { conditions: None, ..known });
        if known.as_ref() == Some(status) {
            return Ok(());
        }
        ownership::patch_status(&self.api(key), &key.name, &patch::set_fields(status, plan::OWNED_STATUS_FIELDS)).await
    }
}
