//! The ReplicaSet that a Deployment's template means: its name, hash, labels
//! and annotations; and which existing one it is. Pure
//! (upstream: `pkg/controller/deployment/util/deployment_util.go`).

use super::rollout;
use crate::{hash, ownership};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// Counts the rollouts.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Revisions a ReplicaSet had before it was rolled back to.
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The Deployment's size when the ReplicaSet was last scaled.
const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// That size plus the surge.
const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
/// Tells the sets of one Deployment apart.
const HASH_LABEL: &str = "pod-template-hash";

/// Annotations of a Deployment that its sets do not get.
const NOT_COPIED: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

/// Upstream keeps the revision history annotation no longer than this.
const HISTORY_CHARS_MAX: usize = 2000;

/// The revision of a set; 0 when it has none.
pub fn revision(set: &ReplicaSet) -> i64 {
    set.annotations().get(REVISION).and_then(|revision| revision.parse().ok()).unwrap_or_default()
}

/// The size its Deployment had when the set was last scaled.
pub fn desired_replicas(set: &ReplicaSet) -> Option<i32> {
    set.annotations().get(DESIRED_REPLICAS)?.parse().ok()
}

/// The most pods its Deployment could have when the set was last scaled.
pub fn max_replicas(set: &ReplicaSet) -> Option<i32> {
    set.annotations().get(MAX_REPLICAS)?.parse().ok()
}

/// Whether the set was made from this template.
pub fn is_same(set: &ReplicaSet, template: Option<&PodTemplateSpec>) -> bool {
    let theirs = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    comparable(theirs) == comparable(template)
}

/// A template without its hash label and without the difference between empty
/// and absent.
fn comparable(template: Option<&PodTemplateSpec>) -> Value {
    let mut template = template.cloned().unwrap_or_default();
    if let Some(labels) = template.metadata.as_mut().and_then(|metadata| metadata.labels.as_mut()) {
        labels.remove(HASH_LABEL);
    }
    hash::without_empty(serde_json::to_value(template).unwrap_or_default())
}

/// The set made from the Deployment's template: the oldest, should there be several.
pub fn find_new<'a>(deployment: &Deployment, sets: &'a [Arc<ReplicaSet>]) -> Option<&'a Arc<ReplicaSet>> {
    let template = deployment.spec.as_ref().map(|spec| &spec.template);
    let oldest = |set: &&Arc<ReplicaSet>| (set.creation_timestamp(), set.name_any());
    sets.iter().filter(|set| is_same(set, template)).min_by_key(oldest)
}

/// What tells the template's set from the others.
pub fn hash(template: &PodTemplateSpec, collision_count: Option<i32>) -> String {
    hash::of(&comparable(Some(template)), collision_count)
}

/// The new set, of `replicas` pods, as rollout number `revision`.
pub fn new_set(deployment: &Deployment, replicas: i32, revision: i64) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = hash(&spec.template, collisions);
    let (mut template, mut selector) = (spec.template, spec.selector);
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.clone());
    let labels = labels.clone();
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.clone());
    let mut annotations = copied_annotations(deployment);
    annotations.insert(REVISION.to_owned(), revision.to_string());
    annotations.extend(size_annotations(deployment));
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name_any())),
            namespace: deployment.namespace(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![ownership::controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

fn copied_annotations(deployment: &Deployment) -> BTreeMap<String, String> {
    let annotations = deployment.annotations().iter().filter(|(name, _)| !NOT_COPIED.contains(&name.as_str()));
    annotations.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The annotations a set gets whenever it is scaled.
pub fn size_annotations(deployment: &Deployment) -> BTreeMap<String, String> {
    let desired = rollout::wanted(deployment);
    let most = desired.saturating_add(rollout::max_surge(deployment));
    BTreeMap::from([(DESIRED_REPLICAS.to_owned(), desired.to_string()), (MAX_REPLICAS.to_owned(), most.to_string())])
}

/// Annotations that the existing new set lacks, at rollout number `at_least`.
/// A set that is rolled back to keeps the numbers it had.
pub fn missing_annotations(deployment: &Deployment, set: &ReplicaSet, at_least: i64) -> BTreeMap<String, String> {
    let mut wanted = copied_annotations(deployment);
    let old = revision(set);
    if old < at_least {
        wanted.insert(REVISION.to_owned(), at_least.to_string());
        if set.annotations().contains_key(REVISION) {
            wanted.insert(REVISION_HISTORY.to_owned(), history(set, old));
        }
    }
    changed(set, wanted)
}

fn history(set: &ReplicaSet, old: i64) -> String {
    let known = set.annotations().get(REVISION_HISTORY).map(String::as_str).unwrap_or_default();
    let mut revisions: Vec<&str> = known.split(',').filter(|revision| !revision.is_empty()).collect();
    let old = old.to_string();
    revisions.push(&old);
    while revisions.iter().map(|revision| revision.len() + 1).sum::<usize>() > HISTORY_CHARS_MAX + 1 {
        revisions.remove(0);
    }
    revisions.join(",")
}

/// Those of `wanted` that `set` has not.
pub fn changed(set: &ReplicaSet, wanted: BTreeMap<String, String>) -> BTreeMap<String, String> {
    wanted.into_iter().filter(|(name, value)| set.annotations().get(name) != Some(value)).collect()
}
