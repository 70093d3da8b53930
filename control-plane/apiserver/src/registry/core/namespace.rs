//! Namespace: a scope for names.

use crate::object;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Resource, Scope, Strategy, Subresource, names};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of Namespaces.
pub const RESOURCE: Resource = Resource {
    short_names: &["ns"],
    scope: Scope::Cluster,
    verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
    subresources: &[Subresource::new("finalize", "Namespace", &["update"]), Subresource::status("Namespace")],
    ..Resource::new("Namespace", "namespaces", "namespace", "io.k8s.api.core.v1.Namespace", &Namespace)
};

struct Namespace;

impl Strategy for Namespace {
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        names::dns_label(name, prefix)
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("status.phase", object::str_at(object, "status.phase").to_owned())]
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["status.phase"]
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, table::text("Status", "Whether it is active or going away."), AGE] }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![table::name(object), json!(object::str_at(object, "status.phase")), table::age(object, now)]
    }
}
