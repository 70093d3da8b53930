//! PodTemplate: a pod's description kept for later.

use crate::object;
use crate::registry::check::Errors;
use crate::registry::core::pod;
use crate::registry::table::{self, NAME};
use crate::registry::{Column, Resource, Strategy};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of PodTemplates.
pub const RESOURCE: Resource =
    Resource::new("PodTemplate", "podtemplates", "podtemplate", "io.k8s.api.core.v1.PodTemplate", &PodTemplate);

struct PodTemplate;

impl Strategy for PodTemplate {
    fn default(&self, object: &mut Value) {
        if let Some(template) = object.get_mut("template") {
            pod::defaults::template(template);
        }
    }

    fn generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        pod::validation::template(&object["template"], "template", &mut errors);
        errors
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                table::text("Containers", "Names of its containers."),
                table::text("Images", "Images of its containers."),
                table::text("Pod Labels", "Labels that its pods get."),
            ]
        }
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let (containers, images) = table::containers(&object["template"]["spec"]);
        let labels = object::at(object, "template.metadata.labels").and_then(Value::as_object);
        vec![table::name(object), containers, images, json!(table::labels(labels))]
    }
}
