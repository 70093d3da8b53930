//! ReplicaSet: so many pods of one template.

use super::workload;
use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::core::pod;
use crate::registry::defaults::set;
use crate::registry::table::{self, AGE, CONTAINERS, IMAGES, NAME, SELECTOR};
use crate::registry::{Column, Part, Resource, Strategy, Subresource, keep_other_part};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of ReplicaSets.
pub const RESOURCE: Resource = Resource {
    group: "apps",
    short_names: &["rs"],
    categories: &["all"],
    subresources: &[Subresource::scale(), Subresource::status("ReplicaSet")],
    ..Resource::new("ReplicaSet", "replicasets", "replicaset", "io.k8s.api.apps.v1.ReplicaSet", &ReplicaSet)
};

struct ReplicaSet;

impl Strategy for ReplicaSet {
    fn default(&self, object: &mut Value) {
        let spec = object::map_mut(object, "spec");
        set(spec, "replicas", 1);
        if let Some(template) = spec.get_mut("template") {
            pod::defaults::template(template);
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({"replicas": 0});
        workload::prepare_template(object);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, part: Part) {
        keep_other_part(new, old, part);
        if part == Part::Main {
            workload::prepare_template(new);
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        validate_spec(&object["spec"], &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        let mut errors = Errors::new();
        if part == Part::Status {
            let parts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
            workload::counts(&new["status"], &parts, &mut errors);
        } else {
            validate_spec(&new["spec"], &mut errors);
            workload::same_selector(new, old, &mut errors);
        }
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        pod::warnings_of_template(object)
    }

    fn generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                table::integer("Desired", "Pods wanted."),
                table::integer("Current", "Pods there are."),
                table::integer("Ready", "Pods that are ready."),
                AGE,
                CONTAINERS,
                IMAGES,
                SELECTOR,
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (containers, images) = table::containers(&object["spec"]["template"]["spec"]);
        vec![
            table::name(object),
            table::number(object, "spec.replicas"),
            table::number(object, "status.replicas"),
            table::number(object, "status.readyReplicas"),
            table::age(object, now),
            containers,
            images,
            table::selector(&object["spec"]["selector"]),
        ]
    }
}

fn validate_spec(spec: &Value, errors: &mut Errors) {
    check::not_negative(spec, "spec", "replicas", errors);
    check::not_negative(spec, "spec", "minReadySeconds", errors);
    workload::selector_and_template(spec, "deployment", errors);
}
