//! Gives claims that name no class the cluster's default one (upstream:
//! `DefaultStorageClass`).

use super::Lookup;
use crate::{object, registry::storage::storage_class};
use serde_json::Value;

/// Either says that a class is the default; the older one still counts.
const IS_DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
/// The older way to name a class.
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

pub(super) async fn admit(claim: &mut Value, lookup: &dyn Lookup) {
    let named = !claim["spec"]["storageClassName"].is_null() || !claim["metadata"]["annotations"][CLASS].is_null();
    if named {
        return;
    }
    let classes = lookup.list(&storage_class::RESOURCE, "").await;
    let defaults = classes.iter().filter(|class| is_default(class));
    // Of several the newest counts, then the first by name.
    let order = |class: &&std::sync::Arc<Value>| {
        let created = object::metadata_str(class, "creationTimestamp").to_owned();
        (std::cmp::Reverse(created), object::name(class).to_owned())
    };
    if let Some(class) = defaults.min_by_key(order) {
        object::map_mut(claim, "spec").insert("storageClassName".to_owned(), object::name(class).into());
    }
}

fn is_default(class: &Value) -> bool {
    IS_DEFAULT.iter().any(|annotation| class["metadata"]["annotations"][annotation] == "true")
}
