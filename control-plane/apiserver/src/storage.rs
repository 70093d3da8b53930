//! Objects ⇄ keys and bytes of the store; resource versions.
//!
//! A stored value is the object's JSON without `apiVersion` and `kind` (the key
//! says them), without `metadata.resourceVersion` (the commit says it), and with
//! `metadata` first. So the place of the resource version is known, and what
//! clients see is the stored bytes with insertions, made while they are written:
//! the store, the cache and the watches share one copy of each version.
//!
//! ```text
//! stored   {"metadata":{"name":"web",…},"spec":…}
//! in list  {"metadata":{"resourceVersion":"7","name":"web",…},"spec":…}
//! on wire  {"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"7",…
//! ```
//!
//! Called by the verbs and the cache. It knows nothing of HTTP.

use crate::{
    http::status::{ApiError, Target},
    object,
    registry::{Resource, Scope},
};
use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, io::Write, sync::Arc};
use wk_store::{Entry, Error, Expected, Key, Revision, Store};

/// How every stored value begins; the resource version goes right behind it.
const HEAD: &[u8] = b"{\"metadata\":{";

/// Attempts to write an object that others keep changing.
const UPDATE_ATTEMPTS_MAX: usize = 16;

/// An object's stored bytes and the commit that wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// As [`encode`] writes it.
    value: Bytes,
    /// The commit that wrote it; 0 when it was not stored (dry run).
    pub revision: Revision,
}

impl Encoded {
    /// Bytes of what is written around the stored value, about.
    const AROUND_BYTES: usize = 112;

    /// The stored bytes of a commit.
    pub fn stored(value: Bytes, revision: Revision) -> Self {
        Self { value, revision }
    }

    /// An object that is not stored, as it is.
    pub fn unstored(object: &Value) -> Self {
        let version = object::metadata_str(object, "resourceVersion").parse();
        Self { value: encode(object), revision: Revision(version.unwrap_or(0)) }
    }

    /// The same object, said to be of another revision.
    pub fn at_revision(&self, revision: Revision) -> Self {
        Self { revision, ..self.clone() }
    }

    /// Bytes of room for it, as an item or on the wire.
    pub fn room(&self) -> usize {
        self.value.len() + Self::AROUND_BYTES
    }

    /// The whole object as JSON.
    pub fn on_wire(&self, row: &Resource) -> Bytes {
        let mut json = BytesMut::with_capacity(self.room());
        self.write_on_wire(row, &mut json);
        json.freeze()
    }

    /// Appends the whole object as JSON.
    pub fn write_on_wire(&self, row: &Resource, out: &mut BytesMut) {
        let slash = if row.group.is_empty() { "" } else { "/" };
        write!(out.writer(), "{{\"apiVersion\":\"{}{slash}{}\",\"kind\":\"{}\",", row.group, row.version, row.kind)
            .expect(IN_MEMORY);
        self.write_fields(out);
    }

    /// Appends the object as an item of a list has it, without `apiVersion` and `kind`.
    pub fn write_item(&self, out: &mut BytesMut) {
        out.put_u8(b'{');
        self.write_fields(out);
    }

    /// All behind the first brace, with the resource version.
    fn write_fields(&self, out: &mut BytesMut) {
        let (head, rest) = self.value.split_at(HEAD.len().min(self.value.len()));
        out.put_slice(head.get(1..).unwrap_or_default());
        if self.revision != Revision(0) {
            let separator = if rest.first() == Some(&b'}') { "" } else { "," };
            write!(out.writer(), "\"resourceVersion\":\"{}\"{separator}", self.revision).expect(IN_MEMORY);
        }
        out.put_slice(rest);
    }

    /// The labels and nothing else, which costs a look at the metadata.
    pub fn labels(&self) -> BTreeMap<Box<str>, Box<str>> {
        let only: OnlyMetadata = serde_json::from_slice(&self.value).unwrap_or_default();
        only.metadata.labels.unwrap_or_default()
    }

    /// The object as a value, with `apiVersion` and `kind`.
    ///
    /// # Errors
    /// [`ApiError::Internal`] when it is not what [`encode`] wrote.
    pub fn decode(&self, row: &Resource) -> Result<Value, ApiError> {
        serde_json::from_slice(&self.on_wire(row))
            .map_err(|error| ApiError::Internal(format!("stored {} is damaged: {error}", row.kind)))
    }
}

