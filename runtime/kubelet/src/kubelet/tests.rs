//! The whole kubelet against a small API server and the fake runtime, in virtual time.

use super::{api::FakeApi, *};
use crate::{Capacity, ClusterDns, NodeConfig, probes::servers};
use k8s_openapi::api::core::v1::NodeAddress;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};
use wk_cri::{
    Error, ExecSyncOutput, Filter, RuntimeService,
    fake::{FakeConfig, FakeRuntime, ImageScript, OnStop, Port, Script},
};
use wk_platform::{Clock, Entropy};

const WEB: &str = "pods/default/web";

struct World {
    api: FakeApi,
    runtime: FakeRuntime,
    handle: KubeletHandle,
    root: tempfile::TempDir,
    tasks: TaskGroup,
}

impl World {
    fn new() -> Self {
        let runtime = FakeRuntime::new(FakeConfig::default());
        runtime.set_image("sleep:v1", ImageScript::local(Script::default()));
        let root = tempfile::tempdir().expect("a directory");
        Self::with(FakeApi::new(), runtime, root)
    }

    fn with(api: FakeApi, runtime: FakeRuntime, root: tempfile::TempDir) -> Self {
        let epoch = jiff::Timestamp::from_nanosecond(FakeConfig::default().epoch.0.into()).expect("in range");
        let address = NodeAddress { type_: "InternalIP".to_owned(), address: "192.168.0.1".to_owned() };
        let kubelet = Kubelet::new(Config {
            node_name: "n1".to_owned(),
            client: api.client(),
            runtime: Arc::new(runtime.clone()),
            images: Arc::new(runtime.clone()),
            root_dir: root.path().to_path_buf(),
            clock: Clock::virtual_from(epoch),
            entropy: Entropy::seeded(1),
            node: NodeConfig { addresses: vec![address], capacity: Capacity::default(), ..NodeConfig::default() },
            dns: ClusterDns::default(),
        });
        let (handle, tasks) = (kubelet.handle(), TaskGroup::new());
        kubelet.run(&tasks);
        Self { api, runtime, handle, root, tasks }
    }

    /// Another kubelet over the same API server, after a crash of this one.
    /// Without its runtime everything that ran is lost.
    async fn restart(self, runtime: FakeRuntime) -> Self {
        self.tasks.shutdown(Duration::from_secs(1)).await.expect("the kubelet stops");
        Self::with(self.api, runtime, self.root)
    }

    /// Binds a pod `web` to this node.
    fn bind(&self, mut spec: Value) {
        spec["nodeName"] = json!("n1");
        let metadata = json!({"name": "web", "namespace": "default", "uid": "u1"});
        let scheduled = json!({"type": "PodScheduled", "status": "True"});
        let status = json!({"phase": "Pending", "qosClass": "BestEffort", "conditions": [scheduled]});
        self.api.put(WEB, json!({"metadata": metadata, "spec": spec, "status": status}));
    }

    fn pod(&self) -> Value {
        self.api.get(WEB).unwrap_or_default()
    }

    async fn until_pod(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        self.api.until(what, |api| is_so(&api.get(WEB).unwrap_or_default())).await;
    }

    async fn until_ready(&self) {
        self.until_pod("ready", |pod| condition(pod, "Ready") == "True").await;
    }

    async fn until_waiting(&self, reason: &str) {
        self.until_pod(reason, |pod| main(pod)["state"]["waiting"]["reason"] == reason).await;
    }

    async fn until_gone(&self) {
        self.api.until("gone", |api| api.get(WEB).is_none()).await;
    }

    /// `reason: message` of every recorded event so far.
    fn events(&self) -> Vec<String> {
        let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
        self.api
            .all("events")
            .iter()
            .map(|event| format!("{}: {}", text(event, "reason"), text(event, "message")))
            .collect()
    }

    async fn until_event(&self, start: &str) {
        self.api.until(start, |_| self.events().iter().any(|event| event.starts_with(start))).await;
    }

    /// How often a verb was called with any subject.
    fn calls(&self, verb: &str) -> usize {
        self.runtime.calls().iter().filter(|call| call.starts_with(verb)).count()
    }
}

