//! Statuses of pods in many states.

use super::*;
use crate::{
    backoff::Backoff,
    lifecycle::tests::{Case, at},
    memory::{ImageMemory, Retry, StartFailure, Verdict},
    probes::ProbeKind,
};
use serde_json::{Value, json};
use wk_cri::SandboxState;

fn one() -> Value {
    json!({"containers": [{"name": "main", "image": "img"}]})
}

impl Case {
    fn status(&self) -> PodStatus {
        build(&self.input(), &["192.168.0.1".to_owned()], "wasmtime://")
    }

    fn phase(&self) -> String {
        self.status().phase.expect("a phase")
    }

    fn main(&self) -> ContainerStatus {
        self.status().container_statuses.expect("containers").remove(0)
    }

    /// The waiting reason and message of the main container.
    fn waiting(&self) -> (String, String) {
        let waiting = self.main().state.and_then(|state| state.waiting).expect("waiting");
        (waiting.reason.expect("a reason"), waiting.message.unwrap_or_default())
    }

    /// `Ready=False ContainersNotReady: containers with…`
    fn condition(&self, name: &str) -> String {
        let conditions = self.status().conditions.expect("conditions");
        let found = conditions.into_iter().find(|condition| condition.type_ == name).expect("the condition");
        let texts: Vec<_> = [found.reason, found.message].into_iter().flatten().collect();
        format!("{} {}", found.status, texts.join(": ")).trim_end().to_owned()
    }
}

#[test]
fn a_new_pod_is_pending_and_creating() {
    let case = Case::new(one());
    assert_eq!((case.phase(), case.waiting().0), ("Pending".to_owned(), "ContainerCreating".to_owned()));
    assert_eq!(case.condition("PodReadyToStartContainers"), "False");
    assert_eq!(case.condition("Initialized"), "True");
    let unready = "False ContainersNotReady: containers with unready status: [main]";
    assert_eq!((case.condition("Ready"), case.condition("ContainersReady")), (unready.to_owned(), unready.to_owned()));
    let status = case.status();
    assert_eq!((status.host_ip.as_deref(), status.pod_ip), (Some("192.168.0.1"), None));
    assert_eq!(status.start_time.expect("a start").0, at(1_000));
}

#[test]
fn a_running_pod_is_ready_with_its_address() {
    let mut case = Case::ready(one());
    case.running("main", 0);
    assert_eq!((case.phase(), case.condition("Ready")), ("Running".to_owned(), "True".to_owned()));
    assert_eq!(case.condition("PodReadyToStartContainers"), "True");
    let (status, main) = (case.status(), case.main());
    assert_eq!(status.pod_ip.as_deref(), Some("10.244.0.2"));
    assert_eq!(main.container_id.as_deref(), Some("wasmtime://main-0"));
    assert_eq!((main.image.as_str(), main.image_id.as_str()), ("img:v1", "sha256:1"));
    assert_eq!((main.ready, main.started, main.restart_count), (true, Some(true), 0));
    assert_eq!(main.state.and_then(|state| state.running).and_then(|running| running.started_at), Some(Time(at(990))));
}

#[test]
fn while_a_start_hook_runs_a_container_is_not_started() {
    let mut case = Case::ready(one());
    case.running("main", 0);
    case.in_flight = [crate::lifecycle::Key::Start("main".to_owned())].into();
    assert_eq!((case.phase(), case.waiting().0), ("Pending".to_owned(), "ContainerCreating".to_owned()));
}

#[test]
fn an_unready_probe_leaves_the_pod_running_and_not_ready() {
    let mut case = Case::ready(json!({"containers": [{"name": "main", "readinessProbe": {}}]}));
    case.running("main", 0);
    assert_eq!((case.phase(), case.main().ready, case.main().started), ("Running".to_owned(), false, Some(true)));
    case.memory.container_mut("main").probes.record(ProbeKind::Readiness, true, case.now);
    assert_eq!(case.condition("Ready"), "True");
}

#[test]
fn transition_times_move_with_the_status_only() {
    let mut case = Case::ready(one());
    case.running("main", 0);
    case.pod.status = Some(case.status());
    case.now = at(2_000);
    assert_eq!(patch("u1", case.pod.status.as_ref(), &case.status()), None);
    case.exited("main", 1, 1);
    let ready = case.status().conditions.expect("conditions").into_iter().find(|found| found.type_ == "Ready");
    assert_eq!(ready.and_then(|ready| ready.last_transition_time), Some(Time(at(2_000))));
}

