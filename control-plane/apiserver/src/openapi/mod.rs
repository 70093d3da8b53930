//! OpenAPI documents of what this server serves, built from the registry and the
//! schema's facts. kubectl's `explain`, validation and client-side `apply` read
//! them: `apply` computes its three-way patch from the merge keys in here, so a
//! path must never offer strategic merge without them. Discovery calls
//! [`v3_index`], [`v3_document`] and [`v2_protobuf`].
//!
//! Documents are made when first asked for and kept: the registry does not
//! change while the server runs.

use crate::registry::{self, Resource};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};
use std::collections::{BTreeMap, BTreeSet};

mod descriptions;
mod paths;
mod schemas;
mod v2;

#[cfg(test)]
mod tests;

use schemas::Style;
pub use v2::{V2_MEDIA_TYPE, v2_protobuf};

/// What the document describes; clients do not act on it.
const TITLE: &str = "Kubernetes";
const VERSION: &str = "unversioned";

/// A document ready to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The JSON text.
    pub bytes: Bytes,
    /// Changes when the document does; the `hash` of its URL and its ETag.
    pub hash: String,
}

/// The group versions of the registry, in its order.
fn group_versions() -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    for row in registry::all() {
        if !found.contains(&(row.group, row.version)) {
            found.push((row.group, row.version));
        }
    }
    found
}

/// `api/v1`, `apis/apps/v1`
fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn rows(group: &str, version: &str) -> Vec<&'static Resource> {
    registry::all().iter().filter(|row| row.group == group && row.version == version).collect()
}

/// `/openapi/v3`: where the documents are. `base` is what stands before
/// `/openapi` in the server's URLs; empty for none.
pub fn v3_index(base: &str) -> Bytes {
    let paths: Map<String, Value> = group_versions()
        .into_iter()
        .map(|(group, version)| {
            let root = root(group, version);
            let url = format!("{base}/openapi/v3/{root}?hash={}", hash(group, version));
            (root, json!({"serverRelativeURL": url}))
        })
        .collect();
    Bytes::from(json!({"paths": paths}).to_string())
}

/// The document of a group version; `None` when the registry has none.
pub fn v3_document(group: &str, version: &str) -> Option<Document> {
    static CACHE: Mutex<BTreeMap<String, Document>> = Mutex::new(BTreeMap::new());
    let rows = rows(group, version);
    if rows.is_empty() {
        return None;
    }
    let mut cache = CACHE.lock();
    let document = cache
        .entry(root(group, version))
        .or_insert_with(|| Document { bytes: Bytes::from(build(&rows).to_string()), hash: hash(group, version) });
    Some(document.clone())
}

/// A hash of all that the document is made from, so that the index can name it
/// without making it.
fn hash(group: &str, version: &str) -> String {
    let mut digest = Sha512::new();
    digest.update(env!("CARGO_PKG_VERSION"));
    digest.update(include_bytes!("../../data/schema-facts.json"));
    digest.update(include_bytes!("paths.rs"));
    digest.update(include_bytes!("schemas.rs"));
    for row in rows(group, version) {
        let subresources: Vec<&str> = row.subresources.iter().map(|sub| sub.name).collect();
        digest.update(format!("{group}/{version} {} {:?} {subresources:?}\n", row.definition, row.verbs));
    }
    hex::encode_upper(digest.finalize())
}

fn build(rows: &[&Resource]) -> Value {
    let mut paths = Map::new();
    let mut roots = BTreeSet::new();
    for row in rows {
        paths.extend(paths::of(row, &mut roots));
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": TITLE, "version": VERSION},
        "paths": paths,
        "components": {"schemas": schemas::reachable(&roots, Style::V3)},
    })
}
