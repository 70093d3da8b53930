//! The table of all definitions: which fields a kind has, what they are, how
//! they merge. Built once, on first use, from the facts in `data/`; everything
//! in this crate that knows a field by name asks here. No rule lives here.
//!
//! `schema-facts.json` holds what upstream's OpenAPI says; `go-facts.json`
//! holds the type each field has in upstream's Go structs (`*` pointer, a
//! trailing `!` for fields written even when empty), because both error texts
//! and the form of answers follow from those.

use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Names of the definitions that are no structs.
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A string.
    String,
    /// Bytes, in base64.
    Bytes,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A floating point number.
    Double,
    /// True or false.
    Boolean,
    /// A time of whole seconds.
    Time,
    /// A time with microseconds.
    MicroTime,
    /// `100m`, `1Gi`
    Quantity,
    /// A port by number or name, or a count or percentage.
    IntOrString,
    /// Anything at all, kept as it is.
    Any,
    /// An object with known fields.
    Struct(DefinitionId),
    /// A list.
    List(Box<Schema>),
    /// An object with arbitrary keys.
    Map(Box<Schema>),
}

/// How the elements of a list are told apart (`x-kubernetes-list-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// The list is one value.
    Atomic,
    /// Elements are scalars, each once.
    Set,
    /// Elements are objects, told apart by [`Schema::list_map_keys`].
    Map,
}

/// What is known about one value: a field, an element, a map's values.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// What it is.
    pub shape: Shape,
    /// Name of the definition that the facts refer to, if they do.
    pub reference: Option<&'static str>,
    /// The value that stands for an absent one, in the schema's eyes.
    pub default: Option<Value>,
    /// The only values allowed; empty for any.
    pub enumeration: Vec<&'static str>,
    /// For lists: `None` when the facts do not say, which means atomic.
    pub list_type: Option<ListType>,
    /// For [`ListType::Map`].
    pub list_map_keys: Vec<&'static str>,
    /// For maps and structs: whether they are one value; `None` when not said.
    pub atomic: Option<bool>,
    /// Key of a strategic merge.
    pub patch_merge_key: Option<&'static str>,
    /// `merge`, `retainKeys`, `merge,retainKeys`; empty for replace.
    pub patch_strategy: &'static str,
}

impl Schema {
    /// The struct it is, if it is one.
    pub fn definition(&self) -> Option<&'static Definition> {
        match self.shape {
            Shape::Struct(id) => Some(id.get()),
            _ => None,
        }
    }

    /// Whether the map or struct merges as one value: the field's own word,
    /// else its definition's.
    pub fn is_atomic(&self) -> bool {
        self.atomic.unwrap_or_else(|| self.definition().is_some_and(|definition| definition.atomic))
    }

    /// Whether a strategic merge has the strategy.
    pub fn has_patch_strategy(&self, strategy: &str) -> bool {
        self.patch_strategy.split(',').any(|word| word == strategy)
    }
}

/// One field of a struct.
#[derive(Clone, Debug)]
pub struct Field {
    /// Name on the wire.
    pub name: &'static str,
    /// What its value is.
    pub schema: Schema,
    /// Its type as Go prints it, such as `[]v1.Container`.
    pub go_type: &'static str,
    /// Whether Go can tell an absent value from an empty one.
    pub pointer: bool,
    /// Whether it is written even when empty.
    pub keeps_empty: bool,
}

/// A group, version and kind that a definition serves as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gvk {
    /// Empty for the core group.
    pub group: &'static str,
    /// `v1`
    pub version: &'static str,
    /// `Pod`
    pub kind: &'static str,
}

/// One definition of the schema.
#[derive(Clone, Debug)]
pub struct Definition {
    /// `io.k8s.api.core.v1.Pod`
    pub name: &'static str,
    /// By name, in order of name; empty for what is no struct.
    pub fields: Vec<Field>,
    /// Fields that the schema requires.
    pub required: Vec<&'static str>,
    /// Whether it merges as one value.
    pub atomic: bool,
    /// What it is served as.
    pub gvks: Vec<Gvk>,
    /// `object`, `string` or empty for anything.
    pub json_type: &'static str,
    /// `date-time`, `int-or-string`.
    pub format: &'static str,
    /// Types that a value may have when there are several.
    pub one_of: Vec<&'static str>,
    /// `x-kubernetes-unions` as the facts have it.
    pub unions: Option<Value>,
}

impl Definition {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.binary_search_by(|field| field.name.cmp(name)).ok().map(|index| &self.fields[index])
    }

    /// `Pod`
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// `v1.Pod`, as Go prints the type.
    pub fn go_type(&self) -> &'static str {
        let start = self.name.rmatch_indices('.').nth(1).map_or(0, |(index, _)| index + 1);
        &self.name[start..]
    }
}

