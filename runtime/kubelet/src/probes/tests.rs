//! Probe rules in pure form, and probes of the fake runtime.

use super::*;
use serde_json::json;
use std::sync::Arc;
use wk_cri::{
    ContainerConfig, ContainerMetadata, ImageService, PodSandboxConfig, RuntimeService,
    fake::{FakeConfig, FakeRuntime, ImageScript, Port, Script, Server},
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

async fn probe(target: &Target, probe: serde_json::Value) -> Outcome {
    let probe: Probe = serde_json::from_value(probe).expect("a probe");
    run(target, &container(json!({})), &probe).await
}

fn failed(text: &str) -> Outcome {
    Outcome::Failed(text.to_owned())
}

async fn http_get(server: Server, path: &str, more: serde_json::Value) -> Outcome {
    let mut action = json!({"port": "web", "path": path});
    action.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    probe(&target(Port::Serve(server)).await, json!({"httpGet": action})).await
}

#[tokio::test(start_paused = true)]
async fn http_probes_read_the_status() {
    for (status, outcome) in [
        (200, Outcome::Passed),
        (204, Outcome::Passed),
        (304, Outcome::Warned("Probe terminated redirects, Response body: ".to_owned())),
        (404, failed("HTTP probe failed with statuscode: 404")),
        (503, failed("HTTP probe failed with statuscode: 503")),
    ] {
        assert_eq!(http_get(servers::http, &format!("/status/{status}"), json!({})).await, outcome);
    }
}

#[tokio::test(start_paused = true)]
async fn http_probes_send_upstreams_headers() {
    let given =
        json!({"httpHeaders": [{"name": "X-Probe", "value": "yes"}, {"name": "Host", "value": "shop.example"}]});
    let no_accept = json!({"httpHeaders": [{"name": "Accept", "value": ""}]});
    for (path, more) in [
        ("/has/user-agent/kube-probe/1.33", json!({})),
        ("/has/accept/*/*", json!({})),
        ("/hasnt/accept", no_accept),
        ("/has/connection/close", json!({})),
        ("/has/host/10.244.0.2:8080", json!({})),
        ("/has/host/other.example:8080", json!({"host": "other.example"})),
        ("/has/host/shop.example", given.clone()),
        ("/has/x-probe/yes", given),
        ("no/slash?and=query", json!({})),
    ] {
        assert_eq!(http_get(servers::http, path, more).await, Outcome::Passed, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn redirects_are_followed_within_the_host() {
    let get = |path: &'static str| http_get(servers::http, path, json!({}));
    assert_eq!(get("/to/302//status/200").await, Outcome::Passed);
    assert_eq!(get("/to/307//status/500").await, failed("HTTP probe failed with statuscode: 500"));
    let left = Outcome::Warned("Probe terminated redirects, Response body: well".to_owned());
    assert_eq!(get("/to/301/http://elsewhere.example/").await, left);
    let refused = "Get \"http://10.244.0.2:81/x\": dial tcp 10.244.0.2:81: connect: connection refused";
    assert_eq!(get("/to/308/http://10.244.0.2:81/x").await, failed(refused));
    let own_host = json!({"httpHeaders": [{"name": "Host", "value": "shop.example"}]});
    let relative = http_get(servers::http, "/to/302//has/host/shop.example", own_host.clone()).await;
    assert_eq!(relative, Outcome::Passed, "a relative redirect keeps the given name");
    let absolute = "/to/302/http://10.244.0.2:8080/has/host/10.244.0.2:8080";
    assert_eq!(http_get(servers::http, absolute, own_host).await, Outcome::Passed, "an absolute one brings its own");
}

fn redirects_for_ever(stream: tokio::io::DuplexStream) -> futures::future::BoxFuture<'static, ()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    Box::pin(async move {
        let (mut stream, mut head) = (stream, [0; 1024]);
        let _ = stream.read(&mut head).await;
        let answer = b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n";
        let _ = stream.write_all(answer).await;
    })
}

#[tokio::test(start_paused = true)]
async fn redirects_in_a_circle_end() {
    let circle = failed("Get \"http://10.244.0.2:8080/again\": stopped after 10 redirects");
    assert_eq!(http_get(redirects_for_ever, "/", json!({})).await, circle);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_speak_http_is_a_failure_that_says_so() {
    assert_eq!(http_get(servers::hangs_up, "/", json!({})).await, failed("Get \"http://10.244.0.2:8080/\": EOF"));
    let Outcome::Failed(text) = http_get(servers::nonsense, "/", json!({})).await else { panic!("it passed") };
    assert!(text.contains("malformed HTTP response"), "{text}");
    let unnamed = probe(&target(Port::Echo).await, json!({"httpGet": {"port": "nope"}})).await;
    assert_eq!(unnamed, Outcome::Errored("strconv.Atoi: parsing \"nope\": invalid syntax".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn https_probes_believe_any_certificate() {
    let https = || json!({"scheme": "HTTPS"});
    assert_eq!(http_get(servers::https, "/has/host/10.244.0.2:8080", https()).await, Outcome::Passed);
    assert_eq!(http_get(servers::https_h2, "/has/host/10.244.0.2:8080", https()).await, Outcome::Passed);
    let named = json!({"scheme": "HTTPS", "host": "not_a.name"});
    assert_eq!(http_get(servers::https, "/", named).await, Outcome::Passed);
    let unwell = failed("HTTP probe failed with statuscode: 500");
    assert_eq!(http_get(servers::https, "/status/500", https()).await, unwell);
}

fn speaks_plainly(stream: tokio::io::DuplexStream) -> futures::future::BoxFuture<'static, ()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    Box::pin(async move {
        let (mut stream, mut hello) = (stream, [0; 1024]);
        let _ = stream.read(&mut hello).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    })
}

#[tokio::test(start_paused = true)]
async fn https_to_a_plain_server_says_what_is_wrong() {
    let answer = http_get(speaks_plainly, "/", json!({"scheme": "HTTPS"})).await;
    let text = "Get \"https://10.244.0.2:8080/\": http: server gave HTTP response to HTTPS client";
    assert_eq!(answer, failed(text));
    let Outcome::Failed(text) = http_get(servers::nonsense, "/", json!({"scheme": "HTTPS"})).await else {
        panic!("it passed")
    };
    assert!(text.starts_with("Get \"https://10.244.0.2:8080/\": tls: "), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_a_timeout() {
    let started = tokio::time::Instant::now();
    let late = |url: &str| {
        failed(&format!("Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"))
    };
    let silent = target(Port::Silent).await;
    let answer = probe(&silent, json!({"httpGet": {"port": 8080}, "timeoutSeconds": 2})).await;
    assert_eq!(answer, late("http://10.244.0.2:8080/"));
    assert_eq!(started.elapsed().as_secs(), 2);
    let answer = probe(&silent, json!({"httpGet": {"port": 8080, "scheme": "HTTPS"}})).await;
    assert_eq!(answer, late("https://10.244.0.2:8080/"));
    assert_eq!(started.elapsed().as_secs(), 3);
}

async fn ask_health(server: Server, service: Option<&str>) -> Outcome {
    let action = json!({"grpc": {"port": 8080, "service": service}, "timeoutSeconds": 2});
    probe(&target(Port::Serve(server)).await, action).await
}

#[tokio::test(start_paused = true)]
async fn grpc_probes_ask_for_a_service_that_is_being_served() {
    for (service, outcome) in [
        (None, Outcome::Passed),
        (Some(""), Outcome::Passed),
        (Some("up"), Outcome::Passed),
        (Some("down"), failed("service unhealthy (responded with \"NOT_SERVING\")")),
        (Some("who"), failed("error: health rpc probe failed: rpc error: code = NotFound desc = unknown service")),
        (Some("slow"), failed("timeout: health rpc did not complete within 2s")),
    ] {
        assert_eq!(ask_health(servers::grpc, service).await, outcome, "{service:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn grpc_probes_say_what_a_server_does_not_have() {
    let lacking = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ";
    let message = "unknown service grpc.health.v1.Health";
    assert_eq!(ask_health(servers::grpc_without_health, None).await, failed(&format!("{lacking}{message}")));
    let Outcome::Failed(text) = ask_health(servers::http2, None).await else { panic!("it passed") };
    assert!(text.starts_with("error: health rpc probe failed: rpc error: code = Unknown desc = "), "{text}");
    let nobody = failed("timeout: failed to connect service \"10.244.0.2:8080\" within 2s: context deadline exceeded");
    assert_eq!(ask_health(servers::http, None).await, nobody);
    assert_eq!(ask_health(servers::hangs_up, None).await, nobody);
    let silent = json!({"grpc": {"port": 8080}, "timeoutSeconds": 2});
    assert_eq!(probe(&target(Port::Silent).await, silent).await, nobody);
    let refused = json!({"grpc": {"port": 81}});
    let text = "timeout: failed to connect service \"10.244.0.2:81\" within 1s: context deadline exceeded";
    assert_eq!(probe(&target(Port::Silent).await, refused).await, failed(text));
}

#[tokio::test(start_paused = true)]
async fn tcp_probes_connect() {
    let target = target(Port::Echo).await;
    assert_eq!(probe(&target, json!({"tcpSocket": {"port": 8080}})).await, Outcome::Passed);
    let refused = failed("dial tcp 10.244.0.2:81: connect: connection refused");
    assert_eq!(probe(&target, json!({"tcpSocket": {"port": 81}})).await, refused);
    assert!(matches!(probe(&target, json!({"tcpSocket": {"port": "nope"}})).await, Outcome::Errored(_)));
}

#[tokio::test(start_paused = true)]
async fn exec_probes_go_by_the_exit_code() {
    let target = target(Port::Echo).await;
    assert_eq!(probe(&target, json!({"exec": {"command": ["true"]}})).await, Outcome::Passed);
    assert_eq!(probe(&target, json!({"exec": {"command": ["false"]}})).await, failed(""));
    let Outcome::Errored(why) = probe(&target, json!({"exec": {"command": ["curl"]}})).await else {
        panic!("a program that is not there says nothing about the container")
    };
    assert!(why.starts_with("rpc error: code = NotFound desc = ") && why.contains("curl"), "{why}");
}

#[test]
fn what_could_not_be_done_counts_as_nothing() {
    let spec = json!({"livenessProbe": {"failureThreshold": 1, "initialDelaySeconds": 1, "periodSeconds": 5}});
    let mut probes = Probes::of(&container(spec), at(0));
    probes.skip(ProbeKind::Liveness, at(1_000));
    assert_eq!(schedule(&probes), [(ProbeKind::Liveness, 6_000)]);
    assert_eq!(probes.record(ProbeKind::Liveness, false, at(6_000)), Effect::Doomed);
}
