//! The documents hold together, and clients find what they look for.

use super::*;
use crate::protobuf::wire::Reader;

fn document(group: &str, version: &str) -> Value {
    serde_json::from_slice(&v3_document(group, version).unwrap().bytes).unwrap()
}

/// All references anywhere in a value.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(elements) => elements.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    for (group, version) in group_versions() {
        let document = document(group, version);
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in found {
            let name = reference.strip_prefix("#/components/schemas/").unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{group}/{version}: {reference}");
        }
    }
}

#[test]
fn operations_have_names_of_their_own() {
    for (group, version) in group_versions() {
        let document = document(group, version);
        let mut names: Vec<&str> = Vec::new();
        for item in document["paths"].as_object().unwrap().values() {
            let operations = item.as_object().unwrap().values();
            names.extend(operations.filter_map(|operation| operation.get("operationId")?.as_str()));
        }
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{group}/{version}");
    }
}

#[test]
fn a_patch_that_offers_strategic_merge_comes_with_its_keys() {
    let document = document("apps", "v1");
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    let gvk = json!({"group": "apps", "kind": "Deployment", "version": "v1"});
    assert_eq!(patch["x-kubernetes-group-version-kind"], gvk);
    assert!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
    let parameters = patch["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|parameter| parameter["name"] == "fieldValidation" && parameter["in"] == "query"));

    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"], json!([gvk]));
    let ports = &schemas["io.k8s.api.core.v1.Container"]["properties"]["ports"];
    assert_eq!(ports["x-kubernetes-patch-merge-key"], "containerPort");
    assert_eq!(ports["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["containerPort", "protocol"]));
    let items = json!({"allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.ContainerPort"}], "default": {}});
    assert_eq!(ports["items"], items);
    let protocol = &schemas["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"];
    assert_eq!((&protocol["default"], &protocol["enum"]), (&json!("TCP"), &json!(["SCTP", "TCP", "UDP"])));
}

#[test]
fn served_kinds_and_their_fields_are_described() {
    for row in registry::all() {
        let document = document(row.group, row.version);
        let schema = &document["components"]["schemas"][row.definition];
        assert!(schema["description"].is_string(), "{}", row.definition);
        for (name, field) in schema["properties"].as_object().unwrap() {
            assert!(field["description"].is_string(), "{}.{name}", row.definition);
        }
    }
}

#[test]
fn the_index_names_documents_by_their_hash() {
    let index: Value = serde_json::from_slice(&v3_index("")).unwrap();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    assert_eq!(url, format!("/openapi/v3/apis/apps/v1?hash={}", v3_document("apps", "v1").unwrap().hash));
    assert!(index["paths"]["api/v1"].is_object());
    assert_eq!(v3_document("no.such.group", "v1"), None);
}

/// The bytes of the fields with the number.
fn fields(message: &[u8], number: u32) -> Vec<&[u8]> {
    let mut reader = Reader::new(message);
    let mut found = Vec::new();
    while let Some(field) = reader.next().unwrap() {
        if field.number == number {
            found.push(field.bytes().unwrap());
        }
    }
    found
}

/// The value of the `Named…` message with the name.
fn named<'a>(list: &[&'a [u8]], name: &str) -> &'a [u8] {
    let found = list.iter().find(|message| fields(message, 1) == [name.as_bytes()]);
    fields(found.unwrap_or_else(|| panic!("no {name}")), 2)[0]
}

#[test]
fn version_2_has_the_definitions_with_their_extensions() {
    let bytes = v2_protobuf();
    assert_eq!(fields(&bytes, 1), [b"2.0"]);
    let definitions = fields(fields(&bytes, 9)[0], 1);
    let container = named(&definitions, "io.k8s.api.core.v1.Container");
    let ports = named(&fields(fields(container, 25)[0], 1), "ports");
    let key = named(&fields(ports, 31), "x-kubernetes-patch-merge-key");
    assert_eq!(fields(key, 2), [br#""containerPort""#]);
    let element = fields(fields(ports, 23)[0], 1)[0];
    assert_eq!(fields(element, 1), [b"#/definitions/io.k8s.api.core.v1.ContainerPort"]);
    let paths = fields(fields(&bytes, 8)[0], 2);
    let item = named(&paths, "/apis/apps/v1/namespaces/{namespace}/deployments/{name}");
    let consumes = fields(fields(item, 8)[0], 7);
    assert!(consumes.contains(&b"application/strategic-merge-patch+json".as_slice()));
}
