//! `--prune`: what was applied earlier and is in no manifest any more goes
//! (upstream: `kubectl/pkg/cmd/apply/prune.go`).

use super::last_applied;
use crate::{
    args::{Apply, DryRun},
    commands::{Context, Selection, delete, dry_run_suffix, name_of, namespace_of},
    output,
    resources::{Discovery, ResourceType, Target},
};
use anyhow::{Result, bail};
use serde_json::Value;
use std::collections::BTreeSet;

/// The kinds that are looked at unless `--prune-allowlist` names others.
const KINDS: [(&str, &str); 15] = [
    ("v1", "ConfigMap"),
    ("v1", "Endpoints"),
    ("v1", "Namespace"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "PersistentVolume"),
    ("v1", "Pod"),
    ("v1", "ReplicationController"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
    ("networking.k8s.io/v1", "Ingress"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
];

/// Looked at after those.
const LAST_KIND: (&str, &str) = ("apps/v1", "StatefulSet");

pub(super) struct Pruner<'a> {
    args: &'a Apply,
    resources: Vec<&'a ResourceType>,
}

impl<'a> Pruner<'a> {
    /// # Errors
    /// A kind of the allowlist that is none, or that the server lacks.
    pub(super) fn new(args: &'a Apply, discovery: &'a Discovery) -> Result<Self> {
        let mut resources = Vec::new();
        for word in &args.prune_allowlist {
            let parts: Vec<&str> = word.split('/').collect();
            let [group, version, kind] = parts.as_slice() else {
                bail!("invalid GroupVersionKind format: {word}, please follow <group/version/kind>")
            };
            let api_version =
                if matches!(*group, "core" | "") { (*version).to_owned() } else { format!("{group}/{version}") };
            resources.push(discovery.for_manifest(&api_version, kind)?);
        }
        if args.prune_allowlist.is_empty() {
            let kinds = KINDS.iter().chain([&LAST_KIND]);
            // A kind that this server does not have has no objects to prune.
            resources.extend(kinds.filter_map(|(version, kind)| discovery.for_manifest(version, kind).ok()));
        }
        Ok(Self { args, resources })
    }

    /// Prunes in the namespaces of what was applied.
    pub(super) async fn run(&self, context: &Context, applied: &[(ResourceType, Value)]) -> Result<()> {
        let uid = |object: &Value| object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let kept: BTreeSet<String> = applied.iter().map(|(_, object)| uid(object)).collect();
        let namespaces: BTreeSet<&str> =
            applied.iter().map(|(_, object)| namespace_of(object)).filter(|name| !name.is_empty()).collect();
        let labels = self.args.selector.as_deref().unwrap_or_default();
        for resource in &self.resources {
            let target = Target { resource: (*resource).clone(), names: Vec::new() };
            let selection = Selection { labels, all_namespaces: true, ..Selection::default() };
            for object in context.objects(&target, &selection).await? {
                let in_sight = !resource.namespaced || namespaces.contains(namespace_of(&object));
                if in_sight && last_applied::of(&object).is_some() && !kept.contains(&uid(&object)) {
                    self.prune(context, resource, &object).await?;
                }
            }
        }
        Ok(())
    }

    async fn prune(&self, context: &Context, resource: &ResourceType, object: &Value) -> Result<()> {
        let dry_run = self.args.change.dry_run;
        if dry_run != DryRun::Client {
            let options = delete::options(&self.args.cascade, self.args.grace_period, false, dry_run)?;
            delete::one(context, resource, namespace_of(object), name_of(object), &options).await?;
        }
        output::line(format_args!("{} pruned{}", resource.display(name_of(object)), dry_run_suffix(dry_run)))
    }
}
