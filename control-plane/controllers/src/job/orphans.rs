//! Frees pods that a Job held and that no Job will count: the Job is gone, is
//! finished, or gave them up (upstream: `syncOrphanPod`). A queue of its own
//! beside the Job's.

use super::{
    plan::is_finished,
    pods::{self, is_tracked},
    release,
};
use crate::runner::{Cache, Change, Error, Key, Next, Reconcile, Runner, resolve_controller, uid};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::Client;
use std::sync::Arc;

/// Pods freed at once: there is no hurry.
const WORKERS: usize = 1;

struct Controller {
    client: Client,
    jobs: Arc<Cache<Job>>,
    pods: Arc<Cache<Pod>>,
}

/// Puts the second queue of the Job controller into `runner`.
pub fn register(runner: &mut Runner) {
    let mut builder = runner.controller::<Key>("job-controller");
    let (jobs, pods) = (builder.cache::<Job>(), builder.cache::<Pod>());
    let (queue, owned) = (builder.queue.clone(), pods.clone());
    jobs.on_change(move |change: &Change<'_, Job>| {
        let job = change.latest();
        if change.new.is_none() || is_finished(job) {
            let held = owned.controlled_by(uid(&**job)).into_iter().filter(|pod| is_tracked(pod));
            held.for_each(|pod| queue.add(Key::of(&*pod)));
        }
    });
    let (queue, owners) = (builder.queue.clone(), jobs.clone());
    pods.on_change(move |change| {
        if let Some(pod) = change.new.filter(|pod| is_tracked(pod) && !is_counted(&owners, pod)) {
            queue.add(Key::of(&**pod));
        }
    });
    let client = builder.runner.client.clone();
    builder.run(WORKERS, Controller { client, jobs, pods });
}

/// Whether a Job will count the pod.
fn is_counted(jobs: &Cache<Job>, pod: &Pod) -> bool {
    resolve_controller(jobs, pod).is_some_and(|job| !is_finished(&job))
}

impl Reconcile for Controller {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(pod) = self.pods.get(key) else { return Ok(Next::Change) };
        if pods::is_tracked(&pod) && !is_counted(&self.jobs, &pod) {
            release(&self.client, &pod).await?;
        }
        Ok(Next::Change)
    }
}
