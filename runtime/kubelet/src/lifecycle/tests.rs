//! Plans for pods in many states. `Case` is a pod with what is known of it.

use super::*;
use crate::{
    backoff::Backoff,
    memory::{Ending, Exit, ImageMemory, Retry, StartFailure, Step},
    probes::Probes,
};
use serde_json::{Value, json};
use wk_cri::{ContainerMetadata, ContainerStatus, Image, SandboxMetadata, SandboxState, SandboxStatus, UnixNanos};

pub(crate) struct Case {
    pub pod: Pod,
    pub observed: Observed,
    pub memory: Memory,
    pub in_flight: BTreeSet<Key>,
    pub status_written: bool,
    pub now: Timestamp,
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("in range")
}

impl Case {
    /// A pod of this spec, at second 1000, that nothing was done for.
    pub fn new(spec: Value) -> Self {
        let metadata = json!({"name": "web", "namespace": "default", "uid": "u1"});
        let pod: Pod = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a pod");
        let memory = Memory { started_at: Some(at(1_000)), ..Memory::default() };
        let (observed, in_flight) = (Observed::default(), BTreeSet::new());
        Self { pod, observed, memory, in_flight, status_written: true, now: at(1_000) }
    }

    /// With volumes, a sandbox, and every image.
    pub fn ready(spec: Value) -> Self {
        let mut case = Self::new(spec);
        case.memory.volumes = Step::Done;
        case.sandbox(0, SandboxState::Ready);
        let names: Vec<_> = spec::containers(&case.pod).map(|(_, container)| container.name.clone()).collect();
        names.iter().for_each(|name| case.memory.container_mut(name).image = ImageMemory::Here(Image::default()));
        case
    }

    pub fn sandbox(&mut self, attempt: u32, state: SandboxState) {
        self.observed.sandboxes.push(SandboxStatus {
            id: SandboxId(format!("s{attempt}")),
            metadata: SandboxMetadata { attempt, ..SandboxMetadata::default() },
            state,
            created_at: UnixNanos(i64::from(attempt)),
            addresses: vec![[10, 244, 0, 2].into()],
            labels: Default::default(),
            annotations: Default::default(),
        });
    }

    fn observe(&mut self, name: &str, attempt: u32, state: ContainerState) -> ContainerId {
        let id = ContainerId(format!("{name}-{attempt}"));
        let sandbox = self.observed.sandbox().expect("a sandbox").id.clone();
        self.observed.containers.push(ContainerStatus {
            id: id.clone(),
            sandbox,
            metadata: ContainerMetadata { name: name.to_owned(), attempt },
            state,
            created_at: UnixNanos(1),
            image: "img:v1".to_owned(),
            image_id: "sha256:1".to_owned(),
            labels: Default::default(),
            annotations: Default::default(),
            log_path: "/l".into(),
        });
        self.memory.note_observed(&self.observed, "wasmtime://", &Default::default(), self.now);
        id
    }

    pub fn running(&mut self, name: &str, attempt: u32) -> ContainerId {
        let id = self.observe(name, attempt, ContainerState::Running { started_at: UnixNanos(990_000_000_000) });
        let (_, container) = spec::container(&self.pod, name).expect("in the spec");
        let probes = Probes::of(&container, at(990));
        let memory = self.memory.container_mut(name);
        (memory.started, memory.probes) = (Some(id.clone()), probes);
        id
    }

    pub fn exited(&mut self, name: &str, attempt: u32, exit_code: i32) -> ContainerId {
        let reason = if exit_code == 0 { "Completed" } else { "Error" }.to_owned();
        let (started_at, finished_at) = (UnixNanos(990_000_000_000), UnixNanos(995_000_000_000));
        let message = String::new();
        self.observe(name, attempt, ContainerState::Exited { started_at, finished_at, exit_code, reason, message })
    }

    pub fn delete(&mut self, grace: i64) {
        use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
        self.pod.metadata.deletion_timestamp = Some(Time(self.now + Duration::from_secs(grace.unsigned_abs())));
        self.pod.metadata.deletion_grace_period_seconds = Some(grace);
        self.memory.note_pod(&self.pod, self.now);
    }

    pub fn input(&self) -> Input<'_> {
        Input {
            pod: &self.pod,
            observed: &self.observed,
            memory: &self.memory,
            in_flight: &self.in_flight,
            status_written: self.status_written,
            now: self.now,
        }
    }

    fn plan(&self) -> Plan {
        plan(&self.input())
    }

    /// The plan in short: `start main 0`, `stop main 30s`.
    fn acts(&self) -> Vec<String> {
        self.plan().actions.iter().map(short).collect()
    }
}

