//! Replacing objects, and the steps that every kind of update goes through.

use super::{
    Call, admit,
    create::{self, Managed, part_of},
    metadata,
    options::WriteOptions,
};
use crate::{
    allocate::Claims,
    authorization::escalation,
    http::{
        body,
        reply::Reply,
        status::{ApiError, Target},
    },
    object,
    patch::managed_fields,
    quota,
    registry::{Part, metadata as rules},
    schema::Decoded,
    storage::{self, Done, Encoded, Update, Updated, Written},
};
use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

/// Attempts to write an object that others keep changing.
const ATTEMPTS_MAX: usize = 16;

/// Makes the next version of an object from the current one; may be called
/// several times.
pub type Edit<'a> = &'a (dyn Fn(&Value) -> Result<Decoded, ApiError> + Send + Sync);

/// `PUT …/{name}` and `PUT …/{name}/status`
///
/// # Errors
/// 400, 403, 404, 409, 415, 422.
pub async fn update(call: &Call, body: Bytes) -> Result<Reply, ApiError> {
    let options = WriteOptions::parse("UpdateOptions", &call.query, &call.headers)?;
    let decoded = body::decode(body::Expected::of(call.row), &call.headers, &body, options.validation)?;
    let Decoded { mut object, mut warnings } = decoded;
    call.settle_namespace(&mut object)?;
    call.check_name(&object)?;
    call.row.strategy.default(&mut object);
    let edit = |old: &Value| {
        check_uid(call, &object, old)?;
        Ok(Decoded { object: object.clone(), warnings: Vec::new() })
    };
    match update_object(call, &options, &edit, Managed::ByUpdate, &mut warnings).await {
        Err(ApiError::NotFound(_))
            if call.row.strategy.allow_create_on_update() && call.info.subresource.is_empty() =>
        {
            object::metadata_mut(&mut object).remove("resourceVersion");
            let created = create::create_object(call, object, &options, Managed::ByUpdate, &mut warnings).await?;
            Ok(Reply::object(call.row, created).with_code(StatusCode::CREATED).with_warnings(warnings))
        }
        result => Ok(Reply::object(call.row, result?.object).with_warnings(warnings)),
    }
}

/// A PUT that names another uid is about another object.
fn check_uid(call: &Call, new: &Value, old: &Value) -> Result<(), ApiError> {
    let (wanted, found) = (object::uid(new), object::uid(old));
    if wanted.is_empty() || wanted == found {
        return Ok(());
    }
    let key = storage::key(call.row, call.namespace(), &call.info.name);
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition \
         failed: UID in precondition: {wanted}, UID in object meta: {found}"
    );
    Err(ApiError::Conflict(Target::object(call.row, &call.info.name), why))
}

/// Reads, edits, checks and writes the object of the call; again when somebody
/// else wrote meanwhile. Cancel safety: the write happens or not as a whole.
///
/// # Errors
/// 403, 404, 409, 422 and what `edit` says.
pub async fn update_object(
    call: &Call,
    options: &WriteOptions,
    edit: Edit<'_>,
    managed: Managed,
    warnings: &mut Vec<String>,
) -> Result<Updated, ApiError> {
    let (storage, row, name) = (&call.server.storage, call.row, call.info.name.as_str());
    let key = storage::key(row, call.namespace(), name);
    let mut found = storage.entry(&key).await?;
    for _ in 0..ATTEMPTS_MAX {
        let entry = found.ok_or_else(|| ApiError::NotFound(Target::object(row, name)))?;
        let old = Encoded::stored(entry.value.clone(), entry.modified).decode(row)?;
        let Decoded { object: new, warnings: said } = edit(&old)?;
        let mut new = finished(call, new, &old, options, managed).await?;
        let claims = call.server.allocators.claim(row, &mut new, Some(&old))?;
        let _claimed = quota::claim(call, &new, Some(&old), options.dry_run).await?;
        let warned = row.strategy.warnings(&new);
        match storage.write(row, &entry, decision(new, &old, options)).await? {
            Written::Done(updated) => {
                settle(call, claims, &updated, &old);
                warnings.extend(said.into_iter().chain(warned));
                return Ok(updated);
            }
            Written::Changed(now) => found = now,
        }
    }
    Err(ApiError::modified(row, name))
}

/// What a Service claimed is its own once it is written.
fn settle(call: &Call, claims: Claims, updated: &Updated, old: &Value) {
    match updated.done {
        Done::Written => claims.keep(),
        Done::Kept => {}
        Done::Deleted => call.server.allocators.release(call.row, old),
    }
}

fn decision(new: Value, old: &Value, options: &WriteOptions) -> Update {
    if options.dry_run {
        Update::Keep(new)
    } else if metadata::deletion_is_complete(&new, old) {
        Update::Delete(new)
    } else {
        Update::Write(new)
    }
}

/// The checks and changes between an edit and its write, in upstream's order.
async fn finished(
    call: &Call,
    mut new: Value,
    old: &Value,
    options: &WriteOptions,
    managed: Managed,
) -> Result<Value, ApiError> {
    let (row, part) = (call.row, part_of(&call.info.subresource));
    check_version(call, &new, old)?;
    // Upstream does not track who writes ephemeral containers.
    if managed == Managed::ByUpdate && part != Part::EphemeralContainers {
        manage(call, Some(old), &mut new, options);
    }
    admit::admit(call, &mut new, Some(old)).await?;
    escalation::check(call, &new, Some(old)).await?;
    row.strategy.prepare_for_update(&mut new, old, part);
    metadata::keep_system_fields(&mut new, old);
    metadata::bump_generation(row, &mut new, old);
    let mut errors = rules::validate_update(&new, old);
    errors.extend(row.strategy.validate_update(&new, old, part));
    if !errors.is_empty() {
        return Err(ApiError::Invalid(Target::kind(row, object::name(old)), errors));
    }
    managed_fields::keep_timestamps(old, &mut new);
    Ok(new)
}

/// Refuses an update that was made from another version.
fn check_version(call: &Call, new: &Value, old: &Value) -> Result<(), ApiError> {
    let (row, name) = (call.row, call.info.name.as_str());
    match object::metadata_str(new, "resourceVersion") {
        "" | "0" if row.strategy.allow_unconditional_update() => Ok(()),
        "" | "0" => {
            let error = rules::invalid_shown("metadata.resourceVersion", "0x0", "must be specified for an update");
            Err(ApiError::Invalid(Target::object(row, name), vec![error]))
        }
        version if version == object::metadata_str(old, "resourceVersion") => Ok(()),
        version if version.parse::<u64>().is_ok() => Err(ApiError::modified(row, name)),
        version => Err(ApiError::Untyped(format!("strconv.ParseUint: parsing {version:?}: invalid syntax"))),
    }
}

/// Records in `metadata.managedFields` who has written what. `old` is `None` for
/// a new object.
pub fn manage(call: &Call, old: Option<&Value>, new: &mut Value, options: &WriteOptions) {
    let row = call.row;
    let (version, now) = (row.api_version(), call.server.clock.now_seconds());
    let subresource = Some(call.info.subresource.as_str()).filter(|subresource| !subresource.is_empty());
    managed_fields::track_update(row.definition, &version, old, new, &options.field_manager, subresource, now);
}
