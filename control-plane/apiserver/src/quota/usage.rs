//! What an object uses of a quota, and which quotas are about it (upstream:
//! `pkg/quota/v1/evaluator/core`). Pure.

use crate::{
    object,
    registry::{
        Resource, Scope,
        core::pod::{
            requests::{self, Amounts},
            resources::QosClass,
        },
    },
    schema::Quantity,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Kinds of the core group whose number has a name of its own.
const COUNTED: [&str; 7] =
    ["configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets", "services"];

/// Amounts of pods that have a name without `requests.`, too.
const PLAIN: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// Whether a write can use more of a quota.
pub(super) fn is_counted(row: &Resource, subresource: &str, is_update: bool) -> bool {
    let changes = row.group.is_empty() && ["services", "persistentvolumeclaims"].contains(&row.plural);
    row.scope == Scope::Namespaced && subresource.is_empty() && row.verbs.contains(&"get") && (!is_update || changes)
}

/// `count/pods`, `count/deployments.apps`
fn count_name(row: &Resource) -> String {
    format!("count/{}", row.qualified())
}

/// Whether a resource of a quota is about objects of a kind.
pub(super) fn concerns(row: &Resource, resource: &str) -> bool {
    if resource == count_name(row) {
        return true;
    }
    if !row.group.is_empty() {
        return false;
    }
    let storage = resource == "requests.storage" || resource.contains(".storageclass.storage.k8s.io/");
    match row.plural {
        "pods" => {
            let of_pods = resource.starts_with("requests.") || resource.starts_with("limits.");
            resource == "pods" || PLAIN.contains(&resource) || of_pods && !storage
        }
        "services" => resource == "services" || resource.starts_with("services."),
        "persistentvolumeclaims" => resource == "persistentvolumeclaims" || storage,
        plural => COUNTED.contains(&plural) && resource == plural,
    }
}

/// What an object uses.
pub(super) fn of(row: &Resource, object: &Value, now: Timestamp) -> Amounts {
    let mut used = Amounts::from([(count_name(row), Quantity::whole(1))]);
    if !row.group.is_empty() || row.plural == "pods" && has_ended(object, now) {
        return used;
    }
    if COUNTED.contains(&row.plural) {
        used.insert(row.plural.to_owned(), Quantity::whole(1));
    }
    match row.plural {
        "pods" => of_pod(&object["spec"], &mut used),
        "services" => of_service(&object["spec"], &mut used),
        "persistentvolumeclaims" => of_claim(&object["spec"], &mut used),
        _ => {}
    }
    used
}

/// A pod that is over, or should have been, uses nothing but its record.
fn has_ended(pod: &Value, now: Timestamp) -> bool {
    let metadata = object::metadata(pod);
    let deleted = object::metadata_str(pod, "deletionTimestamp").parse::<Timestamp>().ok();
    let grace = metadata.get("deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    let late = deleted.and_then(|when| when.checked_add(SignedDuration::from_secs(grace)).ok());
    ["Succeeded", "Failed"].contains(&object::str_at(pod, "status.phase")) || late.is_some_and(|late| now > late)
}

fn of_pod(spec: &Value, used: &mut Amounts) {
    for (name, amount) in requests::of_pod(spec, "requests") {
        if PLAIN.contains(&name.as_str()) {
            used.insert(name.clone(), amount);
        }
        used.insert(format!("requests.{name}"), amount);
    }
    used.extend(requests::of_pod(spec, "limits").into_iter().map(|(name, amount)| (format!("limits.{name}"), amount)));
}

fn of_service(spec: &Value, used: &mut Amounts) {
    let ports = u32::try_from(object::list_at(spec, "ports").len()).unwrap_or(u32::MAX);
    let (balanced, ports) = match object::str_at(spec, "type") {
        "NodePort" => (0, ports),
        "LoadBalancer" if spec["allocateLoadBalancerNodePorts"] == false => (1, 0),
        "LoadBalancer" => (1, ports),
        _ => (0, 0),
    };
    used.insert("services.nodeports".to_owned(), Quantity::whole(ports));
    used.insert("services.loadbalancers".to_owned(), Quantity::whole(balanced));
}

fn of_claim(spec: &Value, used: &mut Amounts) {
    let storage = requests::amounts(&spec["resources"]["requests"]).remove("storage");
    used.extend(storage.map(|storage| ("requests.storage".to_owned(), storage)));
    let class = object::str_at(spec, "storageClassName");
    if !class.is_empty() {
        let of_class = |name: &str| format!("{class}.storageclass.storage.k8s.io/{name}");
        used.insert(of_class("persistentvolumeclaims"), Quantity::whole(1));
        used.extend(storage.map(|storage| (of_class("requests.storage"), storage)));
    }
}

/// Whether an object is among those that a quota's scopes name.
pub(super) fn in_scope(row: &Resource, quota: &Value, object: &Value) -> bool {
    let is_pod = row.group.is_empty() && row.plural == "pods";
    let named = object::list_at(quota, "spec.scopes")
        .iter()
        .map(|scope| (scope.as_str().unwrap_or_default(), "Exists", &[][..]));
    let selected = object::list_at(quota, "spec.scopeSelector.matchExpressions").iter().map(|expression| {
        let text = |field| object::str_at(expression, field);
        (text("scopeName"), text("operator"), object::list_at(expression, "values"))
    });
    let mut scopes = named.chain(selected);
    scopes.all(|(scope, operator, values)| is_pod && pod_in_scope(&object["spec"], scope, operator, values))
}

fn pod_in_scope(spec: &Value, scope: &str, operator: &str, values: &[Value]) -> bool {
    let ends = spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0);
    let best_effort = QosClass::of(spec) == QosClass::BestEffort;
    match scope {
        "BestEffort" => best_effort,
        "NotBestEffort" => !best_effort,
        "Terminating" => ends,
        "NotTerminating" => !ends,
        "PriorityClass" => {
            let class = object::str_at(spec, "priorityClassName");
            let named = values.iter().any(|value| value == class);
            match operator {
                "In" => named,
                "NotIn" => !named,
                "DoesNotExist" => class.is_empty(),
                _ => !class.is_empty(),
            }
        }
        "CrossNamespacePodAffinity" => has_affinity_elsewhere(spec),
        _ => false,
    }
}

fn has_affinity_elsewhere(spec: &Value) -> bool {
    let elsewhere =
        |term: &Value| !object::list_at(term, "namespaces").is_empty() || term["namespaceSelector"].is_object();
    ["podAffinity", "podAntiAffinity"].into_iter().any(|kind| {
        let rules = &spec["affinity"][kind];
        let weighted = object::list_at(rules, "preferredDuringSchedulingIgnoredDuringExecution");
        let required = object::list_at(rules, "requiredDuringSchedulingIgnoredDuringExecution");
        required.iter().any(elsewhere) || weighted.iter().any(|term| elsewhere(&term["podAffinityTerm"]))
    })
}

/// Where cpu or memory is limited, each container says how much it needs.
pub(super) fn says_enough(row: &Resource, object: &Value, limited: &[&String]) -> Result<(), String> {
    const MUST_BE_SAID: [&str; 6] = ["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];
    let required: Vec<&str> =
        MUST_BE_SAID.into_iter().filter(|name| limited.iter().any(|limit| limit == name)).collect();
    if !row.group.is_empty() || row.plural != "pods" || required.is_empty() {
        return Ok(());
    }
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in ["containers", "initContainers"].iter().flat_map(|field| object::list_at(&object["spec"], field)) {
        for name in &required {
            let (kind, resource) = name.split_once('.').unwrap_or(("requests", name));
            if container["resources"][kind][resource].is_null() {
                missing.entry(name).or_default().insert(object::str_at(container, "name"));
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let parts: Vec<String> = missing
        .into_iter()
        .map(|(name, containers)| format!("{name} for: {}", containers.into_iter().collect::<Vec<_>>().join(",")))
        .collect();
    Err(format!("must specify {}", parts.join("; ")))
}
