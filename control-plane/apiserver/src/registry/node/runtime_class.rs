//! RuntimeClass: a way to run pods that a node may offer.

use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::metadata::IMMUTABLE;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Part, Resource, Scope, Strategy, names};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::Value;

/// Discovery facts of RuntimeClasses.
pub const RESOURCE: Resource = Resource {
    group: "node.k8s.io",
    scope: Scope::Cluster,
    ..Resource::new("RuntimeClass", "runtimeclasses", "runtimeclass", "io.k8s.api.node.v1.RuntimeClass", &RuntimeClass)
};

struct RuntimeClass;

impl Strategy for RuntimeClass {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let handler = object::str_at(object, "handler");
        check::messages("handler", handler, names::dns_label(handler, false), &mut errors);
        crate::registry::metadata::labels(
            object["scheduling"]["nodeSelector"].as_object(),
            "scheduling.nodeSelector",
            &mut errors,
        );
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        let mut errors = Errors::new();
        if new["handler"] != old["handler"] {
            errors.push(FieldError::invalid("handler", new["handler"].clone(), IMMUTABLE));
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, table::text("Handler", "What the node calls it."), AGE] }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![table::name(object), object["handler"].clone(), table::age(object, now)]
    }
}
