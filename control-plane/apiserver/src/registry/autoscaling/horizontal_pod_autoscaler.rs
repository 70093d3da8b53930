//! HorizontalPodAutoscaler (autoscaling/v2): how many replicas a workload should
//! have by what they use. Kept and shown; nothing scales by it, and who writes one
//! is told so.

use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::defaults::{set, set_number};
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Part, Resource, Strategy, Subresource, keep_other_part};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Discovery facts of HorizontalPodAutoscalers.
pub const RESOURCE: Resource = Resource {
    group: "autoscaling",
    version: "v2",
    short_names: &["hpa"],
    categories: &["all"],
    subresources: &[Subresource::status("HorizontalPodAutoscaler")],
    ..Resource::new(
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
        "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
        &HorizontalPodAutoscaler,
    )
};

const NOTHING_SCALES: &str = "HorizontalPodAutoscalers are stored, but nothing in this cluster scales by them";

/// The field of a metric's type, and how its amounts are found.
const METRICS: [(&str, &str); 5] = [
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
    ("External", "external"),
];

/// Metrics shown in a row.
const SHOWN_MAX: usize = 2;

/// The longest look back (upstream: `MaxStabilizationWindowSeconds`), and the
/// longest period of a policy (`MaxPeriodSeconds`).
const WINDOW_SECONDS_MAX: i64 = 3600;
const PERIOD_SECONDS_MAX: i64 = 1800;

struct HorizontalPodAutoscaler;

impl Strategy for HorizontalPodAutoscaler {
    fn default(&self, object: &mut Value) {
        let spec = object::map_mut(object, "spec");
        set_number(spec, "minReplicas", 1);
        if spec.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            let target = json!({"type": "Utilization", "averageUtilization": 80});
            spec.insert(
                "metrics".to_owned(),
                json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]),
            );
        }
        if let Some(behavior) = spec.get_mut("behavior").and_then(Value::as_object_mut) {
            complete_behavior(behavior);
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({"currentMetrics": null, "desiredReplicas": 0});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, part: Part) {
        keep_other_part(new, old, part);
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let spec = &object["spec"];
        replicas(spec, &mut errors);
        let target = "spec.scaleTargetRef";
        check::required(&spec["scaleTargetRef"], target, "kind", &mut errors);
        check::required(&spec["scaleTargetRef"], target, "name", &mut errors);
        for (index, metric) in object::list_at(spec, "metrics").iter().enumerate() {
            metric_spec(metric, &format!("spec.metrics[{index}]"), &mut errors);
        }
        for direction in ["scaleUp", "scaleDown"] {
            let rules = &spec["behavior"][direction];
            if rules.is_object() {
                scaling_rules(rules, &format!("spec.behavior.{direction}"), &mut errors);
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, _old: &Value, part: Part) -> Vec<FieldError> {
        if part == Part::Main {
            return self.validate(new);
        }
        let mut errors = Errors::new();
        for field in ["currentReplicas", "desiredReplicas"] {
            check::not_negative(&new["status"], "status", field, &mut errors);
        }
        errors
    }

    fn warnings(&self, _object: &Value) -> Vec<String> {
        vec![NOTHING_SCALES.to_owned()]
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                table::text("Reference", "What is scaled."),
                table::text("Targets", "What is measured, and what it should be."),
                table::text("MinPods", "Replicas at least."),
                table::text("MaxPods", "Replicas at most."),
                table::text("Replicas", "Replicas now."),
                AGE,
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &object["spec"];
        let text = |field| object::str_at(&spec["scaleTargetRef"], field);
        let min = spec["minReplicas"].as_i64().map_or(table::UNSET.to_owned(), |min| min.to_string());
        vec![
            table::name(object),
            json!(format!("{}/{}", text("kind"), text("name"))),
            json!(targets(object)),
            json!(min),
            spec["maxReplicas"].clone(),
            table::number(object, "status.currentReplicas"),
            table::age(object, now),
        ]
    }
}

/// What a behavior leaves out (upstream: `GenerateHPAScaleUpRules`, `…DownRules`).
fn complete_behavior(behavior: &mut Map<String, Value>) {
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    for (direction, window, policies) in
        [("scaleUp", Some(0), json!([pods, percent])), ("scaleDown", None, json!([percent]))]
    {
        let rules = behavior.entry(direction).or_insert_with(|| json!({}));
        let Some(rules) = rules.as_object_mut() else { continue };
        set(rules, "selectPolicy", "Max");
        if let Some(window) = window {
            set_number(rules, "stabilizationWindowSeconds", window);
        }
        if rules.get("policies").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            rules.insert("policies".to_owned(), policies);
        }
    }
}

