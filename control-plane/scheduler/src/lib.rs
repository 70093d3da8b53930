//! Pods without a node, in; bindings, out.
//!
//! ```text
//!   watch of pods  ──▶ Queue ──pop──▶ decide(pod, Snapshot) ──▶ bind (many at once)
//!   watch of nodes ──▶ Snapshot ◀── assume ──────┘   └─ none ──▶ condition, event, wait
//! ```
//!
//! One task owns queue and snapshot and needs no lock. A decision is assumed to
//! be true at once and forgotten when its binding fails, so that the next
//! decision does not wait for the API server.
//!
//! Reading order: `affinity`, `pod_info`, `snapshot`, `queue`, `plugins`, `preempt`, `decide`, `bind`, this file.
//!
//! Invariants: only pods that name our scheduler and have no node are bound;
//! everything goes through `kube::Client`; nothing is believed that the watch
//! has not shown, but our own assumptions.
#![forbid(unsafe_code)]

mod affinity;
mod bind;
mod decide;
mod plugins;
mod pod_info;
mod preempt;
mod quantity;
mod queue;
mod snapshot;

use bind::Writer;
use decide::{Decision, Diagnosis, decide};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::{
    Api, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, watcher},
    },
};
use plugins::ClusterEvent;
use pod_info::{PodInfo, PodUid};
use preempt::Preemption;
use queue::Queue;
use serde::de::DeserializeOwned;
use snapshot::{NodeChange, Snapshot};
use std::{collections::HashSet, convert::Infallible, fmt::Debug, pin::pin, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use tracing::{debug, info, warn};
use wk_platform::{Clock, Entropy, TaskGroup, tasks::OnError};

/// Bindings being written at once; decisions wait beyond that.
const BINDS_MAX: usize = 256;
/// The first and the longest pause after a failed list or watch.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// What the scheduler is given.
pub struct Config {
    /// Where everything is read and written.
    pub client: kube::Client,
    /// For timestamps in objects.
    pub clock: Clock,
    /// For choosing among equally good nodes, and jitter.
    pub entropy: Entropy,
}

/// Starts the scheduler; it runs until `tasks` stops. Call it inside a tokio
/// runtime. An API server that is not there yet is waited for.
pub fn run(config: Config, tasks: TaskGroup) {
    let Config { client, clock, entropy } = config;
    let (finished, bindings) = mpsc::channel(BINDS_MAX);
    let scheduler = Scheduler {
        writer: Arc::new(Writer::new(client.clone(), clock)),
        entropy: entropy.clone(),
        tasks: tasks.clone(),
        queue: Queue::default(),
        snapshot: Snapshot::default(),
        binding: HashSet::new(),
        finished,
        listed_pods: HashSet::new(),
        listed_nodes: HashSet::new(),
        ready: Ready::default(),
    };
    let pods = watch::<Pod>(&client, &entropy);
    let nodes = watch::<Node>(&client, &entropy);
    let namespaces = watch::<Namespace>(&client, &entropy);
    tasks.spawn("scheduler", OnError::StopGroup, async move {
        scheduler.run(pods, nodes, namespaces, bindings).await;
        Ok::<_, Infallible>(())
    });
}

fn watch<K>(client: &kube::Client, entropy: &Entropy) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + use<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let retry = Retry { failures: 0, entropy: entropy.clone() };
    watcher(Api::<K>::all(client.clone()), watcher::Config::default()).backoff(retry)
}

/// Pauses between attempts to list and watch: doubling, with jitter, reset by success.
struct Retry {
    failures: u32,
    entropy: Entropy,
}

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let (min, max) = RETRY;
        let pause = min.saturating_mul(1 << self.failures.min(16)).min(max);
        self.failures += 1;
        Some(self.entropy.jitter(pause, 0.5))
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

/// What became of a binding.
struct Bound {
    pod: Arc<PodInfo>,
    result: kube::Result<()>,
}

/// Which watches have shown their first complete list.
#[derive(Default)]
struct Ready {
    pods: bool,
    nodes: bool,
    namespaces: bool,
}

/// The owner of all state.
struct Scheduler {
    writer: Arc<Writer>,
    entropy: Entropy,
    tasks: TaskGroup,
    queue: Queue,
    snapshot: Snapshot,
    /// Pods whose binding is being written and that no watch has shown on a node.
    binding: HashSet<PodUid>,
    finished: mpsc::Sender<Bound>,
    listed_pods: HashSet<PodUid>,
    listed_nodes: HashSet<String>,
    ready: Ready,
}

