//! Adopting and releasing: which objects a controller counts as its own.
//! [`claim`] decides; [`adopt`] and [`release`] write
//! (upstream: `pkg/controller/controller_ref_manager.go`).

use crate::runner::{
    Error, Key, Kind,
    patch::{self, FIELD_MANAGER},
    uid,
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference},
    serde::Serialize,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::{Selector, SelectorExt},
};
use serde_json::json;
use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

/// What to do about the objects a controller has or could have.
pub struct Claims<K> {
    /// Owned and matching.
    pub keep: Vec<Arc<K>>,
    /// Ownerless and matching.
    pub adopt: Vec<Arc<K>>,
    /// Owned and no longer matching.
    pub release: Vec<Arc<K>>,
}

/// Sorts objects by what they mean to an owner with `selector`. An owner that
/// is being deleted claims nothing new.
pub fn claim<O: Resource, K: Resource>(
    owner: &O,
    selector: &Selector,
    owned: Vec<Arc<K>>,
    ownerless: Vec<Arc<K>>,
) -> Claims<K> {
    let matches = |object: &Arc<K>| selector.matches(labels(&**object));
    let owner_is_deleting = owner.meta().deletion_timestamp.is_some();
    let (keep, release): (Vec<_>, Vec<_>) = owned.into_iter().partition(matches);
    let free = |object: &Arc<K>| object.meta().deletion_timestamp.is_none();
    let adopt = ownerless.into_iter().filter(|object| !owner_is_deleting && free(object) && matches(object)).collect();
    let release = if owner_is_deleting { Vec::new() } else { release };
    Claims { keep, adopt, release }
}

/// The labels of an object.
pub fn labels<K: Resource>(object: &K) -> &BTreeMap<String, String> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    object.meta().labels.as_ref().unwrap_or(&NONE)
}

/// A selector as a matcher.
///
/// # Errors
/// When the selector of `owner` is not valid.
pub fn selector<O: Resource>(owner: &O, selector: &LabelSelector) -> Result<Selector, Error> {
    Selector::try_from(selector.clone())
        .map_err(|error| Error::Object { object: Key::of(owner).to_string(), problem: error.to_string() })
}

/// A controller reference to `owner`.
pub fn controller_reference<O: Resource<DynamicType = ()>>(owner: &O) -> OwnerReference {
    OwnerReference {
        api_version: O::api_version(&()).into_owned(),
        kind: O::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: uid(owner).to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Fails unless the API server, asked anew, still has `owner` and it is not
/// being deleted: a stale cache must not let a dead owner adopt.
async fn check_owner_lives<O: Kind>(owners: &Api<O>, owner: &O) -> Result<(), Error> {
    let key = Key::of(owner);
    let fresh = owners.get(&key.name).await.map_err(Error::api("get the adopting owner", &key))?;
    if uid(&fresh) == uid(owner) && fresh.meta().deletion_timestamp.is_none() {
        return Ok(());
    }
    Err(Error::Object { object: key.to_string(), problem: "it is gone and adopts nothing".to_owned() })
}

/// Makes `owner` the controller of each object. Objects taken by somebody else
/// meanwhile are left alone.
///
/// # Errors
/// When the owner is gone, or the API server fails.
pub async fn adopt<O: Kind, K: Kind>(
    owners: &Api<O>,
    owner: &O,
    api: &Api<K>,
    objects: &[Arc<K>],
) -> Result<Vec<Arc<K>>, Error> {
    if objects.is_empty() {
        return Ok(Vec::new());
    }
    check_owner_lives(owners, owner).await?;
    let mut adopted = Vec::new();
    for object in objects {
        let (key, mut references) = (Key::of(&**object), object.owner_references().to_vec());
        references.push(controller_reference(owner));
        // With the version, since the list is written as a whole.
        let body = json!({"metadata": {
            "uid": object.uid(), "resourceVersion": object.resource_version(), "ownerReferences": references,
        }});
        match api.patch(&key.name, &patch::params(), &Patch::Merge(&body)).await {
            Ok(object) => adopted.push(Arc::new(object)),
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_invalid() => {}
            Err(error) => return Err(Error::api("adopt", &key)(error)),
        }
    }
    Ok(adopted)
}

/// Gives each object up.
///
/// # Errors
/// When the API server fails.
pub async fn release<O: Resource, K: Kind>(owner: &O, api: &Api<K>, objects: &[Arc<K>]) -> Result<(), Error> {
    for object in objects {
        let key = Key::of(&**object);
        let references: Vec<_> = object.owner_references().iter().filter(|other| other.uid != uid(owner)).collect();
        let references = if references.is_empty() { json!(null) } else { json!(references) };
        let body = json!({"metadata": {
            "uid": object.uid(), "resourceVersion": object.resource_version(), "ownerReferences": references,
        }});
        match api.patch(&key.name, &patch::params(), &Patch::Merge(&body)).await {
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_invalid() => {}
            other => other.map(|_| ()).map_err(Error::api("release", &key))?,
        }
    }
    Ok(())
}

/// Writes fields of the status of one object.
///
/// # Errors
/// When the API server fails; an object that is gone is no failure.
pub async fn patch_status<K: Kind, S: Serialize + Debug>(api: &Api<K>, name: &str, status: &S) -> Result<(), Error> {
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let written = api.patch_status(name, &params, &Patch::Merge(json!({"status": status}))).await;
    crate::runner::unless_gone(written).map_err(Error::api("update the status of", name))
}