#[derive(Default, Deserialize)]
struct OnlyMetadata {
    #[serde(default)]
    metadata: OnlyLabels,
}

#[derive(Default, Deserialize)]
struct OnlyLabels {
    #[serde(default)]
    labels: Option<BTreeMap<Box<str>, Box<str>>>,
}

const IN_MEMORY: &str = "writing to memory does not fail";

/// The bytes to store for an object.
pub fn encode(object: &Value) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    let mut separator: &[u8] = HEAD;
    for (field, value) in object::metadata(object).iter().filter(|(field, _)| *field != "resourceVersion") {
        write_field(&mut out, separator, field, value);
        separator = b",";
    }
    if separator == HEAD {
        out.put_slice(HEAD);
    }
    out.put_u8(b'}');
    for (field, value) in object.as_object().into_iter().flatten() {
        if !matches!(field.as_str(), "metadata" | "apiVersion" | "kind") {
            write_field(&mut out, b",", field, value);
        }
    }
    out.put_u8(b'}');
    // It is kept for long, and every version of it: without the room it grew into.
    out.into_boxed_slice().into()
}

fn write_field(out: &mut Vec<u8>, separator: &[u8], field: &str, value: &Value) {
    out.put_slice(separator);
    serde_json::to_writer(&mut *out, field).expect(IN_MEMORY);
    out.put_u8(b':');
    serde_json::to_writer(&mut *out, value).expect(IN_MEMORY);
}

/// Under which prefix the objects of a resource lie (in one namespace, when it
/// is not empty). It ends with a slash.
pub fn prefix(row: &Resource, namespace: &str) -> String {
    let group = storage_group(row.group);
    let mut key = String::from("/registry/");
    for part in [group, row.plural, namespace] {
        if !part.is_empty() {
            key.push_str(part);
            key.push('/');
        }
    }
    key
}

/// Both event APIs show the same objects (upstream stores them as core events).
fn storage_group(group: &str) -> &str {
    if group == "events.k8s.io" { "" } else { group }
}

/// The key of an object.
pub fn key(row: &Resource, namespace: &str, name: &str) -> Key {
    let namespace = if row.scope == Scope::Cluster { "" } else { namespace };
    let mut key = prefix(row, namespace);
    key.push_str(name);
    Key::from(key)
}

/// What to do with the current object.
pub enum Update {
    /// Write this.
    Write(Value),
    /// Leave it; this is what the caller sees.
    Keep(Value),
    /// Remove it; this is what the caller sees.
    Delete(Value),
}

/// What came of an update.
pub struct Updated {
    /// What the caller sees.
    pub object: Encoded,
    /// What was done.
    pub done: Done,
}

/// Whether an update was the next one after what it was made from.
pub enum Written {
    /// It was.
    Done(Updated),
    /// Somebody else wrote before; this is what is there now.
    Changed(Option<Entry>),
}

/// What an update did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// A new version is stored.
    Written,
    /// Nothing was written.
    Kept,
    /// The object is gone.
    Deleted,
}

/// Objects in a store. Cheap to clone.
#[derive(Clone)]
pub struct Storage {
    store: Arc<dyn Store>,
}

impl Storage {
    /// Objects in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The store itself.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The newest version of an object.
    ///
    /// # Errors
    /// 404, or the store's.
    pub async fn get(&self, row: &Resource, namespace: &str, name: &str) -> Result<Encoded, ApiError> {
        let entry = self.store.get(&key(row, namespace, name)).await?;
        let entry = entry.ok_or_else(|| ApiError::NotFound(Target::object(row, name)))?;
        Ok(Encoded::stored(entry.value, entry.modified))
    }

    /// Stores a new object.
    ///
    /// # Errors
    /// 409 AlreadyExists, or the store's.
    pub async fn create(&self, row: &Resource, object: &Value) -> Result<Encoded, ApiError> {
        let (name, value) = (object::name(object), encode(object));
        let key = key(row, object::namespace(object), name);
        let written = self.store.put(key, value.clone(), Expected::Absent, row.strategy.durability(object)).await;
        match written {
            Ok(revision) => Ok(Encoded::stored(value, revision)),
            Err(Error::Conflict { .. }) => Err(ApiError::AlreadyExists(Target::object(row, name))),
            Err(error) => Err(error.into()),
        }
    }

    /// What is stored under a key.
    ///
    /// # Errors
    /// The store's.
    pub async fn entry(&self, key: &Key) -> Result<Option<Entry>, ApiError> {
        Ok(self.store.get(key).await?)
    }

