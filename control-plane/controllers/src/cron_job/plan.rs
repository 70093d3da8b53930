//! Which start of a CronJob is due, when the next one is, and which of its Jobs
//! are remembered. Pure; called by `cron_job.rs`
//! (upstream: `pkg/controller/cronjob/utils.go`).

use super::schedule::Schedule;
use crate::{job, ownership, runner::uid};
use jiff::{Timestamp, tz::TimeZone};
use k8s_openapi::{
    api::batch::v1::{CronJob, Job},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;
use std::{sync::Arc, time::Duration};

/// For when a Job was meant.
const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// Missed starts that are told (upstream: more than 100).
const MISSED_MANY: i64 = 100;
/// Starts a little late rather than a little early (upstream: `nextScheduleDelta`).
const LATE: Duration = Duration::from_millis(100);

/// A start that has come, and how many before it were missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When it was meant to be.
    pub at: Timestamp,
    /// Whether so many were missed that the user should know.
    pub missed_many: Option<i64>,
}

/// What decides when.
pub struct Timetable<'a> {
    /// The CronJob.
    pub cron: &'a CronJob,
    /// Its schedule.
    pub schedule: &'a Schedule,
    /// Its time zone.
    pub zone: &'a TimeZone,
}

impl Timetable<'_> {
    fn deadline(&self) -> Option<Duration> {
        let seconds = self.cron.spec.as_ref()?.starting_deadline_seconds?;
        Some(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
    }

    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.schedule.next(after, self.zone)
    }

    /// The last start, or the CronJob's birth.
    fn since(&self) -> Timestamp {
        let last = self.cron.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
        last.or(self.cron.metadata.creation_timestamp.as_ref()).map_or(Timestamp::UNIX_EPOCH, |time| time.0)
    }

    /// The latest start that has come since the last one, within the deadline.
    pub fn due(&self, now: Timestamp) -> Option<Due> {
        let earliest = self.deadline().and_then(|deadline| now.checked_sub(deadline).ok());
        self.latest(earliest.map_or(self.since(), |earliest| earliest.max(self.since())), now)
    }

    /// The latest start in `(since, now]`. Long absences are jumped over by
    /// assuming that all starts are as far apart as the first two.
    fn latest(&self, since: Timestamp, now: Timestamp) -> Option<Due> {
        let first = self.next(since).filter(|first| *first <= now)?;
        let Some(second) = self.next(first).filter(|second| *second <= now) else {
            return Some(Due { at: first, missed_many: None });
        };
        let apart = (second.as_second() - first.as_second()).max(1);
        let missed = (now.as_second() - first.as_second()) / apart + 1;
        let jump = Timestamp::from_second(first.as_second() + (missed - 2).max(0) * apart).unwrap_or(first);
        let mut latest = self.next(jump).filter(|time| *time <= now).unwrap_or(second);
        while let Some(next) = self.next(latest).filter(|next| *next <= now) {
            latest = next;
        }
        Some(Due { at: latest, missed_many: (missed > MISSED_MANY).then_some(missed) })
    }

    /// Whether it is too late for a start.
    pub fn is_too_late(&self, at: Timestamp, now: Timestamp) -> bool {
        self.deadline().is_some_and(|deadline| at + deadline < now)
    }

    /// How long until the next start.
    pub fn pause(&self, now: Timestamp) -> Option<Duration> {
        let passed = self.latest(self.since(), now).map_or(self.since(), |due| due.at);
        let next = self.next(passed)?;
        Some(Duration::try_from(next.duration_since(now)).unwrap_or_default() + LATE)
    }
}

/// The name of the Job of one start: the same start makes the same Job.
pub fn job_name(cron: &CronJob, at: Timestamp) -> String {
    format!("{}-{}", cron.name_any(), at.as_second() / 60)
}

