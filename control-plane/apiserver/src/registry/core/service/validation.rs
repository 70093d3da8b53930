//! What is wrong with a Service (upstream: `ValidateService`,
//! `ValidateServiceUpdate`, in their order).

use super::allocation::needs_health_check_port;
use super::defaults::is_externally_accessible;
use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::metadata::{self, invalid_shown};
use crate::registry::names;
use crate::schema::FieldError;
use serde_json::Value;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const KUBELET_PORT: i64 = 10250;
/// One day.
const AFFINITY_SECONDS_MAX: i64 = 86400;

/// All that is wrong with a Service.
pub(super) fn service(service: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = &service["spec"];
    let headless = object::list_at(spec, "clusterIPs").first().is_some_and(|ip| ip == "None");
    let kind = object::str_at(spec, "type");
    let ports = object::list_at(spec, "ports");
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    by_type(kind, spec, headless, &mut errors);
    let mut taken = Vec::new();
    for (index, item) in ports.iter().enumerate() {
        port(item, ports.len() > 1, &mut taken, &format!("spec.ports[{index}]"), &mut errors);
    }
    metadata::labels(spec["selector"].as_object(), "spec.selector", &mut errors);
    affinity(spec, &mut errors);
    if kind != "ExternalName" {
        addresses(spec, &mut errors);
    }
    for (index, ip) in object::list_at(spec, "externalIPs").iter().enumerate() {
        let (ip, field) = (ip.as_str().unwrap_or_default(), format!("spec.externalIPs[{index}]"));
        if check::ip_address(&field, ip, &mut errors) {
            if ip.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()) {
                let detail = "may not be in the loopback range (127.0.0.0/8, ::1/128)";
                errors.push(FieldError::invalid(field.as_str(), ip, detail));
            }
            ordinary_ip(&field, ip, &mut errors);
        }
    }
    check::required_one_of(spec, "spec", "type", TYPES, &mut errors);
    node_ports(kind, ports, &mut errors);
    duplicate_ports(ports, &mut errors);
    source_ranges(spec, &mut errors);
    policies(service, &mut errors);
    errors
}

/// All that is wrong with a new version of a Service.
pub(super) fn update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let either_external = [new, old].iter().any(|service| service["spec"]["type"] == "ExternalName");
    let (ips, before) = (object::list_at(new, "spec.clusterIPs"), object::list_at(old, "spec.clusterIPs"));
    if let (false, Some(old_ip)) = (either_external, before.first()) {
        match ips.first() {
            None => {
                let detail = "primary clusterIP can not be unset";
                errors.push(invalid_shown("spec.clusterIPs[0]", "[]string(nil)", detail));
            }
            Some(ip) if ip != old_ip => {
                let detail = "may not change once set";
                errors.push(invalid_shown("spec.clusterIPs[0]", &check::shown_strings(ips), detail));
            }
            Some(_) => {}
        }
    }
    errors.extend(service(new));
    errors
}

fn by_type(kind: &str, spec: &Value, headless: bool, errors: &mut Errors) {
    match kind {
        "LoadBalancer" => {
            for (index, port) in object::list_at(spec, "ports").iter().enumerate() {
                if port["port"] == KUBELET_PORT {
                    let detail = format!("may not expose port {KUBELET_PORT} externally since it is used by kubelet");
                    errors.push(FieldError::invalid(format!("spec.ports[{index}]"), KUBELET_PORT, detail));
                }
            }
        }
        "ExternalName" => external_name(spec, errors),
        _ => {}
    }
    if headless && matches!(kind, "LoadBalancer" | "NodePort") {
        let detail = format!("may not be set to 'None' for {kind} services");
        errors.push(FieldError::invalid("spec.clusterIPs[0]", "None", detail));
    }
}

fn external_name(spec: &Value, errors: &mut Errors) {
    for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if !spec[field].is_null() {
            errors.push(FieldError::forbidden(format!("spec.{field}"), "may not be set for ExternalName services"));
        }
    }
    let name = object::str_at(spec, "externalName");
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        errors.push(FieldError::required("spec.externalName", ""));
    } else {
        check::messages("spec.externalName", name, names::dns_subdomain(name, false), errors);
    }
}

