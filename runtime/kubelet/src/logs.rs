//! Where logs are: `<root>/logs/<namespace>_<name>_<uid>/<container>/<attempt>.log`,
//! upstream's layout under `/var/log/pods`. Pure; the runtime writes the files.

use std::path::{Path, PathBuf};

/// The directory of a pod's logs: the sandbox's `log_directory`.
pub fn pod_directory(root_dir: &Path, namespace: &str, name: &str, uid: &str) -> PathBuf {
    root_dir.join("logs").join(format!("{namespace}_{name}_{uid}"))
}

/// A container's log within its pod's directory: the container's `log_path`.
pub fn container_path(container: &str, attempt: u32) -> PathBuf {
    Path::new(container).join(format!("{attempt}.log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_upstreams_layout() {
        let path = pod_directory(Path::new("/r"), "ns", "web", "u1").join(container_path("main", 2));
        assert_eq!(path, Path::new("/r/logs/ns_web_u1/main/2.log"));
    }
}
