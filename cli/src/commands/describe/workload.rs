//! Deployments and ReplicaSets.

use super::{
    super::{Context, name_of, namespace_of},
    page::{self, Page, pairs, text},
    pod::{self, Within},
};
use crate::resources::query;
use anyhow::Result;
use serde_json::Value;

const REVISION: &str = "deployment.kubernetes.io/revision";

/// The ReplicaSets that a Deployment controls, newest revision first.
pub(super) async fn replica_sets(context: &Context, deployment: &Value) -> Result<Vec<Value>> {
    let selector = pairs(&deployment["spec"]["selector"]["matchLabels"], "=").join(",");
    let path = format!("/apis/apps/v1/namespaces/{}/replicasets", namespace_of(deployment));
    let mut list = context.rest.get(&format!("{path}{}", query(&[("labelSelector", &selector)]))).await?;
    let mut sets = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let uid = &deployment["metadata"]["uid"];
    sets.retain(|set| {
        set["metadata"]["ownerReferences"].as_array().into_iter().flatten().any(|owner| owner["uid"] == *uid)
    });
    sets.sort_by_key(|set| std::cmp::Reverse(revision(set)));
    Ok(sets)
}

fn revision(object: &Value) -> i64 {
    object["metadata"]["annotations"][REVISION].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

pub(super) fn describe_deployment(page: &mut Page, deployment: &Value, sets: &[Value]) {
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    page::metadata(page, deployment);
    page.line(0, "CreationTimestamp", page::date(&text(&deployment["metadata"]["creationTimestamp"])));
    page::labels(page, deployment);
    page.line(0, "Selector", pairs(&spec["selector"]["matchLabels"], "=").join(","));
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    page.line(
        0,
        "Replicas",
        format!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            spec["replicas"].as_i64().unwrap_or(0),
            count("updatedReplicas"),
            count("replicas"),
            count("availableReplicas"),
            count("unavailableReplicas")
        ),
    );
    page.line(0, "StrategyType", text(&spec["strategy"]["type"]));
    page.line(0, "MinReadySeconds", spec["minReadySeconds"].as_i64().unwrap_or(0).to_string());
    let rolling = &spec["strategy"]["rollingUpdate"];
    if rolling.is_object() {
        let (unavailable, surge) = (text(&rolling["maxUnavailable"]), text(&rolling["maxSurge"]));
        page.line(0, "RollingUpdateStrategy", format!("{unavailable} max unavailable, {surge} max surge"));
    }
    template(page, &spec["template"]);
    page::conditions(page, deployment, &[("Type", "type"), ("Status", "status"), ("Reason", "reason")]);
    let newest = sets.first().filter(|set| revision(set) == revision(deployment));
    let old: Vec<String> = sets.iter().skip(usize::from(newest.is_some())).map(created).collect();
    page.line(0, "OldReplicaSets", if old.is_empty() { "<none>".to_owned() } else { old.join(", ") });
    page.line(0, "NewReplicaSet", newest.map_or_else(|| "<none>".to_owned(), created));
}

/// `web-5d4 (2/2 replicas created)`
fn created(set: &Value) -> String {
    let (wanted, have) =
        (set["spec"]["replicas"].as_i64().unwrap_or(0), set["status"]["replicas"].as_i64().unwrap_or(0));
    format!("{} ({have}/{wanted} replicas created)", name_of(set))
}

pub(super) fn describe_replica_set(page: &mut Page, set: &Value) {
    let (spec, status) = (&set["spec"], &set["status"]);
    page::metadata(page, set);
    page.line(0, "Selector", pairs(&spec["selector"]["matchLabels"], "=").join(","));
    page::labels(page, set);
    if let Some(owner) = pod::controller(set) {
        page.line(0, "Controlled By", owner);
    }
    let (current, desired) = (status["replicas"].as_i64().unwrap_or(0), spec["replicas"].as_i64().unwrap_or(0));
    page.line(0, "Replicas", format!("{current} current / {desired} desired"));
    page.line(0, "Ready Replicas", status["readyReplicas"].as_i64().unwrap_or(0).to_string());
    template(page, &spec["template"]);
    page::conditions(page, set, &[("Type", "type"), ("Status", "status"), ("Reason", "reason")]);
}

