//! Who manages which field of an object, and server-side apply. The verbs call
//! [`track_update`] for every create, update and patch after defaulting and
//! before admission, [`apply`] for apply patches, and [`keep_timestamps`] last,
//! before the store. Follows upstream's `managedfields` and
//! structured-merge-diff.
//!
//! ```text
//!  live ─┐                      ┌─ others lose what was changed or removed
//!        ├─ compare ─▶ changes ─┤
//!  new ──┘                      └─ the caller owns what it changed
//! ```
//!
//! All entries are taken to be in the version of the request; objects of
//! different versions of one kind are not converted.

use crate::object;
use crate::schema::{self, Definition, FieldValidation, time};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

mod apply;
mod compare;
mod entries;
mod field_set;
mod last_applied;
mod merge;
mod typed;
mod validate;

#[cfg(test)]
mod tests;

pub use apply::apply;
use compare::{Comparison, compare};
use entries::{Manager, Managers, Operation, Owned};
pub use field_set::FieldSet;
use typed::Type;

/// Managers by update that an object keeps; the oldest beyond it are merged.
const UPDATE_MANAGERS_MAX: usize = 10;
/// The name that merged managers get.
const ANCIENT_CHANGES: &str = "ancient-changes";

/// Fields of every object that nobody manages.
const UNMANAGED: [&str; 12] = [
    "apiVersion",
    "kind",
    "metadata",
    "metadata.name",
    "metadata.namespace",
    "metadata.creationTimestamp",
    "metadata.selfLink",
    "metadata.uid",
    "metadata.clusterName",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.resourceVersion",
];

/// What every step needs to know of a request.
struct Request<'a> {
    definition: Option<&'static Definition>,
    kind: Type,
    api_version: &'a str,
    subresource: &'a str,
    /// Fields that a write to this resource resets, so that nobody manages them.
    ignored: FieldSet,
    now: String,
}

impl<'a> Request<'a> {
    fn new(definition: &str, api_version: &'a str, subresource: Option<&'a str>, now: Timestamp) -> Self {
        let definition = schema::definition(definition);
        Self {
            definition,
            kind: Type::of(definition),
            api_version,
            subresource: subresource.unwrap_or_default(),
            ignored: ignored_fields(definition, subresource),
            now: time::format(now, time::Precision::Seconds),
        }
    }

    /// The object that a creation starts from.
    fn empty_object(&self) -> Value {
        let normalized = self
            .definition
            .and_then(|definition| schema::normalize(definition.name, Value::Null, FieldValidation::Ignore).ok());
        normalized.map_or_else(|| Value::Object(Map::new()), |normalized| normalized.object)
    }

    fn compare(&self, old: &Value, new: &Value) -> Comparison {
        compare(self.kind, old, new).without(&self.ignored)
    }

    fn manager(&self, name: &str, operation: Operation) -> Manager {
        Manager::new(name, operation, self.api_version, self.subresource)
    }
}

/// What a write to the resource or subresource resets (upstream: each
/// strategy's `GetResetFields`).
fn ignored_fields(definition: Option<&Definition>, subresource: Option<&str>) -> FieldSet {
    let Some(definition) = definition else { return FieldSet::default() };
    let paths: &[&str] = match (subresource, definition.name) {
        (Some("status"), "io.k8s.api.apps.v1.Deployment") => &["spec", "metadata.labels"],
        (Some("status"), "io.k8s.api.core.v1.Pod") => {
            &["spec", "metadata.deletionTimestamp", "metadata.ownerReferences"]
        }
        (Some("status"), _) => &["spec"],
        // Nobody manages ephemeral containers.
        (Some("ephemeralcontainers"), _) => &["spec", "status"],
        _ if definition.field("status").is_some() => &["status"],
        _ => &[],
    };
    FieldSet::of_fields(paths)
}

/// Brings `new.metadata.managedFields` up to date after a create (`live` is
/// `None`), update or patch by `manager`. The caller's own word in
/// `managedFields` counts as upstream's does: `[]` and `[{}]` forget all
/// managers, other entries replace the live ones, nonsense is dropped.
pub fn track_update(
    definition: &str,
    api_version: &str,
    live: Option<&Value>,
    new: &mut Value,
    manager: &str,
    subresource: Option<&str>,
    now: Timestamp,
) {
    let request = Request::new(definition, api_version, subresource, now);
    let given = object::metadata_mut(new).remove("managedFields");
    let managers = starting_managers(live, given.as_ref(), subresource);
    // An object that exists without managers is not tracked until it is applied.
    if managers.is_empty() && live.is_some() {
        return;
    }
    let empty;
    let live = match live {
        Some(live) => live,
        None => {
            empty = request.empty_object();
            &empty
        }
    };
    let managers = after_update(&request, live, new, managers, manager);
    set_managers(new, &managers);
}

