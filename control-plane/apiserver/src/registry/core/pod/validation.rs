//! What is wrong with a pod's spec, or a template's (upstream:
//! `pkg/apis/core/validation`, `ValidatePodSpec`, in its order). Containers and
//! volumes have files of their own; changes to a pod are in `update`.

use super::{containers, scheduling, volumes};
use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::{metadata, names};
use crate::schema::FieldError;
use serde_json::Value;

const RESTART_POLICIES: &[&str] = &["Always", "OnFailure", "Never"];
const DNS_POLICIES: &[&str] = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
const INT32_MAX: i64 = i32::MAX as i64;

/// All that is wrong with a new pod.
pub fn pod(pod: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec_value = &pod["spec"];
    spec(spec_value, "spec", &mut errors);
    if !object::list_at(spec_value, "ephemeralContainers").is_empty() {
        errors.push(FieldError::forbidden("spec.ephemeralContainers", "cannot be set on create"));
    }
    let gated = !object::list_at(spec_value, "schedulingGates").is_empty();
    if gated && !object::str_at(spec_value, "nodeName").is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.push(FieldError::forbidden("spec.nodeName", detail));
    }
    errors
}

/// What is wrong with a pod template at `path`.
pub fn template(template: &Value, path: &str, errors: &mut Errors) {
    let metadata = &template["metadata"];
    metadata::labels(metadata["labels"].as_object(), &format!("{path}.labels"), errors);
    metadata::annotations(metadata["annotations"].as_object(), &format!("{path}.annotations"), errors);
    spec(&template["spec"], &format!("{path}.spec"), errors);
    if !object::list_at(template, "spec.ephemeralContainers").is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        errors.push(FieldError::forbidden(format!("{path}.spec.ephemeralContainers"), detail));
    }
}

/// What is wrong with a pod spec at `path`.
pub fn spec(spec: &Value, path: &str, errors: &mut Errors) {
    let volumes = volumes::validate(object::list_at(spec, "volumes"), &format!("{path}.volumes"), errors);
    containers::validate_all(spec, &volumes, path, errors);
    host_network(spec, path, errors);
    check::required_one_of(spec, path, "restartPolicy", RESTART_POLICIES, errors);
    check::required_one_of(spec, path, "dnsPolicy", DNS_POLICIES, errors);
    metadata::labels(spec["nodeSelector"].as_object(), &format!("{path}.nodeSelector"), errors);
    security_context(&spec["securityContext"], &format!("{path}.securityContext"), errors);
    scheduling::affinity(&spec["affinity"], &format!("{path}.affinity"), errors);
    dns_config(spec, path, errors);
    qualified(spec, path, "readinessGates", "conditionType", errors);
    scheduling_gates(spec, path, errors);
    scheduling::topology_spread(spec, path, errors);
    named(spec, path, "serviceAccountName", names::dns_subdomain, errors);
    named(spec, path, "nodeName", names::dns_subdomain, errors);
    let deadline = spec["activeDeadlineSeconds"].as_i64();
    if let Some(seconds) = deadline.filter(|seconds| !(1..=INT32_MAX).contains(seconds)) {
        errors.push(FieldError::invalid(format!("{path}.activeDeadlineSeconds"), seconds, names::range(1, INT32_MAX)));
    }
    named(spec, path, "hostname", names::dns_label, errors);
    named(spec, path, "subdomain", names::dns_label, errors);
    scheduling::tolerations(spec, path, errors);
    host_aliases(spec, path, errors);
    named(spec, path, "priorityClassName", names::dns_subdomain, errors);
    named(spec, path, "runtimeClassName", names::dns_subdomain, errors);
    check::one_of(spec, path, "preemptionPolicy", &["Never", "PreemptLowerPriority"], errors);
    if spec["os"].is_object() {
        check::required_one_of(&spec["os"], &format!("{path}.os"), "name", &["linux", "windows"], errors);
    }
}

/// A name by the given rule, if there is one.
fn named(spec: &Value, path: &str, field: &str, rule: fn(&str, bool) -> Vec<String>, errors: &mut Errors) {
    let name = object::str_at(spec, field);
    if !name.is_empty() {
        check::messages(&format!("{path}.{field}"), name, rule(name, false), errors);
    }
}

fn qualified(spec: &Value, path: &str, list: &str, field: &str, errors: &mut Errors) {
    for (index, item) in object::list_at(spec, list).iter().enumerate() {
        let name = object::str_at(item, field);
        check::messages(&format!("{path}.{list}[{index}].{field}"), name, names::qualified_name(name), errors);
    }
}

