//! `NodePorts`: a port of the host belongs to one pod at a time.

use super::{Plugin, Rejection};
use crate::{pod_info::PodInfo, snapshot::NodeInfo};

/// Whether the pod may go there.
///
/// # Errors
/// When a pod there has one of its ports.
pub fn filter(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    if pod.host_ports.is_empty() {
        return Ok(());
    }
    let mut taken = node.pods.values().flat_map(|other| &other.host_ports);
    if taken.any(|theirs| pod.host_ports.iter().any(|ours| ours.conflicts_with(theirs))) {
        let reason = "node(s) didn't have free ports for the requested pod ports";
        return Err(Rejection::full(Plugin::Ports, reason));
    }
    Ok(())
}
