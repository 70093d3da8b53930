//! Sets of fields of an object: which fields a manager owns. A tree whose edges
//! are path elements in their wire form (`f:spec`, `k:{"name":"web"}`,
//! `v:"finalizer"`), as `metadata.managedFields[].fieldsV1` has them (upstream:
//! structured-merge-diff's `fieldpath.Set`). Knows nothing of schemas.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Levels of a set that are read; deeper ones, which no object has, are dropped.
const DEPTH_MAX: usize = 100;

/// A set of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    pub(super) entries: BTreeMap<String, Entry>,
}

/// What a set has at one path element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Whether the field itself belongs.
    pub member: bool,
    /// What belongs below it.
    pub below: FieldSet,
}

impl Entry {
    fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }

    fn from_json(value: &Value, depth: usize) -> Self {
        let fields = value.as_object();
        let member = fields.is_none_or(|fields| fields.is_empty() || fields.contains_key("."));
        Self { member, below: fields.map(|fields| FieldSet::from_fields(fields, depth)).unwrap_or_default() }
    }

    fn to_json(&self) -> Value {
        let mut fields = self.below.to_map();
        if self.member && !fields.is_empty() {
            fields.insert(".".to_owned(), Value::Object(Map::new()));
        }
        Value::Object(fields)
    }
}

impl FieldSet {
    /// Reads `fieldsV1`.
    pub fn from_json(value: &Value) -> Self {
        value.as_object().map(|fields| Self::from_fields(fields, DEPTH_MAX)).unwrap_or_default()
    }

    fn from_fields(fields: &Map<String, Value>, depth: usize) -> Self {
        let Some(depth) = depth.checked_sub(1) else { return Self::default() };
        let elements = fields.iter().filter(|(element, _)| *element != ".");
        Self { entries: elements.map(|(element, value)| (element.clone(), Entry::from_json(value, depth))).collect() }
    }

    /// Writes `fieldsV1`.
    pub fn to_json(&self) -> Value {
        Value::Object(self.to_map())
    }

    fn to_map(&self) -> Map<String, Value> {
        self.entries.iter().map(|(element, entry)| (element.clone(), entry.to_json())).collect()
    }

    /// A set of fields given by dotted paths, such as `metadata.name`.
    pub fn of_fields(paths: &[&str]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let elements: Vec<String> = path.split('.').map(|name| format!("f:{name}")).collect();
            set.insert(&elements);
        }
        set
    }

    /// Whether nothing belongs.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds the field at `path`. The whole object (the empty path) is never
    /// owned.
    pub fn insert(&mut self, path: &[String]) {
        let Some((first, rest)) = path.split_first() else { return };
        // Looked up first: most paths share their beginnings.
        if !self.entries.contains_key(first) {
            self.entries.insert(first.clone(), Entry::default());
        }
        let Some(entry) = self.entries.get_mut(first) else { return };
        if rest.is_empty() {
            entry.member = true;
        } else {
            entry.below.insert(rest);
        }
    }

    /// Whether the field at the one-element path belongs.
    pub(super) fn has(&self, element: &str) -> bool {
        self.entries.get(element).is_some_and(|entry| entry.member)
    }

    /// What belongs below the element.
    pub(super) fn below(&self, element: &str) -> Option<&Self> {
        self.entries.get(element).map(|entry| &entry.below).filter(|below| !below.is_empty())
    }

    /// What belongs to either.
    pub fn union(&self, other: &Self) -> Self {
        let mut result = self.clone();
        for (element, theirs) in &other.entries {
            let entry = result.entries.entry(element.clone()).or_default();
            entry.member |= theirs.member;
            entry.below = entry.below.union(&theirs.below);
        }
        result
    }

    /// What belongs to both.
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(|element, entry| {
            let theirs = other.entries.get(element)?;
            let below = entry.below.intersection(&theirs.below);
            Some(Entry { member: entry.member && theirs.member, below })
        })
    }

    /// What belongs to this and not to the other. A field in the other does not
    /// take the fields below it along.
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(|element, entry| {
            let Some(theirs) = other.entries.get(element) else { return Some(entry.clone()) };
            let below = entry.below.difference(&theirs.below);
            Some(Entry { member: entry.member && !theirs.member, below })
        })
    }

    /// What neither belongs to the other nor lies below what does.
    pub fn without(&self, other: &Self) -> Self {
        self.combine(|element, entry| match other.entries.get(element) {
            None => Some(entry.clone()),
            Some(theirs) if theirs.member => None,
            Some(theirs) => Some(Entry { member: entry.member, below: entry.below.without(&theirs.below) }),
        })
    }

    fn combine(&self, with: impl Fn(&str, &Entry) -> Option<Entry>) -> Self {
        let entries = self.entries.iter().filter_map(|(element, entry)| {
            let entry = with(element, entry).filter(|entry| !entry.is_empty())?;
            Some((element.clone(), entry))
        });
        Self { entries: entries.collect() }
    }

    /// The paths of all fields, each in upstream's readable form:
    /// `.spec.containers[name="web"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect_paths("", &mut paths);
        paths
    }

    fn collect_paths(&self, prefix: &str, paths: &mut Vec<String>) {
        let readable = |element: &String| format!("{prefix}{}", readable(element));
        let members = self.entries.iter().filter(|(_, entry)| entry.member);
        paths.extend(members.map(|(element, _)| readable(element)));
        for (element, entry) in &self.entries {
            entry.below.collect_paths(&readable(element), paths);
        }
    }
}

/// A path element in readable form.
pub(super) fn readable(element: &str) -> String {
    let (kind, text) = element.split_once(':').unwrap_or_default();
    match kind {
        "k" => {
            let keys: BTreeMap<String, Value> = serde_json::from_str(text).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        "v" => format!("[={text}]"),
        "i" => format!("[{text}]"),
        _ => format!(".{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(value: Value) -> FieldSet {
        FieldSet::from_json(&value)
    }

    #[test]
    fn the_wire_form_survives() {
        let wire =
            json!({"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}}}, "f:replicas": {}}});
        assert_eq!(set(wire.clone()).to_json(), wire);
    }

    #[test]
    fn a_field_alone_is_told_from_a_field_with_fields_below() {
        let both = set(json!({"f:data": {".": {}, "f:x": {}}}));
        let below = set(json!({"f:data": {"f:x": {}}}));
        assert_eq!(both.difference(&below).to_json(), json!({"f:data": {}}));
        assert_eq!(below.union(&set(json!({"f:data": {}}))), both);
        assert_eq!(both.intersection(&below), below);
        assert!(both.without(&set(json!({"f:data": {}}))).is_empty());
        assert_eq!(both.without(&below).to_json(), json!({"f:data": {}}));
    }

    #[test]
    fn paths_read_as_upstream_prints_them() {
        let set = set(json!({"f:metadata": {"f:finalizers": {"v:\"a/b\"": {}}},
            "f:spec": {"f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {"f:name": {}}}}}));
        assert_eq!(
            set.paths(),
            [r#".metadata.finalizers[="a/b"]"#, r#".spec.ports[containerPort=80,protocol="TCP"].name"#]
        );
    }
}
