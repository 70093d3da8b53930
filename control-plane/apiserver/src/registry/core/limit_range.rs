//! LimitRange: what containers, pods and claims of a namespace get and may ask
//! for. What it says is done by [`crate::admission`] (`LimitRanger`).

use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::core::pod::resources;
use crate::registry::table::{self, NAME};
use crate::registry::{Column, Resource, Strategy, names};
use crate::schema::{FieldError, Quantity};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Discovery facts of LimitRanges.
pub const RESOURCE: Resource = Resource {
    short_names: &["limits"],
    ..Resource::new("LimitRange", "limitranges", "limitrange", "io.k8s.api.core.v1.LimitRange", &LimitRange)
};

const CREATED: Column =
    Column { name: "Created At", kind: "date", format: "", description: "When the object was created.", priority: 0 };

struct LimitRange;

impl Strategy for LimitRange {
    fn default(&self, object: &mut Value) {
        let spec = object::map_mut(object, "spec");
        let limits = spec.get_mut("limits").and_then(Value::as_array_mut).into_iter().flatten();
        limits.filter(|limit| limit["type"] == "Container").filter_map(Value::as_object_mut).for_each(complete);
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let mut types = BTreeSet::new();
        for (index, limit) in object::list_at(object, "spec.limits").iter().enumerate() {
            let path = format!("spec.limits[{index}]");
            let kind = object::str_at(limit, "type");
            limit_type(kind, &path, &mut errors);
            if !types.insert(kind) {
                errors.push(FieldError::duplicate(format!("{path}.type"), kind));
            }
            one_limit(limit, kind, &path, &mut errors);
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, CREATED] }
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        vec![table::name(object), json!(object::metadata_str(object, "creationTimestamp"))]
    }
}

/// A maximum is the default limit, a limit the default request, else a minimum is.
fn complete(limit: &mut Map<String, Value>) {
    for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
        let amounts = limit.get(from).and_then(Value::as_object).cloned().unwrap_or_default();
        if amounts.is_empty() {
            continue;
        }
        let Some(known) = limit.entry(to).or_insert_with(|| json!({})).as_object_mut() else { continue };
        for (name, amount) in amounts {
            known.entry(name).or_insert(amount);
        }
    }
}

fn limit_type(kind: &str, path: &str, errors: &mut Errors) {
    let field = format!("{path}.type");
    let broken = names::qualified_name(kind);
    if !broken.is_empty() {
        check::messages(&field, kind, broken, errors);
    } else if !kind.contains('/') && !["Pod", "Container", "PersistentVolumeClaim"].contains(&kind) {
        errors.push(FieldError::invalid(field, kind, "must be a standard limit type or fully qualified"));
    }
}

fn one_limit(limit: &Value, kind: &str, path: &str, errors: &mut Errors) {
    let forbidden = |field: &&str| kind == "Pod" && ["default", "defaultRequest"].contains(field);
    let all = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];
    let given: Vec<&str> =
        all.into_iter().filter(|field| limit[field].as_object().is_some_and(|map| !map.is_empty())).collect();
    for field in given.iter().filter(|field| forbidden(field)) {
        errors.push(FieldError::forbidden(format!("{path}.{field}"), "may not be specified when `type` is 'Pod'"));
    }
    let mut resources = BTreeSet::new();
    for field in given.iter().filter(|field| !forbidden(field)) {
        for name in limit[field].as_object().into_iter().flat_map(Map::keys) {
            let path = format!("{path}.{field}[{name}]");
            check::messages(&path, name, names::qualified_name(name), errors);
            resources.insert(name.as_str());
        }
    }
    if kind == "PersistentVolumeClaim" && limit["min"]["storage"].is_null() && limit["max"]["storage"].is_null() {
        let detail = "either minimum or maximum storage value is required, but neither was provided";
        errors.push(FieldError::required(format!("{path}.limits"), detail));
    }
    resources.into_iter().for_each(|name| in_order(limit, name, path, errors));
}

