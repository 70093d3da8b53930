//! Patching objects: the four kinds of patch share the steps of an update.

use super::{
    Call,
    create::{Managed, create_object},
    options::WriteOptions,
    update::update_object,
};
use crate::{
    http::{
        body, negotiate,
        reply::Reply,
        status::{ApiError, Details, Target},
        yaml,
    },
    object,
    patch::{self, Error, managed_fields},
    schema::{self, Decoded, FieldError},
};
use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

/// The body of a patch, by its content type.
enum Patch {
    Json(Bytes),
    Merge(Bytes),
    Strategic(Value),
    Apply(Value),
}

/// `PATCH …/{name}` and `PATCH …/{name}/status`
///
/// # Errors
/// 400, 403, 404, 409, 415, 422, and 500 where upstream has no better one.
pub async fn patch(call: &Call, body: Bytes) -> Result<Reply, ApiError> {
    let options = WriteOptions::parse("PatchOptions", &call.query, &call.headers)?;
    let patch = Patch::read(call, body)?;
    patch.check_options(&options)?;
    let managed = if matches!(patch, Patch::Apply(_)) { Managed::ByApply } else { Managed::ByUpdate };
    let mut warnings = Vec::new();
    let edit = |old: &Value| patched(call, &patch, Some(old), &options);
    match (update_object(call, &options, &edit, managed, &mut warnings).await, &patch) {
        (Err(ApiError::NotFound(target)), Patch::Apply(body))
            if target == Target::object(call.row, &call.info.name) =>
        {
            create_by_apply(call, body, &patch, &options).await
        }
        (result, _) => Ok(Reply::object(call.row, result?.object).with_warnings(warnings)),
    }
}

/// An apply of an object that does not exist creates it.
async fn create_by_apply(call: &Call, body: &Value, patch: &Patch, options: &WriteOptions) -> Result<Reply, ApiError> {
    let target = Target::object(call.row, &call.info.name);
    if !call.info.subresource.is_empty() {
        return Err(ApiError::NotFound(target));
    }
    if !object::uid(body).is_empty() {
        let uid = object::uid(body);
        let why = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
        return Err(ApiError::Conflict(target, why));
    }
    let Decoded { mut object, mut warnings } = patched(call, patch, None, options)?;
    object::metadata_mut(&mut object).remove("resourceVersion");
    let created = create_object(call, object, options, Managed::ByApply, &mut warnings).await?;
    Ok(Reply::object(call.row, created).with_code(StatusCode::CREATED).with_warnings(warnings))
}

impl Patch {
    fn read(call: &Call, body: Bytes) -> Result<Self, ApiError> {
        match negotiate::content_type(&call.headers) {
            "application/json-patch+json" => Ok(Self::Json(body)),
            "application/merge-patch+json" => Ok(Self::Merge(body)),
            "application/strategic-merge-patch+json" => {
                Ok(Self::Strategic(patch::decode_strategic(&body).map_err(ApiError::from)?))
            }
            "application/apply-patch+yaml" => Ok(Self::Apply(apply_body(&body)?)),
            _ => Err(ApiError::UnsupportedMediaType("415: Unsupported Media Type".to_owned(), Details::Empty)),
        }
    }

    /// Only an apply can be forced, and it must say who applies.
    fn check_options(&self, options: &WriteOptions) -> Result<(), ApiError> {
        let error = match (self, options.force) {
            (Self::Apply(_), _) if !options.manager_given => {
                FieldError::required("fieldManager", "is required for apply patch")
            }
            (Self::Json(_) | Self::Merge(_) | Self::Strategic(_), Some(_)) => {
                FieldError::forbidden("force", "may not be specified for non-apply patch")
            }
            _ => return Ok(()),
        };
        Err(ApiError::invalid_option("PatchOptions", error))
    }

    fn apply(&self, call: &Call, old: Option<&Value>, options: &WriteOptions) -> Result<Value, Error> {
        let definition = call.row.definition;
        let live = old.unwrap_or(&Value::Null);
        match self {
            Self::Json(body) => patch::json_patch(live, body),
            Self::Merge(body) => patch::merge_patch(live, body),
            Self::Strategic(body) => patch::strategic(definition, live, body),
            Self::Apply(body) => {
                let subresource = Some(call.info.subresource.as_str()).filter(|subresource| !subresource.is_empty());
                let (force, now) = (options.force == Some(true), call.server.clock.now_seconds());
                managed_fields::apply(definition, old, body, &options.field_manager, force, subresource, now)
            }
        }
    }
}

/// Apply patches are YAML, of which JSON is a part.
fn apply_body(body: &Bytes) -> Result<Value, ApiError> {
    serde_json::from_slice(body)
        .or_else(|_| yaml::parse(body))
        .map_err(|why| ApiError::BadRequest(format!("error decoding YAML: error converting YAML to JSON: yaml: {why}")))
}

fn patched(call: &Call, patch: &Patch, old: Option<&Value>, options: &WriteOptions) -> Result<Decoded, ApiError> {
    if let Patch::Apply(body) = patch {
        call.check_name(body)?;
    }
    let value = patch.apply(call, old, options)?;
    if let Some(why) = body::other_kind(body::Expected::of(call.row), &value) {
        return Err(unreadable(patch, &value, &why));
    }
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
        Patch::Strategic(body) => format!("{:?}", object::go_map(body)),
        _ => format!("{:?}", go_json(value)),
    };
    let error = crate::registry::metadata::invalid_shown("patch", &shown, why);
    ApiError::Invalid(Target::default(), vec![error])
}

/// Fields of the metadata in the order in which Go writes them.
const METADATA: [&str; 15] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// An object as Go writes it: sorted, but for the metadata.
fn go_json(object: &Value) -> String {
    let Some(fields) = object.as_object() else { return object.to_string() };
    let member = |name: &str, value: String| format!("{}:{value}", Value::from(name));
    let field = |(name, value): (&String, &Value)| match value.as_object().filter(|_| name == "metadata") {
        Some(metadata) => {
            let known = METADATA.iter().filter_map(|name| Some(member(name, metadata.get(*name)?.to_string())));
            let others = metadata.iter().filter(|(name, _)| !METADATA.contains(&name.as_str()));
            let others = others.map(|(name, value)| member(name, value.to_string()));
            member(name, format!("{{{}}}", known.chain(others).collect::<Vec<_>>().join(",")))
        }
        None => member(name, value.to_string()),
    };
    format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(","))
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_in_messages_are_written_as_go_does() {
        let object =
            json!({"kind": "K", "bogus": 1, "metadata": {"creationTimestamp": "t", "name": "a", "uid": "u", "x": 1}});
        let expected = r#"{"bogus":1,"kind":"K","metadata":{"name":"a","uid":"u","creationTimestamp":"t","x":1}}"#;
        assert_eq!(go_json(&object), expected);
    }
}
