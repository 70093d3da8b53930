//! `wk rollout`: follows, repeats, undoes, pauses the rollouts of Deployments,
//! DaemonSets and StatefulSets (upstream: `kubectl/pkg/cmd/rollout`,
//! `kubectl/pkg/polymorphichelpers`).

mod history;
mod status;
mod template;
mod undo;

use super::{
    Context, apply,
    report::{Reporter, STRATEGIC_PATCH},
    select::{self, Found, Selected, Unnamed},
};
use crate::args::{Choice, Rollout, RolloutChange};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::io::Write;

/// Set on the pod template by `rollout restart`.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

pub(super) async fn run(context: &Context, args: &Rollout) -> Result<()> {
    match args {
        Rollout::Status(args) => status::run(context, args).await,
        Rollout::History(args) => history::run(context, args).await,
        Rollout::Undo(args) => undo::run(context, args).await,
        Rollout::Restart(args) => change(context, args, &Restart { at: context.now().to_string() }).await,
        Rollout::Pause(args) => change(context, args, &Pause { paused: true }).await,
        Rollout::Resume(args) => change(context, args, &Pause { paused: false }).await,
    }
}

/// The objects of a `rollout` command.
async fn selected(context: &Context, choice: &Choice) -> Result<Selected> {
    if choice.target.is_empty() && choice.files.is_empty() {
        bail!("required resource not specified");
    }
    let selected = select::select(context, &choice.target, choice, Unnamed::All).await?;
    if selected.found.is_empty() && selected.failures.is_empty() {
        writeln!(std::io::stderr(), "No resources found in {} namespace.", context.namespace())?;
    }
    Ok(selected)
}

/// A change that `rollout` makes: what to patch, or why nothing.
trait ChangeOf {
    /// The patch.
    fn patch(&self, found: &Found) -> Result<Value>;
    /// What is said when it is done: `paused`.
    fn told(&self) -> &'static str;
}

struct Restart {
    at: String,
}

impl ChangeOf for Restart {
    fn patch(&self, found: &Found) -> Result<Value> {
        match found.resource.kind.as_str() {
            "Deployment" if found.object["spec"]["paused"] == true => {
                bail!("can't restart paused deployment (run rollout resume first)")
            }
            "Deployment" | "DaemonSet" | "StatefulSet" => {}
            _ => bail!("restarting is not supported"),
        }
        // Whole seconds, as upstream: twice within one second is one restart.
        let at = format!("{}Z", self.at.split(['.', 'Z']).next().unwrap_or_default());
        let now = &found.object["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT];
        if *now == at.as_str() {
            bail!(TooSoon(found.name().to_owned()));
        }
        Ok(json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: at}}}}}))
    }

    fn told(&self) -> &'static str {
        "restarted"
    }
}

/// The one refusal that kubectl does not begin with the object.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to create patch for {0}: if restart has already been triggered within the past second, please wait before attempting to trigger another"
)]
struct TooSoon(String);

struct Pause {
    paused: bool,
}

impl ChangeOf for Pause {
    fn patch(&self, found: &Found) -> Result<Value> {
        if found.resource.kind != "Deployment" {
            bail!(if self.paused { "pausing is not supported" } else { "resuming is not supported" });
        }
        let now = found.object["spec"]["paused"] == true;
        if now == self.paused {
            bail!(if now { "is already paused" } else { "is not paused" });
        }
        Ok(json!({"spec": {"paused": if self.paused { json!(true) } else { Value::Null }}}))
    }

    fn told(&self) -> &'static str {
        if self.paused { "paused" } else { "resumed" }
    }
}

async fn change(context: &Context, args: &RolloutChange, change: &dyn ChangeOf) -> Result<()> {
    let selected = selected(context, &args.choice).await?;
    let mut reporter = Reporter::new(&args.change)?;
    let mut failures = selected.failures;
    for found in &selected.found {
        let changed = change_one(context, args, found, change, &mut reporter).await;
        failures.extend(changed.err());
    }
    apply::first_failure(failures)
}

async fn change_one(
    context: &Context,
    args: &RolloutChange,
    found: &Found,
    change: &dyn ChangeOf,
    reporter: &mut Reporter,
) -> Result<()> {
    // One sentence, as kubectl builds it: the object, then what is wrong with it.
    let named = || format!("{} {:?}", found.resource.qualified(), found.name());
    let refused = |error: anyhow::Error| {
        if error.is::<TooSoon>() { error } else { anyhow::anyhow!("{} {error}", named()) }
    };
    let patch = change.patch(found).map_err(refused)?;
    let path = format!("{}{}", found.path(), args.change.query("rollout", ""));
    let answer = context.rest.patch(&path, STRATEGIC_PATCH, &patch).await?;
    reporter.done(&found.resource, &answer.body, change.told())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::ResourceType;

    fn found(kind: &str, object: Value) -> Found {
        let resource = ResourceType {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            kind: kind.to_owned(),
            plural: format!("{}s", kind.to_lowercase()),
            singular: kind.to_lowercase(),
            short_names: Vec::new(),
            categories: Vec::new(),
            namespaced: true,
            verbs: Vec::new(),
        };
        Found { resource, object }
    }

    #[test]
    fn a_restart_changes_the_template_once_a_second() {
        let restart = Restart { at: "2026-01-02T03:04:05.678Z".to_owned() };
        let patch = restart.patch(&found("DaemonSet", json!({}))).expect("a change");
        assert_eq!(patch["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT], "2026-01-02T03:04:05Z");
        assert!(restart.patch(&found("DaemonSet", patch)).is_err());
        assert!(restart.patch(&found("ReplicaSet", json!({}))).is_err());
        let paused = json!({"metadata": {"name": "web"}, "spec": {"paused": true}});
        let error = restart.patch(&found("Deployment", paused)).expect_err("paused").to_string();
        assert_eq!(error, "can't restart paused deployment (run rollout resume first)");
    }

    #[test]
    fn pausing_twice_is_refused() {
        let paused = found("Deployment", json!({"spec": {"paused": true}}));
        assert_eq!(Pause { paused: true }.patch(&paused).expect_err("paused").to_string(), "is already paused");
        let resumed = Pause { paused: false }.patch(&paused).expect("a change");
        assert_eq!(resumed, json!({"spec": {"paused": null}}));
        assert!(Pause { paused: true }.patch(&found("DaemonSet", json!({}))).is_err());
    }
}
