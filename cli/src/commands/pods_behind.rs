//! Which pod a workload or a Service stands for, when a command is about one
//! (upstream: `kubectl/pkg/polymorphichelpers`, `kubectl/pkg/util/podutils`).

use super::{Context, Selection, label_selector, name_of, parse_duration};
use crate::resources::{self, Discovery, Target, query};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::io::Write;

/// The pod that `POD`, `pod/X`, `deploy/X`, `svc/X`… stands for; for a workload
/// without pods it waits for one as long as `patience` says.
///
/// # Errors
/// No such object; an object that selects no pods; none came in time.
pub(super) async fn one(context: &Context, discovery: &Discovery, word: &str, patience: &str) -> Result<Value> {
    let pods = all(context, discovery, word, patience).await?;
    pods.into_iter().next().with_context(|| format!("no pods found for {word}"))
}

/// All of them, the one that [`one`] would choose first.
///
/// # Errors
/// As [`one`].
pub(super) async fn all(context: &Context, discovery: &Discovery, word: &str, patience: &str) -> Result<Vec<Value>> {
    let (target, object) = object(context, discovery, word).await?;
    if target.resource.plural == "pods" {
        return Ok(vec![object]);
    }
    let labels = selector(&target, &object)?;
    let found = tokio::time::timeout(parse_duration(patience)?, until_any(context, discovery, &labels)).await;
    let Ok(pods) = found else { bail!("timed out waiting for the condition") };
    let mut pods = pods?;
    pods.sort_by_cached_key(rank);
    Ok(pods)
}

/// Says which of several was taken.
///
/// # Errors
/// When standard error is gone.
pub(super) fn tell(pods: &[Value]) -> Result<()> {
    match pods {
        [first, _, ..] => Ok(writeln!(std::io::stderr(), "Found {} pods, using pod/{}", pods.len(), name_of(first))?),
        _ => Ok(()),
    }
}

async fn object(context: &Context, discovery: &Discovery, word: &str) -> Result<(Target, Value)> {
    let words = if word.contains('/') { vec![word.to_owned()] } else { vec!["pods".to_owned(), word.to_owned()] };
    let target = resources::targets(discovery, &words)?.pop().context("no target given")?;
    let object = context.objects(&target, &Selection::default()).await?.pop().context("no such object")?;
    Ok((target, object))
}

/// The labels of the pods that an object selects.
fn selector(target: &Target, object: &Value) -> Result<String> {
    let (kind, name) = (&target.resource.kind, name_of(object));
    let own = &object["spec"]["selector"];
    let labels = match kind.as_str() {
        "Service" | "ReplicationController" => label_selector(&serde_json::json!({ "matchLabels": own })),
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" => label_selector(own),
        _ => bail!("cannot get the pods of {}, Kind={kind}: it selects none", target.resource.api_version()),
    };
    if labels.is_empty() {
        bail!("invalid {} '{name}': {kind} is defined without a selector", kind.to_lowercase());
    }
    Ok(labels)
}

async fn until_any(context: &Context, discovery: &Discovery, labels: &str) -> Result<Vec<Value>> {
    let pods = discovery.find("pods")?;
    let collection = pods.collection(Some(context.namespace()));
    loop {
        let list = context.rest.get(&format!("{collection}{}", query(&[("labelSelector", labels)]))).await?;
        let found = list["items"].as_array().cloned().unwrap_or_default();
        if !found.is_empty() {
            return Ok(super::with_type(pods, found));
        }
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let parameters = query(&[("labelSelector", labels), ("resourceVersion", version), ("watch", "true")]);
        let mut events = context.rest.watch(&format!("{collection}{parameters}"), crate::rest::JSON).await?;
        // Whatever happens to such a pod, or when the watch ends: look again.
        events.next().await?;
    }
}

/// Smaller is better: assigned, running, ready, ready for longer, restarted
/// more often (there is more to see), older.
fn rank(pod: &Value) -> (bool, u8, bool, String, std::cmp::Reverse<i64>, String) {
    let status = &pod["status"];
    let phase = match status["phase"].as_str() {
        Some("Running") => 0,
        Some("Pending") => 2,
        _ => 1,
    };
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let since = ready.and_then(|ready| ready["lastTransitionTime"].as_str()).unwrap_or("~").to_owned();
    let containers = status["containerStatuses"].as_array().map(Vec::as_slice).unwrap_or_default();
    let restarts = containers.iter().filter_map(|container| container["restartCount"].as_i64()).max().unwrap_or(0);
    let created = pod["metadata"]["creationTimestamp"].as_str().unwrap_or("~").to_owned();
    (pod["spec"]["nodeName"].is_null(), phase, ready.is_none(), since, std::cmp::Reverse(restarts), created)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_pod_that_is_ready_for_longest_comes_first() {
        let pod = |name: &str, node: Value, phase: &str, ready_since: Value| {
            let ready = if ready_since.is_null() { "False" } else { "True" };
            json!({"metadata": {"name": name}, "spec": {"nodeName": node}, "status": {"phase": phase,
                "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": ready_since}]}})
        };
        let mut pods = [
            pod("unassigned", Value::Null, "Pending", Value::Null),
            pod("pending", json!("n"), "Pending", Value::Null),
            pod("unready", json!("n"), "Running", Value::Null),
            pod("new", json!("n"), "Running", json!("2026-01-02T00:00:00Z")),
            pod("old", json!("n"), "Running", json!("2026-01-01T00:00:00Z")),
        ];
        pods.sort_by_cached_key(rank);
        assert_eq!(pods.each_ref().map(name_of), ["old", "new", "unready", "pending", "unassigned"]);
    }
}
