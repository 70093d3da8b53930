//! The whole runtime with real guests: the contract's own promises, and what
//! each guest is there to show.
//!
//! All tests share one engine, so that each guest is compiled once.

mod conformance;
mod files;
mod images;
mod isolation;
mod network;
mod signals;
mod streams;
mod toolbox;

use crate::{Compiler, Config, Limits, Programs, Toolbox, WasmRuntime};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tempfile::TempDir;
use tokio::runtime::{Handle, Runtime};
use wk_cri::{
    ContainerConfig, ContainerId, ContainerMetadata, ContainerState, Filter, ImageService, PodSandboxConfig,
    RuntimeService, SandboxId, SandboxMetadata,
};
use wk_images::ImageStore;
use wk_network::Network;
use wk_platform::{Clock, Entropy};

/// How long a guest may take for anything: long, since the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The toolbox, as the binary brings it.
pub(crate) const TOOLBOX: Toolbox =
    Toolbox { wasm: wk_guests::TOOLBOX, code: wk_guests::TOOLBOX_CODE, programs: wk_guests::TOOLBOX_PROGRAMS };

fn guest_runtime() -> Handle {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| wk_platform::runtimes::guests().unwrap()).handle().clone()
}

fn programs() -> Arc<Programs> {
    static PROGRAMS: OnceLock<(TempDir, Arc<Programs>)> = OnceLock::new();
    let make = || {
        let directory = tempfile::tempdir().unwrap();
        let programs = Programs::new(directory.path(), Compiler::Thread).unwrap();
        (directory, programs)
    };
    PROGRAMS.get_or_init(make).1.clone()
}

/// A runtime with every guest as an image, named as its file.
struct Node {
    runtime: WasmRuntime,
    images: Arc<ImageStore>,
    directory: TempDir,
}

impl Node {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let images = Arc::new(ImageStore::open(directory.path().join("images")).unwrap());
        for path in wk_guests::all() {
            images.load_file(path, &tag_of(path)).unwrap();
        }
        let config = Config {
            programs: programs(),
            images: images.clone(),
            toolbox: Some(TOOLBOX),
            network: Network::new(wk_network::Config::new(Entropy::seeded(1))),
            pod_cidr: "10.244.0.0/24".parse().unwrap(),
            state_dir: directory.path().join("containers"),
            guests: guest_runtime(),
            clock: Clock::system(),
            entropy: Entropy::system(),
            limits: Limits::default(),
        };
        Self { runtime: WasmRuntime::new(config).unwrap(), images, directory }
    }

    async fn sandbox(&self, name: &str) -> SandboxId {
        let metadata = SandboxMetadata { name: name.to_owned(), uid: name.to_owned(), ..SandboxMetadata::default() };
        let log_directory = self.directory.path().join("logs").join(name);
        let config = PodSandboxConfig { hostname: name.to_owned(), metadata, log_directory, ..Default::default() };
        self.runtime.run_pod_sandbox(config).await.unwrap()
    }

    async fn create(&self, sandbox: &SandboxId, config: ContainerConfig) -> ContainerId {
        self.runtime.pull_image(&config.image).await.unwrap();
        self.runtime.create_container(sandbox, config).await.unwrap()
    }

    async fn start_in(&self, sandbox: &SandboxId, config: ContainerConfig) -> ContainerId {
        let container = self.create(sandbox, config).await;
        self.runtime.start_container(&container).await.unwrap();
        container
    }

    /// Starts a container in a pod of its own.
    async fn run(&self, config: ContainerConfig) -> ContainerId {
        let pods = self.runtime.list_pod_sandboxes(Filter::default()).await.unwrap().len();
        let sandbox = self.sandbox(&format!("pod-{pods}")).await;
        self.start_in(&sandbox, config).await
    }

    async fn until(&self, container: &ContainerId, reached: impl Fn(&ContainerState) -> bool) -> ContainerState {
        let waiting = async {
            let mut events = self.runtime.events();
            loop {
                let state = self.runtime.container_status(container).await.unwrap().state;
                if reached(&state) {
                    return state;
                }
                let _ = events.next().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap()
    }

    async fn exit(&self, container: &ContainerId) -> Exit {
        match self.until(container, |state| matches!(state, ContainerState::Exited { .. })).await {
            ContainerState::Exited { exit_code, reason, message, .. } => Exit { exit_code, reason, message },
            other => panic!("{other:?}"),
        }
    }

    /// Runs a container to its end.
    async fn run_to_exit(&self, config: ContainerConfig) -> (Exit, String) {
        let container = self.run(config).await;
        (self.exit(&container).await, self.log(&container).await)
    }

    /// What is in the log, without times.
    async fn log(&self, container: &ContainerId) -> String {
        let path = self.runtime.container_status(container).await.unwrap().log_path;
        texts(&std::fs::read_to_string(path).unwrap())
    }
}

/// How a container ended.
#[derive(Debug, PartialEq, Eq)]
struct Exit {
    exit_code: i32,
    reason: String,
    message: String,
}

impl Exit {
    fn is(&self, exit_code: i32, reason: &str) -> bool {
        (self.exit_code, self.reason.as_str()) == (exit_code, reason)
    }
}

fn texts(log: &str) -> String {
    log.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned() + "\n").collect()
}

/// `crash:latest`, `crash:p1` for a core module.
fn tag_of(path: &Path) -> String {
    let name = path.file_stem().unwrap().to_string_lossy();
    if path.to_string_lossy().contains("wasip1") { format!("{name}:p1") } else { name.into_owned() }
}

fn container(image: &str, args: &[&str]) -> ContainerConfig {
    ContainerConfig {
        metadata: ContainerMetadata { name: image.replace(':', "-"), attempt: 0 },
        image: image.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        log_path: PathBuf::from(format!("{}/0.log", image.replace(':', "-"))),
        ..ContainerConfig::default()
    }
}
