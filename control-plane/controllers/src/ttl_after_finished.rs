//! Deletes Jobs some time after they have finished, with all they made
//! (upstream: `pkg/controller/ttlafterfinished`).
//!
//! Watches Jobs; deletes them. Timers wait in the queue.

use crate::{
    job,
    runner::{Cache, Error, Key, Next, Reconcile, Runner, uid, unless_gone},
};
use k8s_openapi::{api::batch::v1::Job, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Preconditions},
};
use std::{sync::Arc, time::Duration};
use tracing::info;
use wk_platform::Clock;

/// Jobs deleted at once (upstream: `--concurrent-ttl-after-finished-syncs`).
const WORKERS: usize = 5;

struct Controller {
    client: Client,
    clock: Clock,
    jobs: Arc<Cache<Job>>,
}

/// Puts the controller into `runner`.
pub fn register(runner: &mut Runner) {
    let mut builder = runner.controller("ttl-after-finished-controller");
    let jobs = builder.cache::<Job>();
    let queue = builder.queue.clone();
    jobs.on_change(move |change| {
        if let Some(job) = change.new.filter(|job| expiry(job).is_some()) {
            queue.add(Key::of(&**job));
        }
    });
    let (client, clock) = (builder.runner.client.clone(), builder.runner.clock.clone());
    builder.run(WORKERS, Controller { client, clock, jobs });
}

/// When a finished Job that says so is to go.
fn expiry(job: &Job) -> Option<Timestamp> {
    let seconds = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let status = job.status.as_ref()?;
    let last = job::condition(status, "Complete").or(job::condition(status, "Failed"))?;
    let ttl = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    Some(last.last_transition_time.as_ref()?.0 + ttl)
}

impl Reconcile for Controller {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(job) = self.jobs.get(key) else { return Ok(Next::Change) };
        let Some(expiry) = expiry(&job).filter(|_| job.metadata.deletion_timestamp.is_none()) else {
            return Ok(Next::Change);
        };
        let left = expiry.duration_since(self.clock.now());
        if left.is_positive() {
            return Ok(Next::After(Duration::try_from(left).unwrap_or_default()));
        }
        // The version, too: somebody may just now have given it more time.
        let preconditions =
            Preconditions { uid: Some(uid(&*job).to_owned()), resource_version: job.resource_version() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::foreground() };
        let api: Api<Job> = Api::namespaced(self.client.clone(), &key.namespace);
        unless_gone(api.delete(&key.name, &params).await).map_err(Error::api("delete Job", key))?;
        info!(job = %key, "deleted an expired job");
        Ok(Next::Change)
    }
}
