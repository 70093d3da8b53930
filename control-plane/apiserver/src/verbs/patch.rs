//! Patching objects: the four kinds of patch share the steps of an update.

use super::{Call, create::Managed, options::WriteOptions, update::update_object};
use crate::{
    http::{
        body, negotiate,
        reply::Reply,
        status::{ApiError, Details, Target},
    },
    object,
    patch::{self, Error},
    schema::{self, Decoded, FieldError},
};
use bytes::Bytes;
use serde_json::Value;

/// The body of a patch, by its content type.
enum Patch {
    Json(Bytes),
    Merge(Bytes),
    Strategic(Value),
}

/// `PATCH …/{name}` and `PATCH …/{name}/status`
///
/// # Errors
/// 400, 403, 404, 409, 415, 422, and 500 where upstream has no better one.
pub async fn patch(call: &Call, body: Bytes) -> Result<Reply, ApiError> {
    let options = WriteOptions::parse("PatchOptions", &call.query, &call.headers)?;
    let patch = Patch::read(call, body)?;
    if options.force.is_some() {
        let error = FieldError::forbidden("force", "may not be specified for non-apply patch");
        return Err(ApiError::invalid_option("PatchOptions", error));
    }
    let mut warnings = Vec::new();
    let edit = |old: &Value| patched(call, &patch, old, &options);
    let updated = update_object(call, &options, &edit, Managed::ByUpdate, &mut warnings).await?;
    Ok(Reply::object(call.row, updated.object).with_warnings(warnings))
}

impl Patch {
    fn read(call: &Call, body: Bytes) -> Result<Self, ApiError> {
        match negotiate::content_type(&call.headers) {
            "application/json-patch+json" => Ok(Self::Json(body)),
            "application/merge-patch+json" => Ok(Self::Merge(body)),
            "application/strategic-merge-patch+json" => {
                Ok(Self::Strategic(patch::decode_strategic(&body).map_err(ApiError::from)?))
            }
            _ => Err(ApiError::UnsupportedMediaType("415: Unsupported Media Type".to_owned(), Details::Empty)),
        }
    }

    fn apply(&self, call: &Call, old: &Value) -> Result<Value, Error> {
        match self {
            Self::Json(body) => patch::json_patch(old, body),
            Self::Merge(body) => patch::merge_patch(old, body),
            Self::Strategic(body) => patch::strategic(call.row.definition, old, body),
        }
    }
}

fn patched(call: &Call, patch: &Patch, old: &Value, options: &WriteOptions) -> Result<Decoded, ApiError> {
    let value = patch.apply(call, old)?;
    let decoded = schema::normalize(call.row.definition, value.clone(), options.validation);
    let mut decoded = decoded.map_err(|error| unreadable(patch, &value, &error.to_string()))?;
    call.settle_namespace(&mut decoded.object)?;
    call.check_name(&decoded.object)?;
    body::name_type(body::Expected::of(call.row), &mut decoded.object);
    call.row.strategy.default(&mut decoded.object);
    Ok(decoded)
}

/// The result of a patch is no object of the kind.
fn unreadable(patch: &Patch, value: &Value, why: &str) -> ApiError {
    let shown = match patch {
        Patch::Strategic(body) => object::go_map(body),
        _ => format!("{:?}", value.to_string()),
    };
    let error = crate::registry::metadata::invalid_shown("patch", &shown, why);
    ApiError::Invalid(Target::default(), vec![error])
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::BadRequest(text) => Self::BadRequest(text),
            Error::TooLarge(_) => Self::TooLarge(body::BODY_BYTES_MAX),
            Error::Unprocessable(_) => Self::Unprocessable,
            Error::Internal(text) => Self::Untyped(text),
            Error::Conflict { message, causes } => Self::ApplyConflict { causes, message },
        }
    }
}
