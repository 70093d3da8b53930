//! ReplicaSet: so many pods of one template.

use crate::registry::table::{self, AGE, CONTAINERS, IMAGES, NAME, SELECTOR};
use crate::registry::{Column, Resource, Strategy, Subresource};
use jiff::Timestamp;
use serde_json::Value;

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
