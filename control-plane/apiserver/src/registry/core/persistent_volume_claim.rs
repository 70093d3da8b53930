//! PersistentVolumeClaim: a wish for storage. Kept and shown; nothing here makes
//! or binds volumes, and who writes one is told so.

use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::core::pod::resources;
use crate::registry::defaults::set;
use crate::registry::table::{self, AGE, NAME, UNSET};
use crate::registry::{Column, Part, Resource, Strategy, Subresource, keep_other_part, names};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of PersistentVolumeClaims.
pub const RESOURCE: Resource = Resource {
    short_names: &["pvc"],
    subresources: &[Subresource::status("PersistentVolumeClaim")],
    ..Resource::new(
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        "persistentvolumeclaim",
        "io.k8s.api.core.v1.PersistentVolumeClaim",
        &PersistentVolumeClaim,
    )
};

/// Holds a claim that pods use; removed by `persistentvolumeclaim-protection-controller`.
const PROTECTION: &str = "kubernetes.io/pvc-protection";
const NOTHING_BINDS: &str = "PersistentVolumeClaims are stored, but nothing in this cluster makes or binds volumes: pods that use one do not start";
const UNCHANGED: &str =
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

/// How volumes may be used, and what tables call it.
const ACCESS_MODES: [(&str, &str); 4] =
    [("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOnce", "RWO"), ("ReadWriteOncePod", "RWOP")];

/// The order in which tables show them.
const SHOWN_MODES: [&str; 4] = ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"];

struct PersistentVolumeClaim;

