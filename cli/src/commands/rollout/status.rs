//! `wk rollout status`: one line per step until the rollout is done (upstream:
//! `kubectl/pkg/polymorphichelpers/rollout_status.go`).

use super::{super::apply, history::revision_of};
use crate::{
    args::RolloutStatus,
    commands::{Context, parse_duration, select::Found, wait},
    output,
};
use anyhow::{Result, bail};
use serde_json::Value;
use std::time::Duration;

/// What the newest state of the object says.
#[derive(Debug, PartialEq)]
enum Step {
    Going(String),
    Done(String),
}

pub(super) async fn run(context: &Context, args: &RolloutStatus) -> Result<()> {
    if args.revision < 0 {
        bail!("revision must be a positive integer: {}", args.revision);
    }
    let timeout = parse_duration(&args.timeout)?;
    let selected = super::selected(context, &args.choice).await?;
    let mut failures = selected.failures;
    for found in &selected.found {
        let followed = follow(context, args, found);
        failures.extend(if timeout == Duration::ZERO {
            followed.await.err()
        } else {
            let late = |_| Err(anyhow::anyhow!("timed out waiting for the condition"));
            tokio::time::timeout(timeout, followed).await.unwrap_or_else(late).err()
        });
    }
    apply::first_failure(failures)
}

async fn follow(context: &Context, args: &RolloutStatus, found: &Found) -> Result<()> {
    let kind = found.resource.kind.as_str();
    let see = |object: Option<&Value>| {
        let Some(object) = object else { bail!("object has been deleted") };
        match step(kind, object, args.revision)? {
            Step::Done(line) => output::line(line).map(|()| true),
            Step::Going(line) => output::line(line).map(|()| !args.watch),
        }
    };
    wait::follow(context, &found.resource, found.namespace(), found.name(), see).await
}

fn step(kind: &str, object: &Value, revision: i64) -> Result<Step> {
    match kind {
        "Deployment" => deployment(object, revision),
        "DaemonSet" => daemon_set(object),
        "StatefulSet" => stateful_set(object),
        other => bail!("no status viewer has been implemented for {other}"),
    }
}

/// `status.<field>` as a number; absent is zero.
fn count(object: &Value, field: &str) -> i64 {
    object["status"][field].as_i64().unwrap_or(0)
}

/// Whether the controller has seen the newest spec.
fn is_observed(object: &Value) -> bool {
    count(object, "observedGeneration") >= object["metadata"]["generation"].as_i64().unwrap_or(0)
}

fn deployment(object: &Value, revision: i64) -> Result<Step> {
    let name = super::super::name_of(object);
    let running = revision_of(object).unwrap_or(0);
    if revision > 0 && revision != running {
        bail!("desired revision ({revision}) is different from the running revision ({running})");
    }
    if !is_observed(object) {
        return Ok(Step::Going("Waiting for deployment spec update to be observed...".to_owned()));
    }
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let late =
        |condition: &Value| condition["type"] == "Progressing" && condition["reason"] == "ProgressDeadlineExceeded";
    if conditions.iter().any(late) {
        bail!("deployment {name:?} exceeded its progress deadline");
    }
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let [updated, total, available] =
        ["updatedReplicas", "replicas", "availableReplicas"].map(|field| count(object, field));
    let waiting = format!("Waiting for deployment {name:?} rollout to finish:");
    Ok(if updated < wanted {
        Step::Going(format!("{waiting} {updated} out of {wanted} new replicas have been updated..."))
    } else if total > updated {
        Step::Going(format!("{waiting} {} old replicas are pending termination...", total - updated))
    } else if available < updated {
        Step::Going(format!("{waiting} {available} of {updated} updated replicas are available..."))
    } else {
        Step::Done(format!("deployment {name:?} successfully rolled out"))
    })
}

fn daemon_set(object: &Value) -> Result<Step> {
    if object["spec"]["updateStrategy"]["type"] != "RollingUpdate" {
        bail!("rollout status is only available for RollingUpdate strategy type");
    }
    if !is_observed(object) {
        return Ok(Step::Going("Waiting for daemon set spec update to be observed...".to_owned()));
    }
    let name = super::super::name_of(object);
    let [updated, wanted, available] =
        ["updatedNumberScheduled", "desiredNumberScheduled", "numberAvailable"].map(|field| count(object, field));
    let waiting = format!("Waiting for daemon set {name:?} rollout to finish:");
    Ok(if updated < wanted {
        Step::Going(format!("{waiting} {updated} out of {wanted} new pods have been updated..."))
    } else if available < wanted {
        Step::Going(format!("{waiting} {available} of {wanted} updated pods are available..."))
    } else {
        Step::Done(format!("daemon set {name:?} successfully rolled out"))
    })
}

