//! Bodies through [`decode`]: form, complaints, wrong types.

use super::*;
use serde_json::json;

const POD: &str = "io.k8s.api.core.v1.Pod";
const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";
const CONFIG_MAP: &str = "io.k8s.api.core.v1.ConfigMap";

fn object(definition: &str, body: &Value) -> Value {
    decode(definition, body.to_string().as_bytes(), FieldValidation::Ignore).unwrap().object
}

fn malformed(definition: &str, body: &str) -> String {
    match decode(definition, body.as_bytes(), FieldValidation::Warn) {
        Err(DecodeError::Malformed(text)) => text,
        other => panic!("{body} gave {other:?}"),
    }
}

#[test]
fn fields_that_go_always_writes_are_there() {
    let body = json!({"kind": "Deployment", "spec": {"template": {"spec": {"containers": [{"image": "a"}]}}}});
    assert_eq!(
        object(DEPLOYMENT, &body),
        json!({
            "kind": "Deployment",
            "metadata": {"creationTimestamp": null},
            "spec": {
                "selector": null,
                "strategy": {},
                "template": {
                    "metadata": {"creationTimestamp": null},
                    "spec": {"containers": [{"name": "", "image": "a", "resources": {}}]},
                },
            },
            "status": {},
        })
    );
}

#[test]
fn empty_optional_fields_go_unless_they_are_pointers() {
    let body = json!({"metadata": {"name": "a", "labels": {}, "namespace": ""}, "spec": {
        "hostNetwork": false, "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
        "tolerations": [], "nodeName": null, "containers": [], "volumes": [{"name": "v", "emptyDir": {}}],
    }});
    assert_eq!(
        object(POD, &body),
        json!({
            "metadata": {"name": "a", "creationTimestamp": null},
            "spec": {
                "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0, "containers": null,
                "volumes": [{"name": "v", "emptyDir": {}}],
            },
            "status": {},
        })
    );
}

#[test]
fn amounts_and_times_get_their_canonical_form() {
    let body = json!({"metadata": {"deletionTimestamp": "2024-01-01T02:00:00+02:00"}, "spec": {"containers": [
        {"name": "c", "resources": {"limits": {"memory": "1024Mi", "cpu": 0.5}}},
    ]}});
    let pod = object(POD, &body);
    assert_eq!(pod["spec"]["containers"][0]["resources"]["limits"], json!({"memory": "1Gi", "cpu": "500m"}));
    assert_eq!(pod["metadata"]["deletionTimestamp"], "2024-01-01T00:00:00Z");
}

#[test]
fn an_explicit_empty_list_of_managed_fields_is_kept() {
    let body = json!({"metadata": {"managedFields": []}});
    assert_eq!(object(CONFIG_MAP, &body)["metadata"]["managedFields"], json!([]));
}

#[test]
fn null_in_maps_and_lists_is_the_empty_value() {
    let body = json!({"data": {"a": null}, "metadata": {"finalizers": [null, "b"]}});
    let map = object(CONFIG_MAP, &body);
    assert_eq!((&map["data"], &map["metadata"]["finalizers"]), (&json!({"a": ""}), &json!(["", "b"])));
}

#[test]
fn complaints_come_in_the_order_of_the_document() {
    let body = br#"{"other": 1, "bogus": {"x": 1, "x": 2}, "spec": {"containers": [{"Image": "a", "name": "b",
        "name": "c", "ports": [{"containerport": 1}]}]}, "metadata": {"labels": {"k": "1", "k": "2"}}}"#;
    let expected = [
        "unknown field \"other\"",
        "unknown field \"bogus\"",
        "unknown field \"spec.containers[0].Image\"",
        "duplicate field \"spec.containers[0].name\"",
        "unknown field \"spec.containers[0].ports[0].containerport\"",
        "duplicate field \"metadata.labels.k\"",
    ];
    assert_eq!(decode(POD, body, FieldValidation::Warn).unwrap().warnings, expected);
    let strict = decode(POD, body, FieldValidation::Strict).unwrap_err().to_string();
    assert_eq!(strict, format!("strict decoding error: {}", expected.join(", ")));
    let last = decode(POD, body, FieldValidation::Ignore).unwrap().object;
    assert_eq!(last["spec"]["containers"][0]["name"], "c");
}

#[test]
fn wrong_types_read_as_in_go() {
    let cases = [
        (
            DEPLOYMENT,
            r#"{"spec": {"replicas": "3"}}"#,
            "string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            DEPLOYMENT,
            r#"{"spec": {"replicas": 1.5}}"#,
            "number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            POD,
            r#"{"spec": {"containers": [{"image": true}]}}"#,
            "bool into Go struct field Container.spec.containers.image of type string",
        ),
        (
            POD,
            r#"{"spec": {"containers": [{"imagePullPolicy": 1}]}}"#,
            "number into Go struct field Container.spec.containers.imagePullPolicy of type v1.PullPolicy",
        ),
        (CONFIG_MAP, r#"{"data": []}"#, "array into Go struct field ConfigMap.data of type map[string]string"),
        (CONFIG_MAP, r#"{"data": {"a": 1}}"#, "number into Go struct field ConfigMap.data of type string"),
        (CONFIG_MAP, r#"{"metadata": "x"}"#, "string into Go struct field ConfigMap.metadata of type v1.ObjectMeta"),
        (CONFIG_MAP, "[]", "array into Go value of type v1.ConfigMap"),
    ];
    for (definition, body, expected) in cases {
        assert_eq!(malformed(definition, body), format!("json: cannot unmarshal {expected}"), "{body}");
    }
    assert_eq!(malformed(CONFIG_MAP, r#"{"binaryData": {"a": "!!!!"}}"#), "illegal base64 data at input byte 0");
}

#[test]
fn the_form_is_stable() {
    let body = json!({"spec": {"template": {"spec": {"containers": [{"ports": [{}], "env": [{}]}]}}}});
    let once = object(DEPLOYMENT, &body);
    assert_eq!(object(DEPLOYMENT, &once), once);
}
