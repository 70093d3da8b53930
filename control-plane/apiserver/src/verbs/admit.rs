//! Admission as the verbs use it: its view of other objects over the cache, and
//! its refusals as errors.

use super::Call;
use crate::{
    Server,
    admission::{self, AdmissionRequest, Lookup, Operation, Refusal},
    cache::CachedObject,
    http::status::{ApiError, Target},
    registry::Resource,
    storage,
};
use async_trait::async_trait;
use serde_json::Value;
use std::sync::Arc;

/// Objects as admission may see them: the cache, and the store for what the
/// cache does not have yet.
struct CacheLookup<'a>(&'a Server);

#[async_trait]
impl Lookup for CacheLookup<'_> {
    async fn get(&self, row: &'static Resource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let cache = self.0.caches.of(row).await.ok()?;
        let cached = cache.get(&storage::key(row, namespace, name)).and_then(|object| decoded(row, &object));
        if cached.is_some() {
            return cached;
        }
        let stored = self.0.storage.get(row, namespace, name).await.ok()?;
        stored.decode(row).ok().map(Arc::new)
    }

    async fn list(&self, row: &'static Resource, namespace: &str) -> Vec<Arc<Value>> {
        let snapshot = self.0.caches.snapshot(row, &storage::prefix(row, namespace)).await;
        let Ok(snapshot) = snapshot else { return Vec::new() };
        snapshot.objects.iter().filter_map(|object| decoded(row, object)).collect()
    }
}

fn decoded(row: &Resource, object: &CachedObject) -> Option<Arc<Value>> {
    object.encoded.decode(row).ok().map(Arc::new)
}

fn request<'a>(call: &'a Call, operation: Operation, name: &'a str) -> AdmissionRequest<'a> {
    AdmissionRequest {
        operation,
        resource: call.row,
        subresource: &call.info.subresource,
        namespace: call.namespace(),
        name,
        user: &call.user,
    }
}

/// Lets admission change or refuse a new object or a new version of `old`.
///
/// # Errors
/// 403 or 404.
pub async fn admit(call: &Call, object: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
    let operation = if old.is_some() { Operation::Update } else { Operation::Create };
    let name = crate::object::name(object).to_owned();
    let (request, lookup) = (request(call, operation, &name), CacheLookup(&call.server));
    let admitted = admission::admit(&request, object, old, &lookup, &call.server.entropy).await;
    admitted.map_err(|refusal| refused(call, &name, refusal))
}

/// Lets admission refuse a deletion.
///
/// # Errors
/// 403.
pub async fn admit_delete(call: &Call, name: &str) -> Result<(), ApiError> {
    let (request, lookup) = (request(call, Operation::Delete, name), CacheLookup(&call.server));
    admission::admit_delete(&request, &lookup).await.map_err(|refusal| refused(call, name, refusal))
}

/// A refusal as the error of a request about `name`.
pub fn refused(call: &Call, name: &str, refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::Forbidden { message, cause } => {
            let target = Target::object(call.row, name);
            ApiError::Forbidden(target, message, cause.map(Box::new))
        }
        Refusal::NotFound { resource, name } => {
            ApiError::NotFound(Target { group: String::new(), resource: resource.to_owned(), name })
        }
    }
}