/// The same after a write to `/scale`, which changes `spec.replicas` and nothing
/// else (upstream: `managedfields.ScaleHandler`). A write that leaves zero
/// replicas leaves the field without a manager, because upstream's Scale does
/// not write a zero.
pub fn track_scale(definition: &str, api_version: &str, live: &Value, new: &mut Value, manager: &str, now: Timestamp) {
    let replicas = |object: &Value| object::at(object, "spec.replicas").and_then(Value::as_i64).unwrap_or_default();
    if replicas(new) == replicas(live) && replicas(new) != 0 {
        return;
    }
    let request = Request::new(definition, api_version, Some("scale"), now);
    let mut managers = entries::read(live_entries(live)).unwrap_or_default();
    let field = FieldSet::of_fields(&["spec.replicas"]);
    let tracked = !managers.is_empty();
    disown(&mut managers, &field, &FieldSet::default(), None);
    if tracked && replicas(new) != 0 {
        let owned = Owned { fields: field, api_version: api_version.to_owned(), time: Some(request.now.clone()) };
        managers.insert(request.manager(manager, Operation::Update), owned);
    }
    set_managers(new, &cap(managers));
}

fn starting_managers(live: Option<&Value>, given: Option<&Value>, subresource: Option<&str>) -> Managers {
    let of_live = || live.and_then(|live| entries::read(live_entries(live))).unwrap_or_default();
    match given {
        Some(given) if subresource.is_none() => {
            if entries::is_reset(given) {
                return Managers::new();
            }
            entries::read(given).filter(|managers| !managers.is_empty()).unwrap_or_else(of_live)
        }
        _ => of_live(),
    }
}

fn live_entries(live: &Value) -> &Value {
    object::metadata(live).get("managedFields").unwrap_or(&Value::Null)
}

fn set_managers(object: &mut Value, managers: &Managers) {
    let metadata = object::metadata_mut(object);
    if managers.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".to_owned(), Value::Array(entries::write(managers)));
    }
}

/// The managers after somebody has changed `live` into `new`.
fn after_update(request: &Request<'_>, live: &Value, new: &Value, mut managers: Managers, name: &str) -> Managers {
    let comparison = request.compare(live, new);
    let changed = comparison.changed();
    disown(&mut managers, &changed, &comparison.removed, None);
    let own = changed.without(&request.ignored).difference(&FieldSet::of_fields(&UNMANAGED));
    if !own.is_empty() {
        let manager = request.manager(name, Operation::Update);
        let before = managers.get(&manager).map(|owned| owned.fields.clone()).unwrap_or_default();
        let owned = Owned {
            fields: own.union(&before),
            api_version: request.api_version.to_owned(),
            time: Some(request.now.clone()),
        };
        managers.insert(manager, owned);
    }
    cap(managers)
}

/// Takes fields from all managers but one; who has none left goes.
fn disown(managers: &mut Managers, changed: &FieldSet, removed: &FieldSet, but: Option<&Manager>) {
    for (manager, owned) in managers.iter_mut() {
        if Some(manager) != but {
            owned.fields = owned.fields.difference(changed).difference(removed);
        }
    }
    managers.retain(|_, owned| !owned.fields.is_empty());
}

/// Merges the oldest managers by update when there are too many.
fn cap(mut managers: Managers) -> Managers {
    let mut updaters: Vec<(Option<String>, Manager)> = managers
        .iter()
        .filter(|(manager, _)| manager.operation == Operation::Update)
        .map(|(manager, owned)| (owned.time.clone(), manager.clone()))
        .collect();
    updaters.sort();
    let mut surplus = updaters.len().saturating_sub(UPDATE_MANAGERS_MAX);
    let mut first_of_version: BTreeMap<String, Manager> = BTreeMap::new();
    for (_, manager) in updaters {
        if surplus == 0 {
            break;
        }
        let Some(first) = first_of_version.get(&manager.api_version) else {
            first_of_version.insert(manager.api_version.clone(), manager);
            continue;
        };
        let bucket = Manager::new(ANCIENT_CHANGES, Operation::Update, &manager.api_version, "");
        let Some(owned) = managers.remove(&manager) else { continue };
        let before = managers.remove(&bucket).or_else(|| managers.remove(first));
        let fields = before.map_or_else(FieldSet::default, |before| before.fields).union(&owned.fields);
        managers.insert(bucket, Owned { fields, ..owned });
        surplus -= 1;
    }
    managers
}

/// When nothing but the times of managers differs from the live object, takes
/// the live times, so that the write is none. To be called last before storing.
pub fn keep_timestamps(live: &Value, new: &mut Value) {
    let entries = |object: &Value| entries::read(live_entries(object)).unwrap_or_default();
    let (before, mut after) = (entries(live), entries(new));
    for (manager, owned) in &mut after {
        owned.time = before.get(manager).and_then(|before| before.time.clone());
    }
    if before != after || !same_but_entries(live, new) {
        return;
    }
    if let Some(entries) = object::metadata(live).get("managedFields").cloned() {
        object::metadata_mut(new).insert("managedFields".to_owned(), entries);
    }
}

fn same_but_entries(live: &Value, new: &Value) -> bool {
    let (Some(live), Some(new)) = (live.as_object(), new.as_object()) else { return false };
    let rest = |object: &Value| -> Option<Map<String, Value>> {
        let mut metadata = object.as_object()?.clone();
        metadata.remove("managedFields");
        Some(metadata)
    };
    let same = |key: &String, value: &Value| match new.get(key) {
        Some(other) if key == "metadata" => rest(value) == rest(other),
        other => other == Some(value),
    };
    live.len() == new.len() && live.iter().all(|(key, value)| same(key, value))
}
