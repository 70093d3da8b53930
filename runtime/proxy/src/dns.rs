//! Services, EndpointSlices and Pods, in; names, out. Pure.
//!
//! Follows the specification "Kubernetes DNS-Based Service Discovery" 1.1.0 and,
//! where it leaves a choice, CoreDNS. Only addresses and aliases: nothing here
//! can ask for SRV or PTR records, since `wasi:sockets` cannot.

use crate::services::{by_service, cluster_ips, is_ready};
use k8s_openapi::api::{
    core::v1::{Pod, Service, ServiceSpec},
    discovery::v1::{Endpoint, EndpointSlice},
};
use kube::ResourceExt;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};
use wk_network::names::{NameTable, Record};

/// The names that these objects have in the cluster whose zone is `zone`, for
/// instance `cluster.local`.
pub fn table(zone: &str, services: &[Arc<Service>], slices: &[Arc<EndpointSlice>], pods: &[Arc<Pod>]) -> NameTable {
    let slices = by_service(slices);
    let mut table = NameTable::new(zone);
    for service in services {
        let Some(spec) = &service.spec else { continue };
        let key = crate::services::key(service);
        let name = format!("{}.{}.svc.{zone}", key.1, key.0);
        let slices = slices.get(&key).map(Vec::as_slice).unwrap_or_default();
        for (host, addresses) in endpoint_names(slices) {
            table.insert(&format!("{host}.{name}"), addresses_of(addresses));
        }
        table.insert(&name, service_record(spec, slices));
    }
    for pod in pods {
        for address in pod_addresses(pod) {
            let namespace = pod.namespace().unwrap_or_default();
            table.insert(&format!("{}.{namespace}.pod.{zone}", dashed(address)), Record::Addresses(vec![address]));
        }
    }
    table
}

/// What the name of a service stands for: its target, its own addresses, or,
/// when it is headless, those of its ready endpoints.
fn service_record(spec: &ServiceSpec, slices: &[&EndpointSlice]) -> Record {
    if spec.type_.as_deref() == Some("ExternalName") {
        return Record::Alias(spec.external_name.clone().unwrap_or_default());
    }
    match cluster_ips(spec) {
        own if own.is_empty() => {
            let ready = slices.iter().flat_map(|slice| &slice.endpoints).filter(|endpoint| is_ready(endpoint));
            addresses_of(ready.flat_map(endpoint_addresses).collect())
        }
        own => Record::Addresses(own),
    }
}

/// The names below a service: an endpoint's host name, or else its address with
/// dashes. Endpoints with one name share it.
fn endpoint_names(slices: &[&EndpointSlice]) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let mut names: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    for endpoint in slices.iter().flat_map(|slice| &slice.endpoints).filter(|endpoint| is_ready(endpoint)) {
        for address in endpoint_addresses(endpoint) {
            let host = endpoint.hostname.clone().filter(|host| !host.is_empty());
            names.entry(host.unwrap_or_else(|| dashed(address))).or_default().insert(address);
        }
    }
    names
}

fn endpoint_addresses(endpoint: &Endpoint) -> impl Iterator<Item = IpAddr> {
    endpoint.addresses.iter().filter_map(|address| address.parse().ok())
}

fn addresses_of(addresses: BTreeSet<IpAddr>) -> Record {
    Record::Addresses(addresses.into_iter().collect())
}

fn pod_addresses(pod: &Pod) -> BTreeSet<IpAddr> {
    let Some(status) = &pod.status else { return BTreeSet::new() };
    let all = status.pod_ips.iter().flatten().map(|pod_ip| &pod_ip.ip).chain(&status.pod_ip);
    all.filter_map(|address| address.parse().ok()).collect()
}

/// `10.244.1.5` as a label: `10-244-1-5`.
fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

#[cfg(test)]
mod tests;