/// The Job of one start.
pub fn job_for(cron: &CronJob, at: Timestamp, zone: &TimeZone) -> Job {
    let template = cron.spec.as_ref().map(|spec| spec.job_template.clone()).unwrap_or_default();
    let from = template.metadata.unwrap_or_default();
    let mut annotations = from.annotations.unwrap_or_default();
    let local = at.to_zoned(zone.clone());
    annotations
        .insert(SCHEDULED_AT.to_owned(), local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().replace("+00:00", "Z"));
    Job {
        metadata: ObjectMeta {
            name: Some(job_name(cron, at)),
            namespace: cron.namespace(),
            labels: from.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![ownership::controller_reference(cron)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// The finished Jobs beyond the limits, oldest first.
pub fn beyond_limits(cron: &CronJob, jobs: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let spec = cron.spec.clone().unwrap_or_default();
    let mut surplus = beyond(jobs, "Complete", spec.successful_jobs_history_limit);
    surplus.extend(beyond(jobs, "Failed", spec.failed_jobs_history_limit));
    surplus
}

fn beyond(jobs: &[Arc<Job>], end: &str, limit: Option<i32>) -> Vec<Arc<Job>> {
    let Some(limit) = limit else { return Vec::new() };
    let ended = |job: &&Arc<Job>| job.status.as_ref().is_some_and(|status| job::condition(status, end).is_some());
    let mut ended: Vec<_> = jobs.iter().filter(ended).cloned().collect();
    let started = |job: &Job| job.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
    ended.sort_by_key(|job| (started(job), job.name_any()));
    let surplus = ended.len().saturating_sub(usize::try_from(limit).unwrap_or_default());
    ended.into_iter().take(surplus).filter(|job| job.metadata.deletion_timestamp.is_none()).collect()
}

/// Whether the CronJob's list of running Jobs has this one.
pub fn is_active(cron: &CronJob, job: &Job) -> bool {
    let active = cron.status.iter().flat_map(|status| status.active.iter().flatten());
    active.into_iter().any(|known| known.uid.as_deref() == Some(uid(job)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::serde_json::{self, json};

    fn cron(last: Option<&str>, deadline: Option<i64>) -> CronJob {
        let value = json!({
            "metadata": {"name": "tick", "namespace": "default", "uid": "c", "creationTimestamp": "2024-01-01T00:00:30Z"},
            "spec": {"schedule": "", "startingDeadlineSeconds": deadline, "successfulJobsHistoryLimit": 1,
                "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {}}}},
            "status": {"lastScheduleTime": last},
        });
        serde_json::from_value(value).expect("a CronJob")
    }

    fn time(text: &str) -> Timestamp {
        format!("2024-01-{text}Z").parse().expect("a time")
    }

    #[test]
    fn the_latest_missed_start_is_due() {
        for (schedule, last, deadline, now, expect) in [
            ("* * * * *", None, None, "01T00:00:59", None),
            ("* * * * *", None, None, "01T00:01:00", Some(("01T00:01:00", None))),
            ("* * * * *", Some("2024-01-01T00:01:00Z"), None, "01T00:01:30", None),
            ("* * * * *", Some("2024-01-01T00:01:00Z"), None, "01T00:09:30", Some(("01T00:09:00", None))),
            ("* * * * *", Some("2024-01-01T00:01:00Z"), None, "02T00:01:30", Some(("02T00:01:00", Some(1440)))),
            ("* * * * *", Some("2024-01-01T00:01:00Z"), Some(90), "02T00:01:30", Some(("02T00:01:00", None))),
            ("0 9 * * 1-5", Some("2024-01-04T09:00:00Z"), None, "08T10:00:00", Some(("08T09:00:00", None))),
            ("0 9 * * *", Some("2024-01-04T09:00:00Z"), Some(60), "05T10:00:00", None),
        ] {
            let (cron, schedule) = (cron(last, deadline), Schedule::parse(schedule).expect("a schedule"));
            let table = Timetable { cron: &cron, schedule: &schedule, zone: &TimeZone::UTC };
            let expect = expect.map(|(at, missed_many)| Due { at: time(at), missed_many });
            assert_eq!(table.due(time(now)), expect, "{schedule:?} at {now}");
        }
    }

    #[test]
    fn the_pause_lasts_until_the_next_start() {
        let (cron, schedule) = (cron(None, None), Schedule::parse("*/10 * * * *").expect("a schedule"));
        let table = Timetable { cron: &cron, schedule: &schedule, zone: &TimeZone::UTC };
        assert_eq!(table.pause(time("01T00:12:00")), Some(Duration::from_secs(480) + LATE));
    }

    #[test]
    fn a_start_names_its_job() {
        let job = job_for(&cron(None, None), time("01T00:05:00"), &TimeZone::UTC);
        assert_eq!(job.name_any(), "tick-28401125");
        assert_eq!(job.annotations().get(SCHEDULED_AT).map(String::as_str), Some("2024-01-01T00:05:00Z"));
        assert_eq!((job.labels().len(), job.owner_references()[0].kind.as_str()), (1, "CronJob"));
    }

    #[test]
    fn the_oldest_finished_jobs_go() {
        let job = |name: &str, start: &str, end: &str| {
            let conditions = json!([{"type": end, "status": "True"}]);
            let value = json!({"metadata": {"name": name}, "status": {"startTime": start, "conditions": conditions}});
            Arc::new(serde_json::from_value::<Job>(value).expect("a Job"))
        };
        let jobs = [
            job("new", "2024-01-01T00:02:00Z", "Complete"),
            job("old", "2024-01-01T00:01:00Z", "Complete"),
            job("failed", "2024-01-01T00:00:00Z", "Failed"),
        ];
        let gone: Vec<_> = beyond_limits(&cron(None, None), &jobs).iter().map(|job| job.name_any()).collect();
        assert_eq!(gone, ["old"]);
    }
}
