//! PriorityClass: a name for how important a pod is.

use crate::object;
use crate::registry::check::Errors;
use crate::registry::defaults::set;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Part, Resource, Scope, Strategy};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of PriorityClasses.
pub const RESOURCE: Resource = Resource {
    group: "scheduling.k8s.io",
    short_names: &["pc"],
    scope: Scope::Cluster,
    ..Resource::new(
        "PriorityClass",
        "priorityclasses",
        "priorityclass",
        "io.k8s.api.scheduling.v1.PriorityClass",
        &PriorityClass,
    )
};

/// What is greater belongs to the system.
const VALUE_MAX: i64 = 1_000_000_000;
const SYSTEM: [&str; 2] = ["system-node-critical", "system-cluster-critical"];

struct PriorityClass;

impl Strategy for PriorityClass {
    fn default(&self, object: &mut Value) {
        if let Some(fields) = object.as_object_mut() {
            set(fields, "preemptionPolicy", "PreemptLowerPriority");
        }
    }

    fn generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let (name, value) = (object::name(object), object["value"].as_i64().unwrap_or(0));
        if SYSTEM.contains(&name) {
            return errors;
        }
        if name.starts_with("system-") {
            let detail = "priority class names with 'system-' prefix are reserved for system use only. error: \
                          is not a known system priority class";
            errors.push(FieldError::forbidden("metadata.name", detail));
        }
        if value > VALUE_MAX {
            let detail = format!("maximum allowed value of a user defined priority is {VALUE_MAX}");
            errors.push(FieldError::forbidden("value", detail));
        }
        let policy = object::str_at(object, "preemptionPolicy");
        let supported = ["Never", "PreemptLowerPriority"];
        if !policy.is_empty() && !supported.contains(&policy) {
            errors.push(FieldError::not_supported("preemptionPolicy", policy, &supported));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        let mut errors = Errors::new();
        if new["value"] != old["value"] {
            errors.push(FieldError::forbidden("value", "may not be changed in an update."));
        }
        if new["preemptionPolicy"] != old["preemptionPolicy"] {
            let value = new["preemptionPolicy"].clone();
            errors.push(FieldError::invalid("preemptionPolicy", value, crate::registry::metadata::IMMUTABLE));
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                table::integer("Value", "Greater goes first."),
                table::boolean("Global-Default", "Whether pods without a class have this one."),
                AGE,
                table::text("PreemptionPolicy", "Whether lesser pods make room."),
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            table::name(object),
            table::number(object, "value"),
            json!(object["globalDefault"] == true),
            table::age(object, now),
            object["preemptionPolicy"].clone(),
        ]
    }
}
