//! What is wrong with the volumes of a pod. Called by the pod's validation.

use super::env;
use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::names;
use crate::schema::{FieldError, Quantity};
use serde_json::Value;

/// Kinds of volume sources, in the order in which upstream looks at them.
const SOURCES: &[&str] = &[
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const FILE_MODE_MAX: i64 = 0o777;

/// Validates the list; gives the volumes that are fine, for mounts to refer to.
pub(super) fn validate<'a>(volumes: &'a [Value], path: &str, errors: &mut Errors) -> Vec<&'a Value> {
    let mut fine: Vec<&Value> = Vec::new();
    for (index, volume) in volumes.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let name = object::str_at(volume, "name");
        let mut found = Errors::new();
        source(volume, &path, &mut found);
        if check::required(volume, &path, "name", &mut found) {
            check::messages(&format!("{path}.name"), name, names::dns_label(name, false), &mut found);
        }
        if fine.iter().any(|other| other["name"] == name) {
            found.push(FieldError::duplicate(format!("{path}.name"), name));
        }
        if found.is_empty() {
            fine.push(volume);
        }
        errors.append(&mut found);
    }
    fine
}

fn source(volume: &Value, path: &str, errors: &mut Errors) {
    let mut sources = SOURCES.iter().filter(|kind| volume.get(**kind).is_some_and(|source| !source.is_null()));
    let Some(first) = sources.next() else {
        errors.push(FieldError::required(path, "must specify a volume type"));
        return;
    };
    one_source(first, &volume[*first], &format!("{path}.{first}"), errors);
    for other in sources {
        errors.push(FieldError::forbidden(format!("{path}.{other}"), "may not specify more than 1 volume type"));
    }
}

fn one_source(kind: &str, source: &Value, path: &str, errors: &mut Errors) {
    match kind {
        "emptyDir" => empty_dir(source, path, errors),
        "hostPath" => host_path(source, path, errors),
        "secret" => {
            check::required(source, path, "secretName", errors);
            keyed_files(source, path, errors);
        }
        "configMap" => {
            check::required(source, path, "name", errors);
            keyed_files(source, path, errors);
        }
        "downwardAPI" => downward(source, path, errors),
        "projected" => projected(source, path, errors),
        "persistentVolumeClaim" => drop(check::required(source, path, "claimName", errors)),
        "nfs" => nfs(source, path, errors),
        "csi" => drop(check::required(source, path, "driver", errors)),
        "gitRepo" => drop(check::required(source, path, "repository", errors)),
        "image" => drop(check::required(source, path, "reference", errors)),
        "ephemeral" if !source["volumeClaimTemplate"].is_object() => {
            errors.push(FieldError::required(format!("{path}.volumeClaimTemplate"), ""));
        }
        // Drivers that no node of ours has: nothing can go wrong that matters.
        _ => {}
    }
}

fn empty_dir(source: &Value, path: &str, errors: &mut Errors) {
    let limit = object::str_at(source, "sizeLimit").parse::<Quantity>();
    if limit.is_ok_and(|limit| limit.nanos() < 0) {
        let detail = "SizeLimit field must be a valid resource quantity";
        errors.push(FieldError::forbidden(format!("{path}.sizeLimit"), detail));
    }
}

fn host_path(source: &Value, path: &str, errors: &mut Errors) {
    if check::required(source, path, "path", errors) {
        no_backsteps(object::str_at(source, "path"), &format!("{path}.path"), errors);
    }
    check::one_of(source, path, "type", HOST_PATH_TYPES, errors);
}

fn nfs(source: &Value, path: &str, errors: &mut Errors) {
    check::required(source, path, "server", errors);
    if check::required(source, path, "path", errors) {
        let exported = object::str_at(source, "path");
        if !exported.starts_with('/') {
            errors.push(FieldError::invalid(format!("{path}.path"), exported, "must be an absolute path"));
        }
    }
}

fn mode(parent: &Value, field: &str, path: &str, errors: &mut Errors) {
    if let Some(mode) = parent[field].as_i64().filter(|mode| !(0..=FILE_MODE_MAX).contains(mode)) {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(FieldError::invalid(format!("{path}.{field}"), mode, detail));
    }
}

