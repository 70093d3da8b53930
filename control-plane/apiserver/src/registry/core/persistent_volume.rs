//! PersistentVolume: a piece of storage that claims can have. Kept and shown;
//! nothing here binds it, and who writes one is told so.

use super::persistent_volume_claim::{access_modes, protect, shown_modes, storage_class};
use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::core::pod::resources;
use crate::registry::defaults::{set, within};
use crate::registry::table::{self, AGE, NAME, UNSET};
use crate::registry::{Column, Part, Resource, Scope, Strategy, Subresource, keep_other_part};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of PersistentVolumes.
pub const RESOURCE: Resource = Resource {
    short_names: &["pv"],
    scope: Scope::Cluster,
    subresources: &[Subresource::status("PersistentVolume")],
    ..Resource::new(
        "PersistentVolume",
        "persistentvolumes",
        "persistentvolume",
        "io.k8s.api.core.v1.PersistentVolume",
        &PersistentVolume,
    )
};

/// Holds a volume that claims use; removed by `persistentvolume-protection-controller`.
const PROTECTION: &str = "kubernetes.io/pv-protection";
const NOTHING_BINDS: &str = "PersistentVolumes are stored, but nothing in this cluster binds them to claims";

/// Fields of the spec that say where the storage is.
const SOURCES: [&str; 22] = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

struct PersistentVolume;

impl Strategy for PersistentVolume {
    fn default(&self, object: &mut Value) {
        let spec = object::map_mut(object, "spec");
        set(spec, "persistentVolumeReclaimPolicy", "Retain");
        set(spec, "volumeMode", "Filesystem");
        within(spec, "hostPath", |source| {
            source.entry("type").or_insert_with(|| json!(""));
        });
        set(object::map_mut(object, "status"), "phase", "Pending");
    }

    fn prepare_for_create(&self, object: &mut Value) {
        let created = object::metadata_str(object, "creationTimestamp").to_owned();
        object["status"] = json!({"phase": "Pending", "lastPhaseTransitionTime": created});
        protect(object, PROTECTION);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, part: Part) {
        keep_other_part(new, old, part);
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let spec = &object["spec"];
        access_modes(spec, &mut errors);
        capacity(spec, &mut errors);
        let policies = ["Delete", "Recycle", "Retain"];
        check::one_of(spec, "spec", "persistentVolumeReclaimPolicy", &policies, &mut errors);
        source(spec, &mut errors);
        storage_class(spec, &mut errors);
        check::one_of(spec, "spec", "volumeMode", &["Block", "Filesystem"], &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part == Part::Status {
            return Errors::new();
        }
        let mut errors = self.validate(new);
        let sources = |volume: &Value| SOURCES.map(|source| volume["spec"][source].clone());
        if sources(new) != sources(old) {
            let detail = "spec.persistentvolumesource is immutable after creation";
            errors.push(FieldError::forbidden("spec.persistentvolumesource", detail));
        }
        check::immutable(&new["spec"], &old["spec"], "spec", "volumeMode", &mut errors);
        if old["spec"]["nodeAffinity"].is_object() {
            check::immutable(&new["spec"], &old["spec"], "spec", "nodeAffinity", &mut errors);
        }
        errors
    }

    fn warnings(&self, _object: &Value) -> Vec<String> {
        vec![NOTHING_BINDS.to_owned()]
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                table::text("Capacity", "How much it holds."),
                table::text("Access Modes", "How it can be used."),
                table::text("Reclaim Policy", "What becomes of it when it is given back."),
                table::text("Status", "Whether a claim has it."),
                table::text("Claim", "The claim that has it."),
                table::text("StorageClass", "Which kind of storage."),
                table::text("VolumeAttributesClass", "Which attributes."),
                table::text("Reason", "Why it has its status."),
                AGE,
                table::wide("VolumeMode", "Whether it is a file system."),
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&object["spec"], &object["status"]);
        let deleting = !object::metadata_str(object, "deletionTimestamp").is_empty();
        let claim = &spec["claimRef"];
        let claim = match claim.is_object() {
            true => format!("{}/{}", object::str_at(claim, "namespace"), object::str_at(claim, "name")),
            false => String::new(),
        };
        vec![
            table::name(object),
            json!(object::str_at(spec, "capacity.storage")),
            json!(shown_modes(object::list_at(spec, "accessModes"))),
            spec["persistentVolumeReclaimPolicy"].clone(),
            json!(if deleting { "Terminating" } else { object::str_at(status, "phase") }),
            json!(claim),
            json!(object::str_at(spec, "storageClassName")),
            json!(spec["volumeAttributesClassName"].as_str().unwrap_or(UNSET)),
            json!(object::str_at(status, "reason")),
            table::age(object, now),
            json!(spec["volumeMode"].as_str().unwrap_or(UNSET)),
        ]
    }
}

fn capacity(spec: &Value, errors: &mut Errors) {
    let amounts = spec["capacity"].as_object();
    let Some(amounts) = amounts.filter(|amounts| !amounts.is_empty()) else {
        errors.push(FieldError::required("spec.capacity", ""));
        return;
    };
    if amounts.len() != 1 || !amounts.contains_key("storage") {
        errors.push(FieldError::not_supported("spec.capacity", spec["capacity"].clone(), &["storage"]));
    }
    for (name, amount) in amounts {
        if resources::parse(amount).is_some_and(|amount| amount.nanos() <= 0) {
            let field = format!("spec.capacity[{name}]");
            errors.push(FieldError::invalid(field, amount.clone(), "must be greater than zero"));
        }
    }
}

fn source(spec: &Value, errors: &mut Errors) {
    let given: Vec<&str> = SOURCES.into_iter().filter(|source| spec[source].is_object()).collect();
    for extra in given.iter().skip(1) {
        errors.push(FieldError::forbidden(format!("spec.{extra}"), "may not specify more than 1 volume type"));
    }
    match given.first() {
        None => errors.push(FieldError::required("spec", "must specify a volume type")),
        Some(&"hostPath") => drop(check::required(&spec["hostPath"], "spec.hostPath", "path", errors)),
        Some(&"local") => {
            check::required(&spec["local"], "spec.local", "path", errors);
            if !spec["nodeAffinity"]["required"].is_object() {
                errors.push(FieldError::required("spec.nodeAffinity", "Local volume requires node affinity"));
            }
        }
        Some(&"nfs") => {
            check::required(&spec["nfs"], "spec.nfs", "server", errors);
            check::required(&spec["nfs"], "spec.nfs", "path", errors);
        }
        Some(&"csi") => {
            check::required(&spec["csi"], "spec.csi", "driver", errors);
            check::required(&spec["csi"], "spec.csi", "volumeHandle", errors);
        }
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::shown_errors;
    use expect_test::expect;

    #[test]
    fn a_volume_is_somewhere_and_holds_something() {
        let check = |spec: Value| shown_errors(&PersistentVolume.validate(&json!({"spec": spec})));
        let modes = json!(["ReadWriteOnce"]);
        expect![[r#"
            spec.capacity: Required value
            spec: Required value: must specify a volume type"#]]
        .assert_eq(&check(json!({"accessModes": modes})));
        let two = json!({"accessModes": modes, "capacity": {"storage": "0"}, "hostPath": {}, "nfs": {}});
        expect![[r#"
            spec.capacity[storage]: Invalid value: "0": must be greater than zero
            spec.nfs: Forbidden: may not specify more than 1 volume type
            spec.hostPath.path: Required value"#]]
        .assert_eq(&check(two));
    }
}
