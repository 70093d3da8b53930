//! Endpoints: addresses behind a Service, the old form.

use super::service::ordinary_ip;
use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::defaults::{each, set};
use crate::registry::names;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Resource, Strategy};
use crate::schema::FieldError;
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
    fn default(&self, object: &mut Value) {
        let Some(fields) = object.as_object_mut() else { return };
        each(fields, "subsets", |subset| each(subset, "ports", |port| set(port, "protocol", "TCP")));
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        for (index, subset) in object::list_at(object, "subsets").iter().enumerate() {
            validate_subset(subset, &format!("subsets[{index}]"), &mut errors);
        }
        errors
    }

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

fn validate_subset(subset: &Value, path: &str, errors: &mut Errors) {
    let (ready, unready) = (object::list_at(subset, "addresses"), object::list_at(subset, "notReadyAddresses"));
    if ready.is_empty() && unready.is_empty() {
        errors.push(FieldError::required(path, "must specify `addresses` or `notReadyAddresses`"));
    }
    for (field, addresses) in [("addresses", ready), ("notReadyAddresses", unready)] {
        for (index, address) in addresses.iter().enumerate() {
            let (field, ip) = (format!("{path}.{field}[{index}].ip"), object::str_at(address, "ip"));
            if check::ip_address(&field, ip, errors) {
                ordinary_ip(&field, ip, errors);
            }
        }
    }
    let ports = object::list_at(subset, "ports");
    for (index, port) in ports.iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        let name = object::str_at(port, "name");
        if name.is_empty() && ports.len() > 1 {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else if !name.is_empty() {
            check::messages(&format!("{path}.name"), name, names::dns_label(name, false), errors);
        }
        check::port_number_or_name(&port["port"], &format!("{path}.port"), errors);
        check::required_one_of(port, &path, "protocol", &["SCTP", "TCP", "UDP"], errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::shown_errors;
    use expect_test::expect;

    #[test]
    fn addresses_are_ordinary_and_ports_have_names() {
        let mut object = json!({"subsets": [{}, {"addresses": [{"ip": "169.254.0.1"}, {"ip": "x"}],
            "ports": [{"name": "a", "port": 1}, {"port": 2}]}]});
        Endpoints.default(&mut object);
        expect![[r#"
            subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`
            subsets[1].addresses[0].ip: Invalid value: "169.254.0.1": may not be in the link-local range (169.254.0.0/16, fe80::/10)
            subsets[1].addresses[1].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            subsets[1].ports[1].name: Required value"#]]
        .assert_eq(&shown_errors(&Endpoints.validate(&object)));
    }
}