#[test]
fn a_restarted_container_has_a_last_state() {
    let mut case = Case::ready(one());
    case.exited("main", 0, 3);
    case.running("main", 1);
    let main = case.main();
    let last = main.last_state.and_then(|state| state.terminated).expect("a last state");
    assert_eq!((main.restart_count, last.exit_code, last.reason.as_deref()), (1, 3, Some("Error")));
    assert_eq!(last.container_id.as_deref(), Some("wasmtime://main-0"));
}

#[test]
fn a_crash_loop_says_how_long_it_backs_off() {
    let mut case = Case::ready(one());
    case.exited("main", 2, 1);
    let state = Backoff::raise(None, at(990), at(990));
    case.memory.container_mut("main").restarts = Some(Backoff::raise(Some(state), at(990), at(990)));
    let message = "back-off 20s restarting failed container=main pod=web_default(u1)";
    assert_eq!(case.waiting(), ("CrashLoopBackOff".to_owned(), message.to_owned()));
    let main = case.main();
    assert_eq!((case.phase(), main.restart_count, main.ready), ("Running".to_owned(), 2, false));
    assert!(main.last_state.and_then(|state| state.terminated).is_some());
}

#[test]
fn before_the_first_restart_the_exit_is_shown() {
    let mut case = Case::ready(one());
    case.exited("main", 0, 1);
    let state = case.main().state.expect("a state");
    assert_eq!(state.terminated.map(|terminated| terminated.exit_code), Some(1));
    assert_eq!(case.phase(), "Running");
}

#[test]
fn finished_pods_succeed_or_fail() {
    for (policy, exit_code, phase, ready) in [
        ("Never", 0, "Succeeded", "False PodCompleted"),
        ("Never", 2, "Failed", "False PodFailed"),
        ("OnFailure", 0, "Succeeded", "False PodCompleted"),
        ("OnFailure", 2, "Running", "False ContainersNotReady: containers with unready status: [main]"),
    ] {
        let mut case = Case::ready(json!({"containers": [{"name": "main"}], "restartPolicy": policy}));
        case.exited("main", 0, exit_code);
        assert_eq!((case.phase().as_str(), case.condition("Ready").as_str()), (phase, ready));
    }
}

#[test]
fn an_ended_pod_keeps_its_address_and_phase() {
    let mut case = Case::ready(json!({"containers": [{"name": "main"}], "restartPolicy": "Never"}));
    case.exited("main", 0, 0);
    case.pod.status = Some(case.status());
    case.memory.retired = true;
    case.observed = Default::default();
    let status = case.status();
    assert_eq!((status.phase.as_deref(), status.pod_ip.as_deref()), (Some("Succeeded"), Some("10.244.0.2")));
    assert_eq!(case.condition("Initialized"), "True PodCompleted");
}

#[test]
fn init_containers_hold_the_phase_and_are_named() {
    let mut case = Case::ready(json!({"containers": [{"name": "main"}], "initContainers": [
        {"name": "a"}, {"name": "b"}]}));
    case.running("a", 0);
    assert_eq!((case.phase(), case.waiting().0), ("Pending".to_owned(), "PodInitializing".to_owned()));
    let incomplete = "False ContainersNotInitialized: containers with incomplete status: [a b]";
    assert_eq!(case.condition("Initialized"), incomplete);
    case.observed.containers.clear();
    case.exited("a", 0, 0);
    case.exited("b", 0, 0);
    assert_eq!(case.condition("Initialized"), "True");
    let inits = case.status().init_container_statuses.expect("inits");
    assert!(inits.iter().all(|init| init.ready && init.started == Some(false)));
}

#[test]
fn a_failed_init_container_fails_the_pod_that_never_restarts() {
    let mut case = Case::ready(json!({"containers": [{"name": "main"}], "restartPolicy": "Never",
        "initContainers": [{"name": "a"}]}));
    case.exited("a", 0, 1);
    assert_eq!((case.phase(), case.waiting().0), ("Failed".to_owned(), "PodInitializing".to_owned()));
}

