//! The objects of one resource as encoded bytes, and its last changes.

use super::{
    history::{CachedEvent, EventKind, History, Lost},
    watcher::Watcher,
};
use crate::{
    http::status::ApiError,
    registry::{Resource, Scope},
    storage::{self, Encoded},
};
use bytes::Bytes;
use parking_lot::RwLock;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::{OnceCell, watch};
use wk_store::{Change, Entry, Key, Listing, Page, Revision, Store};

/// An object as the cache keeps it: encoded, with what selectors ask for.
#[derive(Debug)]
pub struct CachedObject {
    /// Its bytes, shared with the store.
    pub encoded: Encoded,
    /// `metadata.namespace`; empty for cluster-scoped objects.
    pub namespace: Box<str>,
    /// `metadata.name`
    pub name: Box<str>,
    /// `metadata.labels`, sorted by key.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// What the strategy lets field selectors ask for.
    pub fields: Box<[(&'static str, Box<str>)]>,
}

impl CachedObject {
    /// An object of the store. `key` tells its namespace and name.
    pub fn new(row: &Resource, key: &Key, value: Bytes, revision: Revision) -> Self {
        let encoded = Encoded::stored(value, revision);
        let (namespace, name) = names_in(row, key);
        let (labels, fields) = selectable(row, &encoded);
        Self { encoded, namespace, name, labels, fields }
    }

    #[cfg(test)]
    pub(super) fn empty(revision: Revision) -> Self {
        let encoded = Encoded::stored(Bytes::from_static(b"{}"), revision);
        Self { encoded, namespace: "".into(), name: "".into(), labels: [].into(), fields: [].into() }
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| **label == *key).map(|(_, value)| &**value)
    }

    /// The value of a selectable field; empty when the object has none.
    pub fn field(&self, name: &str) -> &str {
        match name {
            "metadata.name" => &self.name,
            "metadata.namespace" => &self.namespace,
            _ => self.fields.iter().find(|(field, _)| *field == name).map_or("", |(_, value)| value),
        }
    }
}

fn names_in(row: &Resource, key: &Key) -> (Box<str>, Box<str>) {
    let prefix = storage::prefix(row, "");
    let rest = String::from_utf8_lossy(key.0.get(prefix.len()..).unwrap_or_default());
    match (row.scope, rest.split_once('/')) {
        (Scope::Namespaced, Some((namespace, name))) => (namespace.into(), name.into()),
        _ => ("".into(), rest.into()),
    }
}

type Labels = Box<[(Box<str>, Box<str>)]>;
type Fields = Box<[(&'static str, Box<str>)]>;

/// Labels cost a look at the metadata; fields need the whole object.
fn selectable(row: &Resource, encoded: &Encoded) -> (Labels, Fields) {
    let labels = encoded.labels().into_iter().collect();
    if row.strategy.selectable_field_names().is_empty() {
        return (labels, [].into());
    }
    let object = encoded.decode(row).unwrap_or_default();
    let fields = row.strategy.selectable_fields(&object).into_iter();
    (labels, fields.map(|(name, value)| (name, value.into_boxed_str())).collect())
}

/// Objects of one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// In key order.
    pub objects: Vec<Arc<CachedObject>>,
    /// The moment.
    pub revision: Revision,
}

/// One resource in memory.
pub struct ResourceCache {
    row: &'static Resource,
    state: RwLock<State>,
    filled: OnceCell<()>,
    /// The position behind the newest event, for waiting.
    end: watch::Sender<u64>,
}

enum State {
    /// Changes that came before the first list.
    Filling(Vec<Change>),
    Ready(Content),
    /// The feeder lost its place; whoever watches must list again.
    Expired(Revision),
}

struct Content {
    objects: BTreeMap<Key, Arc<CachedObject>>,
    history: History,
    /// Every change of this resource up to here is in.
    revision: Revision,
}

impl ResourceCache {
    pub(super) fn new(row: &'static Resource) -> Self {
        let state = RwLock::new(State::Filling(Vec::new()));
        Self { row, state, filled: OnceCell::new(), end: watch::Sender::new(0) }
    }

    /// Lists the resource unless that has been done.
    pub(super) async fn filled(&self, store: &Arc<dyn Store>) -> Result<(), ApiError> {
        let fill = async || {
            let prefix = Key::from(storage::prefix(self.row, ""));
            self.fill(store.list(&prefix, Page::default()).await?);
            Ok(())
        };
        self.filled.get_or_try_init(fill).await.copied()
    }

    fn fill(&self, listing: Listing) {
        let object = |entry: &Entry| CachedObject::new(self.row, &entry.key, entry.value.clone(), entry.modified);
        let objects = listing.entries.iter().map(|entry| (entry.key.clone(), Arc::new(object(entry)))).collect();
        let mut content = Content { objects, history: History::begin_at(listing.revision), revision: listing.revision };
        let mut state = self.state.write();
        if let State::Filling(pending) = &*state {
            pending.iter().for_each(|change| content.apply(self.row, change));
            *state = State::Ready(content);
        }
    }

    /// Takes one change of this resource; called in commit order.
    pub(super) fn apply(&self, change: &Change) {
        let end = match &mut *self.state.write() {
            State::Filling(pending) => return pending.push(change.clone()),
            State::Expired(_) => return,
            State::Ready(content) => {
                content.apply(self.row, change);
                content.history.end()
            }
        };
        self.end.send_replace(end);
    }

    pub(super) fn expire(&self) {
        let mut state = self.state.write();
        let revision = if let State::Ready(content) = &*state { content.revision } else { Revision(0) };
        *state = State::Expired(revision);
        self.end.send_modify(|_| ());
    }

    /// The objects whose key begins with `prefix`. `progress` is how far the
    /// feeder had come before this call.
    ///
    /// # Errors
    /// [`Lost`] when the caches have started over: ask for the cache again.
    pub fn snapshot(&self, prefix: &str, progress: Revision) -> Result<Snapshot, Lost> {
        let state = self.state.read();
        let content = match &*state {
            State::Ready(content) => content,
            // Filled before anybody gets it, so this is a cache that has expired.
            State::Filling(_) => return Err(Lost { oldest: progress }),
            State::Expired(oldest) => return Err(Lost { oldest: *oldest }),
        };
        let prefix = Key::from(prefix);
        let from_prefix = content.objects.range(prefix.clone()..);
        let objects = from_prefix.take_while(|(key, _)| key.starts_with(&prefix)).map(|(_, object)| object.clone());
        Ok(Snapshot { objects: objects.collect(), revision: progress.max(content.revision) })
    }

    /// One object; `None` when there is none.
    pub fn get(&self, key: &Key) -> Option<Arc<CachedObject>> {
        match &*self.state.read() {
            State::Ready(content) => content.objects.get(key).cloned(),
            _ => None,
        }
    }

    /// A cursor behind `after`.
    ///
    /// # Errors
    /// [`Lost`] when changes since then are no longer kept.
    pub fn watch(self: &Arc<Self>, after: Revision) -> Result<Watcher, Lost> {
        let end = self.end.subscribe();
        let position = match &*self.state.read() {
            State::Ready(content) => content.history.position_after(after)?,
            State::Filling(_) => 0,
            State::Expired(oldest) => return Err(Lost { oldest: *oldest }),
        };
        Ok(Watcher::new(self.clone(), position, end))
    }

    /// Events from a position on.
    pub(super) fn events(&self, position: u64, limit: usize) -> Result<Vec<Arc<CachedEvent>>, Lost> {
        match &*self.state.read() {
            State::Ready(content) => content.history.from(position, limit),
            State::Filling(_) => Ok(Vec::new()),
            State::Expired(oldest) => Err(Lost { oldest: *oldest }),
        }
    }
}

impl Content {
    fn apply(&mut self, row: &Resource, change: &Change) {
        let (key, revision) = (change.key(), change.revision());
        if revision <= self.revision {
            return;
        }
        self.revision = revision;
        let (object, previous) = match change {
            Change::Put { new, .. } => {
                let object = Arc::new(CachedObject::new(row, key, new.value.clone(), revision));
                let previous = self.objects.insert(key.clone(), object.clone());
                (object, previous)
            }
            Change::Delete { old, .. } => {
                let last = CachedObject::new(row, key, old.value.clone(), revision);
                (Arc::new(last), self.objects.remove(key))
            }
        };
        let kind = match (change, &previous) {
            (Change::Delete { .. }, _) => EventKind::Deleted,
            (Change::Put { .. }, None) => EventKind::Added,
            (Change::Put { .. }, Some(_)) => EventKind::Modified,
        };
        self.history.push(Arc::new(CachedEvent { kind, object, previous, revision }));
    }
}
