//! Deployment: replicas of a pod, rolled out version by version.

use crate::registry::table::{self, AGE, CONTAINERS, IMAGES, NAME, SELECTOR};
use crate::registry::{Column, Resource, Strategy, Subresource};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of Deployments.
pub const RESOURCE: Resource = Resource {
    group: "apps",
    short_names: &["deploy"],
    categories: &["all"],
    subresources: &[Subresource::scale(), Subresource::status("Deployment")],
    ..Resource::new("Deployment", "deployments", "deployment", "io.k8s.api.apps.v1.Deployment", &Deployment)
};

struct Deployment;

impl Strategy for Deployment {
    fn generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                table::text("Ready", "Ready pods of those wanted."),
                table::text("Up-to-date", "Pods of the newest template."),
                table::text("Available", "Pods that have been ready long enough."),
                AGE,
                CONTAINERS,
                IMAGES,
                SELECTOR,
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let ready = table::number(object, "status.readyReplicas");
        let (containers, images) = table::containers(&object["spec"]["template"]["spec"]);
        vec![
            table::name(object),
            json!(format!("{ready}/{}", table::number(object, "spec.replicas"))),
            table::number(object, "status.updatedReplicas"),
            table::number(object, "status.availableReplicas"),
            table::age(object, now),
            containers,
            images,
            table::selector(&object["spec"]["selector"]),
        ]
    }
}
