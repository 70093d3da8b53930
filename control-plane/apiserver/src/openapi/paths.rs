//! The paths of a resource and the operations on each. kubectl looks up an
//! operation by its `x-kubernetes-group-version-kind` and reads which parameters
//! and patch types it takes.

use super::root;
use super::schemas::{Style, reference};
use crate::registry::{Resource, Scope};
use crate::schema::definition_for;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";

/// Definitions that the operations refer to.
pub(super) type Roots = BTreeSet<&'static str>;

/// Patch types that every resource takes.
pub(super) const PATCH_TYPES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// A kind that an operation takes and gives.
#[derive(Clone, Copy)]
struct Kind<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    definition: Option<&'static str>,
}

/// One verb as OpenAPI has it.
struct Verb {
    name: &'static str,
    method: &'static str,
    action: &'static str,
    body: Body,
    parameters: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    None,
    Object,
    Patch,
    DeleteOptions,
}

const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const PATCHING: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
const DELETING: &[&str] = &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"];
const LISTING: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];

const ON_COLLECTION: [Verb; 3] = [
    Verb { name: "list", method: "get", action: "list", body: Body::None, parameters: LISTING },
    Verb { name: "create", method: "post", action: "post", body: Body::Object, parameters: WRITE },
    Verb {
        name: "deletecollection",
        method: "delete",
        action: "deletecollection",
        body: Body::DeleteOptions,
        parameters: DELETING,
    },
];

const ON_OBJECT: [Verb; 4] = [
    Verb { name: "get", method: "get", action: "get", body: Body::None, parameters: &[] },
    Verb { name: "update", method: "put", action: "put", body: Body::Object, parameters: WRITE },
    Verb { name: "patch", method: "patch", action: "patch", body: Body::Patch, parameters: PATCHING },
    Verb { name: "delete", method: "delete", action: "delete", body: Body::DeleteOptions, parameters: DELETING },
];

/// A POST to a subresource.
const CREATE: Verb = Verb { name: "create", method: "post", action: "post", body: Body::Object, parameters: WRITE };

/// All paths of a resource; what they refer to is added to `roots`.
pub(super) fn of(row: &Resource, roots: &mut Roots) -> Map<String, Value> {
    let kind = Kind { group: row.group, version: row.version, kind: row.kind, definition: Some(row.definition) };
    roots.extend([row.definition, DELETE_OPTIONS, PATCH, STATUS]);
    let root = format!("/{}", root(row.group, row.version));
    let collection = match row.scope {
        Scope::Cluster => format!("{root}/{}", row.plural),
        Scope::Namespaced => format!("{root}/namespaces/{{namespace}}/{}", row.plural),
    };
    let mut paths = Map::new();
    let mut add = |path: String, verbs: &[&Verb], kind: Kind<'_>, roots: &mut Roots| {
        if !verbs.is_empty() {
            let item = path_item(&path, verbs, kind, roots);
            paths.insert(path, item);
        }
    };
    let served = |verbs: &'static [Verb]| -> Vec<&'static Verb> {
        verbs.iter().filter(|verb| row.verbs.contains(&verb.name)).collect()
    };
    if row.scope == Scope::Namespaced && row.verbs.contains(&"list") {
        add(format!("{root}/{}", row.plural), &[&ON_COLLECTION[0]], kind, roots);
    }
    add(collection.clone(), &served(&ON_COLLECTION), kind, roots);
    add(format!("{collection}/{{name}}"), &served(&ON_OBJECT), kind, roots);
    for sub in row.subresources {
        let or_parents = |own: &'static str, parents: &'static str| if own.is_empty() { parents } else { own };
        let (group, version) = match sub.version {
            "" => (row.group, row.version),
            version => (or_parents(sub.group, ""), version),
        };
        let kind = Kind { group, version, kind: sub.kind, definition: definition_for(group, version, sub.kind) };
        roots.extend(kind.definition);
        let candidates = ON_OBJECT.iter().chain([&CREATE]);
        let verbs: Vec<&Verb> = candidates.filter(|verb| sub.verbs.contains(&verb.name)).collect();
        add(format!("{collection}/{{name}}/{}", sub.name), &verbs, kind, roots);
    }
    paths
}

