//! The pod's conditions, with upstream's reasons and messages.

use super::Phase;
use crate::{lifecycle::Input, spec, status::whole_seconds};
use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition};

struct Finding {
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Finding {
    fn yes() -> Self {
        Self { holds: true, reason: None, message: None }
    }

    fn no(reason: &'static str, message: Option<String>) -> Self {
        Self { holds: false, reason: Some(reason), message }
    }
}

/// The kubelet's conditions in upstream's order, then those of others, unchanged.
pub(super) fn build(
    input: &Input,
    phase: Phase,
    inits: &[ContainerStatus],
    mains: &[ContainerStatus],
    has_address: bool,
) -> Vec<PodCondition> {
    let sandbox = input.observed.ready_sandbox().is_some() && has_address && !input.memory.retired;
    let sandbox = Finding { holds: sandbox, reason: None, message: None };
    let containers = containers_ready(phase, inits, mains, input);
    let ready = ready(input, &containers);
    let own = [
        ("PodReadyToStartContainers", sandbox),
        ("Initialized", initialized(input, phase, inits)),
        ("Ready", ready),
        ("ContainersReady", containers),
        ("PodScheduled", Finding::yes()),
    ];
    let old = input.pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let others = old.clone().filter(|condition| own.iter().all(|(name, _)| *name != condition.type_)).cloned();
    let find = |name: &str| old.clone().find(|condition| condition.type_ == name);
    own.iter().map(|(name, finding)| condition(input, name, finding, find(name))).chain(others).collect()
}

/// The condition; its transition time moves only with its status.
fn condition(input: &Input, name: &str, finding: &Finding, old: Option<&PodCondition>) -> PodCondition {
    let status = if finding.holds { "True" } else { "False" };
    let same = old.filter(|old| old.status == status);
    let since = same.and_then(|old| old.last_transition_time.clone());
    PodCondition {
        type_: name.to_owned(),
        status: status.to_owned(),
        reason: finding.reason.map(str::to_owned),
        message: finding.message.clone(),
        last_transition_time: Some(since.unwrap_or_else(|| whole_seconds(input.now))),
        last_probe_time: None,
        observed_generation: old.and_then(|old| old.observed_generation),
    }
}

fn names<'a>(statuses: impl Iterator<Item = &'a ContainerStatus>) -> String {
    statuses.map(|status| status.name.as_str()).collect::<Vec<_>>().join(" ")
}

fn initialized(input: &Input, phase: Phase, inits: &[ContainerStatus]) -> Finding {
    if phase == Phase::Succeeded {
        return Finding { reason: Some("PodCompleted"), ..Finding::yes() };
    }
    let started = |status: &ContainerStatus| {
        let sidecar = spec::container(input.pod, &status.name).is_some_and(|(role, _)| role == spec::Role::Sidecar);
        status.ready || (sidecar && status.started == Some(true))
    };
    // Once a main container has had its turn, a dead sidecar does not undo it.
    if crate::lifecycle::is_initialized(input) {
        return Finding::yes();
    }
    let unready = names(inits.iter().filter(|status| !started(status)));
    if unready.is_empty() {
        return Finding::yes();
    }
    Finding::no("ContainersNotInitialized", Some(format!("containers with incomplete status: [{unready}]")))
}

fn containers_ready(phase: Phase, inits: &[ContainerStatus], mains: &[ContainerStatus], input: &Input) -> Finding {
    match phase {
        Phase::Succeeded => return Finding::no("PodCompleted", None),
        Phase::Failed => return Finding::no("PodFailed", None),
        Phase::Pending | Phase::Running => {}
    }
    let is_sidecar = |status: &&ContainerStatus| {
        spec::container(input.pod, &status.name).is_some_and(|(role, _)| role == spec::Role::Sidecar)
    };
    let unready = names(inits.iter().filter(is_sidecar).chain(mains).filter(|status| !status.ready));
    if unready.is_empty() {
        return Finding::yes();
    }
    Finding::no("ContainersNotReady", Some(format!("containers with unready status: [{unready}]")))
}

fn ready(input: &Input, containers: &Finding) -> Finding {
    if !containers.holds {
        return Finding { message: containers.message.clone(), ..*containers };
    }
    let conditions = || input.pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut problems = Vec::new();
    for gate in spec::of(input.pod).readiness_gates.iter().flatten() {
        let name = &gate.condition_type;
        match conditions().find(|condition| condition.type_ == *name) {
            None => problems.push(format!("corresponding condition of pod readiness gate {name:?} does not exist.")),
            Some(found) if found.status != "True" => problems
                .push(format!("the status of pod readiness gate {name:?} is not \"True\", but {}", found.status)),
            Some(_) => {}
        }
    }
    if problems.is_empty() {
        return Finding::yes();
    }
    Finding::no("ReadinessGatesNotReady", Some(problems.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::tests::Case;
    use serde_json::json;

    fn ready_with_gate(conditions: serde_json::Value) -> Option<String> {
        let spec = json!({"containers": [], "readinessGates": [{"conditionType": "lb"}]});
        let mut case = Case::ready(spec);
        case.pod.status = serde_json::from_value(json!({"conditions": conditions})).expect("a status");
        ready(&case.input(), &Finding::yes()).message
    }

    #[test]
    fn readiness_gates_are_conditions_of_others() {
        let missing = "corresponding condition of pod readiness gate \"lb\" does not exist.";
        assert_eq!(ready_with_gate(json!([])).as_deref(), Some(missing));
        let closed = "the status of pod readiness gate \"lb\" is not \"True\", but False";
        assert_eq!(ready_with_gate(json!([{"type": "lb", "status": "False"}])).as_deref(), Some(closed));
        assert_eq!(ready_with_gate(json!([{"type": "lb", "status": "True"}])), None);
    }
}
