//! What is wrong with the parts of a pod spec that the scheduler reads:
//! affinity, tolerations, topology spread. Called by the pod's validation.

use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::names;
use crate::schema::FieldError;
use serde_json::Value;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Node and pod affinity.
pub(super) fn affinity(affinity: &Value, path: &str, errors: &mut Errors) {
    let node = &affinity["nodeAffinity"];
    if node[REQUIRED].is_object() {
        node_selector(&node[REQUIRED], &format!("{path}.nodeAffinity.{REQUIRED}"), errors);
    }
    for (index, term) in object::list_at(node, PREFERRED).iter().enumerate() {
        let path = format!("{path}.nodeAffinity.{PREFERRED}[{index}]");
        weight(term, &path, errors);
        node_selector_term(&term["preference"], &format!("{path}.preference"), errors);
    }
    for field in ["podAffinity", "podAntiAffinity"] {
        pod_affinity(&affinity[field], &format!("{path}.{field}"), errors);
    }
}

/// A node selector (also of persistent volumes): at least one term.
pub fn node_selector(selector: &Value, path: &str, errors: &mut Errors) {
    let terms = object::list_at(selector, "nodeSelectorTerms");
    if terms.is_empty() {
        let detail = "must have at least one node selector term";
        errors.push(FieldError::required(format!("{path}.nodeSelectorTerms"), detail));
    }
    for (index, term) in terms.iter().enumerate() {
        node_selector_term(term, &format!("{path}.nodeSelectorTerms[{index}]"), errors);
    }
}

fn node_selector_term(term: &Value, path: &str, errors: &mut Errors) {
    for (index, expression) in object::list_at(term, "matchExpressions").iter().enumerate() {
        node_requirement(expression, &format!("{path}.matchExpressions[{index}]"), errors);
    }
}

fn node_requirement(requirement: &Value, path: &str, errors: &mut Errors) {
    let values = object::list_at(requirement, "values");
    let field = format!("{path}.values");
    match object::str_at(requirement, "operator") {
        "In" | "NotIn" if values.is_empty() => {
            errors.push(FieldError::required(field, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(field, detail));
        }
        "Gt" | "Lt" if values.len() != 1 => {
            let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.push(FieldError::required(field, detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        operator => {
            errors.push(FieldError::invalid(format!("{path}.operator"), operator, "not a valid selector operator"));
        }
    }
    let key = object::str_at(requirement, "key");
    check::messages(&format!("{path}.key"), key, names::qualified_name(key), errors);
}

fn weight(term: &Value, path: &str, errors: &mut Errors) {
    let weight = term["weight"].as_i64().unwrap_or(0);
    if !(1..=100).contains(&weight) {
        errors.push(FieldError::invalid(format!("{path}.weight"), weight, "must be in the range 1-100"));
    }
}

fn pod_affinity(affinity: &Value, path: &str, errors: &mut Errors) {
    for (index, term) in object::list_at(affinity, REQUIRED).iter().enumerate() {
        pod_affinity_term(term, &format!("{path}.{REQUIRED}[{index}]"), errors);
    }
    for (index, term) in object::list_at(affinity, PREFERRED).iter().enumerate() {
        let path = format!("{path}.{PREFERRED}[{index}]");
        weight(term, &path, errors);
        pod_affinity_term(&term["podAffinityTerm"], &format!("{path}.podAffinityTerm"), errors);
    }
}

fn pod_affinity_term(term: &Value, path: &str, errors: &mut Errors) {
    check::label_selector(&term["labelSelector"], &format!("{path}.labelSelector"), errors);
    check::label_selector(&term["namespaceSelector"], &format!("{path}.namespaceSelector"), errors);
    for namespace in object::list_at(term, "namespaces").iter().filter_map(Value::as_str) {
        // Upstream's field is in the singular here.
        check::messages(&format!("{path}.namespace"), namespace, names::dns_label(namespace, false), errors);
    }
    topology_key(term, path, errors);
}

fn topology_key(parent: &Value, path: &str, errors: &mut Errors) {
    let (key, field) = (object::str_at(parent, "topologyKey"), format!("{path}.topologyKey"));
    if key.is_empty() {
        errors.push(FieldError::required(field, "can not be empty"));
    } else {
        check::messages(&field, key, names::qualified_name(key), errors);
    }
}

/// `topologySpreadConstraints` of the spec at `path`.
pub(super) fn topology_spread(spec: &Value, path: &str, errors: &mut Errors) {
    for (index, constraint) in object::list_at(spec, "topologySpreadConstraints").iter().enumerate() {
        let path = format!("{path}.topologySpreadConstraints[{index}]");
        let skew = constraint["maxSkew"].as_i64().unwrap_or(0);
        if skew <= 0 {
            errors.push(FieldError::invalid(format!("{path}.maxSkew"), skew, "must be greater than zero"));
        }
        topology_key(constraint, &path, errors);
        let action = object::str_at(constraint, "whenUnsatisfiable");
        let supported = ["DoNotSchedule", "ScheduleAnyway"];
        if !supported.contains(&action) {
            errors.push(FieldError::not_supported(format!("{path}.whenUnsatisfiable"), action, &supported));
        }
        if !object::list_at(constraint, "matchLabelKeys").is_empty() && !constraint["labelSelector"].is_object() {
            let detail = "must not be specified when labelSelector is not set";
            errors.push(FieldError::forbidden(format!("{path}.matchLabelKeys"), detail));
        }
        check::one_of(constraint, &path, "nodeAffinityPolicy", &["Honor", "Ignore"], errors);
        check::one_of(constraint, &path, "nodeTaintsPolicy", &["Honor", "Ignore"], errors);
        check::label_selector(&constraint["labelSelector"], &format!("{path}.labelSelector"), errors);
    }
}

/// `tolerations` of the spec at `path`.
pub(super) fn tolerations(spec: &Value, path: &str, errors: &mut Errors) {
    for (index, item) in object::list_at(spec, "tolerations").iter().enumerate() {
        toleration(item, &format!("{path}.tolerations[{index}]"), errors);
    }
}

fn toleration(toleration: &Value, path: &str, errors: &mut Errors) {
    let text = |field| object::str_at(toleration, field);
    let (key, operator, value, effect) = (text("key"), text("operator"), text("value"), text("effect"));
    let field = format!("{path}.operator");
    if !key.is_empty() {
        check::messages(&format!("{path}.key"), key, names::qualified_name(key), errors);
    } else if operator != "Exists" {
        let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.push(FieldError::invalid(field.as_str(), operator, detail));
    }
    if toleration["tolerationSeconds"].is_number() && effect != "NoExecute" {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.push(FieldError::invalid(format!("{path}.effect"), effect, detail));
    }
    match operator {
        "" | "Equal" => {
            let messages = names::label_value(value);
            if !messages.is_empty() {
                errors.push(FieldError::invalid(field, value, messages.join(";")));
            }
        }
        "Exists" if !value.is_empty() => {
            errors.push(FieldError::invalid(field, value, "value must be empty when `operator` is 'Exists'"));
        }
        "Exists" => {}
        other => errors.push(FieldError::not_supported(field, other, &["Equal", "Exists"])),
    }
    check::one_of(toleration, path, "effect", &["NoSchedule", "PreferNoSchedule", "NoExecute"], errors);
}
