//! Jobs and CronJobs at work, with a kubelet that ends every pod as its command says.

use super::{PODS, messages, start};
use crate::runner::fake_api::FakeApi;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;
use wk_platform::{TaskGroup, tasks::OnError};

const JOBS: &str = "batch/v1/jobs";
const CRON_JOBS: &str = "batch/v1/cronjobs";

fn job(command: &str, spec: Value) -> Value {
    let template = json!({
        "metadata": {"labels": {"job": "sum"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": command}]},
    });
    let mut whole = json!({
        "selector": {"matchLabels": {"job": "sum"}}, "template": template, "parallelism": 1, "completions": 1,
        "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": false,
    });
    for (name, value) in spec.as_object().expect("an object") {
        whole[name] = value.clone();
    }
    json!({"metadata": {"name": "sum"}, "spec": whole})
}

/// Ends each new pod after a second, unless it is to `run`.
fn run_pods(api: &FakeApi, tasks: &TaskGroup) {
    let api = api.clone();
    tasks.spawn("kubelet", OnError::Log, async move {
        loop {
            for pod in api.all(PODS) {
                let (name, image) = (pod["metadata"]["name"].as_str(), pod["spec"]["containers"][0]["image"].as_str());
                let Some(name) = name.filter(|_| pod["status"]["phase"] == "Running") else { continue };
                let (phase, code) = match image {
                    Some("succeed") => ("Succeeded", 0),
                    Some("fail") => ("Failed", 1),
                    _ => continue,
                };
                let second = 1_700_000_000 + i64::try_from(started().elapsed().as_secs()).expect("small");
                let at = k8s_openapi::jiff::Timestamp::from_second(second).expect("valid").to_string();
                let ended = json!({"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"terminated": {"exitCode": code, "finishedAt": at}}});
                let status = json!({"phase": phase, "conditions": null, "containerStatuses": [ended]});
                api.change(PODS, "default", name, &json!({"status": status}));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        #[allow(unreachable_code, reason = "the group ends it")]
        Ok::<_, std::convert::Infallible>(())
    });
}

std::thread_local! {
    static STARTED: std::cell::Cell<Option<Instant>> = const { std::cell::Cell::new(None) };
}

/// When this test's virtual clock began.
fn started() -> Instant {
    STARTED.get().expect("set when the test began")
}

fn begin(controllers: &str, tasks: &TaskGroup) -> FakeApi {
    STARTED.set(Some(Instant::now()));
    let api = start(controllers, tasks);
    run_pods(&api, tasks);
    api
}

fn condition(api: &FakeApi, type_: &str) -> Option<String> {
    let jobs = api.all(JOBS);
    let known = jobs.first()?["status"]["conditions"].as_array()?.iter().find(|known| known["type"] == type_)?;
    Some(known["reason"].as_str()?.to_owned())
}

fn tracked(api: &FakeApi) -> usize {
    api.all(PODS)
        .iter()
        .filter(|pod| pod["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty()))
        .count()
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_to_its_end() {
    let tasks = TaskGroup::new();
    let api = begin("job", &tasks);
    api.create(JOBS, "default", job("succeed", json!({"completions": 5, "parallelism": 2})));
    api.until("an end", |api| condition(api, "Complete").is_some()).await;
    let status = api.all(JOBS)[0]["status"].clone();
    assert_eq!((&status["succeeded"], &status["active"], &status["ready"]), (&json!(5), &Value::Null, &json!(0)));
    assert_eq!(
        (condition(&api, "SuccessCriteriaMet").as_deref(), api.all(PODS).len()),
        (Some("CompletionsReached"), 5)
    );
    assert_eq!((tracked(&api), &status["uncountedTerminatedPods"]), (0, &json!({})));
    assert!(status["completionTime"].is_string() && status["startTime"].is_string());
    api.until("an event", |api| messages(api, "Completed") == ["Job completed"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_cannot_succeed_fails_with_growing_pauses() {
    let tasks = TaskGroup::new();
    let api = begin("job", &tasks);
    api.create(JOBS, "default", job("fail", json!({"backoffLimit": 2})));
    let since = Instant::now();
    api.until("an end", |api| condition(api, "Failed").is_some()).await;
    assert_eq!(condition(&api, "Failed").as_deref(), Some("BackoffLimitExceeded"));
    assert_eq!((&api.all(JOBS)[0]["status"]["failed"], api.all(PODS).len(), tracked(&api)), (&json!(3), 3, 0));
    let seconds = since.elapsed().as_secs();
    assert!((30..40).contains(&seconds), "pauses of 10 s and 20 s, not {seconds} s in all");
    api.until("an event", |api| !messages(api, "BackoffLimitExceeded").is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_job_and_a_suspension_stops_the_clock() {
    let tasks = TaskGroup::new();
    let api = begin("job", &tasks);
    api.create(JOBS, "default", job("run", json!({"activeDeadlineSeconds": 60, "suspend": true})));
    api.until("a suspended job", |api| condition(api, "Suspended").is_some()).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(api.all(PODS).is_empty());
    api.change(JOBS, "default", "sum", &json!({"spec": {"suspend": false}}));
    api.until("a pod", |api| api.all(PODS).len() == 1).await;
    let since = Instant::now();
    api.until("an end", |api| condition(api, "Failed").is_some()).await;
    assert_eq!(condition(&api, "Failed").as_deref(), Some("DeadlineExceeded"));
    assert!((59..63).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
    assert!(api.all(PODS).is_empty(), "its pod was ended and let go of");
}

#[tokio::test(start_paused = true)]
async fn indexed_pods_have_each_their_index() {
    let tasks = TaskGroup::new();
    let api = begin("job", &tasks);
    let indexed = json!({"completionMode": "Indexed", "completions": 3, "parallelism": 2});
    api.create(JOBS, "default", job("succeed", indexed));
    api.until("an end", |api| condition(api, "Complete").is_some()).await;
    assert_eq!(api.all(JOBS)[0]["status"]["completedIndexes"], "0-2");
    let mut hosts: Vec<_> = api.all(PODS).iter().map(|pod| pod["spec"]["hostname"].to_string()).collect();
    hosts.sort();
    assert_eq!(hosts, ["\"sum-0\"", "\"sum-1\"", "\"sum-2\""]);
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_deleted_job_are_let_go_of() {
    let tasks = TaskGroup::new();
    let api = begin("job", &tasks);
    api.create(JOBS, "default", job("run", json!({})));
    api.until("a held pod", |api| tracked(api) == 1).await;
    api.delete(JOBS, "default", "sum");
    api.until("a free pod", |api| tracked(api) == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_finished_job_goes_after_its_time() {
    let tasks = TaskGroup::new();
    let api = begin("job,ttl-after-finished", &tasks);
    api.create(JOBS, "default", job("succeed", json!({"ttlSecondsAfterFinished": 100})));
    api.until("an end", |api| condition(api, "Complete").is_some()).await;
    let since = Instant::now();
    api.until("no job", |api| api.all(JOBS).is_empty()).await;
    assert!((98..=101).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
}

fn cron(schedule: &str, policy: &str, command: &str) -> Value {
    let template = json!({"spec": job(command, json!({}))["spec"]});
    json!({
        "metadata": {"name": "tick", "creationTimestamp": "2023-11-14T22:13:20Z"},
        "spec": {"schedule": schedule, "concurrencyPolicy": policy, "suspend": false, "jobTemplate": template,
            "successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 1},
    })
}

#[tokio::test(start_paused = true)]
async fn a_cron_job_starts_jobs_on_time_and_keeps_the_last_ones() {
    let tasks = TaskGroup::new();
    let api = begin("cronjob,job", &tasks);
    api.create(CRON_JOBS, "default", cron("* * * * *", "Allow", "succeed"));
    // The clock began at 22:13:20.
    let since = Instant::now();
    api.until("a job", |api| api.all(JOBS).len() == 1).await;
    assert_eq!(since.elapsed().as_secs(), 40);
    assert_eq!(api.all(JOBS)[0]["metadata"]["name"], format!("tick-{}", 1_700_000_040 / 60));
    tokio::time::sleep(Duration::from_secs(310)).await;
    assert_eq!(api.all(JOBS).len(), 2);
    let status = api.all(CRON_JOBS)[0]["status"].clone();
    assert_eq!((&status["lastScheduleTime"], status["active"].is_null()), (&json!("2023-11-14T22:19:00Z"), true));
    assert!(status["lastSuccessfulTime"].is_string());
    assert!(messages(&api, "UnexpectedJob").is_empty() && messages(&api, "MissingJob").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_running_job_holds_back_or_makes_way_for_the_next() {
    for (policy, jobs) in [("Forbid", 1), ("Replace", 1), ("Allow", 5)] {
        let tasks = TaskGroup::new();
        let api = begin("cronjob,job", &tasks);
        api.create(CRON_JOBS, "default", cron("* * * * *", policy, "run"));
        tokio::time::sleep(Duration::from_secs(290)).await;
        assert_eq!(api.all(JOBS).len(), jobs, "{policy}");
        let first = format!("tick-{}", 1_700_000_040 / 60);
        let has_first = api.all(JOBS).iter().any(|job| job["metadata"]["name"] == first.as_str());
        assert_eq!(has_first, policy != "Replace", "{policy}");
    }
}