fn short(action: &Action) -> String {
    match action {
        Action::PrepareVolumes => "volumes".to_owned(),
        Action::RunSandbox { attempt } => format!("sandbox {attempt}"),
        Action::RemoveSandbox(id) => format!("remove {}", id.0),
        Action::EnsureImage { container } => format!("image {container}"),
        Action::Start { container, attempt, sandbox } => format!("start {container} {attempt} in {}", sandbox.0),
        Action::Stop { container, grace, .. } => format!("stop {container} {grace:?}"),
        Action::RemoveContainer(id) => format!("remove {}", id.0),
        Action::Probe { container, kind, .. } => format!("probe {container} {}", kind.name()),
        Action::MeasureDisk(_) => "measure".to_owned(),
        Action::GiveUp(verdict) => format!("give up {}", verdict.reason),
        Action::Retire => "retire".to_owned(),
        Action::DeleteObject => "delete object".to_owned(),
        Action::Erase => "erase".to_owned(),
    }
}

fn one() -> Value {
    json!({"containers": [{"name": "main", "image": "img"}]})
}

fn with_policy(policy: &str) -> Value {
    json!({"containers": [{"name": "main", "image": "img"}], "restartPolicy": policy})
}

fn with_inits() -> Value {
    json!({"containers": [{"name": "main", "image": "img"}], "initContainers": [
        {"name": "first", "image": "img"},
        {"name": "side", "image": "img", "restartPolicy": "Always"},
        {"name": "second", "image": "img"},
    ]})
}

#[test]
fn a_new_pod_gets_volumes_sandbox_and_image_at_once() {
    assert_eq!(Case::new(one()).acts(), ["volumes", "sandbox 0", "image main"]);
}

#[test]
fn what_is_under_way_is_not_asked_for_again() {
    let mut case = Case::new(one());
    case.in_flight = BTreeSet::from([Key::Sandbox, Key::Image("main".to_owned())]);
    assert_eq!(case.acts(), ["volumes"]);
}

#[test]
fn a_container_starts_when_all_three_are_there() {
    assert_eq!(Case::ready(one()).acts(), ["start main 0 in s0"]);
    let mut case = Case::ready(one());
    case.memory.volumes = Step::Failed { message: "no".to_owned(), retry_at: None };
    assert_eq!(case.acts(), [""; 0]);
}

#[test]
fn a_slow_start_does_not_ask_for_its_image_again() {
    let mut case = Case::ready(one());
    assert_eq!(case.acts(), ["start main 0 in s0"]);
    case.memory.container_mut("main").image = ImageMemory::Wanted; // the start has taken it
    case.in_flight.insert(Key::Start("main".to_owned()));
    assert_eq!(case.acts(), [""; 0]);
}

#[test]
fn a_running_pod_needs_nothing() {
    let mut case = Case::ready(one());
    case.running("main", 0);
    assert_eq!(case.plan(), Plan::default());
}

