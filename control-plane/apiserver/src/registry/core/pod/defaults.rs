//! What a pod, or the template of one, gets when its author said nothing
//! (upstream: `pkg/apis/core/v1/defaults.go`). Called by the strategies of pods
//! and of all kinds with a template.

use crate::object;
use crate::registry::defaults::{each, set, set_number, within};
use serde_json::{Map, Value, json};

type Fields = Map<String, Value>;

const GRACE_PERIOD_SECONDS: i64 = 30;
const TOKEN_SECONDS: i64 = 3600;
/// Owner may write, all may read.
const FILE_MODE: i64 = 0o644;

/// Defaults of a whole pod: those of a template and those that only pods have.
pub fn pod(pod: &mut Value) {
    if let Some(status) = pod.get_mut("status").and_then(Value::as_object_mut) {
        addresses(status);
    }
    let spec = object::map_mut(pod, "spec");
    spec_of_template(spec);
    set(spec, "enableServiceLinks", true);
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for field in ["initContainers", "containers"] {
        each(spec, field, |container| {
            within(container, "resources", requests_from_limits);
            if host_network {
                each(container, "ports", host_port);
            }
        });
    }
}

/// A node may say a pod's first address in either field, or in both
/// (upstream: the conversions of `v1.PodStatus`, where `podIP` has the last word).
fn addresses(status: &mut Fields) {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let first = text(status.get("podIPs").and_then(|list| list.get(0)).and_then(|entry| entry.get("ip")));
    let one = text(status.get("podIP"));
    if one.is_empty() && !first.is_empty() {
        status.insert("podIP".to_owned(), first.into());
    } else if one != first {
        status.insert("podIPs".to_owned(), json!([{"ip": one}]));
    }
}

/// Defaults of the pod template under `spec.template`, or wherever `template` is.
pub fn template(template: &mut Value) {
    if template.is_object() {
        spec_of_template(object::map_mut(template, "spec"));
    }
}

fn spec_of_template(spec: &mut Fields) {
    service_account(spec);
    set(spec, "dnsPolicy", "ClusterFirst");
    set(spec, "restartPolicy", "Always");
    set(spec, "securityContext", json!({}));
    set(spec, "terminationGracePeriodSeconds", GRACE_PERIOD_SECONDS);
    set(spec, "schedulerName", "default-scheduler");
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        each(spec, field, container);
    }
    each(spec, "volumes", volume);
}

/// The field has two names; both always say the same.
fn service_account(spec: &mut Fields) {
    let old = spec.remove("serviceAccount").unwrap_or_default();
    if old.as_str().is_some_and(|name| !name.is_empty()) {
        set(spec, "serviceAccountName", old);
    }
    if let Some(name) = spec.get("serviceAccountName").filter(|name| **name != "") {
        let name = name.clone();
        spec.insert("serviceAccount".to_owned(), name);
    }
}

fn container(container: &mut Fields) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = pull_policy(image);
    set(container, "imagePullPolicy", policy);
    set(container, "terminationMessagePath", "/dev/termination-log");
    set(container, "terminationMessagePolicy", "File");
    each(container, "ports", |port| set(port, "protocol", "TCP"));
    each(container, "env", |variable| within(variable, "valueFrom", |source| within(source, "fieldRef", field_ref)));
    for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
        within(container, field, probe);
    }
    within(container, "lifecycle", |lifecycle| {
        for field in ["postStart", "preStop"] {
            within(lifecycle, field, |handler| within(handler, "httpGet", http_get));
        }
    });
}

/// The tag `latest`, said or implied, may change, so it is always asked for.
fn pull_policy(image: &str) -> &'static str {
    let (repository, digest) = image.split_once('@').map_or((image, None), |(left, digest)| (left, Some(digest)));
    let last_part = repository.rsplit('/').next().unwrap_or_default();
    let latest = match last_part.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => digest.is_none(),
    };
    if latest { "Always" } else { "IfNotPresent" }
}

fn field_ref(reference: &mut Fields) {
    set(reference, "apiVersion", "v1");
}

fn probe(probe: &mut Fields) {
    set_number(probe, "timeoutSeconds", 1);
    set_number(probe, "periodSeconds", 10);
    set_number(probe, "successThreshold", 1);
    set_number(probe, "failureThreshold", 3);
    within(probe, "httpGet", http_get);
    within(probe, "grpc", |grpc| set(grpc, "service", ""));
}

fn http_get(action: &mut Fields) {
    set(action, "path", "/");
    set(action, "scheme", "HTTP");
}

fn host_port(port: &mut Fields) {
    let number = port.get("containerPort").and_then(Value::as_i64).unwrap_or(0);
    if number != 0 {
        set_number(port, "hostPort", number);
    }
}

