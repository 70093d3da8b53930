//! Node: a machine that runs pods.

use super::service::duplicate_shown;
use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Part, Resource, Scope, Strategy, Subresource, keep_other_part, names};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of Nodes.
pub const RESOURCE: Resource = Resource {
    short_names: &["no"],
    scope: Scope::Cluster,
    subresources: &[
        Subresource::new("proxy", "NodeProxyOptions", crate::registry::PROXY_VERBS),
        Subresource::status("Node"),
    ],
    ..Resource::new("Node", "nodes", "node", "io.k8s.api.core.v1.Node", &Node)
};

struct Node;

impl Strategy for Node {
    /// What a node has it can give away, unless it says otherwise.
    fn default(&self, object: &mut Value) {
        let spec = object::map_mut(object, "spec");
        let cidr = spec.get("podCIDR").filter(|cidr| cidr.as_str().is_some_and(|cidr| !cidr.is_empty())).cloned();
        if let (Some(cidr), None) = (cidr, spec.get("podCIDRs")) {
            spec.insert("podCIDRs".to_owned(), json!([cidr]));
        }
        let status = object::map_mut(object, "status");
        if let (Some(capacity), None) = (status.get("capacity").cloned(), status.get("allocatable")) {
            status.insert("allocatable".to_owned(), capacity);
        }
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, part: Part) {
        keep_other_part(new, old, part);
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        validate_taints(object::list_at(object, "spec.taints"), &mut errors);
        for (index, cidr) in object::list_at(object, "spec.podCIDRs").iter().filter_map(Value::as_str).enumerate() {
            if cidr.parse::<ipnet::IpNet>().is_err() {
                let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                errors.push(FieldError::invalid(format!("spec.podCIDRs[{index}]"), cidr, detail));
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        let mut errors = self.validate(new);
        for (list, name) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
            let (value, before) = (&new["spec"][list], &old["spec"][list]);
            if !before.is_null() && before != value {
                let detail = format!("node updates may not change {name} except from \"\" to valid");
                errors.push(FieldError::forbidden(format!("spec.{list}"), detail));
            }
        }
        errors
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let unschedulable = object::at(object, "spec.unschedulable") == Some(&Value::Bool(true));
        vec![("spec.unschedulable", unschedulable.to_string())]
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                table::text("Status", "Whether it is ready and takes pods."),
                table::text("Roles", "From labels node-role.kubernetes.io/<role>."),
                AGE,
                table::text("Version", "Version of its kubelet."),
                table::wide("Internal-IP", "Address inside the cluster."),
                table::wide("External-IP", "Address outside the cluster."),
                table::wide("OS-Image", "Its operating system."),
                table::wide("Kernel-Version", "Version of its kernel."),
                table::wide("Container-Runtime", "Name and version of its runtime."),
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let info = |field: &str| json!(known(object::str_at(&object["status"]["nodeInfo"], field)));
        vec![
            table::name(object),
            json!(status(object)),
            json!(roles(object)),
            table::age(object, now),
            json!(object::str_at(object, "status.nodeInfo.kubeletVersion")),
            json!(address(object, "InternalIP")),
            json!(address(object, "ExternalIP")),
            info("osImage"),
            info("kernelVersion"),
            info("containerRuntimeVersion"),
        ]
    }
}

fn known(text: &str) -> &str {
    if text.is_empty() { table::UNKNOWN } else { text }
}

fn status(node: &Value) -> String {
    let ready = object::list_at(node, "status.conditions").iter().find(|condition| condition["type"] == "Ready");
    let status = match ready.map(|condition| condition["status"] == "True") {
        Some(true) => "Ready",
        Some(false) => "NotReady",
        None => "Unknown",
    };
    let cordoned = node["spec"]["unschedulable"] == true;
    if cordoned { format!("{status},SchedulingDisabled") } else { status.to_owned() }
}

fn roles(node: &Value) -> String {
    let labels = object::metadata(node).get("labels").and_then(Value::as_object);
    let role = |(key, value): (&String, &Value)| match key.strip_prefix("node-role.kubernetes.io/") {
        Some(role) => Some(role.to_owned()),
        None if key == "kubernetes.io/role" => value.as_str().map(str::to_owned),
        None => None,
    };
    let roles: std::collections::BTreeSet<String> =
        labels.into_iter().flatten().filter_map(role).filter(|role| !role.is_empty()).collect();
    table::or_none(&roles.into_iter().collect::<Vec<_>>().join(",")).to_owned()
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let found = object::list_at(node, "status.addresses").iter().find(|address| address["type"] == kind);
    table::or_none(found.map_or("", |address| object::str_at(address, "address")))
}

fn validate_taints(taints: &[Value], errors: &mut Errors) {
    for (index, taint) in taints.iter().enumerate() {
        let path = format!("spec.taints[{index}]");
        let text = |field| object::str_at(taint, field);
        check::messages(&format!("{path}.key"), text("key"), names::qualified_name(text("key")), errors);
        let broken = names::label_value(text("value"));
        if !broken.is_empty() {
            errors.push(FieldError::invalid(format!("{path}.value"), text("value"), broken.join(";")));
        }
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        check::required_one_of(taint, &path, "effect", &effects, errors);
        let same = |other: &Value| other["key"] == taint["key"] && other["effect"] == taint["effect"];
        if taints[..index].iter().any(same) {
            let shown = format!(
                "core.Taint{{Key:{:?}, Value:{:?}, Effect:{:?}, TimeAdded:<nil>}}",
                text("key"),
                text("value"),
                text("effect")
            );
            errors.push(duplicate_shown(path, shown));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::shown_errors;
    use expect_test::expect;

    #[test]
    fn what_it_has_it_can_give() {
        let mut node = json!({"spec": {"podCIDR": "10.1.0.0/24"}, "status": {"capacity": {"cpu": "4"}}});
        Node.default(&mut node);
        assert_eq!(node["spec"]["podCIDRs"], json!(["10.1.0.0/24"]));
        assert_eq!(node["status"]["allocatable"], json!({"cpu": "4"}));
    }

    #[test]
    fn taints_and_addresses_are_checked() {
        let taint = json!({"key": "k", "effect": "NoSchedule"});
        let old = json!({"spec": {"podCIDRs": ["10.1.0.0/24"]}});
        let new =
            json!({"spec": {"taints": [taint, taint, {"key": "", "effect": "Never"}], "podCIDRs": ["10.2.0.0/24"]}});
        expect![[r#"
            spec.taints[1]: Duplicate value: core.Taint{Key:"k", Value:"", Effect:"NoSchedule", TimeAdded:<nil>}
            spec.taints[2].key: Invalid value: "": name part must be non-empty
            spec.taints[2].key: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.taints[2].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"
            spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid"#]]
        .assert_eq(&shown_errors(&Node.validate_update(&new, &old, Part::Main)));
    }
}
