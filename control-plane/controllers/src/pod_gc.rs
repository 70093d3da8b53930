//! Pod garbage: pods of nodes that are gone, pods that were deleted before they
//! got a node, and the oldest of too many that have ended
//! (upstream: `pkg/controller/podgc`).

use crate::{
    pod,
    runner::{Cache, Error, Key, Next, Reconcile, Runner, patch, unless_gone},
};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, Preconditions},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tracing::info;
use wk_platform::Clock;

/// Pods looked at once: there is no hurry.
const WORKERS: usize = 1;
/// How long a node may be missing before its pods are (upstream: `quarantineTime`).
const QUARANTINE: Duration = Duration::from_secs(40);
/// Ended pods kept (upstream: `--terminated-pod-gc-threshold`).
const ENDED_MAX: usize = 12_500;

struct Controller {
    client: Client,
    clock: Clock,
    nodes: Arc<Cache<Node>>,
    pods: Arc<Cache<Pod>>,
}

/// Puts the controller into `runner`.
pub fn register(runner: &mut Runner) {
    let mut builder = runner.controller("pod-garbage-collector-controller");
    let (nodes, pods) = (builder.cache::<Node>(), builder.cache::<Pod>());
    let (queue, known) = (builder.queue.clone(), nodes.clone());
    pods.on_change(move |change| {
        let Some(pod) = change.new else { return };
        if pod::is_terminal(pod) || is_unscheduled_and_deleting(pod) {
            queue.add(Key::of(&**pod));
        } else if is_orphan(pod, &known) {
            queue.add_after(Key::of(&**pod), QUARANTINE);
        }
    });
    let (queue, known) = (builder.queue.clone(), pods.clone());
    nodes.on_change(move |change| {
        if let (Some(gone), None) = (change.old, change.new) {
            let name = Some(gone.name_any());
            for pod in known.everything().iter().filter(|pod| node_name(pod) == name) {
                queue.add_after(Key::of(&**pod), QUARANTINE);
            }
        }
    });
    let (client, clock) = (builder.runner.client.clone(), builder.runner.clock.clone());
    builder.run(WORKERS, Controller { client, clock, nodes, pods });
}

fn node_name(pod: &Pod) -> Option<String> {
    pod.spec.as_ref()?.node_name.clone().filter(|name| !name.is_empty())
}

fn is_unscheduled_and_deleting(pod: &Pod) -> bool {
    pod::is_deleting(pod) && node_name(pod).is_none()
}

fn is_orphan(pod: &Pod, nodes: &Cache<Node>) -> bool {
    node_name(pod).is_some_and(|name| nodes.get(&Key::new("", name)).is_none())
}

/// Whether the pod is among the oldest of those that ended, beyond `keep` of them.
fn is_surplus(pod: &Pod, all: &[Arc<Pod>], keep: usize) -> bool {
    let ended = || all.iter().filter(|other| pod::is_terminal(other) && !pod::is_deleting(other));
    let count = ended().count();
    let age = |pod: &Pod| (pod.creation_timestamp(), pod.name_any());
    pod::is_terminal(pod) && count > keep && ended().filter(|other| age(other) < age(pod)).count() < count - keep
}

impl Reconcile for Controller {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(pod) = self.pods.get(key) else { return Ok(Next::Change) };
        if is_unscheduled_and_deleting(&pod) {
            self.delete(key, &pod).await?;
        } else if is_orphan(&pod, &self.nodes) {
            self.collect_orphan(key, &pod).await?;
        } else if pod::is_terminal(&pod) && is_surplus(&pod, &self.pods.everything(), ENDED_MAX) {
            self.delete(key, &pod).await?;
        }
        Ok(Next::Change)
    }
}

impl Controller {
    /// The API server has the last word on whether the node is gone.
    async fn collect_orphan(&self, key: &Key, pod: &Pod) -> Result<(), Error> {
        let Some(node) = node_name(pod) else { return Ok(()) };
        let nodes: Api<Node> = Api::all(self.client.clone());
        if nodes.get_opt(&node).await.map_err(Error::api("get node", &node))?.is_some() {
            return Ok(());
        }
        if !pod::is_terminal(pod) {
            let condition = json!({
                "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
                "message": "PodGC: node no longer exists",
                "lastTransitionTime": self.clock.now_seconds().to_string(),
            });
            let status = json!({"phase": "Failed", "conditions": [condition]});
            let body = json!({"metadata": {"uid": pod.uid()}, "status": status});
            let written = self.api(key).patch_status(&key.name, &patch::params(), &Patch::Strategic(&body)).await;
            unless_gone(written).map_err(Error::api("fail pod", key))?;
        }
        self.delete(key, pod).await
    }

    fn api(&self, key: &Key) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    async fn delete(&self, key: &Key, pod: &Pod) -> Result<(), Error> {
        let preconditions = Some(Preconditions { uid: pod.uid(), resource_version: None });
        let params = DeleteParams { preconditions, grace_period_seconds: Some(0), ..DeleteParams::default() };
        let deleted = self.api(key).delete(&key.name, &params).await;
        unless_gone(deleted).map_err(Error::api("delete pod", key))?;
        info!(pod = %key, "collected pod");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(name: &str, second: u32) -> Arc<Pod> {
        let created = format!("2024-01-01T00:00:{second:02}Z");
        let metadata = json!({"name": name, "creationTimestamp": created});
        Arc::new(serde_json::from_value(json!({"metadata": metadata, "status": {"phase": "Failed"}})).expect("a pod"))
    }

    #[test]
    fn the_oldest_of_too_many_go() {
        let all = [ended("b", 2), ended("a", 1), ended("c", 3)];
        let surplus: Vec<_> = all.iter().filter(|pod| is_surplus(pod, &all, 1)).map(|pod| pod.name_any()).collect();
        assert_eq!(surplus, ["b", "a"]);
        assert!(!all.iter().any(|pod| is_surplus(pod, &all, 3)));
    }
}
