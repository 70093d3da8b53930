//! `wk scale`: through the scale subresource.

use super::Context;
use crate::{args::Scale, output, resources};
use anyhow::{Result, bail};
use serde_json::json;

pub(super) async fn run(context: &Context, args: &Scale) -> Result<()> {
    let discovery = context.discovery().await?;
    for target in resources::targets(&discovery, &args.target)? {
        if target.names.is_empty() {
            bail!("resource(s) were provided, but no name was specified");
        }
        for name in &target.names {
            scale(context, args, &target.resource, name).await?;
        }
    }
    Ok(())
}

async fn scale(context: &Context, args: &Scale, resource: &resources::ResourceType, name: &str) -> Result<()> {
    let path = format!("{}/scale", resource.object(context.namespace(), name));
    let mut patch = json!({"spec": {"replicas": args.replicas}});
    if let Some(expected) = args.current_replicas {
        let scale = context.rest.get(&path).await?;
        let found = scale["spec"]["replicas"].as_i64().unwrap_or(0);
        if found != i64::from(expected) {
            bail!("Expected replicas to be {expected}, was {found}");
        }
        patch["metadata"] = json!({"resourceVersion": scale["metadata"]["resourceVersion"]});
    }
    context.rest.patch(&path, "application/merge-patch+json", &patch).await?;
    output::line(format_args!("{} scaled", resource.display(name)))
}
