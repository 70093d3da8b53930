//! Probe rules in pure form, and probes of the fake runtime.

use super::*;
use serde_json::json;
use wk_cri::{
    ContainerConfig, ContainerMetadata, ImageService, PodSandboxConfig,
    fake::{FakeConfig, FakeRuntime, ImageScript, Port, Script},
};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).expect("in range")
}

fn container(probes: serde_json::Value) -> Container {
    let mut container = json!({"name": "main", "ports": [{"name": "web", "containerPort": 8080}]});
    container.as_object_mut().expect("an object").extend(probes.as_object().expect("an object").clone());
    serde_json::from_value(container).expect("a container")
}

fn schedule(probes: &Probes) -> Vec<(ProbeKind, i64)> {
    probes.schedule().map(|(kind, at)| (kind, at.as_millisecond())).collect()
}

#[test]
fn a_container_without_probes_is_started_and_ready() {
    let probes = Probes::of(&container(json!({})), at(0));
    assert!(probes.is_started() && probes.is_ready() && schedule(&probes).is_empty());
}

#[test]
fn readiness_waits_for_its_first_success() {
    let mut probes = Probes::of(&container(json!({"readinessProbe": {"initialDelaySeconds": 2}})), at(0));
    assert!(!probes.is_ready());
    assert_eq!(schedule(&probes), [(ProbeKind::Readiness, 2_000)]);
    assert_eq!(probes.record(ProbeKind::Readiness, true, at(2_005)), Effect::None);
    assert!(probes.is_ready());
    assert_eq!(schedule(&probes), [(ProbeKind::Readiness, 12_005)]);
}

#[test]
fn readiness_is_lost_at_the_threshold_and_needs_its_successes_back() {
    let spec = json!({"readinessProbe": {"failureThreshold": 2, "successThreshold": 2, "initialDelaySeconds": 1}});
    let mut probes = Probes::of(&container(spec), at(0));
    let mut feed = |passed| (probes.record(ProbeKind::Readiness, passed, at(0)), probes.is_ready());
    assert_eq!(feed(true), (Effect::None, false));
    assert_eq!(feed(true), (Effect::None, true));
    assert_eq!(feed(false), (Effect::Unhealthy, true));
    assert_eq!(feed(false), (Effect::Unhealthy, false));
    assert_eq!(feed(true), (Effect::None, false));
    assert_eq!(feed(true), (Effect::None, true));
}

#[test]
fn liveness_dooms_at_the_threshold_only() {
    let spec = json!({"livenessProbe": {"failureThreshold": 3, "initialDelaySeconds": 1}});
    let mut probes = Probes::of(&container(spec), at(0));
    let mut feed = |passed| probes.record(ProbeKind::Liveness, passed, at(0));
    assert_eq!([feed(false), feed(false), feed(true)], [Effect::Unhealthy, Effect::Unhealthy, Effect::None]);
    assert_eq!([feed(false), feed(false), feed(false)], [Effect::Unhealthy, Effect::Unhealthy, Effect::Doomed]);
}

#[test]
fn a_startup_probe_holds_the_others_back() {
    let spec = json!({"startupProbe": {"initialDelaySeconds": 1}, "livenessProbe": {}, "readinessProbe": {}});
    let mut probes = Probes::of(&container(spec), at(0));
    assert_eq!(schedule(&probes), [(ProbeKind::Startup, 1_000)]);
    probes.record(ProbeKind::Startup, true, at(1_500));
    assert_eq!(schedule(&probes), [(ProbeKind::Readiness, 1_500), (ProbeKind::Liveness, 1_500)]);
}

#[test]
fn a_guest_that_does_not_listen_yet_is_asked_again_soon() {
    let mut probes = Probes::of(&container(json!({"readinessProbe": {}})), at(0));
    let mut now = 0;
    let mut waits = Vec::new();
    while probes.record(ProbeKind::Readiness, false, at(now)) == Effect::None {
        let (_, next) = schedule(&probes)[0];
        waits.push(next - now);
        now = next;
    }
    assert_eq!(waits, [20, 40, 80, 160, 320]);
    assert_eq!(schedule(&probes)[0].1 - now, 10_000);
}

/// A running container of an image that listens on 8080.
async fn target(port: Port) -> Target {
    let fake = FakeRuntime::new(FakeConfig::default());
    let script = Script { ports: [(8080, port)].into(), ..Script::default() };
    fake.set_image("web", ImageScript::local(script));
    let runtime: Arc<dyn RuntimeService> = Arc::new(fake.clone());
    let log_directory = tempfile::tempdir().expect("a temporary directory").keep();
    let config = PodSandboxConfig { log_directory, ..PodSandboxConfig::default() };
    let sandbox = runtime.run_pod_sandbox(config).await.expect("a sandbox");
    let image = fake.image_status("web").await.expect("a name").expect("an image").id;
    let metadata = ContainerMetadata { name: "main".to_owned(), attempt: 0 };
    let config = ContainerConfig { metadata, image, log_path: "0.log".into(), ..ContainerConfig::default() };
    let container = runtime.create_container(&sandbox, config).await.expect("a container");
    runtime.start_container(&container).await.expect("a start");
    Target { runtime, sandbox, container, address: "10.244.0.2".to_owned() }
}

async fn probe(target: &Target, probe: serde_json::Value) -> Result<(), String> {
    let probe: Probe = serde_json::from_value(probe).expect("a probe");
    run(target, &Pod::default(), &container(json!({})), &probe).await
}

#[tokio::test(start_paused = true)]
async fn http_probes_read_the_status() {
    let good = json!({"httpGet": {"port": "web", "path": "/healthz"}});
    assert_eq!(probe(&target(Port::Http(200)).await, good.clone()).await, Ok(()));
    let answer = probe(&target(Port::Http(503)).await, good).await;
    assert_eq!(answer, Err("HTTP probe failed with statuscode: 503".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_a_timeout() {
    let answer = probe(&target(Port::Silent).await, json!({"httpGet": {"port": 8080}, "timeoutSeconds": 2})).await;
    assert!(answer.is_err_and(|message| message.starts_with("context deadline exceeded")));
}

#[tokio::test(start_paused = true)]
async fn tcp_probes_connect() {
    let target = target(Port::Echo).await;
    assert_eq!(probe(&target, json!({"tcpSocket": {"port": 8080}})).await, Ok(()));
    let refused = "dial tcp 10.244.0.2:81: connect: connection refused".to_owned();
    assert_eq!(probe(&target, json!({"tcpSocket": {"port": 81}})).await, Err(refused));
    assert!(probe(&target, json!({"tcpSocket": {"port": "nope"}})).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn exec_probes_go_by_the_exit_code() {
    let target = target(Port::Echo).await;
    assert_eq!(probe(&target, json!({"exec": {"command": ["true"]}})).await, Ok(()));
    assert_eq!(probe(&target, json!({"exec": {"command": ["false"]}})).await, Err(String::new()));
    assert!(probe(&target, json!({"exec": {"command": ["curl"]}})).await.is_err_and(|why| why.contains("curl")));
}