fn template(page: &mut Page, template: &Value) {
    let (none, spec) = (Value::Null, &template["spec"]);
    page.raw(0, "Pod Template:");
    page.lines(1, "Labels", &pairs(&template["metadata"]["labels"], "="));
    let annotations = pairs(&template["metadata"]["annotations"], ": ");
    if !annotations.is_empty() {
        page.lines(1, "Annotations", &annotations);
    }
    if let Some(account) = spec["serviceAccountName"].as_str().filter(|account| !account.is_empty()) {
        page.line(1, "Service Account", account);
    }
    pod::containers(page, Within::Template, "Init Containers", &spec["initContainers"], &none);
    pod::containers(page, Within::Template, "Containers", &spec["containers"], &none);
    pod::volumes(page, Within::Template, &spec["volumes"]);
    page.lines(1, "Node-Selectors", &pairs(&spec["nodeSelector"], "="));
    page.lines(1, "Tolerations", &pod::tolerations(&spec["tolerations"]));
}

pub(super) fn describe_job(page: &mut Page, job: &Value) {
    let (spec, status) = (&job["spec"], &job["status"]);
    page::metadata(page, job);
    page.line(0, "Selector", pairs(&spec["selector"]["matchLabels"], "=").join(","));
    page::labels(page, job);
    if let Some(owner) = pod::controller(job) {
        page.line(0, "Controlled By", owner);
    }
    for (label, field) in
        [("Parallelism", "parallelism"), ("Completions", "completions"), ("Completion Mode", "completionMode")]
    {
        page.line(0, label, text(&spec[field]));
    }
    page.line(0, "Suspend", (spec["suspend"] == true).to_string());
    page.line(0, "Backoff Limit", spec["backoffLimit"].as_i64().unwrap_or(6).to_string());
    for (label, field) in [("Start Time", "startTime"), ("Completed At", "completionTime")] {
        if let Some(time) = status[field].as_str() {
            page.line(0, label, page::date(time));
        }
    }
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let active = format!("{} Active ({} Ready)", count("active"), count("ready"));
    page.line(0, "Pods Statuses", format!("{active} / {} Succeeded / {} Failed", count("succeeded"), count("failed")));
    template(page, &spec["template"]);
}

pub(super) fn describe_cron_job(page: &mut Page, job: &Value) {
    let (spec, status) = (&job["spec"], &job["status"]);
    let (of_job, unset) = (&spec["jobTemplate"]["spec"], || "<unset>".to_owned());
    page::metadata(page, job);
    page::labels(page, job);
    page.line(0, "Schedule", text(&spec["schedule"]));
    page.line(0, "Concurrency Policy", text(&spec["concurrencyPolicy"]));
    page.line(0, "Suspend", capital(spec["suspend"] == true));
    for (label, field) in [
        ("Successful Job History Limit", "successfulJobsHistoryLimit"),
        ("Failed Job History Limit", "failedJobsHistoryLimit"),
    ] {
        page.line(0, label, text(&spec[field]));
    }
    let seconds = |value: &Value| value.as_i64().map_or_else(unset, |seconds| format!("{seconds}s"));
    page.line(0, "Starting Deadline Seconds", seconds(&spec["startingDeadlineSeconds"]));
    page.line(0, "Selector", if spec["selector"].is_object() { text(&spec["selector"]) } else { unset() });
    for (label, field) in [("Parallelism", "parallelism"), ("Completions", "completions")] {
        page.line(0, label, of_job[field].as_i64().map_or_else(unset, |number| number.to_string()));
    }
    template(page, &of_job["template"]);
    page.line(0, "Last Schedule Time", status["lastScheduleTime"].as_str().map_or_else(unset, page::date));
    let active = status["active"].as_array().map(Vec::as_slice).unwrap_or_default();
    let active: Vec<String> = active.iter().map(|job| text(&job["name"])).collect();
    page.line(0, "Active Jobs", if active.is_empty() { "<none>".to_owned() } else { active.join(", ") });
}

/// As Python would write it; so does kubectl here.
fn capital(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
