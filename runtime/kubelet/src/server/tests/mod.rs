//! The whole server, over the scripted runtime, with real HTTP and upgrades.

mod exec;
mod logs;
mod port_forward;

use super::{Callers, Config, service};
use crate::handle::{ContainerView, KubeletHandle, PodView};
use http::Uri;
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use std::{path::PathBuf, sync::Arc};
use tower::ServiceExt;
use wk_cri::{
    ContainerConfig, ContainerId, ContainerMetadata, PodSandboxConfig, RuntimeService, SandboxId, SandboxMetadata,
    fake::{FakeConfig, FakeRuntime, ImageScript, Script},
};
use wk_platform::{
    Clock, TaskGroup, UserInfo,
    http::{HttpService, Request, empty},
    in_process,
};

/// A node with the pod `default/web`, whose container `app` runs.
struct Node {
    service: HttpService,
    runtime: FakeRuntime,
    container: ContainerId,
    log_path: PathBuf,
    tasks: TaskGroup,
    _directory: tempfile::TempDir,
}

impl Node {
    async fn start(script: Script) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let runtime = FakeRuntime::new(FakeConfig::default());
        runtime.set_image("web:v1", ImageScript::local(script));
        let sandbox = sandbox(&runtime, directory.path().to_owned()).await;
        let container = container(&runtime, &sandbox).await;
        let status = runtime.container_status(&container).await.expect("made");
        let kubelet = KubeletHandle::new(Arc::new(runtime.clone()));
        let containers = vec![ContainerView::of(&status)];
        kubelet.publish("u1", PodView { pod: pod(), sandbox: Some(sandbox), containers });
        let tasks = TaskGroup::new();
        let config = Config {
            node_name: "n1".to_owned(),
            kubelet,
            clock: Clock::system(),
            tasks: tasks.clone(),
            callers: Callers::Trusted,
        };
        let log_path = status.log_path;
        Self { service: service(config), runtime, container, log_path, tasks, _directory: directory }
    }

    /// A client of the Kubernetes API whose pod streams end at this kubelet.
    fn pods(&self) -> kube::Api<Pod> {
        let kubelet = self.service.clone();
        let api = HttpService::new(tower::service_fn(move |mut request: Request| {
            *request.uri_mut() = kubelet_uri(request.uri());
            kubelet.clone().oneshot(request)
        }));
        kube::Api::namespaced(in_process::client(api, UserInfo::admin(), self.tasks.clone()), "default")
    }

    async fn get(&self, uri: &str) -> (u16, String) {
        let mut request = http::Request::new(empty());
        *request.uri_mut() = uri.parse().expect("a uri");
        let response = self.service.clone().oneshot(request).await.expect("never fails");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }
}

async fn sandbox(runtime: &FakeRuntime, log_directory: PathBuf) -> SandboxId {
    let (name, namespace, uid) = ("web".to_owned(), "default".to_owned(), "u1".to_owned());
    let metadata = SandboxMetadata { name, namespace, uid, attempt: 0 };
    let config = PodSandboxConfig { metadata, log_directory, ..PodSandboxConfig::default() };
    runtime.run_pod_sandbox(config).await.expect("an address is free")
}

async fn container(runtime: &FakeRuntime, sandbox: &SandboxId) -> ContainerId {
    let metadata = ContainerMetadata { name: "app".to_owned(), attempt: 0 };
    let (image, log_path) = ("web:v1".to_owned(), PathBuf::from("app/0.log"));
    let config = ContainerConfig { metadata, image, log_path, stdin: true, ..ContainerConfig::default() };
    let container = runtime.create_container(sandbox, config).await.expect("the image is there");
    runtime.start_container(&container).await.expect("it was created");
    container
}

fn pod() -> Pod {
    let status = json!({"name": "app", "image": "web:v1", "imageID": "", "ready": true, "restartCount": 0,
        "state": {"running": {}}});
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
        "spec": {"containers": [{"name": "app"}]},
        "status": {"containerStatuses": [status]},
    }))
    .expect("a pod")
}

/// What the API server makes of a path under a pod.
fn kubelet_uri(uri: &Uri) -> Uri {
    let verb = uri.path().rsplit('/').next().unwrap_or_default();
    let path = match verb {
        "portforward" => "/portForward/default/web".to_owned(),
        "log" => "/containerLogs/default/web/app".to_owned(),
        verb => format!("/{verb}/default/web/app"),
    };
    let query = uri.query().unwrap_or_default().replace("ports=", "port=").replace("stdin=", "input=");
    let query = query.replace("stdout=", "output=").replace("stderr=", "error=");
    format!("{path}?{query}").parse().expect("a uri")
}

#[tokio::test]
async fn what_does_not_exist_is_said_in_plain_text() {
    let node = Node::start(Script::default()).await;
    assert_eq!(node.get("/containerLogs/default/nobody/app").await, (404, "pod does not exist".to_owned()));
    let (status, text) = node.get("/containerLogs/default/web/other").await;
    assert_eq!((status, text.as_str()), (404, "container other is not valid for pod web"));
    let (status, text) = node.get("/exec/default/web/other?command=true&output=1").await;
    assert_eq!((status, text.as_str()), (404, "container not found (\"other\")"));
    assert_eq!(node.get("/exec/default/web/app?command=true&output=1").await.0, 400, "no upgrade");
    assert_eq!(node.get("/exec/default/web/app?command=true").await.0, 400, "no stream is wanted");
}

#[tokio::test]
async fn pods_and_what_they_use_are_listed() {
    let node = Node::start(Script::default()).await;
    assert_eq!(node.get("/healthz").await, (200, "ok".to_owned()));
    let pods: serde_json::Value = serde_json::from_str(&node.get("/pods").await.1).expect("JSON");
    assert_eq!(pods["items"][0]["metadata"]["name"], "web");
    let stats: serde_json::Value = serde_json::from_str(&node.get("/stats/summary").await.1).expect("JSON");
    assert_eq!(stats["pods"][0]["containers"][0]["name"], "app");
    assert!(node.get("/metrics").await.1.contains("\nkubelet_running_pods 1\n"));
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_turned_away_when_one_is_needed() {
    let node = Node::start(Script::default()).await;
    let config = Config {
        node_name: "n1".to_owned(),
        kubelet: KubeletHandle::new(Arc::new(node.runtime.clone())),
        clock: Clock::system(),
        tasks: node.tasks.clone(),
        callers: Callers::ClientCertificate,
    };
    let response = service(config).oneshot(http::Request::new(empty())).await.expect("never fails");
    assert_eq!(response.status(), 401);
}
