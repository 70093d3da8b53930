//! Job: pods that run until enough of them have succeeded.
//!
//! Watches Jobs and pods; writes pods and Job status. Pure: `plan` (what to do,
//! what to count), `failure` (when it is hopeless), `pods`, `indexes`. This file
//! carries plans out; `orphans` frees pods whose Job is gone
//! (upstream: `pkg/controller/job`). Not done: `backoffLimitPerIndex` and
//! `successPolicy`.

mod failure;
mod indexes;
mod orphans;
mod plan;
mod pods;

pub(crate) use plan::{condition, is_finished};

use crate::{
    pod_control::PodControl,
    pod_owner::{self, PodWatch},
    runner::{
        Cache, Error, EventType, Key, Next, Reconcile, Recorder, Runner, expectations::Expectations, patch, uid,
        unless_gone,
    },
};
use futures::future::join_all;
use k8s_openapi::api::{
    batch::v1::{Job, JobCondition, JobStatus},
    core::v1::Pod,
};
use kube::{Api, Client, ResourceExt, api::Patch};
use parking_lot::Mutex;
use plan::{Pause, Plan, View};
use serde_json::{Value, json};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use wk_platform::Clock;

/// Jobs reconciled at once (upstream: `--concurrent-job-syncs`).
const WORKERS: usize = 5;

/// The fields of the status this controller writes.
const OWNED_STATUS_FIELDS: &[&str] = &[
    "active",
    "ready",
    "terminating",
    "succeeded",
    "failed",
    "completedIndexes",
    "startTime",
    "completionTime",
    "conditions",
];

/// Pods that were let go of and that the cache still shows as held: they must
/// not be counted twice. By Job; bounded by the pods the cache has.
#[derive(Default)]
struct Released(Mutex<HashMap<Key, HashSet<String>>>);

impl Released {
    fn of(&self, key: &Key) -> HashSet<String> {
        self.0.lock().get(key).cloned().unwrap_or_default()
    }

    fn insert(&self, key: &Key, uid: &str) {
        self.0.lock().entry(key.clone()).or_default().insert(uid.to_owned());
    }

    fn remove(&self, key: &Key, uid: &str) {
        let mut by_job = self.0.lock();
        if let Some(uids) = by_job.get_mut(key) {
            uids.remove(uid);
            if uids.is_empty() {
                by_job.remove(key);
            }
        }
    }
}

struct Controller {
    client: Client,
    clock: Clock,
    recorder: Recorder,
    control: PodControl,
    jobs: Arc<Cache<Job>>,
    pods: Arc<Cache<Pod>>,
    expectations: Arc<Expectations>,
    released: Arc<Released>,
}

/// Puts the controller into `runner`.
pub fn register(runner: &mut Runner) {
    let mut builder = runner.controller("job-controller");
    let (jobs, pods) = (builder.cache_of_own::<Job>(), builder.cache::<Pod>());
    let (expectations, released) = (Arc::new(Expectations::default()), Arc::new(Released::default()));
    let seen = released.clone();
    pods.on_change(move |change| {
        let pod = change.latest();
        let Some(owner) = pod.owner_references().iter().find(|owner| owner.controller == Some(true)) else { return };
        if owner.kind == "Job" && (change.new.is_none() || !pods::is_tracked(pod)) {
            seen.remove(&Key::new(pod.namespace().unwrap_or_default(), owner.name.clone()), uid(&**pod));
        }
    });
    PodWatch { owners: jobs.clone(), queue: builder.queue.clone(), expectations: expectations.clone() }.watch(&pods);
    let (client, clock) = (builder.runner.client.clone(), builder.runner.clock.clone());
    let recorder = builder.recorder.clone();
    let control = PodControl::new(client.clone(), recorder.clone(), expectations.clone());
    let controller = Controller { client, clock, recorder, control, jobs, pods, expectations, released };
    builder.run(WORKERS, controller);
    orphans::register(runner);
}

impl Reconcile for Controller {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(job) = self.jobs.get(key) else {
            self.expectations.forget(key);
            return Ok(Next::Change);
        };
        if is_finished(&job) {
            return Ok(Next::Change);
        }
        // Before looking at the pods: what is seen later is not missed.
        let (is_current, released) = (self.expectations.satisfied(key), self.released.of(key));
        let pods = pod_owner::claim(&self.client, &*job, &self.pods, |_| true).await?;
        let view = View { job: &job, pods: &pods, released: &released, is_current, now: self.clock.now() };
        let mut plan = plan::plan(&view);
        let create = std::mem::take(&mut plan.create);
        let managed = self.control.apply(key, &*job, create, &plan.delete).await;
        if managed.is_err() {
            let active = pods.iter().filter(|pod| crate::pod::is_active(pod)).count();
            plan.status.active = patch::nonzero(i32::try_from(active).unwrap_or(i32::MAX));
        }
        let again = plan.again;
        self.count(key, &job, &pods, plan).await?;
        managed.map_err(|failed| failed.error)?;
        Ok(again.into())
    }
}

