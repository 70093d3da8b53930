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

use super::{ConflictCause, Error};
use crate::object;
use crate::schema::{self, Definition, FieldValidation, time};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

mod entries;
mod field_set;
mod last_applied;
mod typed;
mod validate;

#[cfg(test)]
mod tests;

use entries::{Manager, Managers, Operation, Owned};
pub use field_set::FieldSet;
use typed::{Comparison, Type};

/// Managers by update that an object keeps; the oldest beyond it are merged.
const UPDATE_MANAGERS_MAX: usize = 10;
/// The name that merged managers get.
const ANCIENT_CHANGES: &str = "ancient-changes";
/// The manager of all fields of an object that nobody tracked before its first apply.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

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
        typed::compare(self.kind, old, new).without(&self.ignored)
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

/// Server-side apply: merges `patch` (as sent, not normalized) into the live
/// object, removes what the manager applied before and does not now, and updates
/// `metadata.managedFields`. The result still needs defaults.
///
/// # Errors
/// [`Error::BadRequest`] when the patch is of another kind or carries managed
/// fields, [`Error::Internal`] when it does not fit the schema,
/// [`Error::Conflict`] when others manage fields that it changes and `force` is
/// not set.
pub fn apply(
    definition: &str,
    live: Option<&Value>,
    patch: &Value,
    manager: &str,
    force: bool,
    subresource: Option<&str>,
    now: Timestamp,
) -> Result<Value, Error> {
    let api_version = patch.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let request = Request::new(definition, api_version, subresource, now);
    check_patch(&request, patch)?;
    let is_new = live.is_none();
    let live = live.cloned().unwrap_or_else(|| request.empty_object());
    let mut managers = entries::read(live_entries(&live)).unwrap_or_default();
    if managers.is_empty() && !is_new {
        managers = after_update(&request, &request.empty_object(), &live, managers, BEFORE_FIRST_APPLY);
    }
    let applied = match apply_to(&request, &live, patch, managers.clone(), manager, force) {
        Err(conflicts) if manager == last_applied::MANAGER => {
            let conflicts = last_applied::without_allowed(&request, &live, conflicts);
            if !conflicts.is_empty() {
                return Err(conflict_error(&conflicts));
            }
            apply_to(&request, &live, patch, managers, manager, true)
        }
        other => other,
    };
    let mut object = applied.map_err(|conflicts| conflict_error(&conflicts))?;
    if manager == last_applied::MANAGER {
        last_applied::refresh(&mut object, patch);
    }
    Ok(object)
}

fn check_patch(request: &Request<'_>, patch: &Value) -> Result<(), Error> {
    let kind = patch.get("kind").and_then(Value::as_str).unwrap_or_default();
    let (group, version) = request.api_version.split_once('/').unwrap_or(("", request.api_version));
    let gvk = format!("{group}/{version}, Kind={kind}");
    if request
        .definition
        .is_some_and(|definition| schema::definition_for(group, version, kind) != Some(definition.name))
    {
        return Err(Error::BadRequest(format!("invalid object type: {gvk}")));
    }
    if object::metadata(patch).get("managedFields").is_some_and(|entries| !entries.is_null()) {
        return Err(Error::BadRequest("metadata.managedFields must be nil".to_owned()));
    }
    validate::check(request.kind, patch).map_err(|text| {
        let (namespace, name) = (object::namespace(patch), object::name(patch));
        Error::Internal(format!("failed to create typed patch object ({namespace}/{name}; {gvk}): {text}"))
    })
}

/// Fields that others manage, by manager.
type Conflicts = BTreeMap<Manager, FieldSet>;

fn apply_to(
    request: &Request<'_>,
    live: &Value,
    patch: &Value,
    mut managers: Managers,
    name: &str,
    force: bool,
) -> Result<Value, Conflicts> {
    let manager = request.manager(name, Operation::Apply);
    let merged = typed::merge(request.kind, Some(live), Some(patch)).unwrap_or_default();
    let fields = typed::field_set(request.kind, patch).without(&request.ignored);
    let last = managers.get(&manager).cloned();
    let time = last.as_ref().and_then(|last| last.time.clone());
    let own = Owned { fields, api_version: request.api_version.to_owned(), time };
    managers.insert(manager.clone(), own);
    let mut object = match last {
        Some(last) => pruned(request.kind, &merged, &last.fields, &managers),
        None => merged,
    };
    let comparison = request.compare(live, &object);
    let changed = comparison.changed();
    let conflicts = conflicts(&managers, &manager, &changed);
    if !force && !conflicts.is_empty() {
        return Err(conflicts);
    }
    disown(&mut managers, &changed, &comparison.removed, Some(&manager));
    if let Some(own) = managers.get_mut(&manager) {
        own.fields = own.fields.difference(&FieldSet::of_fields(&UNMANAGED));
        if *live != object {
            own.time = Some(request.now.clone());
        }
    }
    managers.retain(|_, owned| !owned.fields.is_empty());
    set_managers(&mut object, &managers);
    Ok(object)
}

fn conflicts(managers: &Managers, but: &Manager, changed: &FieldSet) -> Conflicts {
    let others = managers.iter().filter(|(manager, _)| *manager != but);
    let conflicts = others.map(|(manager, owned)| (manager.clone(), owned.fields.intersection(changed)));
    conflicts.filter(|(_, fields)| !fields.is_empty()).collect()
}

/// The merged object without what the manager applied last and nobody owns now.
fn pruned(kind: Type, merged: &Value, last: &FieldSet, managers: &Managers) -> Value {
    if last.is_empty() {
        return merged.clone();
    }
    let all = |set: &FieldSet| typed::with_parents(kind, set);
    let last = all(last);
    let pruned = typed::remove(kind, merged, &last);
    let owned = managers.values().fold(FieldSet::default(), |owned, manager| owned.union(&manager.fields));
    let in_merged = all(&typed::field_set(kind, merged));
    // What went with a removed parent but belongs to somebody comes back.
    let in_pruned = all(&typed::field_set(kind, &pruned));
    let pruned = typed::remove(kind, merged, &in_merged.difference(&in_pruned.union(&all(&owned))));
    // What went although the manager never applied it comes back as well.
    let in_pruned = all(&typed::field_set(kind, &pruned));
    typed::remove(kind, merged, &in_merged.difference(&in_pruned).intersection(&last))
}

/// The error that names all conflicts (upstream: `internal/conflict.go`).
fn conflict_error(conflicts: &Conflicts) -> Error {
    let mut causes = Vec::new();
    let mut by_manager = Vec::new();
    for (manager, fields) in conflicts {
        let who = manager.readable();
        by_manager.push(format!("conflicts with {who}:"));
        for field in fields.paths() {
            by_manager.push(format!("- {field}"));
            causes.push(ConflictCause { field, message: format!("conflict with {who}") });
        }
    }
    let message = match causes.as_slice() {
        [only] => format!("Apply failed with 1 conflict: {}: {}", only.message, only.field),
        many => format!("Apply failed with {} conflicts: {}", many.len(), by_manager.join("\n")),
    };
    Error::Conflict { message, causes }
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
