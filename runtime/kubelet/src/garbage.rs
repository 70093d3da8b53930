//! What an earlier kubelet left behind: sandboxes and directories of pods that
//! are no longer bound to this node. Dead containers of living pods are the
//! business of [`crate::lifecycle`]; images stay until somebody removes them.

use crate::{Config, labels, volumes};
use std::{collections::BTreeSet, path::Path};
use tracing::{info, warn};
use wk_cri::Filter;

/// Removes what belongs to none of `pods` (UIDs). A sandbox without the label of
/// a pod is not ours and stays.
pub(crate) async fn remove_leftovers(config: &Config, pods: &BTreeSet<String>) {
    match config.runtime.list_pod_sandboxes(Filter::default()).await {
        Err(error) => warn!(%error, "could not list sandboxes"),
        Ok(sandboxes) => {
            let orphan = |uid: &String| !pods.contains(uid);
            for sandbox in sandboxes.iter().filter(|sandbox| sandbox.labels.get(labels::POD_UID).is_some_and(orphan)) {
                info!(pod_uid = %sandbox.metadata.uid, sandbox = %sandbox.id.0, "removed the sandbox of a pod that is gone");
                if let Err(error) = config.runtime.remove_pod_sandbox(&sandbox.id).await {
                    warn!(%error, "could not remove a sandbox");
                }
            }
        }
    }
    let (root, pods) = (config.root_dir.clone(), pods.clone());
    let _ = tokio::task::spawn_blocking(move || remove_directories(&root, &pods)).await;
}

/// Volumes are named by UID, logs by `namespace_name_uid`.
fn remove_directories(root_dir: &Path, pods: &BTreeSet<String>) {
    for parent in ["pods", "logs"] {
        let Ok(entries) = std::fs::read_dir(root_dir.join(parent)) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let uid = name.rsplit('_').next().unwrap_or_default();
            if !pods.contains(uid)
                && let Err(error) = volumes::remove_tree(&entry.path())
            {
                warn!(%error, path = %entry.path().display(), "could not remove a directory");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_pods_that_are_gone_are_removed() {
        let root = tempfile::tempdir().expect("a directory");
        for path in ["pods/u1/volumes", "pods/u2", "logs/ns_web_u1/main", "logs/ns_old_u2/main"] {
            std::fs::create_dir_all(root.path().join(path)).expect("made");
        }
        remove_directories(root.path(), &BTreeSet::from(["u1".to_owned()]));
        let left = |path: &str| root.path().join(path).exists();
        assert!(left("pods/u1/volumes") && left("logs/ns_web_u1/main"));
        assert!(!left("pods/u2") && !left("logs/ns_old_u2"));
    }
}
