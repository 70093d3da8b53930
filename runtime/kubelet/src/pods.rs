//! Pods of this node → one worker per pod UID. A watch feeds the workers' slots,
//! the runtime's events wake them, and what no pod owns is removed at the start.

use crate::{actions::Context, garbage, slot::Slot, spec, worker::Worker};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    sync::Arc,
};
use tokio::sync::mpsc;
use tracing::{Instrument, debug, info_span};
use wk_platform::{TaskGroup, tasks::OnError};

/// Workers that have ended and are not forgotten yet.
const ENDED_MAX: usize = 256;

/// The slots of workers, by pod UID.
#[derive(Clone, Default)]
pub(crate) struct Slots(Arc<Mutex<HashMap<String, Arc<Slot>>>>);

impl Slots {
    fn get(&self, uid: &str) -> Option<Arc<Slot>> {
        self.0.lock().get(uid).cloned()
    }

    fn all(&self) -> Vec<Arc<Slot>> {
        self.0.lock().values().cloned().collect()
    }
}

/// Wakes workers whose containers changed; all of them after a lag.
///
/// # Errors
/// When the runtime is gone, which ends the kubelet.
pub(crate) async fn follow_runtime(context: Arc<Context>, slots: Slots) -> Result<(), &'static str> {
    let mut events = context.config.runtime.events();
    loop {
        match events.next().await {
            Some(Ok(event)) => {
                if let Some(slot) = slots.get(&event.pod_uid) {
                    slot.look();
                }
            }
            Some(Err(lagged)) => {
                debug!(missed = lagged.0, "fell behind the runtime's events");
                slots.all().iter().for_each(|slot| slot.look());
            }
            None => return Err("the container runtime is gone"),
        }
    }
}

/// The pods of the node.
pub(crate) struct Pods {
    pub context: Arc<Context>,
    pub tasks: TaskGroup,
    pub slots: Slots,
}

impl Pods {
    /// Follows the pods bound to this node until the task is dropped.
    ///
    /// # Errors
    /// None: the watch recovers by itself.
    pub async fn run(self) -> Result<(), Infallible> {
        let (ended_sender, mut ended) = mpsc::channel::<String>(ENDED_MAX);
        let api: Api<Pod> = Api::all(self.context.config.client.clone());
        let mine = watcher::Config::default().fields(&format!("spec.nodeName={}", self.context.config.node_name));
        // Half of most objects, and nobody here reads them.
        let lean = |pod: &mut Pod| pod.metadata.managed_fields = None;
        let mut stream = watcher(api, mine).default_backoff().modify(lean).boxed();
        let (mut listed, mut first) = (BTreeSet::new(), true);
        loop {
            tokio::select! {
                Some(uid) = ended.recv() => drop(self.slots.0.lock().remove(&uid)),
                event = stream.next() => match event {
                    None => return Ok(()),
                    Some(Ok(watcher::Event::Init)) => listed.clear(),
                    Some(Ok(watcher::Event::InitApply(pod))) => {
                        listed.insert(spec::uid(&pod).to_owned());
                        self.put(pod, &ended_sender);
                    }
                    Some(Ok(watcher::Event::InitDone)) => self.listed(&listed, std::mem::take(&mut first)).await,
                    Some(Ok(watcher::Event::Apply(pod))) => self.put(pod, &ended_sender),
                    Some(Ok(watcher::Event::Delete(pod))) => {
                        if let Some(slot) = self.slots.get(spec::uid(&pod)) {
                            slot.gone(Some(pod));
                        }
                    }
                    Some(Err(error)) => debug!(%error, "watch of pods failed"),
                },
            }
        }
    }

    /// All pods were listed: what was not among them is gone.
    async fn listed(&self, listed: &BTreeSet<String>, first: bool) {
        for (uid, slot) in self.slots.0.lock().iter() {
            if !listed.contains(uid) {
                slot.gone(None);
            }
        }
        if first {
            garbage::remove_leftovers(&self.context.config, listed).await;
        }
    }

    fn put(&self, pod: Pod, ended: &mpsc::Sender<String>) {
        let uid = spec::uid(&pod).to_owned();
        if let Some(slot) = self.slots.get(&uid) {
            return slot.put(pod);
        }
        let slot = Arc::new(Slot::default());
        self.slots.0.lock().insert(uid.clone(), Arc::clone(&slot));
        let span = info_span!("pod", namespace = spec::namespace(&pod), pod = spec::name(&pod), pod_uid = %uid);
        let worker = Worker::new(Arc::clone(&self.context), slot, pod);
        let ended = ended.clone();
        let work = async move {
            let Ok(()) = worker.run().await;
            let _ = ended.send(uid).await; // the loop may have stopped
            Ok::<_, Infallible>(())
        };
        self.tasks.spawn("pod worker", OnError::Log, work.instrument(span));
    }
}
