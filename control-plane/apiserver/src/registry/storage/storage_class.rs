//! StorageClass: a kind of storage that claims can ask for by name.

use crate::object;
use crate::registry::check::Errors;
use crate::registry::defaults::set;
use crate::registry::metadata::IMMUTABLE;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Part, Resource, Scope, Strategy, names};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of StorageClasses.
pub const RESOURCE: Resource = Resource {
    group: "storage.k8s.io",
    short_names: &["sc"],
    scope: Scope::Cluster,
    ..Resource::new(
        "StorageClass",
        "storageclasses",
        "storageclass",
        "io.k8s.api.storage.v1.StorageClass",
        &StorageClass,
    )
};

const DEFAULT_ANNOTATION: &str = "storageclass.kubernetes.io/is-default-class";

struct StorageClass;

impl Strategy for StorageClass {
    fn default(&self, object: &mut Value) {
        let Some(fields) = object.as_object_mut() else { return };
        set(fields, "reclaimPolicy", "Delete");
        set(fields, "volumeBindingMode", "Immediate");
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let text = |field| object::str_at(object, field);
        if text("provisioner").is_empty() {
            errors.push(FieldError::required("provisioner", ""));
        } else {
            let messages = names::qualified_name(&text("provisioner").to_lowercase());
            errors.extend(
                messages.into_iter().map(|detail| FieldError::invalid("provisioner", text("provisioner"), detail)),
            );
        }
        for (field, supported) in
            [("reclaimPolicy", ["Delete", "Retain"]), ("volumeBindingMode", ["Immediate", "WaitForFirstConsumer"])]
        {
            if !supported.contains(&text(field)) {
                errors.push(FieldError::not_supported(field, text(field), &supported));
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        let mut errors = self.validate(new);
        if new["parameters"] != old["parameters"] {
            errors.push(FieldError::forbidden("parameters", "updates to parameters are forbidden."));
        }
        if new["provisioner"] != old["provisioner"] {
            errors.push(FieldError::forbidden("provisioner", "updates to provisioner are forbidden."));
        }
        for field in ["reclaimPolicy", "volumeBindingMode"] {
            if new[field] != old[field] {
                errors.push(FieldError::invalid(field, new[field].clone(), IMMUTABLE));
            }
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                table::text("Provisioner", "Who makes the volumes."),
                table::text("ReclaimPolicy", "What becomes of a volume that is given back."),
                table::text("VolumeBindingMode", "When a volume is made."),
                table::text("AllowVolumeExpansion", "Whether claims can grow."),
                AGE,
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let annotations = &object["metadata"]["annotations"];
        let name = object::name(object);
        let shown =
            if annotations[DEFAULT_ANNOTATION] == "true" { format!("{name} (default)") } else { name.to_owned() };
        vec![
            json!(shown),
            object["provisioner"].clone(),
            object["reclaimPolicy"].clone(),
            object["volumeBindingMode"].clone(),
            json!(object["allowVolumeExpansion"] == true),
            table::age(object, now),
        ]
    }
}
