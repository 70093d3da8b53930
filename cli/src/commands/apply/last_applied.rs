//! The annotation that says what was applied last, and the commands about it
//! (upstream: `kubectl/pkg/cmd/apply/apply_{view,set}_last_applied.go`).

use super::{CLIENT_SIDE_MANAGER, first_failure, resource_of};
use crate::{
    args::{DryRun, SetLastApplied, ViewLastApplied},
    commands::{
        Context, name_of,
        report::{MERGE_PATCH, Reporter},
        select::{self, Unnamed},
    },
    manifest, output,
    resources::ResourceType,
};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::io::Write;

/// Its name.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The manifest with itself in its annotation, as kubectl writes it.
pub(crate) fn remember(manifest: &Value, resource: &ResourceType, namespace: &str) -> Value {
    let mut object = manifest.clone();
    if resource.namespaced && object["metadata"]["namespace"].is_null() {
        object["metadata"]["namespace"] = namespace.into();
    }
    if object["metadata"]["annotations"].is_null() {
        object["metadata"]["annotations"] = json!({});
    }
    if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        annotations.remove(LAST_APPLIED);
    }
    object["metadata"]["annotations"][LAST_APPLIED] = format!("{object}\n").into();
    object
}

/// What an object's annotation holds.
pub(crate) fn of(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][LAST_APPLIED].as_str()
}

pub(super) async fn view(context: &Context, args: &ViewLastApplied) -> Result<()> {
    if !matches!(args.output.as_str(), "yaml" | "json") {
        bail!("Unexpected -o output mode: {}, the flag 'output' must be one of yaml|json", args.output);
    }
    let selected = select::select(context, &args.choice.target, &args.choice, Unnamed::All).await?;
    first_failure(selected.failures)?;
    for found in &selected.found {
        // As kubectl: what nothing was applied to has nothing to show.
        let Some(text) = of(&found.object) else { continue };
        let value: Value = serde_json::from_str(text)?;
        let mut out = output::stdout();
        match args.output.as_str() {
            "json" => writeln!(out, "{}", serde_json::to_string_pretty(&value)?)?,
            _ => write!(out, "{}", output::yaml::to_string(&value))?,
        }
    }
    Ok(())
}

pub(super) async fn set(context: &Context, args: &SetLastApplied) -> Result<()> {
    let discovery = context.discovery().await?;
    let mut reporter = Reporter::new(&args.change)?;
    for manifest in manifest::read(&args.files).await? {
        let resource = resource_of(&discovery, &manifest)?;
        let namespace = context.namespace_of(resource, manifest.namespace())?;
        let path = resource.object(namespace, manifest.name());
        let mut live = context.rest.get(&path).await?;
        let name = name_of(&live).to_owned();
        if of(&live).is_none() && !args.create_annotation {
            bail!(
                "no last-applied-configuration annotation found on resource: {name}, to create the annotation, run the command with --create-annotation"
            );
        }
        let wanted = remember(&manifest.object, resource, namespace);
        if of(&live) == of(&wanted) {
            output::line(format_args!("set-last-applied {name}: no changes required."))?;
            continue;
        }
        if args.change.dry_run != DryRun::Client {
            let path = format!("{path}{}", args.change.query_under(CLIENT_SIDE_MANAGER, ""));
            live = context.rest.patch(&path, MERGE_PATCH, &annotation(of(&wanted))).await?.body;
        }
        reporter.done(resource, &live, "configured")?;
    }
    Ok(())
}

/// The merge patch that sets it.
pub(crate) fn annotation(text: Option<&str>) -> Value {
    json!({"metadata": {"annotations": {LAST_APPLIED: text}}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_saved_manifest_does_not_contain_itself() {
        let discovery = json!({"items": [{"metadata": {"name": ""}, "versions": [{"version": "v1", "resources": [{"resource": "configmaps", "scope": "Namespaced"}]}]}]});
        let resource = crate::resources::Discovery::parse(&[discovery]).resources.remove(0);
        let once = remember(&json!({"kind": "ConfigMap", "metadata": {"name": "a"}}), &resource, "n");
        let text = r#"{"kind":"ConfigMap","metadata":{"annotations":{},"name":"a","namespace":"n"}}"#;
        assert_eq!(of(&once), Some(format!("{text}\n").as_str()));
        assert_eq!(remember(&once, &resource, "n"), once);
    }
}
