//! Gives each pod a service account, its pull secrets, and a volume with its
//! token (upstream: `ServiceAccount`).

use super::{AdmissionRequest, Lookup, Refusal};
use crate::object;
use crate::registry::core::service_account;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use wk_platform::Entropy;

/// How the volume with the token is called, before a random suffix.
pub const API_ACCESS_PREFIX: &str = "kube-api-access-";

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
/// One hour and a bit: the bit tells our tokens from those somebody asked for.
const TOKEN_SECONDS: i64 = 3607;
const TOKEN_MODE: i64 = 0o644;

/// A namespace's own account is made by a controller a moment after the
/// namespace, so a pod that comes in between waits for it, up to a second.
const DEFAULT_ACCOUNT_ATTEMPTS: u32 = 10;
const DEFAULT_ACCOUNT_DELAY: Duration = Duration::from_millis(100);

pub(super) async fn admit(
    request: &AdmissionRequest<'_>,
    pod: &mut Value,
    lookup: &dyn Lookup,
    entropy: &Entropy,
) -> Result<(), Refusal> {
    let annotations = object::metadata(pod).get("annotations");
    if annotations.and_then(|annotations| annotations.get(MIRROR_ANNOTATION)).is_some() {
        return refuse_account_of_mirror(pod);
    }
    if object::str_at(pod, "spec.serviceAccountName").is_empty() {
        object::map_mut(pod, "spec").insert("serviceAccountName".to_owned(), json!("default"));
    }
    let name = object::str_at(pod, "spec.serviceAccountName").to_owned();
    let account = find(request.namespace, &name, lookup).await.ok_or_else(|| {
        let namespace = request.namespace;
        Refusal::forbidden(format!(
            "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
        ))
    })?;
    let spec = object::map_mut(pod, "spec");
    spec.insert("serviceAccount".to_owned(), json!(name)); // the deprecated name of the same field
    let wants_token = spec.get("automountServiceAccountToken").or_else(|| account.get("automountServiceAccountToken"));
    if wants_token != Some(&Value::Bool(false)) {
        mount_token(pod, || format!("{API_ACCESS_PREFIX}{}", entropy.suffix(5)));
    }
    add_pull_secrets(pod, &account);
    Ok(())
}

async fn find(namespace: &str, name: &str, lookup: &dyn Lookup) -> Option<Arc<Value>> {
    let attempts = if name == "default" { DEFAULT_ACCOUNT_ATTEMPTS } else { 1 };
    for attempt in 0..attempts {
        if attempt > 0 {
            tokio::time::sleep(DEFAULT_ACCOUNT_DELAY).await;
        }
        let account = lookup.get(&service_account::RESOURCE, namespace, name).await;
        if account.is_some() {
            return account;
        }
    }
    None
}

fn refuse_account_of_mirror(pod: &Value) -> Result<(), Refusal> {
    if object::str_at(pod, "spec.serviceAccountName").is_empty() {
        return Ok(());
    }
    Err(Refusal::forbidden("a mirror pod may not reference service accounts"))
}

/// Adds the volume with token, CA certificate and namespace, and mounts it in
/// every container that has nothing there yet. Calls `volume_name` when the
/// pod has no such volume.
pub fn mount_token(pod: &mut Value, volume_name: impl FnOnce() -> String) {
    let volumes = object::list_at(pod, "spec.volumes").iter().map(|volume| object::str_at(volume, "name"));
    let existing = volumes.into_iter().find(|name| name.starts_with(API_ACCESS_PREFIX)).map(str::to_owned);
    let is_new = existing.is_none();
    let name = existing.unwrap_or_else(volume_name);
    let mut mounted = false;
    let spec = object::map_mut(pod, "spec");
    for field in ["initContainers", "containers"] {
        for container in spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
            mounted |= mount_in(container, &name);
        }
    }
    if is_new && mounted {
        object::list_mut(spec, "volumes").push(token_volume(&name));
    }
}

fn mount_in(container: &mut Value, volume: &str) -> bool {
    let taken = |mount: &Value| mount["mountPath"] == MOUNT_PATH;
    let Some(container) = container.as_object_mut() else { return false };
    let mounts = object::list_mut(container, "volumeMounts");
    if mounts.iter().any(taken) {
        return false;
    }
    mounts.push(json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}));
    true
}

fn token_volume(name: &str) -> Value {
    let sources = json!([
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]);
    json!({"name": name, "projected": {"sources": sources, "defaultMode": TOKEN_MODE}})
}

fn add_pull_secrets(pod: &mut Value, account: &Value) {
    let secrets = object::list_at(account, "imagePullSecrets");
    if object::list_at(pod, "spec.imagePullSecrets").is_empty() && !secrets.is_empty() {
        object::map_mut(pod, "spec").insert("imagePullSecrets".to_owned(), json!(secrets));
    }
}
