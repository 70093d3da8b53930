//! Endpoints: addresses behind a Service, the old form.

use crate::object;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Resource, Strategy};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of Endpoints.
pub const RESOURCE: Resource = Resource {
    short_names: &["ep"],
    ..Resource::new("Endpoints", "endpoints", "endpoints", "io.k8s.api.core.v1.Endpoints", &Endpoints)
};

/// How many addresses a table shows.
const SHOWN_MAX: usize = 3;

struct Endpoints;

impl Strategy for Endpoints {
    fn columns(&self) -> &'static [Column] {
        const { &[NAME, table::text("Endpoints", "Addresses and ports."), AGE] }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let subsets = object::list_at(object, "subsets");
        let addresses: Vec<String> = subsets.iter().flat_map(addresses).collect();
        let shown = if subsets.is_empty() { table::NONE.to_owned() } else { table::some_of(&addresses, SHOWN_MAX) };
        vec![table::name(object), json!(shown), table::age(object, now)]
    }
}

fn addresses(subset: &Value) -> Vec<String> {
    let addresses = || object::list_at(subset, "addresses").iter().map(|address| object::str_at(address, "ip"));
    let ports = object::list_at(subset, "ports");
    if ports.is_empty() {
        return addresses().map(str::to_owned).collect();
    }
    ports.iter().flat_map(|port| addresses().map(|ip| join_host_port(ip, &port["port"]))).collect()
}

fn join_host_port(ip: &str, port: &Value) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}
