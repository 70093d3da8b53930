//! `NodeAffinity`: node selectors and node affinity, required and preferred.

use super::{Plugin, Rejection};
use crate::{pod_info::PodInfo, snapshot::NodeInfo};
use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};

/// Whether the pod asks for a node like this, or for none in particular.
pub fn matches(pod: &PodInfo, node: &NodeInfo) -> bool {
    let selected = pod.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
    let terms = pod.required_affinity.as_ref().map(|affinity| &affinity.node_selector_terms);
    selected && terms.is_none_or(|terms| terms.iter().any(|term| term_matches(term, node)))
}

/// A term without requirements matches nothing.
fn term_matches(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    let expressions: Vec<_> = term.match_expressions.iter().flatten().collect();
    let fields: Vec<_> = term.match_fields.iter().flatten().collect();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    expressions.iter().all(|wanted| holds(wanted, node.labels.get(&wanted.key)))
        && fields.iter().all(|wanted| wanted.key == "metadata.name" && holds(wanted, Some(&node.name)))
}

fn holds(wanted: &NodeSelectorRequirement, value: Option<&String>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let number = |text: &String| text.parse::<i64>().ok();
    let compare = |holds: fn(i64, i64) -> bool| {
        let bound = values.first().and_then(number);
        value.and_then(number).zip(bound).is_some_and(|(value, bound)| holds(value, bound))
    };
    match wanted.operator.as_str() {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(|value, bound| value > bound),
        "Lt" => compare(|value, bound| value < bound),
        _ => false,
    }
}

/// Whether the pod may go there.
///
/// # Errors
/// When it asks for other nodes.
pub fn filter(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    if matches(pod, node) {
        return Ok(());
    }
    Err(Rejection::never(Plugin::NodeAffinity, "node(s) didn't match Pod's node affinity/selector"))
}

/// The weight of the preferences the node meets.
pub fn score(pod: &PodInfo, node: &NodeInfo) -> f64 {
    let met = pod.preferred_affinity.iter().filter(|preferred| term_matches(&preferred.preference, node));
    met.map(|preferred| f64::from(preferred.weight)).sum()
}
