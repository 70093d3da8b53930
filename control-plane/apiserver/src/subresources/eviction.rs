//! `pods/{name}/eviction`: a deletion that disruption budgets may hold back
//! (upstream: `registry/core/pod/storage.EvictionREST`). Budgets are no kind of
//! this build, so nothing holds an eviction back.

use crate::{
    http::{body, reply::Reply, status::ApiError},
    object,
    verbs::{
        Call,
        delete::delete_object,
        options::{DeleteOptions, WriteOptions},
    },
};
use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

const EXPECTED: body::Expected<'static> =
    body::Expected { group: "policy", version: "v1", kind: "Eviction", definition: "io.k8s.api.policy.v1.Eviction" };

/// `POST pods/{name}/eviction`
///
/// # Errors
/// 400, 404, 409.
pub async fn create(call: &Call, body: Bytes) -> Result<Reply, ApiError> {
    let options = WriteOptions::parse("CreateOptions", &call.query, &call.headers)?;
    let eviction = body::decode(EXPECTED, &call.headers, &body, options.validation)?.object;
    if object::name(&eviction) != call.info.name {
        return Err(ApiError::BadRequest("name in URL does not match name in Eviction object".to_owned()));
    }
    let asked = eviction.get("deleteOptions").filter(|options| options.is_object());
    let mut delete = match asked {
        Some(asked) => DeleteOptions::parse(&call.query, Some(asked))?,
        None => DeleteOptions::default(),
    };
    delete.dry_run |= options.dry_run;
    delete_object(call, &call.info.name, &delete).await?;
    let success = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(Reply::value(success).with_code(StatusCode::CREATED))
}
