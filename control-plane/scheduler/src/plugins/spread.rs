//! `PodTopologySpread`: pods that are alike do not crowd one node, zone or
//! whatever their constraints name. Without constraints, pods of one controller
//! rather go to nodes with few of them.

use super::{Plugin, Rejection, node_affinity, taints};
use crate::{
    pod_info::PodInfo,
    snapshot::{NodeInfo, Snapshot},
};
use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use kube::core::{Selector, SelectorExt};
use std::collections::HashMap;

/// One constraint, counted over the cluster.
struct Counted<'a> {
    constraint: &'a TopologySpreadConstraint,
    /// Pods that match, by value of the topology label.
    by_domain: HashMap<&'a str, i64>,
    /// The pod matches its own selector.
    counts_itself: i64,
}

/// The constraints of one pod over one snapshot.
pub struct Spread<'a> {
    required: Vec<Counted<'a>>,
    preferred: Vec<Counted<'a>>,
}

impl<'a> Spread<'a> {
    /// Counts what the constraints of `pod` ask about.
    pub fn new(pod: &'a PodInfo, snapshot: &'a Snapshot) -> Self {
        let (required, preferred) = pod.spread.iter().partition::<Vec<_>, _>(|wanted| is_required(wanted));
        let count = |constraints: Vec<&'a TopologySpreadConstraint>| {
            let keys: Vec<&str> = constraints.iter().map(|wanted| wanted.topology_key.as_str()).collect();
            constraints.iter().map(|wanted| Counted::new(pod, wanted, &keys, snapshot)).collect()
        };
        Self { required: count(required), preferred: count(preferred) }
    }

    /// Whether the pod may go there.
    ///
    /// # Errors
    /// When the node has no place in a topology, or the skew would be too large.
    pub fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        for counted in &self.required {
            let Some(domain) = node.labels.get(&counted.constraint.topology_key) else {
                let reason = "node(s) didn't match pod topology spread constraints (missing required label)";
                return Err(Rejection::never(Plugin::Spread, reason));
            };
            if counted.skew_in(domain) > i64::from(counted.constraint.max_skew) {
                let reason = "node(s) didn't match pod topology spread constraints";
                return Err(Rejection::full(Plugin::Spread, reason));
            }
        }
        Ok(())
    }

    /// Pods like this one that are near: fewer are better.
    pub fn penalty(&self, pod: &PodInfo, node: &NodeInfo) -> f64 {
        if pod.spread.is_empty() {
            return pod.controller.as_ref().map(|controller| node.pods_of(controller)).unwrap_or_default() as f64;
        }
        self.preferred.iter().map(|counted| counted.penalty(node)).sum()
    }
}

fn is_required(constraint: &TopologySpreadConstraint) -> bool {
    constraint.when_unsatisfiable == "DoNotSchedule"
}

impl<'a> Counted<'a> {
    fn new(pod: &PodInfo, constraint: &'a TopologySpreadConstraint, keys: &[&str], snapshot: &'a Snapshot) -> Self {
        let selector = selector(pod, constraint);
        let mut by_domain: HashMap<&str, i64> = HashMap::new();
        for node in snapshot.nodes().filter(|node| is_eligible(pod, constraint, keys, node)) {
            let Some(domain) = node.labels.get(&constraint.topology_key) else { continue };
            let alike = |other: &&std::sync::Arc<PodInfo>| {
                other.namespace == pod.namespace && !other.is_deleting && selector.matches(&other.labels)
            };
            let count = i64::try_from(node.pods.values().filter(alike).count()).unwrap_or(i64::MAX);
            *by_domain.entry(domain).or_default() += count;
        }
        Self { constraint, by_domain, counts_itself: i64::from(selector.matches(&pod.labels)) }
    }

    /// How much more crowded `domain` would be than the emptiest one.
    fn skew_in(&self, domain: &str) -> i64 {
        let too_few_domains = self
            .constraint
            .min_domains
            .is_some_and(|wanted| usize::try_from(wanted).unwrap_or_default() > self.by_domain.len());
        let least = self.by_domain.values().copied().min().filter(|_| !too_few_domains).unwrap_or_default();
        self.by_domain.get(domain).copied().unwrap_or_default() + self.counts_itself - least
    }

    fn penalty(&self, node: &NodeInfo) -> f64 {
        let domain = node.labels.get(&self.constraint.topology_key);
        let Some(count) = domain.and_then(|domain| self.by_domain.get(domain.as_str())) else { return 0.0 };
        // Many domains each hold few pods, and a difference there means more.
        *count as f64 * ((self.by_domain.len() + 2) as f64).ln() + f64::from(self.constraint.max_skew - 1)
    }
}

/// The pods a constraint counts; no selector counts none.
fn selector(pod: &PodInfo, constraint: &TopologySpreadConstraint) -> Selector {
    let nothing = || kube::core::Expression::In("\0".to_owned(), [String::new()].into()).into();
    let Some(wanted) = constraint.label_selector.clone() else { return nothing() };
    let Ok(mut selector) = Selector::try_from(wanted) else { return nothing() };
    for key in constraint.match_label_keys.iter().flatten() {
        if let Some(value) = pod.labels.get(key) {
            selector.extend([kube::core::Expression::Equal(key.clone(), value.clone())]);
        }
    }
    selector
}

/// Nodes that are no choice for the pod do not count as empty domains.
fn is_eligible(pod: &PodInfo, constraint: &TopologySpreadConstraint, keys: &[&str], node: &NodeInfo) -> bool {
    let honours = |policy: &Option<String>, default: &str| policy.as_deref().unwrap_or(default) == "Honor";
    keys.iter().all(|key| node.labels.contains_key(*key))
        && (!honours(&constraint.node_affinity_policy, "Honor") || node_affinity::matches(pod, node))
        && (!honours(&constraint.node_taints_policy, "Ignore") || taints::filter(pod, node).is_ok())
}
