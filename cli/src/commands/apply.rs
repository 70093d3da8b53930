//! `wk apply`: the objects of files become so in the cluster, by server-side
//! apply (KEP-555) of each.
//!
//! Plain `wk apply` takes fields over from other managers, as kubectl's
//! client-side apply does; `--server-side` refuses to, unless forced.

use super::{Context, dry_run_suffix, with_type};
use crate::{
    args::{Apply, DryRun},
    manifest::{self, Manifest},
    output::{self, Format, Objects},
    resources::{Discovery, ResourceType, query},
};
use anyhow::{Context as _, Result, bail};
use http::StatusCode;
use serde_json::Value;

pub(super) const APPLY_PATCH: &str = "application/apply-patch+yaml";

pub(super) async fn run(context: &Context, args: &Apply) -> Result<()> {
    if args.files.filename.is_empty() {
        bail!("must specify one of -f and -k");
    }
    let format = args.output.as_deref().map(|text| Format::parse(Some(text))).transpose()?;
    let manifests = manifest::read(&args.files).await?;
    let discovery = context.discovery().await?;
    let mut failures = Vec::new();
    let mut applied = Vec::new();
    for manifest in &manifests {
        // One bad object does not keep the others from being applied.
        match apply_one(context, &discovery, args, manifest).await {
            Ok((resource, object, verb)) if format.is_none() => {
                let suffix = dry_run_suffix(args.dry_run);
                output::line(format_args!("{} {verb}{suffix}", resource.display(super::name_of(&object))))?;
            }
            Ok((resource, object, _)) => applied.push((resource, object)),
            Err(error) => failures.push(error),
        }
    }
    if let Some(format) = format {
        Objects { single: applied.len() == 1, items: applied, managed_fields: false }.print(&format, true)?;
    }
    first_failure(failures)
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

async fn apply_one(
    context: &Context,
    discovery: &Discovery,
    args: &Apply,
    manifest: &Manifest,
) -> Result<(ResourceType, Value, &'static str)> {
    let resource = resource_of(discovery, manifest)?;
    if manifest.name().is_empty() {
        bail!("error when applying {:?}: resource name may not be empty", manifest.source);
    }
    let namespace = context.namespace_of(resource, manifest.namespace())?;
    let path = resource.object(namespace, manifest.name());
    let before = context.rest.get_optional(&path).await?;
    if args.dry_run == DryRun::Client {
        let verb = if before.is_some() { "configured" } else { "created" };
        return Ok((resource.clone(), manifest.object.clone(), verb));
    }
    let force = if !args.server_side || args.force_conflicts { "true" } else { "" };
    let dry_run = if args.dry_run == DryRun::Server { "All" } else { "" };
    let parameters = [
        ("fieldManager", args.field_manager.as_str()),
        ("fieldValidation", "Strict"),
        ("force", force),
        ("dryRun", dry_run),
    ];
    let answer = context.rest.patch(&format!("{path}{}", query(&parameters)), APPLY_PATCH, &manifest.object).await?;
    let verb = match (answer.code, args.server_side) {
        (StatusCode::CREATED, false) => "created",
        (_, true) => "serverside-applied",
        _ if before.is_some_and(|before| same_version(&before, &answer.body)) => "unchanged",
        _ => "configured",
    };
    Ok((resource.clone(), with_type(resource, vec![answer.body]).remove(0), verb))
}

fn same_version(before: &Value, after: &Value) -> bool {
    before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
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
