//! `InterPodAffinity`: pods that want to be near others, or far from them, and
//! pods that others want far from themselves
//! (upstream: `pkg/scheduler/framework/plugins/interpodaffinity`).

use super::{Plugin, Rejection, SCORE_MAX};
use crate::{
    affinity::Term,
    pod_info::PodInfo,
    snapshot::{NodeInfo, Snapshot},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// What a required affinity of a pod that is there adds for one it matches
/// (upstream: `hardPodAffinityWeight`).
const REQUIRED_WEIGHT: i64 = 1;

/// A value of a topology label.
type Place<'a> = (&'a str, &'a str);

/// The rules of one pod, and those of others about it, counted over one snapshot.
pub struct Affinity<'a> {
    pod: &'a PodInfo,
    /// Pods that satisfy all required affinity terms, by place of each term.
    near: HashMap<Place<'a>, usize>,
    /// Pods that a required anti-affinity term of this pod is about.
    far: HashMap<Place<'a>, usize>,
    /// Pods that require to be far from this one.
    repelling: HashMap<Place<'a>, usize>,
    /// What preferences add up to.
    preferred: HashMap<Place<'a>, i64>,
}

impl<'a> Affinity<'a> {
    /// Counts what the rules ask about.
    pub fn new(pod: &'a PodInfo, snapshot: &'a Snapshot) -> Self {
        let mut counted = Self {
            pod,
            near: HashMap::new(),
            far: HashMap::new(),
            repelling: HashMap::new(),
            preferred: HashMap::new(),
        };
        // Most clusters have no such rule, and this is asked for every pod.
        if pod.affinity.is_empty() && !snapshot.has_affinities() {
            return counted;
        }
        let namespaces = snapshot.namespaces();
        for node in snapshot.nodes() {
            for other in node.pods.values() {
                counted.count(node, other, namespaces);
            }
        }
        counted
    }

    fn count(&mut self, node: &'a NodeInfo, other: &'a Arc<PodInfo>, namespaces: &Namespaces) {
        let (ours, theirs) = (&self.pod.affinity, &other.affinity);
        if !ours.near.is_empty() && ours.near.iter().all(|term| term.is_about(other, namespaces)) {
            add(&mut self.near, node, ours.near.iter(), 1);
        }
        add(&mut self.far, node, ours.far.iter().filter(|term| term.is_about(other, namespaces)), 1);
        let about_us = |term: &&'a Term| term.is_about(self.pod, namespaces);
        add(&mut self.repelling, node, theirs.far.iter().filter(about_us), 1);
        add(&mut self.preferred, node, theirs.near.iter().filter(about_us), REQUIRED_WEIGHT);
        for (weight, term) in ours.preferred.iter().filter(|(_, term)| term.is_about(other, namespaces)) {
            add(&mut self.preferred, node, [term].into_iter(), *weight);
        }
        for (weight, term) in theirs.preferred.iter().filter(|(_, term)| term.is_about(self.pod, namespaces)) {
            add(&mut self.preferred, node, [term].into_iter(), *weight);
        }
    }

    /// Whether the pod may go there.
    ///
    /// # Errors
    /// When it would be far from what it needs, or near to what it, or a pod
    /// there, must not be near to.
    pub fn filter(&self, node: &NodeInfo, namespaces: &Namespaces) -> Result<(), Rejection> {
        if !self.is_near_enough(node, namespaces) {
            return Err(Rejection::never(Plugin::PodAffinity, "node(s) didn't match pod affinity rules"));
        }
        if self.pod.affinity.far.iter().any(|term| count_at(&self.far, node, &term.topology_key) > 0) {
            return Err(Rejection::full(Plugin::PodAffinity, "node(s) didn't match pod anti-affinity rules"));
        }
        let is_here = |(key, value): &Place<'_>| node.labels.get(*key).is_some_and(|own| own == value);
        if self.repelling.keys().any(is_here) {
            let reason = "node(s) didn't satisfy existing pods anti-affinity rules";
            return Err(Rejection::full(Plugin::PodAffinity, reason));
        }
        Ok(())
    }

    fn is_near_enough(&self, node: &NodeInfo, namespaces: &Namespaces) -> bool {
        let terms = &self.pod.affinity.near;
        if !terms.iter().all(|term| node.labels.contains_key(&term.topology_key)) {
            return false;
        }
        // The first of a group that wants to be together may go anywhere.
        let is_first = || self.near.is_empty() && terms.iter().all(|term| term.is_about(self.pod, namespaces));
        terms.iter().all(|term| count_at(&self.near, node, &term.topology_key) > 0) || is_first()
    }

    /// What the preferences say of each node, scaled.
    pub fn scores(&self, nodes: &[&NodeInfo]) -> Vec<f64> {
        let raw = |node: &&NodeInfo| -> i64 {
            let here =
                node.labels.iter().filter_map(|(key, value)| self.preferred.get(&(key.as_str(), value.as_str())));
            here.sum()
        };
        let raw: Vec<i64> = nodes.iter().map(raw).collect();
        let (min, max) = (raw.iter().min().copied().unwrap_or_default(), raw.iter().max().copied().unwrap_or_default());
        let scale = |score: i64| if max == min { 0.0 } else { SCORE_MAX * (score - min) as f64 / (max - min) as f64 };
        raw.into_iter().map(scale).collect()
    }
}

/// The labels of each namespace.
pub type Namespaces = BTreeMap<String, BTreeMap<String, String>>;

fn add<'a, N: std::ops::AddAssign + Default + Copy>(
    counts: &mut HashMap<Place<'a>, N>,
    node: &'a NodeInfo,
    terms: impl Iterator<Item = &'a Term>,
    amount: N,
) {
    for term in terms {
        if let Some(value) = node.labels.get(&term.topology_key) {
            *counts.entry((term.topology_key.as_str(), value.as_str())).or_default() += amount;
        }
    }
}

fn count_at(counts: &HashMap<Place<'_>, usize>, node: &NodeInfo, key: &str) -> usize {
    let value = node.labels.get(key);
    value.and_then(|value| counts.get(&(key, value.as_str()))).copied().unwrap_or_default()
}