fn stateful_set(object: &Value) -> Result<Step> {
    let strategy = &object["spec"]["updateStrategy"];
    if strategy["type"] != "RollingUpdate" {
        bail!("rollout status is only available for RollingUpdate strategy type");
    }
    if count(object, "observedGeneration") == 0 || !is_observed(object) {
        return Ok(Step::Going("Waiting for statefulset spec update to be observed...".to_owned()));
    }
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let [ready, updated, current] =
        ["readyReplicas", "updatedReplicas", "currentReplicas"].map(|field| count(object, field));
    if ready < wanted {
        return Ok(Step::Going(format!("Waiting for {} pods to be ready...", wanted - ready)));
    }
    if strategy["rollingUpdate"].is_object() {
        let parted = wanted - strategy["rollingUpdate"]["partition"].as_i64().unwrap_or(0);
        return Ok(if updated < parted {
            let so_far = format!("{updated} out of {parted} new pods have been updated...");
            Step::Going(format!("Waiting for partitioned roll out to finish: {so_far}"))
        } else {
            Step::Done(format!("partitioned roll out complete: {updated} new pods have been updated..."))
        });
    }
    let revision = |field: &str| object["status"][field].as_str().unwrap_or_default();
    let (update, now) = (revision("updateRevision"), revision("currentRevision"));
    Ok(if update == now {
        Step::Done(format!("statefulset rolling update complete {current} pods at revision {now}..."))
    } else {
        let pods = format!("{updated} pods at revision {update}...");
        Step::Going(format!("waiting for statefulset rolling update to complete {pods}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn web(status: Value) -> Value {
        json!({"metadata": {"name": "web", "generation": 2}, "spec": {"replicas": 3}, "status": status})
    }

    #[test]
    fn a_deployment_goes_through_its_steps() {
        let line = |status: Value| match deployment(&web(status), 0).expect("no failure") {
            Step::Going(line) | Step::Done(line) => line,
        };
        let seen = |updated: i64, total: i64, available: i64| {
            line(
                json!({"observedGeneration": 2, "updatedReplicas": updated, "replicas": total, "availableReplicas": available}),
            )
        };
        assert_eq!(line(json!({"observedGeneration": 1})), "Waiting for deployment spec update to be observed...");
        let waiting = "Waiting for deployment \"web\" rollout to finish:";
        assert_eq!(seen(1, 4, 3), format!("{waiting} 1 out of 3 new replicas have been updated..."));
        assert_eq!(seen(3, 4, 3), format!("{waiting} 1 old replicas are pending termination..."));
        assert_eq!(seen(3, 3, 2), format!("{waiting} 2 of 3 updated replicas are available..."));
        assert_eq!(seen(3, 3, 3), "deployment \"web\" successfully rolled out");
    }

    #[test]
    fn a_stalled_deployment_is_a_failure() {
        let stalled = json!({"observedGeneration": 2, "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]});
        let error = deployment(&web(stalled), 0).expect_err("stalled").to_string();
        assert_eq!(error, "deployment \"web\" exceeded its progress deadline");
        let error = deployment(&web(json!({})), 3).expect_err("another revision").to_string();
        assert_eq!(error, "desired revision (3) is different from the running revision (0)");
    }

    #[test]
    fn sets_are_told_in_their_own_words() {
        let daemon = json!({"metadata": {"name": "d", "generation": 1}, "spec": {"updateStrategy": {"type": "RollingUpdate"}},
            "status": {"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}});
        assert_eq!(
            step("DaemonSet", &daemon, 0).expect("done"),
            Step::Done("daemon set \"d\" successfully rolled out".to_owned())
        );
        let stateful = json!({"metadata": {"name": "s", "generation": 1}, "spec": {"replicas": 2, "updateStrategy": {"type": "RollingUpdate"}},
            "status": {"observedGeneration": 1, "readyReplicas": 1}});
        assert_eq!(
            step("StatefulSet", &stateful, 0).expect("going"),
            Step::Going("Waiting for 1 pods to be ready...".to_owned())
        );
    }
}
