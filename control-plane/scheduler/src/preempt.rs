//! Making room: which pods of lower priority have to go so that a pod that fits
//! nowhere fits somewhere (upstream: `DefaultPreemption`). Pure.
//!
//! It does not know PodDisruptionBudgets: upstream prefers victims that break
//! none, and evicts others when it must.

use crate::{
    decide::fits,
    pod_info::PodInfo,
    snapshot::{NodeInfo, Snapshot},
};
use std::{cmp::Reverse, sync::Arc};

/// A node, and who has to leave it.
#[derive(Clone, Debug)]
pub struct Preemption {
    /// Where the pod will go.
    pub node: String,
    /// Who has to leave before.
    pub victims: Vec<Arc<PodInfo>>,
}

/// Whether the pod may make others leave: not while those that it made leave
/// are still on their way.
pub fn may(pod: &PodInfo, snapshot: &Snapshot) -> bool {
    let leaving = |node: &NodeInfo| {
        let mut pods = node.pods.values();
        Some(&node.name) == pod.nominated_node.as_ref()
            && pods.any(|other| other.is_deleting && other.priority < pod.priority)
    };
    !pod.never_preempts && !snapshot.nodes().any(leaving)
}

/// The least harmful way to make the pod fit on one of `candidates`, if any.
pub fn preempt(pod: &PodInfo, candidates: &[String], snapshot: &Snapshot) -> Option<Preemption> {
    let ways = candidates.iter().filter_map(|node| {
        let victims = victims(pod, node, snapshot)?;
        Some(Preemption { node: node.clone(), victims })
    });
    // The highest victim as low as possible, then the least priority in all,
    // then the fewest; the first node among equals.
    ways.min_by_key(|Preemption { victims, .. }| {
        let highest = victims.iter().map(|victim| victim.priority).max();
        let sum: i64 = victims.iter().map(|victim| i64::from(victim.priority) - i64::from(i32::MIN)).sum();
        (highest, sum, victims.len())
    })
}

/// Who has to leave `node`; none when even all of lower priority are not enough.
fn victims(pod: &PodInfo, node: &str, snapshot: &Snapshot) -> Option<Vec<Arc<PodInfo>>> {
    let info = snapshot.nodes().find(|info| info.name == node)?;
    let mut lower: Vec<_> = info.pods.values().filter(|other| other.priority < pod.priority).cloned().collect();
    if lower.is_empty() {
        return None;
    }
    let mut after = snapshot.clone();
    for other in &lower {
        after.remove_pod(&other.uid);
    }
    if !fits(pod, node, &after) {
        return None;
    }
    // Those who matter most are let stay first.
    lower.sort_by_key(|other| (Reverse(other.priority), other.uid.clone()));
    let mut victims = Vec::new();
    for other in lower {
        after.put_pod(other.clone(), node);
        if !fits(pod, node, &after) {
            after.remove_pod(&other.uid);
            victims.push(other);
        }
    }
    Some(victims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{Node, Pod};
    use serde_json::json;

    fn snapshot(nodes: &[&str]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for name in nodes {
            let node = json!({"metadata": {"name": name}, "status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "10"}}});
            snapshot.put_node(&serde_json::from_value::<Node>(node).expect("a node"));
        }
        snapshot
    }

    fn pod(name: &str, priority: i32, cpu: &str) -> Arc<PodInfo> {
        let containers = json!([{"name": "c", "resources": {"requests": {"cpu": cpu}}}]);
        let pod =
            json!({"metadata": {"name": name, "uid": name}, "spec": {"priority": priority, "containers": containers}});
        Arc::new(PodInfo::of(&serde_json::from_value::<Pod>(pod).expect("a pod")))
    }

    fn names(preemption: Option<Preemption>) -> Option<(String, Vec<String>)> {
        preemption.map(|way| (way.node, way.victims.iter().map(|victim| victim.name.clone()).collect()))
    }

    #[test]
    fn only_as_many_leave_as_must_and_the_least_important_first() {
        let mut snapshot = snapshot(&["n1"]);
        for (name, priority, cpu) in [("low", 0, "300m"), ("lower", -1, "300m"), ("high", 9, "300m")] {
            snapshot.put_pod(pod(name, priority, cpu), "n1");
        }
        let found = |cpu| names(preempt(&pod("new", 5, cpu), &["n1".to_owned()], &snapshot));
        assert_eq!(found("300m"), Some(("n1".to_owned(), vec!["lower".to_owned()])));
        assert_eq!(found("600m"), Some(("n1".to_owned(), vec!["low".to_owned(), "lower".to_owned()])));
        assert_eq!(found("900m"), None, "one that matters more stays");
    }

    #[test]
    fn the_node_where_it_does_least_harm_is_chosen() {
        let mut snapshot = snapshot(&["n1", "n2", "n3"]);
        snapshot.put_pod(pod("a", 3, "900m"), "n1");
        snapshot.put_pod(pod("b", 1, "450m"), "n2");
        snapshot.put_pod(pod("c", 1, "450m"), "n2");
        snapshot.put_pod(pod("d", 1, "900m"), "n3");
        let all = ["n1", "n2", "n3"].map(str::to_owned);
        assert_eq!(names(preempt(&pod("new", 5, "900m"), &all, &snapshot)), Some(("n3".into(), vec!["d".into()])));
        assert!(preempt(&pod("new", 1, "900m"), &all, &snapshot).is_none(), "equals do not make room");
    }

    #[test]
    fn who_waits_for_victims_to_leave_takes_no_more() {
        let mut snapshot = snapshot(&["n1"]);
        let leaving = PodInfo { is_deleting: true, ..(*pod("leaving", 0, "900m")).clone() };
        snapshot.put_pod(Arc::new(leaving), "n1");
        let waiting = PodInfo { nominated_node: Some("n1".to_owned()), ..(*pod("new", 5, "900m")).clone() };
        assert!(!may(&waiting, &snapshot));
        assert!(may(&pod("other", 5, "900m"), &snapshot));
        assert!(!may(&PodInfo { never_preempts: true, ..(*pod("meek", 5, "1m")).clone() }, &snapshot));
    }
}