fn port<'a>(port: &'a Value, several: bool, taken: &mut Vec<&'a str>, path: &str, errors: &mut Errors) {
    let name = object::str_at(port, "name");
    if name.is_empty() && several {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    } else if !name.is_empty() {
        check::messages(&format!("{path}.name"), name, names::dns_label(name, false), errors);
        if taken.contains(&name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), name));
        }
        taken.push(name);
    }
    check::port_number_or_name(&port["port"], &format!("{path}.port"), errors);
    check::required_one_of(port, path, "protocol", &["SCTP", "TCP", "UDP"], errors);
    check::port_number_or_name(&port["targetPort"], &format!("{path}.targetPort"), errors);
    let protocol = object::str_at(port, "appProtocol");
    if !protocol.is_empty() {
        check::messages(&format!("{path}.appProtocol"), protocol, names::qualified_name(protocol), errors);
    }
}

fn affinity(spec: &Value, errors: &mut Errors) {
    check::required_one_of(spec, "spec", "sessionAffinity", &["ClientIP", "None"], errors);
    let config = &spec["sessionAffinityConfig"];
    if spec["sessionAffinity"] == "None" && config.is_object() {
        let detail = "must not be set when session affinity is None";
        errors.push(FieldError::forbidden("spec.sessionAffinityConfig", detail));
    }
    let seconds = config["clientIP"]["timeoutSeconds"].as_i64();
    if let Some(seconds) = seconds.filter(|seconds| !(1..=AFFINITY_SECONDS_MAX).contains(seconds)) {
        let detail = format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}");
        errors.push(FieldError::invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, detail));
    }
}

fn addresses(spec: &Value, errors: &mut Errors) {
    let (ip, ips) = (object::str_at(spec, "clusterIP"), object::list_at(spec, "clusterIPs"));
    if !ip.is_empty() && ips.is_empty() {
        errors.push(FieldError::required("spec.clusterIPs", ""));
    } else if ips.first().is_some_and(|first| first != ip) {
        let detail = "first value must match `clusterIP`";
        errors.push(invalid_shown("spec.clusterIPs", &check::shown_strings(ips), detail));
    }
    families(spec, errors);
    for (index, ip) in ips.iter().filter_map(Value::as_str).enumerate() {
        if ip != "None" {
            check::ip_address(&format!("spec.clusterIPs[{index}]"), ip, errors);
        } else if ips.len() > 1 {
            let detail = "'None' must be the first and only value";
            errors.push(invalid_shown("spec.clusterIPs", &check::shown_strings(ips), detail));
        }
    }
    let headless_without_selector = ip == "None" && spec["selector"].as_object().is_none_or(serde_json::Map::is_empty);
    if ips.len() > 1 || (spec["ipFamilyPolicy"] == "RequireDualStack" && !headless_without_selector) {
        let policy = object::str_at(spec, "ipFamilyPolicy");
        let detail = "this cluster is not configured for dual-stack services";
        errors.push(FieldError::invalid("spec.ipFamilyPolicy", policy, detail));
    }
}

