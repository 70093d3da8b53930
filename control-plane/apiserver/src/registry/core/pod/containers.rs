//! What is wrong with the containers of a pod: regular, init and ephemeral.
//! Called by the pod's validation; environments and resources are next door.

use super::{env, probes, resources, validation, volumes};
use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::names;
use crate::schema::FieldError;
use serde_json::Value;

const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

/// What the containers of one pod have in common.
struct Pod<'a> {
    volumes: &'a [&'a Value],
    grace_period_seconds: Option<i64>,
}

/// All containers of the spec at `path`.
pub(super) fn validate_all(spec: &Value, volumes: &[&Value], path: &str, errors: &mut Errors) {
    let pod = Pod { volumes, grace_period_seconds: spec["terminationGracePeriodSeconds"].as_i64() };
    let containers = object::list_at(spec, "containers");
    if containers.is_empty() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let mut taken: Vec<&str> = Vec::new();
    let mut host_ports = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        let path = format!("{path}.containers[{index}]");
        common(container, &pod, &path, errors);
        unique_name(container, &mut taken, &path, errors);
        running(container, &pod, &path, errors);
        if container["restartPolicy"].is_string() {
            let detail = "may not be set for non-init containers";
            errors.push(FieldError::forbidden(format!("{path}.restartPolicy"), detail));
        }
    }
    for (index, container) in containers.iter().enumerate() {
        unique_host_ports(container, &mut host_ports, &format!("{path}.containers[{index}]"), errors);
    }
    for (index, container) in object::list_at(spec, "initContainers").iter().enumerate() {
        init(container, &pod, &mut taken, &format!("{path}.initContainers[{index}]"), errors);
    }
    for (index, container) in object::list_at(spec, "ephemeralContainers").iter().enumerate() {
        ephemeral(container, &pod, &mut taken, &format!("{path}.ephemeralContainers[{index}]"), errors);
    }
}

fn init<'a>(container: &'a Value, pod: &Pod<'_>, taken: &mut Vec<&'a str>, path: &str, errors: &mut Errors) {
    common(container, pod, path, errors);
    if container["restartPolicy"].is_string() {
        check::one_of(container, path, "restartPolicy", &["Always"], errors);
    }
    unique_name(container, taken, path, errors);
    unique_host_ports(container, &mut Vec::new(), path, errors);
    if container["restartPolicy"] == "Always" {
        running(container, pod, path, errors);
        return;
    }
    for field in ["lifecycle"].into_iter().chain(PROBES) {
        if container[field].is_object() {
            let detail = "may not be set for init containers without restartPolicy=Always";
            errors.push(FieldError::forbidden(format!("{path}.{field}"), detail));
        }
    }
}

fn ephemeral<'a>(container: &'a Value, pod: &Pod<'_>, taken: &mut Vec<&'a str>, path: &str, errors: &mut Errors) {
    common(container, pod, path, errors);
    unique_name(container, taken, path, errors);
    for field in ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy"] {
        if !container[field].is_null() {
            errors.push(FieldError::forbidden(format!("{path}.{field}"), "cannot be set for an Ephemeral Container"));
        }
    }
    let target = object::str_at(container, "targetContainerName");
    if !target.is_empty() && !taken.contains(&target) {
        errors.push(check::not_found(format!("{path}.targetContainerName"), target));
    }
}

fn unique_name<'a>(container: &'a Value, taken: &mut Vec<&'a str>, path: &str, errors: &mut Errors) {
    let name = object::str_at(container, "name");
    if taken.contains(&name) {
        errors.push(FieldError::duplicate(format!("{path}.name"), name));
    } else if !name.is_empty() {
        taken.push(name);
    }
}

/// What holds for all kinds of containers.
fn common(container: &Value, pod: &Pod<'_>, path: &str, errors: &mut Errors) {
    if check::required(container, path, "name", errors) {
        let name = object::str_at(container, "name");
        check::messages(&format!("{path}.name"), name, names::dns_label(name, false), errors);
    }
    let image = object::str_at(container, "image");
    if image.is_empty() {
        errors.push(FieldError::required(format!("{path}.image"), ""));
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(format!("{path}.image"), image, detail));
    }
    let message_policies = ["File", "FallbackToLogsOnError"];
    check::required_one_of(container, path, "terminationMessagePolicy", &message_policies, errors);
    ports(container, path, errors);
    env::validate(container, path, errors);
    mounts(container, pod.volumes, path, errors);
    check::required_one_of(container, path, "imagePullPolicy", PULL_POLICIES, errors);
    resources::validate(&container["resources"], &format!("{path}.resources"), errors);
    security_context(&container["securityContext"], &format!("{path}.securityContext"), errors);
}

