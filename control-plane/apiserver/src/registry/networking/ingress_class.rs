//! IngressClass: which controller serves an Ingress.

use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::defaults::{set, within};
use crate::registry::metadata::IMMUTABLE;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Part, Resource, Scope, Strategy};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of IngressClasses.
pub const RESOURCE: Resource = Resource {
    group: "networking.k8s.io",
    scope: Scope::Cluster,
    ..Resource::new(
        "IngressClass",
        "ingressclasses",
        "ingressclass",
        "io.k8s.api.networking.v1.IngressClass",
        &IngressClass,
    )
};

struct IngressClass;

impl Strategy for IngressClass {
    fn default(&self, object: &mut Value) {
        let spec = object::map_mut(object, "spec");
        within(spec, "parameters", |parameters| set(parameters, "scope", "Cluster"));
    }

    fn generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        check::required(&object["spec"], "spec", "controller", &mut errors);
        let parameters = &object["spec"]["parameters"];
        if parameters.is_object() {
            check::required(parameters, "spec.parameters", "kind", &mut errors);
            check::required(parameters, "spec.parameters", "name", &mut errors);
            check::required_one_of(parameters, "spec.parameters", "scope", &["Cluster", "Namespace"], &mut errors);
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        let mut errors = self.validate(new);
        if new["spec"]["controller"] != old["spec"]["controller"] {
            errors.push(FieldError::invalid("spec.controller", new["spec"]["controller"].clone(), IMMUTABLE));
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                table::text("Controller", "Who serves it."),
                table::text("Parameters", "An object that says more."),
                AGE,
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &object["spec"];
        let text = |field| object::str_at(&spec["parameters"], field);
        let parameters = match (text("kind"), text("apiGroup")) {
            ("", _) => table::NONE.to_owned(),
            (kind, "") => format!("{kind}/{}", text("name")),
            (kind, group) => format!("{kind}.{group}/{}", text("name")),
        };
        vec![table::name(object), spec["controller"].clone(), json!(parameters), table::age(object, now)]
    }
}
