//! The table of messages: which field has which number, type and JSON name.
//! Built once, on first use, from `data/protobuf-facts.json` and the schema's
//! names. Go embeds some structs whose fields JSON shows in the parent; such
//! fields are marked inline here.

use super::definition_name;
use crate::schema::{self, Definition};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::HashMap;
use std::sync::LazyLock;

const META_V1: &str = "k8s.io.apimachinery.pkg.apis.meta.v1";

/// Type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    String,
    Bytes,
    Bool,
    Int32,
    Int64,
    Double,
    Message(MessageId),
    /// The type of the values; keys are strings.
    Map(MapValue),
}

/// Type of a map's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MapValue {
    String,
    Bytes,
    Message(MessageId),
}

impl MapValue {
    /// The values as a field would have them.
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::String => Kind::String,
            Self::Bytes => Kind::Bytes,
            Self::Message(id) => Kind::Message(id),
        }
    }
}

/// One field of a message.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// Name in JSON.
    pub name: String,
    pub number: u32,
    pub kind: Kind,
    pub repeated: bool,
    /// Whether JSON shows the message's fields in the parent.
    pub inline: bool,
}

/// Messages that are no plain structs in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// An object with the message's fields.
    Struct,
    /// A list: the only field, `items`.
    Items,
    Time,
    MicroTime,
    Duration,
    Quantity,
    IntOrString,
    /// JSON in the only field.
    Raw,
    /// One of two forms of a schema.
    SchemaOr,
}

/// One message.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub form: Form,
    /// In order of number.
    pub fields: Vec<Field>,
}

impl Message {
    pub(super) fn field(&self, number: u32) -> Option<&Field> {
        self.fields.binary_search_by_key(&number, |field| field.number).ok().map(|index| &self.fields[index])
    }
}

/// A message by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessageId(u16);

impl MessageId {
    pub(super) fn get(self) -> &'static Message {
        &TABLE.messages[usize::from(self.0)]
    }
}

/// The message of a kind.
pub(super) fn message_for(api_version: &str, kind: &str) -> Option<&'static Message> {
    let by_name = |name: &str| TABLE.by_name.get(name).map(|id| id.get());
    match definition_name(api_version, kind) {
        Some(definition) => by_name(&message_name(definition)),
        // Options, Status and the like are of every group.
        None => {
            by_name(&format!("{META_V1}.{kind}")).filter(|_| api_version == "v1" || api_version == "meta.k8s.io/v1")
        }
    }
}

/// `io.k8s.kube-aggregator…` as protobuf spells it.
fn message_name(definition: &str) -> String {
    definition.replacen("io.k8s.", "k8s.io.", 1).replace('-', "_")
}

fn definition_of(message: &str) -> Option<&'static Definition> {
    let name = message.replacen("k8s.io.", "io.k8s.", 1);
    let name = name.replace("apiextensions_apiserver", "apiextensions-apiserver");
    schema::definition(&name.replace("kube_aggregator", "kube-aggregator"))
}

struct Table {
    messages: Vec<Message>,
    by_name: HashMap<&'static str, MessageId>,
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::load);

/// Number, type, what the type refers to, and whether it is `repeated`.
#[derive(Deserialize)]
struct RawField(u32, &'static str, Option<RawReference>, &'static str);

