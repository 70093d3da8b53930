//! What is wrong with a container's environment, and with references to fields
//! and resources (downward API), which volumes have too. Called by the
//! validation of containers and volumes.

use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::names;
use crate::schema::FieldError;
use serde_json::Value;

/// Fields of a pod that environment variables can show.
const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Fields of a pod that files can show.
pub(super) const VOLUME_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// Fields that a reference can name at all.
const FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Where a reference to a resource stands: only a volume must name the container.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Env,
    Volume,
}

/// `env` and `envFrom` of the container at `path`.
pub(super) fn validate(container: &Value, path: &str, errors: &mut Errors) {
    for (index, variable) in object::list_at(container, "env").iter().enumerate() {
        let path = format!("{path}.env[{index}]");
        if check::required(variable, &path, "name", errors) {
            let name = object::str_at(variable, "name");
            check::messages(&format!("{path}.name"), name, names::env_name(name), errors);
        }
        if variable["valueFrom"].is_object() {
            value_from(variable, &format!("{path}.valueFrom"), errors);
        }
    }
    for (index, source) in object::list_at(container, "envFrom").iter().enumerate() {
        env_from(source, &format!("{path}.envFrom[{index}]"), errors);
    }
}

fn value_from(variable: &Value, path: &str, errors: &mut Errors) {
    let from = &variable["valueFrom"];
    let mut count = 0;
    for kind in ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"] {
        let (reference, path) = (&from[kind], format!("{path}.{kind}"));
        if !reference.is_object() {
            continue;
        }
        count += 1;
        match kind {
            "fieldRef" => field_ref(reference, ENV_FIELDS, &path, errors),
            "resourceFieldRef" => resource_field_ref(reference, Place::Env, &path, errors),
            _ => key_ref(reference, &path, errors),
        }
    }
    if count == 0 {
        let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
        errors.push(FieldError::invalid(path, "", detail));
    }
    if !object::str_at(variable, "value").is_empty() {
        if count != 0 {
            errors.push(FieldError::invalid(path, "", "may not be specified when `value` is not empty"));
        }
    } else if count > 1 {
        errors.push(FieldError::invalid(path, "", "may not have more than one field specified at a time"));
    }
}

fn env_from(source: &Value, path: &str, errors: &mut Errors) {
    let prefix = object::str_at(source, "prefix");
    if !prefix.is_empty() {
        check::messages(&format!("{path}.prefix"), prefix, names::env_name(prefix), errors);
    }
    let kinds: Vec<&str> = ["configMapRef", "secretRef"].into_iter().filter(|kind| source[*kind].is_object()).collect();
    for kind in &kinds {
        let path = format!("{path}.{kind}");
        if check::required(&source[*kind], &path, "name", errors) {
            object_name(&source[*kind], &path, errors);
        }
    }
    match kinds.len() {
        0 => errors.push(FieldError::invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")),
        1 => {}
        _ => errors.push(FieldError::invalid(path, "", "may not have more than one field specified at a time")),
    }
}

fn object_name(reference: &Value, path: &str, errors: &mut Errors) {
    let name = object::str_at(reference, "name");
    check::messages(&format!("{path}.name"), name, names::dns_subdomain(name, false), errors);
}

fn key_ref(reference: &Value, path: &str, errors: &mut Errors) {
    object_name(reference, path, errors);
    if check::required(reference, path, "key", errors) {
        let key = object::str_at(reference, "key");
        check::messages(&format!("{path}.key"), key, names::config_key(key), errors);
    }
}

/// A reference to a field of the pod, one of `allowed`.
pub(super) fn field_ref(reference: &Value, allowed: &[&str], path: &str, errors: &mut Errors) {
    if !check::required(reference, path, "apiVersion", errors) || !check::required(reference, path, "fieldPath", errors)
    {
        return;
    }
    let (field, target) = (format!("{path}.fieldPath"), object::str_at(reference, "fieldPath"));
    let version = object::str_at(reference, "apiVersion");
    let problem = match subscripted(target) {
        _ if version != "v1" => Some(format!("unsupported pod version: {version}")),
        Some(("metadata.annotations" | "metadata.labels", _)) => None,
        Some((base, _)) => Some(format!("field label does not support subscript: {base}")),
        None if FIELDS.contains(&target) => None,
        None => Some(format!("field label not supported: {target}")),
    };
    if let Some(problem) = problem {
        errors.push(FieldError::invalid(field, target, format!("error converting fieldPath: {problem}")));
        return;
    }
    match subscripted(target) {
        Some(("metadata.annotations", key)) => {
            check::messages(path, key, names::qualified_name(&key.to_lowercase()), errors);
        }
        Some((_, key)) => check::messages(path, key, names::qualified_name(key), errors),
        None if !allowed.contains(&target) => errors.push(FieldError::not_supported(field, target, allowed)),
        None => {}
    }
}

/// `metadata.labels['key']` as base and key.
fn subscripted(path: &str) -> Option<(&str, &str)> {
    let (base, rest) = path.split_once("['")?;
    let key = rest.strip_suffix("']")?;
    (!base.is_empty()).then_some((base, key))
}

/// A reference to a request or limit of a container.
pub(super) fn resource_field_ref(reference: &Value, place: Place, path: &str, errors: &mut Errors) {
    let resource = object::str_at(reference, "resource");
    if place == Place::Volume && object::str_at(reference, "containerName").is_empty() {
        errors.push(FieldError::required(format!("{path}.containerName"), ""));
    } else if resource.is_empty() {
        errors.push(FieldError::required(format!("{path}.resource"), ""));
    } else if !RESOURCES.contains(&resource) && !is_huge_pages(resource) {
        errors.push(FieldError::not_supported(format!("{path}.resource"), resource, RESOURCES));
    }
    divisor(resource, object::str_at(reference, "divisor"), path, errors);
}

fn is_huge_pages(resource: &str) -> bool {
    resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-")
}

fn divisor(resource: &str, divisor: &str, path: &str, errors: &mut Errors) {
    const CPU: &[&str] = &["1m", "1"];
    const BYTES: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    let (what, supported) = match resource.rsplit('.').next().unwrap_or_default() {
        "cpu" => ("cpu", CPU),
        "memory" => ("memory", BYTES),
        "ephemeral-storage" => ("local ephemeral storage", BYTES),
        _ => return,
    };
    if !divisor.is_empty() && divisor != "0" && !supported.contains(&divisor) {
        let plural = if what == "cpu" { "1m and 1" } else { "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei" };
        let verb = if what == "cpu" { "resource" } else { "resources" };
        let detail = format!("only divisor's values {plural} are supported with the {what} {verb}");
        errors.push(FieldError::invalid(format!("{path}.divisor"), divisor, detail));
    }
}
