//! Objects as server-side apply sees them: which values are leaves, which lists
//! are sets or keyed, the fields of an object, and an object without some of
//! them (upstream: structured-merge-diff's `typed`). Comparing, merging and
//! checking walk in the same way, in files of their own.
//!
//! An absent value and null differ: a null field is there, but has nothing in it.

use super::field_set::{Entry, FieldSet};
use crate::schema::{Definition, ListType, Schema, Shape};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What is known about a value.
#[derive(Clone, Copy)]
pub(super) enum Type {
    /// A whole object of a kind.
    Object(&'static Definition),
    /// A field or an element.
    Known(&'static Schema),
    /// Nothing: the value itself says what it is.
    Free,
}

/// How a value is walked.
#[derive(Clone, Copy)]
pub(super) enum Atom {
    /// One value.
    Leaf(Leaf),
    /// Fields, each on its own.
    Fields(Fields),
    /// Elements, each on its own.
    Items(Items),
}

/// What a leaf looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    Scalar,
    Map,
    List,
}

/// Where the fields of an object are declared.
#[derive(Clone, Copy)]
pub(super) enum Fields {
    Struct(&'static Definition),
    Map(&'static Schema),
    Free,
}

/// The elements of a list that are told apart.
#[derive(Clone, Copy)]
pub(super) struct Items {
    schema: &'static Schema,
    /// Empty for a set of scalars.
    keys: &'static [&'static str],
}

impl Type {
    pub(super) fn of(definition: Option<&'static Definition>) -> Self {
        definition.map_or(Self::Free, Self::Object)
    }

    /// How a value of the type is walked.
    pub(super) fn atom(self, value: &Value) -> Atom {
        match self {
            Self::Object(definition) => Atom::Fields(Fields::Struct(definition)),
            Self::Known(schema) => known_atom(schema, value),
            Self::Free => free_atom(value),
        }
    }
}

fn known_atom(schema: &'static Schema, value: &Value) -> Atom {
    match &schema.shape {
        Shape::Struct(_) | Shape::Map(_) if schema.is_atomic() => Atom::Leaf(Leaf::Map),
        Shape::Struct(id) => Atom::Fields(Fields::Struct(id.get())),
        Shape::Map(values) => Atom::Fields(Fields::Map(values)),
        Shape::List(items) => match schema.list_type {
            Some(ListType::Set) => Atom::Items(Items { schema: items, keys: &[] }),
            Some(ListType::Map) => Atom::Items(Items { schema: items, keys: &schema.list_map_keys }),
            Some(ListType::Atomic) | None => Atom::Leaf(Leaf::List),
        },
        Shape::Any => free_atom(value),
        _ => Atom::Leaf(Leaf::Scalar),
    }
}

fn free_atom(value: &Value) -> Atom {
    match value {
        Value::Object(_) | Value::Null => Atom::Fields(Fields::Free),
        Value::Array(_) => Atom::Leaf(Leaf::List),
        _ => Atom::Leaf(Leaf::Scalar),
    }
}

impl Atom {
    /// Whether two values are walked alike.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Leaf(left), Self::Leaf(right)) => left == right,
            (Self::Fields(_), Self::Fields(_)) | (Self::Items(_), Self::Items(_)) => true,
            _ => false,
        }
    }
}

impl Fields {
    /// The declared field, `None` for keys that nothing declares by name.
    fn declared(self, key: &str) -> Option<&'static Schema> {
        match self {
            Self::Struct(definition) => definition.field(key).map(|field| &field.schema),
            Self::Map(_) | Self::Free => None,
        }
    }

    /// The type of a field that may be there; `None` for one that is not known.
    pub(super) fn accepts(self, key: &str) -> Option<Type> {
        match self {
            Self::Struct(_) => self.declared(key).map(Type::Known),
            Self::Map(_) | Self::Free => Some(self.child(key)),
        }
    }

    /// The type of a field.
    pub(super) fn child(self, key: &str) -> Type {
        match self {
            Self::Struct(_) => self.declared(key).map_or(Type::Free, Type::Known),
            Self::Map(values) => Type::Known(values),
            Self::Free => Type::Free,
        }
    }
}

impl Items {
    /// The type of the elements.
    pub(super) fn child(self) -> Type {
        Type::Known(self.schema)
    }

    /// The path element of an element of the list.
    pub(super) fn element(self, item: &Value) -> Result<String, String> {
        if self.keys.is_empty() { set_element(item) } else { self.keyed_element(item) }
    }

    fn keyed_element(self, item: &Value) -> Result<String, String> {
        let fields = match item {
            Value::Object(fields) => fields,
            Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
            _ => return Err("associative list with keys may not have non-map elements".to_owned()),
        };
        let mut identity = BTreeMap::new();
        for key in self.keys {
            let value = fields.get(*key).or_else(|| self.key_default(key)).ok_or_else(|| {
                format!(
                    "associative list with keys has an element that omits key field {key:?} (and doesn't have default value)"
                )
            })?;
            identity.insert(*key, value);
        }
        Ok(format!("k:{}", serde_json::to_string(&identity).unwrap_or_default()))
    }

