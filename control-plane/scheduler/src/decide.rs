//! (pod, snapshot) → a node, or why there is none: filter, then score. Pure.

use crate::{
    plugins::{
        Plugin, Rejection, node_affinity, node_name, normalize, normalize_reversed, ports, resources, spread::Spread,
        taints, unschedulable,
    },
    pod_info::PodInfo,
    snapshot::{NodeInfo, Snapshot},
};
use std::collections::{BTreeMap, BTreeSet};

/// What to do with a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes to this node.
    Bind(String),
    /// It has to wait.
    Unschedulable(Diagnosis),
}

/// Why no node takes a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// How many nodes there are.
    nodes: usize,
    /// How many nodes give each reason.
    reasons: BTreeMap<String, usize>,
    /// How many nodes would not take it even with fewer pods on them.
    never: usize,
    never_preempts: bool,
    /// Whose rules stood in the way.
    pub plugins: BTreeSet<Plugin>,
}

impl Diagnosis {
    fn add(&mut self, rejection: Rejection) {
        self.plugins.insert(rejection.plugin);
        self.never += usize::from(!rejection.could_yield);
        for reason in rejection.reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }

    /// The words of upstream's FailedScheduling event (`framework.FitError`).
    pub fn message(&self) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let nodes = self.nodes;
        let mut reasons: Vec<String> = self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        reasons.sort();
        format!("0/{nodes} nodes are available: {}. preemption: {}", reasons.join(", "), self.preemption())
    }

    fn preemption(&self) -> String {
        if self.never_preempts {
            return "not eligible due to preemptionPolicy=Never.".to_owned();
        }
        let could_yield = self.nodes - self.never;
        let mut parts = Vec::new();
        if could_yield > 0 {
            parts.push(format!("{could_yield} No preemption victims found for incoming pod"));
        }
        if self.never > 0 {
            parts.push(format!("{} Preemption is not helpful for scheduling", self.never));
        }
        parts.sort();
        format!("0/{} nodes are available: {}.", self.nodes, parts.join(", "))
    }
}

/// In upstream's order: the first rule that says no gives the reason.
fn filter(pod: &PodInfo, node: &NodeInfo, spread: &Spread<'_>) -> Result<(), Rejection> {
    unschedulable::filter(pod, node)?;
    node_name::filter(pod, node)?;
    taints::filter(pod, node)?;
    node_affinity::filter(pod, node)?;
    ports::filter(pod, node)?;
    resources::filter(pod, node)?;
    spread.filter(node)
}

/// Picks the best node. `below(n)` gives a number under `n`, for choosing among equals.
pub fn decide(pod: &PodInfo, snapshot: &Snapshot, below: impl Fn(u64) -> u64) -> Decision {
    let spread = Spread::new(pod, snapshot);
    let mut diagnosis = Diagnosis { never_preempts: pod.never_preempts, ..Diagnosis::default() };
    let mut feasible = Vec::new();
    for node in snapshot.nodes() {
        diagnosis.nodes += 1;
        match filter(pod, node, &spread) {
            Ok(()) => feasible.push(node),
            Err(rejection) => diagnosis.add(rejection),
        }
    }
    if diagnosis.nodes == 0 {
        diagnosis.plugins.insert(Plugin::NoNodes);
    }
    match best(pod, &feasible, &spread, below) {
        Some(node) => Decision::Bind(node.name.clone()),
        None => Decision::Unschedulable(diagnosis),
    }
}

/// The node with the highest total; one of them when there are several.
fn best<'a>(
    pod: &PodInfo,
    feasible: &[&'a NodeInfo],
    spread: &Spread<'_>,
    below: impl Fn(u64) -> u64,
) -> Option<&'a NodeInfo> {
    if let [only] = feasible {
        return Some(only);
    }
    let totals = totals(pod, feasible, spread);
    let top = totals.iter().copied().fold(f64::MIN, f64::max);
    let winners: Vec<&NodeInfo> =
        feasible.iter().zip(&totals).filter(|(_, total)| **total == top).map(|(node, _)| *node).collect();
    let index = usize::try_from(below(winners.len() as u64)).unwrap_or_default();
    winners.get(index).copied()
}

/// Upstream's default weights.
fn totals(pod: &PodInfo, feasible: &[&NodeInfo], spread: &Spread<'_>) -> Vec<f64> {
    let each = |score: &dyn Fn(&NodeInfo) -> f64| feasible.iter().map(|node| score(node)).collect::<Vec<f64>>();
    let mut tainted = each(&|node| taints::penalty(pod, node));
    normalize_reversed(&mut tainted);
    let mut preferred = each(&|node| node_affinity::score(pod, node));
    normalize(&mut preferred);
    let mut crowded = each(&|node| spread.penalty(pod, node));
    normalize_reversed(&mut crowded);
    let free = each(&|node| resources::least_allocated(pod, node));
    let balanced = each(&|node| resources::balanced(pod, node));
    let total = |index: usize| {
        3.0 * tainted[index] + 2.0 * preferred[index] + 2.0 * crowded[index] + free[index] + balanced[index]
    };
    (0..feasible.len()).map(total).collect()
}

#[cfg(test)]
mod tests;