impl Scheduler {
    async fn run(
        mut self,
        pods: impl Stream<Item = watcher::Result<watcher::Event<Pod>>>,
        nodes: impl Stream<Item = watcher::Result<watcher::Event<Node>>>,
        namespaces: impl Stream<Item = watcher::Result<watcher::Event<Namespace>>>,
        mut bindings: mpsc::Receiver<Bound>,
    ) {
        let (mut pods, mut nodes, mut namespaces) = (pin!(pods), pin!(nodes), pin!(namespaces));
        loop {
            let wake = self.queue.next_change();
            tokio::select! {
                biased; // what is known comes before what is decided from it
                Some(event) = nodes.next() => self.on_node(event),
                Some(event) = namespaces.next() => self.on_namespace(event),
                Some(event) = pods.next() => self.on_pod(event),
                Some(bound) = bindings.recv() => self.on_bound(bound),
                () = tokio::task::yield_now(), if self.can_decide() => self.schedule_one(),
                () = sleep_until(wake), if wake.is_some() => self.queue.advance(Instant::now()),
            }
        }
    }

    fn can_decide(&self) -> bool {
        self.ready.pods
            && self.ready.nodes
            && self.ready.namespaces
            && self.queue.has_active()
            && self.binding.len() < BINDS_MAX
    }

    fn on_node(&mut self, event: watcher::Result<watcher::Event<Node>>) {
        match event {
            Ok(watcher::Event::Init) => self.listed_nodes.clear(),
            Ok(watcher::Event::InitApply(node)) => {
                self.listed_nodes.insert(node.name_any());
                self.put_node(&node);
            }
            Ok(watcher::Event::InitDone) => self.end_of_nodes(),
            Ok(watcher::Event::Apply(node)) => self.put_node(&node),
            Ok(watcher::Event::Delete(node)) => self.snapshot.remove_node(&node.name_any()),
            Err(error) => debug!(resource = "nodes", %error, "watch failed"),
        }
    }

    fn end_of_nodes(&mut self) {
        let known: Vec<String> = self.snapshot.nodes().map(|node| node.name.clone()).collect();
        let gone = known.into_iter().filter(|name| !self.listed_nodes.contains(name));
        gone.for_each(|name| self.snapshot.remove_node(&name));
        self.listed_nodes = HashSet::new();
        self.ready.nodes = true;
    }

    fn put_node(&mut self, node: &Node) {
        let event = match self.snapshot.put_node(node) {
            NodeChange::Added => ClusterEvent::NodeAdded,
            NodeChange::Updated => ClusterEvent::NodeUpdated,
            NodeChange::Nothing => return,
        };
        self.queue.on_event(event, Instant::now());
    }

    /// A namespace that vanished between two lists stays: it selects no pod.
    fn on_namespace(&mut self, event: watcher::Result<watcher::Event<Namespace>>) {
        match event {
            Ok(watcher::Event::Init) => {}
            Ok(watcher::Event::InitApply(namespace) | watcher::Event::Apply(namespace)) => {
                if self.snapshot.put_namespace(namespace.name_any(), namespace.labels().clone()) {
                    self.queue.on_event(ClusterEvent::PodCame, Instant::now());
                }
            }
            Ok(watcher::Event::InitDone) => self.ready.namespaces = true,
            Ok(watcher::Event::Delete(namespace)) => self.snapshot.remove_namespace(&namespace.name_any()),
            Err(error) => debug!(resource = "namespaces", %error, "watch failed"),
        }
    }

    fn on_pod(&mut self, event: watcher::Result<watcher::Event<Pod>>) {
        match event {
            Ok(watcher::Event::Init) => self.listed_pods.clear(),
            Ok(watcher::Event::InitApply(pod)) => {
                let pod = PodInfo::of(&pod);
                self.listed_pods.insert(pod.uid.clone());
                self.put_pod(pod);
            }
            Ok(watcher::Event::InitDone) => self.end_of_pods(),
            Ok(watcher::Event::Apply(pod)) => self.put_pod(PodInfo::of(&pod)),
            Ok(watcher::Event::Delete(pod)) => self.remove_pod(&PodUid(pod.uid().unwrap_or_default())),
            Err(error) => debug!(resource = "pods", %error, "watch failed"),
        }
    }

    fn end_of_pods(&mut self) {
        let listed = std::mem::take(&mut self.listed_pods);
        let gone: Vec<PodUid> = self.snapshot.pod_uids().filter(|uid| !listed.contains(*uid)).cloned().collect();
        gone.iter().for_each(|uid| self.remove_pod(uid));
        self.queue.retain(|uid| listed.contains(uid));
        self.ready.pods = true;
    }