/// A definition by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DefinitionId(u16);

impl DefinitionId {
    /// The definition.
    pub fn get(self) -> &'static Definition {
        &TABLE.definitions[usize::from(self.0)]
    }
}

/// The definition of that name.
pub fn definition(name: &str) -> Option<&'static Definition> {
    TABLE.by_name.get(name).map(|id| id.get())
}

/// All definitions, in order of name.
pub fn definitions() -> &'static [Definition] {
    &TABLE.definitions
}

/// Name of the definition that a kind is served as.
pub fn definition_for(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    // Kinds such as DeleteOptions are served in every group; they are many, so
    // the index is by kind and the few that share one are searched.
    let candidates = TABLE.by_kind.get(kind)?;
    candidates
        .iter()
        .find(|id| id.get().gvks.iter().any(|gvk| gvk.group == group && gvk.version == version && gvk.kind == kind))
        .map(|id| id.get().name)
}

struct Table {
    definitions: Vec<Definition>,
    by_name: HashMap<&'static str, DefinitionId>,
    by_kind: HashMap<&'static str, Vec<DefinitionId>>,
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::load);

#[derive(Deserialize)]
struct RawFile<'a> {
    #[serde(borrow)]
    schemas: HashMap<&'a str, RawSchema<'a>>,
}

/// One schema as the facts write it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSchema<'a> {
    #[serde(rename = "type", default)]
    json_type: &'a str,
    #[serde(default)]
    format: &'a str,
    #[serde(rename = "ref")]
    reference: Option<&'a str>,
    items: Option<Box<RawSchema<'a>>>,
    values: Option<Box<RawSchema<'a>>>,
    default: Option<Value>,
    #[serde(rename = "enum", default)]
    enumeration: Vec<&'a str>,
    list_type: Option<&'a str>,
    #[serde(default)]
    list_map_keys: Vec<&'a str>,
    map_type: Option<&'a str>,
    patch_merge_key: Option<&'a str>,
    #[serde(default)]
    patch_strategy: &'a str,
    #[serde(default)]
    fields: HashMap<&'a str, RawSchema<'a>>,
    #[serde(default)]
    required: Vec<&'a str>,
    #[serde(default)]
    gvk: Vec<&'a str>,
    #[serde(default)]
    one_of: Vec<&'a str>,
    unions: Option<Value>,
}

type GoFacts = HashMap<&'static str, HashMap<&'static str, &'static str>>;

impl Table {
    fn load() -> Self {
        let file: RawFile<'static> = serde_json::from_str(include_str!("../../data/schema-facts.json"))
            .expect("the facts are part of the program and tested");
        let go: GoFacts = serde_json::from_str(include_str!("../../data/go-facts.json"))
            .expect("the facts are part of the program and tested");
        let mut raw: Vec<(&'static str, RawSchema<'static>)> = file.schemas.into_iter().collect();
        raw.sort_by_key(|(name, _)| *name);
        let by_name: HashMap<_, _> = raw.iter().zip(0u16..).map(|((name, _), id)| (*name, DefinitionId(id))).collect();
        // Definitions without fields are no structs: what refers to them is `Any`.
        let structs = raw.iter().filter(|(_, schema)| !schema.fields.is_empty()).map(|(name, _)| *name);
        let structs = structs.map(|name| (name, by_name[name])).collect();
        let definitions: Vec<Definition> = raw
            .into_iter()
            .map(|(name, schema)| definition_of(name, schema, &structs, go.get(name).unwrap_or(&HashMap::new())))
            .collect();
        let mut by_kind: HashMap<_, Vec<_>> = HashMap::new();
        for definition in &definitions {
            if let Some(gvk) = definition.gvks.first() {
                by_kind.entry(gvk.kind).or_default().push(by_name[definition.name]);
            }
        }
        Self { definitions, by_name, by_kind }
    }
}

type Structs = HashMap<&'static str, DefinitionId>;

fn definition_of(
    name: &'static str,
    raw: RawSchema<'static>,
    structs: &Structs,
    go: &HashMap<&'static str, &'static str>,
) -> Definition {
    let mut fields: Vec<Field> = raw
        .fields
        .into_iter()
        .map(|(field, schema)| field_of(field, schema_of(schema, structs), go.get(field).copied().unwrap_or_default()))
        .collect();
    fields.sort_by_key(|field| field.name);
    Definition {
        name,
        fields,
        required: raw.required,
        atomic: raw.map_type == Some("atomic"),
        gvks: raw.gvk.iter().filter_map(|text| gvk(text)).collect(),
        json_type: raw.json_type,
        format: raw.format,
        one_of: raw.one_of,
        unions: raw.unions,
    }
}

