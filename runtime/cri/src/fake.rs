//! A scripted runtime in memory.
//!
//! What a container does is the [`Script`] of its image: run for ever, end
//! after a while, fail to start, listen, answer commands. Everything is timed by
//! tokio's clock, so that a paused one makes whole days pass in a test. Used by
//! the kubelet's tests and by the simulated cluster. It writes log files as a
//! real runtime does and nothing else to disk; it does not run any guest.

mod runtime;
mod script;
mod streams;

pub use script::{ImageScript, Life, OnStop, Port, Script, Server};

use crate::{
    ContainerConfig, ContainerEvent, ContainerEventKind, ContainerId, ContainerState, ContainerStatus, Error,
    LogProgress, SandboxId, SandboxStatus, UnixNanos,
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{
    sync::{broadcast, watch},
    task::JoinSet,
    time::Instant,
};

/// Events kept for a reader that is behind. A test rarely makes more between two
/// polls; one that does wants to see the lag.
const EVENTS_MAX: usize = 1024;

/// Exit code of a guest that was ended by force: 128 + SIGKILL, as a shell says it.
const KILLED: i32 = 137;

/// What a [`FakeRuntime`] starts from.
#[derive(Clone, Copy, Debug)]
pub struct FakeConfig {
    /// The wall time at which tokio's clock stands now.
    pub epoch: UnixNanos,
    /// The first sandbox address; the following ones are used too.
    pub first_address: Ipv4Addr,
    /// How many sandboxes can have an address at once.
    pub addresses_max: u32,
}

impl Default for FakeConfig {
    fn default() -> Self {
        // 2026-01-01T00:00:00Z, and the range that upstream tools give a first node.
        let epoch = UnixNanos(1_767_225_600_000_000_000);
        Self { epoch, first_address: Ipv4Addr::new(10, 244, 0, 2), addresses_max: 253 }
    }
}

/// The runtime. Clones are the same one.
#[derive(Clone)]
pub struct FakeRuntime {
    shared: Arc<Shared>,
}

struct Shared {
    config: FakeConfig,
    started: Instant,
    events: broadcast::Sender<ContainerEvent>,
    state: Mutex<State>,
    /// Guests and streams. They hold the runtime weakly and end with it.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct State {
    ids_made: u64,
    images: BTreeMap<String, ImageScript>,
    failures: BTreeMap<&'static str, VecDeque<Error>>,
    sandboxes: BTreeMap<SandboxId, FakeSandbox>,
    containers: BTreeMap<ContainerId, FakeContainer>,
    calls: Vec<String>,
}

struct FakeSandbox {
    status: SandboxStatus,
    log_directory: PathBuf,
}

struct FakeContainer {
    status: ContainerStatus,
    config: ContainerConfig,
    script: Script,
    /// Becomes true when the guest has ended.
    ended: watch::Sender<bool>,
    log: watch::Sender<LogProgress>,
}

impl FakeRuntime {
    /// An empty runtime. Call it inside a tokio runtime.
    pub fn new(config: FakeConfig) -> Self {
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let (state, tasks) = (Mutex::default(), Mutex::default());
        Self { shared: Arc::new(Shared { config, started: Instant::now(), events, state, tasks }) }
    }

    /// Sets what `reference` is and does; containers that exist keep their script.
    pub fn set_image(&self, reference: &str, image: ImageScript) {
        self.shared.state.lock().images.insert(reference.to_owned(), image);
    }

    /// Changes the script of a container that exists: its next command, its
    /// ports from now on, how it reacts to a stop.
    pub fn change_script(&self, container: &ContainerId, change: impl FnOnce(&mut Script)) {
        if let Some(container) = self.shared.state.lock().containers.get_mut(container) {
            change(&mut container.script);
        }
    }

    /// Lets the next call of a verb (`"run_pod_sandbox"`) fail; several failures queue up.
    pub fn fail_next(&self, verb: &'static str, error: Error) {
        self.shared.state.lock().failures.entry(verb).or_default().push_back(error);
    }

    /// Ends a running guest as if by itself.
    pub fn end_guest(&self, container: &ContainerId, exit_code: i32, message: &str) {
        self.shared.finish(container, exit_code, message);
    }

    /// Has a guest write `bytes`, in the log's format, to its log.
    ///
    /// # Errors
    /// The file's; `NotFound` without the container.
    pub fn append_log(&self, container: &ContainerId, bytes: &[u8]) -> std::io::Result<()> {
        self.shared.append_log(container, bytes)
    }

    /// Makes a sandbox not ready, as a runtime does that lost it; its containers end.
    pub fn lose_sandbox(&self, sandbox: &SandboxId) {
        self.shared.stop_sandbox(sandbox);
    }

    /// The verbs that change something, in the order of their calls:
    /// `start_container web`, `pull_image hello:v1`.
    pub fn calls(&self) -> Vec<String> {
        self.shared.state.lock().calls.clone()
    }
}

impl Shared {
    fn now(&self) -> UnixNanos {
        let elapsed = i64::try_from(self.started.elapsed().as_nanos()).unwrap_or(i64::MAX);
        UnixNanos(self.config.epoch.0.saturating_add(elapsed))
    }

    /// Notes the call and gives the failure that a test asked for.
    fn enter(&self, verb: &'static str, subject: &str) -> Result<(), Error> {
        let mut state = self.state.lock();
        state.calls.push(format!("{verb} {subject}"));
        state.failures.get_mut(verb).and_then(VecDeque::pop_front).map_or(Ok(()), Err)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {} // forget the ended ones
        tasks.spawn(task);
    }

    fn emit(&self, container: &FakeContainer, pod_uid: String, kind: ContainerEventKind) {
        let (id, sandbox) = (container.status.id.clone(), container.status.sandbox.clone());
        // No reader is fine: events are hints.
        let _ = self.events.send(ContainerEvent { container: id, sandbox, pod_uid, kind });
    }

    /// Moves a running container to its end; nothing when it does not run.
    fn finish(&self, id: &ContainerId, exit_code: i32, message: &str) {
        let now = self.now();
        let mut state = self.state.lock();
        let pod_uid = state.pod_uid(id);
        let Some(container) = state.containers.get_mut(id) else { return };
        let ContainerState::Running { started_at } = container.status.state else { return };
        let reason = if exit_code == 0 { "Completed" } else { "Error" }.to_owned();
        let message = message.to_owned();
        container.status.state = ContainerState::Exited { started_at, finished_at: now, exit_code, reason, message };
        container.ended.send_replace(true);
        container.log.send_modify(|log| log.is_complete = true);
        self.emit(container, pod_uid, ContainerEventKind::Stopped);
    }

    fn stop_sandbox(&self, id: &SandboxId) {
        let containers = {
            let mut state = self.state.lock();
            let Some(sandbox) = state.sandboxes.get_mut(id) else { return };
            sandbox.status.state = crate::SandboxState::NotReady;
            sandbox.status.addresses.clear();
            state.containers_of(id)
        };
        containers.iter().for_each(|container| self.finish(container, KILLED, ""));
    }

    /// Plays the life of a started guest.
    fn play(self: &Arc<Self>, id: ContainerId, life: Life) {
        let shared: Weak<Self> = Arc::downgrade(self);
        if let Life::ExitsAfter { after, exit_code, message } = life {
            self.spawn(async move {
                tokio::time::sleep(after).await;
                if let Some(shared) = shared.upgrade() {
                    shared.finish(&id, exit_code, &message);
                }
            });
        }
    }

    /// The wait of a stop: how long until the guest is gone, and its exit code.
    fn stop_plan(&self, id: &ContainerId, grace: Duration) -> Option<(Duration, i32, watch::Receiver<bool>)> {
        let state = self.state.lock();
        let container = state.containers.get(id)?;
        if !matches!(container.status.state, ContainerState::Running { .. }) {
            return None;
        }
        let ended = container.ended.subscribe();
        Some(match container.script.on_stop {
            OnStop::Exits { after, exit_code } if after <= grace => (after, exit_code, ended),
            OnStop::Exits { .. } | OnStop::Ignores => (grace, KILLED, ended),
        })
    }
}

impl State {
    /// A new id: 64 hexadecimal digits that differ early, and never the same.
    fn new_id(&mut self) -> String {
        self.ids_made += 1;
        // splitmix64, a bijection: different counts give different ids.
        let mut z = self.ids_made.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        format!("{z:016x}").repeat(4)
    }

    fn free_address(&self, config: &FakeConfig) -> Option<IpAddr> {
        let used: Vec<&IpAddr> = self.sandboxes.values().flat_map(|sandbox| &sandbox.status.addresses).collect();
        let first = u32::from(config.first_address);
        (first..first.saturating_add(config.addresses_max))
            .map(|address| IpAddr::V4(Ipv4Addr::from(address)))
            .find(|address| !used.contains(&address))
    }

    fn containers_of(&self, sandbox: &SandboxId) -> Vec<ContainerId> {
        let inside = self.containers.values().filter(|container| container.status.sandbox == *sandbox);
        inside.map(|container| container.status.id.clone()).collect()
    }

    fn pod_uid(&self, container: &ContainerId) -> String {
        let sandbox = self.containers.get(container).and_then(|found| self.sandboxes.get(&found.status.sandbox));
        sandbox.map(|sandbox| sandbox.status.metadata.uid.clone()).unwrap_or_default()
    }

    /// The image with this name or id.
    fn image(&self, reference: &str) -> Option<(&String, &ImageScript)> {
        self.images.iter().find(|(name, _)| *name == reference || script::image_id(name) == reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Fixture, Program};

    fn fixture() -> Fixture {
        let fake = FakeRuntime::new(FakeConfig::default());
        let running = Script::default();
        fake.set_image("sleep:test", ImageScript::local(running.clone()));
        fake.set_image("stubborn:test", ImageScript::local(Script { on_stop: OnStop::Ignores, ..running.clone() }));
        let prints = Script { log_lines: vec!["hello".to_owned()], ..Script::exits(Duration::from_millis(5), 0) };
        fake.set_image("hello:test", ImageScript::local(prints));
        fake.set_image("three:test", ImageScript::local(Script::exits(Duration::from_millis(5), 3)));
        let echo = Script { ports: BTreeMap::from([(7, Port::Echo)]), ..running };
        fake.set_image("echo:test", ImageScript::local(echo));
        let root = tempfile::tempdir().expect("a temporary directory").keep();
        Fixture {
            runtime: Arc::new(fake.clone()),
            images: Arc::new(fake),
            root,
            sleeper: Program::of("sleep:test"),
            stubborn: Some(Program::of("stubborn:test")),
            prints_hello: Program::of("hello:test"),
            exits_three: Program::of("three:test"),
            echo: Program::of("echo:test"),
            echo_port: 7,
            missing_image: "nobody:has-it".to_owned(),
        }
    }

    crate::conformance_tests!(
        #[tokio::test(start_paused = true)]
        fixture()
    );

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_given_once() {
        use crate::{ImageService, RuntimeService};
        let fake = FakeRuntime::new(FakeConfig::default());
        fake.fail_next("pull_image", Error::Unavailable("registry is down".to_owned()));
        fake.set_image("a", ImageScript::remote(Script::default()));
        assert_eq!(fake.image_status("a").await, Ok(None));
        assert!(fake.pull_image("a").await.is_err());
        assert!(fake.pull_image("a").await.is_ok());
        assert!(fake.image_status("a").await.expect("a valid name").is_some());
        assert_eq!(fake.calls(), ["pull_image a", "pull_image a"]);
        assert!(fake.version().starts_with("fake://"));
    }
}
