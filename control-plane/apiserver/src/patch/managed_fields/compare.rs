//! What differs between two objects, field by field (upstream:
//! structured-merge-diff's `typed/compare.go`).

use super::field_set::FieldSet;
use super::typed::{Atom, Fields, Items, Type, field_element, indexed, is_empty, keys};
use serde_json::Value;
use std::collections::BTreeSet;

/// How two objects differ.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    pub removed: FieldSet,
    pub modified: FieldSet,
    pub added: FieldSet,
}

impl Comparison {
    /// The comparison of fields outside `ignored`.
    pub(super) fn without(self, ignored: &FieldSet) -> Self {
        Self {
            removed: self.removed.without(ignored),
            modified: self.modified.without(ignored),
            added: self.added.without(ignored),
        }
    }

    /// Fields that have a new value.
    pub(super) fn changed(&self) -> FieldSet {
        self.modified.union(&self.added)
    }

    fn record(&mut self, old: Option<&Value>, new: Option<&Value>, path: &[String]) {
        match (old, new) {
            (None, _) => self.added.insert(path),
            (_, None) => self.removed.insert(path),
            _ if old != new => self.modified.insert(path),
            _ => {}
        }
    }
}

/// What differs between two objects.
pub(super) fn compare(kind: Type, old: &Value, new: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    compare_values(kind, Some(old), Some(new), &mut Vec::new(), &mut comparison);
    comparison
}

fn compare_values(kind: Type, old: Option<&Value>, new: Option<&Value>, path: &mut Vec<String>, out: &mut Comparison) {
    let (old_atom, new_atom) = (old.map(|old| kind.atom(old)), new.map(|new| kind.atom(new)));
    let Some(atom) = new_atom.or(old_atom) else { return };
    if old == new {
        return;
    }
    if let (Some(before), true) = (old_atom, new_atom.is_some())
        && !before.is_like(&atom)
    {
        compare_as(before, old, new, path, out);
    }
    let is_leaf = compare_as(atom, old, new, path, out);
    if !is_leaf && (old.is_none() || new.is_none()) {
        out.record(old, new, path);
    }
}

/// Compares by one way to walk; whether it was as a leaf.
fn compare_as(
    atom: Atom,
    old: Option<&Value>,
    new: Option<&Value>,
    path: &mut Vec<String>,
    out: &mut Comparison,
) -> bool {
    let both_empty = is_empty(old) && is_empty(new);
    match atom {
        Atom::Fields(fields) if !both_empty => compare_fields(fields, old, new, path, out),
        Atom::Items(items) if !both_empty => compare_items(items, old, new, path, out),
        _ => {
            out.record(old, new, path);
            return true;
        }
    }
    false
}

fn compare_fields(
    fields: Fields,
    old: Option<&Value>,
    new: Option<&Value>,
    path: &mut Vec<String>,
    out: &mut Comparison,
) {
    for key in keys(old, new) {
        let (old, new) = (old.and_then(|old| old.get(key)), new.and_then(|new| new.get(key)));
        path.push(field_element(key));
        compare_values(fields.child(key), old, new, path, out);
        path.pop();
    }
}

fn compare_items(items: Items, old: Option<&Value>, new: Option<&Value>, path: &mut Vec<String>, out: &mut Comparison) {
    let (old, new) = (indexed(items, old).found, indexed(items, new).found);
    let elements: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for element in elements {
        let (old, new) = (old.get(element), new.get(element));
        path.push(element.clone());
        compare_elements(
            items,
            old.map(Vec::as_slice).unwrap_or_default(),
            new.map(Vec::as_slice).unwrap_or_default(),
            path,
            out,
        );
        path.pop();
    }
}

/// Compares the elements of one identity; duplicates are one big leaf.
fn compare_elements(items: Items, old: &[&Value], new: &[&Value], path: &mut Vec<String>, out: &mut Comparison) {
    match (old.len(), new.len()) {
        (0 | 1, 0 | 1) => compare_values(items.child(), old.first().copied(), new.first().copied(), path, out),
        (0 | 1, _) => {
            if let Some(only) = old.first() {
                compare_values(items.child(), Some(only), None, path, out);
            }
            out.added.insert(path);
        }
        (_, 0 | 1) => {
            if let Some(only) = new.first() {
                compare_values(items.child(), None, Some(only), path, out);
            }
            out.removed.insert(path);
        }
        _ if old != new => out.modified.insert(path),
        _ => {}
    }
}
