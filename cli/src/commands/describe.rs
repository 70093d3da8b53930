//! `wk describe`: one object in full, with what happened to it.
//!
//! The layout is kubectl's (`kubectl/pkg/describe/describe.go`): a label, two
//! spaces of padding, a value; nested parts indented by two.

mod events;
mod node;
mod page;
mod plain;
mod pod;
mod service;
mod workload;

pub(super) use events::{age, first_seen, last_seen};
pub(super) use page::{pairs, text};
pub(super) use pod::{tolerations, value_of};

use super::{Context, Selection, apply, get::NOTHING_NAMED, name_of};
use crate::{
    args::Describe,
    manifest, output,
    resources::{self, Discovery, ResourceType, Target},
    rest::ApiError,
};
use anyhow::{Result, bail};
use page::Page;
use serde_json::Value;
use std::io::Write;

pub(super) async fn run(context: &Context, args: &Describe) -> Result<()> {
    if args.target.is_empty() && args.files.is_empty() {
        bail!(NOTHING_NAMED.replace("to get", "to describe"));
    }
    let discovery = context.discovery().await?;
    let selection = Selection {
        labels: args.selector.as_deref().unwrap_or_default(),
        fields: "",
        all_namespaces: args.all_namespaces,
    };
    let mut first = true;
    for found in objects(context, &discovery, args, &selection).await? {
        let is_first = std::mem::take(&mut first);
        let text = describe(context, args, &found.resource.kind, &found.object).await?;
        // As kubectl: between what was named, after each of what was guessed.
        let (before, after) = match found.is_guessed {
            true => ("", "\n"),
            false => (if is_first { "" } else { "\n\n" }, ""),
        };
        write!(output::stdout(), "{before}{text}{after}")?;
    }
    if first {
        let place = if args.all_namespaces { String::new() } else { format!(" in {} namespace", context.namespace()) };
        let dot = if place.is_empty() { "" } else { "." };
        writeln!(std::io::stderr(), "No resources found{place}{dot}")?;
    }
    Ok(())
}

/// An object to describe.
struct Found {
    resource: ResourceType,
    object: Value,
    /// Whether only the beginning of its name was given.
    is_guessed: bool,
}

async fn objects(
    context: &Context,
    discovery: &Discovery,
    args: &Describe,
    selection: &Selection<'_>,
) -> Result<Vec<Found>> {
    let mut targets = resources::targets(discovery, &args.target)?;
    if !args.files.is_empty() {
        for manifest in manifest::read(&args.files).await? {
            let resource = apply::resource_of(discovery, &manifest)?.clone();
            context.namespace_of(&resource, manifest.namespace())?;
            targets.push(Target { resource, names: vec![manifest.name().to_owned()] });
        }
    }
    let mut found = Vec::new();
    for target in targets {
        let (objects, is_guessed) = match context.objects(&target, selection).await {
            Err(error) => (of_prefix(context, &target, selection, error).await?, true),
            objects => (objects?, false),
        };
        found.extend(objects.into_iter().map(|object| Found { resource: target.resource.clone(), object, is_guessed }));
    }
    Ok(found)
}

/// The objects whose names begin with the one that there is not.
async fn of_prefix(
    context: &Context,
    target: &Target,
    selection: &Selection<'_>,
    error: anyhow::Error,
) -> Result<Vec<Value>> {
    let ([prefix], Some("NotFound")) =
        (target.names.as_slice(), error.downcast_ref::<ApiError>().map(ApiError::reason))
    else {
        return Err(error);
    };
    let all = Target { resource: target.resource.clone(), names: Vec::new() };
    let mut objects = context.objects(&all, selection).await?;
    objects.retain(|object| name_of(object).starts_with(prefix.as_str()));
    if objects.is_empty() { Err(error) } else { Ok(objects) }
}

/// Kinds of which kubectl shows no events.
const EVENTLESS: [&str; 6] = ["Secret", "Namespace", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"];

/// What bounds a namespace; `None` when the server does not have the kind.
async fn bounds(context: &Context, plural: &str, namespace: &str) -> Result<Option<Vec<Value>>> {
    let discovery = context.discovery().await?;
    let Ok(resource) = discovery.find(plural) else { return Ok(None) };
    let found = context.objects_in(&Target { resource: resource.clone(), names: Vec::new() }, namespace).await?;
    Ok(Some(found))
}

async fn describe(context: &Context, args: &Describe, kind: &str, object: &Value) -> Result<String> {
    let mut page = Page::default();
    match kind {
        "Pod" => pod::describe(&mut page, object),
        "Deployment" => {
            let sets = workload::replica_sets(context, object).await?;
            workload::describe_deployment(&mut page, object, &sets);
        }
        "ReplicaSet" => workload::describe_replica_set(&mut page, object),
        "Job" => workload::describe_job(&mut page, object),
        "CronJob" => workload::describe_cron_job(&mut page, object),
        "Node" => {
            let pods = node::pods_on(context, name_of(object)).await?;
            let lease = node::lease(context, name_of(object)).await?;
            node::describe(&mut page, object, &pods, lease.as_ref());
        }
        "Service" => {
            let slices = service::slices(context, object).await?;
            service::describe(&mut page, object, &slices);
        }
        "ConfigMap" => plain::config_map(&mut page, object),
        "Secret" => plain::secret(&mut page, object),
        "Namespace" => {
            let quotas = bounds(context, "resourcequotas", name_of(object)).await?;
            let limits = bounds(context, "limitranges", name_of(object)).await?;
            plain::namespace(&mut page, object, quotas.as_deref(), limits.as_deref());
        }
        "ServiceAccount" => plain::service_account(&mut page, object),
        "Role" | "ClusterRole" => plain::role(&mut page, object),
        "RoleBinding" | "ClusterRoleBinding" => plain::binding(&mut page, object),
        "PodDisruptionBudget" => plain::budget(&mut page, object),
        _ => page::describe_any(&mut page, object),
    }
    if args.show_events && !EVENTLESS.contains(&kind) {
        let events = events::of(context, object).await?;
        events::describe(&mut page, &events, context.now());
    }
    Ok(page.finish())
}