fn condition(pod: &Value, name: &str) -> String {
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == name);
    found.and_then(|condition| condition["status"].as_str()).unwrap_or_default().to_owned()
}

fn main(pod: &Value) -> Value {
    pod["status"]["containerStatuses"][0].clone()
}

fn one(image: &str) -> Value {
    json!({"containers": [{"name": "main", "image": image, "imagePullPolicy": "IfNotPresent"}]})
}

#[tokio::test(start_paused = true)]
async fn a_pod_becomes_ready_with_one_status_write() {
    let world = World::new();
    world.bind(one("sleep:v1"));
    world.until_ready().await;
    let pod = world.pod();
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(pod["status"]["podIP"], "10.244.0.2");
    assert_eq!(pod["status"]["hostIP"], "192.168.0.1");
    assert_eq!(pod["status"]["qosClass"], "BestEffort");
    assert!(main(&pod)["containerID"].as_str().is_some_and(|id| id.starts_with("fake://")));
    let writes = world.api.requests().iter().filter(|request| *request == "PATCH pods/default/web status").count();
    assert_eq!(writes, 1);
    world.until_event("Started").await;
    let expected = [
        "Pulled: Container image \"sleep:v1\" already present on machine",
        "Created: Created container: main",
        "Started: Started container main",
    ];
    let events = world.events();
    assert!(expected.iter().all(|event| events.contains(&(*event).to_owned())), "{events:?}");
    let view = world.handle.pod("default", "web", None).expect("a view");
    assert!(view.running_container("main").is_some() && view.log_path("main").is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_node_registers_with_a_lease_and_stays_quiet() {
    let world = World::new();
    world.api.until("lease", |api| api.get("leases/kube-node-lease/n1").is_some()).await;
    let node = world.api.get("nodes/n1").expect("a node");
    assert_eq!(condition(&node, "Ready"), "True");
    let renewed = |api: &FakeApi| api.get("leases/kube-node-lease/n1").map(|lease| lease["spec"]["renewTime"].clone());
    for _ in 0..3 {
        let before = renewed(&world.api);
        world.api.until("renewed", |api| renewed(api) != before).await;
    }
    let node_writes = world.api.requests().iter().filter(|request| request.contains("PATCH nodes/")).count();
    assert_eq!(node_writes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_marked_dead_says_that_it_lives() {
    let world = World::new();
    world.api.until("a node", |api| api.get("nodes/n1").is_some()).await;
    world.api.until("a lease", |api| api.get("leases/kube-node-lease/n1").is_some()).await;
    let mut node = world.api.get("nodes/n1").expect("a node");
    let conditions = node["status"]["conditions"].as_array_mut().expect("conditions");
    conditions.iter_mut().for_each(|condition| condition["status"] = json!("Unknown"));
    world.api.put("nodes/n1", node);
    world.api.until("ready again", |api| condition(&api.get("nodes/n1").unwrap_or_default(), "Ready") == "True").await;
}

#[tokio::test(start_paused = true)]
async fn a_crashing_container_backs_off() {
    let world = World::new();
    world.runtime.set_image("crash:v1", ImageScript::local(Script::exits(Duration::from_secs(1), 1)));
    world.bind(one("crash:v1"));
    world.until_waiting("CrashLoopBackOff").await;
    let pod = world.pod();
    assert_eq!(main(&pod)["restartCount"], 1);
    assert_eq!(main(&pod)["lastState"]["terminated"]["exitCode"], 1);
    let message = "back-off 10s restarting failed container=main pod=web_default(u1)";
    assert_eq!(main(&pod)["state"]["waiting"]["message"], message);
    world.until_event("BackOff: Back-off restarting failed container main in pod web_default(u1)").await;
    let started = tokio::time::Instant::now();
    world.until_pod("a third try", |pod| main(pod)["restartCount"] == 2).await;
    assert!(started.elapsed() >= Duration::from_secs(9), "{:?}", started.elapsed());
    let view = world.handle.pod("default", "web", None).expect("a view");
    assert!(view.containers.len() <= 2, "old dead containers are removed");
}

#[tokio::test(start_paused = true)]
async fn a_trap_is_told() {
    let world = World::new();
    world.runtime.set_image("sleep:v1", ImageScript::local(Script::default()));
    world.bind(json!({"containers": [{"name": "main", "image": "sleep:v1"}], "restartPolicy": "Never"}));
    world.until_ready().await;
    let view = world.handle.pod("default", "web", None).expect("a view");
    let id = view.container("main").expect("a container").id.clone();
    world.runtime.end_guest(&id, 134, "wasm trap: unreachable");
    world.until_pod("failed", |pod| pod["status"]["phase"] == "Failed").await;
    let terminated = main(&world.pod())["state"]["terminated"].clone();
    assert_eq!((&terminated["exitCode"], &terminated["message"]), (&json!(134), &json!("wasm trap: unreachable")));
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_backs_off_and_comes() {
    let world = World::new();
    let spec = one("later:v1");
    world.bind(spec);
    world.until_waiting("ErrImagePull").await;
    world.until_waiting("ImagePullBackOff").await;
    world.until_event("BackOff: Back-off pulling image \"later:v1\"").await;
    assert!(world.events().iter().any(|event| event.starts_with("Failed: Failed to pull image \"later:v1\": ")));
    world.runtime.set_image("later:v1", ImageScript::remote(Script::default()));
    world.until_ready().await;
    world.until_event("Pulled: Successfully pulled image").await;
}

#[tokio::test(start_paused = true)]
async fn another_image_replaces_the_container_or_the_failed_pull() {
    let world = World::new();
    world.runtime.set_image("sleep:v2", ImageScript::local(Script::default()));
    world.bind(one("sleep:v1"));
    world.until_ready().await;
    let set_image = |image: &str| {
        let mut pod = world.pod();
        pod["spec"]["containers"][0]["image"] = json!(image);
        world.api.put(WEB, pod);
    };
    set_image("sleep:v2");
    world.until_pod("replaced", |pod| main(pod)["image"] == "sleep:v2" && condition(pod, "Ready") == "True").await;
    world.until_event("Killing: Container main definition changed, will be restarted").await;
    set_image("none:v1");
    world.until_waiting("ImagePullBackOff").await;
    let started = tokio::time::Instant::now();
    set_image("sleep:v1");
    world.until_ready().await;
    assert!(started.elapsed() < Duration::from_secs(5), "the new image need not wait for the old one's back-off");
}

#[tokio::test(start_paused = true)]
async fn never_pull_says_so() {
    let world = World::new();
    world.bind(json!({"containers": [{"name": "main", "image": "no:v1", "imagePullPolicy": "Never"}]}));
    world.until_waiting("ErrImageNeverPull").await;
    assert_eq!(world.calls("pull_image"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_is_stopped_politely_and_let_go() {
    let world = World::new();
    let slow = Script { on_stop: OnStop::Exits { after: Duration::from_secs(3), exit_code: 0 }, ..Script::default() };
    world.runtime.set_image("slow:v1", ImageScript::local(slow));
    world.bind(one("slow:v1"));
    world.until_ready().await;
    let started = tokio::time::Instant::now();
    world.api.delete_pod(WEB, 30);
    world.until_gone().await;
    assert_eq!(started.elapsed().as_secs(), 3);
    world.until_event("Killing: Stopping container main").await;
    let handle = world.handle.clone();
    world.api.until("erased", |_| handle.pods().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_stubborn_container_is_ended_at_its_deadline() {
    let world = World::new();
    let stubborn = Script { on_stop: OnStop::Ignores, ..Script::default() };
    world.runtime.set_image("stubborn:v1", ImageScript::local(stubborn));
    world.bind(one("stubborn:v1"));
    world.until_ready().await;
    let started = tokio::time::Instant::now();
    world.api.delete_pod(WEB, 30);
    world.until_event("Killing").await;
    world.api.delete_pod(WEB, 5);
    world.until_gone().await;
    assert_eq!(started.elapsed().as_secs(), 5, "the second deletion is sooner");
}

#[tokio::test(start_paused = true)]
async fn a_pod_deleted_by_force_leaves_nothing() {
    let world = World::new();
    world.bind(one("sleep:v1"));
    world.until_ready().await;
    world.api.delete_pod(WEB, 0);
    wait_until(|| world.handle.pods().is_empty()).await;
    assert_eq!(world.runtime.list_pod_sandboxes(Filter::default()).await, Ok(vec![]));
    assert!(!world.root.path().join("pods/u1").exists());
}

/// For what only the kubelet knows. Virtual time passes between looks: a task
/// that only yields would keep the paused clock still, and a kubelet that waits
/// for it would wait for ever.
async fn wait_until(is_so: impl Fn() -> bool) {
    let look = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), look).await.expect("it comes");
}

#[tokio::test(start_paused = true)]
async fn a_removed_container_comes_back_in_the_same_pod() {
    let world = World::new();
    world.bind(one("sleep:v1"));
    world.until_ready().await;
    let before = world.pod();
    let view = world.handle.pod("default", "web", None).expect("a view");
    world.runtime.remove_container(&view.container("main").expect("a container").id).await.expect("removed");
    world.until_pod("restarted", |pod| main(pod)["restartCount"] == 1 && condition(pod, "Ready") == "True").await;
    let after = world.pod();
    assert_eq!(before["status"]["podIP"], after["status"]["podIP"]);
    assert_ne!(main(&before)["containerID"], main(&after)["containerID"]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_config_map_holds_the_container_until_it_comes() {
    let world = World::new();
    let mut spec = one("sleep:v1");
    spec["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "cm"}}]);
    world.bind(spec);
    world.until_waiting("CreateContainerConfigError").await;
    assert_eq!(main(&world.pod())["state"]["waiting"]["message"], "configmap \"cm\" not found");
    let config_map = json!({"metadata": {"name": "cm", "namespace": "default"}, "data": {"A": "1"}});
    world.api.put("configmaps/default/cm", config_map);
    world.until_ready().await;
}

#[tokio::test(start_paused = true)]
async fn changes_of_a_config_map_reach_its_files() {
    let world = World::new();
    let config_map = |value: &str| json!({"metadata": {"name": "cm", "namespace": "default"}, "data": {"a": value}});
    world.api.put("configmaps/default/cm", config_map("1"));
    let mut spec = one("sleep:v1");
    spec["volumes"] = json!([{"name": "cfg", "configMap": {"name": "cm"}}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "cfg", "mountPath": "/cfg"}]);
    world.bind(spec);
    world.until_ready().await;
    let file = world.root.path().join("pods/u1/volumes/kubernetes.io~configmap/cfg/a");
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), "1");
    world.api.put("configmaps/default/cm", config_map("2"));
    wait_until(|| std::fs::read_to_string(&file).is_ok_and(|text| text == "2")).await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_liveness_probe_restarts_the_container() {
    let world = World::new();
    let mut spec = one("sleep:v1");
    let exec = json!({"exec": {"command": ["healthy"]}, "periodSeconds": 5, "failureThreshold": 2});
    spec["containers"][0]["livenessProbe"] = exec;
    let output = |exit_code| ExecSyncOutput { stdout: "sick".into(), exit_code, ..ExecSyncOutput::default() };
    let command = vec!["healthy".to_owned()];
    let script = Script { commands: BTreeMap::from([(command.clone(), output(0))]), ..Script::default() };
    world.runtime.set_image("sleep:v1", ImageScript::local(script));
    world.bind(spec);
    world.until_ready().await;
    let view = world.handle.pod("default", "web", None).expect("a view");
    wait_until(|| world.calls("exec_sync") > 0).await;
    let id = view.container("main").expect("a container").id.clone();
    world.runtime.change_script(&id, |script| drop(script.commands.insert(command, output(1))));
    world.until_pod("restarted", |pod| main(pod)["restartCount"] == 1).await;
    world.until_event("Unhealthy: Liveness probe failed: sick").await;
    world.until_event("Killing: Container main failed liveness probe, will be restarted").await;
}

#[tokio::test(start_paused = true)]
async fn a_readiness_probe_decides_over_ready() {
    let world = World::new();
    let web = |status| Script { ports: [(8080, Port::Http(status))].into(), ..Script::default() };
    world.runtime.set_image("sleep:v1", ImageScript::local(web(503)));
    let mut spec = one("sleep:v1");
    spec["containers"][0]["readinessProbe"] = json!({"httpGet": {"port": 8080}, "periodSeconds": 3});
    world.bind(spec);
    world.until_event("Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503").await;
    assert_eq!((condition(&world.pod(), "Ready"), &main(&world.pod())["started"]), ("False".to_owned(), &json!(true)));
    let view = world.handle.pod("default", "web", None).expect("a view");
    world.runtime.change_script(&view.container("main").expect("a container").id, |script| *script = web(200));
    world.until_ready().await;
}

#[tokio::test(start_paused = true)]
async fn a_grpc_server_decides_over_ready_and_an_https_one_over_started() {
    let with_service = |service: &str| {
        let world = World::new();
        let ports = [(5000, Port::Serve(servers::grpc)), (8443, Port::Serve(servers::https))].into();
        world.runtime.set_image("sleep:v1", ImageScript::local(Script { ports, ..Script::default() }));
        let mut spec = one("sleep:v1");
        spec["containers"][0]["startupProbe"] = json!({"httpGet": {"port": 8443, "scheme": "HTTPS"}});
        spec["containers"][0]["readinessProbe"] = json!({"grpc": {"port": 5000, "service": service}});
        world.bind(spec);
        world
    };
    with_service("up").until_ready().await;
    let world = with_service("down");
    world.until_event("Unhealthy: Readiness probe failed: service unhealthy (responded with \"NOT_SERVING\")").await;
    world.until_pod("started", |pod| main(pod)["started"] == true).await;
    assert_eq!(condition(&world.pod(), "Ready"), "False");
}

#[tokio::test(start_paused = true)]
async fn a_failed_startup_probe_kills_within_its_own_time() {
    let world = World::new();
    let script = Script { on_stop: OnStop::Ignores, ..Script::default() };
    world.runtime.set_image("sleep:v1", ImageScript::local(script));
    let mut spec = one("sleep:v1");
    let exec = json!({"command": ["false"]});
    let grace = json!({"exec": exec, "failureThreshold": 2, "periodSeconds": 4, "terminationGracePeriodSeconds": 3});
    spec["containers"][0]["startupProbe"] = grace;
    spec["containers"][0]["livenessProbe"] = json!({"exec": {"command": ["echo", "liveness"]}});
    world.bind(spec);
    world.until_event("Killing: Container main failed startup probe, will be restarted").await;
    let killed = tokio::time::Instant::now();
    world.until_pod("restarted", |pod| main(pod)["restartCount"] == 1).await;
    assert_eq!(killed.elapsed().as_secs(), 3);
    assert_eq!(main(&world.pod())["lastState"]["terminated"]["exitCode"], 137);
    assert_eq!(world.calls("exec_sync echo liveness"), 0, "liveness waits for the start");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_cannot_be_done_is_said_and_kills_nobody() {
    let world = World::new();
    let mut spec = one("sleep:v1");
    spec["containers"][0]["livenessProbe"] =
        json!({"exec": {"command": ["none"]}, "failureThreshold": 1, "periodSeconds": 1});
    world.bind(spec);
    world.until_event("Unhealthy: Liveness probe errored and resulted in unknown state: rpc error: code = ").await;
    wait_until(|| world.calls("exec_sync none") > 5).await;
    assert_eq!((main(&world.pod())["restartCount"].clone(), world.calls("stop_container")), (json!(0), 0));
}

#[tokio::test(start_paused = true)]
async fn a_redirect_out_of_the_pod_is_a_warning() {
    let world = World::new();
    let ports = [(80, Port::Serve(servers::http))].into();
    world.runtime.set_image("sleep:v1", ImageScript::local(Script { ports, ..Script::default() }));
    let mut spec = one("sleep:v1");
    spec["containers"][0]["readinessProbe"] = json!({"httpGet": {"port": 80, "path": "/to/302/http://else.where/"}});
    world.bind(spec);
    world.until_ready().await;
    world.until_event("ProbeWarning: Readiness probe warning: Probe terminated redirects, Response body: well").await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_ends_may_become_unready_before_it_is_gone() {
    let world = World::new();
    let slow = OnStop::Exits { after: Duration::from_secs(20), exit_code: 0 };
    let web = |status| Script { ports: [(80, Port::Http(status))].into(), on_stop: slow, ..Script::default() };
    world.runtime.set_image("sleep:v1", ImageScript::local(web(200)));
    let mut spec = one("sleep:v1");
    spec["containers"][0]["readinessProbe"] =
        json!({"httpGet": {"port": 80}, "periodSeconds": 2, "failureThreshold": 1});
    world.bind(spec);
    world.until_ready().await;
    world.api.delete_pod(WEB, 30);
    let view = world.handle.pod("default", "web", None).expect("a view");
    world.runtime.change_script(&view.container("main").expect("a container").id, |script| *script = web(503));
    world
        .until_pod("unready", |pod| condition(pod, "Ready") == "False" && main(pod)["state"]["running"].is_object())
        .await;
    world.until_gone().await;
}

#[tokio::test(start_paused = true)]
async fn hooks_run_after_the_start_and_before_the_stop() {
    let world = World::new();
    let mut spec = one("sleep:v1");
    spec["containers"][0]["lifecycle"] =
        json!({"postStart": {"exec": {"command": ["echo", "hi"]}}, "preStop": {"sleep": {"seconds": 4}}});
    world.bind(spec);
    world.until_ready().await;
    assert!(world.runtime.calls().contains(&"exec_sync echo hi".to_owned()));
    let started = tokio::time::Instant::now();
    world.api.delete_pod(WEB, 30);
    world.until_gone().await;
    assert_eq!(started.elapsed().as_secs(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_failed_post_start_restarts_the_container() {
    let world = World::new();
    let mut spec = one("sleep:v1");
    spec["containers"][0]["lifecycle"] = json!({"postStart": {"exec": {"command": ["false"]}}});
    world.bind(spec);
    world.until_event("FailedPostStartHook: PostStartHook failed").await;
    world.until_event("Killing: FailedPostStartHook").await;
    world.until_waiting("PostStartHookError").await;
    let message = "Exec lifecycle hook ([false]) for Container \"main\" in Pod \"web_default(u1)\" failed - error: ";
    let waiting = main(&world.pod())["state"]["waiting"]["message"].clone();
    assert!(waiting.as_str().is_some_and(|seen| seen.starts_with(message)), "{waiting}");
    world.until_pod("restarts", |pod| main(pod)["restartCount"].as_i64() > Some(0)).await;
    assert_ne!(condition(&world.pod(), "Ready"), "True");
}

#[tokio::test(start_paused = true)]
async fn a_hook_over_http_is_content_with_any_answer() {
    let world = World::new();
    let web = Script { ports: [(80, Port::Http(500))].into(), ..Script::default() };
    world.runtime.set_image("sleep:v1", ImageScript::local(web));
    let mut spec = one("sleep:v1");
    spec["containers"][0]["lifecycle"] = json!({"postStart": {"httpGet": {"port": 80, "path": "/up"}},
        "preStop": {"httpGet": {"port": 81}}});
    world.bind(spec);
    world.until_ready().await;
    world.api.delete_pod(WEB, 30);
    world.until_gone().await;
    world.until_event("FailedPreStopHook: PreStopHook failed").await;
    assert!(!world.events().iter().any(|event| event.starts_with("FailedPostStartHook")));
}

#[tokio::test(start_paused = true)]
async fn a_job_succeeds_and_stays() {
    let world = World::new();
    world.runtime.set_image("job:v1", ImageScript::local(Script::exits(Duration::from_secs(2), 0)));
    let mut spec = one("job:v1");
    spec["restartPolicy"] = json!("OnFailure");
    world.bind(spec);
    world.until_pod("succeeded", |pod| pod["status"]["phase"] == "Succeeded").await;
    let pod = world.pod();
    assert_eq!(main(&pod)["state"]["terminated"]["reason"], "Completed");
    assert_eq!(pod["status"]["podIP"], "10.244.0.2");
    assert_eq!(world.calls("start_container"), 1);
    world.api.delete_pod(WEB, 30);
    world.until_gone().await;
}

#[tokio::test(start_paused = true)]
async fn init_containers_run_first() {
    let world = World::new();
    world.runtime.set_image("init:v1", ImageScript::local(Script::exits(Duration::from_secs(1), 0)));
    let mut spec = one("sleep:v1");
    spec["initContainers"] = json!([{"name": "a", "image": "init:v1"}, {"name": "b", "image": "init:v1"}]);
    world.bind(spec);
    world.until_pod("initializing", |pod| main(pod)["state"]["waiting"]["reason"] == "PodInitializing").await;
    world.until_ready().await;
    let starts: Vec<_> = world.runtime.calls().into_iter().filter(|call| call.starts_with("start_")).collect();
    assert_eq!(starts, ["start_container a", "start_container b", "start_container main"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_past_its_deadline_fails() {
    let world = World::new();
    let mut spec = one("sleep:v1");
    spec["activeDeadlineSeconds"] = json!(60);
    world.bind(spec);
    world.until_pod("failed", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(world.pod()["status"]["reason"], "DeadlineExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_fills_its_volume_is_evicted() {
    let world = World::new();
    let mut spec = one("sleep:v1");
    spec["volumes"] = json!([{"name": "scratch", "emptyDir": {"sizeLimit": "128Ki"}}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "scratch", "mountPath": "/scratch"}]);
    world.bind(spec);
    world.until_ready().await;
    let volume = world.root.path().join("pods/u1/volumes/kubernetes.io~empty-dir/scratch");
    std::fs::write(volume.join("small"), vec![1; 64 << 10]).expect("a write");
    tokio::time::sleep(crate::disk::PERIOD * 3).await;
    assert_eq!(condition(&world.pod(), "Ready"), "True", "it is within its limit");
    std::fs::write(volume.join("big"), vec![1; 128 << 10]).expect("a write");
    world.until_pod("evicted", |pod| pod["status"]["reason"] == "Evicted").await;
    let message = "Usage of EmptyDir volume \"scratch\" exceeds the limit \"128Ki\". ";
    world.until_pod("failed", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(world.pod()["status"]["message"], message);
    world.until_event(&format!("Evicted: {message}")).await;
    world.until_event("Killing: Stopping container main").await;
    wait_until(|| !volume.exists()).await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_fills_its_root_or_its_log_is_evicted() {
    let own = "Container main exceeded its local ephemeral storage limit \"1Mi\". ";
    let together = "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ";
    for (file, limit_of_side, message) in
        [("main/0.root/file", Some("99Mi"), own), ("main/0.log.1", Some("99Mi"), own), ("side/0.log.1", None, together)]
    {
        let world = World::new();
        let mut spec = one("sleep:v1");
        spec["containers"][0]["resources"] = json!({"limits": {"ephemeral-storage": "1Mi"}});
        let mut side = one("sleep:v1")["containers"][0].clone();
        side["name"] = json!("side");
        side["resources"] = limit_of_side.map_or(json!({}), |limit| json!({"limits": {"ephemeral-storage": limit}}));
        spec["containers"].as_array_mut().expect("a list").push(side);
        world.bind(spec);
        world.until_ready().await;
        let path = world.root.path().join("logs/default_web_u1").join(file);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, vec![1; 2 << 20]).expect("a write");
        world.until_pod("evicted", |pod| pod["status"]["phase"] == "Failed").await;
        assert_eq!(world.pod()["status"]["message"], message, "{file}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_impossible_pod_is_refused_with_a_reason() {
    let world = World::new();
    let mut spec = one("sleep:v1");
    spec["hostPID"] = json!(true);
    world.bind(spec);
    world.until_pod("failed", |pod| pod["status"]["phase"] == "Failed").await;
    assert!(world.pod()["status"]["message"].as_str().is_some_and(|message| message.contains("hostPID")));
    assert_eq!((world.calls("run_pod_sandbox"), world.calls("create_container")), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_lost_sandbox_is_made_again() {
    let world = World::new();
    world.bind(one("sleep:v1"));
    world.until_ready().await;
    let view = world.handle.pod("default", "web", None).expect("a view");
    world.runtime.lose_sandbox(view.sandbox.as_ref().expect("a sandbox"));
    world.until_pod("restarted", |pod| main(pod)["restartCount"] == 1 && condition(pod, "Ready") == "True").await;
    world.until_event("SandboxChanged").await;
    let left = world.runtime.list_pod_sandboxes(Filter::default()).await.expect("listed");
    assert_eq!(left.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_container_removed_behind_its_back_is_replaced_at_once_each_time() {
    let world = World::new();
    world.bind(one("sleep:v1"));
    world.until_ready().await;
    let started = tokio::time::Instant::now();
    for restarts in 1..=3 {
        let before = world.pod();
        let view = world.handle.pod("default", "web", None).expect("a view");
        let id = view.running_container("main").expect("a container").id.clone();
        world.runtime.remove_container(&id).await.expect("removed");
        let replaced = |pod: &Value| main(pod)["restartCount"] == restarts && condition(pod, "Ready") == "True";
        world.until_pod("replaced", replaced).await;
        let after = world.pod();
        assert_ne!(main(&after)["containerID"], main(&before)["containerID"]);
        assert_eq!(after["status"]["podIP"], before["status"]["podIP"]);
        let last = &main(&after)["lastState"]["terminated"];
        assert_eq!((&last["reason"], &last["exitCode"]), (&json!("ContainerStatusUnknown"), &json!(137)));
        assert_eq!(last["containerID"], main(&before)["containerID"]);
    }
    assert!(started.elapsed() < Duration::from_secs(5), "nothing has failed, so nothing backs off");
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_cannot_be_made_is_tried_again() {
    let world = World::new();
    world.runtime.fail_next("run_pod_sandbox", Error::ResourceExhausted("no address".to_owned()));
    world.bind(one("sleep:v1"));
    world.until_ready().await;
    world.until_event("FailedCreatePodSandBox: Failed to create pod sandbox: no address").await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_creation_backs_off() {
    let world = World::new();
    world.runtime.fail_next("create_container", Error::InvalidArgument("bad config".to_owned()));
    world.bind(one("sleep:v1"));
    world.until_ready().await;
    world.until_event("Failed: Error: bad config").await;
    assert_eq!(world.calls("create_container"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_kubelet_finds_what_the_old_one_left() {
    let world = World::new();
    world.bind(one("sleep:v1"));
    world.until_ready().await;
    let before = world.pod();
    let runtime = world.runtime.clone();
    let world = world.restart(runtime).await;
    wait_until(|| world.handle.pods().len() == 1).await;
    wait_until(|| world.handle.pods()[0].running_container("main").is_some()).await;
    assert_eq!(world.calls("start_container"), 1);
    assert_eq!(main(&world.pod())["containerID"], main(&before)["containerID"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_pods_run_again() {
    let world = World::new();
    world.bind(one("sleep:v1"));
    world.until_ready().await;
    let fresh = FakeRuntime::new(FakeConfig::default());
    fresh.set_image("sleep:v1", ImageScript::local(Script::default()));
    let world = world.restart(fresh).await;
    world.until_pod("restarted", |pod| main(pod)["restartCount"] == 1 && condition(pod, "Ready") == "True").await;
    assert_eq!(main(&world.pod())["lastState"]["terminated"]["reason"], "ContainerStatusUnknown");
}

#[tokio::test(start_paused = true)]
async fn sandboxes_of_pods_that_are_gone_are_removed() {
    let world = World::new();
    world.bind(one("sleep:v1"));
    world.until_ready().await;
    let (runtime, api) = (world.runtime.clone(), world.api.clone());
    world.tasks.shutdown(Duration::from_secs(1)).await.expect("the kubelet stops");
    api.remove(WEB);
    let world = World::with(api, runtime, world.root);
    wait_until(|| world.calls("remove_pod_sandbox") == 1).await;
}
