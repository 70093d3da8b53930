//! `wk replace`: objects of files take the place of those in the cluster.

use super::{Context, apply, parse_duration, report::Reporter, wait};
use crate::{
    args::{DryRun, Replace},
    manifest::{self, Manifest},
    resources::ResourceType,
    rest::{self, JSON},
};
use anyhow::{Result, bail};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// The annotation in which `kubectl apply` keeps what it applied last.
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How long `--force` waits for the old object to go, as kubectl does.
const GONE_TIMEOUT: Duration = Duration::from_secs(300);

pub(super) async fn run(context: &Context, args: &Replace) -> Result<()> {
    if args.files.filename.is_empty() {
        bail!("must specify --filename to replace");
    }
    if args.grace_period >= 0 && !args.force {
        bail!("--grace-period must have --force specified");
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
        save_config(&mut object)?;
    }
    if args.force {
        delete(context, args, resource, namespace, manifest.name()).await?;
        let created = context.create(resource, object, &args.change, "replace").await?;
        return reporter.done(resource, &created, "replaced");
    }
    if args.change.dry_run != DryRun::Client {
        if object["metadata"]["resourceVersion"].is_null() {
            // Without one a PUT of some kinds is refused; the newest means "whatever is there".
            let live = context.rest.get(&path).await?;
            object["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
        }
        let part = args.subresource.as_ref().map(|part| format!("/{part}")).unwrap_or_default();
        let path = format!("{path}{part}{}", args.change.query("replace", "Strict"));
        let body = serde_json::to_vec(&object)?;
        object = context.rest.send(Method::PUT, &path, JSON, Some((JSON, body))).await?.body;
    }
    reporter.done(resource, &object, "replaced")
}

/// Keeps the manifest as `kubectl apply` would.
pub(super) fn save_config(object: &mut Value) -> Result<()> {
    if object["metadata"]["annotations"].is_null() {
        object["metadata"]["annotations"] = json!({});
    }
    if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        annotations.remove(LAST_APPLIED);
    }
    let text = serde_json::to_string(object)? + "\n";
    object["metadata"]["annotations"][LAST_APPLIED] = text.into();
    Ok(())
}

async fn delete(context: &Context, args: &Replace, resource: &ResourceType, namespace: &str, name: &str) -> Result<()> {
    let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    options["gracePeriodSeconds"] = args.grace_period.max(0).into();
    let body = serde_json::to_vec(&options)?;
    let path = resource.object(namespace, name);
    let sent = context.rest.send(Method::DELETE, &path, JSON, Some((JSON, body))).await;
    if rest::none_if_missing(sent)?.is_none() {
        return Ok(());
    }
    crate::output::line(format_args!("{} {name:?} deleted", resource.display("").trim_end_matches('/')))?;
    let timeout = Some(parse_duration(&args.timeout)?).filter(|timeout| !timeout.is_zero()).unwrap_or(GONE_TIMEOUT);
    match tokio::time::timeout(timeout, wait::until_gone(context, resource, namespace, name, None)).await {
        Ok(result) => result,
        Err(_) => bail!("timed out waiting for the condition"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_saved_manifest_does_not_contain_itself() {
        let mut object = json!({"kind": "ConfigMap", "metadata": {"name": "a"}});
        save_config(&mut object).expect("an object");
        let once = object.clone();
        save_config(&mut object).expect("an object");
        assert_eq!(object, once);
        let saved = once["metadata"]["annotations"][LAST_APPLIED].as_str().expect("saved");
        assert!(saved.ends_with("\n") && saved.contains("ConfigMap"), "{saved}");
    }
}
