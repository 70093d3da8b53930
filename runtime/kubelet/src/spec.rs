//! Questions about a pod's spec that have a default answer. Pure; everything
//! that decides asks here, so that a default is written once.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};
use std::{borrow::Cow, sync::LazyLock, time::Duration};

/// The grace period of a pod that names none (upstream's default).
const GRACE: Duration = Duration::from_secs(30);

static NO_SPEC: LazyLock<PodSpec> = LazyLock::new(PodSpec::default);

/// When a container that has ended starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whatever its exit code.
    Always,
    /// When its exit code is not 0.
    OnFailure,
    /// Not at all.
    Never,
}

impl RestartPolicy {
    /// Whether a container with this exit code starts again.
    pub fn restarts(self, exit_code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => exit_code != 0,
            Self::Never => false,
        }
    }
}

/// What a container of the spec is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`: runs beside the others.
    Sidecar,
    /// One of `spec.containers`.
    Main,
    /// One of `spec.ephemeralContainers`: added to a pod to look into it, and
    /// started once.
    Ephemeral,
}

/// The spec; an empty one for a pod without.
pub fn of(pod: &Pod) -> &PodSpec {
    pod.spec.as_ref().unwrap_or(&NO_SPEC)
}

/// The pod's UID; empty for an object that never was in an API server.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// The pod's namespace.
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}

/// The pod's name.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// The pod's own restart policy.
pub fn restart_policy(pod: &Pod) -> RestartPolicy {
    match of(pod).restart_policy.as_deref() {
        Some("Never") => RestartPolicy::Never,
        Some("OnFailure") => RestartPolicy::OnFailure,
        _ => RestartPolicy::Always,
    }
}

/// The restart policy of one container: a sidecar's is `Always`; an init
/// container of a pod with `Always` need succeed only once.
pub fn container_restart_policy(pod: &Pod, role: Role) -> RestartPolicy {
    match (role, restart_policy(pod)) {
        (Role::Sidecar, _) => RestartPolicy::Always,
        (Role::Ephemeral, _) => RestartPolicy::Never,
        (Role::Init, RestartPolicy::Always) => RestartPolicy::OnFailure,
        (Role::Init | Role::Main, policy) => policy,
    }
}

/// Init containers, in order, with their roles.
pub fn init_containers(pod: &Pod) -> impl DoubleEndedIterator<Item = (Role, &Container)> {
    let role = |container: &Container| match container.restart_policy.as_deref() {
        Some("Always") => Role::Sidecar,
        _ => Role::Init,
    };
    of(pod).init_containers.iter().flatten().map(move |container| (role(container), container))
}

/// Ephemeral containers, as containers.
pub fn ephemeral_containers(pod: &Pod) -> impl Iterator<Item = (Role, Container)> {
    of(pod).ephemeral_containers.iter().flatten().map(|ephemeral| (Role::Ephemeral, as_container(ephemeral.clone())))
}

/// An ephemeral container has what a container may have, as far as that makes
/// sense for something that is started once.
fn as_container(ephemeral: EphemeralContainer) -> Container {
    Container {
        args: ephemeral.args,
        command: ephemeral.command,
        env: ephemeral.env,
        env_from: ephemeral.env_from,
        image: ephemeral.image,
        image_pull_policy: ephemeral.image_pull_policy,
        name: ephemeral.name,
        security_context: ephemeral.security_context,
        stdin: ephemeral.stdin,
        stdin_once: ephemeral.stdin_once,
        termination_message_path: ephemeral.termination_message_path,
        termination_message_policy: ephemeral.termination_message_policy,
        tty: ephemeral.tty,
        volume_mounts: ephemeral.volume_mounts,
        working_dir: ephemeral.working_dir,
        ..Container::default()
    }
}

