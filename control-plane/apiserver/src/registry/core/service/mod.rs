//! Service: one name and address for a set of pods.

use crate::object;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, PROXY_VERBS, Part, Resource, Strategy, Subresource, keep_other_part, names};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

pub mod allocation;
mod defaults;
mod validation;

pub(in crate::registry) use validation::{duplicate_shown, ordinary_ip};

/// Discovery facts of Services.
pub const RESOURCE: Resource = Resource {
    short_names: &["svc"],
    categories: &["all"],
    subresources: &[Subresource::new("proxy", "ServiceProxyOptions", PROXY_VERBS), Subresource::status("Service")],
    ..Resource::new("Service", "services", "service", "io.k8s.api.core.v1.Service", &Service)
};

struct Service;

impl Strategy for Service {
    fn default(&self, object: &mut Value) {
        defaults::set_defaults(object);
    }

    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({"loadBalancer": {}});
        defaults::normalize_new(object);
        defaults::set_families(object);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, part: Part) {
        keep_other_part(new, old, part);
        if part != Part::Main {
            return;
        }
        defaults::carry_over(new, old);
        defaults::set_families(new);
        if new["spec"]["type"] != "LoadBalancer" {
            new["status"]["loadBalancer"] = json!({});
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        validation::service(object)
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part == Part::Main { validation::update(new, old) } else { Vec::new() }
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let external = object["spec"]["type"] == "ExternalName";
        if external || object::str_at(object, "spec.externalName").is_empty() {
            return Vec::new();
        }
        vec!["spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned()]
    }

    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        names::dns1035_label(name, prefix)
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let field = |path: &'static str| (path, object::str_at(object, path).to_owned());
        vec![field("spec.clusterIP"), field("spec.type")]
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["spec.clusterIP", "spec.type"]
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                table::text("Type", "How it can be reached."),
                table::text("Cluster-IP", "Address inside the cluster."),
                table::text("External-IP", "Addresses or name outside the cluster."),
                table::text("Port(s)", "Port, node port and protocol of each port."),
                AGE,
                table::wide("Selector", "Labels of the pods behind it."),
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &object["spec"];
        vec![
            table::name(object),
            spec["type"].clone(),
            json!(table::or_none(spec["clusterIPs"][0].as_str().unwrap_or_default())),
            json!(external_ip(object)),
            json!(table::or_none(&ports(spec))),
            table::age(object, now),
            json!(table::labels(spec["selector"].as_object())),
        ]
    }
}

fn ports(spec: &Value) -> String {
    let port = |port: &Value| match port["nodePort"].as_i64().unwrap_or(0) {
        0 => format!("{}/{}", port["port"], object::str_at(port, "protocol")),
        node_port => format!("{}:{node_port}/{}", port["port"], object::str_at(port, "protocol")),
    };
    object::list_at(spec, "ports").iter().map(port).collect::<Vec<_>>().join(",")
}

fn external_ip(service: &Value) -> String {
    let spec = &service["spec"];
    let mut addresses = match object::str_at(spec, "type") {
        "ExternalName" => return object::str_at(spec, "externalName").to_owned(),
        "LoadBalancer" => balancer_addresses(service),
        "ClusterIP" | "NodePort" => Vec::new(),
        _ => return table::UNKNOWN.to_owned(),
    };
    addresses.extend(object::list_at(spec, "externalIPs").iter().filter_map(Value::as_str));
    match addresses.is_empty() {
        false => addresses.join(","),
        true if spec["type"] == "LoadBalancer" => "<pending>".to_owned(),
        true => table::NONE.to_owned(),
    }
}

fn balancer_addresses(service: &Value) -> Vec<&str> {
    let address = |ingress| match object::str_at(ingress, "ip") {
        "" => object::str_at(ingress, "hostname"),
        ip => ip,
    };
    let ingresses = object::list_at(service, "status.loadBalancer.ingress").iter();
    let mut addresses: Vec<&str> = ingresses.map(address).filter(|address| !address.is_empty()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests;
