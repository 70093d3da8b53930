//! `--profile`: what the container to debug with may do beyond others, and what
//! of a pod its copy leaves out (upstream: `kubectl/pkg/cmd/debug/profiles.go`).

use super::container::container_mut;
use crate::args::{Debug, DebugCopy, Profile};
use serde_json::{Value, json};

/// To a container that is added to a running pod.
pub(super) fn apply_to_added(profile: Profile, container: &mut Value) {
    if let Some(context) = security(profile) {
        container["securityContext"] = context;
    }
}

/// To a copy of a pod and one container in it.
pub(super) fn apply_to_copy(args: &Debug, pod: &mut Value, name: &str) {
    let profile = args.profile;
    if let Some(container) = container_mut(pod, name) {
        match (security(profile), container.get_mut("securityContext").and_then(Value::as_object_mut)) {
            // These begin anew, the others add to what there is.
            (Some(context), _) if profile == Profile::Restricted => container["securityContext"] = context,
            (Some(context), Some(own)) => own.extend(context.as_object().cloned().unwrap_or_default()),
            (Some(context), None) => container["securityContext"] = context,
            (None, Some(_)) if profile == Profile::Baseline => container["securityContext"] = Value::Null,
            (None, _) => {}
        }
    }
    if profile == Profile::Legacy {
        remove(&mut pod["metadata"], "labels");
        return;
    }
    leave_out(&args.copy, pod);
    if pod["spec"]["shareProcessNamespace"].is_null() {
        pod["spec"]["shareProcessNamespace"] = true.into();
    }
}

fn security(profile: Profile) -> Option<Value> {
    match profile {
        Profile::Legacy | Profile::Baseline => None,
        Profile::General => Some(json!({"capabilities": {"add": ["SYS_PTRACE"]}})),
        Profile::Netadmin => Some(json!({"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}})),
        Profile::Sysadmin => Some(json!({"privileged": true})),
        Profile::Restricted => Some(json!({
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": true,
            "seccompProfile": {"type": "RuntimeDefault"},
        })),
    }
}

fn leave_out(copy: &DebugCopy, pod: &mut Value) {
    for (kept, field) in [(copy.keep_labels, "labels"), (copy.keep_annotations, "annotations")] {
        if !kept {
            remove(&mut pod["metadata"], field);
        }
    }
    if !copy.keep_init_containers {
        remove(&mut pod["spec"], "initContainers");
    }
    let probes = [
        (copy.keep_liveness, "livenessProbe"),
        (copy.keep_readiness, "readinessProbe"),
        (copy.keep_startup, "startupProbe"),
    ];
    for container in pod["spec"]["containers"].as_array_mut().into_iter().flatten() {
        for (kept, field) in probes {
            if !kept {
                remove(container, field);
            }
        }
    }
}

fn remove(value: &mut Value, field: &str) {
    if let Some(fields) = value.as_object_mut() {
        fields.remove(field);
    }
}
