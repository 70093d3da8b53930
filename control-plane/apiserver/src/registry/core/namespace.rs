//! Namespace: a scope for names.

use crate::object;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Part, Resource, Scope, Strategy, Subresource, keep_other_part, names};
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

/// What keeps a namespace until its contents are gone.
const FINALIZER: &str = "kubernetes";
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

impl Strategy for Namespace {
    fn default(&self, object: &mut Value) {
        let name = object::name(object).to_owned();
        if name.is_empty() {
            return;
        }
        let labels = object::metadata_mut(object).entry("labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert(NAME_LABEL.to_owned(), json!(name));
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        self.default(object); // once more, for a generated name
        object["status"] = json!({"phase": "Active"});
        let finalizers = object::list_mut(object::map_mut(object, "spec"), "finalizers");
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            finalizers.push(json!(FINALIZER));
        }
    }

    /// Finalizers change only through `/finalize`.
    fn prepare_for_update(&self, new: &mut Value, old: &Value, part: Part) {
        keep_other_part(new, old, part);
        if let (Part::Main, Some(spec)) = (part, old.get("spec")) {
            new["spec"] = spec.clone();
        }
    }

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
