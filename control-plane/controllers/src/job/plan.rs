//! What a Job needs now: pods to make and to end, pods to count, and whether it
//! is over. Pure; called by `job.rs`, which carries it out in this order: pods,
//! status with the uncounted ones, finalizers, status again ([`settle`]).
//! Nothing is counted twice or lost, wherever that is interrupted
//! (upstream: `syncJob`, `manageJob`, `trackJobStatusAndRemoveFinalizers`).

use super::{
    failure::{self, Meaning},
    indexes::Indexes,
    pods::{self, is_tracked},
};
use crate::{pod, runner::patch::nonzero, runner::uid};
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobCondition, JobSpec, JobStatus, UncountedTerminatedPods},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

/// Pods created or deleted in one go (upstream: `MaxPodCreateDeletePerSync`).
const BURST_MAX: usize = 500;
/// Ended pods counted in one go: the status names each (upstream: `MaxUncountedPods`).
const UNCOUNTED_MAX: usize = 500;

/// All that a decision depends on.
pub struct View<'a> {
    /// The Job.
    pub job: &'a Job,
    /// Every pod it owns.
    pub pods: &'a [Arc<Pod>],
    /// Pods that were let go of, which the cache may not show yet.
    pub released: &'a HashSet<String>,
    /// Whether the cache shows all that was created and deleted.
    pub is_current: bool,
    /// The time of the decision.
    pub now: Timestamp,
}

/// A change of the Suspended condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// The Job was suspended.
    Suspended,
    /// It goes on.
    Resumed,
}

/// One step.
#[derive(Debug, Default)]
pub struct Plan {
    /// Pods to make.
    pub create: Vec<Pod>,
    /// Pods to end.
    pub delete: Vec<Arc<Pod>>,
    /// The status before pods are let go of.
    pub status: JobStatus,
    /// Pods to let go of, once that status is stored.
    pub release: Vec<Arc<Pod>>,
    /// The Job's last condition, once every pod is counted.
    pub finish: Option<JobCondition>,
    /// To be told.
    pub pause: Option<Pause>,
    /// When to look again.
    pub again: Option<Duration>,
}

/// How many pods there are of each sort.
struct Counts {
    active: Vec<Arc<Pod>>,
    terminating: i32,
    succeeded: i32,
    failed: i32,
    done: Indexes,
}

impl View<'_> {
    fn spec(&self) -> JobSpec {
        self.job.spec.clone().unwrap_or_default()
    }

    fn is_suspended(&self) -> bool {
        self.job.spec.as_ref().is_some_and(|spec| spec.suspend == Some(true))
    }

    fn holds(&self, pod: &Pod) -> bool {
        is_tracked(pod) && !self.released.contains(uid(pod))
    }

    fn time(&self) -> Option<Time> {
        Timestamp::from_second(self.now.as_second()).ok().map(Time)
    }

    fn condition(&self, type_: &str, status: &str, reason: &str, message: &str) -> JobCondition {
        JobCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_probe_time: self.time(),
            last_transition_time: self.time(),
        }
    }
}

/// The condition of a type, when it is true.
pub fn condition<'a>(status: &'a JobStatus, type_: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|known| known.type_ == type_ && known.status == "True")
}

/// Whether the Job is over and counted.
pub fn is_finished(job: &Job) -> bool {
    let over = |status: &JobStatus| condition(status, "Complete").or(condition(status, "Failed")).is_some();
    job.status.as_ref().is_some_and(over)
}

