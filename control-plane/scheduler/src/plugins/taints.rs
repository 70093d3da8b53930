//! `TaintToleration`: a taint keeps pods away that do not tolerate it.

use super::{Plugin, Rejection};
use crate::{pod_info::PodInfo, snapshot::NodeInfo};
use k8s_openapi::api::core::v1::{Taint, Toleration};

/// Whether one of the tolerations is for this taint
/// (upstream: `ToleratesTaint` in `k8s.io/api/core/v1`).
pub fn is_tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let effect = text(&toleration.effect);
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    let key = text(&toleration.key);
    if !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => text(&toleration.value) == text(&taint.value),
        "Exists" => true,
        _ => false,
    }
}

/// Whether the pod may go there.
///
/// # Errors
/// The first taint it does not tolerate.
pub fn filter(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    let forbids = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    match node.taints.iter().filter(forbids).find(|taint| !is_tolerated(taint, &pod.tolerations)) {
        None => Ok(()),
        Some(taint) => {
            let value = taint.value.as_deref().unwrap_or_default();
            let reason = format!("node(s) had untolerated taint {{{}: {value}}}", taint.key);
            Err(Rejection::never(Plugin::Taints, reason))
        }
    }
}

/// Taints that would rather not have the pod: fewer are better.
pub fn penalty(pod: &PodInfo, node: &NodeInfo) -> f64 {
    let discourages = |taint: &&Taint| taint.effect == "PreferNoSchedule";
    let count = node.taints.iter().filter(discourages).filter(|taint| !is_tolerated(taint, &pod.tolerations)).count();
    count as f64
}