fn gvk(text: &'static str) -> Option<Gvk> {
    let mut parts = text.rsplitn(3, '/');
    let (kind, version) = (parts.next()?, parts.next()?);
    Some(Gvk { group: parts.next().unwrap_or_default(), version, kind })
}

fn field_of(name: &'static str, schema: Schema, go: &'static str) -> Field {
    let go_type = go.trim_end_matches('!');
    let pointer = go_type.starts_with('*');
    // Go's `omitempty` has no meaning for structs, so they are always written.
    let struct_value = matches!(
        schema.shape,
        Shape::Struct(_) | Shape::Time | Shape::MicroTime | Shape::Quantity | Shape::IntOrString | Shape::Any
    );
    let keeps_empty = go.ends_with('!') || (struct_value && !pointer && !go_type.is_empty());
    Field { name, schema, go_type, pointer, keeps_empty }
}

fn schema_of(raw: RawSchema<'static>, structs: &Structs) -> Schema {
    let shape = shape_of(raw.json_type, raw.format, raw.reference, structs);
    let shape = match (raw.items, raw.values) {
        (Some(items), _) => Shape::List(Box::new(schema_of(*items, structs))),
        (None, Some(values)) => Shape::Map(Box::new(schema_of(*values, structs))),
        (None, None) => shape,
    };
    Schema {
        shape,
        reference: raw.reference,
        default: raw.default,
        enumeration: raw.enumeration,
        list_type: raw.list_type.map(list_type),
        list_map_keys: raw.list_map_keys,
        atomic: raw.map_type.map(|word| word == "atomic"),
        patch_merge_key: raw.patch_merge_key,
        patch_strategy: raw.patch_strategy,
    }
}

fn list_type(word: &str) -> ListType {
    match word {
        "set" => ListType::Set,
        "map" => ListType::Map,
        _ => ListType::Atomic,
    }
}

fn shape_of(json_type: &str, format: &str, reference: Option<&str>, structs: &Structs) -> Shape {
    match (reference, json_type, format) {
        (Some(TIME), ..) => Shape::Time,
        (Some(MICRO_TIME), ..) => Shape::MicroTime,
        (Some(QUANTITY), ..) => Shape::Quantity,
        (Some(INT_OR_STRING), ..) => Shape::IntOrString,
        (Some(name), ..) => structs.get(name).map_or(Shape::Any, |id| Shape::Struct(*id)),
        (None, "string", "byte") => Shape::Bytes,
        (None, "string", _) => Shape::String,
        (None, "integer", "int32") => Shape::Int32,
        (None, "integer", _) => Shape::Int64,
        (None, "number", _) => Shape::Double,
        (None, "boolean", _) => Shape::Boolean,
        _ => Shape::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_group_version_and_kind() {
        assert_eq!(definition_for("apps", "v1", "Deployment"), Some("io.k8s.api.apps.v1.Deployment"));
        assert_eq!(definition_for("", "v1", "Pod"), Some("io.k8s.api.core.v1.Pod"));
        assert_eq!(definition_for("apps", "v1", "Pod"), None);
    }

    #[test]
    fn every_field_has_its_go_type() {
        let lacking: Vec<_> = definitions()
            .iter()
            .flat_map(|definition| definition.fields.iter().map(move |field| (definition.name, field)))
            .filter(|(_, field)| field.go_type.is_empty())
            .map(|(name, field)| format!("{name}.{}", field.name))
            .collect();
        assert!(lacking.is_empty(), "{lacking:?}");
    }

    #[test]
    fn facts_say_how_lists_and_structs_merge() {
        let container = definition("io.k8s.api.core.v1.Container").unwrap();
        let ports = &container.field("ports").unwrap().schema;
        assert_eq!(ports.list_map_keys, ["containerPort", "protocol"]);
        assert_eq!(ports.patch_merge_key, Some("containerPort"));
        let selector = definition("io.k8s.api.apps.v1.DeploymentSpec").unwrap().field("selector").unwrap();
        assert!(selector.schema.is_atomic() && selector.pointer && selector.keeps_empty);
        assert_eq!(container.go_type(), "v1.Container");
    }

    #[test]
    fn a_field_may_overrule_its_definition() {
        let claim = definition("io.k8s.api.core.v1.PersistentVolumeSpec").unwrap().field("claimRef").unwrap();
        assert!(claim.schema.definition().unwrap().atomic && !claim.schema.is_atomic());
    }
}