/// The next step of a Job that is not finished.
pub fn plan(view: &View<'_>) -> Plan {
    let mut status = view.job.status.clone().unwrap_or_default();
    if status.start_time.is_none() && !view.is_suspended() {
        status.start_time = view.time();
    }
    let mut counts = count(view, &status);
    let mut plan = Plan::default();
    let mut verdict = known_verdict(&status).or_else(|| failed_verdict(view, &status, &counts, &mut plan.again));
    let mut active = counts.active.len();
    if verdict.is_some() {
        if !view.is_current {
            verdict = None; // pods that the cache does not show yet must not be left behind
        }
        plan.delete = counts.active.clone();
        counts.terminating += count_of(active);
        active = 0;
    } else if view.is_current && view.job.metadata.deletion_timestamp.is_none() {
        active = manage(view, &counts, &mut plan);
        verdict = complete_verdict(view, &counts, active);
        if verdict.is_none() {
            note_pause(view, &mut status, &mut plan);
        }
    }
    status.active = nonzero(count_of(active));
    let leaves = |pod: &Arc<Pod>| plan.delete.iter().any(|going| uid(&**going) == uid(&**pod));
    let ready = counts.active.iter().filter(|pod| pod::is_ready(pod) && !leaves(pod)).count();
    (status.ready, status.terminating) = (Some(count_of(ready)), Some(counts.terminating));
    track(view, &mut status, verdict.as_ref(), &counts.done, &mut plan);
    conclude(view, &mut status, verdict, &mut plan);
    plan.status = status;
    plan
}

