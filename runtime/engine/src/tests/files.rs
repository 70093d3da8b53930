//! What a container sees: environment, arguments, files.

use super::*;
use wk_cri::Mount;

fn mount(container_path: &str, host_path: PathBuf, readonly: bool) -> Mount {
    Mount { container_path: container_path.to_owned(), host_path, readonly }
}

#[tokio::test]
async fn arguments_and_environment_are_the_containers() {
    for image in ["env-and-files", "env-and-files:p1"] {
        let node = Node::start();
        let mut config = container(image, &["args", "env"]);
        config.envs = ["HOME=/data", "GREETING=hello", "GREETING=hi"]
            .map(|pair| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap())
            .to_vec();
        let (exit, log) = node.run_to_exit(config).await;
        assert!(exit.is(0, "Completed"), "{exit:?}");
        let mut lines: Vec<_> = log.lines().collect();
        assert_eq!(lines.drain(..3).collect::<Vec<_>>(), ["arg 0: env-and-files", "arg 1: args", "arg 2: env"]);
        lines.retain(|line| !line.starts_with("PATH="));
        assert_eq!(lines, ["HOSTNAME=pod-0", "HOME=/data", "GREETING=hi"]);
    }
}

#[tokio::test]
async fn a_command_replaces_the_entrypoint() {
    let node = Node::start();
    let mut config = container("env-and-files", &["args"]);
    config.command = vec!["/bin/env-and-files".to_owned(), "print:first".to_owned()];
    let (_, log) = node.run_to_exit(config).await;
    assert_eq!(log, "first\narg 0: /bin/env-and-files\narg 1: print:first\narg 2: args\n");
}

#[tokio::test]
async fn mounts_are_seen_and_written_through() {
    for image in ["env-and-files", "env-and-files:p1"] {
        let node = Node::start();
        let shared = tempfile::tempdir().unwrap();
        std::fs::write(shared.path().join("in"), "from the host\n").unwrap();
        let mut config = container(image, &["list:/", "read:/data/in", "write:/data/out=from the guest"]);
        config.mounts = vec![mount("/data", shared.path().to_owned(), false)];
        let (exit, log) = node.run_to_exit(config).await;
        assert!(exit.is(0, "Completed"), "{exit:?} {log}");
        assert_eq!(log, "/data\n/etc\n/tmp\nfrom the host\n");
        assert_eq!(std::fs::read_to_string(shared.path().join("out")).unwrap(), "from the guest");
    }
}

#[tokio::test]
async fn what_is_read_only_cannot_be_written() {
    let node = Node::start();
    let shared = tempfile::tempdir().unwrap();
    let mut config = container("env-and-files", &["write:/tmp/x=y", "write:/data/x=y"]);
    config.mounts = vec![mount("/data", shared.path().to_owned(), true)];
    let (exit, log) = node.run_to_exit(config).await;
    assert!(exit.is(1, "Error") && log.starts_with("write:/data/x=y: "), "{exit:?} {log}");
    assert!(!shared.path().join("x").exists());
    let mut config = container("env-and-files", &["write:/data/x=y", "write:/tmp/x=y"]);
    config.mounts = vec![mount("/data", shared.path().to_owned(), false)];
    config.readonly_rootfs = true;
    let (exit, log) = node.run_to_exit(config).await;
    assert!(exit.is(1, "Error") && log.starts_with("write:/tmp/x=y: "), "{exit:?} {log}");
    assert!(shared.path().join("x").exists());
}

#[tokio::test]
async fn a_link_does_not_lead_out_of_a_mount() {
    let node = Node::start();
    let shared = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc/hostname", shared.path().join("link")).unwrap();
    let mut config = container("env-and-files", &["read:/data/link"]);
    config.mounts = vec![mount("/data", shared.path().to_owned(), true)];
    let (exit, log) = node.run_to_exit(config).await;
    assert!(exit.is(1, "Error") && log.starts_with("read:/data/link: "), "{exit:?} {log}");
}

/// Programs of today's wasi-libc start in `/` all the same.
#[tokio::test]
async fn the_working_directory_is_there() {
    let node = Node::start();
    let config =
        ContainerConfig { working_dir: "/srv/app".to_owned(), ..container("env-and-files", &["list:/srv", "cwd"]) };
    let (exit, log) = node.run_to_exit(config).await;
    assert!(exit.is(0, "Completed"), "{exit:?} {log}");
    assert_eq!(log, "/srv/app\n/\n");
}

#[tokio::test]
async fn a_removed_container_leaves_no_files() {
    let node = Node::start();
    let made = node.run(container("sleep", &[])).await;
    let root = node.directory.path().join("containers").join(&made.0);
    assert!(root.is_dir());
    node.runtime.remove_container(&made).await.unwrap();
    assert!(!root.exists());
}
