//! Nodes and the pods on them, at one instant: what has been seen, plus what has
//! been decided and not yet seen. A pure structure with one owner, the loop in `lib.rs`.

use crate::{
    plugins::pod_affinity::Namespaces,
    pod_info::{PodInfo, PodUid, Resources},
};
use k8s_openapi::api::core::v1::{Node, Taint};
use kube::ResourceExt;
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Pods a node takes when it does not say (upstream's kubelet default).
const PODS_MAX: usize = 110;

/// A node and what is on it.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `spec.taints`.
    pub taints: Vec<Taint>,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// What pods may use altogether.
    pub allocatable: Resources,
    /// How many pods it takes.
    pub pods_max: usize,
    /// Whether the node object exists; pods may be seen before their node.
    pub is_known: bool,
    /// What its pods have asked for.
    pub requested: Resources,
    /// What its pods count as in scores.
    pub scored_cpu_milli: i64,
    /// The same for memory.
    pub scored_memory_bytes: i64,
    /// Its pods.
    pub pods: HashMap<PodUid, Arc<PodInfo>>,
    /// How many pods of each controller are here.
    by_controller: HashMap<String, usize>,
}

impl NodeInfo {
    fn read(&mut self, node: &Node) {
        let spec = node.spec.clone().unwrap_or_default();
        let status = node.status.as_ref();
        let list = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        let pods_max = list.and_then(|list| list.get("pods")).map(crate::quantity::units);
        self.name = node.name_any();
        self.labels = node.labels().clone();
        self.taints = spec.taints.unwrap_or_default();
        self.unschedulable = spec.unschedulable.unwrap_or_default();
        self.allocatable = Resources::of(list);
        self.pods_max = pods_max.map_or(PODS_MAX, |count| usize::try_from(count).unwrap_or_default());
        self.is_known = true;
    }

    pub fn add(&mut self, pod: Arc<PodInfo>) {
        self.requested += &pod.requests;
        self.scored_cpu_milli += pod.scored_cpu_milli;
        self.scored_memory_bytes += pod.scored_memory_bytes;
        if let Some(controller) = &pod.controller {
            *self.by_controller.entry(controller.clone()).or_default() += 1;
        }
        self.pods.insert(pod.uid.clone(), pod);
    }

    fn remove(&mut self, uid: &PodUid) {
        let Some(pod) = self.pods.remove(uid) else { return };
        self.requested.subtract(&pod.requests);
        self.scored_cpu_milli -= pod.scored_cpu_milli;
        self.scored_memory_bytes -= pod.scored_memory_bytes;
        if let Some(controller) = &pod.controller
            && let Some(count) = self.by_controller.get_mut(controller)
        {
            *count -= 1;
            if *count == 0 {
                self.by_controller.remove(controller);
            }
        }
    }

    /// How many pods of a controller are here.
    pub fn pods_of(&self, controller: &str) -> usize {
        self.by_controller.get(controller).copied().unwrap_or_default()
    }
}

/// What a change of a node may make possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeChange {
    /// A new node.
    Added,
    /// Its labels, taints, resources or schedulability are others.
    Updated,
    /// Nothing that matters here (a heartbeat).
    Nothing,
}

/// Every node, in order of names, with its pods.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    nodes: BTreeMap<String, NodeInfo>,
    node_of: HashMap<PodUid, String>,
    /// How many pods have rules about other pods.
    with_affinity: usize,
    namespaces: Namespaces,
    /// Pods that others make room for, by the node where.
    nominated: HashMap<PodUid, (String, Arc<PodInfo>)>,
}

