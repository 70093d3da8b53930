//! Deployment: replicas of a pod, rolled out version by version.

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
    fn default(&self, object: &mut Value) {
        let spec = object::map_mut(object, "spec");
        set(spec, "replicas", 1);
        spec.entry("strategy").or_insert_with(|| json!({}));
        within(spec, "strategy", |strategy| {
            set(strategy, "type", "RollingUpdate");
            if strategy["type"] == "RollingUpdate" {
                strategy.entry("rollingUpdate").or_insert_with(|| json!({}));
                within(strategy, "rollingUpdate", |update| {
                    set(update, "maxUnavailable", "25%");
                    set(update, "maxSurge", "25%");
                });
            }
        });
        set(spec, "revisionHistoryLimit", 10);
        set(spec, "progressDeadlineSeconds", 600);
        if let Some(template) = spec.get_mut("template") {
            pod::defaults::template(template);
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({});
        workload::prepare_template(object);
    }

    /// A change of the annotations alone counts as a generation, too, because
    /// the controller copies them to the ReplicaSet.
    fn prepare_for_update(&self, new: &mut Value, old: &Value, part: Part) {
        keep_other_part(new, old, part);
        let annotations = |object: &Value| object::metadata(object).get("annotations").cloned();
        if part == Part::Status {
            return keep_labels(new, old);
        }
        workload::prepare_template(new);
        if new["spec"] == old["spec"] && annotations(new) != annotations(old) {
            let generation = object::metadata(old).get("generation").and_then(Value::as_i64).unwrap_or(0);
            object::metadata_mut(new).insert("generation".to_owned(), json!(generation + 1));
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
            workload::counts(&new["status"], &["updatedReplicas", "readyReplicas", "availableReplicas"], &mut errors);
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

/// The status is not the place to change labels.
fn keep_labels(new: &mut Value, old: &Value) {
    let labels = object::metadata(old).get("labels").cloned();
    let metadata = object::metadata_mut(new);
    match labels {
        Some(labels) => drop(metadata.insert("labels".to_owned(), labels)),
        None => drop(metadata.remove("labels")),
    }
}

fn validate_spec(spec: &Value, errors: &mut Errors) {
    check::not_negative(spec, "spec", "replicas", errors);
    workload::selector_and_template(spec, "deployment", errors);
    validate_strategy(&spec["strategy"], errors);
    check::not_negative(spec, "spec", "minReadySeconds", errors);
    check::not_negative(spec, "spec", "revisionHistoryLimit", errors);
    if let Some(deadline) = spec["progressDeadlineSeconds"].as_i64() {
        check::not_negative(spec, "spec", "progressDeadlineSeconds", errors);
        if deadline <= spec["minReadySeconds"].as_i64().unwrap_or(0) {
            let detail = "must be greater than minReadySeconds";
            errors.push(FieldError::invalid("spec.progressDeadlineSeconds", deadline, detail));
        }
    }
}

fn validate_strategy(strategy: &Value, errors: &mut Errors) {
    const PATH: &str = "spec.strategy.rollingUpdate";
    let update = &strategy["rollingUpdate"];
    match object::str_at(strategy, "type") {
        "Recreate" if update.is_object() => {
            errors.push(FieldError::forbidden(PATH, "may not be specified when strategy `type` is 'Recreate'"));
        }
        "Recreate" => {}
        "RollingUpdate" => validate_rolling_update(update, PATH, errors),
        other => {
            errors.push(FieldError::not_supported("spec.strategy.type", other, &["Recreate", "RollingUpdate"]));
        }
    }
}

/// How many pods may be missing and how many may be too many.
fn validate_rolling_update(update: &Value, path: &str, errors: &mut Errors) {
    let (unavailable, surge) = (&update["maxUnavailable"], &update["maxSurge"]);
    let field = format!("{path}.maxUnavailable");
    check::count_or_percent(unavailable, &field, errors);
    check::count_or_percent(surge, &format!("{path}.maxSurge"), errors);
    let is_zero = |value: &Value| *value == json!(0) || *value == json!("0%");
    if is_zero(unavailable) && is_zero(surge) {
        let detail = "may not be 0 when `maxSurge` is 0";
        errors.push(crate::registry::metadata::invalid_shown(field.as_str(), &check::shown_count(unavailable), detail));
    }
    check::not_more_than_all(unavailable, &field, errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::shown_errors;
    use expect_test::{Expect, expect};

    fn deployment(spec: Value) -> Value {
        let template =
            json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
        let mut object = json!({"metadata": {"name": "a", "generation": 1}, "spec":
            {"selector": {"matchLabels": {"app": "a"}}, "template": template}});
        object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        Deployment.default(&mut object);
        Deployment.prepare_for_create(&mut object);
        object
    }

    fn check(spec: Value, expected: Expect) {
        expected.assert_eq(&shown_errors(&Deployment.validate(&deployment(spec))));
    }

    #[test]
    fn defaults_make_it_valid() {
        let object = deployment(json!({}));
        assert_eq!(Deployment.validate(&object), []);
        assert_eq!(object["spec"]["strategy"]["rollingUpdate"], json!({"maxSurge": "25%", "maxUnavailable": "25%"}));
    }

    #[test]
    fn selector_and_template_must_fit() {
        check(
            json!({"selector": {"matchLabels": {"app": "b"}}}),
            expect![[
                r#"spec.template.metadata.labels: Invalid value: map[string]string{"app":"a"}: `selector` does not match template `labels`"#
            ]],
        );
        check(
            json!({"selector": {}}),
            expect![[
                r#"spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string(nil), MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: empty selector is invalid for deployment"#
            ]],
        );
    }

    #[test]
    fn strategies_are_checked() {
        check(
            json!({"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}),
            expect![[
                r#"spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"#
            ]],
        );
        check(
            json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}}),
            expect![[
                r#"spec.strategy.rollingUpdate.maxUnavailable: Invalid value: intstr.IntOrString{Type:1, IntVal:0, StrVal:"0%"}: may not be 0 when `maxSurge` is 0"#
            ]],
        );
    }

    #[test]
    fn selectors_stay_and_annotations_count() {
        let old = deployment(json!({}));
        let mut new = old.clone();
        new["metadata"]["annotations"] = json!({"a": "b"});
        Deployment.prepare_for_update(&mut new, &old, Part::Main);
        assert_eq!(new["metadata"]["generation"], 2);
        new["spec"]["selector"]["matchLabels"] = json!({"app": "b"});
        let errors = shown_errors(&Deployment.validate_update(&new, &old, Part::Main));
        assert!(
            errors.ends_with("MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable"),
            "{errors}"
        );
    }
}
