//! DaemonSet: one pod of a template on every node.

use super::workload;
use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::core::pod;
use crate::registry::defaults::{set, within};
use crate::registry::table::{self, AGE, CONTAINERS, IMAGES, NAME, SELECTOR};
use crate::registry::{Column, Part, Resource, Strategy, Subresource, keep_other_part};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of DaemonSets.
pub const RESOURCE: Resource = Resource {
    group: "apps",
    short_names: &["ds"],
    categories: &["all"],
    subresources: &[Subresource::status("DaemonSet")],
    ..Resource::new("DaemonSet", "daemonsets", "daemonset", "io.k8s.api.apps.v1.DaemonSet", &DaemonSet)
};

/// Counts versions of the template, for clients of a version long gone.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

const COUNTS: [&str; 5] =
    ["currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "observedGeneration"];

struct DaemonSet;

impl Strategy for DaemonSet {
    fn default(&self, object: &mut Value) {
        let spec = object::map_mut(object, "spec");
        spec.entry("updateStrategy").or_insert_with(|| json!({}));
        within(spec, "updateStrategy", |strategy| {
            set(strategy, "type", "RollingUpdate");
            if strategy["type"] == "RollingUpdate" {
                strategy.entry("rollingUpdate").or_insert_with(|| json!({}));
                within(strategy, "rollingUpdate", |update| {
                    set(update, "maxUnavailable", 1);
                    set(update, "maxSurge", 0);
                });
            }
        });
        set(spec, "revisionHistoryLimit", 10);
        if let Some(template) = spec.get_mut("template") {
            pod::defaults::template(template);
        }
        // Who writes the object owns the annotation, whether it says so or not.
        if object["metadata"]["annotations"][TEMPLATE_GENERATION].is_null() {
            set_template_generation(object, 0);
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0,
            "numberReady": 0});
        workload::prepare_template(object);
        set_template_generation(object, 1);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, part: Part) {
        keep_other_part(new, old, part);
        if part != Part::Main {
            return;
        }
        workload::prepare_template(new);
        let changed = new["spec"]["template"] != old["spec"]["template"];
        let generation =
            old["metadata"]["annotations"][TEMPLATE_GENERATION].as_str().and_then(|text| text.parse().ok());
        set_template_generation(new, generation.unwrap_or(1) + i64::from(changed));
    }

    fn generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let spec = &object["spec"];
        workload::selector_and_template(spec, "daemonset", &mut errors);
        check::not_negative(spec, "spec", "minReadySeconds", &mut errors);
        validate_strategy(&spec["updateStrategy"], &mut errors);
        check::not_negative(spec, "spec", "revisionHistoryLimit", &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        let mut errors = Errors::new();
        if part == Part::Status {
            COUNTS.iter().for_each(|field| check::not_negative(&new["status"], "status", field, &mut errors));
        } else {
            errors = self.validate(new);
            workload::same_selector(new, old, &mut errors);
        }
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        pod::warnings_of_template(object)
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                table::integer("Desired", "Nodes that should run the pod."),
                table::integer("Current", "Nodes that have the pod."),
                table::integer("Ready", "Nodes on which it is ready."),
                table::integer("Up-to-date", "Nodes with the newest template."),
                table::integer("Available", "Nodes on which it has been ready long enough."),
                table::text("Node Selector", "Labels of the nodes that are meant."),
                AGE,
                CONTAINERS,
                IMAGES,
                SELECTOR,
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let pod = &object["spec"]["template"]["spec"];
        let (containers, images) = table::containers(pod);
        vec![
            table::name(object),
            table::number(object, "status.desiredNumberScheduled"),
            table::number(object, "status.currentNumberScheduled"),
            table::number(object, "status.numberReady"),
            table::number(object, "status.updatedNumberScheduled"),
            table::number(object, "status.numberAvailable"),
            json!(table::labels(pod["nodeSelector"].as_object())),
            table::age(object, now),
            containers,
            images,
            table::selector(&object["spec"]["selector"]),
        ]
    }
}

fn set_template_generation(object: &mut Value, generation: i64) {
    let annotations = object::metadata_mut(object).entry("annotations").or_insert_with(|| json!({}));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(TEMPLATE_GENERATION.to_owned(), json!(generation.to_string()));
    }
}

fn validate_strategy(strategy: &Value, errors: &mut Errors) {
    const PATH: &str = "spec.updateStrategy";
    match object::str_at(strategy, "type") {
        "OnDelete" => {}
        "RollingUpdate" => {
            for field in ["maxUnavailable", "maxSurge"] {
                let field_path = format!("{PATH}.rollingUpdate.{field}");
                check::count_or_percent(&strategy["rollingUpdate"][field], &field_path, errors);
                check::not_more_than_all(&strategy["rollingUpdate"][field], &field_path, errors);
            }
        }
        other => errors.push(FieldError::not_supported(format!("{PATH}.type"), other, &["RollingUpdate", "OnDelete"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_counted() {
        let template =
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
        let mut old =
            json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
        DaemonSet.default(&mut old);
        DaemonSet.prepare_for_create(&mut old);
        assert_eq!(DaemonSet.validate(&old), []);
        let mut new = old.clone();
        new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("i:2");
        DaemonSet.prepare_for_update(&mut new, &old, Part::Main);
        assert_eq!(new["metadata"]["annotations"][TEMPLATE_GENERATION], "2");
    }
}