#[derive(Deserialize)]
#[serde(untagged)]
enum RawReference {
    Message(&'static str),
    /// Keys are strings always.
    Map(IgnoredAny, &'static str),
}

type RawMessages = HashMap<&'static str, HashMap<&'static str, RawField>>;

impl Table {
    fn load() -> Self {
        let raw: RawMessages = serde_json::from_str(include_str!("../../data/protobuf-facts.json"))
            .expect("the facts are part of the program and tested");
        let mut names: Vec<&'static str> = raw.keys().copied().collect();
        names.sort_unstable();
        let by_name: HashMap<_, _> = names.iter().zip(0u16..).map(|(name, id)| (*name, MessageId(id))).collect();
        let messages = names.iter().map(|name| message_of(name, &raw, &by_name)).collect();
        Self { messages, by_name }
    }
}

fn message_of(name: &str, raw: &RawMessages, by_name: &HashMap<&'static str, MessageId>) -> Message {
    let definition = definition_of(name);
    let mut fields: Vec<Field> = raw[name]
        .iter()
        .filter_map(|(field, facts)| {
            let json_name = definition.and_then(|definition| json_name(definition, field));
            let inline = definition
                .is_some_and(|definition| json_name.is_none() && is_embedded(definition, facts, raw, EMBEDDED_DEPTH));
            Some(Field {
                name: json_name.unwrap_or(field).to_owned(),
                number: facts.0,
                kind: kind_of(facts, by_name)?,
                repeated: facts.3 == "repeated",
                inline,
            })
        })
        .collect();
    fields.sort_by_key(|field| field.number);
    Message { form: form_of(name, &fields), fields }
}

/// The field's name in JSON, where the schema knows it.
fn json_name(definition: &'static Definition, field: &str) -> Option<&'static str> {
    let bare = |name: &str| name.replace(['-', '$'], "").to_ascii_lowercase();
    let exact = definition.field(field).map(|found| found.name);
    // Protobuf has `aPIGroup`, `xKubernetesListType` and `ref` for `apiGroup`,
    // `x-kubernetes-list-type` and `$ref`.
    exact.or_else(|| definition.fields.iter().map(|found| found.name).find(|name| bare(name) == bare(field)))
}

/// Levels of embedding in Go's structs.
const EMBEDDED_DEPTH: usize = 2;

/// Whether the fields of the message are the parent's own in JSON.
fn is_embedded(parent: &'static Definition, facts: &RawField, raw: &RawMessages, depth: usize) -> bool {
    let (Some(RawReference::Message(message)), "") = (&facts.2, facts.3) else { return false };
    let (Some(fields), Some(depth)) = (raw.get(message), depth.checked_sub(1)) else { return false };
    let belongs = |field: &str, facts| json_name(parent, field).is_some() || is_embedded(parent, facts, raw, depth);
    fields.iter().any(|(field, facts)| belongs(field, facts))
}

fn kind_of(facts: &RawField, by_name: &HashMap<&'static str, MessageId>) -> Option<Kind> {
    Some(match (facts.1, &facts.2) {
        ("string", _) => Kind::String,
        ("bytes", _) => Kind::Bytes,
        ("bool", _) => Kind::Bool,
        ("int32", _) => Kind::Int32,
        ("int64", _) => Kind::Int64,
        ("double", _) => Kind::Double,
        ("map", Some(RawReference::Map(_, "string"))) => Kind::Map(MapValue::String),
        ("map", Some(RawReference::Map(_, "bytes"))) => Kind::Map(MapValue::Bytes),
        ("map", Some(RawReference::Map(_, message))) => Kind::Map(MapValue::Message(*by_name.get(message)?)),
        ("message", Some(RawReference::Message(message))) => Kind::Message(*by_name.get(message)?),
        _ => return None,
    })
}

fn form_of(name: &str, fields: &[Field]) -> Form {
    match name.rsplit('.').next().unwrap_or(name) {
        "Time" => Form::Time,
        "MicroTime" => Form::MicroTime,
        "Duration" => Form::Duration,
        "Quantity" => Form::Quantity,
        "IntOrString" => Form::IntOrString,
        "RawExtension" | "FieldsV1" | "JSON" => Form::Raw,
        "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrStringArray" => Form::SchemaOr,
        _ => match fields {
            [only] if only.name == "items" && only.kind == Kind::String && only.repeated => Form::Items,
            _ => Form::Struct,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_type_and_a_number_of_its_own() {
        let raw: RawMessages = serde_json::from_str(include_str!("../../data/protobuf-facts.json")).unwrap();
        for (name, fields) in &raw {
            let message = TABLE.by_name[name].get();
            assert_eq!(message.fields.len(), fields.len(), "{name}");
            assert!(message.fields.windows(2).all(|pair| pair[0].number < pair[1].number), "{name}");
        }
    }

    #[test]
    fn names_are_those_of_json() {
        let names = |kind: &str| -> Vec<(String, bool)> {
            let message = TABLE.by_name[kind].get();
            message.fields.iter().map(|field| (field.name.clone(), field.inline)).collect()
        };
        assert_eq!(names("k8s.io.api.core.v1.Volume"), [("name".to_owned(), false), ("volumeSource".to_owned(), true)]);
        let reference = names("k8s.io.api.networking.v1.IngressClassParametersReference");
        assert!(reference.contains(&("apiGroup".to_owned(), false)));
        let schema = names("k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps");
        assert!(schema.contains(&("x-kubernetes-list-type".to_owned(), false)));
        assert!(schema.contains(&("$ref".to_owned(), false)));
    }

    #[test]
    fn every_field_of_the_schema_has_a_number() {
        let mut lacking = Vec::new();
        for definition in schema::table::definitions() {
            let Some(id) = TABLE.by_name.get(message_name(definition.name).as_str()) else { continue };
            if id.get().form != Form::Struct {
                continue;
            }
            let covered = |name: &str| ["apiVersion", "kind"].contains(&name) || covers(id.get(), name);
            lacking.extend(
                definition
                    .fields
                    .iter()
                    .filter(|field| !covered(field.name))
                    .map(|field| (definition.name, field.name)),
            );
        }
        assert!(lacking.is_empty(), "{lacking:?}");
    }

    fn covers(message: &Message, name: &str) -> bool {
        message.fields.iter().any(|field| match field.kind {
            Kind::Message(id) if field.inline => covers(id.get(), name),
            _ => field.name == name,
        })
    }
}
