//! PodDisruptionBudget: how many pods an administrator may take away at once.

use crate::registry::check::{self, Errors};
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Part, Resource, Strategy, Subresource, keep_other_part};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of PodDisruptionBudgets.
pub const RESOURCE: Resource = Resource {
    group: "policy",
    short_names: &["pdb"],
    subresources: &[Subresource::status("PodDisruptionBudget")],
    ..Resource::new(
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        "poddisruptionbudget",
        "io.k8s.api.policy.v1.PodDisruptionBudget",
        &PodDisruptionBudget,
    )
};

const COUNTS: [&str; 4] = ["currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"];

struct PodDisruptionBudget;

impl Strategy for PodDisruptionBudget {
    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] =
            json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, part: Part) {
        keep_other_part(new, old, part);
    }

    fn generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let spec = &object["spec"];
        if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
            let detail = "minAvailable and maxUnavailable cannot be both set";
            errors.push(FieldError::invalid("spec", spec.clone(), detail));
        }
        for field in ["minAvailable", "maxUnavailable"] {
            let path = format!("spec.{field}");
            check::count_or_percent(&spec[field], &path, &mut errors);
            check::not_more_than_all(&spec[field], &path, &mut errors);
        }
        check::label_selector(&spec["selector"], "spec.selector", &mut errors);
        let policies = ["AlwaysAllow", "IfHealthyBudget"];
        check::one_of(spec, "spec", "unhealthyPodEvictionPolicy", &policies, &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, _old: &Value, part: Part) -> Vec<FieldError> {
        if part == Part::Main {
            return self.validate(new);
        }
        let mut errors = Errors::new();
        COUNTS.iter().for_each(|field| check::not_negative(&new["status"], "status", field, &mut errors));
        errors
    }

    /// A budget without `resourceVersion` would undo what the eviction counts.
    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                table::text("Min Available", "Pods that must stay."),
                table::text("Max Unavailable", "Pods that may be missing."),
                table::integer("Allowed Disruptions", "Pods that may go now."),
                AGE,
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let bound = |field: &str| match &object["spec"][field] {
            Value::Null => json!("N/A"),
            Value::String(percent) => json!(percent),
            number => json!(number.to_string()),
        };
        vec![
            table::name(object),
            bound("minAvailable"),
            bound("maxUnavailable"),
            table::number(object, "status.disruptionsAllowed"),
            table::age(object, now),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::shown_errors;

    #[test]
    fn bounds_are_counts_or_percentages() {
        let budget = json!({"spec": {"minAvailable": -1, "selector": {}}});
        assert_eq!(
            shown_errors(&PodDisruptionBudget.validate(&budget)),
            "spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"
        );
    }
}
