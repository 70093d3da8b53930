//! `wk replace`: objects of files take the place of those in the cluster.

use super::{Context, apply, delete, report::Reporter};
use crate::{
    args::{DryRun, Replace},
    manifest::{self, Manifest},
    output,
    resources::ResourceType,
    rest::{self, JSON},
};
use anyhow::{Result, bail};
use http::Method;

pub(super) async fn run(context: &Context, args: &Replace) -> Result<()> {
    if args.files.is_empty() {
        bail!("must specify --filename to replace");
    }
    if args.grace_period >= 0 && !args.force {
        bail!("--grace-period must have --force specified");
    }
    if let Some(path) = &args.raw {
        let body = manifest::raw(&args.files)?;
        let answer = context.rest.send(Method::PUT, path, JSON, Some((JSON, body))).await?;
        return output::line(answer.body);
    }
    let discovery = context.discovery().await?;
    let mut reporter = Reporter::new(&args.change)?;
    let mut failures = Vec::new();
    for manifest in manifest::read(&args.files).await? {
        let resource = apply::resource_of(&discovery, &manifest)?;
        let replaced = replace(context, args, resource, &manifest, &mut reporter).await;
        failures.extend(replaced.err().map(|error| rest::with_source(error, "replacing", &manifest.source)));
    }
    apply::first_failure(failures)
}

async fn replace(
    context: &Context,
    args: &Replace,
    resource: &ResourceType,
    manifest: &Manifest,
    reporter: &mut Reporter,
) -> Result<()> {
    let namespace = context.namespace_of(resource, manifest.namespace())?;
    let path = resource.object(namespace, manifest.name());
    let mut object = manifest.object.clone();
    if args.save_config {
        object = apply::remember(&object, resource, namespace);
    }
    if args.force {
        let name = manifest.name();
        if delete::and_wait(context, resource, namespace, name, &args.timeout).await? {
            output::line(format_args!("{} {name:?} deleted", resource.display("").trim_end_matches('/')))?;
        }
        let created = context
            .create_as(resource, object, &args.change, args.change.query_as("wk-replace", &args.validate)?)
            .await?;
        return reporter.done(resource, &created, "replaced");
    }
    if args.change.dry_run != DryRun::Client {
        if object["metadata"]["resourceVersion"].is_null() {
            // Without one a PUT of some kinds is refused; the newest means "whatever is there".
            let live = context.rest.get(&path).await?;
            object["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
        }
        let part = args.subresource.as_ref().map(|part| format!("/{part}")).unwrap_or_default();
        let path = format!("{path}{part}{}", args.change.query_as("wk-replace", &args.validate)?);
        let body = serde_json::to_vec(&object)?;
        object = context.rest.send(Method::PUT, &path, JSON, Some((JSON, body))).await?.body;
    }
    reporter.done(resource, &object, "replaced")
}
