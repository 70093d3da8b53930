//! What Deployments, ReplicaSets and other workloads have in common: a
//! selector, a template, and counts in the status.

use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::core::pod;
use crate::registry::metadata::{IMMUTABLE, invalid_shown};
use crate::schema::FieldError;
use crate::selector::Labels;
use serde_json::{Map, Value};

/// `spec.selector` and, when it can be read, `spec.template` by it. `kind` is what
/// upstream calls the kind here; its ReplicaSets call themselves deployments.
pub(in crate::registry) fn selector_and_template(spec: &Value, kind: &str, errors: &mut Errors) {
    let selector = &spec["selector"];
    let size = |field: &str| {
        let labels = selector[field].as_object().map(Map::len);
        labels.or_else(|| selector[field].as_array().map(Vec::len)).unwrap_or(0)
    };
    if selector.is_null() {
        errors.push(FieldError::required("spec.selector", ""));
    } else {
        check::label_selector(selector, "spec.selector", errors);
        if size("matchLabels") + size("matchExpressions") == 0 {
            let detail = format!("empty selector is invalid for {kind}");
            errors.push(invalid_shown("spec.selector", &check::shown_selector(selector), &detail));
        }
    }
    match Labels::from_object(selector) {
        None if !selector.is_null() => {
            let shown = check::shown_selector(selector);
            errors.push(invalid_shown("spec.selector", &shown, "invalid label selector"));
        }
        parsed => template(&spec["template"], parsed.as_ref(), errors),
    }
}

/// A template whose labels the selector matches and whose pods run for good.
fn template(template: &Value, selector: Option<&Labels>, errors: &mut Errors) {
    let empty = Map::new();
    let labels = template["metadata"]["labels"].as_object();
    if !selector.is_some_and(|selector| selector.matches(labels.unwrap_or(&empty))) {
        let detail = "`selector` does not match template `labels`";
        errors.push(invalid_shown("spec.template.metadata.labels", &check::shown_map(labels), detail));
    }
    pod::validation::template(template, "spec.template", errors);
    let policy = object::str_at(template, "spec.restartPolicy");
    if policy != "Always" {
        errors.push(FieldError::not_supported("spec.template.spec.restartPolicy", policy, &["Always"]));
    }
    if template["spec"]["activeDeadlineSeconds"].is_number() {
        let detail = "activeDeadlineSeconds in ReplicaSet is not Supported";
        errors.push(FieldError::forbidden("spec.template.spec.activeDeadlineSeconds", detail));
    }
}

/// An error if the selector differs from the old one.
pub(in crate::registry) fn same_selector(new: &Value, old: &Value, errors: &mut Errors) {
    if new["spec"]["selector"] != old["spec"]["selector"] {
        let shown = check::shown_selector(&new["spec"]["selector"]);
        errors.push(invalid_shown("spec.selector", &shown, IMMUTABLE));
    }
}

/// Counts of the status that are not negative and make sense together:
/// each of `parts` is at most `status.replicas`.
pub(in crate::registry) fn counts(status: &Value, parts: &[&str], errors: &mut Errors) {
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    for field in ["observedGeneration", "replicas", "unavailableReplicas", "collisionCount"].iter().chain(parts) {
        check::not_negative(status, "status", field, errors);
    }
    for field in parts.iter().filter(|field| count(field) > count("replicas")) {
        let detail = "cannot be greater than status.replicas";
        errors.push(FieldError::invalid(format!("status.{field}"), count(field), detail));
    }
    if count("availableReplicas") > count("readyReplicas") {
        let detail = "cannot be greater than readyReplicas";
        errors.push(FieldError::invalid("status.availableReplicas", count("availableReplicas"), detail));
    }
}

/// Drops the parts of the template that belong to features that are off.
pub(in crate::registry) fn prepare_template(object: &mut Value) {
    if let Some(spec) = object.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut) {
        pod::template_drop_disabled(spec);
    }
}
