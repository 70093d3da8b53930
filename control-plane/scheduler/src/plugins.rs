//! The rules of placement, one file each. A filter says whether a pod may go to
//! a node and, if not, why, in upstream's words; a score says how well it would
//! do there (upstream: `pkg/scheduler/framework/plugins`). Pure.

pub mod node_affinity;
pub mod node_name;
pub mod pod_affinity;
pub mod ports;
pub mod resources;
pub mod spread;
pub mod taints;
pub mod unschedulable;

/// What stood in the way of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plugin {
    /// `NodeUnschedulable`.
    Unschedulable,
    /// `NodeName`.
    NodeName,
    /// `TaintToleration`.
    Taints,
    /// `NodeAffinity`.
    NodeAffinity,
    /// `NodePorts`.
    Ports,
    /// `NodeResourcesFit`.
    Resources,
    /// `PodTopologySpread`.
    Spread,
    /// `InterPodAffinity`.
    PodAffinity,
    /// There was no node at all.
    NoNodes,
}

/// A change that may help pods that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterEvent {
    /// A node appeared.
    NodeAdded,
    /// A node has other labels, taints, resources or schedulability.
    NodeUpdated,
    /// A pod left its node, or ended.
    PodLeft,
    /// A pod came to a node, or a namespace changed: spreading and affinity may
    /// look different now.
    PodCame,
}

impl Plugin {
    /// Whether the change may make the pod fit.
    pub fn is_helped_by(self, event: ClusterEvent) -> bool {
        match event {
            ClusterEvent::NodeAdded | ClusterEvent::NodeUpdated => true,
            ClusterEvent::PodLeft => matches!(self, Self::Ports | Self::Resources | Self::Spread | Self::PodAffinity),
            ClusterEvent::PodCame => matches!(self, Self::Spread | Self::PodAffinity),
        }
    }
}

/// Why one node does not take a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Who says so.
    pub plugin: Plugin,
    /// One or more reasons.
    pub reasons: Vec<String>,
    /// Whether fewer pods on the node could change it.
    pub could_yield: bool,
}

impl Rejection {
    /// The node is wrong for the pod, however empty.
    pub fn never(plugin: Plugin, reason: impl Into<String>) -> Self {
        Self { plugin, reasons: vec![reason.into()], could_yield: false }
    }

    /// The node is too full for the pod.
    pub fn full(plugin: Plugin, reason: impl Into<String>) -> Self {
        Self { plugin, reasons: vec![reason.into()], could_yield: true }
    }
}

/// The best score of one rule for one node; 0 is the worst.
pub const SCORE_MAX: f64 = 100.0;

/// Scales scores so that the largest becomes [`SCORE_MAX`].
pub fn normalize(scores: &mut [f64]) {
    let max = scores.iter().copied().fold(0.0, f64::max);
    if max > 0.0 {
        scores.iter_mut().for_each(|score| *score = *score * SCORE_MAX / max);
    }
}

/// Scales penalties so that none is the best score and the largest is 0.
pub fn normalize_reversed(scores: &mut [f64]) {
    normalize(scores);
    scores.iter_mut().for_each(|score| *score = SCORE_MAX - *score);
}
