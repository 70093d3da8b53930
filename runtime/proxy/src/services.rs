//! Services and EndpointSlices, in; virtual addresses, out. Pure.
//!
//! Follows upstream's `pkg/proxy` (`serviceport.go`, `topology.go`) where a pod
//! can tell the difference. Called by `lib.rs` with all objects whenever one has
//! changed. It does not resolve named target ports: the slices have numbers.

use k8s_openapi::api::{
    core::v1::{Service, ServicePort, ServiceSpec},
    discovery::v1::{Endpoint, EndpointSlice},
};
use kube::ResourceExt;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use wk_network::services::{Affinity, Backends, Protocol, Reach, ServiceTable};

/// Which service a slice belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// On a service or slice that is some other proxy's business.
const OTHER_PROXY: &str = "service.kubernetes.io/service-proxy-name";

/// The default of `sessionAffinityConfig.clientIP.timeoutSeconds`.
const AFFINITY_SECONDS: i32 = 10_800;

/// The virtual addresses that these objects ask for.
pub fn table(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>]) -> ServiceTable {
    let slices = by_service(slices);
    let mut table = ServiceTable::default();
    for service in services {
        let Some(spec) = service.spec.as_ref().filter(|spec| is_proxied(service, spec)) else { continue };
        let slices = slices.get(&key(service)).map(Vec::as_slice).unwrap_or_default();
        let addresses = addresses(service, spec);
        for port in spec.ports.iter().flatten() {
            let (Some(protocol), Some(number)) = (protocol(port.protocol.as_deref()), port_number(port.port)) else {
                continue;
            };
            let backends = backends(spec, port, slices);
            for address in &addresses {
                table.insert(protocol, SocketAddr::new(*address, number), backends.clone());
            }
        }
    }
    table
}

/// Where the ports that services open on the host lead: node port to cluster IP
/// and port. TCP only.
pub fn node_ports(services: &[Arc<Service>]) -> BTreeMap<u16, SocketAddr> {
    let mut wanted = BTreeMap::new();
    for service in services {
        let Some(spec) = service.spec.as_ref().filter(|spec| is_proxied(service, spec)) else { continue };
        if !matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer")) {
            continue;
        }
        let Some(address) = cluster_ips(spec).into_iter().next() else { continue };
        for port in spec.ports.iter().flatten() {
            let (Some(Protocol::Tcp), Some(number)) = (protocol(port.protocol.as_deref()), port_number(port.port))
            else {
                continue;
            };
            if let Some(node_port) = port.node_port.and_then(port_number) {
                wanted.insert(node_port, SocketAddr::new(address, number));
            }
        }
    }
    wanted
}

/// Namespace and name, by which a slice names its service.
pub(crate) type Key = (String, String);

/// The key of a service.
pub(crate) fn key(service: &Service) -> Key {
    (service.namespace().unwrap_or_default(), service.name_any())
}

/// The IPv4 slices of each service, in the order of their names.
pub(crate) fn by_service(slices: &[Arc<EndpointSlice>]) -> BTreeMap<Key, Vec<&EndpointSlice>> {
    let mut services: BTreeMap<_, Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        let Some(service) = slice.labels().get(SERVICE_NAME) else { continue };
        services.entry((slice.namespace().unwrap_or_default(), service.clone())).or_default().push(slice);
    }
    services.values_mut().for_each(|slices| slices.sort_by_key(|slice| slice.name_any()));
    services
}

/// The addresses of a service inside the cluster; none when it is headless.
pub(crate) fn cluster_ips(spec: &ServiceSpec) -> Vec<IpAddr> {
    let listed = spec.cluster_ips.iter().flatten();
    // The plural field repeats the singular one; an old writer sets only that.
    let all: BTreeSet<IpAddr> = listed.chain(&spec.cluster_ip).filter_map(|text| text.parse().ok()).collect();
    all.into_iter().collect()
}

fn is_proxied(service: &Service, spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() != Some("ExternalName") && !service.labels().contains_key(OTHER_PROXY)
}

/// Everything a service answers on: cluster IPs, external IPs, and the
/// addresses of its load balancer. Nothing when it is headless.
fn addresses(service: &Service, spec: &ServiceSpec) -> Vec<IpAddr> {
    let mut all = cluster_ips(spec);
    if all.is_empty() {
        return all;
    }
    all.extend(spec.external_ips.iter().flatten().filter_map(|text| text.parse::<IpAddr>().ok()));
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    let virtual_ones = ingress.iter().filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"));
    all.extend(virtual_ones.filter_map(|ingress| ingress.ip.as_ref()?.parse::<IpAddr>().ok()));
    all
}

fn backends(spec: &ServiceSpec, port: &ServicePort, slices: &[&EndpointSlice]) -> Backends {
    let affinity = match spec.session_affinity.as_deref() {
        Some("ClientIP") => Affinity::ClientIp(affinity_timeout(spec)),
        _ => Affinity::None,
    };
    let reach = match spec.internal_traffic_policy.as_deref() {
        Some("Local") => Reach::Node,
        _ => Reach::Cluster,
    };
    Backends { endpoints: endpoints(port, slices), affinity, reach }
}

fn affinity_timeout(spec: &ServiceSpec) -> Duration {
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|client_ip| client_ip.timeout_seconds).unwrap_or(AFFINITY_SECONDS);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// The endpoints of one port: the ready ones, or, when there is none, those that
/// still serve while they terminate.
fn endpoints(port: &ServicePort, slices: &[&EndpointSlice]) -> Vec<SocketAddr> {
    let of = |usable: fn(&Endpoint) -> bool| -> BTreeSet<SocketAddr> {
        slices.iter().flat_map(|slice| slice_endpoints(slice, port, usable)).collect()
    };
    let ready = of(is_ready);
    let usable = if ready.is_empty() { of(serves_while_terminating) } else { ready };
    usable.into_iter().collect()
}

fn slice_endpoints(slice: &EndpointSlice, port: &ServicePort, usable: fn(&Endpoint) -> bool) -> Vec<SocketAddr> {
    let name = port.name.as_deref().unwrap_or_default();
    let protocol = protocol(port.protocol.as_deref());
    let mut ports = slice.ports.iter().flatten();
    let same = ports.find(|candidate| {
        candidate.name.as_deref().unwrap_or_default() == name
            && self::protocol(candidate.protocol.as_deref()) == protocol
    });
    let Some(number) = same.and_then(|port| port.port).and_then(port_number) else { return Vec::new() };
    let usable = slice.endpoints.iter().filter(|endpoint| usable(endpoint));
    // Addresses of one endpoint are interchangeable; upstream takes the first.
    let addresses = usable.filter_map(|endpoint| endpoint.addresses.first()?.parse().ok());
    addresses.map(|address| SocketAddr::new(address, number)).collect()
}

/// Unknown counts as ready (the API's rule for a missing condition).
pub(crate) fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

fn serves_while_terminating(endpoint: &Endpoint) -> bool {
    let Some(conditions) = &endpoint.conditions else { return false };
    let serving = conditions.serving.or(conditions.ready).unwrap_or(true);
    serving && conditions.terminating.unwrap_or(false)
}

fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name {
        None | Some("TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some(_) => None,
    }
}

fn port_number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests;
