//! NetworkPolicy: who may talk to which pods.

use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::defaults::{each, set};
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Resource, Strategy};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of NetworkPolicies.
pub const RESOURCE: Resource = Resource {
    group: "networking.k8s.io",
    short_names: &["netpol"],
    ..Resource::new(
        "NetworkPolicy",
        "networkpolicies",
        "networkpolicy",
        "io.k8s.api.networking.v1.NetworkPolicy",
        &NetworkPolicy,
    )
};

/// Direction, the field of its rules, and the field of its peers.
const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

struct NetworkPolicy;

impl Strategy for NetworkPolicy {
    /// A policy is about ingress, and about egress when it has rules for it.
    fn default(&self, object: &mut Value) {
        let spec = object::map_mut(object, "spec");
        for (rules, _) in DIRECTIONS {
            each(spec, rules, |rule| each(rule, "ports", |port| set(port, "protocol", "TCP")));
        }
        if spec.get("policyTypes").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            let egress = spec.get("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
            let types = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
            spec.insert("policyTypes".to_owned(), types);
        }
    }

    fn generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let spec = &object["spec"];
        check::label_selector(&spec["podSelector"], "spec.podSelector", &mut errors);
        for (rules, peers) in DIRECTIONS {
            for (index, rule) in object::list_at(spec, rules).iter().enumerate() {
                validate_rule(rule, peers, &format!("spec.{rules}[{index}]"), &mut errors);
            }
        }
        let types = object::list_at(spec, "policyTypes");
        if types.len() > DIRECTIONS.len() {
            let detail = "may not specify more than two policyTypes";
            let shown = check::shown_strings(types);
            errors.push(crate::registry::metadata::invalid_shown("spec.policyTypes", &shown, detail));
            return errors;
        }
        for (index, kind) in types.iter().filter_map(Value::as_str).enumerate() {
            if !["Ingress", "Egress"].contains(&kind) {
                let field = format!("spec.policyTypes[{index}]");
                errors.push(FieldError::not_supported(field, kind, &["Ingress", "Egress"]));
            }
        }
        errors
    }

    /// Who writes a rule believes that it holds, and here it does not.
    fn warnings(&self, _object: &Value) -> Vec<String> {
        vec![
            "NetworkPolicies are stored, but nothing in this cluster enforces them: every pod reaches every other"
                .to_owned(),
        ]
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, table::text("Pod-Selector", "The pods that it is about."), AGE] }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![table::name(object), table::selector(&object["spec"]["podSelector"]), table::age(object, now)]
    }
}

fn validate_rule(rule: &Value, peers: &str, path: &str, errors: &mut Errors) {
    for (index, port) in object::list_at(rule, "ports").iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        check::one_of(port, &path, "protocol", &["SCTP", "TCP", "UDP"], errors);
        if !port["port"].is_null() {
            check::port_number_or_name(&port["port"], &format!("{path}.port"), errors);
        }
    }
    for (index, peer) in object::list_at(rule, peers).iter().enumerate() {
        let path = format!("{path}.{peers}[{index}]");
        let by_labels = peer["podSelector"].is_object() || peer["namespaceSelector"].is_object();
        for field in ["podSelector", "namespaceSelector"] {
            check::label_selector(&peer[field], &format!("{path}.{field}"), errors);
        }
        match (by_labels, peer["ipBlock"].is_object()) {
            (false, false) => errors.push(FieldError::required(path, "must specify a peer")),
            (true, true) => {
                let detail = "may not specify both ipBlock and another peer";
                errors.push(FieldError::forbidden(path, detail));
            }
            (true, false) => {}
            (false, true) => ip_block(&peer["ipBlock"], &format!("{path}.ipBlock"), errors),
        }
    }
}

fn ip_block(block: &Value, path: &str, errors: &mut Errors) {
    let text = object::str_at(block, "cidr");
    let Ok(cidr) = text.parse::<ipnet::IpNet>() else {
        let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        errors.push(FieldError::invalid(format!("{path}.cidr"), text, detail));
        return;
    };
    for (index, except) in object::list_at(block, "except").iter().filter_map(Value::as_str).enumerate() {
        let inside = except.parse::<ipnet::IpNet>().is_ok_and(|inner| cidr.contains(&inner) && inner != cidr);
        if !inside {
            let field = format!("{path}.except[{index}]");
            errors.push(FieldError::invalid(field, except, format!("must be a strict subset of `cidr` {text}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn egress_rules_make_it_about_egress() {
        let mut object = json!({"spec": {"egress": [{"ports": [{"port": 53}]}]}});
        NetworkPolicy.default(&mut object);
        assert_eq!(object["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        assert_eq!(object["spec"]["egress"][0]["ports"][0]["protocol"], "TCP");
        assert_eq!(NetworkPolicy.validate(&object), []);
    }
}
