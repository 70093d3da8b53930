//! The control socket over the scripted runtime, through the real socket.

use super::*;
use crate::control::{SOCKET, client::Control, protocol::State};
use std::time::Duration;
use wk_cri::{
    ContainerConfig, ContainerMetadata, ImageService, PodSandboxConfig,
    fake::{FakeConfig, FakeRuntime, ImageScript, Script},
};
use wk_store::{Durability, Expected, memory::MemoryStore};

struct Fixture {
    directory: tempfile::TempDir,
    runtimes: Vec<FakeRuntime>,
    tasks: TaskGroup,
    store: Arc<dyn Store>,
}

fn config(nodes: Vec<Node>, store: Arc<dyn Store>, spool: &Path, tasks: &TaskGroup) -> Config {
    let (status, clock) = (status(), Clock::system());
    Config { status, nodes, power: Power::default(), clock, store, spool: spool.to_owned(), tasks: tasks.clone() }
}

fn status() -> ServerStatus {
    ServerStatus {
        pid: 7,
        version: "0.1.0".to_owned(),
        kubernetes_version: "v1.33.0".to_owned(),
        runtime_version: "fake://1".to_owned(),
        started_at: jiff::Timestamp::UNIX_EPOCH,
        address: ([127, 0, 0, 1], 6443).into(),
        roles: vec!["apiserver".to_owned()],
        service_cidr: "10.96.0.0/16".to_owned(),
        cluster_cidr: "10.244.0.0/16".to_owned(),
        nodes: Vec::new(),
    }
}

impl Fixture {
    /// Two nodes.
    fn start() -> Self {
        let (directory, tasks) = (tempfile::tempdir().expect("a directory"), TaskGroup::new());
        let runtimes: Vec<_> = (0..2).map(|_| FakeRuntime::new(FakeConfig::default())).collect();
        let nodes = runtimes.iter().zip(["node-1", "node-2"]);
        let nodes = nodes.map(|(runtime, name)| Node { name: name.to_owned(), runtime: Arc::new(runtime.clone()) });
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let config = config(nodes.collect(), store.clone(), directory.path(), &tasks);
        start(config, &directory.path().join(SOCKET)).expect("listens");
        Self { directory, runtimes, tasks, store }
    }

    fn control(&self) -> Control {
        Control::new(self.directory.path())
    }

    async fn run(&self, node: usize) -> ContainerId {
        let runtime = &self.runtimes[node];
        runtime.set_image("sleeper", ImageScript::local(Script::default()));
        let image = runtime.pull_image("sleeper").await.expect("set above").id;
        let log_directory = self.directory.path().join("logs");
        let sandbox = PodSandboxConfig { log_directory, ..PodSandboxConfig::default() };
        let sandbox = runtime.run_pod_sandbox(sandbox).await.expect("runs");
        let metadata = ContainerMetadata { name: "main".to_owned(), attempt: 0 };
        let labels = [("a".to_owned(), "b".to_owned())].into();
        let config =
            ContainerConfig { metadata, image, labels, log_path: "0.log".into(), ..ContainerConfig::default() };
        let container = runtime.create_container(&sandbox, config).await.expect("creates");
        runtime.start_container(&container).await.expect("starts");
        container
    }
}

#[tokio::test]
async fn containers_of_all_nodes_are_listed() {
    let fixture = Fixture::start();
    let (_first, second) = (fixture.run(0).await, fixture.run(1).await);
    let listed = fixture.control().containers().await.expect("lists");
    let mut nodes: Vec<_> = listed.iter().map(|container| container.node.as_str()).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["node-1", "node-2"]);
    let found = listed.iter().find(|container| container.node == "node-2").expect("listed");
    assert_eq!((found.id.as_str(), found.metadata.name.as_str()), (second.0.as_str(), "main"));
    assert!(matches!(found.state, State::Running { .. }) && found.labels["a"] == "b", "{found:?}");
}

#[tokio::test]
async fn a_running_container_is_removed_only_by_force() {
    let fixture = Fixture::start();
    let (control, id) = (fixture.control(), fixture.run(1).await);
    let refused = control.remove(&id.0, false).await.expect_err("runs").to_string();
    assert!(refused.contains("is running; stop it first"), "{refused}");
    control.remove(&id.0, true).await.expect("removes");
    assert_eq!(control.containers().await.expect("lists"), []);
    let gone = control.remove(&id.0, true).await.expect_err("gone").to_string();
    assert_eq!(gone, format!("no such container: {}", id.0));
}

#[tokio::test]
async fn a_server_tells_about_itself_and_what_it_does_not_have() {
    let fixture = Fixture::start();
    assert_eq!(fixture.control().status().await.expect("answers"), status());
    let request = http::Request::get("/v2/anything").body(wk_platform::http::empty()).expect("valid");
    let config = config(Vec::new(), fixture.store.clone(), fixture.directory.path(), &fixture.tasks);
    let Ok(answer) = tower::ServiceExt::oneshot(service(config), request).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn without_a_server_the_next_step_is_said() {
    let fixture = Fixture::start();
    fixture.tasks.shutdown(Duration::from_secs(10)).await.expect("stops");
    for directory in [fixture.directory.path(), &fixture.directory.path().join("none")] {
        let error = Control::new(directory).status().await.expect_err("nobody listens").to_string();
        assert!(error.ends_with("start one with `wk up`") && error.contains("no server is running"), "{error}");
    }
}

#[tokio::test]
async fn a_snapshot_brings_back_what_was_there() {
    let fixture = Fixture::start();
    let put = |key: &'static str, value: Vec<u8>| {
        let store = fixture.store.clone();
        async move { store.put(key.into(), value.into(), Expected::Absent, Durability::Durable).await.expect("absent") }
    };
    // Larger than everything between the store and the file.
    let large = vec![7; 3 << 20];
    put("large", large.clone()).await;
    let deleted = put("deleted", b"1".to_vec()).await;
    let mut saved = Vec::new();
    fixture.control().save_snapshot(&mut saved).await.expect("saves");
    fixture.store.delete(&"deleted".into(), deleted).await.expect("there");
    let newest = put("later", b"2".to_vec()).await;

    let revision = fixture.control().restore_snapshot(std::io::Cursor::new(saved.clone())).await.expect("restores");
    assert!(revision > newest.0);
    let found = fixture.store.get(&"large".into()).await.expect("reads").expect("there").value;
    assert!(found == large);
    assert!(fixture.store.get(&"deleted".into()).await.expect("reads").is_some());
    assert!(fixture.store.get(&"later".into()).await.expect("reads").is_none());

    saved.truncate(saved.len() / 2);
    let refused = fixture.control().restore_snapshot(std::io::Cursor::new(saved)).await.expect_err("cut off");
    assert!(refused.to_string().contains("cut off"), "{refused}");
    assert!(fixture.store.get(&"large".into()).await.expect("reads").is_some(), "all is as before");
}

#[tokio::test]
async fn only_nodes_of_this_server_can_be_turned_off() {
    let fixture = Fixture::start();
    let error =
        fixture.control().turn_node("node-9", crate::compose::power::State::Off).await.expect_err("there is none");
    assert_eq!(error.to_string(), "this server has no node \"node-9\"");
}