/// Who sets only a limit asks for as much.
fn requests_from_limits(resources: &mut Fields) {
    let Some(limits) = resources.get("limits").and_then(Value::as_object).filter(|limits| !limits.is_empty()) else {
        return;
    };
    let mut requests = limits.clone();
    if let Some(own) = resources.get("requests").and_then(Value::as_object) {
        requests.extend(own.clone());
    }
    resources.insert("requests".to_owned(), Value::Object(requests));
}

/// Defaults of a volume. One without a source is an empty directory.
fn volume(volume: &mut Fields) {
    if volume.iter().all(|(field, value)| field == "name" || value.is_null()) {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for field in ["secret", "configMap", "downwardAPI", "projected"] {
        within(volume, field, |source| set(source, "defaultMode", FILE_MODE));
    }
    within(volume, "downwardAPI", downward_items);
    within(volume, "projected", |projected| each(projected, "sources", projected_source));
    within(volume, "hostPath", |source| {
        source.entry("type").or_insert_with(|| json!(""));
    });
    within(volume, "image", |source| {
        let policy = pull_policy(source.get("reference").and_then(Value::as_str).unwrap_or_default());
        set(source, "pullPolicy", policy);
    });
    within(volume, "ephemeral", |source| {
        within(source, "volumeClaimTemplate", |claim| {
            within(claim, "spec", |spec| set(spec, "volumeMode", "Filesystem"))
        });
    });
    driver(volume);
}

fn downward_items(source: &mut Fields) {
    each(source, "items", |item| within(item, "fieldRef", field_ref));
}

fn projected_source(source: &mut Fields) {
    within(source, "downwardAPI", downward_items);
    within(source, "serviceAccountToken", |token| set(token, "expirationSeconds", TOKEN_SECONDS));
}

/// Defaults of volume drivers, in pods and in persistent volumes alike.
pub fn driver(source: &mut Fields) {
    within(source, "iscsi", |iscsi| set(iscsi, "iscsiInterface", "default"));
    within(source, "rbd", |rbd| {
        set(rbd, "pool", "rbd");
        set(rbd, "user", "admin");
        set(rbd, "keyring", "/etc/ceph/keyring");
    });
    within(source, "azureDisk", |disk| {
        set(disk, "cachingMode", "ReadWrite");
        set(disk, "kind", "Shared");
        set(disk, "fsType", "ext4");
        set(disk, "readOnly", false);
    });
    within(source, "scaleIO", |scale_io| {
        set(scale_io, "storageMode", "ThinProvisioned");
        set(scale_io, "fsType", "xfs");
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fixed_tag_is_not_pulled_again() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("registry:5000/nginx", "Always"),
            ("registry:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:00", "IfNotPresent"),
            ("nginx:latest@sha256:00", "Always"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }

    #[test]
    fn a_pod_has_its_first_address_in_both_fields() {
        let both = |ip: &str| json!({"podIP": ip, "podIPs": [{"ip": ip}]});
        for (said, kept) in [
            (json!({}), json!({})),
            (json!({"podIP": "10.1.0.1"}), both("10.1.0.1")),
            (json!({"podIPs": [{"ip": "10.1.0.1"}]}), both("10.1.0.1")),
            (json!({"podIP": "10.1.0.2", "podIPs": [{"ip": "10.1.0.1"}]}), both("10.1.0.2")),
        ] {
            let mut whole = json!({"spec": {}, "status": said});
            pod(&mut whole);
            assert_eq!(whole["status"], kept, "{said}");
        }
    }

    #[test]
    fn pods_get_more_defaults_than_templates() {
        let spec = json!({"hostNetwork": true, "containers": [{"name": "c", "image": "a:1", "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}]});
        let (mut whole, mut part) = (json!({"spec": spec}), json!({"spec": spec}));
        pod(&mut whole);
        template(&mut part);
        let (whole, part) = (&whole["spec"], &part["spec"]);
        assert_eq!(whole["containers"][0]["resources"]["requests"], json!({"cpu": "500m", "memory": "1Gi"}));
        assert_eq!(whole["containers"][0]["ports"][0]["hostPort"], 80);
        assert_eq!((&whole["enableServiceLinks"], part.get("enableServiceLinks")), (&json!(true), None));
        assert_eq!(part["containers"][0]["resources"]["requests"], json!({"cpu": "500m"}));
        assert_eq!(part["restartPolicy"], "Always");
    }

    #[test]
    fn a_volume_without_source_is_an_empty_directory() {
        let mut object = json!({"spec": {"volumes": [{"name": "v"}, {"name": "w", "configMap": {"name": "c"}}]}});
        pod(&mut object);
        assert_eq!(object["spec"]["volumes"][0], json!({"name": "v", "emptyDir": {}}));
        assert_eq!(object["spec"]["volumes"][1]["configMap"]["defaultMode"], 420);
    }
}
