//! ControllerRevisions: the templates a DaemonSet or StatefulSet had, numbered,
//! as patches that bring them back. `kubectl rollout history` and `undo` read
//! them. [`sort`] decides, [`Revisions`] writes
//! (upstream: `pkg/controller/history`, `daemon/update.go`).

use crate::{
    hash, ownership,
    pod_owner::PodOwner,
    runner::{Cache, Change, Error, Key, Queue, patch, uid, unless_gone},
};
use k8s_openapi::{
    api::{apps::v1::ControllerRevision, core::v1::PodTemplateSpec},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, runtime::RawExtension},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// Revisions kept when the limit is not set (upstream's default).
const HISTORY_LIMIT: i32 = 10;

/// The revisions of one owner.
#[derive(Clone, Debug)]
pub struct History {
    /// Of the current template.
    pub current: Arc<ControllerRevision>,
    /// Of earlier ones, lowest number first.
    pub old: Vec<Arc<ControllerRevision>>,
}

/// What the revision of the current template should be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The patch that brings the template back.
    pub data: Value,
    /// Names the content.
    pub hash: String,
    /// Labels of the revision.
    pub labels: BTreeMap<String, String>,
}

impl Wanted {
    /// For `template`; `hash_label` is where the owner's kind writes the hash.
    pub fn of(template: &PodTemplateSpec, collision_count: Option<i32>, hash_label: &str) -> Self {
        let data = restoring_patch(template);
        let hash = hash::of(&hash::without_empty(data.clone()), collision_count);
        let mut labels = template.metadata.as_ref().and_then(|from| from.labels.clone()).unwrap_or_default();
        labels.insert(hash_label.to_owned(), hash.clone());
        Self { data, hash, labels }
    }
}

/// A strategic merge patch that puts `template` in the place of another.
fn restoring_patch(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or_default();
    template["$patch"] = json!("replace");
    json!({"spec": {"template": template}})
}

/// Why there is no history this time.
#[derive(Debug)]
pub enum Problem {
    /// Another content has the name: the collision count must grow.
    Collision,
    /// To be tried again.
    Failed(Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Those of `revisions` with the wanted content, newest last, and the others,
/// lowest number first.
pub fn sort(
    wanted: &Wanted,
    revisions: Vec<Arc<ControllerRevision>>,
) -> (Vec<Arc<ControllerRevision>>, Vec<Arc<ControllerRevision>>) {
    let content = hash::without_empty(wanted.data.clone());
    let is_current = |known: &Arc<ControllerRevision>| data(known) == content;
    let (mut current, mut old): (Vec<_>, Vec<_>) = revisions.into_iter().partition(is_current);
    let age = |known: &Arc<ControllerRevision>| (number(known), known.creation_timestamp(), known.name_any());
    current.sort_by_key(age);
    old.sort_by_key(age);
    (current, old)
}

/// The number of a revision.
pub fn number(revision: &ControllerRevision) -> i64 {
    revision.revision
}

/// What a revision stores, in the form that is compared.
fn data(revision: &ControllerRevision) -> Value {
    hash::without_empty(revision.data.clone().map(|data| data.0).unwrap_or_default())
}

/// Old revisions beyond the limit that no pod has, lowest number first.
pub fn beyond_limit(
    old: &[Arc<ControllerRevision>],
    limit: Option<i32>,
    is_live: impl Fn(&ControllerRevision) -> bool,
) -> Vec<Arc<ControllerRevision>> {
    let keep = usize::try_from(limit.unwrap_or(HISTORY_LIMIT)).unwrap_or_default();
    let surplus = old.len().saturating_sub(keep);
    old.iter().filter(|known| !is_live(known)).take(surplus).cloned().collect()
}

/// Reads and writes the revisions of one kind of owner.
pub struct Revisions {
    client: Client,
    cache: Arc<Cache<ControllerRevision>>,
}

impl Revisions {
    /// Reads `cache`, writes through `client`.
    pub fn new(client: Client, cache: Arc<Cache<ControllerRevision>>) -> Self {
        Self { client, cache }
    }

    fn api(&self, key: &Key) -> Api<ControllerRevision> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    /// The history of `owner`, after the current template got its revision and
    /// the highest number.
    ///
    /// # Errors
    /// A collision of names, or the API server's failure.
    pub async fn sync<O>(&self, owner: &O, wanted: &Wanted) -> Result<History, Problem>
    where
        O: PodOwner + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let key = Key::of(owner);
        let (mut current, old) = sort(wanted, self.claim(owner, &key).await?);
        let next = old.last().map_or(0, |known| number(known)) + 1;
        let newest = match current.pop() {
            None => Arc::new(self.create(owner, &key, wanted, next).await?),
            Some(known) if number(&known) < next => self.renumber(&key, &known, next).await?,
            Some(known) => known,
        };
        for duplicate in current {
            self.delete(&key, &duplicate).await?;
        }
        Ok(History { current: newest, old })
    }

    async fn claim<O>(&self, owner: &O, key: &Key) -> Result<Vec<Arc<ControllerRevision>>, Error>
    where
        O: PodOwner + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let Some(selector) = owner.pod_selector() else { return Ok(Vec::new()) };
        let selector = ownership::selector(owner, selector)?;
        let (owned, free) = (self.cache.controlled_by(uid(owner)), self.cache.uncontrolled_in(&key.namespace));
        let claims = ownership::claim(owner, &selector, owned, free);
        let (owners, revisions) = (Api::<O>::namespaced(self.client.clone(), &key.namespace), self.api(key));
        ownership::release(owner, &revisions, &claims.release).await?;
        let mut mine = claims.keep;
        mine.extend(ownership::adopt(&owners, owner, &revisions, &claims.adopt).await?);
        Ok(mine)
    }