    fn put_pod(&mut self, pod: PodInfo) {
        let pod = Arc::new(pod);
        if pod.is_terminal {
            return self.remove_pod(&pod.uid);
        }
        if let Some(node) = &pod.node {
            self.snapshot.forget_nomination(&pod.uid);
            self.queue.remove(&pod.uid);
            self.binding.remove(&pod.uid);
            let is_news = !self.snapshot.has_pod(&pod.uid);
            self.snapshot.put_pod(pod.clone(), node);
            if is_news {
                self.queue.on_event(ClusterEvent::PodCame, Instant::now());
            }
        } else if !pod.wants_a_node() {
            self.queue.remove(&pod.uid);
        } else if !self.snapshot.has_pod(&pod.uid) {
            if let Some(node) = pod.nominated_node.clone() {
                self.snapshot.nominate(pod.clone(), &node);
            }
            self.queue.put(pod, Instant::now());
        }
    }

    fn remove_pod(&mut self, uid: &PodUid) {
        self.queue.remove(uid);
        self.binding.remove(uid);
        self.snapshot.forget_nomination(uid);
        self.writer.forget(&uid.0);
        if self.snapshot.remove_pod(uid) {
            self.queue.on_event(ClusterEvent::PodLeft, Instant::now());
        }
    }

    fn schedule_one(&mut self) {
        let Some(pod) = self.queue.pop() else { return };
        match decide(&pod, &self.snapshot, |bound| self.entropy.below(bound)) {
            Decision::Bind(node) => self.bind(pod, node),
            Decision::Unschedulable(diagnosis, preemption) => {
                if let Some(preemption) = preemption {
                    self.make_room(&pod, preemption);
                }
                self.wait(pod, diagnosis);
            }
        }
    }

    fn bind(&mut self, pod: Arc<PodInfo>, node: String) {
        self.snapshot.put_pod(pod.clone(), &node);
        self.binding.insert(pod.uid.clone());
        let (writer, finished) = (self.writer.clone(), self.finished.clone());
        self.tasks.spawn("bind", OnError::Log, async move {
            let result = writer.bind(&pod, &node).await;
            let bound = result.is_ok();
            let told = pod.clone();
            // Only a stopping scheduler does not listen.
            let _ = finished.send(Bound { pod, result }).await;
            if bound {
                info!(pod = %told, %node, "bound pod");
                writer.tell_bound(&told, &node).await;
            }
            Ok::<_, Infallible>(())
        });
    }

    /// The victims go, each in its grace period; their leaving wakes the pod.
    fn make_room(&mut self, pod: &Arc<PodInfo>, preemption: Preemption) {
        let Preemption { node, victims } = preemption;
        info!(%pod, %node, victims = victims.len(), "made others leave");
        self.snapshot.nominate(pod.clone(), &node);
        let (writer, pod) = (self.writer.clone(), pod.clone());
        self.tasks.spawn("preemption", OnError::Log, async move {
            writer.nominate(&pod, &node).await;
            for victim in &victims {
                writer.evict(&pod, victim, &node).await;
            }
            Ok::<_, Infallible>(())
        });
    }

    fn wait(&mut self, pod: Arc<PodInfo>, diagnosis: Diagnosis) {
        let message = diagnosis.message();
        debug!(%pod, %message, "no node for pod");
        self.queue.unschedulable(&pod.uid, diagnosis.plugins, Instant::now());
        self.tell_failed(pod, "Unschedulable", message);
    }

    fn tell_failed(&self, pod: Arc<PodInfo>, reason: &'static str, message: String) {
        let writer = self.writer.clone();
        self.tasks.spawn("scheduling failure", OnError::Log, async move {
            writer.tell_failed(&pod, reason, &message).await;
            Ok::<_, Infallible>(())
        });
    }

    fn on_bound(&mut self, bound: Bound) {
        let Bound { pod, result } = bound;
        let was_assumed = self.binding.remove(&pod.uid);
        let Err(error) = result else { return };
        if !was_assumed {
            return; // the watch was quicker and knows better
        }
        if self.snapshot.remove_pod(&pod.uid) {
            self.queue.on_event(ClusterEvent::PodLeft, Instant::now());
        }
        if matches!(&error, kube::Error::Api(status) if status.is_not_found()) {
            return self.queue.remove(&pod.uid);
        }
        warn!(%pod, %error, "binding failed");
        self.queue.bind_failed(&pod.uid, Instant::now());
        self.tell_failed(pod, "SchedulerError", format!("binding rejected: {error}"));
    }
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}
