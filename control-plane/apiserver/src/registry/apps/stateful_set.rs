//! StatefulSet: numbered pods, each with its own name and storage.

use super::workload;
use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::core::pod;
use crate::registry::defaults::{each, set, within};
use crate::registry::table::{self, AGE, CONTAINERS, IMAGES, NAME};
use crate::registry::{Column, Part, Resource, Strategy, Subresource, keep_other_part};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of StatefulSets.
pub const RESOURCE: Resource = Resource {
    group: "apps",
    short_names: &["sts"],
    categories: &["all"],
    subresources: &[Subresource::scale(), Subresource::status("StatefulSet")],
    ..Resource::new("StatefulSet", "statefulsets", "statefulset", "io.k8s.api.apps.v1.StatefulSet", &StatefulSet)
};

/// Parts of the spec that may change.
const MUTABLE: [&str; 6] =
    ["replicas", "ordinals", "template", "updateStrategy", "persistentVolumeClaimRetentionPolicy", "minReadySeconds"];

struct StatefulSet;

impl Strategy for StatefulSet {
    fn default(&self, object: &mut Value) {
        let spec = object::map_mut(object, "spec");
        set(spec, "podManagementPolicy", "OrderedReady");
        spec.entry("updateStrategy").or_insert_with(|| json!({}));
        within(spec, "updateStrategy", |strategy| {
            // Who names the type but no details gets none.
            if strategy.get("type").and_then(Value::as_str).unwrap_or_default().is_empty() {
                set(strategy, "type", "RollingUpdate");
                strategy.entry("rollingUpdate").or_insert_with(|| json!({}));
            }
            within(strategy, "rollingUpdate", |update| set(update, "partition", 0));
        });
        spec.entry("persistentVolumeClaimRetentionPolicy").or_insert_with(|| json!({}));
        within(spec, "persistentVolumeClaimRetentionPolicy", |policy| {
            set(policy, "whenDeleted", "Retain");
            set(policy, "whenScaled", "Retain");
        });
        set(spec, "replicas", 1);
        set(spec, "revisionHistoryLimit", 10);
        if let Some(template) = spec.get_mut("template") {
            pod::defaults::template(template);
        }
        each(spec, "volumeClaimTemplates", |claim| {
            set(claim, "apiVersion", "v1");
            set(claim, "kind", "PersistentVolumeClaim");
            within(claim, "spec", |spec| set(spec, "volumeMode", "Filesystem"));
            claim.entry("status").or_insert_with(|| json!({}));
            within(claim, "status", |status| set(status, "phase", "Pending"));
        });
    }

    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({"replicas": 0, "availableReplicas": 0});
        workload::prepare_template(object);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, part: Part) {
        keep_other_part(new, old, part);
        if part == Part::Main {
            workload::prepare_template(new);
        }
    }

    fn generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let spec = &object["spec"];
        check::required_one_of(spec, "spec", "podManagementPolicy", &["OrderedReady", "Parallel"], &mut errors);
        let strategy = &spec["updateStrategy"];
        check::required_one_of(strategy, "spec.updateStrategy", "type", &["RollingUpdate", "OnDelete"], &mut errors);
        let rolling = &strategy["rollingUpdate"];
        check::not_negative(rolling, "spec.updateStrategy.rollingUpdate", "partition", &mut errors);
        let retention = &spec["persistentVolumeClaimRetentionPolicy"];
        for field in ["whenDeleted", "whenScaled"] {
            let path = "spec.persistentVolumeClaimRetentionPolicy";
            check::one_of(retention, path, field, &["Retain", "Delete"], &mut errors);
        }
        check::not_negative(spec, "spec", "replicas", &mut errors);
        check::not_negative(spec, "spec", "minReadySeconds", &mut errors);
        check::not_negative(&spec["ordinals"], "spec.ordinals", "start", &mut errors);
        workload::selector_and_template(&with_claims_as_volumes(spec), "statefulset", &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        let mut errors = Errors::new();
        if part == Part::Status {
            let parts = ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
            workload::counts(&new["status"], &parts, &mut errors);
            return errors;
        }
        errors = self.validate(new);
        if fixed_part(new) != fixed_part(old) {
            let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                          'updateStrategy', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
            errors.push(FieldError::forbidden("spec", detail));
        }
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        pod::warnings_of_template(object)
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, table::text("Ready", "Ready pods of those wanted."), AGE, CONTAINERS, IMAGES] }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let ready = table::number(object, "status.readyReplicas");
        let (containers, images) = table::containers(&object["spec"]["template"]["spec"]);
        let of_wanted = format!("{ready}/{}", table::number(object, "spec.replicas"));
        vec![table::name(object), json!(of_wanted), table::age(object, now), containers, images]
    }
}

/// The template's containers mount claims that only each pod will have as volumes.
fn with_claims_as_volumes(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let claims = object::list_at(&spec, "volumeClaimTemplates").iter().map(|claim| {
        let name = object::name(claim);
        json!({"name": name, "persistentVolumeClaim": {"claimName": name}})
    });
    let claims: Vec<Value> = claims.collect();
    if let Some(pod) = spec.pointer_mut("/template/spec").and_then(Value::as_object_mut).filter(|_| !claims.is_empty())
    {
        let taken = |volume: &Value| claims.iter().any(|claim| claim["name"] == volume["name"]);
        let volumes = object::list_mut(pod, "volumes");
        // A claim replaces a volume of the same name.
        volumes.retain(|volume| !taken(volume));
        volumes.extend(claims);
    }
    spec
}

/// The spec without what may change.
fn fixed_part(object: &Value) -> Value {
    let mut spec = object["spec"].clone();
    if let Some(spec) = spec.as_object_mut() {
        spec.retain(|field, _| !MUTABLE.contains(&field.as_str()));
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::shown_errors;

    #[test]
    fn claims_can_be_mounted_and_names_stay() {
        let container = json!({"name": "c", "image": "i:1", "volumeMounts": [{"name": "data", "mountPath": "/d"}]});
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}});
        let mut old = json!({"metadata": {"name": "s"}, "spec": {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}},
            "template": template, "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}]}});
        StatefulSet.default(&mut old);
        assert_eq!(StatefulSet.validate(&old), []);
        let mut new = old.clone();
        new["spec"]["serviceName"] = json!("other");
        let errors = shown_errors(&StatefulSet.validate_update(&new, &old, Part::Main));
        assert!(errors.starts_with("spec: Forbidden: updates to statefulset spec"), "{errors}");
    }
}
