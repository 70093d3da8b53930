//! The directories of a pod's volumes, at upstream's places:
//! `<root>/pods/<uid>/volumes/kubernetes.io~<kind>/<name>`.
//!
//! What is made of objects (configMap, secret, downwardAPI, projected) is
//! written anew whenever they change, all files of a volume at once
//! ([`payload`]); what is the guest's own (emptyDir, hostPath) is only made.

mod files;
pub mod payload;

use crate::{
    objects::References,
    spec,
    translate::{fields::Place, mounts::HostVolume},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{HostPathVolumeSource, Pod, Volume};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

pub use files::{TokenError, TokenSource, Tokens};

/// The directory of everything that belongs to a pod.
pub fn pod_directory(root_dir: &Path, uid: &str) -> PathBuf {
    root_dir.join("pods").join(uid)
}

/// The volumes of a pod, made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volumes {
    /// By name.
    pub by_name: BTreeMap<String, HostVolume>,
    /// When a token in them must be replaced.
    pub refresh_at: Option<Timestamp>,
    /// What could not be given and was left out; for people.
    pub warnings: Vec<String>,
}

/// Why a volume could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {message}")]
pub struct VolumeError {
    /// Its name.
    pub volume: String,
    /// What is wrong.
    pub message: String,
    /// Whether the pod's objects must change before another try can work.
    pub waits_for_objects: bool,
}

/// What the contents of volumes come from.
pub struct Sources<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// ConfigMaps and Secrets.
    pub references: &'a References,
    /// Addresses, for the downward API.
    pub place: &'a Place,
    /// Tokens of service accounts.
    pub tokens: &'a dyn TokenSource,
    /// Now.
    pub now: Timestamp,
}

/// Makes or refreshes all volumes of a pod.
///
/// # Errors
/// The first volume that cannot be made. Doing it again after that, or after
/// being dropped half-way, is fine.
pub async fn prepare(root_dir: &Path, sources: &Sources<'_>) -> Result<Volumes, VolumeError> {
    let mut volumes = Volumes::default();
    for volume in spec::of(sources.pod).volumes.iter().flatten() {
        let made = one(root_dir, volume, sources, &mut volumes).await?;
        volumes.by_name.insert(volume.name.clone(), made);
    }
    Ok(volumes)
}

/// Where an emptyDir is.
pub fn empty_dir(root_dir: &Path, uid: &str, name: &str) -> PathBuf {
    volume_directory(root_dir, uid, "empty-dir", name)
}

fn volume_directory(root_dir: &Path, uid: &str, kind: &str, name: &str) -> PathBuf {
    pod_directory(root_dir, uid).join("volumes").join(format!("kubernetes.io~{kind}")).join(name)
}

async fn one(
    root_dir: &Path,
    volume: &Volume,
    sources: &Sources<'_>,
    volumes: &mut Volumes,
) -> Result<HostVolume, VolumeError> {
    let failed = |message: String| VolumeError { volume: volume.name.clone(), message, waits_for_objects: false };
    if volume.empty_dir.is_some() {
        let path = empty_dir(root_dir, spec::uid(sources.pod), &volume.name);
        make_directory(&path).map_err(|error| failed(error.to_string()))?;
        return Ok(HostVolume { path, readonly: false });
    }
    if let Some(source) = &volume.host_path {
        host_path(source).map_err(failed)?;
        return Ok(HostVolume { path: PathBuf::from(&source.path), readonly: false });
    }
    let Some(kind) = files::kind(volume) else {
        return Err(failed("this node has no volumes of this type".to_owned()));
    };
    let content = files::content(volume, sources).await.map_err(|problem| VolumeError {
        volume: volume.name.clone(),
        message: problem.message,
        waits_for_objects: problem.waits_for_objects,
    })?;
    let path = volume_directory(root_dir, spec::uid(sources.pod), kind, &volume.name);
    let stamp = sources.now.as_nanosecond().to_string();
    payload::write(&path, &stamp, &content.files).map_err(|error| failed(error.to_string()))?;
    volumes.refresh_at = [volumes.refresh_at, content.refresh_at].into_iter().flatten().min();
    volumes.warnings.extend(content.warnings);
    Ok(HostVolume { path, readonly: true })
}

fn make_directory(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    // Guests have no user of their own; upstream's emptyDir is open to all as well.
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    Ok(())
}

/// Checks or makes a path of the host (upstream: `pkg/volume/hostpath`).
fn host_path(source: &HostPathVolumeSource) -> Result<(), String> {
    use std::os::unix::fs::FileTypeExt;
    let (path, wanted) = (Path::new(&source.path), source.type_.as_deref().unwrap_or_default());
    let failed = |error: io::Error| format!("hostPath {}: {error}", source.path);
    match wanted {
        "DirectoryOrCreate" if !path.exists() => return std::fs::create_dir_all(path).map_err(failed),
        "FileOrCreate" if !path.exists() => return std::fs::File::create(path).map(drop).map_err(failed),
        "" => return Ok(()),
        _ => {}
    }
    let found = std::fs::metadata(path).map(|metadata| metadata.file_type());
    let fits = found.as_ref().is_ok_and(|found| match wanted {
        "Directory" | "DirectoryOrCreate" => found.is_dir(),
        "File" | "FileOrCreate" => found.is_file(),
        "Socket" => found.is_socket(),
        "CharDevice" => found.is_char_device(),
        "BlockDevice" => found.is_block_device(),
        _ => false,
    });
    let noun = match wanted {
        "Directory" | "DirectoryOrCreate" => "directory",
        "File" | "FileOrCreate" => "file",
        "Socket" => "socket file",
        "CharDevice" => "character device",
        _ => "block device",
    };
    if fits { Ok(()) } else { Err(format!("hostPath type check failed: {} is not a {noun}", source.path)) }
}

/// Makes what `subPath` mounts point at, as upstream does for missing directories.
///
/// # Errors
/// The operating system's, or that a path leads out of its volume.
pub fn make_sub_paths(mounts: &[wk_cri::Mount], volumes: &BTreeMap<String, HostVolume>) -> Result<(), String> {
    for mount in mounts {
        let volume =
            volumes.values().find(|volume| mount.host_path != volume.path && mount.host_path.starts_with(&volume.path));
        let Some(volume) = volume else { continue };
        if !mount.host_path.exists() {
            make_directory(&mount.host_path).map_err(|error| format!("failed to create subPath directory: {error}"))?;
        }
        let real = |path: &Path| std::fs::canonicalize(path).map_err(|error| error.to_string());
        if !real(&mount.host_path)?.starts_with(real(&volume.path)?) {
            return Err(format!("subPath {} leads out of its volume", mount.host_path.display()));
        }
    }
    Ok(())
}

/// Deletes everything that belongs to a pod; fine when there is nothing.
///
/// # Errors
/// The operating system's.
pub fn remove(root_dir: &Path, uid: &str) -> io::Result<()> {
    remove_tree(&pod_directory(root_dir, uid))
}

/// Deletes a directory and what is in it; fine when there is none. Links are
/// deleted, not followed, so that a host path is safe.
///
/// # Errors
/// The operating system's.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
#[path = "volumes/tests.rs"]
mod tests;