impl Snapshot {
    /// The nodes that exist.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values().filter(|node| node.is_known)
    }

    /// A node was seen.
    pub fn put_node(&mut self, node: &Node) -> NodeChange {
        let info = self.nodes.entry(node.name_any()).or_default();
        let was_known = info.is_known;
        let before =
            (info.labels.clone(), info.taints.clone(), info.unschedulable, info.allocatable.clone(), info.pods_max);
        info.read(node);
        let after = (&info.labels, &info.taints, info.unschedulable, &info.allocatable, info.pods_max);
        if !was_known {
            return NodeChange::Added;
        }
        let same = (&before.0, &before.1, before.2, &before.3, before.4) == after;
        if same { NodeChange::Nothing } else { NodeChange::Updated }
    }

    /// A node is gone. Its pods stay counted until they are gone too.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(info) = self.nodes.get_mut(name) {
            info.is_known = false;
            if info.pods.is_empty() {
                self.nodes.remove(name);
            }
        }
    }

    /// A pod is on a node, or will be as soon as its binding is written.
    pub fn put_pod(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.remove_pod(&pod.uid);
        self.with_affinity += usize::from(!pod.affinity.is_empty());
        self.node_of.insert(pod.uid.clone(), node.to_owned());
        self.nodes.entry(node.to_owned()).or_default().add(pod);
    }

    /// A pod is gone, or has ended, or could not be bound. Says whether it was on a node.
    pub fn remove_pod(&mut self, uid: &PodUid) -> bool {
        let Some(node) = self.node_of.remove(uid) else { return false };
        if let Some(info) = self.nodes.get_mut(&node) {
            let had_rules = info.pods.get(uid).is_some_and(|pod| !pod.affinity.is_empty());
            self.with_affinity -= usize::from(had_rules);
            info.remove(uid);
            if !info.is_known && info.pods.is_empty() {
                self.nodes.remove(&node);
            }
        }
        true
    }

    /// Whether the pod is on a node here.
    pub fn has_pod(&self, uid: &PodUid) -> bool {
        self.node_of.contains_key(uid)
    }

    /// Room is being made for a pod.
    pub fn nominate(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.nominated.insert(pod.uid.clone(), (node.to_owned(), pod));
    }

    /// The room made for a pod is free for others: it has got a node, or is gone.
    pub fn forget_nomination(&mut self, uid: &PodUid) {
        self.nominated.remove(uid);
    }

    /// The node as it is for `pod`: with those that matter as much or more, and
    /// that will come.
    pub fn seen_by<'a>(&self, pod: &PodInfo, node: &'a NodeInfo) -> Cow<'a, NodeInfo> {
        let mut seen = Cow::Borrowed(node);
        for (there, other) in self.nominated.values() {
            if *there == node.name && other.priority >= pod.priority && other.uid != pod.uid {
                seen.to_mut().add(other.clone());
            }
        }
        seen
    }

    /// Whether any pod on a node has rules about other pods.
    pub fn has_affinities(&self) -> bool {
        self.with_affinity > 0
    }

    /// The labels of each namespace.
    pub fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// A namespace was seen. Says whether its labels are others than before.
    pub fn put_namespace(&mut self, name: String, labels: BTreeMap<String, String>) -> bool {
        self.namespaces.insert(name, labels.clone()).as_ref() != Some(&labels)
    }

    /// A namespace is gone.
    pub fn remove_namespace(&mut self, name: &str) {
        self.namespaces.remove(name);
    }

    /// Every pod on a node.
    pub fn pod_uids(&self) -> impl Iterator<Item = &PodUid> {
        self.node_of.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, cpu: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": name}, "status": {"allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "10"}},
        }))
        .expect("a node")
    }

    fn pod(uid: &str, cpu_milli: i64) -> Arc<PodInfo> {
        let requests = Resources { cpu_milli, ..Resources::default() };
        Arc::new(PodInfo { uid: PodUid(uid.into()), controller: Some("rs".into()), requests, ..PodInfo::default() })
    }

    #[test]
    fn what_a_pod_asked_for_comes_back_when_it_goes() {
        let mut snapshot = Snapshot::default();
        snapshot.put_pod(pod("1", 300), "a"); // seen before its node
        assert_eq!(snapshot.nodes().count(), 0);
        assert_eq!(snapshot.put_node(&node("a", "2")), NodeChange::Added);
        snapshot.put_pod(pod("2", 500), "a");
        snapshot.put_pod(pod("2", 500), "a"); // confirmed by the watch: not counted twice
        let info = snapshot.nodes().next().expect("a node");
        assert_eq!((info.requested.cpu_milli, info.pods_of("rs"), info.pods_max), (800, 2, 10));
        assert!(snapshot.remove_pod(&PodUid("2".into())));
        assert_eq!(snapshot.nodes().next().map(|info| info.requested.cpu_milli), Some(300));
    }

    #[test]
    fn a_heartbeat_is_no_change_and_more_room_is() {
        let mut snapshot = Snapshot::default();
        snapshot.put_node(&node("a", "2"));
        assert_eq!(snapshot.put_node(&node("a", "2")), NodeChange::Nothing);
        assert_eq!(snapshot.put_node(&node("a", "4")), NodeChange::Updated);
    }
}
