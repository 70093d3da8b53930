//! `volumeMounts` → mounts, over the volumes' directories on the host. Pure but
//! for the paths, which [`crate::volumes`] checks when it makes them.

use super::expand;
use k8s_openapi::api::core::v1::{Container, VolumeMount};
use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};
use wk_cri::Mount;

/// Where a volume is on the host, and whether its source can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostVolume {
    /// Absolute.
    pub path: PathBuf,
    /// ConfigMaps, Secrets and the like are for reading only.
    pub readonly: bool,
}

/// The container's mounts, in the order of the spec.
///
/// # Errors
/// A message for `CreateContainerConfigError`.
pub fn mounts(
    container: &Container,
    volumes: &BTreeMap<String, HostVolume>,
    envs: &[(String, String)],
) -> Result<Vec<Mount>, String> {
    container.volume_mounts.iter().flatten().map(|mount| one(mount, volumes, envs)).collect()
}

fn one(
    mount: &VolumeMount,
    volumes: &BTreeMap<String, HostVolume>,
    envs: &[(String, String)],
) -> Result<Mount, String> {
    let volume = volumes
        .get(&mount.name)
        .ok_or_else(|| format!("cannot find volume {:?} to mount into container", mount.name))?;
    let sub_path = match (&mount.sub_path, &mount.sub_path_expr) {
        (Some(path), _) => path.clone(),
        (None, Some(expression)) => {
            let value =
                |name: &str| envs.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
            expand::expand(expression, value)
        }
        (None, None) => String::new(),
    };
    if !is_inside(Path::new(&sub_path)) {
        return Err(format!("subPath {sub_path:?} of volume {:?} must be a relative path without '..'", mount.name));
    }
    let host_path = if sub_path.is_empty() { volume.path.clone() } else { volume.path.join(sub_path) };
    let container_path = match mount.mount_path.strip_prefix('/') {
        Some(_) => mount.mount_path.clone(),
        None => format!("/{}", mount.mount_path),
    };
    Ok(Mount { container_path, host_path, readonly: volume.readonly || mount.read_only == Some(true) })
}

/// Whether the path stays inside what it is joined to.
pub fn is_inside(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// The host's path of a path in the container that a mount covers.
pub fn host_path(mounts: &[Mount], path: &str) -> Option<PathBuf> {
    let covering = mounts.iter().filter(|mount| !mount.readonly && Path::new(path).starts_with(&mount.container_path));
    let longest = covering.max_by_key(|mount| mount.container_path.len())?;
    let rest = Path::new(path).strip_prefix(&longest.container_path).ok()?;
    is_inside(rest).then(|| longest.host_path.join(rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(mount: Value) -> Result<Mount, String> {
        let container: Container =
            serde_json::from_value(json!({"name": "m", "volumeMounts": [mount]})).expect("a container");
        let volume = |path: &str, readonly| HostVolume { path: path.into(), readonly };
        let volumes =
            [("data".to_owned(), volume("/v/data", false)), ("cfg".to_owned(), volume("/v/cfg", true))].into();
        let envs = [("POD".to_owned(), "web".to_owned())];
        mounts(&container, &volumes, &envs).map(|mut mounts| mounts.remove(0))
    }

    #[test]
    fn mounts_point_into_volumes() {
        let mount = |host: &str, readonly| Mount { container_path: "/d".to_owned(), host_path: host.into(), readonly };
        assert_eq!(read(json!({"name": "data", "mountPath": "/d"})), Ok(mount("/v/data", false)));
        assert_eq!(read(json!({"name": "data", "mountPath": "/d", "readOnly": true})), Ok(mount("/v/data", true)));
        assert_eq!(read(json!({"name": "cfg", "mountPath": "/d"})), Ok(mount("/v/cfg", true)));
        assert_eq!(read(json!({"name": "data", "mountPath": "d", "subPath": "a/b"})), Ok(mount("/v/data/a/b", false)));
        let expression = json!({"name": "data", "mountPath": "/d", "subPathExpr": "$(POD)"});
        assert_eq!(read(expression), Ok(mount("/v/data/web", false)));
    }

    #[test]
    fn nothing_leaves_its_volume() {
        for path in ["../x", "/etc", "a/../../x"] {
            assert!(read(json!({"name": "data", "mountPath": "/d", "subPath": path})).is_err(), "{path}");
        }
        assert!(read(json!({"name": "none", "mountPath": "/d"})).is_err());
    }

    #[test]
    fn a_path_in_the_container_is_found_on_the_host() {
        let mount = |container: &str, host: &str| Mount {
            container_path: container.to_owned(),
            host_path: host.into(),
            readonly: false,
        };
        let mounts = [mount("/d", "/v/d"), mount("/d/e", "/v/e")];
        assert_eq!(host_path(&mounts, "/d/e/f"), Some("/v/e/f".into()));
        assert_eq!(host_path(&mounts, "/d/x"), Some("/v/d/x".into()));
        assert_eq!(host_path(&mounts, "/dev/x"), None);
    }
}
