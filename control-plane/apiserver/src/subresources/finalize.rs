//! `namespaces/{name}/finalize`: writes `spec.finalizers` and nothing else
//! (upstream: `registry/core/namespace/storage.FinalizeREST`). The namespace
//! controller calls it when a namespace is empty.

use crate::{
    http::{body, reply::Reply, status::ApiError},
    object,
    storage::Update,
    verbs::{Call, options::WriteOptions, update::manage},
};
use bytes::Bytes;
use serde_json::Value;

/// `PUT namespaces/{name}/finalize`
///
/// # Errors
/// 400, 404, 409.
pub async fn update(call: &Call, body: Bytes) -> Result<Reply, ApiError> {
    let options = WriteOptions::parse("UpdateOptions", &call.query, &call.headers)?;
    let sent = body::decode(body::Expected::of(call.row), &call.headers, &body, options.validation)?.object;
    call.check_name(&sent)?;
    let finalizers = object::list_at(&sent, "spec.finalizers").to_vec();
    let version = object::metadata_str(&sent, "resourceVersion").to_owned();
    let write = |mut namespace: Value| {
        if !version.is_empty() && version != object::metadata_str(&namespace, "resourceVersion") {
            return Err(ApiError::modified(call.row, &call.info.name));
        }
        let old = namespace.clone();
        let spec = object::map_mut(&mut namespace, "spec");
        match finalizers.is_empty() {
            true => drop(spec.remove("finalizers")),
            false => drop(spec.insert("finalizers".to_owned(), finalizers.clone().into())),
        }
        manage(call, Some(&old), &mut namespace, &options);
        Ok(if options.dry_run { Update::Keep(namespace) } else { Update::Write(namespace) })
    };
    let updated = call.server.storage.update(call.row, "", &call.info.name, write).await?;
    Ok(Reply::object(call.row, updated.object))
}
