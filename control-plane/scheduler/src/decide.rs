//! (pod, snapshot) → a node, or why there is none: filter, then score. Pure.

use crate::{
    plugins::{
        Plugin, Rejection, node_affinity, node_name, normalize, normalize_reversed,
        pod_affinity::{Affinity, Namespaces},
        ports, resources,
        spread::Spread,
        taints, unschedulable,
    },
    pod_info::PodInfo,
    preempt::{self, Preemption},
    snapshot::{NodeInfo, Snapshot},
};
use std::collections::{BTreeMap, BTreeSet};

/// What to do with a pod.
#[derive(Clone, Debug)]
pub enum Decision {
    /// It goes to this node.
    Bind(String),
    /// It has to wait, perhaps for others to make room.
    Unschedulable(Diagnosis, Option<Preemption>),
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
    /// Somebody leaves for it.
    makes_room: bool,
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
        let reasons = reasons.join(", ");
        if self.makes_room {
            return format!("0/{nodes} nodes are available: {reasons}.");
        }
        format!("0/{nodes} nodes are available: {reasons}. preemption: {}", self.preemption())
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
fn filter(pod: &PodInfo, node: &NodeInfo, others: &Others<'_>) -> Result<(), Rejection> {
    unschedulable::filter(pod, node)?;
    node_name::filter(pod, node)?;
    taints::filter(pod, node)?;
    node_affinity::filter(pod, node)?;
    ports::filter(pod, node)?;
    resources::filter(pod, node)?;
    others.spread.filter(node)?;
    others.affinity.filter(node, others.namespaces)
}

/// Whether the pod may go to a node.
pub fn fits(pod: &PodInfo, node: &str, snapshot: &Snapshot) -> bool {
    let others = Others::new(pod, snapshot);
    let mut nodes = snapshot.nodes();
    nodes.any(|info| info.name == node && filter(pod, &snapshot.seen_by(pod, info), &others).is_ok())
}

/// What the rules that look at other pods have counted.
struct Others<'a> {
    spread: Spread<'a>,
    affinity: Affinity<'a>,
    namespaces: &'a Namespaces,
}

impl<'a> Others<'a> {
    fn new(pod: &'a PodInfo, snapshot: &'a Snapshot) -> Self {
        Self {
            spread: Spread::new(pod, snapshot),
            affinity: Affinity::new(pod, snapshot),
            namespaces: snapshot.namespaces(),
        }
    }
}

/// Picks the best node. `below(n)` gives a number under `n`, for choosing among equals.
pub fn decide(pod: &PodInfo, snapshot: &Snapshot, below: impl Fn(u64) -> u64) -> Decision {
    let others = Others::new(pod, snapshot);
    let mut diagnosis = Diagnosis { never_preempts: pod.never_preempts, ..Diagnosis::default() };
    let (mut feasible, mut could_yield) = (Vec::new(), Vec::new());
    for node in snapshot.nodes() {
        diagnosis.nodes += 1;
        match filter(pod, &snapshot.seen_by(pod, node), &others) {
            Ok(()) => feasible.push(node),
            Err(rejection) => {
                could_yield.extend(rejection.could_yield.then(|| node.name.clone()));
                diagnosis.add(rejection);
            }
        }
    }
    if diagnosis.nodes == 0 {
        diagnosis.plugins.insert(Plugin::NoNodes);
    }
    if let Some(node) = best(pod, &feasible, &others, below) {
        return Decision::Bind(node.name.clone());
    }
    let preemption = preempt::may(pod, snapshot).then(|| preempt::preempt(pod, &could_yield, snapshot)).flatten();
    diagnosis.makes_room = preemption.is_some();
    Decision::Unschedulable(diagnosis, preemption)
}

/// The node with the highest total; one of them when there are several.
fn best<'a>(
    pod: &PodInfo,
    feasible: &[&'a NodeInfo],
    others: &Others<'_>,
    below: impl Fn(u64) -> u64,
) -> Option<&'a NodeInfo> {
    if let [only] = feasible {
        return Some(only);
    }
    let totals = totals(pod, feasible, others);
    let top = totals.iter().copied().fold(f64::MIN, f64::max);
    let winners: Vec<&NodeInfo> =
        feasible.iter().zip(&totals).filter(|(_, total)| **total == top).map(|(node, _)| *node).collect();
    let index = usize::try_from(below(winners.len() as u64)).unwrap_or_default();
    winners.get(index).copied()
}

/// Upstream's default weights.
fn totals(pod: &PodInfo, feasible: &[&NodeInfo], others: &Others<'_>) -> Vec<f64> {
    let each = |score: &dyn Fn(&NodeInfo) -> f64| feasible.iter().map(|node| score(node)).collect::<Vec<f64>>();
    let mut tainted = each(&|node| taints::penalty(pod, node));
    normalize_reversed(&mut tainted);
    let mut preferred = each(&|node| node_affinity::score(pod, node));
    normalize(&mut preferred);
    let mut crowded = each(&|node| others.spread.penalty(pod, node));
    normalize_reversed(&mut crowded);
    let free = each(&|node| resources::least_allocated(pod, node));
    let balanced = each(&|node| resources::balanced(pod, node));
    let near = others.affinity.scores(feasible);
    let total = |index: usize| {
        let by_rules = 3.0 * tainted[index] + 2.0 * preferred[index] + 2.0 * crowded[index] + 2.0 * near[index];
        by_rules + free[index] + balanced[index]
    };
    (0..feasible.len()).map(total).collect()
}

#[cfg(test)]
mod tests;