#[test]
fn two_main_containers_start_at_once() {
    let case = Case::ready(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    assert_eq!(case.acts(), ["start a 0 in s0", "start b 0 in s0"]);
}

#[test]
fn init_containers_go_one_by_one_and_a_sidecar_stays() {
    let mut case = Case::ready(with_inits());
    assert_eq!(case.acts(), ["start first 0 in s0"]);
    case.running("first", 0);
    assert_eq!(case.acts(), [""; 0]);
    case.observed.containers.clear();
    case.exited("first", 0, 0);
    assert_eq!(case.acts(), ["start side 0 in s0"]);
    case.running("side", 0);
    assert_eq!(case.acts(), ["start second 0 in s0"]);
    case.exited("second", 0, 0);
    assert_eq!(case.acts(), ["start main 0 in s0"]);
    case.running("main", 0);
    assert_eq!(case.acts(), [""; 0]);
}

#[test]
fn a_sidecar_holds_the_next_one_until_it_has_started() {
    let mut spec = with_inits();
    spec["initContainers"][1]["startupProbe"] = json!({"exec": {"command": ["true"]}, "initialDelaySeconds": 60});
    let mut case = Case::ready(spec);
    case.exited("first", 0, 0);
    case.running("side", 0);
    assert_eq!(case.acts(), [""; 0]);
    case.memory.container_mut("side").probes.record(ProbeKind::Startup, true, at(1_000));
    assert_eq!(case.acts(), ["start second 0 in s0"]);
}

#[test]
fn a_sidecar_that_dies_later_restarts_alone() {
    let mut case = Case::ready(with_inits());
    case.exited("first", 0, 0);
    case.exited("second", 0, 0);
    case.running("main", 0);
    case.exited("side", 0, 1);
    assert_eq!(case.acts(), ["start side 1 in s0"]);
}

#[test]
fn a_failing_init_container_is_retried_or_ends_the_pod() {
    let mut case = Case::ready(with_inits());
    case.exited("first", 0, 1);
    assert_eq!(case.acts(), ["start first 1 in s0"]);
    case.pod.spec.as_mut().expect("a spec").restart_policy = Some("Never".to_owned());
    assert_eq!(case.acts(), ["retire"]);
}

#[test]
fn the_restart_policy_decides_after_an_exit() {
    for (policy, exit_code, expected) in [
        ("Always", 0, "start main 1 in s0"),
        ("Always", 1, "start main 1 in s0"),
        ("OnFailure", 0, "retire"),
        ("OnFailure", 1, "start main 1 in s0"),
        ("Never", 0, "retire"),
        ("Never", 1, "retire"),
    ] {
        let mut case = Case::ready(with_policy(policy));
        case.exited("main", 0, exit_code);
        assert_eq!(case.acts(), [expected], "{policy} {exit_code}");
    }
}

#[test]
fn a_second_crash_waits_for_its_backoff() {
    let mut case = Case::ready(one());
    case.exited("main", 1, 1);
    case.memory.container_mut("main").restarts = Some(Backoff::raise(None, at(990), at(990)));
    assert_eq!(case.plan(), Plan { actions: vec![], wake_at: Some(at(1_005)) });
    case.now = at(1_005);
    assert_eq!(case.acts(), ["start main 2 in s0"]);
}

#[test]
fn only_the_newest_dead_container_is_kept() {
    let mut case = Case::ready(one());
    case.exited("main", 0, 1);
    case.exited("main", 1, 1);
    case.running("main", 2);
    assert_eq!(case.acts(), ["remove main-0"]);
}

#[test]
fn a_missing_image_is_tried_again_after_its_delay() {
    let mut case = Case::ready(one());
    let backoff = Backoff::raise(None, at(995), at(995));
    let (reason, message) = ("ErrImagePull".to_owned(), String::new());
    case.memory.container_mut("main").image = ImageMemory::Missing { reason, message, at: at(995), backoff };
    assert_eq!(case.plan(), Plan { actions: vec![], wake_at: Some(at(1_005)) });
    case.now = at(1_005);
    assert_eq!(case.acts(), ["image main"]);
}

#[test]
fn a_missing_reference_holds_a_container_until_something_changes() {
    let mut case = Case::ready(one());
    let (reason, message) = ("CreateContainerConfigError".to_owned(), String::new());
    let failure = StartFailure { reason, message, at: at(999), retry: Retry::OnChange };
    case.memory.container_mut("main").start_failure = Some(failure);
    assert_eq!(case.plan(), Plan::default());
    case.memory.container_mut("main").start_failure = None;
    assert_eq!(case.acts(), ["start main 0 in s0"]);
}

#[test]
fn a_container_that_was_created_and_never_started_is_removed() {
    let mut case = Case::ready(one());
    case.observe("main", 0, ContainerState::Created);
    assert_eq!(case.acts(), ["remove main-0"]);
    case.in_flight = BTreeSet::from([Key::Start("main".to_owned())]);
    assert_eq!(case.acts(), [""; 0]);
}

#[test]
fn a_container_removed_behind_our_back_comes_again_as_the_next_attempt() {
    let mut case = Case::ready(one());
    case.running("main", 0);
    case.observed.containers.clear();
    case.memory.note_observed(&case.observed, "wasmtime://", &Default::default(), case.now);
    assert_eq!(case.acts(), ["start main 1 in s0"]);
    let exit = case.memory.container("main").last_exit().cloned().expect("an exit");
    assert_eq!((exit.exit_code, exit.reason.as_str()), (137, "ContainerStatusUnknown"));
}

#[test]
fn a_lost_sandbox_is_replaced_and_init_containers_run_again() {
    let mut case = Case::ready(with_inits());
    case.exited("first", 0, 0);
    case.exited("second", 0, 0);
    case.exited("main", 0, 137);
    case.observed.sandboxes[0].state = SandboxState::NotReady;
    assert_eq!(case.acts(), ["sandbox 1"]);
    case.sandbox(1, SandboxState::Ready);
    assert_eq!(case.acts(), ["remove s0", "start first 1 in s1"]);
}

#[test]
fn a_finished_job_does_not_need_its_lost_sandbox() {
    let mut case = Case::ready(with_policy("OnFailure"));
    case.exited("main", 0, 0);
    case.observed = Observed::default();
    assert_eq!(case.acts(), ["retire"]);
}

#[test]
fn due_probes_are_done_and_others_waited_for() {
    let mut case = Case::ready(json!({"containers": [{"name": "main",
        "livenessProbe": {"initialDelaySeconds": 10}, "readinessProbe": {"initialDelaySeconds": 30}}]}));
    case.running("main", 0);
    let plan = case.plan();
    assert_eq!((case.acts(), plan.wake_at), (vec!["probe main Liveness".to_owned()], Some(at(1_020))));
}

#[test]
fn a_container_that_failed_a_probe_is_stopped_and_says_which() {
    let stop = |spec: Value| {
        let mut case = Case::ready(spec);
        let id = case.running("main", 0);
        case.memory.container_mut("main").doomed = Some((id.clone(), ProbeKind::Liveness));
        let plan = case.plan();
        let [Action::Stop { grace, message, .. }] = &plan.actions[..] else { panic!("not a stop") };
        case.memory.container_mut("main").stopping = Some((id, case.now + *grace));
        assert_eq!(case.acts(), [""; 0], "it is under way");
        (grace.as_secs(), message.clone().unwrap_or_default())
    };
    let probed = |probe: Value| json!({"name": "main", "livenessProbe": probe});
    let restarted = "Container main failed liveness probe, will be restarted".to_owned();
    assert_eq!(stop(json!({"containers": [probed(json!({}))]})), (30, restarted.clone()));
    let own = json!({"terminationGracePeriodSeconds": 7});
    assert_eq!(stop(json!({"containers": [probed(own)], "terminationGracePeriodSeconds": 60})), (7, restarted));
    let once = json!({"containers": [probed(json!({}))], "restartPolicy": "Never"});
    assert_eq!(stop(once), (30, "Container main failed liveness probe".to_owned()));
}

#[test]
fn only_a_pod_with_limits_on_the_disk_is_measured_and_not_all_the_time() {
    let mut case = Case::ready(json!({"containers": [{"name": "main"}], "volumes": [{"name": "d", "emptyDir": {}}]}));
    case.running("main", 0);
    case.now = at(9_000);
    assert_eq!(case.plan(), Plan::default(), "nothing to do, and nothing to wake up for");
    let volumes = json!([{"name": "d", "emptyDir": {"sizeLimit": "1Mi"}}]);
    let mut case = Case::ready(json!({"containers": [{"name": "main"}], "volumes": volumes}));
    case.running("main", 0);
    assert_eq!((case.acts(), case.plan().wake_at), (vec![], Some(at(1_010))));
    case.now = at(1_010);
    assert_eq!(case.acts(), ["measure"]);
    case.memory.measured_at = Some(at(1_011));
    assert_eq!((case.acts(), case.plan().wake_at), (vec![], Some(at(1_021))));
    case.memory.excess = Some("too much".to_owned());
    assert_eq!(case.acts(), ["give up Evicted"]);
    let plan = case.plan();
    let [Action::GiveUp(verdict)] = &plan.actions[..] else { panic!("no verdict") };
    case.memory.verdict = Some(verdict.clone());
    case.memory.note_pod(&case.pod, case.now);
    assert_eq!(case.memory.ending.map(|ending| ending.deadline), Some(at(1_011)));
}

#[test]
fn a_container_of_an_older_image_is_replaced() {
    for policy in ["Always", "Never"] {
        let mut case = Case::ready(json!({"restartPolicy": policy, "containers": [{"name": "main", "image": "v2"}]}));
        let made_from = |case: &mut Case, image: &str| {
            let annotation = (labels::CONTAINER_HASH.to_owned(), image.to_owned());
            case.observed.containers[0].annotations.extend([annotation]);
        };
        let id = case.running("main", 0);
        made_from(&mut case, "v2");
        assert_eq!(case.acts(), [""; 0]);
        made_from(&mut case, "v1");
        let message = Some("Container main definition changed, will be restarted".to_owned());
        let stop = Action::Stop { container: "main".to_owned(), id, grace: Duration::from_secs(30), message };
        assert_eq!(case.plan().actions, [stop]);
        case.observed.containers.clear();
        case.exited("main", 0, 137);
        made_from(&mut case, "v1");
        assert_eq!(case.acts(), ["start main 1 in s0"], "{policy}");
    }
}

#[test]
fn a_pod_that_ends_is_still_asked_whether_it_is_ready() {
    let mut case = Case::ready(json!({"containers": [{"name": "main", "livenessProbe": {}, "readinessProbe": {}}]}));
    case.running("main", 0);
    case.delete(30);
    assert_eq!(case.acts(), ["stop main 30s", "probe main Readiness"]);
}

#[test]
fn a_deleted_pod_stops_all_containers_at_once_and_sidecars_last() {
    let mut case = Case::ready(json!({"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [
        {"name": "s1", "restartPolicy": "Always"}, {"name": "s2", "restartPolicy": "Always"}]}));
    ["s1", "s2", "a", "b"].iter().for_each(|name| drop(case.running(name, 0)));
    case.delete(20);
    assert_eq!(case.acts(), ["stop a 20s", "stop b 20s"]);
    case.observed.containers.truncate(2);
    case.now = at(1_005);
    assert_eq!(case.acts(), ["stop s2 15s"]);
    case.observed.containers.truncate(1);
    assert_eq!(case.acts(), ["stop s1 15s"]);
}

