//! An OpenAPI v3 document: which schema a resource has, where its references
//! lead, and how a type is called. [`super::page`] prints what this finds.

use crate::resources::ResourceType;
use serde_json::{Map, Value};

/// A document of one group and version.
pub(super) struct Document {
    content: Value,
}

/// `apps/v1, Resource=deployments`: how upstream's messages name a resource.
pub(super) fn title(resource: &ResourceType) -> String {
    format!("{}/{}, Resource={}", resource.group, resource.version, resource.plural)
}

impl Document {
    pub(super) fn new(content: Value) -> Self {
        Self { content }
    }

    /// Group, version and kind as the operations on a resource's paths have them.
    pub(super) fn kind_of(&self, resource: &ResourceType) -> Option<&Value> {
        let all = resource.collection(None);
        let namespaced = resource.collection(Some("{namespace}"));
        let paths = [all.clone(), format!("{all}/{{name}}"), namespaced.clone(), format!("{namespaced}/{{name}}")];
        let operations = paths.iter().flat_map(|path| {
            let operations = &self.content["paths"][path];
            ["get", "post", "put", "patch", "delete"].map(|method| &operations[method])
        });
        operations.map(|operation| &operation["x-kubernetes-group-version-kind"]).find(|kind| kind.is_object())
    }

    /// The schema of a kind.
    pub(super) fn schema_of(&self, kind: &Value) -> Option<&Value> {
        let schemas = self.content["components"]["schemas"].as_object()?;
        let is_of = |schema: &&Value| items(schema, "x-kubernetes-group-version-kind").contains(kind);
        schemas.values().find(is_of)
    }

    /// What a schema stands for: itself, or what it refers to.
    pub(super) fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        reference(schema).and_then(|reference| self.referred(reference)).unwrap_or(schema)
    }

    fn referred(&self, reference: &str) -> Option<&Value> {
        self.content["components"]["schemas"].get(reference.strip_prefix("#/components/schemas/")?)
    }

    /// `string`, `[]Container`, `map[string]string`…
    pub(super) fn type_of(&self, schema: &Value) -> String {
        if let Some(items) = schema.get("items") {
            return format!("[]{}", self.type_of(items));
        }
        if let Some(values) = map_values(schema) {
            return format!("map[string]{}", self.type_of(values));
        }
        if let [only] = items(schema, "allOf")
            && properties(schema).is_none()
        {
            return self.type_of(only);
        }
        match reference(schema) {
            Some(reference) => self.type_of_reference(reference),
            None => plain_type(schema),
        }
    }

    /// Objects have names, all else is what it is.
    fn type_of_reference(&self, reference: &str) -> String {
        let kind = self.referred(reference).and_then(|schema| schema["type"].as_str());
        match kind {
            Some(kind) if kind != "object" => kind.to_owned(),
            _ => reference.rsplit(['/', '.']).next().unwrap_or("Object").to_owned(),
        }
    }
}

fn plain_type(schema: &Value) -> String {
    match schema["type"].as_str() {
        None | Some("object") => "Object".to_owned(),
        Some(other) => other.to_owned(),
    }
}

/// `$ref`
pub(super) fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()
}

/// The fields of an object.
pub(super) fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema["properties"].as_object()
}

/// The schema of a map's values.
pub(super) fn map_values(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|values| values.is_object())
}

/// A list, or nothing.
pub(super) fn items<'a>(schema: &'a Value, key: &str) -> &'a [Value] {
    schema[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The schemas that a schema is made of, in the order in which they are looked at.
pub(super) fn parts(schema: &Value) -> impl Iterator<Item = &Value> {
    items(schema, "allOf").iter().chain(schema.get("items")).chain(map_values(schema))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn types_are_named_as_upstream_guesses_them() {
        let schemas = json!({"io.k8s.Spec": {"type": "object"}, "io.k8s.Time": {"type": "string"}, "io.k8s.Any": {}});
        let document = Document::new(json!({"components": {"schemas": schemas}}));
        let to = |name: &str| json!({"$ref": format!("#/components/schemas/io.k8s.{name}")});
        for (schema, name) in [
            (json!({"type": "integer"}), "integer"),
            (json!({"type": "object"}), "Object"),
            (json!({}), "Object"),
            (json!({"type": "array", "items": to("Spec")}), "[]Spec"),
            (json!({"type": "object", "additionalProperties": {"type": "string"}}), "map[string]string"),
            (json!({"type": "object", "additionalProperties": true}), "Object"),
            (json!({"allOf": [to("Spec")]}), "Spec"),
            (json!({"allOf": [to("Time")]}), "string"),
            (to("Any"), "Any"),
            (to("Gone"), "Gone"),
        ] {
            assert_eq!(document.type_of(&schema), name, "{schema}");
        }
    }
}
