//! Counts what the namespaces with quotas use, whenever something changed, and
//! writes it into the quotas. Started with the server; costs nothing while there
//! is no quota.

use super::{shown_amounts, usage};
use crate::{
    Server,
    http::status::ApiError,
    object,
    patch::managed_fields,
    registry::{
        self, Resource,
        core::{
            pod::requests::{self, Amounts},
            resource_quota,
        },
    },
    schema::Quantity,
    storage::{self, Done, Update},
};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tracing::{debug, warn};

/// Least time between two counts: a Deployment that is rolled out makes hundreds
/// of changes in a second, and people look at the result.
const PAUSE: Duration = Duration::from_millis(200);

/// Who writes, as `managedFields` say it.
const MANAGER: &str = "kube-controller-manager";

/// Counts until the server stops.
pub async fn run(server: Arc<Server>) {
    let mut progress = server.caches.changes();
    // Nobody has counted yet; later, a claim that was given back changes nothing that
    // would be seen.
    let mut counted = Counted::NotAll;
    while counted == Counted::NotAll || progress.changed().await.is_ok() {
        progress.mark_unchanged();
        counted = count_all(&server).await.unwrap_or_else(|error| {
            warn!(error = %error.status()["message"], "could not count what quotas allow");
            Counted::NotAll
        });
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether every quota says what is used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    All,
    /// Some were in use: count again.
    NotAll,
}

async fn count_all(server: &Server) -> Result<Counted, ApiError> {
    let row = &resource_quota::RESOURCE;
    let quotas = server.caches.snapshot(row, &storage::prefix(row, "")).await?;
    let mut counted = Counted::All;
    for quota in &quotas.objects {
        if count(server, &quota.namespace, &quota.name).await? == Counted::NotAll {
            counted = Counted::NotAll;
        }
    }
    Ok(counted)
}

/// Counts for one quota, unless a claim is under way. One that comes between makes
/// this count void: the write then finds another revision.
async fn count(server: &Server, namespace: &str, name: &str) -> Result<Counted, ApiError> {
    let row = &resource_quota::RESOURCE;
    let old = match server.storage.get(row, namespace, name).await {
        Err(ApiError::NotFound(_)) => return Ok(Counted::All),
        found => found?.decode(row)?,
    };
    if server.quotas.any(namespace) {
        return Ok(Counted::NotAll);
    }
    server.caches.wait_until_fresh().await?;
    let used = used(server, namespace, &old).await?;
    let mut new = old.clone();
    let status = object::map_mut(&mut new, "status");
    status.insert("hard".to_owned(), old["spec"]["hard"].clone());
    status.insert("used".to_owned(), shown_amounts(&used));
    if status.get("hard").is_none_or(Value::is_null) || new["status"] == old["status"] {
        return Ok(Counted::All);
    }
    let (version, now) = (row.api_version(), server.clock.now_seconds());
    managed_fields::track_update(row.definition, &version, Some(&old), &mut new, MANAGER, Some("status"), now);
    let version = object::metadata_str(&old, "resourceVersion");
    let decide = |found: Value| {
        let unchanged = object::metadata_str(&found, "resourceVersion") == version;
        Ok(if unchanged { Update::Write(new.clone()) } else { Update::Keep(found) })
    };
    match server.storage.update(row, namespace, name, decide).await {
        Ok(updated) if updated.done == Done::Kept => Ok(Counted::NotAll),
        Ok(_) | Err(ApiError::NotFound(_)) => {
            debug!(%namespace, quota = %name, "counted what a quota allows");
            Ok(Counted::All)
        }
        Err(error) => Err(error),
    }
}

/// What the namespace's objects use of the quota's resources.
async fn used(server: &Server, namespace: &str, quota: &Value) -> Result<Amounts, ApiError> {
    let hard = requests::amounts(&quota["spec"]["hard"]);
    let mut sum: Amounts = hard.keys().map(|name| (name.clone(), Quantity::ZERO)).collect();
    let now = server.clock.now();
    let concerned = |row: &&Resource| hard.keys().any(|name| usage::concerns(row, name));
    for row in registry::all().iter().filter(|row| usage::is_counted(row, "", false)).filter(concerned) {
        let snapshot = server.caches.snapshot(row, &storage::prefix(row, namespace)).await?;
        for cached in &snapshot.objects {
            let object = cached.encoded.decode(row)?;
            if usage::in_scope(row, quota, &object) {
                let mut more = usage::of(row, &object, now);
                more.retain(|name, _| hard.contains_key(name));
                requests::add(&mut sum, &more);
            }
        }
    }
    Ok(sum)
}
