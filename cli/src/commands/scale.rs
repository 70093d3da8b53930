//! `wk scale`: through the scale subresource.

use super::{
    Context, apply,
    report::{MERGE_PATCH, Reporter},
    select::{self, Found, Unnamed},
};
use crate::{
    args::{DryRun, Scale},
    rest::ApiError,
};
use anyhow::{Result, bail};
use serde_json::json;

pub(super) async fn run(context: &Context, args: &Scale) -> Result<()> {
    if args.replicas < 0 {
        bail!("The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0");
    }
    let selected = select::select(context, &args.choice.target, &args.choice, Unnamed::Refused).await?;
    if selected.found.is_empty() {
        // kubectl says both in one line.
        let why = selected.failures.first().and_then(|failure| failure.downcast_ref::<ApiError>());
        let why = why.and_then(|api| api.status["message"].as_str()).unwrap_or_default();
        bail!("{}", format!("no objects passed to scale {why}").trim_end());
    }
    let mut reporter = Reporter::new(&args.change)?;
    let mut failures = selected.failures;
    for found in &selected.found {
        failures.extend(scale(context, args, found, &mut reporter).await.err());
    }
    apply::first_failure(failures)
}

async fn scale(context: &Context, args: &Scale, found: &Found, reporter: &mut Reporter) -> Result<()> {
    let path = found.subresource("scale");
    let mut patch = json!({"spec": {"replicas": args.replicas}});
    if let Some(version) = &args.resource_version {
        patch["metadata"] = json!({ "resourceVersion": version });
    }
    if let Some(expected) = args.current_replicas {
        let scale = context.rest.get(&path).await?;
        let now = scale["spec"]["replicas"].as_i64().unwrap_or(0);
        if now != i64::from(expected) {
            bail!("Expected replicas to be {expected}, was {now}");
        }
        patch["metadata"] = json!({"resourceVersion": scale["metadata"]["resourceVersion"]});
    }
    let mut object = found.object.clone();
    if args.change.dry_run != DryRun::Client {
        let path = format!("{path}{}", args.change.query("scale", ""));
        context.rest.patch(&path, MERGE_PATCH, &patch).await?;
    }
    object["spec"]["replicas"] = args.replicas.into();
    reporter.done(&found.resource, &object, "scaled")
}