fn scheduling_gates(spec: &Value, path: &str, errors: &mut Errors) {
    let gates: Vec<&str> =
        object::list_at(spec, "schedulingGates").iter().map(|gate| object::str_at(gate, "name")).collect();
    for (index, gate) in gates.iter().enumerate() {
        let field = format!("{path}.schedulingGates[{index}]");
        check::messages(&field, gate, names::qualified_name(gate), errors);
        if gates[..index].contains(gate) {
            errors.push(FieldError::duplicate(field, *gate));
        }
    }
}

/// On the host's network a container's port is the host's port.
fn host_network(spec: &Value, path: &str, errors: &mut Errors) {
    if spec["hostNetwork"] != true {
        return;
    }
    for (index, container) in object::list_at(spec, "containers").iter().enumerate() {
        for (port_index, port) in object::list_at(container, "ports").iter().enumerate() {
            let (number, host) = (port["containerPort"].as_i64().unwrap_or(0), port["hostPort"].as_i64().unwrap_or(0));
            // A template leaves the host port open; a pod has it by default.
            if host != 0 && host != number {
                let field = format!("{path}.containers[{index}].ports[{port_index}].containerPort");
                errors.push(FieldError::invalid(field, number, "must match `hostPort` when `hostNetwork` is true"));
            }
        }
    }
}

fn security_context(context: &Value, path: &str, errors: &mut Errors) {
    user_ids(context, path, errors);
    if let Some(group) = context["fsGroup"].as_i64() {
        user_id(group, &format!("{path}.fsGroup"), errors);
    }
    for (index, group) in object::list_at(context, "supplementalGroups").iter().enumerate() {
        user_id(group.as_i64().unwrap_or(0), &format!("{path}.supplementalGroups[{index}]"), errors);
    }
    check::one_of(context, path, "fsGroupChangePolicy", &["Always", "OnRootMismatch"], errors);
}

/// `runAsUser` and `runAsGroup` of a pod's or container's security context.
pub fn user_ids(context: &Value, path: &str, errors: &mut Errors) {
    for field in ["runAsUser", "runAsGroup"] {
        if let Some(id) = context[field].as_i64() {
            user_id(id, &format!("{path}.{field}"), errors);
        }
    }
}

fn user_id(id: i64, field: &str, errors: &mut Errors) {
    if !(0..=INT32_MAX).contains(&id) {
        errors.push(FieldError::invalid(field, id, names::range(0, INT32_MAX)));
    }
}

/// How many nameservers and search domains a resolver takes.
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;

fn dns_config(spec: &Value, path: &str, errors: &mut Errors) {
    let (config, path) = (&spec["dnsConfig"], format!("{path}.dnsConfig"));
    let servers = object::list_at(config, "nameservers");
    if spec["dnsPolicy"] == "None" && servers.is_empty() {
        let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        if config.is_object() {
            errors.push(FieldError::required(format!("{path}.nameservers"), detail));
        } else {
            errors.push(FieldError::required(path, "must provide `dnsConfig` when `dnsPolicy` is None"));
            return;
        }
    }
    if servers.len() > NAMESERVERS_MAX {
        let detail = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        errors.push(metadata::invalid_shown(format!("{path}.nameservers"), &check::shown_strings(servers), &detail));
    }
    for (index, server) in servers.iter().enumerate() {
        check::ip_address(&format!("{path}.nameservers[{index}]"), server.as_str().unwrap_or_default(), errors);
    }
    let searches = object::list_at(config, "searches");
    if searches.len() > SEARCHES_MAX {
        let detail = format!("must not have more than {SEARCHES_MAX} search paths");
        errors.push(metadata::invalid_shown(format!("{path}.searches"), &check::shown_strings(searches), &detail));
    }
    for (index, search) in searches.iter().enumerate() {
        let search = search.as_str().unwrap_or_default();
        let rule = names::dns_subdomain(search.strip_suffix('.').unwrap_or(search), false);
        if search != "." {
            check::messages(&format!("{path}.searches[{index}]"), search, rule, errors);
        }
    }
    for (index, option) in object::list_at(config, "options").iter().enumerate() {
        if object::str_at(option, "name").is_empty() {
            errors.push(FieldError::required(format!("{path}.options[{index}]"), "must not be empty"));
        }
    }
}

fn host_aliases(spec: &Value, path: &str, errors: &mut Errors) {
    for (index, alias) in object::list_at(spec, "hostAliases").iter().enumerate() {
        let path = format!("{path}.hostAliases[{index}]");
        check::ip_address(&format!("{path}.ip"), object::str_at(alias, "ip"), errors);
        for name in object::list_at(alias, "hostnames").iter().filter_map(Value::as_str) {
            check::messages(&format!("{path}.hostnames"), name, names::dns_subdomain(name, false), errors);
        }
    }
}
