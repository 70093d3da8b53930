//! The last words of a container: what it wrote to `terminationMessagePath`, or
//! the end of its log. A host directory stands in for the parent of the path:
//! a guest sees directories, not single files.

use crate::{spec, translate::mounts, volumes};
use k8s_openapi::api::core::v1::{Container, Pod};
use std::{
    io,
    path::{Path, PathBuf},
};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use wk_cri::{ContainerState, ContainerStatus, Mount};

/// Where a container without the field writes (the API server's default).
const PATH: &str = "/dev/termination-log";

/// How much of the file is read (upstream: `MaxContainerTerminationMessageLength`).
const FILE_BYTES_MAX: u64 = 4096;

/// How much of the log is read (upstream: `MaxContainerTerminationMessageLogLength`).
const LOG_BYTES_MAX: u64 = 2048;

/// How many lines of the log are said.
const LOG_LINES_MAX: usize = 80;

fn path(container: &Container) -> &str {
    container.termination_message_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(PATH)
}

fn directory(root_dir: &Path, pod: &Pod, name: &str, attempt: u32) -> PathBuf {
    volumes::pod_directory(root_dir, spec::uid(pod)).join("containers").join(name).join(attempt.to_string())
}

/// The mount that catches the message, beside the container's own ones; `None`
/// when one of these has the path already, or its parent is the root.
///
/// # Errors
/// The operating system's.
pub fn mount(
    root_dir: &Path,
    pod: &Pod,
    container: &Container,
    attempt: u32,
    own: &[Mount],
) -> io::Result<Option<Mount>> {
    let path = Path::new(path(container));
    let Some(parent) = path.parent().filter(|parent| parent.parent().is_some()) else { return Ok(None) };
    if own.iter().any(|mount| path.starts_with(&mount.container_path)) {
        return Ok(None);
    }
    let host_path = directory(root_dir, pod, &container.name, attempt);
    std::fs::create_dir_all(&host_path)?;
    Ok(Some(Mount { container_path: parent.to_string_lossy().into_owned(), host_path, readonly: false }))
}

/// The message of a container that has exited; empty when it left none.
pub async fn message(
    root_dir: &Path,
    pod: &Pod,
    container: &Container,
    own: &[Mount],
    status: &ContainerStatus,
) -> String {
    let path = path(container);
    let file = mounts::host_path(own, path).or_else(|| {
        let directory = directory(root_dir, pod, &container.name, status.metadata.attempt);
        Path::new(path).file_name().map(|name| directory.join(name))
    });
    let written = match file {
        Some(file) => read_end(&file, FILE_BYTES_MAX).await.unwrap_or_default(),
        None => String::new(),
    };
    let failed = matches!(&status.state, ContainerState::Exited { exit_code, .. } if *exit_code != 0);
    let asks_for_log = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    if !written.is_empty() || !failed || !asks_for_log {
        return written;
    }
    log_text(&read_end(&status.log_path, LOG_BYTES_MAX).await.unwrap_or_default())
}

/// The end of a file. A guest may have put anything there: no link is followed,
/// and only so much is read.
async fn read_end(path: &Path, bytes_max: u64) -> io::Result<String> {
    let metadata = tokio::fs::symlink_metadata(path).await?;
    if !metadata.is_file() {
        return Ok(String::new());
    }
    let mut file = tokio::fs::File::open(path).await?;
    file.seek(io::SeekFrom::Start(metadata.len().saturating_sub(bytes_max))).await?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The texts of log lines in the CRI's format (`time stream tag text`).
fn log_text(log: &str) -> String {
    let lines: Vec<_> = log.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect();
    let last = &lines[lines.len().saturating_sub(LOG_LINES_MAX)..];
    last.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use wk_cri::{ContainerId, ContainerMetadata, SandboxId, UnixNanos};

    fn read_container(extra: Value) -> Container {
        let mut container = json!({"name": "main"});
        container.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        serde_json::from_value(container).expect("a container")
    }

    fn exited(log_path: PathBuf, exit_code: i32) -> ContainerStatus {
        let (started_at, finished_at) = (UnixNanos(1), UnixNanos(2));
        let (reason, message) = (String::new(), String::new());
        ContainerStatus {
            id: ContainerId("c".to_owned()),
            sandbox: SandboxId("s".to_owned()),
            metadata: ContainerMetadata { name: "main".to_owned(), attempt: 0 },
            state: ContainerState::Exited { started_at, finished_at, exit_code, reason, message },
            created_at: UnixNanos(0),
            image: String::new(),
            image_id: String::new(),
            labels: Default::default(),
            annotations: Default::default(),
            log_path,
        }
    }

    #[tokio::test]
    async fn what_a_guest_writes_is_read_and_cut() {
        let root = tempfile::tempdir().expect("a directory");
        let (pod, container) = (Pod::default(), read_container(json!({})));
        let mount = mount(root.path(), &pod, &container, 0, &[]).expect("made").expect("a mount");
        assert_eq!(mount.container_path, "/dev");
        std::fs::write(mount.host_path.join("termination-log"), "x".repeat(5_000) + "bye").expect("a write");
        let message = message(root.path(), &pod, &container, &[], &exited("/none".into(), 0)).await;
        assert!(message.len() == 4096 && message.ends_with("bye"));
    }

    #[tokio::test]
    async fn a_path_in_a_volume_needs_no_mount() {
        let root = tempfile::tempdir().expect("a directory");
        let container = read_container(json!({"terminationMessagePath": "/data/last"}));
        let own = [Mount { container_path: "/data".to_owned(), host_path: root.path().into(), readonly: false }];
        assert_eq!(mount(root.path(), &Pod::default(), &container, 0, &own).expect("fine"), None);
        std::fs::write(root.path().join("last"), "bye").expect("a write");
        let status = exited("/none".into(), 1);
        assert_eq!(message(root.path(), &Pod::default(), &container, &own, &status).await, "bye");
    }

    #[tokio::test]
    async fn the_log_speaks_for_a_failed_container_when_asked() {
        let root = tempfile::tempdir().expect("a directory");
        let log = root.path().join("0.log");
        std::fs::write(&log, "T stdout F one\nT stderr F two words\n").expect("a write");
        let read = async |extra: Value, exit_code| {
            let container = read_container(extra);
            message(root.path(), &Pod::default(), &container, &[], &exited(log.clone(), exit_code)).await
        };
        let fallback = json!({"terminationMessagePolicy": "FallbackToLogsOnError"});
        assert_eq!(read(fallback.clone(), 1).await, "one\ntwo words\n");
        assert_eq!(read(fallback, 0).await, "");
        assert_eq!(read(json!({}), 1).await, "");
    }
}
