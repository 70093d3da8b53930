//! The promises of a runtime, as tests over the traits.
//!
//! Each function is one line of the contract and panics when it is broken.
//! [`conformance_tests!`](crate::conformance_tests) turns them into tests of one
//! implementation: `wk-engine` does so over wasmtime, [`crate::fake`] over its
//! scripts. Waiting is on states, woken by events; nothing sleeps.

use crate::{
    ContainerConfig, ContainerEventKind, ContainerEvents, ContainerId, ContainerMetadata, ContainerState, Error,
    Filter, ImageService, LogProgress, PodSandboxConfig, RuntimeService, SandboxId, SandboxMetadata, SandboxState,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long any promise may take; long, since a guest may have to be compiled.
const PATIENCE: Duration = Duration::from_secs(60);

/// A grace period that no polite guest uses up.
const GRACE: Duration = Duration::from_secs(30);

/// Pods made by this process, so that each promise has pods of its own.
static PODS_MADE: AtomicU32 = AtomicU32::new(0);

/// An image and how to start it.
#[derive(Clone, Debug)]
pub struct Program {
    /// An image on this node.
    pub image: String,
    /// As [`ContainerConfig::command`].
    pub command: Vec<String>,
    /// As [`ContainerConfig::args`].
    pub args: Vec<String>,
}

impl Program {
    /// An image that needs no arguments.
    pub fn of(image: &str) -> Self {
        Self { image: image.to_owned(), command: Vec::new(), args: Vec::new() }
    }

    /// An image with arguments.
    pub fn with_args(image: &str, args: &[&str]) -> Self {
        Self { args: args.iter().map(|arg| (*arg).to_owned()).collect(), ..Self::of(image) }
    }
}

/// The implementation under test, and programs that behave in known ways.
pub struct Fixture {
    /// The runtime.
    pub runtime: Arc<dyn RuntimeService>,
    /// Its images.
    pub images: Arc<dyn ImageService>,
    /// A directory for logs.
    pub root: PathBuf,
    /// Runs until it is stopped.
    pub sleeper: Program,
    /// Runs until it is ended by force; `None` where every guest can be asked to end.
    pub stubborn: Option<Program>,
    /// Writes the line `hello` to stdout and exits with 0.
    pub prints_hello: Program,
    /// Exits with 3.
    pub exits_three: Program,
    /// Listens and gives back what it gets.
    pub echo: Program,
    /// Where it listens.
    pub echo_port: u16,
    /// A well-formed name that nobody has.
    pub missing_image: String,
}

/// One test for each promise. The first token tree is the attribute of each
/// test, the expression makes a [`Fixture`] (and may `.await`).
#[macro_export]
macro_rules! conformance_tests {
    (#[$attribute:meta] $fixture:expr) => {
        $crate::conformance_tests!(@each #[$attribute] $fixture;
            a_sandbox_is_ready_and_has_an_address, two_sandboxes_have_two_addresses,
            the_same_sandbox_twice_already_exists, another_attempt_is_another_sandbox,
            a_stopped_sandbox_is_not_ready_and_takes_no_container, stopping_a_sandbox_ends_its_containers,
            stop_and_remove_of_a_sandbox_twice_are_fine, removing_a_sandbox_removes_its_containers,
            unknown_ids_are_not_found_or_fine, a_container_goes_from_created_to_running_to_exited,
            the_same_container_twice_already_exists, another_attempt_is_another_container,
            a_container_needs_its_sandbox_and_image, a_container_starts_once,
            stop_ends_a_running_container, stop_and_remove_of_a_container_twice_are_fine,
            stop_of_a_created_container_is_fine, a_guest_that_ignores_a_stop_is_ended_after_its_grace,
            removing_a_running_container_ends_it, an_exit_code_is_kept, a_log_is_where_the_config_says,
            a_log_outlives_its_container, a_log_tells_of_its_writes_and_its_end, lists_narrow_by_sandbox_and_labels, events_tell_a_whole_life,
            ids_are_never_reused, a_forwarded_port_carries_bytes, a_port_where_nobody_listens_is_unavailable,
            images_are_found_by_name_and_id, a_missing_image_is_none_and_cannot_be_pulled,
            a_used_image_stays);
    };
    (@each #[$attribute:meta] $fixture:expr; $($promise:ident),* $(,)?) => {
        $(#[$attribute] async fn $promise() { $crate::conformance::$promise(&$fixture).await })*
    };
}

impl Fixture {
    fn sandbox_config(&self, name: &str, attempt: u32) -> PodSandboxConfig {
        let number = PODS_MADE.fetch_add(1, Ordering::Relaxed);
        let uid = format!("{name}-{number}-{}", std::process::id());
        let metadata = SandboxMetadata { name: name.to_owned(), namespace: "conformance".to_owned(), uid, attempt };
        let log_directory = self.root.join(&metadata.uid);
        std::fs::create_dir_all(log_directory.join("main")).expect("the log directory can be made");
        let labels = BTreeMap::from([("pod".to_owned(), metadata.uid.clone())]);
        PodSandboxConfig { hostname: name.to_owned(), metadata, log_directory, labels, ..PodSandboxConfig::default() }
    }

    async fn sandbox(&self, name: &str) -> SandboxId {
        let config = self.sandbox_config(name, 0);
        within(self.runtime.run_pod_sandbox(config)).await.expect("a sandbox runs")
    }

    async fn container_config(&self, program: &Program, attempt: u32) -> ContainerConfig {
        let found = within(self.images.image_status(&program.image)).await.expect("the image's name is valid");
        let image = match found {
            Some(image) => image,
            None => within(self.images.pull_image(&program.image)).await.expect("the fixture's image can be had"),
        };
        ContainerConfig {
            metadata: ContainerMetadata { name: "main".to_owned(), attempt },
            image: image.id,
            command: program.command.clone(),
            args: program.args.clone(),
            log_path: PathBuf::from(format!("main/{attempt}.log")),
            labels: BTreeMap::from([("attempt".to_owned(), attempt.to_string())]),
            ..ContainerConfig::default()
        }
    }

    async fn created(&self, sandbox: &SandboxId, program: &Program, attempt: u32) -> ContainerId {
        let config = self.container_config(program, attempt).await;
        within(self.runtime.create_container(sandbox, config)).await.expect("a container can be created")
    }

    async fn started(&self, sandbox: &SandboxId, program: &Program) -> ContainerId {
        let container = self.created(sandbox, program, 0).await;
        within(self.runtime.start_container(&container)).await.expect("a created container can be started");
        container
    }

    async fn state(&self, container: &ContainerId) -> ContainerState {
        within(self.runtime.container_status(container)).await.expect("the container exists").state
    }

    /// Starts `program` in a new sandbox and waits for its end.
    async fn ended(&self, name: &str, program: &Program) -> (SandboxId, ContainerId, ContainerState) {
        let mut events = self.runtime.events();
        let sandbox = self.sandbox(name).await;
        let container = self.started(&sandbox, program).await;
        let state = self.until_exited(&mut events, &container).await;
        (sandbox, container, state)
    }

    async fn until_exited(&self, events: &mut ContainerEvents, container: &ContainerId) -> ContainerState {
        within(async {
            loop {
                let state = self.runtime.container_status(container).await.expect("the container exists").state;
                if matches!(state, ContainerState::Exited { .. }) {
                    return state;
                }
                let _ = events.next().await.expect("the runtime lives"); // an event or a lag: look again
            }
        })
        .await
    }

    async fn remove(&self, sandbox: &SandboxId) {
        within(self.runtime.remove_pod_sandbox(sandbox)).await.expect("a sandbox can be removed");
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the runtime answers in time")
}

fn exit_code_of(state: &ContainerState) -> i32 {
    let ContainerState::Exited { exit_code, .. } = state else { panic!("not exited: {state:?}") };
    *exit_code
}

/// `run_pod_sandbox` makes a sandbox with an address, ready for containers.
pub async fn a_sandbox_is_ready_and_has_an_address(fixture: &Fixture) {
    let config = fixture.sandbox_config("ready", 0);
    let sandbox = within(fixture.runtime.run_pod_sandbox(config.clone())).await.expect("a sandbox runs");
    let status = within(fixture.runtime.pod_sandbox_status(&sandbox)).await.expect("the sandbox exists");
    assert_eq!((status.id, status.state), (sandbox.clone(), SandboxState::Ready));
    assert_eq!((status.metadata, status.labels), (config.metadata, config.labels));
    assert_eq!(status.addresses.len(), 1);
    assert!(status.created_at.0 > 0);
    fixture.remove(&sandbox).await;
}

/// No two ready sandboxes share an address.
pub async fn two_sandboxes_have_two_addresses(fixture: &Fixture) {
    let (first, second) = (fixture.sandbox("first").await, fixture.sandbox("second").await);
    let mut addresses = BTreeSet::new();
    for sandbox in [&first, &second] {
        let status = within(fixture.runtime.pod_sandbox_status(sandbox)).await.expect("the sandbox exists");
        addresses.extend(status.addresses);
    }
    assert_eq!(addresses.len(), 2);
    fixture.remove(&first).await;
    fixture.remove(&second).await;
}

/// The same metadata is `AlreadyExists`, and the message ends with the id.
pub async fn the_same_sandbox_twice_already_exists(fixture: &Fixture) {
    let config = fixture.sandbox_config("same", 0);
    let sandbox = within(fixture.runtime.run_pod_sandbox(config.clone())).await.expect("a sandbox runs");
    let again = within(fixture.runtime.run_pod_sandbox(config)).await;
    let Err(Error::AlreadyExists(message)) = again else { panic!("not AlreadyExists: {again:?}") };
    assert!(message.ends_with(&sandbox.0), "{message}");
    fixture.remove(&sandbox).await;
}

/// A pod may have a second sandbox of another attempt.
pub async fn another_attempt_is_another_sandbox(fixture: &Fixture) {
    let mut config = fixture.sandbox_config("again", 0);
    let first = within(fixture.runtime.run_pod_sandbox(config.clone())).await.expect("a sandbox runs");
    within(fixture.runtime.stop_pod_sandbox(&first)).await.expect("a sandbox can be stopped");
    config.metadata.attempt = 1;
    let second = within(fixture.runtime.run_pod_sandbox(config)).await.expect("a second attempt runs");
    assert_ne!(first, second);
    fixture.remove(&first).await;
    fixture.remove(&second).await;
}

/// A stopped sandbox is `NotReady`, and `create_container` there is `FailedPrecondition`.
pub async fn a_stopped_sandbox_is_not_ready_and_takes_no_container(fixture: &Fixture) {
    let sandbox = fixture.sandbox("stopped").await;
    within(fixture.runtime.stop_pod_sandbox(&sandbox)).await.expect("a sandbox can be stopped");
    let status = within(fixture.runtime.pod_sandbox_status(&sandbox)).await.expect("a stopped sandbox exists");
    assert_eq!(status.state, SandboxState::NotReady);
    let config = fixture.container_config(&fixture.sleeper, 0).await;
    let made = within(fixture.runtime.create_container(&sandbox, config)).await;
    assert!(matches!(made, Err(Error::FailedPrecondition(_))), "{made:?}");
    fixture.remove(&sandbox).await;
}

/// `stop_pod_sandbox` ends the containers; they can still be looked at.
pub async fn stopping_a_sandbox_ends_its_containers(fixture: &Fixture) {
    let sandbox = fixture.sandbox("ending").await;
    let container = fixture.started(&sandbox, &fixture.sleeper).await;
    within(fixture.runtime.stop_pod_sandbox(&sandbox)).await.expect("a sandbox can be stopped");
    assert!(matches!(fixture.state(&container).await, ContainerState::Exited { .. }));
    fixture.remove(&sandbox).await;
}

/// Stop and remove succeed when there is nothing left to stop or remove.
pub async fn stop_and_remove_of_a_sandbox_twice_are_fine(fixture: &Fixture) {
    let sandbox = fixture.sandbox("twice").await;
    for _ in 0..2 {
        within(fixture.runtime.stop_pod_sandbox(&sandbox)).await.expect("stop is idempotent");
    }
    for _ in 0..2 {
        within(fixture.runtime.remove_pod_sandbox(&sandbox)).await.expect("remove is idempotent");
    }
    within(fixture.runtime.stop_pod_sandbox(&sandbox)).await.expect("stop after remove is fine");
}

/// Removing a sandbox removes its containers, stopping them first.
pub async fn removing_a_sandbox_removes_its_containers(fixture: &Fixture) {
    let sandbox = fixture.sandbox("removed").await;
    let container = fixture.started(&sandbox, &fixture.sleeper).await;
    fixture.remove(&sandbox).await;
    let status = within(fixture.runtime.container_status(&container)).await;
    assert!(matches!(status, Err(Error::NotFound(_))), "{status:?}");
    let status = within(fixture.runtime.pod_sandbox_status(&sandbox)).await;
    assert!(matches!(status, Err(Error::NotFound(_))), "{status:?}");
}

/// For unknown ids, reads and starts are `NotFound`; stop and remove are fine.
pub async fn unknown_ids_are_not_found_or_fine(fixture: &Fixture) {
    let (sandbox, container) = (SandboxId("5".repeat(64)), ContainerId("6".repeat(64)));
    let runtime = &fixture.runtime;
    within(runtime.stop_container(&container, GRACE)).await.expect("nothing to stop");
    within(runtime.remove_container(&container)).await.expect("nothing to remove");
    within(runtime.stop_pod_sandbox(&sandbox)).await.expect("nothing to stop");
    within(runtime.remove_pod_sandbox(&sandbox)).await.expect("nothing to remove");
    assert!(matches!(within(runtime.container_status(&container)).await, Err(Error::NotFound(_))));
    assert!(matches!(within(runtime.start_container(&container)).await, Err(Error::NotFound(_))));
    assert!(matches!(within(runtime.pod_sandbox_status(&sandbox)).await, Err(Error::NotFound(_))));
    assert!(matches!(within(runtime.container_stats(&container)).await, Err(Error::NotFound(_))));
}

/// The states are Created, Running, Exited, with their times in order.
pub async fn a_container_goes_from_created_to_running_to_exited(fixture: &Fixture) {
    let sandbox = fixture.sandbox("states").await;
    let container = fixture.created(&sandbox, &fixture.sleeper, 0).await;
    assert_eq!(fixture.state(&container).await, ContainerState::Created);
    within(fixture.runtime.start_container(&container)).await.expect("a created container can be started");
    let ContainerState::Running { started_at: first } = fixture.state(&container).await else { panic!("not running") };
    within(fixture.runtime.stop_container(&container, GRACE)).await.expect("a container can be stopped");
    let status = within(fixture.runtime.container_status(&container)).await.expect("the container exists");
    let ContainerState::Exited { started_at, finished_at, .. } = status.state else { panic!("not exited") };
    assert!(first == started_at && status.created_at <= started_at && started_at <= finished_at);
    fixture.remove(&sandbox).await;
}

/// The same metadata in one sandbox is `AlreadyExists`, even after an exit.
pub async fn the_same_container_twice_already_exists(fixture: &Fixture) {
    let (sandbox, _, _) = fixture.ended("same", &fixture.exits_three).await;
    let config = fixture.container_config(&fixture.sleeper, 0).await;
    let again = within(fixture.runtime.create_container(&sandbox, config)).await;
    assert!(matches!(again, Err(Error::AlreadyExists(_))), "{again:?}");
    fixture.remove(&sandbox).await;
}

/// A restart is a new container of the next attempt, beside the dead one.
pub async fn another_attempt_is_another_container(fixture: &Fixture) {
    let (sandbox, first, _) = fixture.ended("restart", &fixture.exits_three).await;
    let second = fixture.created(&sandbox, &fixture.sleeper, 1).await;
    assert_ne!(first, second);
    let status = within(fixture.runtime.container_status(&second)).await.expect("the container exists");
    assert_eq!(status.metadata, ContainerMetadata { name: "main".to_owned(), attempt: 1 });
    assert_eq!(exit_code_of(&fixture.state(&first).await), 3);
    fixture.remove(&sandbox).await;
}

/// Without the sandbox or the image, `create_container` is `NotFound`.
pub async fn a_container_needs_its_sandbox_and_image(fixture: &Fixture) {
    let sandbox = fixture.sandbox("needs").await;
    let mut config = fixture.container_config(&fixture.sleeper, 0).await;
    let made = within(fixture.runtime.create_container(&SandboxId("7".repeat(64)), config.clone())).await;
    assert!(matches!(made, Err(Error::NotFound(_))), "{made:?}");
    config.image = format!("sha256:{}", "0".repeat(64));
    let made = within(fixture.runtime.create_container(&sandbox, config)).await;
    assert!(matches!(made, Err(Error::NotFound(_))), "{made:?}");
    fixture.remove(&sandbox).await;
}

/// `start_container` of anything but a created container is `FailedPrecondition`.
pub async fn a_container_starts_once(fixture: &Fixture) {
    let sandbox = fixture.sandbox("once").await;
    let container = fixture.started(&sandbox, &fixture.sleeper).await;
    let again = within(fixture.runtime.start_container(&container)).await;
    assert!(matches!(again, Err(Error::FailedPrecondition(_))), "{again:?}");
    fixture.remove(&sandbox).await;
}

/// `stop_container` returns when the guest has ended.
pub async fn stop_ends_a_running_container(fixture: &Fixture) {
    let sandbox = fixture.sandbox("stop").await;
    let container = fixture.started(&sandbox, &fixture.sleeper).await;
    within(fixture.runtime.stop_container(&container, GRACE)).await.expect("a container can be stopped");
    assert!(matches!(fixture.state(&container).await, ContainerState::Exited { .. }));
    fixture.remove(&sandbox).await;
}

/// Stop and remove succeed when the container has ended or is gone.
pub async fn stop_and_remove_of_a_container_twice_are_fine(fixture: &Fixture) {
    let (sandbox, container, state) = fixture.ended("twice", &fixture.exits_three).await;
    within(fixture.runtime.stop_container(&container, GRACE)).await.expect("stop after the end is fine");
    assert_eq!(fixture.state(&container).await, state, "a stop after the end changes nothing");
    for _ in 0..2 {
        within(fixture.runtime.remove_container(&container)).await.expect("remove is idempotent");
    }
    within(fixture.runtime.stop_container(&container, GRACE)).await.expect("stop after remove is fine");
    fixture.remove(&sandbox).await;
}

/// Stopping a container that never started is fine.
pub async fn stop_of_a_created_container_is_fine(fixture: &Fixture) {
    let sandbox = fixture.sandbox("created").await;
    let container = fixture.created(&sandbox, &fixture.sleeper, 0).await;
    within(fixture.runtime.stop_container(&container, GRACE)).await.expect("nothing runs");
    within(fixture.runtime.remove_container(&container)).await.expect("it can be removed");
    fixture.remove(&sandbox).await;
}

/// A guest that does not end when asked is ended after the grace period, with 137.
pub async fn a_guest_that_ignores_a_stop_is_ended_after_its_grace(fixture: &Fixture) {
    let Some(stubborn) = &fixture.stubborn else { return };
    let sandbox = fixture.sandbox("stubborn").await;
    let container = fixture.started(&sandbox, stubborn).await;
    within(fixture.runtime.stop_container(&container, Duration::from_millis(20))).await.expect("force ends it");
    assert_eq!(exit_code_of(&fixture.state(&container).await), 137);
    fixture.remove(&sandbox).await;
}

/// `remove_container` ends the guest first.
pub async fn removing_a_running_container_ends_it(fixture: &Fixture) {
    let sandbox = fixture.sandbox("remove").await;
    let container = fixture.started(&sandbox, &fixture.sleeper).await;
    within(fixture.runtime.remove_container(&container)).await.expect("a running container can be removed");
    let left = within(fixture.runtime.list_containers(Filter { sandbox: Some(sandbox.clone()), ..Filter::default() }));
    assert_eq!(left.await.expect("containers can be listed"), []);
    fixture.remove(&sandbox).await;
}

/// The exit code is the guest's; the reason is `Completed` for 0 and `Error` for others.
pub async fn an_exit_code_is_kept(fixture: &Fixture) {
    for (program, code, wanted) in [(&fixture.prints_hello, 0, "Completed"), (&fixture.exits_three, 3, "Error")] {
        let (sandbox, _, state) = fixture.ended("exit", program).await;
        let ContainerState::Exited { exit_code, reason, .. } = state else { panic!("not exited") };
        assert_eq!((exit_code, reason.as_str()), (code, wanted));
        fixture.remove(&sandbox).await;
    }
}

/// The log is at the sandbox's directory joined with the container's path, in
/// the CRI's format: time, stream, `F` or `P`, text.
pub async fn a_log_is_where_the_config_says(fixture: &Fixture) {
    let (sandbox, container, _) = fixture.ended("log", &fixture.prints_hello).await;
    let status = within(fixture.runtime.container_status(&container)).await.expect("the container exists");
    let sandbox_status = within(fixture.runtime.pod_sandbox_status(&sandbox)).await.expect("the sandbox exists");
    assert_eq!(status.log_path, fixture.root.join(sandbox_status.metadata.uid).join("main/0.log"));
    let log = std::fs::read_to_string(&status.log_path).expect("the log exists when the guest has ended");
    let (_, line) = log.trim_end().split_once(' ').expect("a line starts with its time");
    assert_eq!(line, "stdout F hello");
    fixture.remove(&sandbox).await;
}

/// Whoever follows a log is told of what is written and when it is all there.
pub async fn a_log_tells_of_its_writes_and_its_end(fixture: &Fixture) {
    let sandbox = fixture.sandbox("told").await;
    let container = fixture.created(&sandbox, &fixture.prints_hello, 0).await;
    let mut log = fixture.runtime.log_progress(&container).expect("the container exists");
    assert_eq!(*log.borrow_and_update(), LogProgress::default());
    within(fixture.runtime.start_container(&container)).await.expect("a created container starts");
    let end = *within(log.wait_for(|log| log.is_complete)).await.expect("the container is still there");
    assert!(end.writes > 0, "nobody said that something was written");
    let log_path = within(fixture.runtime.container_status(&container)).await.expect("the container exists").log_path;
    assert!(std::fs::read_to_string(log_path).expect("the log exists").ends_with("hello\n"));
    fixture.remove(&sandbox).await;
    assert!(within(log.changed()).await.is_err(), "a removed container has no log to come");
    assert!(matches!(fixture.runtime.log_progress(&container), Err(Error::NotFound(_))));
}

/// Removing a container leaves its log.
pub async fn a_log_outlives_its_container(fixture: &Fixture) {
    let (sandbox, container, _) = fixture.ended("old-log", &fixture.prints_hello).await;
    let log_path = within(fixture.runtime.container_status(&container)).await.expect("the container exists").log_path;
    within(fixture.runtime.remove_container(&container)).await.expect("it can be removed");
    assert!(log_path.exists());
    fixture.remove(&sandbox).await;
}

/// A filter narrows by sandbox and by labels, both at once.
pub async fn lists_narrow_by_sandbox_and_labels(fixture: &Fixture) {
    let (sandbox, other) = (fixture.sandbox("listed").await, fixture.sandbox("other").await);
    let first = fixture.created(&sandbox, &fixture.sleeper, 0).await;
    let second = fixture.created(&sandbox, &fixture.sleeper, 1).await;
    fixture.created(&other, &fixture.sleeper, 0).await;
    let ids = async |filter: Filter| -> BTreeSet<ContainerId> {
        let listed = within(fixture.runtime.list_containers(filter)).await.expect("containers can be listed");
        listed.into_iter().map(|status| status.id).collect()
    };
    let mut filter = Filter { sandbox: Some(sandbox.clone()), ..Filter::default() };
    assert_eq!(ids(filter.clone()).await, BTreeSet::from([first, second.clone()]));
    filter.labels.insert("attempt".to_owned(), "1".to_owned());
    assert_eq!(ids(filter).await, BTreeSet::from([second]));
    let only = Filter { sandbox: Some(other.clone()), ..Filter::default() };
    let listed = within(fixture.runtime.list_pod_sandboxes(only)).await.expect("sandboxes can be listed");
    assert_eq!(listed.into_iter().map(|status| status.id).collect::<Vec<_>>(), std::slice::from_ref(&other));
    fixture.remove(&sandbox).await;
    fixture.remove(&other).await;
}

/// Events name the pod and tell Created, Started, Stopped, Deleted in order.
pub async fn events_tell_a_whole_life(fixture: &Fixture) {
    let mut events = fixture.runtime.events();
    let config = fixture.sandbox_config("events", 0);
    let uid = config.metadata.uid.clone();
    let sandbox = within(fixture.runtime.run_pod_sandbox(config)).await.expect("a sandbox runs");
    let container = fixture.started(&sandbox, &fixture.exits_three).await;
    let mut seen = Vec::new();
    while seen.last() != Some(&ContainerEventKind::Deleted) {
        let event = within(events.next()).await.expect("the runtime lives").expect("few events do not lag");
        if event.container != container {
            continue;
        }
        assert_eq!((&event.pod_uid, &event.sandbox), (&uid, &sandbox));
        if event.kind == ContainerEventKind::Stopped {
            assert!(matches!(fixture.state(&container).await, ContainerState::Exited { .. }), "the state comes first");
            within(fixture.runtime.remove_container(&container)).await.expect("it can be removed");
        }
        seen.push(event.kind);
    }
    use ContainerEventKind::{Created, Deleted, Started, Stopped};
    assert_eq!(seen, [Created, Started, Stopped, Deleted]);
    fixture.remove(&sandbox).await;
}

/// Ids are never reused and are 64 hexadecimal digits for containers.
pub async fn ids_are_never_reused(fixture: &Fixture) {
    let sandbox = fixture.sandbox("ids").await;
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let container = fixture.created(&sandbox, &fixture.sleeper, 0).await;
        assert!(container.0.len() == 64 && container.0.bytes().all(|byte| byte.is_ascii_hexdigit()));
        within(fixture.runtime.remove_container(&container)).await.expect("it can be removed");
        assert!(seen.insert(container), "an id came back");
    }
    fixture.remove(&sandbox).await;
}

/// `port_forward` is a connection to what listens in the sandbox.
pub async fn a_forwarded_port_carries_bytes(fixture: &Fixture) {
    let sandbox = fixture.sandbox("echo").await;
    fixture.started(&sandbox, &fixture.echo).await;
    let connect = async {
        loop {
            // A guest needs a moment to listen, and there is no event for that.
            match fixture.runtime.port_forward(&sandbox, fixture.echo_port).await {
                Ok(stream) => return stream,
                Err(Error::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    let mut stream = within(connect).await;
    stream.write_all(b"ping").await.expect("the connection takes bytes");
    let mut answer = [0; 4];
    within(stream.read_exact(&mut answer)).await.expect("the connection gives them back");
    assert_eq!(&answer, b"ping");
    fixture.remove(&sandbox).await;
}

/// `port_forward` to a port where nothing listens is `Unavailable`.
pub async fn a_port_where_nobody_listens_is_unavailable(fixture: &Fixture) {
    let sandbox = fixture.sandbox("silent").await;
    fixture.started(&sandbox, &fixture.sleeper).await;
    let refused = within(fixture.runtime.port_forward(&sandbox, 81)).await.err();
    assert!(matches!(refused, Some(Error::Unavailable(_))), "{refused:?}");
    fixture.remove(&sandbox).await;
}

/// An image is found by the name it was asked for and by its id.
pub async fn images_are_found_by_name_and_id(fixture: &Fixture) {
    let name = &fixture.sleeper.image;
    let pulled = within(fixture.images.pull_image(name)).await.expect("an image that is here can be pulled");
    let by_name = within(fixture.images.image_status(name)).await.expect("a valid name");
    let by_id = within(fixture.images.image_status(&pulled.id)).await.expect("an id is a valid name");
    assert!(pulled.id.starts_with("sha256:"));
    assert_eq!((by_name.as_ref(), by_id.as_ref()), (Some(&pulled), Some(&pulled)));
    assert!(within(fixture.images.list_images()).await.expect("images can be listed").contains(&pulled));
}

/// An image that is not here is `None`; nobody having it is `NotFound`; removing it is fine.
pub async fn a_missing_image_is_none_and_cannot_be_pulled(fixture: &Fixture) {
    let name = &fixture.missing_image;
    assert_eq!(within(fixture.images.image_status(name)).await, Ok(None));
    let pulled = within(fixture.images.pull_image(name)).await;
    assert!(matches!(pulled, Err(Error::NotFound(_) | Error::Unavailable(_))), "{pulled:?}");
    within(fixture.images.remove_image(name)).await.expect("nothing to remove");
}

/// An image that a container uses cannot be removed.
pub async fn a_used_image_stays(fixture: &Fixture) {
    let sandbox = fixture.sandbox("uses").await;
    fixture.created(&sandbox, &fixture.sleeper, 0).await;
    let removed = within(fixture.images.remove_image(&fixture.sleeper.image)).await;
    assert!(matches!(removed, Err(Error::FailedPrecondition(_))), "{removed:?}");
    fixture.remove(&sandbox).await;
}