#[test]
fn a_shorter_deletion_stops_again_with_less_time() {
    let mut case = Case::ready(one());
    let id = case.running("main", 0);
    case.delete(30);
    case.memory.container_mut("main").stopping = Some((id, at(1_030)));
    assert_eq!(case.acts(), [""; 0]);
    case.now = at(1_003);
    case.delete(5);
    assert_eq!(case.acts(), ["stop main 2s"]);
}

#[test]
fn a_deleted_pod_is_retired_reported_and_then_deleted() {
    let mut case = Case::ready(one());
    case.exited("main", 0, 0);
    case.delete(30);
    assert_eq!(case.acts(), ["retire"]);
    case.memory.retired = true;
    case.status_written = false;
    assert_eq!(case.acts(), [""; 0]);
    case.status_written = true;
    assert_eq!(case.acts(), ["delete object"]);
    case.memory.deleted = true;
    assert_eq!(case.acts(), [""; 0]);
    case.memory.gone = true;
    assert_eq!(case.acts(), ["erase"]);
}

#[test]
fn a_start_under_way_holds_the_clean_up_back() {
    let mut case = Case::ready(one());
    case.delete(30);
    case.in_flight = BTreeSet::from([Key::Start("main".to_owned())]);
    assert_eq!(case.acts(), [""; 0]);
}