    async fn create<O: PodOwner>(
        &self,
        owner: &O,
        key: &Key,
        wanted: &Wanted,
        revision: i64,
    ) -> Result<ControllerRevision, Problem> {
        let name = format!("{}-{}", owner.name_any(), wanted.hash);
        let made = ControllerRevision {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(key.namespace.clone()),
                labels: Some(wanted.labels.clone()),
                annotations: owner.meta().annotations.clone(),
                owner_references: Some(vec![ownership::controller_reference(owner)]),
                ..ObjectMeta::default()
            },
            data: Some(RawExtension(wanted.data.clone())),
            revision,
        };
        match self.api(key).create(&patch::post_params(), &made).await {
            Ok(created) => Ok(created),
            Err(kube::Error::Api(status)) if status.is_already_exists() => self.existing(key, &name, wanted).await,
            Err(error) => Err(Error::api("create ControllerRevision", &name)(error).into()),
        }
    }

    /// The name is taken: by our own revision that the cache has not seen yet,
    /// or by another content of the same hash.
    async fn existing(&self, key: &Key, name: &str, wanted: &Wanted) -> Result<ControllerRevision, Problem> {
        let existing = self.api(key).get(name).await.map_err(Error::api("get ControllerRevision", name))?;
        let same = data(&existing) == hash::without_empty(wanted.data.clone());
        if same { Ok(existing) } else { Err(Problem::Collision) }
    }

    async fn renumber(
        &self,
        key: &Key,
        known: &ControllerRevision,
        number: i64,
    ) -> Result<Arc<ControllerRevision>, Error> {
        let body = json!({"metadata": {"uid": known.uid()}, "revision": number});
        let written = self.api(key).patch(&known.name_any(), &patch::params(), &Patch::Merge(&body)).await;
        written.map(Arc::new).map_err(Error::api("renumber ControllerRevision", &known.name_any()))
    }

    /// Deletes a revision.
    ///
    /// # Errors
    /// When the API server fails; one that is gone is no failure.
    pub async fn delete(&self, key: &Key, known: &ControllerRevision) -> Result<(), Error> {
        let deleted = self.api(key).delete(&known.name_any(), &DeleteParams::default()).await;
        unless_gone(deleted).map_err(Error::api("delete ControllerRevision", &known.name_any()))
    }
}

/// Wakes the owner of this kind whose revision has changed or gone. By name: a
/// revision that outlived the last owner makes room for the next one's.
pub fn wake_owner(queue: &Queue<Key>, kind: &str, change: &Change<'_, ControllerRevision>) {
    let revision = change.latest();
    let owners = revision.owner_references().iter().filter(|owner| owner.kind == kind);
    for owner in owners {
        queue.add(Key::new(revision.namespace().unwrap_or_default(), owner.name.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(image: &str) -> PodTemplateSpec {
        let value =
            json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}});
        serde_json::from_value(value).expect("a template")
    }

    fn revision(image: &str, number: i64) -> Arc<ControllerRevision> {
        let data = RawExtension(restoring_patch(&template(image)));
        let metadata = ObjectMeta { name: Some(format!("{image}-{number}")), ..ObjectMeta::default() };
        Arc::new(ControllerRevision { metadata, data: Some(data), revision: number })
    }

    fn names(revisions: &[Arc<ControllerRevision>]) -> Vec<String> {
        revisions.iter().map(|known| known.name_any()).collect()
    }

    #[test]
    fn the_current_template_is_recognised_by_its_content() {
        let wanted = Wanted::of(&template("b"), None, "hash");
        let known = vec![revision("c", 3), revision("b", 2), revision("a", 1), revision("b", 4)];
        let (current, old) = sort(&wanted, known);
        assert_eq!(
            (names(&current), names(&old)),
            (vec!["b-2".into(), "b-4".into()], vec!["a-1".into(), "c-3".into()])
        );
        assert_eq!(wanted.labels.get("hash"), Some(&wanted.hash));
        assert_eq!(wanted.data["spec"]["template"]["$patch"], "replace");
    }

    #[test]
    fn the_oldest_revisions_without_pods_go_first() {
        let old = [revision("a", 1), revision("b", 2), revision("c", 3), revision("d", 4)];
        let live = |known: &ControllerRevision| known.name_any() == "a-1";
        assert_eq!(names(&beyond_limit(&old, Some(2), live)), ["b-2", "c-3"]);
        assert!(beyond_limit(&old, None, live).is_empty());
    }

    #[test]
    fn a_collision_changes_the_hash() {
        let hash = |count| Wanted::of(&template("a"), count, "hash").hash;
        assert_ne!(hash(None), hash(Some(1)));
        assert_eq!(hash(Some(1)), hash(Some(1)));
    }
}
