//! EndpointSlice: addresses behind a Service.

use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::core::service::ordinary_ip;
use crate::registry::defaults::each;
use crate::registry::names;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Part, Resource, Strategy};
use crate::schema::FieldError;
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

const ADDRESS_TYPES: &[&str] = &["FQDN", "IPv4", "IPv6"];
const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;

impl Strategy for EndpointSlice {
    fn default(&self, object: &mut Value) {
        let Some(fields) = object.as_object_mut() else { return };
        each(fields, "ports", |port| {
            port.entry("name").or_insert_with(|| json!(""));
            port.entry("protocol").or_insert_with(|| json!("TCP"));
        });
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let kind = object::str_at(object, "addressType");
        if kind.is_empty() {
            errors.push(FieldError::required("addressType", ""));
        } else if !ADDRESS_TYPES.contains(&kind) {
            errors.push(FieldError::not_supported("addressType", kind, ADDRESS_TYPES));
        }
        let endpoints = object::list_at(object, "endpoints");
        if endpoints.len() > ENDPOINTS_MAX {
            errors.push(too_many("endpoints".to_owned(), endpoints.len(), ENDPOINTS_MAX));
            return errors;
        }
        for (index, endpoint) in endpoints.iter().enumerate() {
            validate_endpoint(endpoint, kind, &format!("endpoints[{index}]"), &mut errors);
        }
        validate_ports(object::list_at(object, "ports"), &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        let mut errors = self.validate(new);
        if new["addressType"] != old["addressType"] {
            let detail = crate::registry::metadata::IMMUTABLE;
            errors.push(FieldError::invalid("addressType", new["addressType"].clone(), detail));
        }
        errors
    }

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

fn too_many(field: String, count: usize, max: usize) -> FieldError {
    let detail = format!("{count}: must have at most {max} items");
    FieldError { kind: crate::schema::FieldErrorKind::TooMany, field, bad_value: None, detail }
}

fn validate_endpoint(endpoint: &Value, kind: &str, path: &str, errors: &mut Errors) {
    let addresses = object::list_at(endpoint, "addresses");
    if addresses.is_empty() {
        errors.push(FieldError::required(format!("{path}.addresses"), "must contain at least 1 address"));
    } else if addresses.len() > ADDRESSES_MAX {
        errors.push(too_many(format!("{path}.addresses"), addresses.len(), ADDRESSES_MAX));
        return;
    }
    for (index, address) in addresses.iter().filter_map(Value::as_str).enumerate() {
        let field = format!("{path}.addresses[{index}]");
        match (kind, address.parse::<std::net::IpAddr>()) {
            ("IPv4", Ok(std::net::IpAddr::V4(_))) | ("IPv6", Ok(std::net::IpAddr::V6(_))) => {
                ordinary_ip(&field, address, errors);
            }
            ("IPv4", _) => errors.push(FieldError::invalid(field, address, "must be an IPv4 address")),
            ("IPv6", _) => errors.push(FieldError::invalid(field, address, "must be an IPv6 address")),
            ("FQDN", _) => check::messages(&field, address, names::dns_subdomain(address, false), errors),
            _ => {}
        }
    }
    let node = object::str_at(endpoint, "nodeName");
    if !node.is_empty() {
        check::messages(&format!("{path}.nodeName"), node, names::dns_subdomain(node, false), errors);
    }
}

fn validate_ports(ports: &[Value], errors: &mut Errors) {
    for (index, port) in ports.iter().enumerate() {
        let path = format!("ports[{index}]");
        let name = object::str_at(port, "name");
        if !name.is_empty() {
            check::messages(&format!("{path}.name"), name, names::dns_label(name, false), errors);
        }
        if ports[..index].iter().any(|other| object::str_at(other, "name") == name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), name));
        }
        check::required_one_of(port, &path, "protocol", &["SCTP", "TCP", "UDP"], errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::shown_errors;
    use expect_test::expect;

    #[test]
    fn addresses_are_of_the_slices_type() {
        let mut object = json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]},
            {"addresses": ["::1"]}, {}], "ports": [{"port": 80}, {"port": 81}]});
        EndpointSlice.default(&mut object);
        expect![[r#"
            endpoints[1].addresses[0]: Invalid value: "::1": must be an IPv4 address
            endpoints[2].addresses: Required value: must contain at least 1 address
            ports[1].name: Duplicate value: """#]]
        .assert_eq(&shown_errors(&EndpointSlice.validate(&object)));
    }
}
