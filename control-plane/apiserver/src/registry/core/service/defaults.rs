//! What a Service gets when its author said nothing, and what follows from a
//! change of its type (upstream: `SetDefaults_Service`,
//! `pkg/registry/core/service`).

use super::allocation::{needs_cluster_ip, needs_health_check_port, needs_node_ports};
use crate::object;
use crate::registry::defaults::{each, set, within};
use serde_json::{Map, Value, json};

type Fields = Map<String, Value>;

/// Three hours.
const AFFINITY_SECONDS: i64 = 10800;

/// Defaults that every version of a Service gets.
pub(super) fn set_defaults(service: &mut Value) {
    let spec = object::map_mut(service, "spec");
    set(spec, "sessionAffinity", "None");
    if spec["sessionAffinity"] == "ClientIP" {
        let config = spec.entry("sessionAffinityConfig").or_insert_with(|| json!({}));
        if let Some(config) = config.as_object_mut() {
            config.entry("clientIP").or_insert_with(|| json!({}));
            within(config, "clientIP", |client| set(client, "timeoutSeconds", AFFINITY_SECONDS));
        }
    }
    set(spec, "type", "ClusterIP");
    each(spec, "ports", port);
    if is_externally_accessible(spec) {
        set(spec, "externalTrafficPolicy", "Cluster");
    }
    if is_cluster_kind(spec) {
        set(spec, "internalTrafficPolicy", "Cluster");
    }
    if spec["type"] == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", true);
    }
}

fn port(port: &mut Fields) {
    set(port, "protocol", "TCP");
    let unset = matches!(port.get("targetPort"), None | Some(Value::Null))
        || port["targetPort"] == 0
        || port["targetPort"] == "";
    if let (true, Some(number)) = (unset, port.get("port").cloned()) {
        port.insert("targetPort".to_owned(), number);
    }
}

fn is_cluster_kind(spec: &Fields) -> bool {
    spec.get("type").and_then(Value::as_str).is_some_and(|kind| kind != "ExternalName")
}

/// Whether traffic can come from outside, so that its policy matters.
pub(super) fn is_externally_accessible(spec: &Fields) -> bool {
    match spec.get("type").and_then(Value::as_str) {
        Some("LoadBalancer" | "NodePort") => true,
        Some("ClusterIP") => spec.get("externalIPs").and_then(Value::as_array).is_some_and(|ips| !ips.is_empty()),
        _ => false,
    }
}

/// Address families of a cluster that has IPv4 only. A headless Service without
/// selector may have both, because its endpoints are somebody else's.
pub(super) fn set_families(service: &mut Value) {
    if !needs_cluster_ip(service) {
        return;
    }
    let spec = object::map_mut(service, "spec");
    let free = spec.get("clusterIP").is_some_and(|ip| ip == "None")
        && spec.get("selector").and_then(Value::as_object).is_none_or(Map::is_empty);
    set(spec, "ipFamilyPolicy", if free { "RequireDualStack" } else { "SingleStack" });
    let families = object::list_mut(spec, "ipFamilies");
    if families.is_empty() {
        families.push(json!("IPv4"));
    }
    let other = if families[0] == "IPv4" { "IPv6" } else { "IPv4" };
    if free && families.len() == 1 && spec["ipFamilyPolicy"] != "SingleStack" {
        object::list_mut(spec, "ipFamilies").push(json!(other));
    }
}

/// Who sets only `clusterIP` means the list, too.
pub(super) fn normalize_new(service: &mut Value) {
    let spec = object::map_mut(service, "spec");
    let ip = spec.get("clusterIP").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !ip.is_empty() && spec.get("clusterIPs").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        spec.insert("clusterIPs".to_owned(), json!([ip]));
    }
}

