//! `pods/{name}/binding` and `bindings`: the scheduler's word on where a pod
//! runs (upstream: `registry/core/pod/storage.BindingREST`).

use crate::{
    http::{
        body,
        reply::Reply,
        status::{ApiError, Target},
    },
    object,
    registry::core::pod,
    storage::Update,
    verbs::{Call, metadata, options::WriteOptions},
};
use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

const EXPECTED: body::Expected<'static> =
    body::Expected { group: "", version: "v1", kind: "Binding", definition: "io.k8s.api.core.v1.Binding" };

/// `POST pods/{name}/binding` and `POST bindings`
///
/// # Errors
/// 400, 404, 409 when the pod is bound or going away, 500 without a target.
pub async fn create(call: &Call, body: Bytes) -> Result<Reply, ApiError> {
    let options = WriteOptions::parse("CreateOptions", &call.query, &call.headers)?;
    let binding = body::decode(EXPECTED, &call.headers, &body, options.validation)?.object;
    let name = match (call.info.name.as_str(), object::name(&binding)) {
        ("", name) => name,
        (name, said) if said.is_empty() || said == name => name,
        (name, said) => {
            let text = format!("the name of the object ({said}) does not match the name on the URL ({name})");
            return Err(ApiError::BadRequest(text));
        }
    };
    check_target(&binding)?;
    let now = call.server.clock.now_seconds();
    let bind = |pod: Value| {
        let bound = bound(pod, name, &binding, now)?;
        Ok(if options.dry_run { Update::Keep(bound) } else { Update::Write(bound) })
    };
    call.server.storage.update(&pod::RESOURCE, call.namespace(), name, bind).await?;
    let success = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(Reply::value(success).with_code(StatusCode::CREATED))
}

fn check_target(binding: &Value) -> Result<(), ApiError> {
    match (object::str_at(binding, "target.kind"), object::str_at(binding, "target.name")) {
        (kind, _) if !matches!(kind, "" | "Node") => {
            let text = format!("target.kind: Unsupported value: {kind:?}: supported values: \"Node\", \"<empty>\"");
            Err(ApiError::Untyped(text))
        }
        (_, "") => Err(ApiError::Untyped("target.name: Required value".to_owned())),
        _ => Ok(()),
    }
}

/// The pod on its node.
fn bound(mut pod: Value, name: &str, binding: &Value, now: Timestamp) -> Result<Value, ApiError> {
    let conflict = |why: String| {
        let target = Target { resource: "pods/binding".to_owned(), name: name.to_owned(), ..Target::default() };
        Err(ApiError::Conflict(target, why))
    };
    let wanted = object::uid(binding);
    if !wanted.is_empty() && wanted != object::uid(&pod) {
        let found = object::uid(&pod);
        return conflict(format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"));
    }
    if metadata::is_deleting(&pod) {
        return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let assigned = object::str_at(&pod, "spec.nodeName");
    if !assigned.is_empty() {
        return conflict(format!("pod {name} is already assigned to node {assigned:?}"));
    }
    if !object::list_at(&pod, "spec.schedulingGates").is_empty() {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let node = object::str_at(binding, "target.name").to_owned();
    object::map_mut(&mut pod, "spec").insert("nodeName".to_owned(), node.into());
    add_annotations(&mut pod, binding);
    set_scheduled(&mut pod, now);
    Ok(pod)
}

fn add_annotations(pod: &mut Value, binding: &Value) {
    let Some(more) = object::metadata(binding).get("annotations").and_then(Value::as_object) else { return };
    let metadata = object::metadata_mut(pod);
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.extend(more.clone());
    }
}

/// The condition `PodScheduled` is true from now on.
fn set_scheduled(pod: &mut Value, now: Timestamp) {
    let time = metadata::time(now);
    let condition =
        json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": time});
    object::set_condition(pod, condition);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_bound_once() {
        let now = Timestamp::from_second(0).expect("valid");
        let binding = json!({"metadata": {"annotations": {"a": "b"}}, "target": {"name": "n1"}});
        let pod = bound(json!({"spec": {}}), "p", &binding, now).expect("free");
        assert_eq!(
            (pod["spec"]["nodeName"].as_str(), pod["metadata"]["annotations"]["a"].as_str()),
            (Some("n1"), Some("b"))
        );
        assert_eq!(pod["status"]["conditions"][0]["status"], "True");
        let error = bound(pod, "p", &binding, now).expect_err("bound");
        let text = "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\"";
        assert_eq!(error.status()["message"], text);
    }
}
