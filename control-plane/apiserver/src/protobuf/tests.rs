//! Objects there and back, frames of real clients, and bytes of nobody.

use super::*;
use serde_json::json;

fn round_trip(object: Value) {
    let bytes = encode(&object).unwrap();
    assert_eq!(decode(&bytes).unwrap_or_else(|error| panic!("{object}: {error}")), object);
}

#[test]
fn objects_come_back_as_they_went() {
    round_trip(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}, "creationTimestamp": "2024-01-01T00:00:00Z",
            "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "o", "uid": "u", "controller": true}],
            "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}]},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
            "template": {"metadata": {}, "spec": {
                "containers": [{"name": "c", "image": "i", "args": ["a", "b"],
                    "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
                    "env": [{"name": "E", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}],
                    "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 5},
                    "ports": [{"containerPort": 80, "protocol": "TCP"}]}],
                "volumes": [{"name": "v", "configMap": {"name": "cm", "optional": false}}],
                "terminationGracePeriodSeconds": -1,
            }},
        },
        "status": {},
    }));
    round_trip(
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "AAEC", "e": ""}}),
    );
    round_trip(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {},
        "spec": {"renewTime": "2024-01-01T00:00:00.123456Z", "leaseDurationSeconds": 40},
    }));
    round_trip(json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background", "gracePeriodSeconds": 0,
        "preconditions": {"uid": "u"}, "dryRun": ["All"],
    }));
    round_trip(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {},
        "spec": {"group": "g", "versions": [{"name": "v1", "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"a": {"default": {"x": 1}, "items": {"type": "string"},
            "x-kubernetes-list-type": "set"}}, "additionalProperties": true}}}]},
    }));
}

#[test]
fn inline_fields_belong_to_the_parent() {
    // Probe { handler(1) { httpGet(2) { path(1), port(2) { type(1) = 0, intVal(2) = 80 } } }, periodSeconds(4) }
    let probe = [0x0a, 0x0b, 0x12, 0x09, 0x0a, 0x01, b'/', 0x12, 0x04, 0x08, 0x00, 0x10, 0x50, 0x20, 0x05];
    let message = table::message_for("v1", "Pod").unwrap();
    assert_eq!(message.fields[0].name, "metadata");
    let object = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [
        {"livenessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 5}}]}});
    let bytes = encode(&object).unwrap();
    assert!(bytes.windows(probe.len()).any(|window| window == probe));
    round_trip(object);
}

#[test]
fn a_frame_may_hold_json() {
    let mut frame = Writer::starting_with(MAGIC);
    let mut type_meta = Writer::new();
    type_meta.bytes(1, b"example.com/v1");
    type_meta.bytes(2, b"Foo");
    frame.bytes(1, type_meta.as_slice());
    frame.bytes(2, br#"{"spec": {"a": 1}}"#);
    frame.bytes(4, b"application/json");
    let object = json!({"apiVersion": "example.com/v1", "kind": "Foo", "spec": {"a": 1}});
    assert_eq!(decode(frame.as_slice()), Ok(object));
}

#[test]
fn what_is_no_object_is_refused() {
    assert_eq!(decode(b"{}"), Err(Error::NoMagic));
    assert_eq!(decode(b"k8s\0\x0a\x05a"), Err(Error::Truncated));
    let unknown = encode(&json!({"apiVersion": "meta.k8s.io/v1", "kind": "Table"}));
    assert!(matches!(unknown, Err(Error::UnknownKind { .. })));
    let wrong = encode(&json!({"apiVersion": "v1", "kind": "Pod", "spec": {"hostNetwork": "yes"}}));
    assert_eq!(wrong, Err(Error::Value("expected a boolean, found a string".to_owned())));
}

#[test]
fn depth_and_number_of_values_are_bounded() {
    let mut schema = json!({"type": "object"});
    for _ in 0..DEPTH_MAX {
        schema = json!({"not": schema});
    }
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "spec": {"versions": [{"schema": {"openAPIV3Schema": schema}}]}});
    assert_eq!(decode(&encode(&definition).unwrap()), Err(Error::TooLarge));
    let mut list = Writer::new();
    for _ in 0..=VALUES_MAX {
        list.bytes(2, b"");
    }
    let message = table::message_for("v1", "PodList").unwrap();
    assert_eq!(decode::message(message, list.as_slice(), &mut decode::Budget::new()), Err(Error::TooLarge));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let message = table::message_for("v1", "Pod").unwrap();
        let _ = decode::message(message, &bytes, &mut decode::Budget::new());
        let _ = decode(&[MAGIC, &bytes].concat());
    }

    #[test]
    fn no_damage_to_a_real_object_panics(at in 0usize..400, byte in proptest::num::u8::ANY, cut in 0usize..400) {
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}},
            "livenessProbe": {"tcpSocket": {"port": 1}}}], "volumes": [{"name": "v", "emptyDir": {}}]}});
        let mut bytes = encode(&object).unwrap();
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes.truncate(cut % length + 1);
        let _ = decode(&bytes);
    }
}
