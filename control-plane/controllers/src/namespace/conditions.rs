//! What a namespace says while it is emptied. Pure
//! (upstream: `pkg/controller/namespace/deletion/status_condition_utils.go`).

use crate::runner::Error;
use k8s_openapi::{api::core::v1::NamespaceCondition, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use std::{collections::BTreeMap, time::Duration};

/// Objects of one resource that have not gone yet.
#[derive(Clone, Debug, Default)]
pub struct Remnant {
    /// `plural.group`.
    pub resource: String,
    /// How many.
    pub count: usize,
    /// Every finalizer of every object.
    pub finalizers: Vec<String>,
    /// The longest any of them may take.
    pub grace_seconds: u64,
}

/// What one attempt has left.
#[derive(Clone, Debug, Default)]
pub struct Remains {
    /// By resource.
    pub remnants: Vec<Remnant>,
    /// Why something could not be deleted.
    pub failure: Option<String>,
}

impl Remains {
    /// Half of what the slowest object may take, as upstream waits; `default` when nothing says.
    pub fn recheck_after(&self, default: Duration) -> Duration {
        let grace = self.remnants.iter().map(|remnant| remnant.grace_seconds).max().unwrap_or_default();
        Duration::from_secs(grace / 2).max(default)
    }

    fn content(&self) -> Option<String> {
        let parts = self.remnants.iter().map(|left| format!("{} has {} resource instances", left.resource, left.count));
        let mut parts: Vec<String> = parts.collect();
        parts.sort();
        (!parts.is_empty()).then(|| format!("Some resources are remaining: {}", parts.join(", ")))
    }

    fn finalizers(&self) -> Option<String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for finalizer in self.remnants.iter().flat_map(|remnant| &remnant.finalizers) {
            *counts.entry(finalizer).or_default() += 1;
        }
        let parts: Vec<String> =
            counts.iter().map(|(finalizer, count)| format!("{finalizer} in {count} resource instances")).collect();
        let text = parts.join(", ");
        (!text.is_empty()).then(|| format!("Some content in the namespace has finalizers remaining: {text}"))
    }
}

/// One condition: its type, what it says when there is a problem, and when not.
fn condition(type_: &str, problem: Option<(&str, String)>, fine: (&str, &str), now: Timestamp) -> NamespaceCondition {
    let status = if problem.is_some() { "True" } else { "False" };
    let (reason, message) = problem.unwrap_or_else(|| (fine.0, fine.1.to_owned()));
    NamespaceCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: Some(Time(now)),
    }
}

/// The conditions after one attempt, in upstream's order; others are kept.
pub fn conditions(
    old: &[NamespaceCondition],
    remains: Result<&Remains, &Error>,
    now: Timestamp,
) -> Vec<NamespaceCondition> {
    let nothing = Remains::default();
    let undiscovered =
        remains.err().map(|error| ("DiscoveryFailed", format!("Discovery failed for some groups: {error}")));
    let remains = remains.unwrap_or(&nothing);
    let failure = remains.failure.clone().map(|failure| {
        ("ContentDeletionFailed", format!("Failed to delete all resource types, 1 remaining: {failure}"))
    });
    let found = [
        condition(
            "NamespaceDeletionDiscoveryFailure",
            undiscovered,
            ("ResourcesDiscovered", "All resources successfully discovered"),
            now,
        ),
        condition(
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
            now,
        ),
        condition(
            "NamespaceDeletionContentFailure",
            failure,
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
            now,
        ),
        condition(
            "NamespaceContentRemaining",
            remains.content().map(|text| ("SomeResourcesRemain", text)),
            ("ContentRemoved", "All content successfully removed"),
            now,
        ),
        condition(
            "NamespaceFinalizersRemaining",
            remains.finalizers().map(|text| ("SomeFinalizersRemain", text)),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            now,
        ),
    ];
    let is_ours = |known: &&NamespaceCondition| found.iter().any(|new| new.type_ == known.type_);
    let others = old.iter().filter(|known| !is_ours(known)).cloned();
    others.chain(found.iter().map(|new| keep_time(old, new))).collect()
}

/// The transition time moves only with the status.
fn keep_time(old: &[NamespaceCondition], new: &NamespaceCondition) -> NamespaceCondition {
    let known = old.iter().find(|known| known.type_ == new.type_ && known.status == new.status);
    let last_transition_time =
        known.map_or(new.last_transition_time.clone(), |known| known.last_transition_time.clone());
    NamespaceCondition { last_transition_time, ..new.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(conditions: &[NamespaceCondition]) -> Vec<String> {
        conditions
            .iter()
            .map(|known| format!("{} {}", known.status, known.message.clone().unwrap_or_default()))
            .collect()
    }

    #[test]
    fn what_is_left_and_what_holds_it_is_said() {
        let pods = Remnant { resource: "pods.".into(), count: 2, grace_seconds: 30, ..Remnant::default() };
        let held = Remnant {
            resource: "deployments.apps".into(),
            count: 1,
            finalizers: vec!["example.com/hold".into()],
            ..Remnant::default()
        };
        let remains = Remains { remnants: vec![pods, held], failure: None };
        let now = Timestamp::from_second(1_700_000_000).expect("valid");
        let first = conditions(&[], Ok(&remains), now);
        assert_eq!(
            messages(&first)[3..],
            [
                "True Some resources are remaining: deployments.apps has 1 resource instances, pods. has 2 resource instances",
                "True Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
            ]
        );
        assert_eq!(remains.recheck_after(Duration::from_secs(1)), Duration::from_secs(15));
        let later = now + Duration::from_secs(9);
        assert_eq!(conditions(&first, Ok(&remains), later), first, "nothing new is not a change");
        let done = conditions(&first, Ok(&Remains::default()), later);
        assert_eq!(messages(&done)[3], "False All content successfully removed");
        assert_eq!(done[3].last_transition_time, Some(Time(later)));
    }
}
