//! Turning a node of this process off and on again, as a machine is.
//!
//! Off, its kubelet is silent and its containers are gone at once: connections
//! to its pods are reset, nobody gets a grace period, and its leases run out.
//! On, a new kubelet finds an empty runtime. The cluster is not told: it finds
//! out, which is what this is for.
//!
//! ```text
//!   On ── turn off ──▶ (tasks stopped, sandboxes removed) ──▶ Off ── turn on ──▶ On
//! ```
//!
//! One task owns each node; [`Power`] asks it. A part of a node that fails stops
//! the whole process, as everywhere.

use super::STOP_DEADLINE;
use futures::future::join_all;
use std::{collections::BTreeMap, future::pending, sync::Arc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use wk_cri::{Filter, RuntimeService};
use wk_platform::{TaskGroup, tasks::OnError};

/// Whether a node is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs, or is starting.
    On,
    /// Nothing of it runs.
    Off,
}

/// What can be turned off: a kubelet that may be started again and again.
pub(super) struct Machine {
    pub name: String,
    pub runtime: Arc<dyn RuntimeService>,
    /// Starts all that runs for the node, in the given group.
    pub start: Box<dyn Fn(&TaskGroup) + Send + Sync>,
}

/// The switches of the nodes of this process.
#[derive(Clone, Default)]
pub struct Power {
    switches: Arc<BTreeMap<String, Switch>>,
}

struct Switch {
    wanted: watch::Sender<State>,
    is: watch::Receiver<State>,
}

impl Power {
    /// Starts `machines`, each with an owner among `parts`.
    pub(super) fn start(machines: Vec<Machine>, parts: &TaskGroup) -> Self {
        let switches = machines.into_iter().map(|machine| (machine.name.clone(), Switch::start(machine, parts)));
        Self { switches: Arc::new(switches.collect()) }
    }

    /// The nodes and what they are.
    pub fn states(&self) -> impl Iterator<Item = (&str, State)> {
        self.switches.iter().map(|(name, switch)| (name.as_str(), *switch.is.borrow()))
    }

    /// Turns a node off or on and waits until it is. Nothing happens when it is so
    /// already. Cancel safety: what was asked goes on.
    ///
    /// # Errors
    /// When this process has no such node, or is stopping.
    pub async fn turn(&self, name: &str, state: State) -> Result<(), String> {
        let switch = self.switches.get(name).ok_or_else(|| format!("node {name:?} is not one of this process"))?;
        switch.wanted.send_replace(state);
        let mut is = switch.is.clone();
        is.wait_for(|is| *is == state).await.map(drop).map_err(|_| "the server is stopping".to_owned())
    }
}

impl Switch {
    fn start(machine: Machine, parts: &TaskGroup) -> Self {
        let (wanted, asked) = watch::channel(State::On);
        let (tell, is) = watch::channel(State::On);
        let tasks = TaskGroup::new();
        (machine.start)(&tasks);
        let owner = Owner { machine, tasks, asked, tell, stop: parts.stopping() };
        parts.spawn_to_completion("node", OnError::StopGroup, owner.run());
        Self { wanted, is }
    }
}

/// The task that has a node.
struct Owner {
    machine: Machine,
    tasks: TaskGroup,
    asked: watch::Receiver<State>,
    tell: watch::Sender<State>,
    stop: CancellationToken,
}

impl Owner {
    async fn run(mut self) -> Result<(), String> {
        loop {
            let failed = self.tasks.stopping();
            tokio::select! {
                biased; // a stop wins
                () = self.stop.cancelled() => return self.tasks.shutdown(STOP_DEADLINE).await,
                () = failed.cancelled() => return self.tasks.shutdown(STOP_DEADLINE).await,
                () = asked(&mut self.asked, State::Off) => {}
            }
            self.turn_off().await;
            self.tell.send_replace(State::Off);
            tokio::select! {
                biased; // a stop wins
                () = self.stop.cancelled() => return Ok(()),
                () = asked(&mut self.asked, State::On) => {}
            }
            self.tasks = TaskGroup::new();
            (self.machine.start)(&self.tasks);
            self.tell.send_replace(State::On);
            info!(node = %self.machine.name, "turned the node on");
        }
    }

    async fn turn_off(&self) {
        let Machine { name, runtime, .. } = &self.machine;
        // First the kubelet: it would report that its containers are gone.
        if let Err(error) = self.tasks.shutdown(STOP_DEADLINE).await {
            warn!(node = %name, %error, "the kubelet did not stop in time");
        }
        let sandboxes = runtime.list_pod_sandboxes(Filter::default()).await.unwrap_or_default();
        let removed = join_all(sandboxes.iter().map(|sandbox| runtime.remove_pod_sandbox(&sandbox.id))).await;
        if let Some(error) = removed.into_iter().find_map(Result::err) {
            warn!(node = %name, %error, "could not remove a sandbox");
        }
        info!(node = %name, "turned the node off");
    }
}

async fn asked(asked: &mut watch::Receiver<State>, state: State) {
    if asked.wait_for(|asked| *asked == state).await.is_err() {
        pending().await // nobody is left to ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::time::Duration;
    use wk_cri::fake::{FakeConfig, FakeRuntime};

    /// A machine that counts its starts, with a part that fails when told to.
    fn machine(starts: Arc<Mutex<u32>>, fail: Arc<tokio::sync::Notify>) -> Machine {
        let start = move |tasks: &TaskGroup| {
            *starts.lock() += 1;
            let fail = fail.clone();
            tasks.spawn("kubelet", OnError::StopGroup, async move {
                fail.notified().await;
                Err::<(), _>("no disk")
            });
        };
        let runtime = Arc::new(FakeRuntime::new(FakeConfig::default()));
        Machine { name: "node-1".to_owned(), runtime, start: Box::new(start) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_off_until_it_is_turned_on_again() {
        let (starts, parts) = (Arc::default(), TaskGroup::new());
        let machine = machine(Arc::clone(&starts), Arc::default());
        let runtime = Arc::clone(&machine.runtime);
        let power = Power::start(vec![machine], &parts);
        runtime.run_pod_sandbox(wk_cri::PodSandboxConfig::default()).await.expect("made");
        power.turn("node-1", State::Off).await.expect("off");
        power.turn("node-1", State::Off).await.expect("still off");
        assert_eq!(power.states().collect::<Vec<_>>(), [("node-1", State::Off)]);
        assert_eq!(runtime.list_pod_sandboxes(Filter::default()).await.expect("a list"), []);
        power.turn("node-1", State::On).await.expect("on");
        assert_eq!(*starts.lock(), 2);
        assert!(power.turn("node-2", State::Off).await.is_err());
        parts.shutdown(Duration::from_secs(9)).await.expect("all parts stop");
        assert!(power.turn("node-1", State::Off).await.is_err(), "nobody is left to do it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_of_a_node_that_fails_stops_everything() {
        let (fail, parts) = (Arc::new(tokio::sync::Notify::new()), TaskGroup::new());
        let _power = Power::start(vec![machine(Arc::default(), fail.clone())], &parts);
        fail.notify_one();
        parts.stopping().cancelled().await;
        assert_eq!(parts.shutdown(Duration::from_secs(9)).await, Err("node: kubelet: no disk".to_owned()));
    }
}