fn replicas(spec: &Value, errors: &mut Errors) {
    let (min, max) = (spec["minReplicas"].as_i64(), spec["maxReplicas"].as_i64().unwrap_or(0));
    if let Some(min) = min.filter(|min| *min < 1) {
        errors.push(FieldError::invalid("spec.minReplicas", min, "must be greater than or equal to 1"));
    }
    if max < 1 {
        errors.push(FieldError::invalid("spec.maxReplicas", max, "must be greater than 0"));
    }
    if min.is_some_and(|min| max < min) {
        errors.push(FieldError::invalid("spec.maxReplicas", max, "must be greater than or equal to `minReplicas`"));
    }
}

fn metric_spec(metric: &Value, path: &str, errors: &mut Errors) {
    let kind = object::str_at(metric, "type");
    if kind.is_empty() {
        errors.push(FieldError::required(format!("{path}.type"), "must specify a metric source type"));
        return;
    }
    let Some((_, field)) = METRICS.into_iter().find(|(known, _)| *known == kind) else {
        let mut known = METRICS.map(|(kind, _)| kind);
        known.sort_unstable();
        errors.push(FieldError::not_supported(format!("{path}.type"), kind, &known));
        return;
    };
    for (_, other) in METRICS {
        if other != field && !metric[other].is_null() {
            let detail = "must populate the given metric source only";
            errors.push(FieldError::forbidden(format!("{path}.{other}"), detail));
        }
    }
    let (source, path) = (&metric[field], format!("{path}.{field}"));
    if source.is_null() {
        errors.push(FieldError::required(path, "must populate information for the given metric source"));
        return;
    }
    if field.ends_with("esource") {
        if object::str_at(source, "name").is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), "must specify a resource name"));
        }
    } else {
        check::required(&source["metric"], &format!("{path}.metric"), "name", errors);
    }
    metric_target(&source["target"], &format!("{path}.target"), errors);
}

fn metric_target(target: &Value, path: &str, errors: &mut Errors) {
    let kind = object::str_at(target, "type");
    if kind.is_empty() {
        errors.push(FieldError::required(format!("{path}.type"), "must specify a metric target type"));
    } else if !["Utilization", "Value", "AverageValue"].contains(&kind) {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(format!("{path}.type"), kind, detail));
    }
    if let Some(number) = target["averageUtilization"].as_i64().filter(|number| *number < 1) {
        errors.push(FieldError::invalid(format!("{path}.averageUtilization"), number, "must be greater than 0"));
    }
}

fn scaling_rules(rules: &Value, path: &str, errors: &mut Errors) {
    if let Some(seconds) = rules["stabilizationWindowSeconds"].as_i64() {
        let field = format!("{path}.stabilizationWindowSeconds");
        if seconds < 0 {
            errors.push(FieldError::invalid(&field, seconds, "must be greater than or equal to zero"));
        }
        if seconds > WINDOW_SECONDS_MAX {
            let detail = format!("must be less than or equal to {WINDOW_SECONDS_MAX}");
            errors.push(FieldError::invalid(&field, seconds, detail));
        }
    }
    check::one_of(rules, path, "selectPolicy", &["Disabled", "Max", "Min"], errors);
    let policies = object::list_at(rules, "policies");
    if policies.is_empty() {
        errors.push(FieldError::required(format!("{path}.policies"), "must specify at least one Policy"));
    }
    for (index, policy) in policies.iter().enumerate() {
        scaling_policy(policy, &format!("{path}.policies[{index}]"), errors);
    }
}

fn scaling_policy(policy: &Value, path: &str, errors: &mut Errors) {
    let kind = object::str_at(policy, "type");
    if !["Pods", "Percent"].contains(&kind) {
        errors.push(FieldError::not_supported(format!("{path}.type"), kind, &["Percent", "Pods"]));
    }
    for field in ["value", "periodSeconds"] {
        let number = policy[field].as_i64().unwrap_or(0);
        if number <= 0 {
            errors.push(FieldError::invalid(format!("{path}.{field}"), number, "must be greater than zero"));
        }
    }
    if let Some(seconds) = policy["periodSeconds"].as_i64().filter(|seconds| *seconds > PERIOD_SECONDS_MAX) {
        let detail = format!("must be less than or equal to {PERIOD_SECONDS_MAX}");
        errors.push(FieldError::invalid(format!("{path}.periodSeconds"), seconds, detail));
    }
}