/// Modes and items of a ConfigMap or Secret.
fn keyed_files(source: &Value, path: &str, errors: &mut Errors) {
    mode(source, "defaultMode", path, errors);
    for (index, item) in object::list_at(source, "items").iter().enumerate() {
        let path = format!("{path}.items[{index}]");
        check::required(item, &path, "key", errors);
        file_path(item, &path, errors);
        mode(item, "mode", &path, errors);
    }
}

fn file_path(item: &Value, path: &str, errors: &mut Errors) {
    if check::required(item, path, "path", errors) {
        let (file, field) = (object::str_at(item, "path"), format!("{path}.path"));
        descending_path(file, &field, errors);
        if file.starts_with("..") && !file.starts_with("../") && file != ".." {
            errors.push(FieldError::invalid(field, file, "must not start with '..'"));
        }
    }
}

/// A relative path that does not leave its root.
pub(super) fn descending_path(target: &str, field: &str, errors: &mut Errors) {
    if target.starts_with('/') {
        errors.push(FieldError::invalid(field, target, "must be a relative path"));
    }
    no_backsteps(target, field, errors);
}

fn no_backsteps(target: &str, field: &str, errors: &mut Errors) {
    if target.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(field, target, "must not contain '..'"));
    }
}

fn downward(source: &Value, path: &str, errors: &mut Errors) {
    mode(source, "defaultMode", path, errors);
    downward_items(source, path, errors);
}

fn downward_items(source: &Value, path: &str, errors: &mut Errors) {
    for (index, item) in object::list_at(source, "items").iter().enumerate() {
        // Upstream leaves the index out of these paths.
        let _ = index;
        file_path(item, path, errors);
        match (item["fieldRef"].is_object(), item["resourceFieldRef"].is_object()) {
            (true, both) => {
                env::field_ref(&item["fieldRef"], env::VOLUME_FIELDS, &format!("{path}.fieldRef"), errors);
                if both {
                    let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                    errors.push(FieldError::invalid(path, "resource", detail));
                }
            }
            (false, true) => {
                let path = format!("{path}.resourceFieldRef");
                env::resource_field_ref(&item["resourceFieldRef"], env::Place::Volume, &path, errors);
            }
            (false, false) => {
                errors.push(FieldError::required(path, "one of fieldRef and resourceFieldRef is required"));
            }
        }
        mode(item, "mode", path, errors);
    }
}

fn projected(source: &Value, path: &str, errors: &mut Errors) {
    mode(source, "defaultMode", path, errors);
    const KINDS: [&str; 5] = ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle"];
    for (index, part) in object::list_at(source, "sources").iter().enumerate() {
        let path = format!("{path}.sources[{index}]");
        let kinds: Vec<&str> = KINDS.into_iter().filter(|kind| part[*kind].is_object()).collect();
        for kind in &kinds {
            projected_source(kind, &part[*kind], &format!("{path}.{kind}"), errors);
        }
        if kinds.len() > 1 {
            errors.push(FieldError::forbidden(path, "may not specify more than 1 volume type per source"));
        } else if kinds.is_empty() {
            errors.push(FieldError::required(path, "must specify a source"));
        }
    }
}

/// The shortest and longest life of a projected token, in seconds.
const TOKEN_SECONDS_MIN: i64 = 10 * 60;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

fn projected_source(kind: &str, source: &Value, path: &str, errors: &mut Errors) {
    match kind {
        "secret" | "configMap" => {
            check::required(source, path, "name", errors);
            keyed_files(source, path, errors);
        }
        "downwardAPI" => downward_items(source, path, errors),
        "serviceAccountToken" => {
            let (seconds, field) = (source["expirationSeconds"].as_i64().unwrap_or(0), "expirationSeconds");
            if seconds < TOKEN_SECONDS_MIN {
                let detail = "may not specify a duration less than 10 minutes";
                errors.push(FieldError::invalid(format!("{path}.{field}"), seconds, detail));
            } else if seconds > TOKEN_SECONDS_MAX {
                let detail = "may not specify a duration larger than 2^32 seconds";
                errors.push(FieldError::invalid(format!("{path}.{field}"), seconds, detail));
            }
            file_path(source, path, errors);
        }
        _ => {}
    }
}
