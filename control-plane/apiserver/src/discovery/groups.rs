//! The discovery documents, from the table of resources.

use crate::registry::{self, Resource, Scope, Subresource};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;

/// Groups in the order in which upstream lists them; others follow.
const GROUP_ORDER: &[&str] = &[
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "flowcontrol.apiserver.k8s.io",
];

/// Every group and version, in upstream's order.
pub fn group_versions() -> Vec<(&'static str, &'static str)> {
    let mut found: Vec<(&str, &str)> = registry::all().iter().map(|row| (row.group, row.version)).collect();
    found.sort_by_key(|(group, _)| GROUP_ORDER.iter().position(|known| known == group).unwrap_or(usize::MAX));
    found.dedup();
    found
}

fn versions_of(group: &str) -> Vec<&'static str> {
    let all = group_versions().into_iter();
    all.filter(|(known, _)| *known == group).map(|(_, version)| version).collect()
}

fn groups() -> Vec<&'static str> {
    let mut groups: Vec<&str> = group_versions().into_iter().map(|(group, _)| group).collect();
    groups.dedup();
    groups.retain(|group| !group.is_empty());
    groups
}

/// `/api`
pub fn legacy_versions(advertise: &SocketAddr) -> Value {
    json!({
        "kind": "APIVersions", "versions": versions_of(""),
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": advertise.to_string()}],
    })
}

/// `/apis`
pub fn group_list() -> Value {
    let groups: Vec<Value> = groups().into_iter().map(group_facts).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/{group}`
pub fn group(name: &str) -> Option<Value> {
    let known = groups().into_iter().find(|group| *group == name)?;
    let mut facts = group_facts(known);
    facts["kind"] = "APIGroup".into();
    facts["apiVersion"] = "v1".into();
    Some(facts)
}

fn group_facts(group: &str) -> Value {
    let versions: Vec<Value> = versions_of(group)
        .into_iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    json!({"name": group, "versions": versions, "preferredVersion": versions.first()})
}

/// `/api/{version}` and `/apis/{group}/{version}`
pub fn resource_list(group: &str, version: &str) -> Option<Value> {
    let rows = rows(group, version);
    let resources: Vec<Value> = rows.iter().flat_map(|row| resource(row)).collect();
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut list = json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": resources});
    if !group.is_empty() {
        list["apiVersion"] = "v1".into();
    }
    (!rows.is_empty()).then_some(list)
}

fn rows(group: &str, version: &str) -> Vec<&'static Resource> {
    let mut rows: Vec<&Resource> =
        registry::all().iter().filter(|row| (row.group, row.version) == (group, version)).collect();
    rows.sort_by_key(|row| row.plural);
    rows
}

/// A resource and its subresources.
fn resource(row: &Resource) -> Vec<Value> {
    let mut main = json!({
        "name": row.plural, "singularName": row.singular, "namespaced": row.scope == Scope::Namespaced,
        "kind": row.kind, "verbs": row.verbs,
    });
    if row.verbs.contains(&"get") {
        main["storageVersionHash"] = storage_version_hash(row).into();
    }
    add_names(&mut main, row);
    let mut all = vec![main];
    all.extend(row.subresources.iter().map(|sub| subresource(row, sub)));
    all
}

fn add_names(value: &mut Value, row: &Resource) {
    if !row.short_names.is_empty() {
        value["shortNames"] = json!(row.short_names);
    }
    if !row.categories.is_empty() {
        value["categories"] = json!(row.categories);
    }
}

fn subresource(row: &Resource, sub: &Subresource) -> Value {
    let mut value = json!({
        "name": format!("{}/{}", row.plural, sub.name), "singularName": "",
        "namespaced": row.scope == Scope::Namespaced, "kind": sub.kind, "verbs": sub.verbs,
    });
    if !sub.version.is_empty() {
        value["group"] = sub.group.into();
        value["version"] = sub.version.into();
    }
    value
}

/// Upstream: `discovery.StorageVersionHash`.
fn storage_version_hash(row: &Resource) -> String {
    let digest = Sha256::digest(format!("{}/{}/{}", row.group, row.version, row.kind));
    STANDARD.encode(&digest[..8])
}

/// The aggregated document of `/api` (core) or `/apis`, in version `v2` or `v2beta1`.
pub fn aggregated(version: &str, of_core: bool) -> Value {
    let names = if of_core { vec![""] } else { groups() };
    let items: Vec<Value> = names.into_iter().map(aggregated_group).collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": items,
    })
}

fn aggregated_group(group: &str) -> Value {
    let versions: Vec<Value> = versions_of(group)
        .into_iter()
        .map(|version| {
            let resources: Vec<Value> = rows(group, version).into_iter().map(aggregated_resource).collect();
            json!({"version": version, "freshness": "Current", "resources": resources})
        })
        .collect();
    let mut metadata = json!({"creationTimestamp": null});
    if !group.is_empty() {
        metadata["name"] = group.into();
    }
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(row: &Resource) -> Value {
    let scope = if row.scope == Scope::Namespaced { "Namespaced" } else { "Cluster" };
    let mut value = json!({
        "resource": row.plural, "responseKind": {"group": "", "version": "", "kind": row.kind},
        "scope": scope, "singularResource": row.singular, "verbs": row.verbs,
    });
    add_names(&mut value, row);
    if !row.subresources.is_empty() {
        let subresource = |sub: &Subresource| {
            let kind = json!({"group": sub.group, "version": sub.version, "kind": sub.kind});
            json!({"subresource": sub.name, "responseKind": kind, "verbs": sub.verbs})
        };
        value["subresources"] = row.subresources.iter().map(subresource).collect();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_upstreams() {
        let row = registry::find("", "v1", "configmaps").expect("served");
        assert_eq!(storage_version_hash(row), "qFsyl6wFWjQ=");
    }

    #[test]
    fn unknown_groups_and_versions_are_nothing() {
        assert!(group("nope").is_none() && resource_list("apps", "v0").is_none());
        assert_eq!(group("apps").map(|group| group["preferredVersion"]["version"].clone()), Some("v1".into()));
    }
}
