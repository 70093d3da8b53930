//! DaemonSet: one pod of a template on every node it fits.
//!
//! Watches DaemonSets, pods, nodes and ControllerRevisions; writes pods,
//! revisions and DaemonSet status. Pure: `eligibility` (which nodes, what pod)
//! and `plan` (what to do next). This file does what they say
//! (upstream: `pkg/controller/daemon`).

mod backoff;
mod eligibility;
mod plan;

use crate::{
    history::{self, History, Problem, Revisions, Wanted},
    ownership,
    pod_control::PodControl,
    pod_owner::{self, PodWatch},
    runner::{
        Cache, Change, Error, EventType, Key, Next, Reconcile, Recorder, Runner, expectations::Expectations, patch, uid,
    },
};
use backoff::Backoff;
use eligibility::HASH_LABEL;
use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus},
        core::v1::{Node, Pod},
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{Api, Client, ResourceExt};
use plan::{Plan, View};
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc};
use tokio::time::Instant;
use wk_platform::Clock;

/// DaemonSets reconciled at once (upstream: `--concurrent-daemonset-syncs`).
const WORKERS: usize = 2;

struct Controller {
    client: Client,
    clock: Clock,
    recorder: Recorder,
    control: PodControl,
    revisions: Revisions,
    sets: Arc<Cache<DaemonSet>>,
    nodes: Arc<Cache<Node>>,
    pods: Arc<Cache<Pod>>,
    expectations: Arc<Expectations>,
    backoff: Backoff,
}

/// Puts the controller into `runner`.
pub fn register(runner: &mut Runner) {
    let mut builder = runner.controller("daemonset-controller");
    let (sets, pods) = (builder.cache_of_own::<DaemonSet>(), builder.cache::<Pod>());
    let (nodes, known) = (builder.cache::<Node>(), builder.cache::<ControllerRevision>());
    let expectations = Arc::new(Expectations::default());
    PodWatch { owners: sets.clone(), queue: builder.queue.clone(), expectations: expectations.clone() }.watch(&pods);
    let queue = builder.queue.clone();
    known.on_change(move |change| history::wake_owner(&queue, "DaemonSet", change));
    let (queue, every) = (builder.queue.clone(), sets.clone());
    nodes.on_change(move |change| {
        if matters(change) {
            every.everything().iter().for_each(|set| queue.add(Key::of(&**set)));
        }
    });
    let (client, clock) = (builder.runner.client.clone(), builder.runner.clock.clone());
    let recorder = builder.recorder.clone();
    let control = PodControl::new(client.clone(), recorder.clone(), expectations.clone());
    let revisions = Revisions::new(client.clone(), known);
    let backoff = Backoff::default();
    builder.run(
        WORKERS,
        Controller { client, clock, recorder, control, revisions, sets, nodes, pods, expectations, backoff },
    );
}

/// Whether a change of a node may change what belongs on it; a heartbeat does not.
fn matters(change: &Change<'_, Node>) -> bool {
    let (Some(old), Some(new)) = (change.old, change.new) else { return true };
    old.metadata.labels != new.metadata.labels || crate::node::taints(old) != crate::node::taints(new)
}

impl Reconcile for Controller {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(set) = self.sets.get(key) else {
            self.expectations.forget(key);
            self.backoff.forget(key);
            return Ok(Next::Change);
        };
        let Some(spec) = &set.spec else { return Ok(Next::Change) };
        if spec.selector == LabelSelector::default() {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.recorder.record(&*set, EventType::Warning, "SelectingAll", message.to_owned());
            return Ok(Next::Change);
        }
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Change);
        }
        let collisions = set.status.as_ref().and_then(|status| status.collision_count);
        let wanted = Wanted::of(&spec.template, collisions, HASH_LABEL);
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

impl Controller {
    fn api(&self, key: &Key) -> Api<DaemonSet> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    async fn sync(&self, key: &Key, set: &Arc<DaemonSet>, history: &History) -> Result<Next, Error> {
        let hash = history.current.labels().get(HASH_LABEL).cloned().unwrap_or_default();
        // Before looking at the pods: what is seen later is not missed.
        let may_act = self.expectations.satisfied(key);
        let pods = pod_owner::claim(&self.client, &**set, &self.pods, |_| true).await?;
        let nodes = self.nodes.everything();
        let view = View::new(set, &nodes, &pods, &hash, self.clock.now());
        let generation = (uid(&**set).to_owned(), set.metadata.generation);
        let mut again = None;
        let mut acted = Ok(());
        if may_act {
            let step = plan::plan(&view, &|node| self.backoff.pause(key, &generation, node, Instant::now()));
            again = step.again;
            acted = self.act(key, set, &hash, step).await;
            self.trim(key, set, history, &pods).await?;
        }
        let status = plan::status(&view);
        let recheck = plan::recheck_after(&view, &status);
        self.write_status(key, set, &status).await?;
        acted?;
        Ok(again.into_iter().chain(recheck).min().into())
    }

    async fn act(&self, key: &Key, set: &Arc<DaemonSet>, hash: &str, step: Plan) -> Result<(), Error> {
        let generation = (uid(&**set).to_owned(), set.metadata.generation);
        let named = |pod: &Pod| format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
        for plan::Ended { pod, node } in &step.failed {
            self.backoff.next(key, &generation, node, Instant::now());
            let message = format!("Found failed daemon pod {} on node {node}, will try to kill it", named(pod));
            self.recorder.record(&**set, EventType::Warning, "FailedDaemonPod", message);
        }
        for plan::Ended { pod, node } in &step.succeeded {
            let message = format!("Found succeeded daemon pod {} on node {node}, will try to delete it", named(pod));
            self.recorder.record(&**set, EventType::Normal, "SucceededDaemonPod", message);
        }
        let create = step.create.iter().map(|node| eligibility::pod_for(set, node, hash)).collect();
        self.control.apply(key, &**set, create, &step.delete).await.map_err(|failed| failed.error)
    }

    async fn trim(&self, key: &Key, set: &DaemonSet, history: &History, pods: &[Arc<Pod>]) -> Result<(), Error> {
        let limit = set.spec.as_ref().and_then(|spec| spec.revision_history_limit);
        let live: BTreeSet<&String> = pods.iter().filter_map(|pod| pod.labels().get(HASH_LABEL)).collect();
        let is_live =
            |known: &ControllerRevision| known.labels().get(HASH_LABEL).is_some_and(|hash| live.contains(hash));
        for surplus in history::beyond_limit(&history.old, limit, is_live) {
            self.revisions.delete(key, &surplus).await?;
        }
        Ok(())
    }

    async fn write_status(&self, key: &Key, set: &DaemonSet, status: &DaemonSetStatus) -> Result<(), Error> {
        let known = set.status.clone().map(|known| DaemonSetStatus { conditions: None, ..known });
        if known.as_ref() == Some(status) {
            return Ok(());
        }
        ownership::patch_status(&self.api(key), &key.name, &patch::set_fields(status, plan::OWNED_STATUS_FIELDS)).await
    }
}
