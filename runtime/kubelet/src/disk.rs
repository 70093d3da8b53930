//! How much of the disk a pod may use, and what to say when it uses more: the
//! `sizeLimit` of its emptyDirs and the `ephemeral-storage` limits of its
//! containers. Pure; [`measure`] does the looking, the worker evicts.
//!
//! Only pods that have a limit are looked at, every [`PERIOD`]: a cluster without
//! such pods never reads its disk for this. Rules and texts are upstream's
//! (`pkg/kubelet/eviction`, `localStorageEviction`). There is no memory to put a
//! volume of `medium: Memory` in, so it is a directory as any other; like
//! upstream's it has its own limit and does not count as the pod's disk.

pub mod measure;

use crate::{
    spec::{self, Role},
    translate::quantity,
};
use k8s_openapi::{api::core::v1::Container, api::core::v1::Pod, apimachinery::pkg::api::resource::Quantity};
use std::{collections::BTreeMap, time::Duration};

/// How often a pod with limits is looked at (upstream: `monitoringInterval`).
pub const PERIOD: Duration = Duration::from_secs(10);

/// How long an evicted pod's containers get (upstream: `immediateEvictionGracePeriodSeconds`).
pub const EVICTION_GRACE: Duration = Duration::from_secs(1);

/// From this priority on a pod is the system's, and not evicted (upstream: `SystemCriticalPriority`).
const CRITICAL_PRIORITY: i32 = 2_000_000_000;

const RESOURCE: &str = "ephemeral-storage";

/// What a pod may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// By the volume's name.
    volumes: Vec<(String, Limit)>,
    /// By the container's name.
    containers: Vec<(String, Limit)>,
    pod: Option<Limit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Limit {
    bytes: u64,
    /// As the user wrote it.
    text: String,
}

/// What a pod uses, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of each emptyDir that was measured.
    pub volumes: BTreeMap<String, u64>,
    /// Of each container: its log and what it wrote to its root.
    pub containers: BTreeMap<String, u64>,
}

impl Limits {
    /// The pod's limits; `None` when there is nothing to look at.
    pub fn of(pod: &Pod) -> Option<Self> {
        if spec::of(pod).priority.is_some_and(|priority| priority >= CRITICAL_PRIORITY) {
            return None;
        }
        let volumes = spec::of(pod).volumes.iter().flatten().filter_map(|volume| {
            Some((volume.name.clone(), Limit::read(volume.empty_dir.as_ref()?.size_limit.as_ref()?)?))
        });
        let containers = spec::of(pod)
            .containers
            .iter()
            .filter_map(|container| Some((container.name.clone(), of_container(container)?)));
        let limits = Self { volumes: volumes.collect(), containers: containers.collect(), pod: of_pod(pod) };
        let any = !limits.volumes.is_empty() || limits.pod.is_some();
        any.then_some(limits)
    }

    /// Whether a volume has to be measured.
    pub fn needs_volume(&self, name: &str) -> bool {
        self.pod.is_some() || self.volumes.iter().any(|(limited, _)| limited == name)
    }

    /// Whether containers have to be measured.
    pub fn needs_containers(&self) -> bool {
        self.pod.is_some()
    }

    /// Why the pod has to go, if it has to.
    pub fn exceeded(&self, pod: &Pod, usage: &Usage) -> Option<String> {
        let used = |map: &BTreeMap<String, u64>, name: &str| map.get(name).copied().unwrap_or_default();
        let mut volumes = self.volumes.iter().filter(|(name, limit)| used(&usage.volumes, name) > limit.bytes);
        if let Some((name, limit)) = volumes.next() {
            return Some(format!("Usage of EmptyDir volume {name:?} exceeds the limit {:?}. ", limit.text));
        }
        let on_disk = spec::of(pod).volumes.iter().flatten().filter(|volume| !is_memory(volume));
        let total = on_disk.map(|volume| used(&usage.volumes, &volume.name)).chain(usage.containers.values().copied());
        let total = total.fold(0_u64, u64::saturating_add);
        if let Some(limit) = self.pod.as_ref().filter(|limit| total > limit.bytes) {
            let text = &limit.text;
            return Some(format!("Pod ephemeral local storage usage exceeds the total limit of containers {text}. "));
        }
        let mut containers = self.containers.iter().filter(|(name, limit)| used(&usage.containers, name) > limit.bytes);
        let (name, limit) = containers.next()?;
        Some(format!("Container {name} exceeded its local ephemeral storage limit {:?}. ", limit.text))
    }
}

fn is_memory(volume: &k8s_openapi::api::core::v1::Volume) -> bool {
    volume.empty_dir.as_ref().and_then(|source| source.medium.as_deref()) == Some("Memory")
}

impl Limit {
    fn read(quantity: &Quantity) -> Option<Self> {
        let bytes = quantity::parse(quantity)?.whole();
        (bytes > 0).then(|| Self { bytes, text: quantity.0.clone() })
    }

