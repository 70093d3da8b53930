//! What may change in a pod once it is there: nearly nothing (upstream:
//! `ValidatePodUpdate`, `ValidatePodEphemeralContainersUpdate`).

use super::validation;
use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::names;
use crate::schema::FieldError;
use serde_json::{Map, Value, json};

const INT32_MAX: i64 = i32::MAX as i64;
const MUTABLE: &str = "pod updates may not change fields other than \
    `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
    `spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// All that is wrong with a new version of a pod.
pub(super) fn main_part(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    validation::spec(&new["spec"], "spec", &mut errors);
    let (new, old) = (&new["spec"], &old["spec"]);
    for field in ["containers", "initContainers"] {
        if object::list_at(new, field).len() != object::list_at(old, field).len() {
            let detail = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(format!("spec.{field}"), detail));
            return errors;
        }
    }
    if !deadline(new, old, &mut errors) {
        return errors;
    }
    added_tolerations(new, old, &mut errors);
    removed_gates(new, old, &mut errors);
    let allowed = with_allowed_changes(new, old);
    if allowed != *old {
        errors.push(FieldError::forbidden("spec", format!("{MUTABLE}\n{}", shown_difference(&allowed, old))));
    }
    errors
}

/// A deadline can be set or brought forward; says whether to go on.
fn deadline(new: &Value, old: &Value, errors: &mut Errors) -> bool {
    const FIELD: &str = "spec.activeDeadlineSeconds";
    match (new["activeDeadlineSeconds"].as_i64(), old["activeDeadlineSeconds"].as_i64()) {
        (Some(seconds), _) if !(0..=INT32_MAX).contains(&seconds) => {
            errors.push(FieldError::invalid(FIELD, seconds, names::range(0, INT32_MAX)));
            return false;
        }
        (Some(seconds), Some(before)) if seconds > before => {
            errors.push(FieldError::invalid(FIELD, seconds, "must be less than or equal to previous value"));
            return false;
        }
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            errors.push(FieldError::invalid(FIELD, Value::Null, detail));
        }
        _ => {}
    }
    true
}

fn added_tolerations(new: &Value, old: &Value, errors: &mut Errors) {
    let without_seconds = |toleration: &Value| {
        let mut fields = toleration.as_object().cloned().unwrap_or_default();
        fields.remove("tolerationSeconds");
        fields
    };
    let kept: Vec<_> = object::list_at(new, "tolerations").iter().map(without_seconds).collect();
    if !object::list_at(old, "tolerations").iter().all(|toleration| kept.contains(&without_seconds(toleration))) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden("spec.tolerations", detail));
    }
}

fn removed_gates(new: &Value, old: &Value, errors: &mut Errors) {
    let before = object::list_at(old, "schedulingGates");
    for (index, gate) in object::list_at(new, "schedulingGates").iter().enumerate() {
        if !before.contains(gate) {
            let name = object::str_at(gate, "name");
            let detail = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.push(FieldError::forbidden(format!("spec.schedulingGates[{index}].name"), detail));
        }
    }
}

/// The new spec with everything that may change put back to the old.
fn with_allowed_changes(new: &Value, old: &Value) -> Value {
    let mut spec = new.clone();
    for field in ["containers", "initContainers"] {
        for (index, container) in object::list_at(old, field).iter().enumerate() {
            copy(&mut spec[field][index], container, "image");
        }
    }
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        copy(&mut spec, old, field);
    }
    if old["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0)
        && new["terminationGracePeriodSeconds"] == 1
    {
        copy(&mut spec, old, "terminationGracePeriodSeconds");
    }
    // Until it is let go, a gated pod can be pinned down further.
    let gated = !object::list_at(old, "schedulingGates").is_empty();
    if gated && is_superset(new["nodeSelector"].as_object(), old["nodeSelector"].as_object()) {
        copy(&mut spec, old, "nodeSelector");
    }
    spec
}

fn copy(target: &mut Value, source: &Value, field: &str) {
    let Some(target) = target.as_object_mut() else { return };
    match source.get(field) {
        Some(value) => drop(target.insert(field.to_owned(), value.clone())),
        None => drop(target.remove(field)),
    }
}

fn is_superset(new: Option<&Map<String, Value>>, old: Option<&Map<String, Value>>) -> bool {
    old.into_iter().flatten().all(|(key, value)| new.and_then(|new| new.get(key)) == Some(value))
}

/// The fields that differ, laid out as Go's `cmp.Diff` lays out a struct.
pub(in crate::registry) fn shown_difference_of(kind: &str, new: &Value, old: &Value) -> String {
    let empty = Map::new();
    let (new, old) = (new.as_object().unwrap_or(&empty), old.as_object().unwrap_or(&empty));
    let mut fields: Vec<&String> = new.keys().chain(old.keys()).collect();
    fields.sort();
    fields.dedup();
    let mut text = format!("\u{a0}\u{a0}{kind}{{\n");
    for field in fields.into_iter().filter(|field| new.get(*field) != old.get(*field)) {
        let name = field[..1].to_uppercase() + &field[1..];
        let line = |sign, value: Option<&Value>| format!("{sign}\u{a0}\t{name}: {},\n", value.unwrap_or(&Value::Null));
        text.push_str(&line('-', old.get(field)));
        text.push_str(&line('+', new.get(field)));
    }
    text.push_str("\u{a0}\u{a0}}\n");
    text
}

fn shown_difference(new: &Value, old: &Value) -> String {
    shown_difference_of("core.PodSpec", new, old)
}

/// `/ephemeralcontainers`: more of them, never fewer or others.
pub(super) fn ephemeral_containers(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    validation::spec(&new["spec"], "spec", &mut errors);
    let find = |list: &Value, name: &Value| {
        object::list_at(list, "spec.ephemeralContainers").iter().find(|container| container["name"] == *name).cloned()
    };
    for container in object::list_at(old, "spec.ephemeralContainers") {
        let name = object::str_at(container, "name");
        let detail = match find(new, &container["name"]) {
            None => format!("existing ephemeral containers {name:?} may not be removed\n"),
            Some(other) if other != *container => {
                format!("existing ephemeral containers {name:?} may not be changed\n")
            }
            Some(_) => continue,
        };
        errors.push(FieldError::forbidden("spec.ephemeralContainers", detail));
    }
    errors
}

/// `/status`: what the node reports.
pub(super) fn status(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    for (index, condition) in object::list_at(new, "status.conditions").iter().enumerate() {
        let kind = object::str_at(condition, "type");
        let known = ["PodScheduled", "Ready", "Initialized", "ContainersReady", "DisruptionTarget"];
        if !known.contains(&kind) {
            let field = format!("status.conditions[{index}].type");
            check::messages(&field, kind, names::qualified_name(kind), &mut errors);
        }
    }
    let nominated = object::str_at(new, "status.nominatedNodeName");
    if !nominated.is_empty() {
        let field = "status.nominatedNodeName";
        check::messages(field, nominated, names::dns_subdomain(nominated, false), &mut errors);
    }
    restarted_for_nothing(new, old, &mut errors);
    errors
}

/// A container that must not run again has ended for good.
fn restarted_for_nothing(new: &Value, old: &Value, errors: &mut Errors) {
    let policy = object::str_at(new, "spec.restartPolicy");
    if policy == "Always" || policy.is_empty() {
        return;
    }
    for (index, before) in object::list_at(old, "status.containerStatuses").iter().enumerate() {
        let ended = &before["state"]["terminated"];
        let failed = ended["exitCode"].as_i64().unwrap_or(0) != 0;
        if !ended.is_object() || (failed && policy == "OnFailure") {
            continue;
        }
        let after =
            object::list_at(new, "status.containerStatuses").iter().find(|status| status["name"] == before["name"]);
        if after.is_some_and(|after| !after["state"]["terminated"].is_object()) {
            let field = format!("status.containerStatuses[{index}].state");
            errors.push(FieldError::forbidden(field, "may not be transitioned to non-terminated state"));
        }
    }
}

/// The condition that a gated pod starts with, since its creation.
pub(super) fn gated_condition(since: Value) -> Value {
    json!({"type": "PodScheduled", "status": "False", "lastProbeTime": null, "lastTransitionTime": since,
        "reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates"})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({"spec": {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "containers": [{"name": "c", "image": "a:1",
            "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}]}})
    }

    #[test]
    fn images_change_and_little_else() {
        let old = pod();
        let mut new = pod();
        new["spec"]["containers"][0]["image"] = json!("a:2");
        assert_eq!(main_part(&new, &old), []);
        new["spec"]["nodeName"] = json!("n");
        let errors = main_part(&new, &old);
        assert_eq!(errors.len(), 1);
        assert!(errors[0].to_string().starts_with(&format!("spec: Forbidden: {MUTABLE}\n")));
        assert!(errors[0].to_string().contains("NodeName"));
    }

    #[test]
    fn tolerations_are_added_and_deadlines_come_nearer() {
        let (mut old, mut new) = (pod(), pod());
        old["spec"]["tolerations"] = json!([{"key": "a", "operator": "Exists"}]);
        new["spec"]["tolerations"] = json!([{"key": "b", "operator": "Exists"}]);
        old["spec"]["activeDeadlineSeconds"] = json!(5);
        new["spec"]["activeDeadlineSeconds"] = json!(4);
        assert_eq!(
            check::shown_errors(&main_part(&new, &old)),
            "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
        );
        new["spec"]["activeDeadlineSeconds"] = json!(6);
        assert_eq!(
            check::shown_errors(&main_part(&new, &old)),
            "spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"
        );
    }

    #[test]
    fn ephemeral_containers_only_grow() {
        let (mut old, new) = (pod(), pod());
        old["spec"]["ephemeralContainers"] = json!([{"name": "debug"}]);
        let errors = ephemeral_containers(&new, &old);
        assert!(check::shown_errors(&errors).contains("may not be removed"));
    }
}