/// `cpu: 30%/60%, 7/10 + 2 more...`
fn targets(object: &Value) -> String {
    let metrics = object::list_at(object, "spec.metrics");
    if metrics.is_empty() {
        return table::NONE.to_owned();
    }
    let current = object::list_at(object, "status.currentMetrics");
    let shown: Vec<String> =
        metrics.iter().enumerate().map(|(index, metric)| one_target(metric, current.get(index))).collect();
    let first = shown.iter().take(SHOWN_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    if shown.len() > SHOWN_MAX { format!("{first} + {} more...", shown.len() - SHOWN_MAX) } else { first }
}

fn one_target(metric: &Value, current: Option<&Value>) -> String {
    let kind = object::str_at(metric, "type");
    let Some((_, field)) = METRICS.into_iter().find(|(known, _)| *known == kind) else {
        return "<unknown type>".to_owned();
    };
    let (source, now) = (&metric[field], current.map(|current| &current[field]["current"]));
    let target = &source["target"];
    let amount = |name: &str| {
        let now = now.map_or("", |now| object::str_at(now, name));
        let now = if now.is_empty() { table::UNKNOWN } else { now };
        format!("{now}/{}", object::str_at(target, name))
    };
    let is_resource = field.ends_with("esource");
    let text = match (target["averageValue"].is_null(), target["averageUtilization"].as_i64()) {
        (false, _) if is_resource || field == "pods" => amount("averageValue"),
        (false, _) => format!("{} (avg)", amount("averageValue")),
        (true, wanted) if is_resource => {
            let now = now.and_then(|now| now["averageUtilization"].as_i64());
            let now = now.map_or(table::UNKNOWN.to_owned(), |now| format!("{now}%"));
            format!("{now}/{}", wanted.map_or("<auto>".to_owned(), |wanted| format!("{wanted}%")))
        }
        (true, _) => amount("value"),
    };
    if is_resource { format!("{}: {text}", object::str_at(source, "name")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::shown_errors;
    use expect_test::expect;

    #[test]
    fn what_is_left_out_is_filled_in() {
        let mut autoscaler = json!({"spec": {"maxReplicas": 3, "behavior": {"scaleDown": {"selectPolicy": "Min"}}}});
        HorizontalPodAutoscaler.default(&mut autoscaler);
        let spec = &autoscaler["spec"];
        assert_eq!(spec["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
        let down = json!({"selectPolicy": "Min", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]});
        assert_eq!((&spec["minReplicas"], &spec["behavior"]["scaleDown"]), (&json!(1), &down));
        assert_eq!(spec["behavior"]["scaleUp"]["policies"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let autoscaler = json!({"spec": {"minReplicas": 5, "maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment"},
            "metrics": [{"type": "Disk"}, {"type": "Resource", "pods": {}},
                        {"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "Much"}}}],
            "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 9000}]}}}});
        expect![[r#"
            spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`
            spec.scaleTargetRef.name: Required value
            spec.metrics[0].type: Unsupported value: "Disk": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"
            spec.metrics[1].pods: Forbidden: must populate the given metric source only
            spec.metrics[1].resource: Required value: must populate information for the given metric source
            spec.metrics[2].pods.target.type: Invalid value: "Much": must be either Utilization, Value, or AverageValue
            spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero
            spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 9000: must be less than or equal to 1800"#]]
        .assert_eq(&shown_errors(&HorizontalPodAutoscaler.validate(&autoscaler)));
    }

    #[test]
    fn rows_show_what_is_measured() {
        let resource = |target: Value| json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        let pods = json!({"type": "Pods", "pods": {"target": {"averageValue": "10"}}});
        let metrics =
            json!([resource(json!({"averageUtilization": 60})), pods, resource(json!({"averageValue": "1"}))]);
        let current = json!([{"resource": {"current": {"averageUtilization": 30}}}, {"pods": {"current": {"averageValue": "7"}}}]);
        let autoscaler = json!({"spec": {"metrics": metrics}, "status": {"currentMetrics": current}});
        assert_eq!(targets(&autoscaler), "cpu: 30%/60%, 7/10 + 1 more...");
        let unknown = json!({"spec": {"metrics": [resource(json!({"averageUtilization": 60}))]}});
        assert_eq!(targets(&unknown), "cpu: <unknown>/60%");
    }
}
