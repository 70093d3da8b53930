//! Objects as YAML, in; addresses and ports, out.

use super::*;
use serde_json::{Value, json};

fn object<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).expect("valid"))
}

fn service(spec: Value) -> Arc<Service> {
    object(json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}))
}

/// A service with one port 80 and this besides.
fn web(more: Value) -> Arc<Service> {
    let mut spec = json!({"clusterIP": "10.96.0.1", "ports": [{"port": 80, "protocol": "TCP"}]});
    for (field, value) in more.as_object().expect("an object") {
        spec[field] = value.clone();
    }
    service(spec)
}

fn slice(name: &str, ports: Value, endpoints: Value) -> Arc<EndpointSlice> {
    object(json!({
        "metadata": {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
    }))
}

fn ready_slice(addresses: &[&str]) -> Arc<EndpointSlice> {
    let endpoints: Vec<_> = addresses.iter().map(|address| json!({"addresses": [address]})).collect();
    slice("web-1", json!([{"name": "", "port": 8080, "protocol": "TCP"}]), json!(endpoints))
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("valid")
}

fn endpoints_of(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>], virtual_address: &str) -> Vec<String> {
    let table = table(services, slices);
    let backends = table.get(Protocol::Tcp, address(virtual_address)).expect("the port is there");
    backends.endpoints.iter().map(SocketAddr::to_string).collect()
}

#[test]
fn a_service_leads_to_the_endpoints_of_its_slices_once_each() {
    let slices = [ready_slice(&["10.244.1.3", "10.244.1.2"]), ready_slice(&["10.244.1.2"])];
    let endpoints = endpoints_of(&[web(json!({}))], &slices, "10.96.0.1:80");
    assert_eq!(endpoints, ["10.244.1.2:8080", "10.244.1.3:8080"]);
}

#[test]
fn ports_are_matched_by_name_and_numbers_come_from_the_slice() {
    let ports = json!([
        {"name": "http", "port": 80, "targetPort": "web"},
        {"name": "admin", "port": 81, "targetPort": 9000},
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "sctp", "port": 54, "protocol": "SCTP"},
    ]);
    let services = [service(json!({"clusterIP": "10.96.0.1", "ports": ports}))];
    let ports = json!([
        {"name": "http", "port": 8080, "protocol": "TCP"},
        {"name": "dns", "port": 8053, "protocol": "UDP"},
    ]);
    let slices = [slice("web-1", ports, json!([{"addresses": ["10.244.1.2"]}]))];
    assert_eq!(endpoints_of(&services, &slices, "10.96.0.1:80"), ["10.244.1.2:8080"]);
    assert_eq!(endpoints_of(&services, &slices, "10.96.0.1:81"), [""; 0], "known, and refused");
    let table = table(&services, &slices);
    let dns = table.get(Protocol::Udp, address("10.96.0.1:53")).expect("the port is there");
    assert_eq!((dns.endpoints.clone(), table.len()), (vec![address("10.244.1.2:8053")], 3));
}

#[test]
fn terminating_endpoints_serve_only_when_nobody_is_ready() {
    let conditions = |ready: bool, serving: bool, terminating: bool| json!({"ready": ready, "serving": serving, "terminating": terminating});
    let going = json!({"addresses": ["10.244.1.2"], "conditions": conditions(false, true, true)});
    let gone = json!({"addresses": ["10.244.1.3"], "conditions": conditions(false, false, true)});
    let starting = json!({"addresses": ["10.244.1.4"], "conditions": conditions(false, false, false)});
    let ready = json!({"addresses": ["10.244.1.5"], "conditions": conditions(true, true, false)});
    let ports = json!([{"port": 8080}]);
    let of = |endpoints| endpoints_of(&[web(json!({}))], &[slice("web-1", ports.clone(), endpoints)], "10.96.0.1:80");
    assert_eq!(of(json!([going, gone, starting])), ["10.244.1.2:8080"]);
    assert_eq!(of(json!([going, gone, starting, ready])), ["10.244.1.5:8080"]);
    assert_eq!(of(json!([gone, starting])), [""; 0]);
}

#[test]
fn what_is_headless_external_or_anothers_has_no_virtual_address() {
    let mut other = (*web(json!({}))).clone();
    other.labels_mut().insert(OTHER_PROXY.to_owned(), "mine".to_owned());
    let services = [
        web(json!({"clusterIP": "None", "externalIPs": ["192.0.2.1"]})),
        web(json!({"clusterIP": "", "type": "ExternalName", "externalName": "example.org"})),
        Arc::new(other),
    ];
    assert!(table(&services, &[ready_slice(&["10.244.1.2"])]).is_empty());
}

#[test]
fn external_and_load_balancer_addresses_lead_inside() {
    let mut service = (*web(json!({"type": "LoadBalancer", "externalIPs": ["192.0.2.1"]}))).clone();
    let ingress = json!({"ingress": [{"ip": "192.0.2.2"}, {"ip": "192.0.2.3", "ipMode": "Proxy"}, {"hostname": "lb"}]});
    service.status = serde_json::from_value(json!({ "loadBalancer": ingress })).expect("valid");
    let table = table(&[Arc::new(service)], &[ready_slice(&["10.244.1.2"])]);
    let has = |text| table.get(Protocol::Tcp, address(text)).is_some();
    assert!(has("10.96.0.1:80") && has("192.0.2.1:80") && has("192.0.2.2:80") && !has("192.0.2.3:80"));
}

#[test]
fn affinity_and_reach_follow_the_spec() {
    let of = |more| {
        let table = table(&[web(more)], &[]);
        let backends = table.get(Protocol::Tcp, address("10.96.0.1:80")).expect("the port is there");
        (backends.affinity, backends.reach)
    };
    let seconds = |seconds| Affinity::ClientIp(Duration::from_secs(seconds));
    assert_eq!(of(json!({})), (Affinity::None, Reach::Cluster));
    assert_eq!(of(json!({"sessionAffinity": "ClientIP"})), (seconds(10_800), Reach::Cluster));
    let config = json!({"clientIP": {"timeoutSeconds": 5}});
    let sticky = json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": config});
    assert_eq!(of(sticky), (seconds(5), Reach::Cluster));
    assert_eq!(of(json!({"internalTrafficPolicy": "Local"})), (Affinity::None, Reach::Node));
}

#[test]
fn node_ports_lead_to_the_cluster_address() {
    let ports = json!([
        {"name": "a", "port": 80, "nodePort": 30080},
        {"name": "b", "port": 81},
        {"name": "c", "port": 53, "nodePort": 30053, "protocol": "UDP"},
    ]);
    let wanted = |kind: &str| node_ports(&[service(json!({"clusterIP": "10.96.0.1", "type": kind, "ports": ports}))]);
    let expected = BTreeMap::from([(30_080, address("10.96.0.1:80"))]);
    assert_eq!((wanted("NodePort"), wanted("LoadBalancer")), (expected.clone(), expected));
    assert!(wanted("ClusterIP").is_empty());
}