    /// The sum of some limits; a single one keeps its text.
    fn sum(limits: &[Self]) -> Option<Self> {
        let (first, rest) = limits.split_first()?;
        if rest.is_empty() {
            return Some(first.clone());
        }
        let bytes = limits.iter().fold(0_u64, |sum, limit| sum.saturating_add(limit.bytes));
        let binary = first.text.ends_with('i');
        Some(Self { bytes, text: quantity::canonical(bytes, binary) })
    }
}

fn of_container(container: &Container) -> Option<Limit> {
    Limit::read(container.resources.as_ref()?.limits.as_ref()?.get(RESOURCE)?)
}

/// What main containers and sidecars may use together, or an init container
/// beside the sidecars before it, whatever is more.
fn of_pod(pod: &Pod) -> Option<Limit> {
    let (mut sidecars, mut most) = (Vec::new(), None::<Limit>);
    let mut consider = |limit: Option<Limit>| {
        let more = limit.filter(|limit| most.as_ref().is_none_or(|most| most.bytes < limit.bytes));
        most = more.or(most.take());
    };
    for (role, container) in spec::init_containers(pod) {
        match role {
            Role::Sidecar => sidecars.extend(of_container(container)),
            _ => consider(Limit::sum(&[sidecars.clone(), of_container(container).into_iter().collect()].concat())),
        }
    }
    let mains: Vec<_> = spec::of(pod).containers.iter().filter_map(of_container).collect();
    consider(Limit::sum(&[mains, sidecars.clone()].concat()));
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).expect("a pod")
    }

    fn limited(name: &str, limit: &str) -> Value {
        json!({"name": name, "resources": {"limits": {"ephemeral-storage": limit}}})
    }

    fn usage(volumes: &[(&str, u64)], containers: &[(&str, u64)]) -> Usage {
        let map = |pairs: &[(&str, u64)]| pairs.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect();
        Usage { volumes: map(volumes), containers: map(containers) }
    }

    #[test]
    fn a_pod_without_limits_is_not_looked_at() {
        let plain = json!({"containers": [{"name": "c", "resources": {"limits": {"memory": "1Gi"}}}],
            "volumes": [{"name": "d", "emptyDir": {}}, {"name": "zero", "emptyDir": {"sizeLimit": "0"}}]});
        assert_eq!(Limits::of(&pod(plain)), None);
        let system = json!({"priority": 2_000_000_000, "containers": [limited("c", "1Mi")]});
        assert_eq!(Limits::of(&pod(system)), None);
    }

    #[test]
    fn a_volume_over_its_limit_is_named() {
        let pod = pod(json!({"containers": [{"name": "c"}], "volumes": [
            {"name": "a", "emptyDir": {"sizeLimit": "1Ki"}}, {"name": "b", "emptyDir": {"medium": "Memory", "sizeLimit": "2k"}}]}));
        let limits = Limits::of(&pod).expect("limits");
        assert!(limits.needs_volume("a") && !limits.needs_volume("other") && !limits.needs_containers());
        assert_eq!(limits.exceeded(&pod, &usage(&[("a", 1024), ("b", 2000)], &[])), None);
        let said = limits.exceeded(&pod, &usage(&[("a", 1), ("b", 2001)], &[]));
        assert_eq!(said.as_deref(), Some("Usage of EmptyDir volume \"b\" exceeds the limit \"2k\". "));
    }

    #[test]
    fn containers_have_limits_of_their_own_and_together() {
        let pod = pod(json!({"containers": [limited("a", "1Ki"), limited("b", "3Ki"), {"name": "free"}],
            "volumes": [{"name": "d", "emptyDir": {}}, {"name": "m", "emptyDir": {"medium": "Memory"}}]}));
        let limits = Limits::of(&pod).expect("limits");
        assert!(limits.needs_volume("d") && limits.needs_containers());
        let said = |volumes: &[(&str, u64)], containers: &[(&str, u64)]| {
            limits.exceeded(&pod, &usage(volumes, containers)).unwrap_or_default()
        };
        assert_eq!(said(&[("d", 1024), ("m", 1 << 30)], &[("a", 1024), ("free", 2048)]), "");
        assert_eq!(said(&[], &[("a", 1025)]), "Container a exceeded its local ephemeral storage limit \"1Ki\". ");
        let together = "Pod ephemeral local storage usage exceeds the total limit of containers 4Ki. ";
        assert_eq!(said(&[("d", 2048)], &[("a", 1), ("free", 2048)]), together);
    }

    #[test]
    fn the_pods_limit_is_that_of_its_hungriest_moment() {
        let of = |spec: Value| of_pod(&pod(spec)).map(|limit| limit.text).unwrap_or_default();
        let mut sidecar = limited("s", "2Mi");
        sidecar["restartPolicy"] = json!("Always");
        let inits = json!([limited("first", "9Mi"), sidecar, limited("second", "3Mi")]);
        assert_eq!(of(json!({"initContainers": inits, "containers": [limited("m", "1Mi")]})), "9Mi");
        assert_eq!(of(json!({"initContainers": inits, "containers": [limited("m", "8Mi")]})), "10Mi");
        assert_eq!(of(json!({"containers": [limited("m", "1000k"), limited("n", "500k")]})), "1500k");
    }
}
