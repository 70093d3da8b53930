//! A pod as the scheduler sees it: parsed once, small, immutable. Pure.

use crate::{affinity::Terms, quantity};
use k8s_openapi::{
    api::core::v1::{
        Container, NodeSelector, Pod, PodSpec, PreferredSchedulingTerm, Toleration, TopologySpreadConstraint,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use kube::ResourceExt;
use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    ops::AddAssign,
};

/// The scheduler this is; pods that name another one are not ours.
pub const SCHEDULER_NAME: &str = "default-scheduler";

/// For scoring, a container that asks for no processor counts as this much
/// (upstream: `DefaultMilliCPURequest`), so that such pods spread too.
const UNASKED_CPU_MILLI: i64 = 100;
/// The same for memory (upstream: `DefaultMemoryRequest`).
const UNASKED_MEMORY_BYTES: i64 = 200 * 1024 * 1024;

/// The identity of one pod, over restarts of its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodUid(pub String);

/// Amounts of the things a node has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a processor.
    pub cpu_milli: i64,
    /// Bytes.
    pub memory_bytes: i64,
    /// Everything else, by name.
    pub other: BTreeMap<String, i64>,
}

impl Resources {
    /// Reads a resource list. `pods` is a count of its own and left out.
    pub fn of(list: Option<&BTreeMap<String, Quantity>>) -> Self {
        let mut resources = Self::default();
        for (name, quantity) in list.into_iter().flatten() {
            match name.as_str() {
                "cpu" => resources.cpu_milli = quantity::milli(quantity),
                "memory" => resources.memory_bytes = quantity::units(quantity),
                "pods" => {}
                _ => {
                    resources.other.insert(name.clone(), quantity::units(quantity));
                }
            }
        }
        resources
    }

    /// Takes the larger of each amount.
    fn raise_to(&mut self, floor: &Self) {
        self.cpu_milli = self.cpu_milli.max(floor.cpu_milli);
        self.memory_bytes = self.memory_bytes.max(floor.memory_bytes);
        for (name, amount) in &floor.other {
            let own = self.other.entry(name.clone()).or_default();
            *own = (*own).max(*amount);
        }
    }

    /// Takes `less` away.
    pub fn subtract(&mut self, less: &Self) {
        self.cpu_milli -= less.cpu_milli;
        self.memory_bytes -= less.memory_bytes;
        for (name, amount) in &less.other {
            *self.other.entry(name.clone()).or_default() -= amount;
        }
    }
}

impl AddAssign<&Resources> for Resources {
    fn add_assign(&mut self, more: &Resources) {
        self.cpu_milli = self.cpu_milli.saturating_add(more.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_add(more.memory_bytes);
        for (name, amount) in &more.other {
            let own = self.other.entry(name.clone()).or_default();
            *own = own.saturating_add(*amount);
        }
    }
}

/// A port taken on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// `0.0.0.0` is every address.
    pub ip: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Never 0.
    pub port: i32,
}

impl HostPort {
    /// Whether both cannot be on one node.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let any = |ip: &str| ip == "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || any(&self.ip) || any(&other.ip))
    }
}

