//! CronJob: a Job at certain times.
//!
//! Watches CronJobs and Jobs; writes Jobs and CronJob status. Pure: `schedule`
//! (when), `plan` (which start is due, which Jobs go). This file does what they
//! say; it sleeps in the queue until the next start
//! (upstream: `pkg/controller/cronjob/cronjob_controllerv2.go`).

mod plan;
mod schedule;

use crate::{
    job, namespace,
    pod_control::source_message,
    runner::{
        Cache, Error, EventType, Key, Next, Reconcile, Recorder, Runner, patch, resolve_controller, uid, unless_gone,
    },
};
use jiff::{Timestamp, tz::TimeZone};
use k8s_openapi::{
    api::{
        batch::v1::{CronJob, CronJobStatus, Job},
        core::v1::ObjectReference,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, Preconditions},
};
use plan::Timetable;
use schedule::Schedule;
use serde_json::json;
use std::sync::Arc;
use wk_platform::Clock;

/// CronJobs reconciled at once (upstream: `--concurrent-cron-job-syncs`).
const WORKERS: usize = 5;

/// The fields of the status this controller writes.
const OWNED_STATUS_FIELDS: &[&str] = &["active", "lastScheduleTime", "lastSuccessfulTime"];

struct Controller {
    client: Client,
    clock: Clock,
    recorder: Recorder,
    crons: Arc<Cache<CronJob>>,
    jobs: Arc<Cache<Job>>,
}

/// Puts the controller into `runner`.
pub fn register(runner: &mut Runner) {
    let mut builder = runner.controller("cronjob-controller");
    let (crons, jobs) = (builder.cache_of_own::<CronJob>(), builder.cache::<Job>());
    let (queue, owners) = (builder.queue.clone(), crons.clone());
    jobs.on_change(move |change| {
        for job in [change.old, change.new].into_iter().flatten() {
            if let Some(cron) = resolve_controller(&owners, &**job) {
                queue.add(Key::of(&*cron));
            }
        }
    });
    let (client, clock) = (builder.runner.client.clone(), builder.runner.clock.clone());
    let recorder = builder.recorder.clone();
    builder.run(WORKERS, Controller { client, clock, recorder, crons, jobs });
}

impl Reconcile for Controller {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(cron) = self.crons.get(key) else { return Ok(Next::Change) };
        let jobs = self.jobs.controlled_by(uid(&*cron));
        let mut status = self.remembered(key, &cron, &jobs).await?;
        for surplus in plan::beyond_limits(&cron, &jobs) {
            self.delete_job(key, &cron, &surplus).await?;
        }
        let started = self.start_due(key, &cron, &jobs, &mut status).await;
        self.write_status(key, &cron, &status).await?;
        started
    }
}

impl Controller {
    fn jobs_api(&self, key: &Key) -> Api<Job> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    fn tell(&self, cron: &CronJob, event_type: EventType, reason: &'static str, message: String) {
        self.recorder.record(cron, event_type, reason, message);
    }

    /// The status without Jobs that have ended or gone.
    async fn remembered(&self, key: &Key, cron: &CronJob, jobs: &[Arc<Job>]) -> Result<CronJobStatus, Error> {
        let mut status = cron.status.clone().unwrap_or_default();
        for job in jobs {
            let (is_active, name) = (plan::is_active(cron, job), job.name_any());
            let of_job = job.status.clone().unwrap_or_default();
            let succeeded = job::condition(&of_job, "Complete").is_some();
            if job::is_finished(job) && is_active {
                forget(&mut status, uid(&**job));
                let end = if succeeded { "Complete" } else { "Failed" };
                let message = format!("Saw completed job: {name}, condition: {end}");
                self.tell(cron, EventType::Normal, "SawCompletedJob", message);
            } else if !job::is_finished(job) && !is_active && !self.is_newly_active(key, job).await? {
                let message = format!("Saw a job that the controller did not create or forgot: {name}");
                self.tell(cron, EventType::Warning, "UnexpectedJob", message);
            }
            if succeeded && of_job.completion_time > status.last_successful_time {
                status.last_successful_time = of_job.completion_time;
            }
        }
        for active in status.active.clone().unwrap_or_default() {
            let (name, id) = (active.name.unwrap_or_default(), active.uid.unwrap_or_default());
            if !jobs.iter().any(|job| uid(&**job) == id) && !self.exists(key, &name).await? {
                self.tell(cron, EventType::Normal, "MissingJob", format!("Active job went missing: {name}"));
                forget(&mut status, &id);
            }
        }
        Ok(status)
    }

    fn crons_api(&self, key: &Key) -> Api<CronJob> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    /// Whether the CronJob, asked for anew, knows the Job: its watch may be behind the Job's.
    async fn is_newly_active(&self, key: &Key, job: &Job) -> Result<bool, Error> {
        let fresh = self.crons_api(key).get_opt(&key.name).await.map_err(Error::api("get CronJob", key))?;
        Ok(fresh.is_some_and(|fresh| plan::is_active(&fresh, job)))
    }

    /// Whether the API server has the Job: the watch may be behind.
    async fn exists(&self, key: &Key, name: &str) -> Result<bool, Error> {
        Ok(self.jobs_api(key).get_opt(name).await.map_err(Error::api("get Job", name))?.is_some())
    }

