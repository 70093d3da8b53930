//! Gives containers what the namespace's LimitRanges say they get, and refuses
//! what is beyond them (upstream: `LimitRanger`).

use super::{Lookup, Refusal};
use crate::{
    object,
    registry::core::{limit_range, pod::requests},
    schema::Quantity,
};
use requests::Amounts;
use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, sync::Arc};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Containers of both kinds, as annotations call them.
const CONTAINERS: [(&str, &str); 2] = [("containers", "container"), ("initContainers", "init container")];

pub(super) async fn admit_pod(pod: &mut Value, namespace: &str, lookup: &dyn Lookup) -> Result<(), Refusal> {
    let ranges = ranges(namespace, lookup).await;
    for range in &ranges {
        set_defaults(pod, range);
    }
    let broken: Vec<String> = ranges.iter().flat_map(|range| broken_by_pod(&pod["spec"], range)).collect();
    refuse(broken)
}

pub(super) async fn admit_claim(claim: &Value, namespace: &str, lookup: &dyn Lookup) -> Result<(), Refusal> {
    let requests = requests::amounts(&claim["spec"]["resources"]["requests"]);
    let ranges = ranges(namespace, lookup).await;
    let limits = ranges.iter().flat_map(|range| object::list_at(range, "spec.limits"));
    let limits = limits.filter(|limit| limit["type"] == "PersistentVolumeClaim");
    // A claim has no limits: what it asks for is what it may use.
    refuse(limits.flat_map(|limit| broken_bounds(limit, &requests, &requests)).collect())
}

/// In the order of their names.
async fn ranges(namespace: &str, lookup: &dyn Lookup) -> Vec<Arc<Value>> {
    let mut ranges = lookup.list(&limit_range::RESOURCE, namespace).await;
    ranges.sort_by(|left, right| object::name(left).cmp(object::name(right)));
    ranges
}

fn refuse(broken: Vec<String>) -> Result<(), Refusal> {
    // The same text of two ranges is said once.
    let mut said = BTreeSet::new();
    let texts: Vec<String> = broken.into_iter().filter(|text| said.insert(text.clone())).collect();
    match texts.as_slice() {
        [] => Ok(()),
        [only] => Err(Refusal::forbidden(only.clone())),
        several => Err(Refusal::forbidden(format!("[{}]", several.join(", ")))),
    }
}

fn set_defaults(pod: &mut Value, range: &Value) {
    let of_containers = || object::list_at(range, "spec.limits").iter().filter(|limit| limit["type"] == "Container");
    let merged = |field: &str| -> Map<String, Value> {
        of_containers()
            .filter_map(|limit| limit[field].as_object())
            .flatten()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    };
    let (requests, limits) = (merged("defaultRequest"), merged("default"));
    let mut notes = Vec::new();
    let spec = object::map_mut(pod, "spec");
    for (field, called) in CONTAINERS {
        for container in spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
            for (kind, defaults, singular) in [("requests", &requests, "request"), ("limits", &limits, "limit")] {
                let set = fill(container, kind, defaults);
                if !set.is_empty() {
                    let name = object::str_at(container, "name");
                    notes.push(format!("{} {singular} for {called} {name}", set.join(", ")));
                }
            }
        }
    }
    if !notes.is_empty() {
        let annotations = object::metadata_mut(pod).entry("annotations").or_insert_with(|| json!({}));
        annotations[ANNOTATION] = format!("LimitRanger plugin set: {}", notes.join("; ")).into();
    }
}

/// Fills in what a container does not say; what was filled in, sorted.
fn fill(container: &mut Value, kind: &str, defaults: &Map<String, Value>) -> Vec<String> {
    let known = container["resources"][kind].as_object().cloned().unwrap_or_default();
    let missing: Vec<_> = defaults.iter().filter(|(name, _)| !known.contains_key(*name)).collect();
    if missing.is_empty() || !container.is_object() {
        return Vec::new();
    }
    let resources = object::map_mut(container, "resources");
    let amounts = resources.entry(kind).or_insert_with(|| json!({}));
    missing.iter().for_each(|(name, amount)| amounts[name.as_str()] = (*amount).clone());
    let mut names: Vec<String> = missing.into_iter().map(|(name, _)| name.clone()).collect();
    names.sort();
    names
}

fn broken_by_pod(spec: &Value, range: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    for limit in object::list_at(range, "spec.limits") {
        match object::str_at(limit, "type") {
            "Container" => {
                for container in CONTAINERS.iter().flat_map(|(field, _)| object::list_at(spec, field)) {
                    let of = |kind: &str| requests::amounts(&container["resources"][kind]);
                    broken.extend(broken_bounds(limit, &of("requests"), &of("limits")));
                }
            }
            "Pod" => {
                let of = |kind: &str| requests::of_pod(spec, kind);
                broken.extend(broken_bounds(limit, &of("requests"), &of("limits")));
            }
            _ => {}
        }
    }
    broken
}

fn broken_bounds(limit: &Value, requests: &Amounts, limits: &Amounts) -> Vec<String> {
    let kind = object::str_at(limit, "type");
    let mut broken = Vec::new();
    type Rule = fn(&str, &str, Quantity, Option<Quantity>, Option<Quantity>) -> Option<String>;
    let rules: [(&str, Rule); 3] = [("min", below_min), ("max", above_max), ("maxLimitRequestRatio", above_ratio)];
    for (field, rule) in rules {
        for (name, bound) in requests::amounts(&limit[field]) {
            let (request, own_limit) = (requests.get(&name).copied(), limits.get(&name).copied());
            broken.extend(rule(kind, &name, bound, request, own_limit));
        }
    }
    broken
}

fn below_min(
    kind: &str,
    name: &str,
    min: Quantity,
    request: Option<Quantity>,
    limit: Option<Quantity>,
) -> Option<String> {
    let rule = format!("minimum {name} usage per {kind} is {min}");
    match (request, limit) {
        (None, _) => Some(format!("{rule}.  No request is specified")),
        (Some(request), _) if request < min => Some(format!("{rule}, but request is {request}")),
        (_, Some(limit)) if limit < min => Some(format!("{rule}, but limit is {limit}")),
        _ => None,
    }
}

fn above_max(
    kind: &str,
    name: &str,
    max: Quantity,
    request: Option<Quantity>,
    limit: Option<Quantity>,
) -> Option<String> {
    let rule = format!("maximum {name} usage per {kind} is {max}");
    match (request, limit) {
        (_, None) => Some(format!("{rule}.  No limit is specified")),
        (_, Some(limit)) if limit > max => Some(format!("{rule}, but limit is {limit}")),
        (Some(request), _) if request > max => Some(format!("{rule}, but request is {request}")),
        _ => None,
    }
}

fn above_ratio(
    kind: &str,
    name: &str,
    most: Quantity,
    request: Option<Quantity>,
    limit: Option<Quantity>,
) -> Option<String> {
    let rule = format!("{name} max limit to request ratio per {kind} is {most}");
    let Some(request) = request.filter(|request| request.nanos() != 0) else {
        return Some(format!("{rule}, but no request is specified or request is 0"));
    };
    let Some(limit) = limit.filter(|limit| limit.nanos() != 0) else {
        return Some(format!("{rule}, but no limit is specified or limit is 0"));
    };
    let ratio = limit.nanos() as f64 / request.nanos() as f64;
    (ratio > most.nanos() as f64 / 1e9).then(|| format!("{rule}, but provided ratio is {ratio:.6}"))
}
