//! ControllerRevision: a controller's old template, to go back to.

use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::metadata::IMMUTABLE;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Part, Resource, Strategy};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of ControllerRevisions.
pub const RESOURCE: Resource = Resource {
    group: "apps",
    ..Resource::new(
        "ControllerRevision",
        "controllerrevisions",
        "controllerrevision",
        "io.k8s.api.apps.v1.ControllerRevision",
        &ControllerRevision,
    )
};

struct ControllerRevision;

impl Strategy for ControllerRevision {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        if object["data"].is_null() {
            errors.push(FieldError::required("data", "data is mandatory"));
        }
        if let Some(revision) = object["revision"].as_i64().filter(|revision| *revision < 0) {
            errors.push(FieldError::invalid("revision", revision, check::NOT_NEGATIVE));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        let mut errors = self.validate(new);
        if new["data"] != old["data"] {
            errors.push(FieldError::invalid("data", new["data"].clone(), IMMUTABLE));
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                table::text("Controller", "Whose revision it is."),
                table::text("Revision", "Greater is newer."),
                AGE,
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![table::name(object), json!(controller(object)), table::number(object, "revision"), table::age(object, now)]
    }
}

/// `statefulset.apps/web`, or `<none>`.
fn controller(object: &Value) -> String {
    let owners = object::list_at(object, "metadata.ownerReferences");
    let Some(owner) = owners.iter().find(|owner| owner["controller"] == true) else { return table::NONE.to_owned() };
    let kind = object::str_at(owner, "kind").to_lowercase();
    let name = object::str_at(owner, "name");
    match object::str_at(owner, "apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}