#[test]
fn a_pod_past_its_deadline_is_given_up() {
    let mut spec = one();
    spec["activeDeadlineSeconds"] = json!(60);
    let mut case = Case::ready(spec);
    case.running("main", 0);
    assert_eq!(case.plan(), Plan { actions: vec![], wake_at: Some(at(1_060)) });
    case.now = at(1_060);
    assert_eq!(case.acts(), ["give up DeadlineExceeded"]);
    case.memory.ending = Some(Ending { since: case.now, deadline: at(1_090) });
    assert_eq!(case.acts(), ["stop main 30s"]);
}

#[test]
fn a_pod_that_wants_the_impossible_is_rejected_before_anything_is_made() {
    let spec = json!({"containers": [{"name": "main"}], "hostPID": true});
    assert_eq!(Case::new(spec).acts(), ["give up UnsupportedPodSpec"]);
}

#[test]
fn a_pod_that_ended_before_we_came_is_not_run_again() {
    let mut case = Case::new(one());
    case.pod.status = serde_json::from_value(json!({"phase": "Succeeded"})).expect("a status");
    assert_eq!(case.acts(), ["retire"]);
}

#[test]
fn exits_known_only_from_the_api_count() {
    let mut case = Case::ready(with_policy("Never"));
    let exit = Exit { exit_code: 0, ..crate::memory::lost(0, at(900)) };
    case.memory.container_mut("main").exits.push(exit);
    assert_eq!(case.acts(), ["retire"]);
}

#[test]
fn an_ephemeral_container_is_started_once_and_whatever_the_others_do() {
    let mut case = Case::ready(json!({
        "initContainers": [{"name": "stuck", "image": "img"}], "containers": [{"name": "main", "image": "img"}],
        "ephemeralContainers": [{"name": "debugger", "image": "img", "targetContainerName": "main"}],
    }));
    case.running("stuck", 0);
    assert_eq!(case.acts(), ["start debugger 0 in s0"]);
    case.exited("debugger", 0, 1);
    assert!(case.acts().is_empty(), "its end is an end");
    case.delete(30);
    case.running("debugger", 1);
    assert_eq!(case.acts(), ["stop stuck 30s", "stop debugger 30s"]);
}
