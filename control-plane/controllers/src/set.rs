//! Which controllers run: upstream's syntax for `--controllers`. Pure.

use std::collections::BTreeSet;

/// Every controller: upstream's name, and short forms that are accepted too.
const KNOWN: &[(&str, &[&str])] = &[
    ("clusterrole-aggregation-controller", &["clusterrole-aggregation"]),
    ("cronjob-controller", &["cronjob"]),
    ("daemonset-controller", &["daemonset"]),
    ("deployment-controller", &["deployment"]),
    ("disruption-controller", &["disruption"]),
    ("endpoints-controller", &["endpoints", "endpoint"]),
    ("endpointslice-controller", &["endpointslice"]),
    ("garbage-collector-controller", &["garbage-collector", "garbagecollector"]),
    ("job-controller", &["job"]),
    ("namespace-controller", &["namespace"]),
    ("node-ipam-controller", &["node-ipam", "nodeipam"]),
    ("node-lifecycle-controller", &["node-lifecycle", "nodelifecycle"]),
    ("persistentvolume-protection-controller", &["persistentvolume-protection", "pv-protection"]),
    ("persistentvolumeclaim-protection-controller", &["persistentvolumeclaim-protection", "pvc-protection"]),
    ("pod-garbage-collector-controller", &["pod-garbage-collector", "pod-gc", "podgc"]),
    ("replicaset-controller", &["replicaset"]),
    ("root-ca-certificate-publisher-controller", &["root-ca-certificate-publisher", "root-ca-cert-publisher"]),
    ("serviceaccount-controller", &["serviceaccount"]),
    ("statefulset-controller", &["statefulset"]),
    ("taint-eviction-controller", &["taint-eviction"]),
    ("ttl-after-finished-controller", &["ttl-after-finished", "ttlafterfinished"]),
];

/// The controllers that are switched on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerSet {
    names: BTreeSet<&'static str>,
}

/// A controller nobody knows.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not in the list of known controllers: {}", known().join(", "))]
pub struct UnknownController {
    name: String,
}

fn known() -> Vec<&'static str> {
    KNOWN.iter().map(|(name, _)| *name).collect()
}

fn resolve(name: &str) -> Result<&'static str, UnknownController> {
    let found = KNOWN.iter().find(|(full, aliases)| *full == name || aliases.contains(&name));
    found.map(|(full, _)| *full).ok_or_else(|| UnknownController { name: name.to_owned() })
}

impl ControllerSet {
    /// Every controller.
    pub fn all() -> Self {
        Self { names: known().into_iter().collect() }
    }

    /// No controller.
    pub fn none() -> Self {
        Self { names: BTreeSet::new() }
    }

    /// Reads a comma-separated list: `*` is every controller, `name` that one,
    /// `-name` not that one. As upstream has it, the first mention of a
    /// controller decides and `*` speaks for those not mentioned.
    ///
    /// # Errors
    /// When a name is not known; the message lists those that are.
    pub fn parse(text: &str) -> Result<Self, UnknownController> {
        let (mut star, mut on, mut off) = (false, BTreeSet::new(), BTreeSet::new());
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            match item.strip_prefix('-') {
                _ if item == "*" => star = true,
                Some(name) => {
                    let name = resolve(name)?;
                    if !on.contains(name) {
                        off.insert(name);
                    }
                }
                None => {
                    let name = resolve(item)?;
                    if !off.contains(name) {
                        on.insert(name);
                    }
                }
            }
        }
        let names = known().into_iter().filter(|name| on.contains(name) || (star && !off.contains(name)));
        Ok(Self { names: names.collect() })
    }

    /// Whether the controller of this full name is switched on.
    pub fn contains(&self, name: &str) -> bool {
        debug_assert!(known().contains(&name), "{name} is missing from the known controllers");
        self.names.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_and_minus() {
        let set = ControllerSet::parse("*,-deployment").expect("known");
        assert!(set.contains("replicaset-controller") && !set.contains("deployment-controller"));
        assert_eq!(ControllerSet::parse("*"), Ok(ControllerSet::all()));
        assert_eq!(ControllerSet::parse(""), Ok(ControllerSet::none()));
    }

    #[test]
    fn names_alone_switch_on_only_themselves() {
        let set = ControllerSet::parse("replicaset-controller, deployment").expect("known");
        assert!(set.contains("replicaset-controller") && set.contains("deployment-controller"));
        assert_eq!(set.names.len(), 2);
    }

    #[test]
    fn an_unknown_name_is_told_the_known_ones() {
        let error = ControllerSet::parse("-deploymint").expect_err("unknown");
        assert!(error.to_string().starts_with("\"deploymint\" is not in the list of known controllers: clusterrole-"));
    }
}