/// What holds for containers that run beside others: hooks and probes.
fn running(container: &Value, pod: &Pod<'_>, path: &str, errors: &mut Errors) {
    for hook in ["postStart", "preStop"] {
        let handler = &container["lifecycle"][hook];
        if handler.is_object() {
            probes::handler(handler, pod.grace_period_seconds, &format!("{path}.lifecycle.{hook}"), errors);
        }
    }
    for probe in PROBES {
        if container[probe].is_object() {
            probes::validate(probe, &container[probe], &format!("{path}.{probe}"), errors);
        }
    }
}

fn ports(container: &Value, path: &str, errors: &mut Errors) {
    let mut taken = Vec::new();
    for (index, port) in object::list_at(container, "ports").iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        let name = object::str_at(port, "name");
        let broken = names::port_name(name);
        if !name.is_empty() && !broken.is_empty() {
            check::messages(&format!("{path}.name"), name, broken, errors);
        } else if !name.is_empty() && taken.contains(&name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), name));
        } else if !name.is_empty() {
            taken.push(name);
        }
        match port["containerPort"].as_i64().unwrap_or(0) {
            0 => errors.push(FieldError::required(format!("{path}.containerPort"), "")),
            number => port_number(number, &format!("{path}.containerPort"), errors),
        }
        match port["hostPort"].as_i64().unwrap_or(0) {
            0 => {}
            number => port_number(number, &format!("{path}.hostPort"), errors),
        }
        check::required_one_of(port, &path, "protocol", PROTOCOLS, errors);
    }
}

fn port_number(number: i64, field: &str, errors: &mut Errors) {
    errors.extend(names::port_number(number).into_iter().map(|text| FieldError::invalid(field, number, text)));
}

fn unique_host_ports(container: &Value, taken: &mut Vec<String>, path: &str, errors: &mut Errors) {
    for (index, port) in object::list_at(container, "ports").iter().enumerate() {
        let number = port["hostPort"].as_i64().unwrap_or(0);
        if number == 0 {
            continue;
        }
        let key = format!("{}/{}/{number}", object::str_at(port, "protocol"), object::str_at(port, "hostIP"));
        if taken.contains(&key) {
            errors.push(FieldError::duplicate(format!("{path}.ports[{index}].hostPort"), key));
        } else {
            taken.push(key);
        }
    }
}

fn mounts(container: &Value, known: &[&Value], path: &str, errors: &mut Errors) {
    let mut targets: Vec<&str> = Vec::new();
    let parent = format!("{path}.volumeMounts");
    for (index, mount) in object::list_at(container, "volumeMounts").iter().enumerate() {
        let path = format!("{parent}[{index}]");
        let (name, target) = (object::str_at(mount, "name"), object::str_at(mount, "mountPath"));
        check::required(mount, &path, "name", errors);
        if !known.iter().any(|volume| volume["name"] == name) {
            errors.push(check::not_found(format!("{path}.name"), name));
        }
        check::required(mount, &path, "mountPath", errors);
        if targets.contains(&target) {
            errors.push(FieldError::invalid(format!("{path}.mountPath"), target, "must be unique"));
        }
        targets.push(target);
        // Upstream leaves the index out of the paths of these two.
        sub_path(mount, &parent, errors);
        check::one_of(mount, &path, "mountPropagation", &["Bidirectional", "HostToContainer", "None"], errors);
    }
}

fn sub_path(mount: &Value, path: &str, errors: &mut Errors) {
    let (plain, expression) = (object::str_at(mount, "subPath"), object::str_at(mount, "subPathExpr"));
    if !plain.is_empty() {
        volumes::descending_path(plain, &format!("{path}.subPath"), errors);
    }
    if !expression.is_empty() {
        if !plain.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.push(FieldError::invalid(format!("{path}.subPathExpr"), expression, detail));
        }
        volumes::descending_path(expression, &format!("{path}.subPathExpr"), errors);
    }
}

fn security_context(context: &Value, path: &str, errors: &mut Errors) {
    validation::user_ids(context, path, errors);
    if context["allowPrivilegeEscalation"] == false && context["privileged"] == true {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        errors.push(FieldError::invalid(path, context.clone(), detail));
    }
}
