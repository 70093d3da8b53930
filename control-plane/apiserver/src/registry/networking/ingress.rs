//! Ingress: HTTP from outside to Services, by host and path.

use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::metadata::invalid_shown;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Part, Resource, Strategy, Subresource, keep_other_part, names};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of Ingresses.
pub const RESOURCE: Resource = Resource {
    group: "networking.k8s.io",
    short_names: &["ing"],
    subresources: &[Subresource::status("Ingress")],
    ..Resource::new("Ingress", "ingresses", "ingress", "io.k8s.api.networking.v1.Ingress", &Ingress)
};

/// How many hosts a table shows.
const HOSTS_MAX: usize = 3;
const PATH_TYPES: &[&str] = &["Exact", "ImplementationSpecific", "Prefix"];

struct Ingress;

impl Strategy for Ingress {
    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({"loadBalancer": {}});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, part: Part) {
        keep_other_part(new, old, part);
    }

    fn generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let spec = &object["spec"];
        let rules = object::list_at(spec, "rules");
        if rules.is_empty() && !spec["defaultBackend"].is_object() {
            let detail = "either `defaultBackend` or `rules` must be specified";
            errors.push(invalid_shown("spec", "[]networking.IngressRule(nil)", detail));
        }
        if spec["defaultBackend"].is_object() {
            backend(&spec["defaultBackend"], "spec.defaultBackend", &mut errors);
        }
        for (index, rule) in rules.iter().enumerate() {
            validate_rule(rule, &format!("spec.rules[{index}]"), &mut errors);
        }
        errors
    }

    fn validate_update(&self, new: &Value, _old: &Value, part: Part) -> Vec<FieldError> {
        if part == Part::Main { self.validate(new) } else { Vec::new() }
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                table::text("Class", "Who serves it."),
                table::text("Hosts", "Names that it answers to."),
                table::text("Address", "Where it can be reached."),
                table::text("Ports", "80, and 443 with TLS."),
                AGE,
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &object["spec"];
        let has_tls = !object::list_at(spec, "tls").is_empty();
        vec![
            table::name(object),
            json!(table::or_none(object::str_at(spec, "ingressClassName"))),
            json!(hosts(spec)),
            json!(addresses(object)),
            json!(if has_tls { "80, 443" } else { "80" }),
            table::age(object, now),
        ]
    }
}

fn hosts(spec: &Value) -> String {
    let hosts = object::list_at(spec, "rules").iter().map(|rule| object::str_at(rule, "host"));
    let hosts: Vec<String> = hosts.filter(|host| !host.is_empty()).map(str::to_owned).collect();
    if hosts.is_empty() { "*".to_owned() } else { table::some_of(&hosts, HOSTS_MAX) }
}

fn addresses(ingress: &Value) -> String {
    let address = |entry| match object::str_at(entry, "ip") {
        "" => object::str_at(entry, "hostname"),
        ip => ip,
    };
    let entries = object::list_at(ingress, "status.loadBalancer.ingress").iter();
    entries.map(address).filter(|address| !address.is_empty()).collect::<Vec<_>>().join(",")
}

fn validate_rule(rule: &Value, path: &str, errors: &mut Errors) {
    let host = object::str_at(rule, "host");
    let plain = host.strip_prefix("*.").unwrap_or(host);
    if host.parse::<std::net::IpAddr>().is_ok() {
        errors.push(FieldError::invalid(format!("{path}.host"), host, "must be a DNS name, not an IP address"));
    } else if !host.is_empty() {
        check::messages(&format!("{path}.host"), host, names::dns_subdomain(plain, false), errors);
    }
    if !rule["http"].is_object() {
        return;
    }
    let paths = object::list_at(rule, "http.paths");
    if paths.is_empty() {
        errors.push(FieldError::required(format!("{path}.http.paths"), ""));
    }
    for (index, item) in paths.iter().enumerate() {
        validate_path(item, &format!("{path}.http.paths[{index}]"), errors);
    }
}

fn validate_path(item: &Value, path: &str, errors: &mut Errors) {
    let (kind, target) = (object::str_at(item, "pathType"), object::str_at(item, "path"));
    let absolute = target.starts_with('/');
    match kind {
        "" => errors.push(FieldError::required(format!("{path}.pathType"), "pathType must be specified")),
        "Exact" | "Prefix" if !absolute => {
            errors.push(FieldError::invalid(format!("{path}.path"), target, "must be an absolute path"));
        }
        "ImplementationSpecific" if !absolute && !target.is_empty() => {
            errors.push(FieldError::invalid(format!("{path}.path"), target, "must be an absolute path"));
        }
        other if !PATH_TYPES.contains(&other) => {
            errors.push(FieldError::not_supported(format!("{path}.pathType"), other, PATH_TYPES));
        }
        _ => {}
    }
    backend(&item["backend"], &format!("{path}.backend"), errors);
}

fn backend(backend: &Value, path: &str, errors: &mut Errors) {
    let service = &backend["service"];
    match (service.is_object(), backend["resource"].is_object()) {
        (true, true) => {
            let detail = "cannot set both resource and service backends";
            errors.push(FieldError::invalid(path, "", detail));
        }
        (false, true) => {}
        (false, false) => errors.push(FieldError::required(path, "port name or number is required")),
        (true, false) => {
            if check::required(service, &format!("{path}.service"), "name", errors) {
                let name = object::str_at(service, "name");
                check::messages(&format!("{path}.service.name"), name, names::dns1035_label(name, false), errors);
            }
            let (name, number) =
                (object::str_at(service, "port.name"), service["port"]["number"].as_i64().unwrap_or(0));
            match (name, number) {
                ("", 0) => errors.push(FieldError::required(path, "port name or number is required")),
                ("", number) => {
                    let field = format!("{path}.service.port.number");
                    check::port_number_or_name(&json!(number), &field, errors);
                }
                (_, 0) => check::port_number_or_name(&json!(name), &format!("{path}.service.port.name"), errors),
                _ => errors.push(FieldError::invalid(path, "", "cannot set both port name & port number")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::shown_errors;
    use expect_test::expect;

    #[test]
    fn rules_say_how_paths_are_meant() {
        let service = json!({"service": {"name": "s", "port": {"number": 1}}});
        let object = json!({"spec": {"rules": [{"host": "*.example.com", "http": {"paths": [
            {"path": "/", "backend": service}, {"path": "x", "pathType": "Exact", "backend": {}}]}}]}});
        expect![[r#"
            spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified
            spec.rules[0].http.paths[1].path: Invalid value: "x": must be an absolute path
            spec.rules[0].http.paths[1].backend: Required value: port name or number is required"#]]
        .assert_eq(&shown_errors(&Ingress.validate(&object)));
        assert_eq!(hosts(&object["spec"]), "*.example.com");
    }
}