fn path_item(path: &str, verbs: &[&Verb], kind: Kind<'_>, roots: &mut Roots) -> Value {
    let mut item: Map<String, Value> =
        verbs.iter().map(|verb| (verb.method.to_owned(), operation(path, verb, kind, roots))).collect();
    let mut parameters: Vec<Value> = Vec::new();
    for name in ["name", "namespace"] {
        if path.contains(&format!("{{{name}}}")) {
            parameters.push(json!({
                "name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true},
            }));
        }
    }
    parameters.push(query_parameter("pretty"));
    item.insert("parameters".to_owned(), Value::Array(parameters));
    Value::Object(item)
}

fn operation(path: &str, verb: &Verb, kind: Kind<'_>, roots: &mut Roots) -> Value {
    let answered = match verb.name {
        "list" => definition_for(kind.group, kind.version, &format!("{}List", kind.kind)),
        "delete" | "deletecollection" => Some(STATUS),
        _ => kind.definition,
    };
    roots.extend(answered);
    let mut operation = json!({
        "operationId": operation_id(path, verb, kind),
        "description": format!("{} {}", verb.name, kind.kind),
        "tags": [format!("{}_{}", if kind.group.is_empty() { "core" } else { kind.group }, kind.version)],
        "parameters": verb.parameters.iter().map(|name| query_parameter(name)).collect::<Vec<_>>(),
        "responses": {"200": {"description": "OK", "content": answer(answered)}, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": verb.action,
        "x-kubernetes-group-version-kind": {"group": kind.group, "kind": kind.kind, "version": kind.version},
    });
    if let (Some(body), Some(fields)) = (request_body(verb.body, kind), operation.as_object_mut()) {
        fields.insert("requestBody".to_owned(), body);
    }
    operation
}

/// `createAppsV1NamespacedDeployment`, unique in a document.
fn operation_id(path: &str, verb: &Verb, kind: Kind<'_>) -> String {
    let words = path.split(['/', '.', '-']).filter(|word| !word.is_empty() && !word.starts_with('{'));
    let words = words.filter(|word| !matches!(*word, "api" | "apis" | "k8s" | "io"));
    let scope = if path.contains("{namespace}") { "Namespaced" } else { "" };
    let path: String = words.map(capitalized).collect();
    format!("{}{path}{scope}{}", verb.name, kind.kind)
}

fn capitalized(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map(|first| first.to_ascii_uppercase().to_string() + characters.as_str()).unwrap_or_default()
}

fn answer(definition: Option<&str>) -> Value {
    let schema = definition.map_or_else(|| json!({}), |name| json!({"schema": reference(name, Style::V3)}));
    json!({
        "application/json": schema,
        "application/vnd.kubernetes.protobuf": schema,
        "application/yaml": schema,
    })
}

fn request_body(body: Body, kind: Kind<'_>) -> Option<Value> {
    let schema = |name: &str| json!({"schema": reference(name, Style::V3)});
    let (content, required) = match body {
        Body::None => return None,
        Body::Object => (json!({"*/*": kind.definition.map_or_else(|| json!({}), schema)}), true),
        Body::DeleteOptions => (json!({"*/*": schema(DELETE_OPTIONS)}), false),
        Body::Patch => (PATCH_TYPES.iter().map(|media| ((*media).to_owned(), schema(PATCH))).collect(), true),
    };
    Some(if required { json!({"content": content, "required": true}) } else { json!({"content": content}) })
}

fn query_parameter(name: &str) -> Value {
    let json_type = match name {
        "limit" | "timeoutSeconds" | "gracePeriodSeconds" => "integer",
        "watch" | "allowWatchBookmarks" | "sendInitialEvents" | "force" | "orphanDependents" => "boolean",
        _ => "string",
    };
    json!({"name": name, "in": "query", "schema": {"type": json_type, "uniqueItems": true}})
}
