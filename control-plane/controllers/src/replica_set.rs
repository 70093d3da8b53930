//! ReplicaSet: as many pods as asked for, from one template.
//!
//! Watches ReplicaSets and pods; writes pods and ReplicaSet status. `plan` (pure)
//! is in `replica_set/plan.rs`; this file does what it says
//! (upstream: `pkg/controller/replicaset/replica_set.go`).

mod plan;

use crate::{
    ownership, pod,
    pod_control::{Failed, PodControl},
    pod_owner::{self, PodWatch},
    runner::{Cache, Error, Key, Next, Reconcile, Runner, expectations::Expectations, patch, uid},
};
use k8s_openapi::api::{
    apps::v1::{ReplicaSet, ReplicaSetStatus},
    core::v1::Pod,
};
use kube::{Api, Client, ResourceExt};
use plan::{Failure, Plan};
use std::sync::Arc;
use wk_platform::Clock;

pub use plan::OWNED_STATUS_FIELDS;

/// ReplicaSets reconciled at once (upstream: `--concurrent-replicaset-syncs`).
const WORKERS: usize = 5;

struct Controller {
    client: Client,
    clock: Clock,
    control: PodControl,
    sets: Arc<Cache<ReplicaSet>>,
    pods: Arc<Cache<Pod>>,
    expectations: Arc<Expectations>,
}

/// Puts the controller into `runner`.
pub fn register(runner: &mut Runner) {
    let mut builder = runner.controller("replicaset-controller");
    let (sets, pods) = (builder.cache_of_own::<ReplicaSet>(), builder.cache::<Pod>());
    let expectations = Arc::new(Expectations::default());
    PodWatch { owners: sets.clone(), queue: builder.queue.clone(), expectations: expectations.clone() }.watch(&pods);
    let (client, clock) = (builder.runner.client.clone(), builder.runner.clock.clone());
    let control = PodControl::new(client.clone(), builder.recorder.clone(), expectations.clone());
    let controller = Controller { client, clock, control, sets, pods, expectations };
    builder.run(WORKERS, controller);
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
        let pods = pod_owner::claim(&self.client, &*set, &self.pods, pod::is_active).await?;
        let plan = if may_act { plan::plan(&set, &pods, &self.related(&set)) } else { Plan::Nothing };
        let managed = self.act(key, &set, plan).await;
        let failure = managed.as_ref().err().map(|failed| Failure { reason: failed.reason, message: failed.message() });
        let now = self.clock.now();
        let status = plan::status(&set, &pods, failure, now);
        let recheck = plan::recheck_after(&set, &status, now, &pods);
        self.write_status(key, &set, &status).await?;
        managed.map(|()| recheck.into()).map_err(|failed| failed.error)
    }
}

impl Controller {
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

    async fn act(&self, key: &Key, set: &ReplicaSet, plan: Plan) -> Result<(), Failed> {
        match plan {
            Plan::Nothing => Ok(()),
            Plan::Create(count) => self.control.apply(key, set, vec![plan::pod_from_template(set); count], &[]).await,
            Plan::Delete(pods) => self.control.apply(key, set, Vec::new(), &pods).await,
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
