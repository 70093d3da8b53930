//! ResourceQuota: how much a namespace may have. What it says is done by
//! [`crate::quota`].

use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::core::pod::resources;
use crate::registry::metadata::IMMUTABLE;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Part, Resource, Strategy, Subresource, keep_other_part, names};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Discovery facts of ResourceQuotas.
pub const RESOURCE: Resource = Resource {
    short_names: &["quota"],
    subresources: &[Subresource::status("ResourceQuota")],
    ..Resource::new(
        "ResourceQuota",
        "resourcequotas",
        "resourcequota",
        "io.k8s.api.core.v1.ResourceQuota",
        &ResourceQuota,
    )
};

/// Names without a slash that a quota may be for.
const STANDARD: [&str; 20] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
    "storage",
];

/// Amounts of these come in pieces.
const WHOLE: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];

const SCOPES: [&str; 7] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

struct ResourceQuota;

impl Strategy for ResourceQuota {
    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, part: Part) {
        keep_other_part(new, old, part);
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        amounts(&object["spec"]["hard"], "spec.hard", &mut errors);
        scopes(&object["spec"], &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        let mut errors = Errors::new();
        if part == Part::Status {
            amounts(&new["status"]["hard"], "status.hard", &mut errors);
            amounts(&new["status"]["used"], "status.used", &mut errors);
            return errors;
        }
        errors.extend(self.validate(new));
        if new["spec"]["scopes"] != old["spec"]["scopes"] {
            errors.push(FieldError::invalid("spec.scopes", new["spec"]["scopes"].clone(), IMMUTABLE));
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                AGE,
                table::text("Request", "What is used of what may be requested."),
                table::text("Limit", "What is used of what limits may add up to."),
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (hard, used) = (object["status"]["hard"].as_object(), &object["status"]["used"]);
        let cells = |of_limits: bool| {
            let names = hard.into_iter().flatten().filter(|(name, _)| name.starts_with("limits") == of_limits);
            let cell = |(name, hard): (&String, &Value)| {
                let used = used[name.as_str()].as_str().unwrap_or("0");
                format!("{name}: {used}/{}", hard.as_str().unwrap_or_default())
            };
            json!(names.map(cell).collect::<Vec<_>>().join(", "))
        };
        vec![table::name(object), table::age(object, now), cells(false), cells(true)]
    }
}

fn amounts(map: &Value, path: &str, errors: &mut Errors) {
    let empty = Map::new();
    for (name, amount) in map.as_object().unwrap_or(&empty) {
        let field = format!("{path}[{name}]");
        let broken = names::qualified_name(name);
        if !broken.is_empty() {
            check::messages(&field, name, broken, errors);
        } else if !name.contains('/') && !STANDARD.contains(&name.as_str()) && !name.contains("hugepages-") {
            errors.push(FieldError::invalid(&field, name.as_str(), "must be a standard resource for quota"));
        }
        let Some(parsed) = resources::parse(amount) else { continue };
        if parsed.nanos() < 0 {
            errors.push(FieldError::invalid(&field, amount.clone(), check::NOT_NEGATIVE));
        }
        let whole = WHOLE.contains(&name.as_str()) || name.starts_with("count/");
        if whole && parsed.nanos() % 1_000_000_000 != 0 {
            errors.push(FieldError::invalid(&field, amount.clone(), "must be an integer"));
        }
    }
}

fn scopes(spec: &Value, errors: &mut Errors) {
    let known = |scope: &Value| scope.as_str().is_some_and(|scope| SCOPES.contains(&scope));
    if !object::list_at(spec, "scopes").iter().all(known) {
        errors.push(FieldError::invalid("spec.scopes", spec["scopes"].clone(), "unsupported scope"));
    }
    for (index, expression) in object::list_at(spec, "scopeSelector.matchExpressions").iter().enumerate() {
        let path = format!("spec.scopeSelector.matchExpressions[{index}]");
        let (name, operator) = (object::str_at(expression, "scopeName"), object::str_at(expression, "operator"));
        if !SCOPES.contains(&name) {
            errors.push(FieldError::invalid(format!("{path}.scopeName"), name, "unsupported scope"));
        }
        let values = object::list_at(expression, "values");
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.push(FieldError::required(format!("{path}.values"), detail));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector";
                errors.push(FieldError::invalid(format!("{path}.values"), expression["values"].clone(), detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                errors.push(FieldError::invalid(format!("{path}.operator"), other, "not a valid selector operator"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::shown_errors;
    use expect_test::expect;

    #[test]
    fn amounts_have_known_names_and_are_whole_where_they_count() {
        let quota = json!({"spec": {
            "hard": {"pods": "1500m", "requests.cpu": "-1", "cows": "1", "count/widgets.acme.com": "2", "acme.com/x": "1"},
            "scopes": ["Sometimes"],
            "scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]},
        }});
        expect![[r#"
            spec.hard[cows]: Invalid value: "cows": must be a standard resource for quota
            spec.hard[pods]: Invalid value: "1500m": must be an integer
            spec.hard[requests.cpu]: Invalid value: "-1": must be greater than or equal to 0
            spec.scopes: Invalid value: ["Sometimes"]: unsupported scope
            spec.scopeSelector.matchExpressions[0].values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"#]]
        .assert_eq(&shown_errors(&ResourceQuota.validate(&quota)));
    }
}
