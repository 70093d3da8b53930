//! `NodeResourcesFit` (with its least-allocated score) and
//! `NodeResourcesBalancedAllocation`: a pod goes where there is room, and
//! rather where there is much of it and of everything.

use super::{Plugin, Rejection, SCORE_MAX};
use crate::{pod_info::PodInfo, snapshot::NodeInfo};

/// Whether the pod may go there.
///
/// # Errors
/// Everything there is too little of.
pub fn filter(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    let mut shortage = Rejection { plugin: Plugin::Resources, reasons: Vec::new(), could_yield: true };
    if node.pods.len() + 1 > node.pods_max {
        shortage.reasons.push("Too many pods".to_owned());
    }
    let (asked, has, used) = (&pod.requests, &node.allocatable, &node.requested);
    check(&mut shortage, "cpu", asked.cpu_milli, has.cpu_milli, used.cpu_milli);
    check(&mut shortage, "memory", asked.memory_bytes, has.memory_bytes, used.memory_bytes);
    for (name, amount) in &asked.other {
        let of = |amounts: &std::collections::BTreeMap<String, i64>| amounts.get(name).copied().unwrap_or_default();
        check(&mut shortage, name, *amount, of(&has.other), of(&used.other));
    }
    if shortage.reasons.is_empty() { Ok(()) } else { Err(shortage) }
}

fn check(shortage: &mut Rejection, name: &str, asked: i64, has: i64, used: i64) {
    if asked > 0 && asked > has - used {
        shortage.reasons.push(format!("Insufficient {name}"));
        if asked > has {
            shortage.could_yield = false; // not even an empty node would do
        }
    }
}

/// The share that would stay free of processor and memory.
pub fn least_allocated(pod: &PodInfo, node: &NodeInfo) -> f64 {
    let free = |has: i64, used: i64| {
        if has <= 0 || used > has { 0.0 } else { (has - used) as f64 * SCORE_MAX / has as f64 }
    };
    let cpu = free(node.allocatable.cpu_milli, node.scored_cpu_milli + pod.scored_cpu_milli);
    let memory = free(node.allocatable.memory_bytes, node.scored_memory_bytes + pod.scored_memory_bytes);
    ((cpu + memory) / 2.0).floor()
}

/// How evenly processor and memory would be used.
pub fn balanced(pod: &PodInfo, node: &NodeInfo) -> f64 {
    let share = |has: i64, used: i64| if has <= 0 { 1.0 } else { (used as f64 / has as f64).min(1.0) };
    let cpu = share(node.allocatable.cpu_milli, node.requested.cpu_milli + pod.requests.cpu_milli);
    let memory = share(node.allocatable.memory_bytes, node.requested.memory_bytes + pod.requests.memory_bytes);
    ((1.0 - (cpu - memory).abs() / 2.0) * SCORE_MAX).floor()
}
