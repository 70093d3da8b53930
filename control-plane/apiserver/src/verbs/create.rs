//! Creating objects.

use super::{Call, admit, metadata, options::WriteOptions, update::manage};
use crate::{
    authorization::escalation,
    http::{
        body,
        reply::Reply,
        status::{ApiError, Target},
    },
    object, quota,
    registry::Part,
    storage::Encoded,
};
use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

/// Names tried for an object that lets the server choose.
const NAME_ATTEMPTS_MAX: usize = 8;

/// `POST …/{resource}`
///
/// # Errors
/// 400, 403, 404 (the namespace), 409, 415, 422.
pub async fn create(call: &Call, body: Bytes) -> Result<Reply, ApiError> {
    let options = WriteOptions::parse("CreateOptions", &call.query, &call.headers)?;
    let decoded = body::decode(body::Expected::of(call.row), &call.headers, &body, options.validation)?;
    let (mut object, mut warnings) = (decoded.object, decoded.warnings);
    call.settle_namespace(&mut object)?;
    call.row.strategy.default(&mut object);
    let created = create_object(call, object, &options, Managed::ByUpdate, &mut warnings).await?;
    Ok(Reply::object(call.row, created).with_code(StatusCode::CREATED).with_warnings(warnings))
}

/// Who has written `metadata.managedFields`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Managed {
    /// Nobody yet: the write is an update.
    ByUpdate,
    /// The server-side apply that made the object.
    ByApply,
}

/// Stores a decoded, defaulted object: admission, system fields, validation.
///
/// # Errors
/// 403, 404 (the namespace), 409, 422.
pub async fn create_object(
    call: &Call,
    mut object: Value,
    options: &WriteOptions,
    managed: Managed,
    warnings: &mut Vec<String>,
) -> Result<Encoded, ApiError> {
    if managed == Managed::ByUpdate {
        manage(call, None, &mut object, options);
    }
    admit::admit(call, &mut object, None).await?;
    escalation::check(call, &object, None).await?;
    metadata::fill_new(call.row, &mut object, &call.server.entropy, call.server.clock.now_seconds())?;
    call.row.strategy.prepare_for_create(&mut object);
    let generated = metadata::generate_name(&mut object, &call.server.entropy);
    let errors = metadata::validate_new(call.row, &object);
    if !errors.is_empty() {
        return Err(ApiError::Invalid(Target::kind(call.row, object::name(&object)), errors));
    }
    warnings.extend(call.row.strategy.warnings(&object));
    let claims = call.server.allocators.claim(call.row, &mut object, None)?;
    let _claimed = quota::claim(call, &object, None, options.dry_run).await?;
    if options.dry_run {
        return Ok(Encoded::unstored(&object)); // the claims are given back
    }
    let stored = store(call, object, generated).await?;
    claims.keep();
    Ok(stored)
}

async fn store(call: &Call, mut object: Value, generated: bool) -> Result<Encoded, ApiError> {
    let mut attempts = if generated { NAME_ATTEMPTS_MAX } else { 1 };
    loop {
        attempts -= 1;
        match call.server.storage.create(call.row, &object).await {
            Err(ApiError::AlreadyExists(_)) if attempts > 0 => {
                let name = metadata::generated(object::metadata_str(&object, "generateName"), &call.server.entropy);
                object::metadata_mut(&mut object).insert("name".to_owned(), name.into());
            }
            result => return result,
        }
    }
}

/// The part of an object that a request's path writes.
pub fn part_of(subresource: &str) -> Part {
    match subresource {
        "status" => Part::Status,
        "ephemeralcontainers" => Part::EphemeralContainers,
        "resize" => Part::Resize,
        _ => Part::Main,
    }
}