    /// Reads, decides, writes; again when somebody else wrote meanwhile. `decide`
    /// may be called several times; it refuses by an error. Cancel safety: the
    /// write happens or not as a whole.
    ///
    /// # Errors
    /// 404, what `decide` says, 409 after too many lost races, or the store's.
    pub async fn update(
        &self,
        row: &Resource,
        namespace: &str,
        name: &str,
        mut decide: impl FnMut(Value) -> Result<Update, ApiError>,
    ) -> Result<Updated, ApiError> {
        let mut found = self.entry(&key(row, namespace, name)).await?;
        for _ in 0..UPDATE_ATTEMPTS_MAX {
            let entry = found.ok_or_else(|| ApiError::NotFound(Target::object(row, name)))?;
            let update = decide(Encoded::stored(entry.value.clone(), entry.modified).decode(row)?)?;
            match self.write(row, &entry, update).await? {
                Written::Done(updated) => return Ok(updated),
                Written::Changed(now) => found = now,
            }
        }
        Err(ApiError::modified(row, name))
    }

    /// Writes an update of `entry`, unless that has changed meanwhile. An update
    /// that changes nothing writes nothing. Cancel safety: it happens or not.
    ///
    /// # Errors
    /// The store's.
    pub async fn write(&self, row: &Resource, entry: &Entry, update: Update) -> Result<Written, ApiError> {
        match self.try_write(row, entry, update).await {
            Ok(updated) => Ok(Written::Done(updated)),
            Err(Error::Conflict { found, .. }) => Ok(Written::Changed(found.map(|entry| *entry))),
            Err(Error::NotFound(_)) => Ok(Written::Changed(None)),
            Err(error) => Err(error.into()),
        }
    }

    async fn try_write(&self, row: &Resource, entry: &Entry, update: Update) -> Result<Updated, Error> {
        match update {
            Update::Keep(object) => Ok(Updated { object: Encoded::unstored(&object), done: Done::Kept }),
            Update::Write(object) => {
                let value = encode(&object);
                if value == entry.value {
                    return Ok(Updated { object: Encoded::stored(value, entry.modified), done: Done::Kept });
                }
                let (expected, durability) = (Expected::At(entry.modified), row.strategy.durability(&object));
                let revision = self.store.put(entry.key.clone(), value.clone(), expected, durability).await?;
                Ok(Updated { object: Encoded::stored(value, revision), done: Done::Written })
            }
            Update::Delete(object) => {
                self.store.delete(&entry.key, entry.modified).await?;
                // The last state was not stored: it has the version before it.
                Ok(Updated { object: Encoded::stored(encode(&object), entry.modified), done: Done::Deleted })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn item(encoded: &Encoded) -> String {
        let mut out = BytesMut::new();
        encoded.write_item(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn the_resource_version_goes_into_the_stored_bytes() {
        let object = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"a": 1},
                            "metadata": {"resourceVersion": "3", "name": "x"}});
        let stored = encode(&object);
        assert_eq!(stored, r#"{"metadata":{"name":"x"},"spec":{"a":1}}"#);
        let encoded = Encoded::stored(stored, Revision(7));
        assert_eq!(item(&encoded), r#"{"metadata":{"resourceVersion":"7","name":"x"},"spec":{"a":1}}"#);
    }

    #[test]
    fn the_resource_version_can_be_replaced() {
        let encoded = Encoded::stored(encode(&json!({"metadata": {"name": "x"}})), Revision(7));
        let later = encoded.at_revision(Revision(12));
        assert_eq!(item(&later), r#"{"metadata":{"resourceVersion":"12","name":"x"}}"#);
    }

    #[test]
    fn empty_metadata_is_still_json() {
        let encoded = Encoded::stored(encode(&json!({})), Revision(7));
        assert_eq!(item(&encoded), r#"{"metadata":{"resourceVersion":"7"}}"#);
    }

    #[test]
    fn what_is_not_stored_has_no_resource_version() {
        assert_eq!(item(&Encoded::unstored(&json!({"metadata": {"name": "x"}}))), r#"{"metadata":{"name":"x"}}"#);
        let read = Encoded::unstored(&json!({"metadata": {"name": "x", "resourceVersion": "9"}}));
        assert_eq!(item(&read), r#"{"metadata":{"resourceVersion":"9","name":"x"}}"#);
    }
}
