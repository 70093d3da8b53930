//! How the backends of a Service fit into slices, changing as few as possible.
//! Pure; called by `endpoint_slice.rs`.

use crate::{
    ownership,
    service_endpoints::{self, Backend, Port, TRIGGER_TIME},
};
use k8s_openapi::{
    api::{
        core::v1::Service,
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Whose slice it is.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Who looks after a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// That is us.
pub const MANAGER: &str = "endpointslice-controller.k8s.io";
/// Endpoints of one slice (upstream: `--max-endpoints-per-slice`).
const ENDPOINTS_MAX: usize = 100;

/// A slice and what it should hold.
#[derive(Debug)]
pub struct Update {
    /// As it is.
    pub slice: Arc<EndpointSlice>,
    /// All its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// All its ports.
    pub ports: Option<Vec<EndpointPort>>,
    /// Labels to set.
    pub labels: BTreeMap<String, String>,
    /// Annotations to set.
    pub annotations: BTreeMap<String, String>,
}

/// What to write.
#[derive(Debug, Default)]
pub struct Plan {
    /// New slices.
    pub create: Vec<EndpointSlice>,
    /// Slices to change.
    pub update: Vec<Update>,
    /// Slices nobody needs.
    pub delete: Vec<Arc<EndpointSlice>>,
}

/// A slice being filled.
struct Filling {
    slice: Arc<EndpointSlice>,
    endpoints: Vec<Endpoint>,
}

/// Fits `backends` into `existing` slices. `zones` are those of nodes.
pub fn plan(
    service: &Service,
    backends: &[Backend],
    existing: &[Arc<EndpointSlice>],
    zones: &BTreeMap<String, String>,
) -> Plan {
    let mut groups: BTreeMap<Vec<Port>, Vec<Endpoint>> = BTreeMap::new();
    for backend in backends {
        groups.entry(backend.ports.clone()).or_default().push(endpoint(service, backend, zones));
    }
    if groups.is_empty() {
        groups.insert(Vec::new(), Vec::new()); // one empty slice says that there is nobody
    }
    let mut spare: VecDeque<Arc<EndpointSlice>> = VecDeque::new();
    let mut by_ports: BTreeMap<Vec<Port>, Vec<Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in existing {
        match groups.contains_key(&ports_of(slice)) {
            true => by_ports.entry(ports_of(slice)).or_default().push(slice.clone()),
            false => spare.push_back(slice.clone()),
        }
    }
    let dressing = Dressing::new(service, backends);
    let mut plan = Plan::default();
    for (ports, wanted) in groups {
        let mut slices = by_ports.remove(&ports).unwrap_or_default();
        if slices.is_empty() {
            slices.extend(spare.pop_front()); // rather than one deletion and one creation
        }
        fit(&mut plan, &dressing, service, &ports, wanted, slices);
    }
    plan.delete.extend(spare);
    plan
}

/// Labels and annotations that every slice of a Service gets.
struct Dressing {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl Dressing {
    fn new(service: &Service, backends: &[Backend]) -> Self {
        let mut labels = service_endpoints::labels(service);
        labels.insert(SERVICE_NAME.to_owned(), service.name_any());
        labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
        let trigger = service_endpoints::trigger_time(service, backends);
        let annotations = trigger.map(|time| (TRIGGER_TIME.to_owned(), time.to_string()));
        Self { labels, annotations: annotations.into_iter().collect() }
    }
}

/// Endpoints stay in the slice they are in; new ones fill gaps, then new slices.
fn fit(
    plan: &mut Plan,
    dressing: &Dressing,
    service: &Service,
    ports: &[Port],
    wanted: Vec<Endpoint>,
    slices: Vec<Arc<EndpointSlice>>,
) {
    let mut wanted: BTreeMap<String, Endpoint> =
        wanted.into_iter().map(|endpoint| (target(&endpoint), endpoint)).collect();
    let mut filling: Vec<Filling> = slices
        .into_iter()
        .map(|slice| {
            let kept = slice.endpoints.iter().filter_map(|old| wanted.remove(&target(old))).collect();
            Filling { slice, endpoints: kept }
        })
        .collect();
    // Slices that change anyway take the new ones first.
    filling.sort_by_key(|filling| filling.endpoints == filling.slice.endpoints);
    let mut rest: VecDeque<Endpoint> = wanted.into_values().collect();
    for filling in &mut filling {
        let room = ENDPOINTS_MAX.saturating_sub(filling.endpoints.len()).min(rest.len());
        filling.endpoints.extend(rest.drain(..room));
    }
    while !rest.is_empty() {
        let chunk = rest.drain(..rest.len().min(ENDPOINTS_MAX)).collect();
        plan.create.push(new_slice(service, dressing, ports, chunk));
    }
    let is_last_of_all = |index: usize, filling: &[Filling], plan: &Plan| {
        index + 1 == filling.len()
            && plan.create.is_empty()
            && filling.iter().all(|other| other.endpoints.is_empty())
            && ports.is_empty()
    };
    if filling.is_empty() && plan.create.is_empty() {
        plan.create.push(new_slice(service, dressing, ports, Vec::new()));
    }
    for index in 0..filling.len() {
        let keeps_empty = is_last_of_all(index, &filling, plan);
        let Filling { slice, endpoints } = &filling[index];
        if endpoints.is_empty() && !keeps_empty {
            plan.delete.push(slice.clone());
        } else if is_changed(slice, endpoints, ports, dressing) {
            plan.update.push(Update {
                slice: slice.clone(),
                endpoints: endpoints.clone(),
                ports: wire_ports(ports),
                labels: dressing.labels.clone(),
                annotations: dressing.annotations.clone(),
            });
        }
    }
}

fn is_changed(slice: &EndpointSlice, endpoints: &[Endpoint], ports: &[Port], dressing: &Dressing) -> bool {
    slice.endpoints != endpoints
        || ports_of(slice) != ports
        || dressing.labels.iter().any(|(name, value)| slice.labels().get(name) != Some(value))
}

/// What tells endpoints apart: the pod they stand for.
fn target(endpoint: &Endpoint) -> String {
    endpoint.target_ref.as_ref().and_then(|target| target.uid.clone()).unwrap_or_default()
}

fn endpoint(service: &Service, backend: &Backend, zones: &BTreeMap<String, String>) -> Endpoint {
    let node_name = backend.node_name();
    let conditions = EndpointConditions {
        ready: Some(service_endpoints::publishes_unready(service) || (backend.is_ready && !backend.is_terminating)),
        serving: Some(backend.is_ready),
        terminating: Some(backend.is_terminating),
    };
    Endpoint {
        addresses: vec![backend.ip.clone()],
        conditions: Some(conditions),
        hostname: backend.hostname.clone(),
        target_ref: Some(backend.target()),
        zone: node_name.as_ref().and_then(|node| zones.get(node)).cloned(),
        node_name,
        ..Endpoint::default()
    }
}

fn wire_ports(ports: &[Port]) -> Option<Vec<EndpointPort>> {
    let wire = |port: &Port| EndpointPort {
        name: Some(port.name.clone()),
        protocol: Some(port.protocol.clone()),
        port: Some(port.port),
        app_protocol: port.app_protocol.clone(),
    };
    (!ports.is_empty()).then(|| ports.iter().map(wire).collect())
}

fn ports_of(slice: &EndpointSlice) -> Vec<Port> {
    let port = |port: &EndpointPort| Port {
        name: port.name.clone().unwrap_or_default(),
        protocol: port.protocol.clone().unwrap_or_default(),
        port: port.port.unwrap_or_default(),
        app_protocol: port.app_protocol.clone(),
    };
    slice.ports.iter().flatten().map(port).collect()
}

fn new_slice(service: &Service, dressing: &Dressing, ports: &[Port], endpoints: Vec<Endpoint>) -> EndpointSlice {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref());
    let family = families.and_then(|families| families.first().cloned()).unwrap_or_else(|| "IPv4".to_owned());
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", service.name_any())),
            namespace: service.namespace(),
            labels: Some(dressing.labels.clone()),
            annotations: Some(dressing.annotations.clone()).filter(|annotations| !annotations.is_empty()),
            owner_references: Some(vec![ownership::controller_reference(service)]),
            ..ObjectMeta::default()
        },
        address_type: family,
        endpoints,
        ports: wire_ports(ports),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service_endpoints::tests::{pod, service};

    fn backends(pods: &[(&str, bool)]) -> Vec<Backend> {
        let pods: Vec<_> = pods.iter().map(|(name, ready)| Arc::new(pod(name, "10.0.0.1", 8080, *ready))).collect();
        service_endpoints::backends(&service(), &pods)
    }

    fn many(count: usize) -> Vec<Backend> {
        let names: Vec<String> = (0..count).map(|number| format!("pod-{number:03}")).collect();
        backends(&names.iter().map(|name| (name.as_str(), true)).collect::<Vec<_>>())
    }

    fn plan_of(backends: &[Backend], existing: &[Arc<EndpointSlice>]) -> Plan {
        plan(&service(), backends, existing, &BTreeMap::from([("node-1".to_owned(), "zone-a".to_owned())]))
    }

    fn stored(slices: Vec<EndpointSlice>) -> Vec<Arc<EndpointSlice>> {
        let name = |(index, mut slice): (usize, EndpointSlice)| {
            slice.metadata.name = Some(format!("web-{index}"));
            Arc::new(slice)
        };
        slices.into_iter().enumerate().map(name).collect()
    }

    #[test]
    fn a_slice_says_everything_about_its_pods() {
        let slice = plan_of(&backends(&[("a", true)]), &[]).create.remove(0);
        assert_eq!(slice.metadata.generate_name.as_deref(), Some("web-"));
        assert_eq!(slice.labels()[SERVICE_NAME], "web");
        assert_eq!((slice.labels()[MANAGED_BY].as_str(), slice.labels()["team"].as_str()), (MANAGER, "a"));
        let port = &slice.ports.as_ref().expect("ports")[0];
        assert_eq!((port.name.as_deref(), port.port), (Some("www"), Some(8080)));
        let endpoint = &slice.endpoints[0];
        assert_eq!((endpoint.zone.as_deref(), endpoint.node_name.as_deref()), (Some("zone-a"), Some("node-1")));
        assert_eq!(endpoint.target_ref.as_ref().and_then(|target| target.name.as_deref()), Some("a"));
    }

    #[test]
    fn unready_and_terminating_pods_stay_with_their_conditions() {
        let mut going = pod("b", "10.0.0.2", 8080, true);
        going.metadata.deletion_timestamp = serde_json::from_value(serde_json::json!("2024-01-01T00:00:00Z")).ok();
        let pods = [Arc::new(pod("a", "10.0.0.1", 8080, false)), Arc::new(going)];
        let slice = plan_of(&service_endpoints::backends(&service(), &pods), &[]).create.remove(0);
        let conditions: Vec<_> = slice.endpoints.iter().filter_map(|endpoint| endpoint.conditions.clone()).collect();
        let of = |ready, serving, terminating| EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        };
        assert_eq!(conditions, [of(false, false, false), of(false, true, true)]);
    }

    #[test]
    fn nobody_is_an_empty_slice_and_that_slice_is_used_again() {
        let empty = plan_of(&[], &[]).create;
        assert_eq!((empty.len(), empty[0].endpoints.len(), empty[0].ports.is_none()), (1, 0, true));
        let existing = stored(empty);
        assert_eq!(plan_of(&[], &existing).update.len(), 0, "settled");
        let plan = plan_of(&many(1), &existing);
        assert_eq!((plan.create.len(), plan.update.len(), plan.delete.len()), (0, 1, 0));
        let existing = stored(plan_of(&many(1), &[]).create);
        let plan = plan_of(&[], &existing);
        assert_eq!((plan.create.len(), plan.update.len(), plan.delete.len()), (0, 1, 0));
    }

    #[test]
    fn more_than_a_hundred_are_split_and_only_changed_slices_are_written() {
        let existing = stored(plan_of(&many(250), &[]).create);
        let sizes: Vec<usize> = existing.iter().map(|slice| slice.endpoints.len()).collect();
        assert_eq!(sizes, [100, 100, 50]);
        let settled = plan_of(&many(250), &existing);
        assert_eq!((settled.create.len(), settled.update.len(), settled.delete.len()), (0, 0, 0));
        let one_more = plan_of(&many(251), &existing);
        assert_eq!((one_more.create.len(), one_more.update.len()), (0, 1));
        let fewer = plan_of(&many(100), &existing);
        assert_eq!((fewer.update.len(), fewer.delete.len()), (0, 2));
    }

    #[test]
    fn pods_with_other_numbers_for_a_named_port_get_a_slice_of_their_own() {
        let pods = [Arc::new(pod("a", "10.0.0.1", 8080, true)), Arc::new(pod("b", "10.0.0.2", 9090, true))];
        assert_eq!(plan_of(&service_endpoints::backends(&service(), &pods), &[]).create.len(), 2);
    }
}
