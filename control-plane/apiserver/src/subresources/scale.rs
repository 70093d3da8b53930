//! `scale`: the `autoscaling/v1.Scale` view of Deployments and ReplicaSets
//! (upstream: `registry/apps/deployment/storage.ScaleREST`).

use crate::{
    http::{
        body::{self, Expected},
        negotiate,
        reply::Reply,
        status::{ApiError, Details, Target},
    },
    object, patch,
    schema::{self, Decoded, FieldError},
    selector::Labels,
    verbs::{Call, create::Managed, options::WriteOptions, update::update_object},
};
use bytes::Bytes;
use serde_json::{Map, Value, json};

const EXPECTED: Expected<'static> =
    Expected { group: "autoscaling", version: "v1", kind: "Scale", definition: "io.k8s.api.autoscaling.v1.Scale" };

/// `GET …/scale`
///
/// # Errors
/// 404.
pub async fn get(call: &Call) -> Result<Reply, ApiError> {
    let object = call.server.storage.get(call.row, call.namespace(), &call.info.name).await;
    let object = object.map_err(|error| about_scale(call, error))?;
    Ok(Reply::value(scale_of(&object.decode(call.row)?)))
}

/// `PUT …/scale`
///
/// # Errors
/// 400, 404, 409, 422.
pub async fn update(call: &Call, body: Bytes) -> Result<Reply, ApiError> {
    let options = WriteOptions::parse("UpdateOptions", &call.query, &call.headers)?;
    let scale = body::decode(EXPECTED, &call.headers, &body, options.validation)?.object;
    call.check_name(&scale)?;
    write(call, &options, &|_| Ok(scale.clone())).await
}

/// `PATCH …/scale`
///
/// # Errors
/// 400, 404, 409, 415, 422.
pub async fn patch(call: &Call, body: Bytes) -> Result<Reply, ApiError> {
    let options = WriteOptions::parse("PatchOptions", &call.query, &call.headers)?;
    let strategic = negotiate::content_type(&call.headers) == "application/strategic-merge-patch+json";
    let strategic = if strategic { Some(patch::decode_strategic(&body)?) } else { None };
    let edit = |scale: &Value| {
        let patched = match (negotiate::content_type(&call.headers), &strategic) {
            (_, Some(body)) => patch::strategic(EXPECTED.definition, scale, body)?,
            ("application/json-patch+json", _) => patch::json_patch(scale, &body)?,
            ("application/merge-patch+json", _) => patch::merge_patch(scale, &body)?,
            _ => {
                let text = "415: Unsupported Media Type".to_owned();
                return Err(ApiError::UnsupportedMediaType(text, Details::Empty));
            }
        };
        let decoded = schema::normalize(EXPECTED.definition, patched, options.validation);
        decoded.map(|decoded| decoded.object).map_err(|error| ApiError::BadRequest(error.to_string()))
    };
    write(call, &options, &edit).await
}

type EditScale<'a> = &'a (dyn Fn(&Value) -> Result<Value, ApiError> + Send + Sync);

async fn write(call: &Call, options: &WriteOptions, edit: EditScale<'_>) -> Result<Reply, ApiError> {
    let edit = |old: &Value| {
        let scale = edit(&scale_of(old))?;
        let replicas = replicas(call, &scale)?;
        let mut object = old.clone();
        object::map_mut(&mut object, "spec").insert("replicas".to_owned(), replicas.into());
        let version = object::metadata_str(&scale, "resourceVersion");
        if version.is_empty() {
            object::metadata_mut(&mut object).remove("resourceVersion");
        } else {
            object::metadata_mut(&mut object).insert("resourceVersion".to_owned(), version.into());
        }
        Ok(Decoded { object, warnings: Vec::new() })
    };
    let mut warnings = Vec::new();
    let updated = update_object(call, options, &edit, Managed::ByUpdate, &mut warnings).await;
    let object = updated.map_err(|error| about_scale(call, error))?.object.decode(call.row)?;
    Ok(Reply::value(scale_of(&object)).with_warnings(warnings))
}

fn replicas(call: &Call, scale: &Value) -> Result<i64, ApiError> {
    let replicas = object::at(scale, "spec.replicas").and_then(Value::as_i64).unwrap_or(0);
    if replicas >= 0 {
        return Ok(replicas);
    }
    let target = Target { group: "autoscaling".to_owned(), resource: "Scale".to_owned(), name: call.info.name.clone() };
    let error = FieldError::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
    Err(ApiError::Invalid(target, vec![error]))
}

/// A missing object is a missing `deployments/scale`.
fn about_scale(call: &Call, error: ApiError) -> ApiError {
    match error {
        ApiError::NotFound(target) => {
            ApiError::NotFound(Target { resource: format!("{}/scale", call.row.plural), ..target })
        }
        other => other,
    }
}

fn scale_of(object: &Value) -> Value {
    let metadata = object::metadata(object);
    let fields = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];
    let metadata: Map<String, Value> =
        fields.into_iter().filter_map(|field| Some((field.to_owned(), metadata.get(field)?.clone()))).collect();
    let count = |path: &str| object::at(object, path).and_then(Value::as_i64).unwrap_or(0);
    // Go leaves out a zero here, but not in the status.
    let spec = match count("spec.replicas") {
        0 => json!({}),
        replicas => json!({"replicas": replicas}),
    };
    let mut status = json!({"replicas": count("status.replicas")});
    if let Some(selector) = object::at(object, "spec.selector").and_then(Labels::from_object) {
        status["selector"] = selector.to_string().into();
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_view_has_the_selector_as_text() {
        let object =
            json!({"metadata": {"name": "a", "labels": {}}, "spec": {"selector": {"matchLabels": {"app": "a"}}}});
        let scale = scale_of(&object);
        assert_eq!((&scale["spec"], &scale["metadata"]), (&json!({}), &json!({"name": "a"})));
        assert_eq!(scale["status"], json!({"replicas": 0, "selector": "app=a"}));
    }
}
