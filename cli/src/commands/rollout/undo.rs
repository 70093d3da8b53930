//! `wk rollout undo`: the pod template of an earlier revision comes back
//! (upstream: `kubectl/pkg/polymorphichelpers/rollback.go`).

use super::{
    super::apply,
    history::{self, Revision},
    template,
};
use crate::{
    args::{DryRun, RolloutUndo},
    commands::{
        Context,
        report::{JSON_PATCH, Reporter, STRATEGIC_PATCH},
        select::Found,
    },
    resources::query,
};
use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};
use std::io::Write;

/// Put on a Deployment's pods by its controller.
const HASH: &str = "pod-template-hash";

/// What stays as the Deployment has it.
const KEPT: [&str; 6] = [
    super::super::apply::LAST_APPLIED,
    "deployment.kubernetes.io/revision",
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
];

pub(super) async fn run(context: &Context, args: &RolloutUndo) -> Result<()> {
    let selected = super::selected(context, &args.choice).await?;
    let mut reporter = Reporter::new(&args.change)?;
    let mut failures = selected.failures;
    for found in &selected.found {
        warn_of_apply(found)?;
        match undo(context, args, found).await {
            Ok(told) => reporter.done(&found.resource, &found.object, &told)?,
            Err(error) => failures.push(error),
        }
    }
    apply::first_failure(failures)
}

/// Whoever applies files finds the old state in them again.
fn warn_of_apply(found: &Found) -> Result<()> {
    let annotation = super::super::apply::LAST_APPLIED;
    if found.object["metadata"]["annotations"][annotation].is_null() {
        return Ok(());
    }
    let display = found.resource.display(found.name());
    Ok(writeln!(
        std::io::stderr(),
        "Warning: resource {display} was applied from files (annotation {annotation}); apply the files of the earlier state too, or the next apply undoes this"
    )?)
}

async fn undo(context: &Context, args: &RolloutUndo, found: &Found) -> Result<String> {
    let to = args.to_revision;
    let revisions = history::of(context, found).await?;
    let revision = choose(found, &revisions, to)?;
    if args.change.dry_run == DryRun::Client {
        return Ok(template::text(&revision.template));
    }
    let is_deployment = found.resource.kind == "Deployment";
    if is_deployment && found.object["spec"]["paused"] == true {
        bail!("you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again");
    }
    if without_hash(&revision.template) == without_hash(&found.object["spec"]["template"]) {
        return Ok(format!("skipped rollback (current template already matches revision {to})"));
    }
    let dry_run = if args.change.dry_run == DryRun::Server { "All" } else { "" };
    let path = format!("{}{}", found.path(), query(&[("dryRun", dry_run)]));
    let sent = if is_deployment {
        context.rest.patch(&path, JSON_PATCH, &deployment_patch(&found.object, revision)).await
    } else {
        context.rest.patch(&path, STRATEGIC_PATCH, &revision.keeper["data"]).await
    };
    sent.with_context(|| format!("failed restoring revision {to}"))?;
    Ok("rolled back".to_owned())
}

/// The revision asked for; zero is the one before the newest.
fn choose<'a>(found: &Found, revisions: &'a [Revision], to: i64) -> Result<&'a Revision> {
    if to != 0 {
        let wanted = revisions.iter().find(|revision| revision.number == to);
        return wanted.with_context(|| format!("unable to find specified revision {to} in history"));
    }
    match revisions {
        [.., before, _] => Ok(before),
        _ if found.resource.kind == "Deployment" => {
            bail!("no rollout history found for deployment {:?}", found.name())
        }
        _ => bail!("no last revision to roll back to"),
    }
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove(HASH);
    }
    template
}

fn deployment_patch(deployment: &Value, revision: &Revision) -> Value {
    let annotations = |object: &Value| object["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    let mut merged: Map<String, Value> = annotations(deployment);
    merged.retain(|key, _| KEPT.contains(&key.as_str()));
    merged.extend(annotations(&revision.keeper).into_iter().filter(|(key, _)| !KEPT.contains(&key.as_str())));
    json!([
        {"op": "replace", "path": "/spec/template", "value": without_hash(&revision.template)},
        {"op": "replace", "path": "/metadata/annotations", "value": merged},
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patch_brings_the_template_and_its_cause_back() {
        let deployment = json!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "3", "kubernetes.io/change-cause": "third"}}});
        let template = json!({"metadata": {"labels": {"app": "web", HASH: "abc"}}});
        let keeper = json!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "1", "kubernetes.io/change-cause": "first"}}});
        let patch = deployment_patch(&deployment, &Revision { number: 1, keeper, template });
        assert_eq!(patch[0]["value"], json!({"metadata": {"labels": {"app": "web"}}}));
        let annotations = json!({"deployment.kubernetes.io/revision": "3", "kubernetes.io/change-cause": "first"});
        assert_eq!(patch[1]["value"], annotations);
    }
}
