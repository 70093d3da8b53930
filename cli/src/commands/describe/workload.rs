//! Deployments and ReplicaSets.

use super::{
    super::{Context, name_of, namespace_of},
    page::{self, Page, pairs, text},
    pod,
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
    page.line(0, "CreationTimestamp", text(&deployment["metadata"]["creationTimestamp"]));
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
    page.next_block();
    template(page, &spec["template"]);
    page::conditions(page, deployment, &[("Type", "type"), ("Status", "status"), ("Reason", "reason")]);
    let newest = sets.first().filter(|set| revision(set) == revision(deployment));
    let old: Vec<String> = sets.iter().skip(usize::from(newest.is_some())).map(created).collect();
    page.line(0, "OldReplicaSets", if old.is_empty() { "<none>".to_owned() } else { old.join(", ") });
    page.line(0, "NewReplicaSet", newest.map_or_else(|| "<none>".to_owned(), created));
    page.next_block();
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
    page.next_block();
    template(page, &spec["template"]);
    page::conditions(page, set, &[("Type", "type"), ("Status", "status"), ("Reason", "reason")]);
}

fn template(page: &mut Page, template: &Value) {
    page.raw(0, "Pod Template:");
    page.lines(1, "Labels", &pairs(&template["metadata"]["labels"], "="));
    page.next_block();
    let none = Value::Null;
    pod::containers(page, "Init Containers", &template["spec"]["initContainers"], &none);
    pod::containers(page, "Containers", &template["spec"]["containers"], &none);
}
