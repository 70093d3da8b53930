//! Objects, in; names, out.

use super::*;
use serde_json::{Value, json};

fn object<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).expect("valid"))
}

fn service(spec: Value) -> Arc<Service> {
    object(json!({"metadata": {"name": "db", "namespace": "shop"}, "spec": spec}))
}

fn slice(endpoints: Value) -> Arc<EndpointSlice> {
    object(json!({
        "metadata": {"name": "db-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "db"}},
        "addressType": "IPv4", "endpoints": endpoints,
    }))
}

/// What a name stands for: addresses or `=alias`, as text.
fn answer(table: &NameTable, name: &str) -> Option<String> {
    table.get(name).map(|record| match record {
        Record::Alias(target) => format!("={target}"),
        Record::Addresses(addresses) => addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" "),
    })
}

#[test]
fn a_service_has_its_address_and_an_external_one_its_target() {
    let plain = [service(json!({"clusterIP": "10.96.0.1"}))];
    let slices = [slice(json!([{"addresses": ["10.244.1.2"]}]))];
    let table = super::table("cluster.local", &plain, &slices, &[]);
    assert_eq!(answer(&table, "db.shop.svc.cluster.local").as_deref(), Some("10.96.0.1"));
    assert_eq!(answer(&table, "10-244-1-2.db.shop.svc.cluster.local").as_deref(), Some("10.244.1.2"));

    let external = [service(json!({"type": "ExternalName", "externalName": "db.example.org"}))];
    let table = super::table("other.zone", &external, &[], &[]);
    assert_eq!(answer(&table, "db.shop.svc.other.zone").as_deref(), Some("=db.example.org"));
}

#[test]
fn a_headless_service_has_its_ready_endpoints_and_their_host_names() {
    let headless = [service(json!({"clusterIP": "None", "clusterIPs": ["None"]}))];
    let slices = [slice(json!([
        {"addresses": ["10.244.1.3"], "hostname": "db-1", "conditions": {"ready": true}},
        {"addresses": ["10.244.1.2"], "hostname": "db-0"},
        {"addresses": ["10.244.1.4"]},
        {"addresses": ["10.244.1.5"], "hostname": "db-3", "conditions": {"ready": false}},
    ]))];
    let table = super::table("cluster.local", &headless, &slices, &[]);
    let all = answer(&table, "db.shop.svc.cluster.local");
    assert_eq!(all.as_deref(), Some("10.244.1.2 10.244.1.3 10.244.1.4"));
    assert_eq!(answer(&table, "db-0.db.shop.svc.cluster.local").as_deref(), Some("10.244.1.2"));
    assert_eq!(answer(&table, "10-244-1-4.db.shop.svc.cluster.local").as_deref(), Some("10.244.1.4"));
    assert_eq!(answer(&table, "db-3.db.shop.svc.cluster.local"), None);
    assert_eq!(answer(&table, "10-244-1-2.db.shop.svc.cluster.local"), None, "it has a host name");
    let empty = super::table("cluster.local", &headless, &[], &[]);
    assert_eq!(answer(&empty, "db.shop.svc.cluster.local").as_deref(), Some(""), "it exists, with no address");
}

#[test]
fn a_pod_is_named_after_its_address() {
    let pods = [
        object(json!({"metadata": {"name": "a", "namespace": "shop"}, "status": {"podIP": "10.244.1.2"}})),
        object(json!({"metadata": {"name": "b", "namespace": "shop"}})),
    ];
    let table = super::table("cluster.local", &[], &[], &pods);
    assert_eq!(answer(&table, "10-244-1-2.shop.pod.cluster.local").as_deref(), Some("10.244.1.2"));
    assert_eq!(table.len(), 1);
}
