//! Disruption budgets: how many of the selected pods may be evicted now.
//!
//! Watches budgets, pods and the kinds that own them; writes budget status, which
//! the eviction subresource reads and counts down. `plan` (pure) computes it
//! (upstream: `pkg/controller/disruption`).

mod plan;

use crate::{
    ownership,
    runner::{Cache, Change, Error, EventType, Key, Next, Queue, Reconcile, Recorder, Runner, patch},
};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, StatefulSet},
        core::v1::Pod,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{Api, Client, ResourceExt, api::Patch, core::SelectorExt};
use plan::{Outcome, Scales};
use serde_json::{Value, json};
use std::sync::Arc;
use wk_platform::Clock;

/// Budgets reconciled at once (upstream has one worker).
const WORKERS: usize = 1;

struct Controller {
    client: Client,
    clock: Clock,
    recorder: Recorder,
    budgets: Arc<Cache<PodDisruptionBudget>>,
    pods: Arc<Cache<Pod>>,
    deployments: Arc<Cache<Deployment>>,
    sets: Arc<Cache<ReplicaSet>>,
    stateful: Arc<Cache<StatefulSet>>,
}

/// Puts the controller into `runner`.
pub fn register(runner: &mut Runner) {
    let mut builder = runner.controller("disruption-controller");
    let (budgets, pods) = (builder.cache_of_own::<PodDisruptionBudget>(), builder.cache::<Pod>());
    let (deployments, sets) = (builder.cache::<Deployment>(), builder.cache::<ReplicaSet>());
    let stateful = builder.cache::<StatefulSet>();
    let (queue, known) = (builder.queue.clone(), budgets.clone());
    pods.on_change(move |change| {
        [change.old, change.new].into_iter().flatten().for_each(|pod| wake(&queue, &known, pod));
    });
    // A new size of an owner changes what a percentage means.
    let (queue, known) = (builder.queue.clone(), budgets.clone());
    deployments.on_change(move |change| on_owner(&queue, &known, change));
    let (queue, known) = (builder.queue.clone(), budgets.clone());
    sets.on_change(move |change| on_owner(&queue, &known, change));
    let (queue, known) = (builder.queue.clone(), budgets.clone());
    stateful.on_change(move |change| on_owner(&queue, &known, change));
    let (client, clock) = (builder.runner.client.clone(), builder.runner.clock.clone());
    let recorder = builder.recorder.clone();
    builder.run(WORKERS, Controller { client, clock, recorder, budgets, pods, deployments, sets, stateful });
}

fn on_owner<K: kube::Resource>(queue: &Queue<Key>, budgets: &Cache<PodDisruptionBudget>, change: &Change<'_, K>) {
    let generation = |side: Option<&Arc<K>>| side.map(|owner| owner.meta().generation);
    if generation(change.old) == generation(change.new) {
        return;
    }
    let namespace = change.latest().meta().namespace.clone().unwrap_or_default();
    budgets.in_namespace(&namespace).iter().for_each(|budget| queue.add(Key::of(&**budget)));
}

fn wake(queue: &Queue<Key>, budgets: &Cache<PodDisruptionBudget>, pod: &Pod) {
    for budget in budgets.in_namespace(&pod.namespace().unwrap_or_default()) {
        if covers(&budget, pod) {
            queue.add(Key::of(&*budget));
        }
    }
}

fn selector(budget: &PodDisruptionBudget) -> Option<&LabelSelector> {
    budget.spec.as_ref()?.selector.as_ref()
}

/// Whether the budget speaks of the pod. No selector is nobody's, an empty one everybody's.
fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = selector(budget).map(|selector| ownership::selector(budget, selector));
    selector.is_some_and(|selector| selector.is_ok_and(|selector| selector.matches(pod.labels())))
}

impl Reconcile for Controller {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(budget) = self.budgets.get(key) else { return Ok(Next::Change) };
        let mut pods = self.pods.in_namespace(&key.namespace);
        pods.retain(|pod| covers(&budget, pod));
        if pods.is_empty() {
            self.recorder.record(&*budget, EventType::Normal, "NoPods", "No matching pods found".to_owned());
        }
        let scales = Scales { deployments: &self.deployments, sets: &self.sets, stateful: &self.stateful };
        let outcome = plan::plan(&budget, &pods, &|pod| scales.of(pod), self.clock.now());
        self.tell(&budget, &outcome);
        self.write_status(key, &budget, &outcome.status).await?;
        match outcome.problem {
            Some(problem) => Err(Error::Object { object: key.to_string(), problem }),
            None => Ok(outcome.again.into()),
        }
    }
}

impl Controller {
    fn tell(&self, budget: &PodDisruptionBudget, outcome: &Outcome) {
        let warn = |reason, message| self.recorder.record(budget, EventType::Warning, reason, message);
        if let Some(problem) = &outcome.problem {
            let message = format!("Failed to calculate the number of expected pods: {problem}");
            warn("CalculateExpectedPodCountFailed", message);
        }
        if outcome.has_unmanaged {
            let shown = selector(budget).map(|selector| serde_json::to_string(selector).unwrap_or_default());
            let message = format!(
                "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the \
                 status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account \
                 for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.",
                shown.unwrap_or_default()
            );
            warn("UnmanagedPods", message);
        }
        for pod in &outcome.not_deleted {
            let name = Key::of(budget);
            let message = format!("Pod was expected by PDB {name} to be deleted but it wasn't");
            self.recorder.record(&**pod, EventType::Warning, "NotDeleted", message);
        }
    }

    /// On the version that was looked at: an eviction may have counted meanwhile.
    async fn write_status(
        &self,
        key: &Key,
        budget: &PodDisruptionBudget,
        status: &PodDisruptionBudgetStatus,
    ) -> Result<(), Error> {
        let known = budget.status.clone().unwrap_or_default();
        if known == *status {
            return Ok(());
        }
        let mut fields = patch::set_fields(status, plan::OWNED_STATUS_FIELDS);
        let (before, now) =
            (known.disrupted_pods.unwrap_or_default(), status.disrupted_pods.clone().unwrap_or_default());
        if now.is_empty() {
            fields["disruptedPods"] = Value::Null;
        } else {
            before
                .keys()
                .filter(|pod| !now.contains_key(*pod))
                .for_each(|pod| fields["disruptedPods"][pod] = Value::Null);
        }
        let metadata = json!({"uid": budget.uid(), "resourceVersion": budget.resource_version()});
        let body = json!({"metadata": metadata, "status": fields});
        let api: Api<PodDisruptionBudget> = Api::namespaced(self.client.clone(), &key.namespace);
        let written = api.patch_status(&key.name, &patch::params(), &Patch::Merge(&body)).await;
        written.map(|_| ()).map_err(Error::api("update the status of PodDisruptionBudget", key))
    }
}
