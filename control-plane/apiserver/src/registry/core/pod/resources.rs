//! What containers ask for: what can be wrong with it, and the quality of
//! service that follows (upstream: `ValidateContainerResourceRequirements`,
//! `pkg/apis/core/v1/helper/qos`).

use crate::object;
use crate::registry::check::{Errors, NOT_NEGATIVE};
use crate::registry::names;
use crate::schema::{FieldError, Quantity};
use serde_json::{Map, Value};

const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// `resources` of a container.
pub(super) fn validate(resources: &Value, path: &str, errors: &mut Errors) {
    let empty = Map::new();
    let limits = resources["limits"].as_object().unwrap_or(&empty);
    let requests = resources["requests"].as_object().unwrap_or(&empty);
    for (name, amount) in limits {
        one(name, amount, &format!("{path}.limits[{name}]"), errors);
    }
    for (name, amount) in requests {
        one(name, amount, &format!("{path}.requests[{name}]"), errors);
        match limits.get(name) {
            Some(limit) => within_limit(name, amount, limit, &format!("{path}.requests"), errors),
            None if !can_overcommit(name) => {
                let detail = "Limit must be set for non overcommitable resources";
                errors.push(FieldError::required(format!("{path}.limits"), detail));
            }
            None => {}
        }
    }
    let asks = |wanted: fn(&str) -> bool| limits.keys().chain(requests.keys()).any(|name| wanted(name));
    if asks(is_huge_pages) && !asks(|name| matches!(name, "cpu" | "memory")) {
        errors.push(FieldError::forbidden(path, "HugePages require cpu or memory"));
    }
}

fn one(name: &str, amount: &Value, field: &str, errors: &mut Errors) {
    let broken = names::qualified_name(name);
    if !broken.is_empty() {
        errors.extend(broken.into_iter().map(|text| FieldError::invalid(field, name, text)));
    } else if !name.contains('/') && !STANDARD.contains(&name) && !is_huge_pages(name) {
        errors.push(FieldError::invalid(field, name, "must be a standard resource for containers"));
    }
    quantity(name, amount, field, errors);
}

/// An amount that is not negative, and whole if the resource comes in pieces.
pub(in crate::registry) fn quantity(name: &str, amount: &Value, field: &str, errors: &mut Errors) {
    let Some(parsed) = parse(amount) else { return };
    if parsed.nanos() < 0 {
        errors.push(FieldError::invalid(field, amount.clone(), NOT_NEGATIVE));
    }
    let in_pieces = name.contains('/') && !name.contains("kubernetes.io/");
    if in_pieces && parsed.nanos() % 1_000_000_000 != 0 {
        errors.push(FieldError::invalid(field, amount.clone(), "must be an integer"));
    }
}

fn within_limit(name: &str, amount: &Value, limit: &Value, field: &str, errors: &mut Errors) {
    let (Some(asked), Some(allowed)) = (parse(amount), parse(limit)) else { return };
    let relation = match asked.cmp(&allowed) {
        std::cmp::Ordering::Equal => return,
        _ if !can_overcommit(name) => "equal to",
        std::cmp::Ordering::Greater => "less than or equal to",
        std::cmp::Ordering::Less => return,
    };
    let detail = format!("must be {relation} {name} limit of {}", limit.as_str().unwrap_or_default());
    errors.push(FieldError::invalid(field, amount.clone(), detail));
}

fn can_overcommit(name: &str) -> bool {
    (!name.contains('/') || name.contains("kubernetes.io/")) && !is_huge_pages(name)
}

fn is_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// The amount that a value says, if it is one.
pub(crate) fn parse(amount: &Value) -> Option<Quantity> {
    amount.as_str().and_then(|text| text.parse().ok())
}

/// How a pod is treated when a node runs short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QosClass {
    /// Asks for nothing.
    BestEffort,
    /// Asks for something.
    Burstable,
    /// Every container asks for as much cpu and memory as it may use at most.
    Guaranteed,
}

impl QosClass {
    /// As `status.qosClass` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BestEffort => "BestEffort",
            Self::Burstable => "Burstable",
            Self::Guaranteed => "Guaranteed",
        }
    }

    /// The class that follows from what all containers ask for.
    pub fn of(spec: &Value) -> Self {
        let containers = || object::list_at(spec, "containers").iter().chain(object::list_at(spec, "initContainers"));
        let amount = |container: &Value, kind: &str, name: &str| {
            parse(&container["resources"][kind][name]).filter(|amount| amount.nanos() > 0)
        };
        let asks = |container: &Value| {
            ["cpu", "memory"].into_iter().any(|name| {
                amount(container, "requests", name).is_some() || amount(container, "limits", name).is_some()
            })
        };
        let fixed = |container: &Value| {
            ["cpu", "memory"].into_iter().all(|name| {
                let limit = amount(container, "limits", name);
                limit.is_some() && amount(container, "requests", name).is_none_or(|request| Some(request) == limit)
            })
        };
        match () {
            () if !containers().any(asks) => Self::BestEffort,
            () if containers().all(fixed) => Self::Guaranteed,
            () => Self::Burstable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::shown_errors;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn requests_stay_within_limits() {
        let mut errors = Errors::new();
        let resources = json!({"requests": {"cpu": "2", "memory": "-1", "example.com/gpu": "1", "disk": "1"},
            "limits": {"cpu": "1500m", "example.com/gpu": "2"}});
        validate(&resources, "r", &mut errors);
        expect![[r#"
            r.requests: Invalid value: "2": must be less than or equal to cpu limit of 1500m
            r.requests[disk]: Invalid value: "disk": must be a standard resource for containers
            r.requests: Invalid value: "1": must be equal to example.com/gpu limit of 2
            r.requests[memory]: Invalid value: "-1": must be greater than or equal to 0"#]]
        .assert_eq(&shown_errors(&errors));
    }

    #[test]
    fn the_class_follows_from_all_containers() {
        let of = |resources: Value| QosClass::of(&json!({"containers": [{"resources": resources}]}));
        let full = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(of(json!({})), QosClass::BestEffort);
        assert_eq!(of(json!({"requests": {"cpu": "0"}})), QosClass::BestEffort);
        assert_eq!(of(json!({"requests": {"cpu": "1"}})), QosClass::Burstable);
        assert_eq!(of(json!({"requests": full, "limits": full})), QosClass::Guaranteed);
        assert_eq!(of(json!({"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": full})), QosClass::Burstable);
    }
}
