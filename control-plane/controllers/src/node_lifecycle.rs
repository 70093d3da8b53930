//! Node lifecycle: a node whose kubelet is silent for too long is Unknown, and
//! taints say what its conditions mean for pods. Who has to leave because of a
//! taint is decided in `taint_eviction.rs`.
//!
//! Watches nodes, their leases, and pods; writes node conditions and taints, and
//! the Ready condition of pods. Nothing polls: a silent node is a timer that no
//! lease has pushed back. `node_lifecycle/plan.rs` decides (upstream: `pkg/controller/nodelifecycle`).

mod plan;

use crate::{
    node, pod,
    runner::{Cache, Change, Error, EventType, Key, Next, Queue, Reconcile, Recorder, Runner, patch, unless_gone},
};
use futures::future::join_all;
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Node, Pod},
    },
    jiff::Timestamp,
};
use kube::{Api, Client, ResourceExt, api::Patch, runtime::watcher};
use parking_lot::Mutex;
use serde_json::json;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::Instant;
use wk_platform::Clock;

/// Nodes looked at once (upstream: `UpdateWorkerSize`).
const WORKERS: usize = 8;
/// Where kubelets renew their leases.
const LEASE_NAMESPACE: &str = "kube-node-lease";

struct Controller {
    client: Client,
    clock: Clock,
    recorder: Recorder,
    grace: Duration,
    nodes: Arc<Cache<Node>>,
    leases: Arc<Cache<Lease>>,
    pods: Arc<Cache<Pod>>,
    heard: Mutex<HashMap<Key, Heard>>,
}

/// The last sign of life of a node, and when it reached us: by our own clock,
/// since the node's may be wrong.
struct Heard {
    uid: Option<String>,
    lease: Option<Timestamp>,
    status: Option<Timestamp>,
    at: Instant,
}

/// Puts the controller into `runner`; a node may be silent for `grace`.
pub fn register(runner: &mut Runner, grace: Duration) {
    let mut builder = runner.controller("node-controller");
    let (nodes, pods) = (builder.cache_of_own::<Node>(), builder.cache::<Pod>());
    let leases = Api::namespaced(builder.runner.client.clone(), LEASE_NAMESPACE);
    let leases = builder.cache_of_some::<Lease>(leases, watcher::Config::default());
    let queue = builder.queue.clone();
    leases.on_change(move |change| queue.add(Key::new("", change.latest().name_any())));
    let (queue, all) = (builder.queue.clone(), nodes.clone());
    nodes.on_change(move |change| on_node(&queue, &all, change));
    let controller = Controller {
        client: builder.runner.client.clone(),
        clock: builder.runner.clock.clone(),
        recorder: builder.recorder.clone(),
        grace,
        nodes,
        leases,
        pods,
        heard: Mutex::default(),
    };
    builder.run(WORKERS, controller);
}

/// Whether any node is healthy matters to all of them.
fn on_node(queue: &Queue<Key>, nodes: &Cache<Node>, change: &Change<'_, Node>) {
    let is_ready = |node: Option<&Arc<Node>>| node.is_some_and(|node| plan::is_ready(node));
    if is_ready(change.old) != is_ready(change.new) {
        nodes.in_namespace("").iter().for_each(|node| queue.add(Key::of(&**node)));
    }
}

impl Reconcile for Controller {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(node) = self.nodes.get(key) else {
            self.heard.lock().remove(key);
            return Ok(Next::Change);
        };
        let (silence, is_new) = self.listen(key, &node);
        if is_new {
            let message = format!("Node {} event: Registered Node {} in Controller", key.name, key.name);
            self.recorder.record(&*node, EventType::Normal, "RegisteredNode", message);
        }
        let now = self.clock.now_seconds();
        if silence >= self.grace
            && let Some(conditions) = plan::silent_conditions(&node, now)
        {
            self.write_silence(&node, &conditions).await?;
            return Ok(Next::Change); // the new conditions come back through the watch, and the taints follow
        }
        let healthy_exists = self.nodes.in_namespace("").iter().any(|node| plan::is_ready(node));
        if let Some(taints) = plan::taints(&node, healthy_exists, now) {
            self.write_taints(&node, &taints).await?;
        }
        if !plan::is_ready(&node) {
            self.mark_pods_unready(&node).await?;
        }
        Ok(if silence < self.grace { Next::After(self.grace - silence) } else { Next::Change })
    }
}

