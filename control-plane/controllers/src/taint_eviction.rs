//! Taint eviction: a pod leaves a node whose NoExecute taints it does not
//! tolerate, at once or after the time it tolerates them
//! (upstream: `pkg/controller/tainteviction`).

use crate::{
    node, pod,
    runner::{Cache, Change, Error, EventType, Key, Next, Queue, Reconcile, Recorder, Runner, patch, unless_gone},
};
use k8s_openapi::{
    api::core::v1::{Node, Pod, Taint, Toleration},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, Preconditions},
};
use parking_lot::Mutex;
use serde_json::json;
use std::{collections::HashSet, sync::Arc, time::Duration};
use wk_platform::Clock;

/// Pods looked at once (upstream: `UpdateWorkerSize`).
const WORKERS: usize = 8;

struct Controller {
    client: Client,
    clock: Clock,
    recorder: Recorder,
    nodes: Arc<Cache<Node>>,
    pods: Arc<Cache<Pod>>,
    /// Pods whose time to leave has been set and has not come: each is among `pods`.
    leaving: Mutex<HashSet<Key>>,
}

/// Puts the controller into `runner`.
pub fn register(runner: &mut Runner) {
    let mut builder = runner.controller("taint-eviction-controller");
    let (nodes, pods) = (builder.cache::<Node>(), builder.cache::<Pod>());
    let (queue, known) = (builder.queue.clone(), nodes.clone());
    pods.on_change(move |change| on_pod(&queue, &known, change));
    let (queue, known) = (builder.queue.clone(), pods.clone());
    nodes.on_change(move |change| on_node(&queue, &known, change));
    let (client, clock) = (builder.runner.client.clone(), builder.runner.clock.clone());
    let controller =
        Controller { client, clock, recorder: builder.recorder.clone(), nodes, pods, leaving: Mutex::default() };
    builder.run(WORKERS, controller);
}

fn node_name(pod: &Pod) -> Option<&String> {
    pod.spec.as_ref()?.node_name.as_ref()
}

/// Most nodes have no such taint, and their pods are no work.
fn on_pod(queue: &Queue<Key>, nodes: &Cache<Node>, change: &Change<'_, Pod>) {
    let Some(pod) = change.new else { return };
    let Some(name) = node_name(pod) else { return };
    if nodes.get(&Key::new("", name.clone())).is_some_and(|node| no_execute(&node).next().is_some()) {
        queue.add(Key::of(&**pod));
    }
}

fn on_node(queue: &Queue<Key>, pods: &Cache<Pod>, change: &Change<'_, Node>) {
    let taints = |node: Option<&Arc<Node>>| {
        node.map(|node| no_execute(node).cloned().collect::<Vec<Taint>>()).unwrap_or_default()
    };
    if taints(change.old) == taints(change.new) {
        return;
    }
    let name = change.latest().name_any();
    for pod in pods.everything().iter().filter(|pod| node_name(pod) == Some(&name)) {
        queue.add(Key::of(&**pod));
    }
}

fn no_execute(node: &Node) -> impl Iterator<Item = &Taint> {
    node::taints(node).iter().filter(|taint| taint.effect == "NoExecute")
}

/// When the pod has to leave; never, if it tolerates everything for good.
fn leaves_at(pod: &Pod, node: &Node, now: Timestamp) -> Option<Timestamp> {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let mut seconds_min: Option<i64> = None;
    let mut since = None;
    for taint in no_execute(node) {
        let Some(toleration) = tolerations.iter().find(|toleration| node::tolerates(toleration, taint)) else {
            return Some(now);
        };
        since = since.max(taint.time_added.as_ref().map(|time| time.0));
        if let Toleration { toleration_seconds: Some(seconds), .. } = toleration {
            seconds_min = Some(seconds_min.map_or(*seconds, |least| least.min(*seconds)));
        }
    }
    let pause = Duration::from_secs(u64::try_from(seconds_min?).unwrap_or_default());
    Some(since.unwrap_or(now) + pause)
}

impl Reconcile for Controller {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let was_leaving = self.leaving.lock().remove(key);
        let Some(pod) = self.pods.get(key).filter(|pod| !pod::is_terminal(pod) && !pod::is_deleting(pod)) else {
            return Ok(Next::Change);
        };
        let node = node_name(&pod).and_then(|name| self.nodes.get(&Key::new("", name.clone())));
        let now = self.clock.now();
        let Some(leaves_at) = node.and_then(|node| leaves_at(&pod, &node, now)) else {
            if was_leaving {
                let message = format!("Cancelling deletion of Pod {key}");
                self.recorder.record(&*pod, EventType::Normal, "TaintManagerEviction", message);
            }
            return Ok(Next::Change);
        };
        let left = Duration::try_from(leaves_at.duration_since(now)).unwrap_or_default();
        if !left.is_zero() {
            self.leaving.lock().insert(key.clone());
            return Ok(Next::After(left));
        }
        self.evict(key, &pod).await?;
        Ok(Next::Change)
    }
}

impl Controller {
    async fn evict(&self, key: &Key, pod: &Pod) -> Result<(), Error> {
        self.recorder.record(pod, EventType::Normal, "TaintManagerEviction", format!("Marking for deletion Pod {key}"));
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": self.clock.now_seconds().to_string(),
        });
        let body = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
        let written = api.patch_status(&key.name, &patch::params(), &Patch::Strategic(&body)).await;
        unless_gone(written).map_err(Error::api("mark as disrupted the pod", key))?;
        let preconditions = Some(Preconditions { uid: pod.uid(), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        unless_gone(api.delete(&key.name, &params).await).map_err(Error::api("evict pod", key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(tolerations: serde_json::Value) -> Option<i64> {
        let now = Timestamp::from_second(1_700_000_100).expect("valid");
        let added = Timestamp::from_second(1_700_000_000).expect("valid").to_string();
        let taint = json!({"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": added});
        let node: Node = serde_json::from_value(json!({"metadata": {}, "spec": {"taints": [taint]}})).expect("a node");
        let spec = json!({"containers": [], "tolerations": tolerations});
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": spec})).expect("a pod");
        leaves_at(&pod, &node, now).map(|at| at.as_second() - 1_700_000_000)
    }

    #[test]
    fn a_pod_leaves_when_its_patience_ends() {
        let tolerates = |seconds: Option<i64>| json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": seconds}]);
        assert_eq!(leaves(json!([])), Some(100), "at once");
        assert_eq!(leaves(tolerates(Some(300))), Some(300), "counted from the taint");
        assert_eq!(leaves(tolerates(Some(0))), Some(0));
        assert_eq!(leaves(tolerates(None)), None, "for ever");
    }
}
