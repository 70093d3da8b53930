//! Apply as the client does it: create what is not there, else send the
//! three-way patch (upstream: `kubectl/pkg/cmd/apply/patcher.go`).

use super::{CLIENT_SIDE_MANAGER, LAST_APPLIED, Wanted, last_applied, remember, three_way};
use crate::{
    args::DryRun,
    commands::{
        Context, delete,
        report::{MERGE_PATCH, STRATEGIC_PATCH},
        with_type,
    },
    manifest::Manifest,
    resources::{ResourceType, query},
    rest::{self, ApiError},
};
use anyhow::Result;
use serde_json::{Value, json};
use std::io::Write;
use wk_apiserver::schema;

/// How often a patch is made anew when the object has changed meanwhile.
const TRIES: usize = 5;

/// The object as it is then, and what was done.
pub(super) async fn apply(context: &Context, wanted: &Wanted<'_>) -> Result<(Value, &'static str)> {
    let object = remember(&wanted.manifest.object, wanted.resource, wanted.namespace);
    let applied = match context.rest.get_optional(&wanted.path()).await? {
        None => create(context, wanted, object).await.map(|created| (created, "created")),
        Some(live) => update(context, wanted, &object, live).await,
    };
    applied.map(|(object, verb)| (with_type(wanted.resource, vec![object]).remove(0), verb))
}

async fn create(context: &Context, wanted: &Wanted<'_>, object: Value) -> Result<Value> {
    let change = &wanted.args.change;
    if change.dry_run == DryRun::Client {
        return Ok(object);
    }
    let parameters = change.query_as(CLIENT_SIDE_MANAGER, &wanted.args.validate)?;
    let path = format!("{}{parameters}", wanted.resource.collection(Some(wanted.namespace)));
    let created = context.rest.create(&path, &object).await;
    created.map_err(|error| rest::with_source(error, "creating", &wanted.manifest.source))
}

async fn update(
    context: &Context,
    wanted: &Wanted<'_>,
    object: &Value,
    mut live: Value,
) -> Result<(Value, &'static str)> {
    if last_applied::of(&live).is_none() {
        warn_of_missing_annotation(wanted)?;
    }
    if wanted.args.change.dry_run == DryRun::Client {
        return Ok((live, "configured"));
    }
    let mut tries = 1;
    loop {
        let patched = patch(context, wanted, object, &live).await;
        match patched {
            Ok(None) => return Ok((live, "unchanged")),
            Ok(Some(patched)) => return Ok((patched, "configured")),
            Err(error) if is(&error, "Conflict") && tries < TRIES => tries += 1,
            Err(error) if wanted.args.force && (is(&error, "Conflict") || is(&error, "Invalid")) => {
                delete::and_wait(
                    context,
                    wanted.resource,
                    wanted.namespace,
                    wanted.manifest.name(),
                    &wanted.args.timeout,
                )
                .await?;
                return create(context, wanted, object.clone()).await.map(|created| (created, "configured"));
            }
            Err(error) => return Err(rest::with_source(error, "applying patch to", &wanted.manifest.source)),
        }
        live = context.rest.get(&wanted.path()).await?;
    }
}

fn is(error: &anyhow::Error, reason: &str) -> bool {
    error.downcast_ref::<ApiError>().is_some_and(|api| api.reason() == reason)
}

/// Sends what differs; `None` when nothing does.
async fn patch(context: &Context, wanted: &Wanted<'_>, object: &Value, live: &Value) -> Result<Option<Value>> {
    let (content_type, patch) = difference(wanted.resource, object, live);
    if patch == json!({}) {
        return Ok(None);
    }
    let parameters = wanted.args.change.query_as(CLIENT_SIDE_MANAGER, &wanted.args.validate)?;
    let path = format!("{}{parameters}", wanted.path());
    Ok(Some(context.rest.patch(&path, content_type, &patch).await?.body))
}

/// The patch that makes the live object as it is wanted, and its type.
fn difference(resource: &ResourceType, object: &Value, live: &Value) -> (&'static str, Value) {
    let last = last_applied::of(live).unwrap_or("{}");
    // Who writes nonsense into the annotation has applied nothing.
    let last: Value = serde_json::from_str(last).unwrap_or_default();
    let definition = schema::definition_for(&resource.group, &resource.version, &resource.kind);
    let definition = definition.and_then(schema::definition);
    let content_type = if definition.is_some() { STRATEGIC_PATCH } else { MERGE_PATCH };
    (content_type, three_way::patch(definition, &last, object, live).into())
}

/// The object as applying the manifest would make it, told by the server.
pub(crate) async fn preview(
    context: &Context,
    resource: &ResourceType,
    namespace: &str,
    manifest: &Manifest,
    live: Option<&Value>,
    manager: &str,
) -> Result<Value> {
    let parameters = query(&[("fieldManager", manager), ("dryRun", "All")]);
    let Some(live) = live else {
        let path = format!("{}{parameters}", resource.collection(Some(namespace)));
        return context.rest.create(&path, &manifest.object).await;
    };
    // As it was remembered, so that only what the user has changed differs.
    let mut wanted = remember(&manifest.object, resource, namespace);
    if let Some(annotations) = wanted["metadata"]["annotations"].as_object_mut() {
        annotations.remove(LAST_APPLIED);
    }
    let (content_type, patch) = difference(resource, &wanted, live);
    let path = format!("{}{parameters}", resource.object(namespace, manifest.name()));
    Ok(context.rest.patch(&path, content_type, &patch).await?.body)
}

fn warn_of_missing_annotation(wanted: &Wanted<'_>) -> Result<()> {
    let named = format!("{}/{}", wanted.resource.plural, wanted.manifest.name());
    Ok(writeln!(
        std::io::stderr(),
        "Warning: resource {named} is missing the {LAST_APPLIED} annotation which is required by wk apply. wk apply should only be used on resources created declaratively by either wk create --save-config or wk apply. The missing annotation will be patched automatically."
    )?)
}
