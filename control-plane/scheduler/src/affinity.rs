//! Pod affinity and anti-affinity as a pod declares them, parsed once. Pure.

use crate::{plugins::pod_affinity::Namespaces, pod_info::PodInfo};
use k8s_openapi::{
    api::core::v1::{Affinity, PodAffinityTerm},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::core::{Expression, Selector, SelectorExt};
use std::collections::BTreeMap;

/// One rule about other pods.
#[derive(Clone, Debug)]
pub struct Term {
    /// The label of nodes that says what is near.
    pub topology_key: String,
    /// None counts no pod.
    selector: Option<Selector>,
    namespaces: Vec<String>,
    namespace_selector: Option<Selector>,
}

impl Term {
    fn of(term: &PodAffinityTerm, namespace: &str, labels: &BTreeMap<String, String>) -> Self {
        let own_only = term.namespaces.as_ref().is_none_or(Vec::is_empty) && term.namespace_selector.is_none();
        let mut selector = term.label_selector.clone().and_then(parse);
        if let Some(selector) = &mut selector {
            let of_ours = |keys: &Option<Vec<String>>| {
                let keys = keys.clone().unwrap_or_default();
                keys.into_iter().filter_map(|key| Some((labels.get(&key)?.clone(), key))).collect::<Vec<_>>()
            };
            let same = of_ours(&term.match_label_keys).into_iter();
            selector.extend(same.map(|(value, key)| Expression::In(key, [value].into())));
            let other = of_ours(&term.mismatch_label_keys).into_iter();
            selector.extend(other.map(|(value, key)| Expression::NotIn(key, [value].into())));
        }
        Self {
            topology_key: term.topology_key.clone(),
            selector,
            namespaces: if own_only { vec![namespace.to_owned()] } else { term.namespaces.clone().unwrap_or_default() },
            namespace_selector: term.namespace_selector.clone().and_then(parse),
        }
    }

    /// Whether it is about this pod.
    pub fn is_about(&self, pod: &PodInfo, namespaces: &Namespaces) -> bool {
        let by_label = || {
            let none = BTreeMap::new();
            let labels = namespaces.get(&pod.namespace).unwrap_or(&none);
            self.namespace_selector.as_ref().is_some_and(|selector| selector.matches(labels))
        };
        self.selector.as_ref().is_some_and(|selector| selector.matches(&pod.labels))
            && (self.namespaces.contains(&pod.namespace) || by_label())
    }
}

fn parse(selector: LabelSelector) -> Option<Selector> {
    Selector::try_from(selector).ok()
}

/// The rules of a pod.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// It goes only where pods like these are.
    pub near: Vec<Term>,
    /// It goes only where pods like these are not.
    pub far: Vec<Term>,
    /// It would rather be near, or with a negative weight far.
    pub preferred: Vec<(i64, Term)>,
}

impl Terms {
    /// Those of a pod with these labels.
    pub fn of(affinity: Option<&Affinity>, namespace: &str, labels: &BTreeMap<String, String>) -> Self {
        let term = |term: &PodAffinityTerm| Term::of(term, namespace, labels);
        let near = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
        let far = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
        let required = |terms: Option<&Vec<PodAffinityTerm>>| terms.into_iter().flatten().map(term).collect();
        let liked = near.and_then(|near| near.preferred_during_scheduling_ignored_during_execution.as_ref());
        let liked = liked.into_iter().flatten().map(|wish| (i64::from(wish.weight), term(&wish.pod_affinity_term)));
        let disliked = far.and_then(|far| far.preferred_during_scheduling_ignored_during_execution.as_ref());
        let disliked =
            disliked.into_iter().flatten().map(|wish| (-i64::from(wish.weight), term(&wish.pod_affinity_term)));
        Self {
            near: required(near.and_then(|near| near.required_during_scheduling_ignored_during_execution.as_ref())),
            far: required(far.and_then(|far| far.required_during_scheduling_ignored_during_execution.as_ref())),
            preferred: liked.chain(disliked).collect(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.near.is_empty() && self.far.is_empty() && self.preferred.is_empty()
    }
}