impl Controller {
    fn api(&self, key: &Key) -> Api<Job> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    /// Status, finalizers, status: each pod is named before it is let go of, and
    /// counted after. Cancel safety: the next step finds names and counts them.
    async fn count(&self, key: &Key, job: &Job, pods: &[Arc<Pod>], plan: Plan) -> Result<(), Error> {
        let named = self.write_status(key, job, job.status.as_ref(), &plan.status).await?;
        match plan.pause {
            Some(Pause::Suspended) => self.tell(job, "Suspended", "Job suspended"),
            Some(Pause::Resumed) => self.tell(job, "Resumed", "Job resumed"),
            None => {}
        }
        let freed = join_all(plan.release.iter().map(|pod| self.release(key, pod))).await;
        freed.into_iter().collect::<Result<(), Error>>()?;
        let counted = plan::settle(plan.status.clone(), pods, &self.released.of(key));
        let (status, is_over) = plan::finish(counted, plan.finish.as_ref());
        self.write_status(key, &named, Some(&plan.status), &status).await?;
        if let Some(last) = plan.finish.filter(|_| is_over) {
            self.tell_end(job, &last);
        }
        Ok(())
    }

    fn tell(&self, job: &Job, reason: &'static str, message: &str) {
        self.recorder.record(job, EventType::Normal, reason, message.to_owned());
    }

    fn tell_end(&self, job: &Job, last: &JobCondition) {
        if last.type_ == "Complete" {
            return self.tell(job, "Completed", "Job completed");
        }
        let reason = match last.reason.as_deref() {
            Some("DeadlineExceeded") => "DeadlineExceeded",
            Some("PodFailurePolicy") => "PodFailurePolicy",
            _ => "BackoffLimitExceeded",
        };
        self.recorder.record(job, EventType::Warning, reason, last.message.clone().unwrap_or_default());
    }

    async fn release(&self, key: &Key, pod: &Pod) -> Result<(), Error> {
        // Before the request: the watch may be quicker than the answer.
        self.released.insert(key, uid(pod));
        let freed = release(&self.client, pod).await;
        if freed.is_err() {
            self.released.remove(key, uid(pod));
        }
        freed
    }

    /// Writes what differs from `known`, on the version of the Job that was
    /// decided from: counts depend on what was counted before.
    async fn write_status(
        &self,
        key: &Key,
        job: &Job,
        known: Option<&JobStatus>,
        status: &JobStatus,
    ) -> Result<Job, Error> {
        if known == Some(status) {
            return Ok(job.clone());
        }
        let mut fields = patch::set_fields(status, OWNED_STATUS_FIELDS);
        let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        fields["uncountedTerminatedPods"] = patch::set_fields(&uncounted, &["succeeded", "failed"]);
        let body = json!({
            "metadata": {"uid": job.uid(), "resourceVersion": job.resource_version()}, "status": fields,
        });
        let written = self.api(key).patch_status(&key.name, &patch::params(), &Patch::Merge(&body)).await;
        written.map_err(Error::api("update the status of Job", key))
    }
}

/// Takes the finalizer off a pod.
///
/// # Errors
/// When the API server fails; a pod that is gone is no failure.
async fn release(client: &Client, pod: &Pod) -> Result<(), Error> {
    let key = Key::of(pod);
    let kept: Vec<&String> = pod.finalizers().iter().filter(|finalizer| *finalizer != pods::FINALIZER).collect();
    let kept = if kept.is_empty() { Value::Null } else { json!(kept) };
    // With the version, since the list is written as a whole.
    let body = json!({"metadata": {
        "uid": pod.uid(), "resourceVersion": pod.resource_version(), "finalizers": kept,
    }});
    let api: Api<Pod> = Api::namespaced(client.clone(), &key.namespace);
    let written = api.patch(&key.name, &patch::params(), &Patch::Merge(&body)).await;
    unless_gone(written).map_err(Error::api("remove the finalizer of pod", &key))
}