    /// Makes the Job whose time has come; when the next one's does.
    async fn start_due(
        &self,
        key: &Key,
        cron: &CronJob,
        jobs: &[Arc<Job>],
        status: &mut CronJobStatus,
    ) -> Result<Next, Error> {
        let Some(spec) = cron.spec.as_ref().filter(|_| cron.metadata.deletion_timestamp.is_none()) else {
            return Ok(Next::Change);
        };
        let Some((schedule, zone)) = self.timetable(cron, &spec.schedule, spec.time_zone.as_deref()) else {
            return Ok(Next::Change);
        };
        if spec.suspend == Some(true) {
            return Ok(Next::Change);
        }
        let (now, table) = (self.clock.now(), Timetable { cron, schedule: &schedule, zone: &zone });
        let next = Next::from(table.pause(now));
        let Some(due) = table.due(now) else { return Ok(next) };
        if let Some(missed) = due.missed_many {
            let message = format!(
                "too many missed start times: {missed}. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            );
            self.tell(cron, EventType::Warning, "TooManyMissedTimes", message);
        }
        if table.is_too_late(due.at, now) {
            let at = due.at.strftime("%a, %d %b %Y %H:%M:%S +0000");
            self.tell(cron, EventType::Warning, "MissSchedule", format!("Missed scheduled time to start a job: {at}"));
            return Ok(next);
        }
        if status.last_schedule_time.as_ref().is_some_and(|last| last.0 == due.at) {
            return Ok(next);
        }
        let running: Vec<_> = jobs.iter().filter(|job| plan::is_active(cron, job) && !job::is_finished(job)).collect();
        match spec.concurrency_policy.as_deref() {
            Some("Forbid") if !running.is_empty() => {
                let message =
                    "Not starting job because prior execution is running and concurrency policy is Forbid".to_owned();
                self.tell(cron, EventType::Normal, "JobAlreadyActive", message);
                return Ok(next);
            }
            Some("Replace") => {
                for job in running {
                    self.delete_job(key, cron, job).await?;
                    forget(status, uid(&**job));
                }
            }
            _ => {}
        }
        self.create_job(key, cron, due.at, &zone, status).await?;
        Ok(next)
    }

    /// The schedule and its zone; UTC without one.
    fn timetable(&self, cron: &CronJob, schedule: &str, zone: Option<&str>) -> Option<(Schedule, TimeZone)> {
        let warn = |reason, message| self.tell(cron, EventType::Warning, reason, message);
        let zone = match zone.map_or(Ok(TimeZone::UTC), TimeZone::get) {
            Ok(zone) => zone,
            Err(error) => {
                warn("UnknownTimeZone", format!("invalid timeZone: {:?}: {error}", zone.unwrap_or_default()));
                return None;
            }
        };
        match Schedule::parse(schedule) {
            Ok(schedule) => Some((schedule, zone)),
            Err(problem) => {
                warn("UnparseableSchedule", format!("unparseable schedule: {schedule:?} : {problem}"));
                None
            }
        }
    }

    /// The name is the start's, so that a start which the cache has not seen yet
    /// is not made twice.
    async fn create_job(
        &self,
        key: &Key,
        cron: &CronJob,
        at: Timestamp,
        zone: &TimeZone,
        status: &mut CronJobStatus,
    ) -> Result<(), Error> {
        let (api, wanted) = (self.jobs_api(key), plan::job_for(cron, at, zone));
        let name = wanted.name_any();
        let job = match api.create(&patch::post_params(), &wanted).await {
            Ok(job) => {
                self.tell(cron, EventType::Normal, "SuccessfulCreate", format!("Created job {name}"));
                job
            }
            Err(kube::Error::Api(refused)) if refused.is_already_exists() => {
                api.get(&name).await.map_err(Error::api("get Job", &name))?
            }
            Err(error) if namespace::refuses_content(&error) => return Ok(()),
            Err(error) => {
                let message = format!("Error creating job: {}", source_message(&error));
                self.tell(cron, EventType::Warning, "FailedCreate", message);
                return Err(Error::api("create a Job of", key)(error));
            }
        };
        let is_ours = job.owner_references().iter().any(|owner| owner.uid == uid(cron));
        if is_ours && !job::is_finished(&job) && !plan::is_active(cron, &job) {
            let reference = ObjectReference { field_path: None, ..job.object_ref(&()) };
            status.active.get_or_insert_default().push(reference);
        }
        status.last_schedule_time = Some(Time(at));
        Ok(())
    }

    async fn delete_job(&self, key: &Key, cron: &CronJob, job: &Job) -> Result<(), Error> {
        let preconditions = Some(Preconditions { uid: job.uid(), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::background() };
        let deleted = self.jobs_api(key).delete(&job.name_any(), &params).await;
        unless_gone(deleted).map_err(Error::api("delete Job", &job.name_any()))?;
        self.tell(cron, EventType::Normal, "SuccessfulDelete", format!("Deleted job {}", job.name_any()));
        Ok(())
    }

    /// On the version that was looked at: the last start must not go back.
    async fn write_status(&self, key: &Key, cron: &CronJob, status: &CronJobStatus) -> Result<(), Error> {
        if cron.status.clone().unwrap_or_default() == *status {
            return Ok(());
        }
        let metadata = json!({"uid": cron.uid(), "resourceVersion": cron.resource_version()});
        let body = json!({"metadata": metadata, "status": patch::set_fields(status, OWNED_STATUS_FIELDS)});
        let written = self.crons_api(key).patch_status(&key.name, &patch::params(), &Patch::Merge(&body)).await;
        unless_gone(written).map_err(Error::api("update the status of CronJob", key))
    }
}

fn forget(status: &mut CronJobStatus, uid: &str) {
    if let Some(active) = &mut status.active {
        active.retain(|known| known.uid.as_deref() != Some(uid));
        if active.is_empty() {
            status.active = None;
        }
    }
}
