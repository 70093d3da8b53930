//! EndpointSlice: addresses behind a Service.

use crate::object;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Resource, Strategy};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of EndpointSlices.
pub const RESOURCE: Resource = Resource {
    group: "discovery.k8s.io",
    ..Resource::new(
        "EndpointSlice",
        "endpointslices",
        "endpointslice",
        "io.k8s.api.discovery.v1.EndpointSlice",
        &EndpointSlice,
    )
};

/// How many ports and addresses a table shows.
const SHOWN_MAX: usize = 3;

struct EndpointSlice;

impl Strategy for EndpointSlice {
    fn generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                table::text("AddressType", "IPv4, IPv6 or FQDN."),
                table::text("Ports", "Ports of all endpoints."),
                table::text("Endpoints", "Addresses."),
                AGE,
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let port = |port: &Value| port["port"].as_i64().map_or("*".to_owned(), |port| port.to_string());
        let ports: Vec<String> = object::list_at(object, "ports").iter().map(port).collect();
        let addresses = |endpoint| object::list_at(endpoint, "addresses").iter().filter_map(Value::as_str);
        let endpoints: Vec<String> =
            object::list_at(object, "endpoints").iter().flat_map(addresses).map(str::to_owned).collect();
        vec![
            table::name(object),
            json!(object::str_at(object, "addressType")),
            json!(or_unset(table::some_of(&ports, SHOWN_MAX))),
            json!(or_unset(table::some_of(&endpoints, SHOWN_MAX))),
            table::age(object, now),
        ]
    }
}

fn or_unset(text: String) -> String {
    if text.is_empty() { table::UNSET.to_owned() } else { text }
}