/// What the scheduler needs to know of a pod.
#[derive(Clone, Debug, Default)]
pub struct PodInfo {
    /// Its identity.
    pub uid: PodUid,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.resourceVersion`, for recorded events.
    pub resource_version: Option<String>,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// UID of its controller; pods of one controller spread.
    pub controller: Option<String>,
    /// `spec.nodeName`.
    pub node: Option<String>,
    /// `status.nominatedNodeName`: where others make room for it.
    pub nominated_node: Option<String>,
    /// `spec.schedulerName` is ours.
    pub is_ours: bool,
    /// A deletion has been asked for.
    pub is_deleting: bool,
    /// It has run to its end and uses nothing.
    pub is_terminal: bool,
    /// `spec.schedulingGates` is not empty.
    pub is_gated: bool,
    /// Higher goes first.
    pub priority: i32,
    /// `spec.preemptionPolicy` is `Never`.
    pub never_preempts: bool,
    /// What it asks for.
    pub requests: Resources,
    /// What it counts as when nodes are compared: never nothing.
    pub scored_cpu_milli: i64,
    /// The same for memory.
    pub scored_memory_bytes: i64,
    /// Ports of the host it takes.
    pub host_ports: Vec<HostPort>,
    /// `spec.nodeSelector`.
    pub node_selector: BTreeMap<String, String>,
    /// Required node affinity.
    pub required_affinity: Option<NodeSelector>,
    /// Preferred node affinity.
    pub preferred_affinity: Vec<PreferredSchedulingTerm>,
    /// Pod affinity and anti-affinity.
    pub affinity: Terms,
    /// `spec.tolerations`.
    pub tolerations: Vec<Toleration>,
    /// `spec.topologySpreadConstraints`.
    pub spread: Vec<TopologySpreadConstraint>,
}

impl Display for PodInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl PodInfo {
    /// Reads a pod.
    pub fn of(pod: &Pod) -> Self {
        let empty = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let node_affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        let (scored_cpu_milli, scored_memory_bytes) = scored_requests(spec);
        let controller = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
        Self {
            uid: PodUid(pod.uid().unwrap_or_default()),
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            resource_version: pod.resource_version(),
            labels: pod.labels().clone(),
            controller: controller.map(|owner| owner.uid.clone()),
            node: spec.node_name.clone().filter(|node| !node.is_empty()),
            nominated_node: pod.status.as_ref().and_then(|status| status.nominated_node_name.clone()),
            is_ours: spec.scheduler_name.as_deref().unwrap_or(SCHEDULER_NAME) == SCHEDULER_NAME,
            is_deleting: pod.metadata.deletion_timestamp.is_some(),
            is_terminal: matches!(phase, Some("Succeeded" | "Failed")),
            is_gated: spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()),
            priority: spec.priority.unwrap_or_default(),
            never_preempts: spec.preemption_policy.as_deref() == Some("Never"),
            requests: requests(spec),
            scored_cpu_milli,
            scored_memory_bytes,
            host_ports: host_ports(spec),
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            required_affinity: node_affinity
                .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.clone()),
            preferred_affinity: node_affinity
                .and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.clone())
                .unwrap_or_default(),
            affinity: Terms::of(spec.affinity.as_ref(), &pod.namespace().unwrap_or_default(), pod.labels()),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            spread: spec.topology_spread_constraints.clone().unwrap_or_default(),
        }
    }

    /// Whether this pod waits for a node from us.
    pub fn wants_a_node(&self) -> bool {
        self.is_ours && self.node.is_none() && !self.is_terminal && !self.is_deleting
    }
}

fn requests_of(container: &Container) -> Resources {
    Resources::of(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
}

/// The most the pod uses at any time: its containers together, or an init
/// container with the sidecars started before it (upstream: `resourcehelper.PodRequests`).
fn requests(spec: &PodSpec) -> Resources {
    let mut together = Resources::default();
    spec.containers.iter().for_each(|container| together += &requests_of(container));
    let (mut sidecars, mut while_starting) = (Resources::default(), Resources::default());
    for container in spec.init_containers.iter().flatten() {
        let own = requests_of(container);
        let mut now = sidecars.clone();
        now += &own;
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars = now.clone();
            together += &own;
        }
        while_starting.raise_to(&now);
    }
    together.raise_to(&while_starting);
    together += &Resources::of(spec.overhead.as_ref());
    together
}

fn scored_requests(spec: &PodSpec) -> (i64, i64) {
    let or = |amount: i64, unasked: i64| if amount == 0 { unasked } else { amount };
    spec.containers.iter().fold((0, 0), |(cpu, memory): (i64, i64), container| {
        let own = requests_of(container);
        let (own_cpu, own_memory) = (or(own.cpu_milli, UNASKED_CPU_MILLI), or(own.memory_bytes, UNASKED_MEMORY_BYTES));
        (cpu.saturating_add(own_cpu), memory.saturating_add(own_memory))
    })
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let host_port = port.host_port.filter(|port| *port > 0)?;
            let ip = port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned());
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            Some(HostPort { ip, protocol, port: host_port })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn info(spec: serde_json::Value) -> PodInfo {
        PodInfo::of(&serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec})).expect("a pod"))
    }

    #[test]
    fn requests_are_the_larger_of_starting_and_running() {
        let asks = |cpu: &str| json!({"requests": {"cpu": cpu, "memory": "1Mi"}});
        let pod = info(json!({
            "initContainers": [
                {"name": "sidecar", "restartPolicy": "Always", "resources": asks("100m")},
                {"name": "setup", "resources": asks("900m")},
            ],
            "containers": [{"name": "a", "resources": asks("300m")}, {"name": "b"}],
        }));
        assert_eq!(pod.requests.cpu_milli, 1000);
        assert_eq!(pod.requests.memory_bytes, 2 * 1024 * 1024);
        assert_eq!(pod.scored_cpu_milli, 400);
    }

    #[test]
    fn only_unassigned_living_pods_of_ours_want_a_node() {
        assert!(info(json!({"containers": []})).wants_a_node());
        assert!(!info(json!({"containers": [], "nodeName": "n"})).wants_a_node());
        assert!(!info(json!({"containers": [], "schedulerName": "none"})).wants_a_node());
    }

    #[test]
    fn host_ports_conflict_on_the_same_or_on_every_address() {
        let port = |ip: &str, port| HostPort { ip: ip.into(), protocol: "TCP".into(), port };
        assert!(port("0.0.0.0", 80).conflicts_with(&port("10.0.0.1", 80)));
        assert!(!port("10.0.0.2", 80).conflicts_with(&port("10.0.0.1", 80)));
        assert!(!port("0.0.0.0", 81).conflicts_with(&port("0.0.0.0", 80)));
    }
}