fn families(spec: &Value, errors: &mut Errors) {
    let headless_without_selector =
        spec["clusterIP"] == "None" && spec["selector"].as_object().is_none_or(serde_json::Map::is_empty);
    let families = object::list_at(spec, "ipFamilies");
    for (index, family) in families.iter().filter_map(Value::as_str).enumerate() {
        let field = format!("spec.ipFamilies[{index}]");
        if !["IPv4", "IPv6"].contains(&family) {
            errors.push(FieldError::not_supported(field, family, &["IPv4", "IPv6"]));
        } else if families[..index].iter().any(|other| other == family) {
            errors.push(FieldError::duplicate(field, family));
        } else if family == "IPv6" && !headless_without_selector {
            errors.push(FieldError::invalid(field, family, "not configured on this cluster"));
        }
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    check::one_of(spec, "spec", "ipFamilyPolicy", &policies, errors);
}

/// An address that endpoints and external addresses can be. Unlike upstream,
/// endpoints may be on the loopback: that is where our own server listens.
pub(in crate::registry) fn ordinary_ip(field: &str, address: &str, errors: &mut Errors) {
    let Ok(ip) = address.parse::<std::net::IpAddr>() else { return };
    let link_local = match ip {
        std::net::IpAddr::V4(ip) => ip.is_link_local(),
        std::net::IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let local_multicast = match ip {
        std::net::IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        std::net::IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
    };
    let mut refuse = |detail: &str| errors.push(FieldError::invalid(field, address, detail));
    if ip.is_unspecified() {
        refuse("may not be unspecified (0.0.0.0 or ::)");
    }
    if link_local {
        refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if local_multicast {
        refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

fn node_ports(kind: &str, ports: &[Value], errors: &mut Errors) {
    let number = |port: &Value| port["nodePort"].as_i64().unwrap_or(0);
    if kind == "ClusterIP" {
        for (index, _) in ports.iter().enumerate().filter(|(_, port)| number(port) != 0) {
            let detail = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(format!("spec.ports[{index}].nodePort"), detail));
        }
    }
    for (index, port) in ports.iter().enumerate().filter(|(_, port)| number(port) != 0) {
        let same = |other: &Value| other["protocol"] == port["protocol"] && number(other) == number(port);
        if ports[..index].iter().any(same) {
            errors.push(FieldError::duplicate(format!("spec.ports[{index}].nodePort"), number(port)));
        }
    }
}

fn duplicate_ports(ports: &[Value], errors: &mut Errors) {
    for (index, port) in ports.iter().enumerate() {
        let same = |other: &Value| other["protocol"] == port["protocol"] && other["port"] == port["port"];
        if ports[..index].iter().any(same) {
            let shown = format!(
                "core.ServicePort{{Name:\"\", Protocol:{}, AppProtocol:(*string)(nil), Port:{}, \
                 TargetPort:intstr.IntOrString{{Type:0, IntVal:0, StrVal:\"\"}}, NodePort:0}}",
                port["protocol"], port["port"]
            );
            errors.push(duplicate_shown(format!("spec.ports[{index}]"), shown));
        }
    }
}

/// A `Duplicate value` that is shown as Go shows a struct.
pub(in crate::registry) fn duplicate_shown(field: String, shown: String) -> FieldError {
    FieldError { kind: crate::schema::FieldErrorKind::Duplicate, field, bad_value: None, detail: shown }
}

fn source_ranges(spec: &Value, errors: &mut Errors) {
    let ranges = object::list_at(spec, "loadBalancerSourceRanges");
    if !ranges.is_empty() && spec["type"] != "LoadBalancer" {
        let detail = "may only be used when `type` is 'LoadBalancer'";
        errors.push(FieldError::forbidden("spec.LoadBalancerSourceRanges", detail));
    }
    for (index, range) in ranges.iter().filter_map(Value::as_str).enumerate() {
        if range.trim().parse::<ipnet::IpNet>().is_err() {
            let field = format!("spec.LoadBalancerSourceRanges[{index}]");
            let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.push(FieldError::invalid(field, range, detail));
        }
    }
}

fn policies(service: &Value, errors: &mut Errors) {
    let spec = &service["spec"];
    check::one_of(spec, "spec", "internalTrafficPolicy", &["Cluster", "Local"], errors);
    let policy = object::str_at(spec, "externalTrafficPolicy");
    if !spec.as_object().is_some_and(is_externally_accessible) {
        if !policy.is_empty() {
            let detail = "may only be set for externally-accessible services";
            errors.push(FieldError::invalid("spec.externalTrafficPolicy", policy, detail));
        }
    } else {
        check::required_one_of(spec, "spec", "externalTrafficPolicy", &["Cluster", "Local"], errors);
    }
    let health_port = spec["healthCheckNodePort"].as_i64().unwrap_or(0);
    if health_port != 0 && !needs_health_check_port(service) {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(FieldError::invalid("spec.healthCheckNodePort", health_port, detail));
    }
    let class = object::str_at(spec, "loadBalancerClass");
    if !class.is_empty() {
        if spec["type"] != "LoadBalancer" {
            let detail = "may only be used when `type` is 'LoadBalancer'";
            errors.push(FieldError::forbidden("spec.loadBalancerClass", detail));
        }
        check::messages("spec.loadBalancerClass", class, names::qualified_name(class), errors);
    }
    if spec["type"] != "LoadBalancer" && spec["allocateLoadBalancerNodePorts"].is_boolean() {
        let detail = "may only be used when `type` is 'LoadBalancer'";
        errors.push(FieldError::forbidden("spec.allocateLoadBalancerNodePorts", detail));
    }
}
