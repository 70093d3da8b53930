//! One object merged into another, field by field and element by element
//! (upstream: structured-merge-diff's `typed/merge.go`).

use super::typed::{Atom, Fields, Indexed, Items, Type, indexed, is_empty, keys};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Merges `new` into `old`; `None` when nothing is left.
pub(super) fn merge(kind: Type, old: Option<&Value>, new: Option<&Value>) -> Option<Value> {
    let atom = new.or(old).map(|value| kind.atom(value))?;
    let both_empty = is_empty(old) && is_empty(new);
    match atom {
        Atom::Fields(fields) if !both_empty => merge_fields(fields, old, new),
        Atom::Items(items) if !both_empty => Some(merge_items(items, old, new)),
        _ => new.or(old).cloned(),
    }
}

fn merge_fields(fields: Fields, old: Option<&Value>, new: Option<&Value>) -> Option<Value> {
    let mut merged = Map::new();
    for key in keys(old, new) {
        let (old, new) = (old.and_then(|old| old.get(key)), new.and_then(|new| new.get(key)));
        if let Some(value) = merge(fields.child(key), old, new) {
            merged.insert(key.clone(), value);
        }
    }
    (!merged.is_empty()).then_some(Value::Object(merged))
}

/// Merges two lists of identified elements: the new list's elements in its
/// order, the old list's others beside the neighbours they had.
fn merge_items(items: Items, old: Option<&Value>, new: Option<&Value>) -> Value {
    let old_elements = old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (left, right) = (indexed(items, old), indexed(items, new));
    let mut weave = Weave::new(&left, &right);
    let mut merged = Vec::with_capacity(left.order.len().max(right.order.len()));
    while let Some(step) = weave.next() {
        let value = match step {
            // Duplicates of the old list are kept as they are.
            Step::Old(index) => old_elements.get(index).cloned(),
            Step::Merge(element) => {
                let before = left.found.get(&element).map(|all| if all.len() == 1 { all[0] } else { &Value::Null });
                merge(items.child(), before, right.found.get(&element).and_then(|all| all.first().copied()))
            }
        };
        merged.extend(value);
    }
    Value::Array(merged)
}

enum Step {
    /// Take the old list's element at this place.
    Old(usize),
    /// Merge the two lists' elements of this identity.
    Merge(String),
}

/// The order in which two lists are merged.
struct Weave<'a> {
    left: &'a Indexed<'a>,
    right: &'a Indexed<'a>,
    left_index: usize,
    right_index: usize,
    /// Elements of both lists that are not merged yet, in the new list's order.
    shared: std::vec::IntoIter<&'a String>,
    next_shared: Option<&'a String>,
    merged: BTreeSet<&'a String>,
}

impl<'a> Weave<'a> {
    fn new(left: &'a Indexed<'a>, right: &'a Indexed<'a>) -> Self {
        let shared: Vec<&String> = right.order.iter().filter(|element| left.found.contains_key(*element)).collect();
        let mut shared = shared.into_iter();
        let next_shared = shared.next();
        Self { left, right, left_index: 0, right_index: 0, shared, next_shared, merged: BTreeSet::new() }
    }

    fn next(&mut self) -> Option<Step> {
        loop {
            let (left, right) = (self.left.order.get(self.left_index), self.right.order.get(self.right_index));
            if left.is_none() && right.is_none() {
                return None;
            }
            if let (Some(left), Some(right)) = (left, right) {
                if left == right {
                    self.left_index += 1;
                    return Some(self.take_right(right, true));
                }
                let waits = self.next_shared.is_some_and(|next| next != left);
                if waits && self.right.found.contains_key(left) {
                    self.left_index += 1; // it comes with the new list's element
                    continue;
                }
            }
            if let Some(left) = left {
                if !self.right.found.contains_key(left) {
                    self.left_index += 1;
                    return Some(Step::Old(self.left_index - 1));
                }
                if self.merged.contains(left) {
                    self.left_index += 1;
                }
            }
            if let Some(right) = right {
                let is_shared = self.next_shared == Some(right);
                return Some(self.take_right(right, is_shared));
            }
        }
    }

    fn take_right(&mut self, element: &'a String, is_shared: bool) -> Step {
        self.right_index += 1;
        self.merged.insert(element);
        if is_shared {
            self.next_shared = self.shared.next();
        }
        Step::Merge(element.clone())
    }
}