#[test]
fn image_trouble_is_an_error_first_and_a_back_off_then() {
    let mut case = Case::ready(one());
    let backoff = Backoff::raise(None, at(1_000), at(1_000));
    let (reason, message) = ("ErrImagePull".to_owned(), "nobody has it".to_owned());
    case.memory.container_mut("main").image = ImageMemory::Missing { reason, message, at: at(1_000), backoff };
    assert_eq!(case.waiting(), ("ErrImagePull".to_owned(), "nobody has it".to_owned()));
    case.now = at(1_002);
    let message = r#"Back-off pulling image "img": ErrImagePull: nobody has it"#;
    assert_eq!(case.waiting(), ("ImagePullBackOff".to_owned(), message.to_owned()));
}

#[test]
fn a_config_error_is_shown() {
    let mut case = Case::ready(one());
    let (reason, message) = ("CreateContainerConfigError".to_owned(), "configmap \"c\" not found".to_owned());
    let failure = StartFailure { reason: reason.clone(), message: message.clone(), at: at(1), retry: Retry::OnChange };
    case.memory.container_mut("main").start_failure = Some(failure);
    assert_eq!(case.waiting(), (reason, message));
}

#[test]
fn a_pod_given_up_fails_and_says_why() {
    let mut case = Case::new(one());
    let (reason, message) = ("DeadlineExceeded".to_owned(), "too long".to_owned());
    case.memory.verdict = Some(Verdict { reason, message, grace: None });
    case.memory.note_pod(&case.pod, case.now);
    case.memory.retired = true;
    let status = case.status();
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    assert_eq!((status.reason.as_deref(), status.message.as_deref()), (Some("DeadlineExceeded"), Some("too long")));
    let terminated = case.main().state.and_then(|state| state.terminated).expect("terminated");
    assert_eq!(terminated.reason.as_deref(), Some("ContainerStatusUnknown"));
}

#[test]
fn a_deleted_pod_stays_running_until_its_containers_have_ended() {
    let mut case = Case::ready(one());
    case.running("main", 0);
    case.delete(30);
    assert_eq!(case.phase(), "Running");
    case.observed.containers.clear();
    case.exited("main", 0, 0);
    case.memory.retired = true;
    assert_eq!(case.phase(), "Succeeded");
}

#[test]
fn conditions_of_others_and_unknown_fields_stay() {
    let mut case = Case::ready(one());
    case.pod.status = serde_json::from_value(json!({"qosClass": "BestEffort", "conditions": [
        {"type": "example.com/lb", "status": "True"}, {"type": "PodScheduled", "status": "True",
         "lastTransitionTime": "1970-01-01T00:00:07Z"}]}))
    .ok();
    let status = case.status();
    let types: Vec<_> = status.conditions.iter().flatten().map(|condition| condition.type_.as_str()).collect();
    let expected = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
    assert_eq!(types[..5], expected);
    assert_eq!((types[5], status.qos_class.as_deref()), ("example.com/lb", Some("BestEffort")));
    let scheduled = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled");
    assert_eq!(scheduled.and_then(|found| found.last_transition_time.clone()), Some(Time(at(7))));
}

#[test]
fn a_lost_sandbox_takes_the_address_away() {
    let mut case = Case::ready(one());
    case.exited("main", 0, 137);
    case.observed.sandboxes[0].state = SandboxState::NotReady;
    let status = case.status();
    assert_eq!((status.pod_ip, case.condition("PodReadyToStartContainers").as_str()), (None, "False"));
}

#[test]
fn an_ephemeral_container_has_a_status_of_its_own_and_decides_nothing() {
    let mut case = Case::ready(json!({
        "containers": [{"name": "main", "image": "img"}],
        "ephemeralContainers": [{"name": "debugger", "image": "img"}],
    }));
    case.running("main", 0);
    case.exited("debugger", 0, 1);
    let status = build(&case.input(), &[], "wasmtime://");
    assert_eq!(status.phase.as_deref(), Some("Running"));
    let all = status.ephemeral_container_statuses.expect("one");
    let state = all[0].state.as_ref().and_then(|state| state.terminated.as_ref());
    assert_eq!((all[0].name.as_str(), state.map(|state| state.exit_code)), ("debugger", Some(1)));
    assert_eq!((all[0].ready, all[0].started), (false, None));
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready").expect("Ready");
    assert_eq!(ready.status, "True");
}
