//! `NodeName`: a pod that names its node goes there or nowhere.

use super::{Plugin, Rejection};
use crate::{pod_info::PodInfo, snapshot::NodeInfo};

/// Whether the pod may go there.
///
/// # Errors
/// When the pod names another node.
pub fn filter(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    match &pod.node {
        Some(name) if *name != node.name => {
            Err(Rejection::never(Plugin::NodeName, "node(s) didn't match the requested node name"))
        }
        _ => Ok(()),
    }
}
