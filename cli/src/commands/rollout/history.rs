//! `wk rollout history`: the revisions of a workload, oldest first (upstream:
//! `kubectl/pkg/polymorphichelpers/history.go`).

use super::{super::apply, template};
use crate::{
    args::{Change, RolloutHistory},
    commands::{Context, annotate::CHANGE_CAUSE, report::Reporter, select::Found},
    output::{self, table::Table},
    resources::{ResourceType, query},
};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;

const REVISION: &str = "deployment.kubernetes.io/revision";

/// A state that a workload had.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Revision {
    pub(super) number: i64,
    /// The ReplicaSet or ControllerRevision that keeps it.
    pub(super) keeper: Value,
    /// The pod template of then.
    pub(super) template: Value,
}

impl Revision {
    fn cause(&self) -> &str {
        self.keeper["metadata"]["annotations"][CHANGE_CAUSE]
            .as_str()
            .filter(|cause| !cause.is_empty())
            .unwrap_or("<none>")
    }
}

/// A Deployment's or ReplicaSet's revision.
pub(super) fn revision_of(object: &Value) -> Option<i64> {
    object["metadata"]["annotations"][REVISION].as_str()?.parse().ok()
}

/// The revisions of a workload, oldest first.
pub(super) async fn of(context: &Context, found: &Found) -> Result<Vec<Revision>> {
    let collection = match found.resource.kind.as_str() {
        "Deployment" => "replicasets",
        "DaemonSet" | "StatefulSet" => "controllerrevisions",
        other => bail!("no history viewer has been implemented for {other:?}"),
    };
    let labels = crate::commands::label_selector(&found.object["spec"]["selector"]);
    let path = format!("/apis/apps/v1/namespaces/{}/{collection}", found.namespace());
    let list = context.rest.get(&format!("{path}{}", query(&[("labelSelector", &labels)]))).await?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    Ok(revisions(&found.object, items))
}

fn revisions(owner: &Value, keepers: Vec<Value>) -> Vec<Revision> {
    let uid = &owner["metadata"]["uid"];
    let is_owned = |keeper: &Value| {
        let owners = keeper["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        owners.into_iter().any(|owner| owner["controller"] == true && owner["uid"] == *uid)
    };
    let mut revisions: Vec<Revision> = keepers.into_iter().filter(is_owned).filter_map(revision).collect();
    revisions.sort_by_key(|revision| revision.number);
    revisions
}

fn revision(keeper: Value) -> Option<Revision> {
    if let Some(number) = keeper["revision"].as_i64() {
        let mut template = keeper["data"]["spec"]["template"].clone();
        template.as_object_mut().map(|template| template.remove("$patch"));
        return Some(Revision { number, template, keeper });
    }
    let template = keeper["spec"]["template"].clone();
    revision_of(&keeper).map(|number| Revision { number, template, keeper })
}

pub(super) async fn run(context: &Context, args: &RolloutHistory) -> Result<()> {
    if args.revision < 0 {
        bail!("revision must be a positive integer: {}", args.revision);
    }
    let selected = super::selected(context, &args.choice).await?;
    let mut failures = selected.failures;
    for found in &selected.found {
        failures.extend(show(context, args, found).await.err());
    }
    apply::first_failure(failures)
}

async fn show(context: &Context, args: &RolloutHistory, found: &Found) -> Result<()> {
    let mut revisions = of(context, found).await?;
    if args.revision > 0 {
        revisions.retain(|revision| revision.number == args.revision);
        if revisions.is_empty() {
            bail!("unable to find the specified revision");
        }
    }
    if args.output.is_some() {
        return print(context, args, &revisions).await;
    }
    let display = found.resource.display(found.name());
    match revisions.as_slice() {
        [] => output::line(format_args!("{display} \nNo rollout history found.")),
        [one] if args.revision > 0 => {
            let mut template = one.template.clone();
            if one.cause() != "<none>" {
                template["metadata"]["annotations"][CHANGE_CAUSE] = one.cause().into();
            }
            let text = template::text(&template);
            output::line(format_args!("{display} with revision #{}\n{text}", args.revision))
        }
        several => output::line(format_args!("{display} \n{}", table(several))),
    }
}

fn table(revisions: &[Revision]) -> String {
    let mut rows = vec![vec!["REVISION".to_owned(), "CHANGE-CAUSE".to_owned()]];
    rows.extend(revisions.iter().map(|revision| vec![revision.number.to_string(), revision.cause().to_owned()]));
    Table::with_padding(2).layout(&rows)
}

async fn print(context: &Context, args: &RolloutHistory, revisions: &[Revision]) -> Result<()> {
    let change = Change { output: args.output.clone(), ..Change::default() };
    let mut reporter = Reporter::new(&change)?;
    let discovery = context.discovery().await?;
    for revision in revisions {
        let is_set = !revision.keeper["revision"].is_null();
        let word = if is_set { "controllerrevisions.apps" } else { "replicasets.apps" };
        let resource: &ResourceType = discovery.find(word).context("find the type of the history")?;
        reporter.done(resource, &revision.keeper, "")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn history_is_in_order_and_has_causes() {
        let set = |number: &str, owner: &str| {
            json!({"metadata": {"annotations": {REVISION: number, CHANGE_CAUSE: format!("cause {number}")},
                "ownerReferences": [{"uid": owner, "controller": true}]}, "spec": {"template": {"n": number}}})
        };
        let mut first = set("2", "u");
        first["metadata"]["annotations"][CHANGE_CAUSE] = "".into();
        let revisions = revisions(&json!({"metadata": {"uid": "u"}}), vec![set("10", "u"), first, set("3", "other")]);
        assert_eq!(table(&revisions), "REVISION  CHANGE-CAUSE\n2         <none>\n10        cause 10\n");
    }

    #[test]
    fn controller_revisions_keep_a_patch() {
        let keeper = json!({"revision": 4, "data": {"spec": {"template": {"$patch": "replace", "spec": {}}}}});
        let revision = revision(keeper).expect("a revision");
        assert_eq!((revision.number, revision.template), (4, json!({"spec": {}})));
    }
}
