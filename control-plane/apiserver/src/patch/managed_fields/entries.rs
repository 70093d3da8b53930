//! `metadata.managedFields`: reading it into a map of managers and writing it
//! back in upstream's order (upstream: `managedfields/internal/managedfields.go`).

use super::field_set::FieldSet;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What a manager did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    /// Server-side apply.
    Apply,
    /// Everything else.
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What tells one entry from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    pub name: String,
    pub operation: Operation,
    /// Empty for [`Operation::Apply`]: an applier has one entry in whatever version.
    pub api_version: String,
    pub subresource: String,
}

impl Manager {
    pub(super) fn new(name: &str, operation: Operation, api_version: &str, subresource: &str) -> Self {
        let api_version = if operation == Operation::Apply { "" } else { api_version };
        // Upstream's word for a request without a manager and a user agent.
        let name = if name.is_empty() { "unknown" } else { name };
        Self {
            name: name.to_owned(),
            operation,
            api_version: api_version.to_owned(),
            subresource: subresource.to_owned(),
        }
    }

    /// The manager in messages: `"kubectl" using apps/v1`.
    pub(super) fn readable(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

/// What a manager owns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Owned {
    pub fields: FieldSet,
    pub api_version: String,
    /// RFC 3339; an applier that changed nothing has none.
    pub time: Option<String>,
}

/// All managers of an object.
pub(super) type Managers = BTreeMap<Manager, Owned>;

/// Reads the list; `None` when an entry is no entry.
pub(super) fn read(list: &Value) -> Option<Managers> {
    list.as_array().map(Vec::as_slice).unwrap_or_default().iter().map(read_entry).collect()
}

fn read_entry(entry: &Value) -> Option<(Manager, Owned)> {
    let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
    let operation = match text("operation") {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return None,
    };
    let api_version = text("apiVersion");
    if api_version.is_empty() || text("fieldsType") != "FieldsV1" {
        return None;
    }
    let manager = Manager::new(text("manager"), operation, api_version, text("subresource"));
    let fields = entry.get("fieldsV1").map(FieldSet::from_json).unwrap_or_default();
    let time = entry.get("time").and_then(Value::as_str).map(str::to_owned);
    Some((manager, Owned { fields, api_version: api_version.to_owned(), time }))
}

/// Whether a caller asks to forget all managers: `[]` or `[{}]`.
pub(super) fn is_reset(list: &Value) -> bool {
    match list.as_array().map(Vec::as_slice) {
        Some([]) => true,
        Some([only]) => only.as_object().is_some_and(|entry| entry.values().all(Value::is_null)),
        _ => false,
    }
}

/// Writes the list: appliers first, then by time.
pub(super) fn write(managers: &Managers) -> Vec<Value> {
    let mut entries: Vec<(&Manager, &Owned)> = managers.iter().collect();
    entries.sort_by(|(manager, owned), (other, others)| {
        let by_name = || (&manager.name, &owned.api_version, &manager.subresource);
        let by_others_name = || (&other.name, &others.api_version, &other.subresource);
        (manager.operation, &owned.time)
            .cmp(&(other.operation, &others.time))
            .then_with(|| by_name().cmp(&by_others_name()))
    });
    entries.into_iter().map(|(manager, owned)| write_entry(manager, owned)).collect()
}

fn write_entry(manager: &Manager, owned: &Owned) -> Value {
    let mut entry = Map::new();
    let mut put = |field: &str, value: Value| drop(entry.insert(field.to_owned(), value));
    put("manager", manager.name.as_str().into());
    put("operation", manager.operation.name().into());
    put("apiVersion", owned.api_version.as_str().into());
    if let Some(time) = &owned.time {
        put("time", time.as_str().into());
    }
    put("fieldsType", "FieldsV1".into());
    put("fieldsV1", owned.fields.to_json());
    if !manager.subresource.is_empty() {
        put("subresource", manager.subresource.as_str().into());
    }
    Value::Object(entry)
}
