//! Server-side apply (upstream: structured-merge-diff's `merge/update.go` and
//! `managedfields/internal/conflict.go`).

use super::entries::{self, Manager, Managers, Operation, Owned};
use super::field_set::FieldSet;
use super::merge::merge;
use super::typed::{self, Type};
use super::{Request, UNMANAGED, after_update, disown, last_applied, live_entries, set_managers, validate};
use crate::object;
use crate::patch::{ConflictCause, Error};
use crate::schema;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// The manager of all fields of an object that nobody tracked before its first apply.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

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
pub(super) type Conflicts = BTreeMap<Manager, FieldSet>;

fn apply_to(
    request: &Request<'_>,
    live: &Value,
    patch: &Value,
    mut managers: Managers,
    name: &str,
    force: bool,
) -> Result<Value, Conflicts> {
    let manager = request.manager(name, Operation::Apply);
    let merged = merge(request.kind, Some(live), Some(patch)).unwrap_or_default();
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
