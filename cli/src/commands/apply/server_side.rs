//! Apply as the server does it (KEP-555). What the client had applied before
//! first comes under the server's manager, so that the two do not conflict
//! (upstream: `client-go/util/csaupgrade`).

use super::{APPLY_PATCH, CLIENT_SIDE_MANAGER, SERVER_SIDE_MANAGER, Wanted};
use crate::{
    args::DryRun,
    commands::{Context, report::JSON_PATCH, with_type},
    resources::query,
};
use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

/// The object as it is then, and what was done.
pub(super) async fn apply(context: &Context, wanted: &Wanted<'_>) -> Result<(Value, &'static str)> {
    let (args, change) = (wanted.args, &wanted.args.change);
    if change.dry_run == DryRun::Client {
        bail!("--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)");
    }
    let manager = change.field_manager.as_deref().unwrap_or(SERVER_SIDE_MANAGER);
    if change.dry_run == DryRun::None && manager == SERVER_SIDE_MANAGER {
        migrate(context, wanted, manager).await?;
    }
    let parameters = query(&[
        ("fieldManager", manager),
        ("fieldValidation", args.validate.directive()?),
        ("force", if args.force_conflicts { "true" } else { "" }),
        ("dryRun", if change.dry_run == DryRun::Server { "All" } else { "" }),
    ]);
    let part = args.subresource.as_ref().map(|part| format!("/{part}")).unwrap_or_default();
    let path = format!("{}{part}{parameters}", wanted.path());
    let answer = context.rest.patch(&path, APPLY_PATCH, &wanted.manifest.object).await?;
    Ok((with_type(wanted.resource, vec![answer.body]).remove(0), "serverside-applied"))
}

async fn migrate(context: &Context, wanted: &Wanted<'_>, manager: &str) -> Result<()> {
    let Some(live) = context.rest.get_optional(&wanted.path()).await? else { return Ok(()) };
    let Some(managed) = upgraded(&live["metadata"]["managedFields"], manager) else { return Ok(()) };
    let patch = json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": managed},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
    ]);
    context.rest.patch(&wanted.path(), JSON_PATCH, &patch).await.map(drop)
}

/// The managers when the client's apply has become the server's; `None` when
/// there was none.
fn upgraded(managed: &Value, manager: &str) -> Option<Value> {
    let mut managed = managed.as_array()?.clone();
    let is_clients = |entry: &Value| {
        entry["manager"] == CLIENT_SIDE_MANAGER && entry["operation"] == "Update" && entry["subresource"].is_null()
    };
    let mut old = managed.remove(managed.iter().position(is_clients)?);
    let is_servers = |entry: &&mut Value| entry["manager"] == manager && entry["operation"] == "Apply";
    match managed.iter_mut().find(is_servers) {
        Some(own) => unite(&mut own["fieldsV1"], &old["fieldsV1"]),
        None => {
            (old["manager"], old["operation"]) = (manager.into(), "Apply".into());
            managed.push(old);
        }
    }
    Some(managed.into())
}

/// Adds the fields of one set to another.
fn unite(set: &mut Value, more: &Value) {
    let Some(more) = more.as_object() else { return };
    if !set.is_object() {
        *set = Map::new().into();
    }
    for (field, inner) in more {
        match set.get_mut(field) {
            Some(own) => unite(own, inner),
            None => set[field] = inner.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_fields_become_the_servers() {
        let entry = |manager: &str, operation: &str, fields: Value| json!({"manager": manager, "operation": operation, "fieldsV1": fields});
        let client = entry(CLIENT_SIDE_MANAGER, "Update", json!({"f:data": {"f:a": {}}}));
        let other = entry("x", "Update", json!({"f:data": {"f:z": {}}}));
        let expected = entry("kubectl", "Apply", json!({"f:data": {"f:a": {}}}));
        assert_eq!(upgraded(&json!([client, other]), "kubectl"), Some(json!([other, expected])));
        let server = entry("kubectl", "Apply", json!({"f:data": {"f:b": {}}}));
        let expected = entry("kubectl", "Apply", json!({"f:data": {"f:a": {}, "f:b": {}}}));
        assert_eq!(upgraded(&json!([client, server]), "kubectl"), Some(json!([expected])));
        assert_eq!(upgraded(&json!([server, other]), "kubectl"), None);
    }
}
