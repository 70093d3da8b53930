//! Binding: which node a pod runs on. It is told and not kept; `pods/binding` is
//! the newer way to tell it.

use crate::registry::{Column, Resource, Strategy, table};
use jiff::Timestamp;
use serde_json::Value;

/// Discovery facts of Bindings.
pub const RESOURCE: Resource = Resource {
    verbs: &["create"],
    ..Resource::new("Binding", "bindings", "binding", "io.k8s.api.core.v1.Binding", &Binding)
};

struct Binding;

impl Strategy for Binding {
    fn columns(&self) -> &'static [Column] {
        const { &[table::NAME] }
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        vec![table::name(object)]
    }
}