/// All containers with their roles: init containers, main ones, ephemeral ones.
pub fn containers(pod: &Pod) -> impl Iterator<Item = (Role, Cow<'_, Container>)> {
    let mains = of(pod).containers.iter().map(|container| (Role::Main, container));
    let declared = init_containers(pod).chain(mains).map(|(role, container)| (role, Cow::Borrowed(container)));
    declared.chain(ephemeral_containers(pod).map(|(role, container)| (role, Cow::Owned(container))))
}

/// The container of this name.
pub fn container<'a>(pod: &'a Pod, name: &str) -> Option<(Role, Cow<'a, Container>)> {
    containers(pod).find(|(_, container)| container.name == name)
}

/// The path of a container within the pod, as recorded events name it.
pub fn field_path(role: Role, name: &str) -> String {
    match role {
        Role::Init | Role::Sidecar => format!("spec.initContainers{{{name}}}"),
        Role::Main => format!("spec.containers{{{name}}}"),
        Role::Ephemeral => format!("spec.ephemeralContainers{{{name}}}"),
    }
}

/// How long the pod's containers may take to end.
pub fn grace(pod: &Pod) -> Duration {
    let seconds = pod.metadata.deletion_grace_period_seconds.or(of(pod).termination_grace_period_seconds);
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(GRACE, Duration::from_secs)
}

/// Whether the API server has the pod as ended for good.
pub fn is_terminal(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// `namespace/name` for logs, `name_namespace(uid)` for messages as upstream has them.
pub fn full_name(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}

/// Why this node cannot run the pod at all: what a wasm runtime has no way to
/// give. `None` when it can.
pub fn impossible(pod: &Pod) -> Option<String> {
    let spec = of(pod);
    let wants = |wanted: Option<bool>| wanted == Some(true);
    let linux = "wasm containers have no Linux kernel of their own";
    if wants(spec.host_pid) || wants(spec.host_ipc) {
        return Some(format!("hostPID and hostIPC cannot be given: {linux}"));
    }
    if let Some(os) = spec.os.as_ref().filter(|os| os.name == "windows") {
        return Some(format!("spec.os.name is {}: this node runs WebAssembly", os.name));
    }
    for (_, container) in containers(pod) {
        let security = container.security_context.as_ref();
        if wants(security.and_then(|security| security.privileged)) {
            return Some(format!("container {} cannot be privileged: {linux}", container.name));
        }
        if container.volume_devices.as_ref().is_some_and(|devices| !devices.is_empty()) {
            return Some(format!("container {} cannot have volumeDevices: {linux}", container.name));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).expect("a pod")
    }

    #[test]
    fn restart_policies_follow_roles() {
        let pod = pod(json!({"containers": [{"name": "m"}], "restartPolicy": "Always",
            "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]}));
        let policies: Vec<_> = containers(&pod).map(|(role, _)| container_restart_policy(&pod, role)).collect();
        assert_eq!(policies, [RestartPolicy::OnFailure, RestartPolicy::Always, RestartPolicy::Always]);
        assert!(!RestartPolicy::OnFailure.restarts(0) && RestartPolicy::OnFailure.restarts(1));
    }

    #[test]
    fn a_deletion_shortens_the_grace_period() {
        let mut pod = pod(json!({"containers": [], "terminationGracePeriodSeconds": 7}));
        assert_eq!(grace(&pod), Duration::from_secs(7));
        pod.metadata.deletion_grace_period_seconds = Some(1);
        assert_eq!(grace(&pod), Duration::from_secs(1));
    }

    #[test]
    fn what_needs_a_kernel_is_impossible_and_says_which_field() {
        assert_eq!(impossible(&pod(json!({"containers": [{"name": "m"}]}))), None);
        let privileged = json!({"containers": [{"name": "m", "securityContext": {"privileged": true}}]});
        assert!(impossible(&pod(privileged)).is_some_and(|why| why.contains("container m cannot be privileged")));
        assert!(impossible(&pod(json!({"containers": [], "hostPID": true}))).is_some());
    }
}