fn count_of(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn uncounted(status: &JobStatus) -> (BTreeSet<String>, BTreeSet<String>) {
    let UncountedTerminatedPods { succeeded, failed } = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let set = |uids: Option<Vec<String>>| uids.unwrap_or_default().into_iter().collect();
    (set(succeeded), set(failed))
}

fn count(view: &View<'_>, status: &JobStatus) -> Counts {
    let (job, (known_succeeded, known_failed)) = (view.job, uncounted(status));
    let is_new = |pod: &&Arc<Pod>| {
        view.holds(pod) && !known_succeeded.contains(uid(&***pod)) && !known_failed.contains(uid(&***pod))
    };
    let new = || view.pods.iter().filter(is_new);
    let failed = new().filter(|pod| failure::is_failed(job, pod) && failure::meaning(job, pod) != Meaning::Ignored);
    let failed = status.failed.unwrap_or_default() + count_of(failed.count() + known_failed.len());
    let mut done = Indexes::parse(status.completed_indexes.as_deref().unwrap_or_default(), pods::index_count(job));
    let succeeded = if pods::is_indexed(job) {
        let ended = view.pods.iter().filter(|pod| view.holds(pod) && pod::phase(pod) == "Succeeded");
        ended.filter_map(|pod| pods::index_of(job, pod)).for_each(|index| done.insert(index));
        done.count()
    } else {
        let new = new().filter(|pod| pod::phase(pod) == "Succeeded").count();
        status.succeeded.unwrap_or_default() + count_of(new + known_succeeded.len())
    };
    let active: Vec<_> = view.pods.iter().filter(|pod| pod::is_active(pod)).cloned().collect();
    let leaving = view.pods.iter().filter(|pod| pod::is_deleting(pod) && !pod::is_terminal(pod)).count();
    Counts { active, terminating: count_of(leaving), succeeded, failed, done }
}

/// What an earlier step has decided.
fn known_verdict(status: &JobStatus) -> Option<JobCondition> {
    condition(status, "SuccessCriteriaMet").or(condition(status, "FailureTarget")).cloned()
}

/// Whether the Job has failed, or when it might.
fn failed_verdict(
    view: &View<'_>,
    status: &JobStatus,
    counts: &Counts,
    again: &mut Option<Duration>,
) -> Option<JobCondition> {
    let spec = view.spec();
    let failed = |reason, message: &str| Some(view.condition("FailureTarget", "True", reason, message));
    let decided = view.pods.iter().filter(|pod| failure::is_failed(view.job, pod));
    let decisive = decided.map(|pod| failure::meaning(view.job, pod)).find_map(|meaning| match meaning {
        Meaning::FailsJob(message) => Some(message),
        Meaning::Counts | Meaning::Ignored => None,
    });
    if let Some(message) = decisive {
        return failed("PodFailurePolicy", &message);
    }
    if counts.failed > spec.backoff_limit.unwrap_or(6) || failure::restarts_exceed(view.job, view.pods) {
        return failed("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    let deadline = spec.active_deadline_seconds.filter(|_| !view.is_suspended())?;
    let since = status.start_time.as_ref()?.0;
    let left = (since + Duration::from_secs(u64::try_from(deadline).unwrap_or_default())).duration_since(view.now);
    if left.is_positive() {
        *again = Duration::try_from(left).ok();
        return None;
    }
    failed("DeadlineExceeded", "Job was active longer than specified deadline")
}

fn complete_verdict(view: &View<'_>, counts: &Counts, active: usize) -> Option<JobCondition> {
    let enough = match view.spec().completions {
        None => counts.succeeded > 0,
        Some(completions) => counts.succeeded >= completions,
    };
    let message = "Reached expected number of succeeded pods";
    (enough && active == 0).then(|| view.condition("SuccessCriteriaMet", "True", "CompletionsReached", message))
}

/// Makes or ends pods; how many are active then.
fn manage(view: &View<'_>, counts: &Counts, plan: &mut Plan) -> usize {
    let (job, active) = (view.job, counts.active.len());
    let gone = |plan: &mut Plan, mut delete: Vec<Arc<Pod>>| {
        delete.truncate(BURST_MAX);
        plan.delete = delete;
        active - plan.delete.len()
    };
    if view.is_suspended() {
        return gone(plan, counts.active.clone());
    }
    let wanted = wanted_active(view, counts);
    let surplus = pods::surplus(job, &counts.active, active.saturating_sub(wanted));
    if !surplus.is_empty() {
        return gone(plan, surplus);
    }
    let leaving = if failure::only_replaces_failed(job) { counts.terminating } else { 0 };
    let missing = wanted.saturating_sub(active + usize::try_from(leaving).unwrap_or_default()).min(BURST_MAX);
    if missing == 0 {
        return active;
    }
    let pause = failure::pause(job, view.pods, view.now);
    if !pause.is_zero() {
        plan.again = Some(plan.again.map_or(pause, |again| again.min(pause)));
        return active;
    }
    plan.create = if pods::is_indexed(job) {
        pods::indexed(job, &pods::pending_indexes(job, &counts.done, &counts.active, missing))
    } else {
        pods::plain(job, missing)
    };
    active + plan.create.len()
}

fn wanted_active(view: &View<'_>, counts: &Counts) -> usize {
    let spec = view.spec();
    let parallelism = spec.parallelism.unwrap_or(1);
    let wanted = match spec.completions {
        // Once one pod has succeeded those that run may end, and no more are made.
        None if counts.succeeded > 0 => return counts.active.len(),
        None => parallelism,
        Some(completions) => (completions - counts.succeeded).min(parallelism),
    };
    usize::try_from(wanted).unwrap_or_default()
}

fn note_pause(view: &View<'_>, status: &mut JobStatus, plan: &mut Plan) {
    let known = status.conditions.get_or_insert_default();
    let place = known.iter().position(|known| known.type_ == "Suspended");
    let was_suspended = place.is_some_and(|place| known[place].status == "True");
    let (condition, pause) = match (view.is_suspended(), was_suspended) {
        (true, false) => (view.condition("Suspended", "True", "JobSuspended", "Job suspended"), Pause::Suspended),
        (false, true) => (view.condition("Suspended", "False", "JobResumed", "Job resumed"), Pause::Resumed),
        _ => return,
    };
    match place {
        Some(place) => known[place] = condition,
        None => known.push(condition),
    }
    if pause == Pause::Resumed {
        status.start_time = view.time();
    }
    plan.pause = Some(pause);
}

/// Names pods that have ended in the status; they are counted when let go of.
fn track(view: &View<'_>, status: &mut JobStatus, verdict: Option<&JobCondition>, done: &Indexes, plan: &mut Plan) {
    *status = settle(status.clone(), view.pods, view.released);
    let (mut succeeded, mut failed) = uncounted(status);
    let failing = verdict.is_some_and(|verdict| verdict.type_ != "SuccessCriteriaMet");
    for pod in view.pods.iter().filter(|pod| view.holds(pod)) {
        let (is_failed, has_succeeded) = (failure::is_failed(view.job, pod), pod::phase(pod) == "Succeeded");
        let leaves = verdict.is_some() && pod::is_deleting(pod);
        if !(is_failed || has_succeeded || leaves || view.job.metadata.deletion_timestamp.is_some()) {
            continue;
        }
        plan.release.push(pod.clone());
        if has_succeeded && !failed.contains(uid(&**pod)) {
            // The index is enough to know an indexed pod again.
            if !pods::is_indexed(view.job) {
                succeeded.insert(uid(&**pod).to_owned());
            }
        } else if is_failed || failing {
            let numbered = !pods::is_indexed(view.job) || pods::index_of(view.job, pod).is_some();
            if numbered && failure::meaning(view.job, pod) != Meaning::Ignored {
                failed.insert(uid(&**pod).to_owned());
            }
        }
        if succeeded.len() + failed.len() >= UNCOUNTED_MAX {
            plan.again = Some(Duration::ZERO);
            break;
        }
    }
    if pods::is_indexed(view.job) {
        status.succeeded = nonzero(done.count());
        status.completed_indexes = Some(done.to_string()).filter(|text| !text.is_empty());
    }
    let list = |uids: BTreeSet<String>| (!uids.is_empty()).then(|| uids.into_iter().collect());
    let uncounted = UncountedTerminatedPods { succeeded: list(succeeded), failed: list(failed) };
    status.uncounted_terminated_pods = Some(uncounted);
}

/// Stores the verdict, and prepares the condition that follows once all is counted.
fn conclude(view: &View<'_>, status: &mut JobStatus, verdict: Option<JobCondition>, plan: &mut Plan) {
    let Some(verdict) = verdict else { return };
    let (reason, message) = (verdict.reason.clone().unwrap_or_default(), verdict.message.clone().unwrap_or_default());
    let last = if verdict.type_ == "SuccessCriteriaMet" { "Complete" } else { "Failed" };
    if condition(status, &verdict.type_).is_none() {
        status.conditions.get_or_insert_default().push(verdict);
    }
    plan.finish = Some(view.condition(last, "True", &reason, &message));
}

/// Counts the named pods that were let go of: they are `released`, or the cache
/// shows them without the finalizer, or not at all.
pub fn settle(mut status: JobStatus, pods: &[Arc<Pod>], released: &HashSet<String>) -> JobStatus {
    let Some(known) = status.uncounted_terminated_pods.take() else { return status };
    let held: HashSet<&str> = pods
        .iter()
        .filter(|pod| is_tracked(pod))
        .map(|pod| uid(&**pod))
        .filter(|uid| !released.contains(*uid))
        .collect();
    let split = |uids: Option<Vec<String>>| {
        let (kept, gone): (Vec<_>, Vec<_>) =
            uids.unwrap_or_default().into_iter().partition(|uid| held.contains(uid.as_str()));
        ((!kept.is_empty()).then_some(kept), count_of(gone.len()))
    };
    let ((succeeded, newly_succeeded), (failed, newly_failed)) = (split(known.succeeded), split(known.failed));
    status.succeeded = nonzero(status.succeeded.unwrap_or_default() + newly_succeeded);
    status.failed = nonzero(status.failed.unwrap_or_default() + newly_failed);
    status.uncounted_terminated_pods = Some(UncountedTerminatedPods { succeeded, failed });
    status
}

/// The status with the Job's last condition, when every pod is gone and counted.
pub fn finish(mut status: JobStatus, last: Option<&JobCondition>) -> (JobStatus, bool) {
    let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let (Some(last), None, None) = (last, &uncounted.succeeded, &uncounted.failed) else { return (status, false) };
    if status.terminating.unwrap_or_default() > 0 {
        return (status, false);
    }
    if last.type_ == "Complete" {
        status.completion_time = last.last_transition_time.clone();
    }
    status.conditions.get_or_insert_default().push(last.clone());
    (status, true)
}

#[cfg(test)]
mod tests;