    fn key_default(self, key: &str) -> Option<&'static Value> {
        self.schema.definition()?.field(key)?.schema.default.as_ref()
    }
}

fn set_element(item: &Value) -> Result<String, String> {
    match item {
        Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
        Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
        Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
        scalar => Ok(format!("v:{scalar}")),
    }
}

/// The path element of a field.
pub(super) fn field_element(key: &str) -> String {
    format!("f:{key}")
}

/// All fields of a value.
pub(super) fn field_set(kind: Type, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    collect(kind, value, &mut Vec::new(), &mut set);
    set
}

fn collect(kind: Type, value: &Value, path: &mut Vec<String>, set: &mut FieldSet) {
    match kind.atom(value) {
        Atom::Leaf(_) => set.insert(path),
        Atom::Fields(fields) => {
            for (key, child) in value.as_object().into_iter().flatten() {
                path.push(field_element(key));
                collect(fields.child(key), child, path, set);
                let empty = child.is_null() || child.as_object().is_some_and(Map::is_empty);
                if empty || fields.declared(key).is_none() {
                    set.insert(path);
                }
                path.pop();
            }
        }
        Atom::Items(items) => {
            let elements = indexed(items, Some(value));
            for (element, children) in &elements.found {
                path.push(element.clone());
                if let [child] = children.as_slice() {
                    collect(items.child(), child, path, set);
                }
                set.insert(path);
                path.pop();
            }
        }
    }
}

/// The elements of a list by path element.
pub(super) struct Indexed<'a> {
    /// One per element that has a path element, in order; duplicates repeat.
    pub order: Vec<String>,
    /// All elements of a path element.
    pub found: BTreeMap<String, Vec<&'a Value>>,
}

/// Indexes a list.
pub(super) fn indexed(items: Items, value: Option<&Value>) -> Indexed<'_> {
    let mut indexed = Indexed { order: Vec::new(), found: BTreeMap::new() };
    for item in value.and_then(Value::as_array).into_iter().flatten() {
        // An element without its keys cannot be tracked.
        let Ok(element) = items.element(item) else { continue };
        indexed.found.entry(element.clone()).or_default().push(item);
        indexed.order.push(element);
    }
    indexed
}

/// Whether a map or list has nothing in it; absent and null have not.
pub(super) fn is_empty(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::Array(elements)) => elements.is_empty(),
        _ => true,
    }
}

/// The keys of either object.
pub(super) fn keys<'a>(left: Option<&'a Value>, right: Option<&'a Value>) -> BTreeSet<&'a String> {
    let sides = [left, right].into_iter().flatten().filter_map(Value::as_object);
    sides.flat_map(Map::keys).collect()
}

/// The value without the fields of the set. What has nothing left becomes null.
pub(super) fn remove(kind: Type, value: &Value, gone: &FieldSet) -> Value {
    match (kind.atom(value), value) {
        (Atom::Leaf(Leaf::Scalar), value) => value.clone(),
        (Atom::Fields(fields), Value::Object(entries)) => {
            let mut left = Map::new();
            for (key, child) in entries {
                let element = field_element(key);
                if !gone.has(&element) {
                    left.insert(key.clone(), remove_below(fields.child(key), child, gone.below(&element)));
                }
            }
            if left.is_empty() { Value::Null } else { Value::Object(left) }
        }
        (Atom::Items(items), Value::Array(elements)) => {
            let mut left = Vec::new();
            for child in elements {
                let element = items.element(child).unwrap_or_default();
                if !gone.has(&element) {
                    left.push(remove_below(items.child(), child, gone.below(&element)));
                }
            }
            if left.is_empty() { Value::Null } else { Value::Array(left) }
        }
        _ => Value::Null,
    }
}

fn remove_below(kind: Type, value: &Value, gone: Option<&FieldSet>) -> Value {
    gone.map_or_else(|| value.clone(), |gone| remove(kind, value, gone))
}

/// The set with each declared field that has fields of the set below it.
pub(super) fn with_parents(kind: Type, set: &FieldSet) -> FieldSet {
    // How a value would be walked is asked with null: only the type matters.
    let atom = kind.atom(&Value::Null);
    let entries = set.entries.iter().map(|(element, entry)| {
        let (declared, child) = match (atom, element.strip_prefix("f:")) {
            (Atom::Fields(fields), Some(key)) => (fields.declared(key).is_some(), fields.child(key)),
            (Atom::Items(items), None) => (false, items.child()),
            _ => (false, Type::Free),
        };
        let member = entry.member || (declared && !entry.below.is_empty());
        (element.clone(), Entry { member, below: with_parents(child, &entry.below) })
    });
    FieldSet { entries: entries.collect() }
}
