//! `wk apply`: the objects of files become so in the cluster.
//!
//! ```text
//!   files ─▶ client side:  last applied, file, live object ─▶ three-way patch
//!       └──▶ server side:  the file as it is; the server merges (KEP-555)
//! ```
//!
//! Both follow kubectl, under its names of managers, so that the two tools can
//! take turns on one object.

mod client_side;
mod last_applied;
mod prune;
mod server_side;
mod three_way;

use super::{Context, name_of, report::Reporter};
use crate::{
    args::{Apply, ApplyCommand},
    manifest::{self, Manifest},
    resources::{Discovery, ResourceType},
};
use anyhow::{Context as _, Result, bail};
use prune::Pruner;
use serde_json::Value;

pub(super) use client_side::preview;
pub(super) use last_applied::{LAST_APPLIED, annotation, of as last_applied_of, remember};

pub(super) const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// The manager of what the client merges.
pub(super) const CLIENT_SIDE_MANAGER: &str = "kubectl-client-side-apply";

/// The manager of what the server merges.
pub(super) const SERVER_SIDE_MANAGER: &str = "kubectl";

pub(super) async fn run(context: &Context, args: &Apply) -> Result<()> {
    match &args.command {
        Some(ApplyCommand::ViewLastApplied(args)) => return last_applied::view(context, args).await,
        Some(ApplyCommand::SetLastApplied(args)) => return last_applied::set(context, args).await,
        Some(ApplyCommand::EditLastApplied(args)) => return super::edit::last_applied(context, args).await,
        None => {}
    }
    check(args)?;
    let discovery = context.discovery().await?;
    let pruner = args.prune.then(|| Pruner::new(args, &discovery)).transpose()?;
    let mut reporter = Reporter::of_several(&args.change)?;
    let mut failures = Vec::new();
    let mut applied = Vec::new();
    for manifest in manifest::read_selected(&args.files, args.selector.as_deref()).await? {
        // One bad object does not keep the others from being applied.
        match apply_one(context, &discovery, args, &manifest).await {
            Ok((resource, object, verb)) => {
                reporter.done(resource, &object, verb)?;
                applied.push((resource.clone(), object));
            }
            Err(error) => failures.push(error),
        }
    }
    reporter.finish()?;
    if let (Some(pruner), true) = (pruner, failures.is_empty()) {
        pruner.run(context, &applied).await?;
    }
    first_failure(failures)
}

fn check(args: &Apply) -> Result<()> {
    if args.files.is_empty() {
        bail!("must specify one of -f and -k");
    }
    if args.prune && !args.all && args.selector.is_none() {
        bail!(
            "all resources selected for prune without explicitly passing --all. To prune all resources, pass the --all flag. If you did not mean to prune all resources, specify a label selector"
        );
    }
    if args.prune && args.all && args.selector.is_some() {
        bail!("cannot set --all and --selector at the same time");
    }
    if args.subresource.is_some() && !args.server_side {
        bail!("--subresource can only be specified if --server-side is enabled");
    }
    if args.server_side && args.force {
        bail!("--force cannot be used with --server-side");
    }
    Ok(())
}

/// Prints all but the last failure and returns the last.
pub(super) fn first_failure(mut failures: Vec<anyhow::Error>) -> Result<()> {
    use std::io::Write;
    let last = failures.pop();
    for failure in failures {
        writeln!(std::io::stderr(), "{}", crate::rest::describe_error(&failure))?;
    }
    last.map_or(Ok(()), Err)
}

async fn apply_one<'a>(
    context: &Context,
    discovery: &'a Discovery,
    args: &Apply,
    manifest: &Manifest,
) -> Result<(&'a ResourceType, Value, &'static str)> {
    let resource = resource_of(discovery, manifest)?;
    if name_of(&manifest.object).is_empty() {
        bail!("error when applying {:?}: resource name may not be empty", manifest.source);
    }
    let namespace = context.namespace_of(resource, manifest.namespace())?;
    let wanted = Wanted { args, resource, namespace, manifest };
    let (object, verb) = if args.server_side {
        server_side::apply(context, &wanted).await?
    } else {
        client_side::apply(context, &wanted).await?
    };
    Ok((resource, object, verb))
}

/// One object to apply.
struct Wanted<'a> {
    args: &'a Apply,
    resource: &'a ResourceType,
    namespace: &'a str,
    manifest: &'a Manifest,
}

impl Wanted<'_> {
    fn path(&self) -> String {
        self.resource.object(self.namespace, self.manifest.name())
    }
}

/// The type of a manifest, or kubectl's words for a type that the server lacks.
pub(super) fn resource_of<'a>(discovery: &'a Discovery, manifest: &Manifest) -> Result<&'a ResourceType> {
    discovery.for_manifest(manifest.api_version(), manifest.kind()).with_context(|| {
        format!(
            "resource mapping not found for name: {:?} namespace: {:?} from {:?}",
            manifest.name(),
            manifest.namespace().unwrap_or_default(),
            manifest.source
        )
    })
}
