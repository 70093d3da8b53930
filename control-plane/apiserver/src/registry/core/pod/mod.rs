//! Pod: containers that live and die together. The row of discovery facts and
//! the strategy; see [`printer`] for what `get` shows.

use crate::object;
use crate::registry::defaults::each;
use crate::registry::{Column, PART_VERBS, PROXY_VERBS, Part, Resource, Strategy, Subresource, keep_other_part};
use crate::schema::FieldError;
use jiff::Timestamp;
use resources::QosClass;
use serde_json::{Value, json};

mod containers;
pub mod defaults;
mod env;
pub mod printer;
mod probes;
pub mod requests;
pub mod resources;
pub mod scheduling;
pub(in crate::registry) mod update;
pub mod validation;
mod volumes;
mod warnings;

/// Discovery facts of Pods.
pub const RESOURCE: Resource = Resource {
    short_names: &["po"],
    categories: &["all"],
    subresources: &[
        Subresource::new("attach", "PodAttachOptions", &["create", "get"]),
        Subresource::new("binding", "Binding", &["create"]),
        Subresource::new("ephemeralcontainers", "Pod", PART_VERBS),
        Subresource { name: "eviction", group: "policy", version: "v1", kind: "Eviction", verbs: &["create"] },
        Subresource::new("exec", "PodExecOptions", &["create", "get"]),
        Subresource::new("log", "Pod", &["get"]),
        Subresource::new("portforward", "PodPortForwardOptions", &["create", "get"]),
        Subresource::new("proxy", "PodProxyOptions", PROXY_VERBS),
        Subresource::status("Pod"),
    ],
    ..Resource::new("Pod", "pods", "pod", "io.k8s.api.core.v1.Pod", &Pod)
};

/// Seconds that a deleted pod gets when neither it nor the caller says.
const GRACE_PERIOD_SECONDS: i64 = 30;

const SELECTABLE: &[&str] = &[
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
];

struct Pod;

impl Strategy for Pod {
    fn default(&self, object: &mut Value) {
        defaults::pod(object);
    }

    fn prepare_for_create(&self, object: &mut Value) {
        let qos_class = QosClass::of(&object["spec"]).as_str();
        let mut status = json!({"phase": "Pending", "qosClass": qos_class});
        if !object::list_at(object, "spec.schedulingGates").is_empty() {
            let created = object::metadata(object).get("creationTimestamp").cloned().unwrap_or_default();
            status["conditions"] = json!([update::gated_condition(created)]);
        }
        object["status"] = status;
        drop_disabled(object);
        set_apparmor_annotations(object);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, part: Part) {
        match part {
            Part::Main => {
                keep_other_part(new, old, part);
                drop_disabled(new);
            }
            Part::Status => {
                keep_other_part(new, old, part);
                // A node that does not know the class must not take it away.
                if object::str_at(new, "status.qosClass").is_empty() && !old["status"]["qosClass"].is_null() {
                    new["status"]["qosClass"] = old["status"]["qosClass"].clone();
                }
                // Old kubelets send back owners that they did not understand.
                copy_metadata(new, old, "ownerReferences");
            }
            Part::EphemeralContainers => keep_all_but(new, old, "ephemeralContainers"),
            Part::Resize => keep_all_but(new, old, "containers"),
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        validation::pod(object)
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        match part {
            Part::Main => update::main_part(new, old),
            Part::Status => update::status(new, old),
            Part::EphemeralContainers => update::ephemeral_containers(new, old),
            Part::Resize => validation::pod(new),
        }
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        warnings::of_spec(&object["spec"], "spec")
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let value = |field: &'static str| match object::at(object, field) {
            Some(Value::String(text)) => text.clone(),
            _ if field == "spec.hostNetwork" => (object["spec"]["hostNetwork"] == true).to_string(),
            _ => String::new(),
        };
        SELECTABLE.iter().map(|field| (*field, value(field))).collect()
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        SELECTABLE
    }