impl Strategy for PersistentVolumeClaim {
    fn default(&self, object: &mut Value) {
        set(object::map_mut(object, "spec"), "volumeMode", "Filesystem");
        set(object::map_mut(object, "status"), "phase", "Pending");
        // Both say the same, whichever is given.
        let spec = object::map_mut(object, "spec");
        for (from, to) in [("dataSource", "dataSourceRef"), ("dataSourceRef", "dataSource")] {
            let source = spec.get(from).filter(|source| source.is_object() && source["namespace"].is_null()).cloned();
            if let Some(source) = source.filter(|_| spec.get(to).is_none_or(Value::is_null)) {
                spec.insert(to.to_owned(), source);
            }
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({"phase": "Pending"});
        protect(object, PROTECTION);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, part: Part) {
        keep_other_part(new, old, part);
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let spec = &object["spec"];
        check::label_selector(&spec["selector"], "spec.selector", &mut errors);
        access_modes(spec, &mut errors);
        let storage = &spec["resources"]["requests"]["storage"];
        match resources::parse(storage) {
            None => errors.push(FieldError::required("spec.resources[storage]", "")),
            Some(amount) if amount.nanos() <= 0 => {
                errors.push(FieldError::invalid(
                    "spec.resources[storage]",
                    storage.clone(),
                    "must be greater than zero",
                ));
            }
            Some(_) => {}
        }
        storage_class(spec, &mut errors);
        check::one_of(spec, "spec", "volumeMode", &["Block", "Filesystem"], &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part == Part::Status {
            return Errors::new();
        }
        let mut errors = self.validate(new);
        let bound = old["status"]["phase"] == "Bound";
        // A claim without a volume may get one.
        let comparable = |claim: &Value| {
            let mut spec = claim["spec"].clone();
            if old["spec"]["volumeName"].is_null() {
                spec["volumeName"] = Value::Null;
            }
            if bound {
                spec["resources"]["requests"] = Value::Null;
                spec["volumeAttributesClassName"] = Value::Null;
            }
            spec
        };
        if comparable(new) != comparable(old) {
            errors.push(FieldError::forbidden("spec", UNCHANGED));
        } else if bound && shrinks(new, old) {
            errors.push(FieldError::forbidden(
                "spec.resources.requests.storage",
                "field can not be less than status.capacity",
            ));
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
                table::text("Status", "Whether it has a volume."),
                table::text("Volume", "The volume's name."),
                table::text("Capacity", "How much it has."),
                table::text("Access Modes", "How it can be used."),
                table::text("StorageClass", "Which kind of storage."),
                table::text("VolumeAttributesClass", "Which attributes."),
                AGE,
                table::wide("VolumeMode", "Whether it is a file system."),
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&object["spec"], &object["status"]);
        let deleting = !object::metadata_str(object, "deletionTimestamp").is_empty();
        let phase = if deleting { "Terminating" } else { object::str_at(status, "phase") };
        let bound = !object::str_at(spec, "volumeName").is_empty();
        let if_bound = |text: String| if bound { text } else { String::new() };
        vec![
            table::name(object),
            json!(phase),
            json!(object::str_at(spec, "volumeName")),
            json!(if_bound(object::str_at(status, "capacity.storage").to_owned())),
            json!(if_bound(shown_modes(object::list_at(status, "accessModes")))),
            json!(object::str_at(spec, "storageClassName")),
            json!(spec["volumeAttributesClassName"].as_str().unwrap_or(UNSET)),
            table::age(object, now),
            json!(spec["volumeMode"].as_str().unwrap_or(UNSET)),
        ]
    }
}

fn shrinks(new: &Value, old: &Value) -> bool {
    let asked = |claim: &Value| resources::parse(&claim["spec"]["resources"]["requests"]["storage"]);
    let capacity = resources::parse(&old["status"]["capacity"]["storage"]);
    asked(new) < asked(old) && capacity.is_some_and(|capacity| asked(new).is_some_and(|asked| asked < capacity))
}

/// Adds a finalizer.
pub(super) fn protect(object: &mut Value, finalizer: &str) {
    let finalizers = object::list_mut(object::metadata_mut(object), "finalizers");
    if !finalizers.iter().any(|known| known == finalizer) {
        finalizers.push(finalizer.into());
    }
}

/// `spec.accessModes`.
pub(super) fn access_modes(spec: &Value, errors: &mut Errors) {
    let modes = object::list_at(spec, "accessModes");
    if modes.is_empty() {
        errors.push(FieldError::required("spec.accessModes", "at least 1 access mode is required"));
    }
    let once = "ReadWriteOncePod";
    for mode in modes.iter().filter_map(Value::as_str) {
        if !ACCESS_MODES.iter().any(|(known, _)| *known == mode) {
            let known = ACCESS_MODES.map(|(known, _)| known);
            errors.push(FieldError::not_supported("spec.accessModes", mode, &known));
        }
    }
    if modes.len() > 1 && modes.iter().any(|mode| mode == once) {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden("spec.accessModes", detail));
    }
}

/// `spec.storageClassName`; empty is one, too.
pub(super) fn storage_class(spec: &Value, errors: &mut Errors) {
    let class = object::str_at(spec, "storageClassName");
    if !class.is_empty() {
        check::messages("spec.storageClassName", class, names::dns_subdomain(class, false), errors);
    }
}

/// `RWO,ROX`
pub(super) fn shown_modes(modes: &[Value]) -> String {
    let shown = SHOWN_MODES.into_iter().filter(|mode| modes.iter().any(|given| given == mode));
    let short = |mode| ACCESS_MODES.iter().find(|(known, _)| *known == mode).map_or("", |(_, short)| *short);
    shown.map(short).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::shown_errors;
    use expect_test::expect;

    fn claim() -> Value {
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
    }

    #[test]
    fn what_a_claim_must_say() {
        let empty = json!({"spec": {"accessModes": ["Sometimes"], "storageClassName": "A"}});
        expect![[r#"
            spec.accessModes: Unsupported value: "Sometimes": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
            spec.resources[storage]: Required value
            spec.storageClassName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"#]]
        .assert_eq(&shown_errors(&PersistentVolumeClaim.validate(&empty)));
        assert_eq!(PersistentVolumeClaim.validate(&claim()), []);
    }

    #[test]
    fn a_claim_keeps_its_wish_until_it_is_bound() {
        let mut new = claim();
        new["spec"]["resources"]["requests"]["storage"] = "2Gi".into();
        let refused = PersistentVolumeClaim.validate_update(&new, &claim(), Part::Main);
        assert_eq!(shown_errors(&refused), format!("spec: Forbidden: {UNCHANGED}"));
        let mut bound = claim();
        bound["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
        assert_eq!(PersistentVolumeClaim.validate_update(&new, &bound, Part::Main), []);
        let mut with_volume = claim();
        with_volume["spec"]["volumeName"] = "v".into();
        assert_eq!(PersistentVolumeClaim.validate_update(&with_volume, &claim(), Part::Main), []);
        assert!(!PersistentVolumeClaim.validate_update(&claim(), &with_volume, Part::Main).is_empty());
    }
}
