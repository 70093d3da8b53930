//! Questions that are asked by POST and answered at once; nothing is kept
//! (upstream: `registry/authentication`, `registry/authorization`). Called by the
//! router for the kinds of [`crate::registry::reviews`].

mod access;
mod identity;

use crate::{
    http::{
        body::{self, Expected},
        reply::Reply,
        status::ApiError,
    },
    object,
    patch::managed_fields,
    registry::{Resource, reviews},
    verbs::{Call, options::WriteOptions},
};
use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

/// Whether the kind is a question.
pub fn is_review(row: &Resource) -> bool {
    row.group == reviews::AUTHENTICATION || row.group == reviews::AUTHORIZATION
}

/// `POST …/{review}`: the question with its answer in the status.
///
/// # Errors
/// 400, 422.
pub async fn create(call: &Call, body: Bytes) -> Result<Reply, ApiError> {
    let options = WriteOptions::parse("CreateOptions", &call.query, &call.headers)?;
    let decoded = body::decode(Expected::of(call.row), &call.headers, &body, options.validation)?;
    let (mut review, warnings) = (decoded.object, decoded.warnings);
    call.settle_namespace(&mut review)?;
    object::map_mut(&mut review, "metadata").insert("creationTimestamp".to_owned(), Value::Null);
    let (row, now) = (call.row, call.server.clock.now_seconds());
    let version = row.api_version();
    managed_fields::track_update(row.definition, &version, None, &mut review, &options.field_manager, None, now);
    let status = match row.kind {
        "SelfSubjectReview" => identity::who_am_i(call, &mut review),
        "TokenReview" => identity::token(call, &review).await?,
        "SelfSubjectRulesReview" => access::rules(call, &review).await?,
        _ => access::decide(call, &review).await?,
    };
    review["status"] = status;
    Ok(Reply::value(review).with_code(StatusCode::CREATED).with_warnings(warnings))
}
