//! `NodeUnschedulable`: a cordoned node takes no pods, but those that tolerate it.

use super::{Plugin, Rejection, taints};
use crate::{pod_info::PodInfo, snapshot::NodeInfo};
use k8s_openapi::api::core::v1::Taint;

/// The taint that a cordon stands for.
const TAINT_KEY: &str = "node.kubernetes.io/unschedulable";

/// Whether the pod may go there.
///
/// # Errors
/// When the node is cordoned.
pub fn filter(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    let taint = Taint { key: TAINT_KEY.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    if !node.unschedulable || taints::is_tolerated(&taint, &pod.tolerations) {
        return Ok(());
    }
    Err(Rejection::never(Plugin::Unschedulable, "node(s) were unschedulable"))
}