impl Controller {
    /// For how long the node has been silent, and whether it is heard for the first time.
    fn listen(&self, key: &Key, node: &Node) -> (Duration, bool) {
        let lease = self.leases.get(&Key::new(LEASE_NAMESPACE, key.name.clone()));
        let lease = lease.and_then(|lease| Some(lease.spec.as_ref()?.renew_time.as_ref()?.0));
        let status = node::condition(node, "Ready").and_then(|ready| Some(ready.last_heartbeat_time.as_ref()?.0));
        let mut heard = self.heard.lock();
        let known = heard.get(key).filter(|known| known.uid == node.uid());
        let is_new = known.is_none();
        // Our own Unknown keeps the heartbeat time, so it is no sign of life.
        if known.is_none_or(|known| known.lease != lease || known.status != status) {
            heard.insert(key.clone(), Heard { uid: node.uid(), lease, status, at: Instant::now() });
        }
        (heard.get(key).map(|heard| heard.at.elapsed()).unwrap_or_default(), is_new)
    }

    async fn write_silence(&self, node: &Node, conditions: &[serde_json::Value]) -> Result<(), Error> {
        let name = node.name_any();
        let body = json!({
            "metadata": {"uid": node.uid(), "resourceVersion": node.resource_version()},
            "status": {"conditions": conditions},
        });
        let api: Api<Node> = Api::all(self.client.clone());
        let written = api.patch_status(&name, &patch::params(), &Patch::Strategic(&body)).await;
        unless_gone(written).map_err(Error::api("write the conditions of node", &name))?;
        let message = format!("Node {name} status is now: NodeNotReady");
        self.recorder.record(node, EventType::Normal, "NodeNotReady", message);
        Ok(())
    }

    async fn write_taints(&self, node: &Node, taints: &[k8s_openapi::api::core::v1::Taint]) -> Result<(), Error> {
        let name = node.name_any();
        let taints = if taints.is_empty() { json!(null) } else { json!(taints) };
        // With the version, since the list is written as a whole.
        let body = json!({
            "metadata": {"uid": node.uid(), "resourceVersion": node.resource_version()}, "spec": {"taints": taints},
        });
        let api: Api<Node> = Api::all(self.client.clone());
        let written = api.patch(&name, &patch::params(), &Patch::Merge(&body)).await;
        unless_gone(written).map_err(Error::api("taint node", &name))
    }

    /// Services must stop sending to pods that nobody can vouch for.
    async fn mark_pods_unready(&self, node: &Node) -> Result<(), Error> {
        let name = node.name_any();
        if node::condition(node, "Ready").is_none_or(|ready| ready.status != "Unknown") {
            return Ok(()); // a kubelet that talks says so itself
        }
        let on_node = |pod: &&Arc<Pod>| pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(&name);
        let pods = self.pods.everything();
        let ready = pods.iter().filter(on_node).filter(|pod| pod::is_ready(pod));
        let results = join_all(ready.map(|pod| self.mark_unready(pod))).await;
        results.into_iter().collect()
    }

    async fn mark_unready(&self, pod: &Pod) -> Result<(), Error> {
        let key = Key::of(pod);
        let condition =
            json!({"type": "Ready", "status": "False", "lastTransitionTime": self.clock.now_seconds().to_string()});
        let body = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let written = api.patch_status(&key.name, &patch::params(), &Patch::Strategic(&body)).await;
        unless_gone(written).map_err(Error::api("mark as not ready the pod", &key))?;
        self.recorder.record(pod, EventType::Warning, "NodeNotReady", "Node is not ready".to_owned());
        Ok(())
    }
}