/// Carries allocated values over from the old version where the new one has
/// none, and drops those that the new type does not have.
pub(super) fn carry_over(new: &mut Value, old: &Value) {
    keep_cluster_ip(new, old);
    keep_node_ports(new, old);
    if needs_health_check_port(old) && needs_health_check_port(new) {
        keep(new, old, "healthCheckNodePort");
    }
    normalize_changed(new, old);
    drop_by_type(new, old);
}

fn keep(new: &mut Value, old: &Value, field: &str) {
    if let Some(value) = old["spec"].get(field) {
        set(object::map_mut(new, "spec"), field, value.clone());
    }
}

fn keep_cluster_ip(new: &mut Value, old: &Value) {
    if !needs_cluster_ip(old) || !needs_cluster_ip(new) {
        return;
    }
    keep(new, old, "clusterIP");
    let same = new["spec"]["clusterIP"] == old["spec"]["clusterIP"];
    if same && object::list_at(new, "spec.clusterIPs").is_empty() {
        for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            let spec = object::map_mut(new, "spec");
            if let (true, Some(value)) = (!spec.contains_key(field), old["spec"].get(field)) {
                spec.insert(field.to_owned(), value.clone());
            }
        }
    }
}

/// Ports are known by name; a number that the new version uses is not given twice.
fn keep_node_ports(new: &mut Value, old: &Value) {
    if !needs_node_ports(old) || !needs_node_ports(new) {
        return;
    }
    let number = |port: &Value| port["nodePort"].as_i64().unwrap_or(0);
    let old_ports = object::list_at(old, "spec.ports");
    let mut used: Vec<i64> =
        object::list_at(new, "spec.ports").iter().map(number).filter(|number| *number != 0).collect();
    each(object::map_mut(new, "spec"), "ports", |port| {
        let name = port.get("name").unwrap_or(&Value::Null);
        let before = old_ports.iter().find(|old| old["name"] == *name).map_or(0, number);
        let unset = port.get("nodePort").and_then(Value::as_i64).unwrap_or(0) == 0;
        if unset && before != 0 && !used.contains(&before) {
            used.push(before);
            port.insert("nodePort".to_owned(), json!(before));
        }
    });
}

/// Who changes `clusterIP` and leaves the list alone means the list, too.
fn normalize_changed(new: &mut Value, old: &Value) {
    let (ip, list_same) = (new["spec"]["clusterIP"].clone(), new["spec"]["clusterIPs"] == old["spec"]["clusterIPs"]);
    if ip == old["spec"]["clusterIP"] || !list_same {
        return normalize_new(new);
    }
    let spec = object::map_mut(new, "spec");
    match ip.as_str().unwrap_or_default() {
        "" => drop(spec.remove("clusterIPs")),
        ip => drop(spec.insert("clusterIPs".to_owned(), json!([ip]))),
    }
}

/// Drops values of the old type that the caller has left as they were.
fn drop_by_type(new: &mut Value, old: &Value) {
    let gone = |needs: fn(&Value) -> bool| needs(old) && !needs(new);
    let mut fields: Vec<&str> = Vec::new();
    if gone(needs_cluster_ip) {
        fields.extend(["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"]);
    }
    if gone(needs_health_check_port) {
        fields.push("healthCheckNodePort");
    }
    if gone(|service| service["spec"]["type"] == "LoadBalancer") {
        fields.extend(["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
    if gone(|service| service["spec"].as_object().is_some_and(is_externally_accessible)) {
        fields.push("externalTrafficPolicy");
    }
    let ports_gone = gone(needs_node_ports);
    let spec = object::map_mut(new, "spec");
    for field in fields {
        if spec.get(field) == old["spec"].get(field) {
            spec.remove(field);
        }
    }
    if ports_gone {
        let old_ports = object::list_at(old, "spec.ports");
        let was = |number: &Value| old_ports.iter().any(|port| port["nodePort"] == *number);
        each(spec, "ports", |port| {
            if port.get("nodePort").is_some_and(was) {
                port.remove("nodePort");
            }
        });
    }
}