/// The smaller field, the greater one, which of the two is at fault, and which
/// amount is shown.
const ORDER: [(&str, &str, &str, &str); 6] = [
    ("min", "max", "min", "min"),
    ("min", "defaultRequest", "defaultRequest", "defaultRequest"),
    ("defaultRequest", "max", "defaultRequest", "defaultRequest"),
    ("defaultRequest", "default", "defaultRequest", "defaultRequest"),
    ("min", "default", "default", "min"),
    ("default", "max", "default", "max"),
];

/// How messages call an amount; a default limit is called so only beside a request.
fn spoken(field: &str, beside: &str) -> &'static str {
    match (field, beside) {
        ("min", _) => "min value",
        ("max", _) => "max value",
        ("defaultRequest", _) => "default request value",
        (_, "defaultRequest") => "default limit value",
        _ => "default value",
    }
}

fn in_order(limit: &Value, name: &str, path: &str, errors: &mut Errors) {
    let amount = |field: &str| resources::parse(&limit[field][name]);
    for (small, great, at_fault, shown) in ORDER {
        if let (Some(small_amount), Some(great_amount)) = (amount(small), amount(great))
            && small_amount > great_amount
        {
            let (left, right) = (spoken(small, great), spoken(great, small));
            let detail = format!("{left} {small_amount} is greater than {right} {great_amount}");
            errors.push(FieldError::invalid(format!("{path}.{at_fault}[{name}]"), limit[shown][name].clone(), detail));
        }
    }
    if let Some(ratio) = amount("maxLimitRequestRatio") {
        ratio_fits(ratio, amount("min"), amount("max"), &format!("{path}.maxLimitRequestRatio[{name}]"), errors);
    }
}

fn ratio_fits(ratio: Quantity, min: Option<Quantity>, max: Option<Quantity>, field: &str, errors: &mut Errors) {
    if ratio.millis() < 1000 {
        let detail = format!("ratio {ratio} is less than 1");
        errors.push(FieldError::invalid(field, ratio.to_string(), detail));
    }
    let (Some(min), Some(max)) = (min, max) else { return };
    let most = max.nanos() as f64 / min.nanos() as f64;
    if ratio.nanos() as f64 / 1e9 > most {
        let detail = format!("ratio {ratio} is greater than max/min = {most:.6}");
        errors.push(FieldError::invalid(field, ratio.to_string(), detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::shown_errors;
    use expect_test::expect;

    #[test]
    fn defaults_follow_from_one_another() {
        let limit = json!({"type": "Container", "default": {"memory": "64Mi"}, "defaultRequest": {"cpu": "100m"},
                           "max": {"cpu": "1"}, "min": {"storage": "1"}});
        let mut range = json!({"spec": {"limits": [limit, {"type": "Pod", "max": {"cpu": "1"}}]}});
        LimitRange.default(&mut range);
        let limits = &range["spec"]["limits"];
        assert_eq!(limits[0]["default"], json!({"memory": "64Mi", "cpu": "1"}));
        assert_eq!(limits[0]["defaultRequest"], json!({"cpu": "100m", "memory": "64Mi", "storage": "1"}));
        assert_eq!(limits[1], json!({"type": "Pod", "max": {"cpu": "1"}}));
    }

    #[test]
    fn bounds_that_contradict_each_other_are_named() {
        let range = json!({"spec": {"limits": [
            {"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}, "default": {"cpu": "500m"},
             "maxLimitRequestRatio": {"cpu": "500m"}},
            {"type": "Container"},
            {"type": "Pod", "default": {"cpu": "1"}},
            {"type": "PersistentVolumeClaim"},
            {"type": "Node"},
        ]}});
        expect![[r#"
            spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1
            spec.limits[0].default[cpu]: Invalid value: "2": min value 2 is greater than default value 500m
            spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1
            spec.limits[1].type: Duplicate value: "Container"
            spec.limits[2].default: Forbidden: may not be specified when `type` is 'Pod'
            spec.limits[3].limits: Required value: either minimum or maximum storage value is required, but neither was provided
            spec.limits[4].type: Invalid value: "Node": must be a standard limit type or fully qualified"#]]
        .assert_eq(&shown_errors(&LimitRange.validate(&range)));
    }
}
