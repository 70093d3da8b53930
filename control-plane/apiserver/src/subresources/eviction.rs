//! `pods/{name}/eviction`: a deletion that disruption budgets may hold back
//! (upstream: `registry/core/pod/storage.EvictionREST`).

use super::budget;
use crate::{
    admission,
    http::{body, reply::Reply, status::ApiError},
    object,
    storage::Update,
    verbs::{
        Call, admit,
        delete::delete_object,
        metadata,
        options::{DeleteOptions, WriteOptions},
    },
};
use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

const EXPECTED: body::Expected<'static> =
    body::Expected { group: "policy", version: "v1", kind: "Eviction", definition: "io.k8s.api.policy.v1.Eviction" };

/// `POST pods/{name}/eviction`
///
/// # Errors
/// 400, 404, 409, 429.
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
    let pod = call.server.storage.get(call.row, call.namespace(), &call.info.name).await?.decode(call.row)?;
    admission::admit_eviction(&call.user, &pod).map_err(|refusal| admit::refused(call, &call.info.name, refusal))?;
    budget::take(call, &pod, delete.dry_run).await?;
    if !delete.dry_run {
        let now = call.server.clock.now_seconds();
        let mark = |pod: Value| Ok(Update::Write(marked(pod, now)));
        call.server.storage.update(call.row, call.namespace(), &call.info.name, mark).await?;
    }
    delete_object(call, &call.info.name, &delete).await?;
    let success = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(Reply::value(success).with_code(StatusCode::CREATED))
}

/// The pod with the condition that says why it goes.
fn marked(mut pod: Value, now: Timestamp) -> Value {
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastProbeTime": null, "lastTransitionTime": metadata::time(now),
    });
    object::set_condition(&mut pod, condition);
    pod
}