    fn columns(&self) -> &'static [Column] {
        printer::COLUMNS
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        printer::row(object, now)
    }

    fn row_conditions(&self, object: &Value) -> Vec<Value> {
        printer::row_conditions(object)
    }

    /// The caller's wish, else the pod's own, else 30 s. Nobody waits for a pod
    /// that is on no node or has ended.
    fn grace_period_seconds(&self, object: &Value, requested: Option<i64>) -> Option<i64> {
        let own = object["spec"]["terminationGracePeriodSeconds"].as_i64();
        let ended = matches!(object::str_at(object, "status.phase"), "Succeeded" | "Failed");
        if object::str_at(object, "spec.nodeName").is_empty() || ended {
            return Some(0);
        }
        // A negative period of the pod means one second.
        Some(match requested.or(own).unwrap_or(GRACE_PERIOD_SECONDS) {
            ..0 => 1,
            seconds => seconds,
        })
    }
}

/// Takes out what belongs to features that are off in this version.
fn drop_disabled(pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    template_drop_disabled(spec);
}

/// The same for the spec of a template.
pub fn template_drop_disabled(spec: &mut serde_json::Map<String, Value>) {
    for field in ["hostUsers", "resourceClaims", "resources"] {
        spec.remove(field);
    }
    let images = remove_image_volumes(spec);
    for field in ["containers", "initContainers", "ephemeralContainers"] {
        each(spec, field, |container| {
            container.remove("resizePolicy");
            let Some(mounts) = container.get_mut("volumeMounts").and_then(Value::as_array_mut) else { return };
            mounts.retain(|mount| !images.contains(&mount["name"]));
            if mounts.is_empty() {
                container.remove("volumeMounts");
            }
        });
    }
}

/// Names of the volumes that are images, which are gone then.
fn remove_image_volumes(spec: &mut serde_json::Map<String, Value>) -> Vec<Value> {
    let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_array_mut) else { return Vec::new() };
    let names = volumes.iter().filter(|volume| volume["image"].is_object()).map(|volume| volume["name"].clone());
    let names = names.collect::<Vec<_>>();
    volumes.retain(|volume| !volume["image"].is_object());
    if volumes.is_empty() {
        spec.remove("volumes");
    }
    names
}

/// Older nodes read AppArmor profiles from annotations, so the server writes
/// both (upstream: `applyAppArmorVersionSkew`).
fn set_apparmor_annotations(pod: &mut Value) {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let of_pod = pod["spec"]["securityContext"]["appArmorProfile"].clone();
    let mut annotations = Vec::new();
    for field in ["spec.initContainers", "spec.containers"] {
        for container in object::list_at(pod, field) {
            let own = &container["securityContext"]["appArmorProfile"];
            let profile = if own.is_object() { own } else { &of_pod };
            let text = match object::str_at(profile, "type") {
                "Unconfined" => "unconfined".to_owned(),
                "RuntimeDefault" => "runtime/default".to_owned(),
                "Localhost" => format!("localhost/{}", object::str_at(profile, "localhostProfile")),
                _ => continue,
            };
            annotations.push((format!("{PREFIX}{}", object::str_at(container, "name")), text));
        }
    }
    if annotations.is_empty() {
        return;
    }
    let map = object::metadata_mut(pod).entry("annotations").or_insert_with(|| json!({}));
    if let Some(map) = map.as_object_mut() {
        for (key, text) in annotations {
            map.entry(key).or_insert_with(|| Value::from(text));
        }
    }
}

fn copy_metadata(new: &mut Value, old: &Value, field: &str) {
    let value = object::metadata(old).get(field).cloned();
    let metadata = object::metadata_mut(new);
    match value {
        Some(value) => drop(metadata.insert(field.to_owned(), value)),
        None => drop(metadata.remove(field)),
    }
}

/// The old pod with only one field of the spec from the new.
fn keep_all_but(new: &mut Value, old: &Value, field: &str) {
    let value = new["spec"].get(field).cloned();
    let metadata = new.get("metadata").cloned();
    *new = old.clone();
    if let (Some(value), Some(spec)) = (value, new.get_mut("spec").and_then(Value::as_object_mut)) {
        spec.insert(field.to_owned(), value);
    }
    if let Some(metadata) = metadata {
        new["metadata"] = metadata;
    }
}

/// Warnings about the template of a workload.
pub fn warnings_of_template(workload: &Value) -> Vec<String> {
    warnings::of_spec(&workload["spec"]["template"]["spec"], "spec.template.spec")
}
