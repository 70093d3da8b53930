//! A disk that is full, read-only or damaged: the server says so, with the place
//! and what to do; nothing that was acknowledged is lost, and when there is space
//! again it goes on.
//!
//! The disks are those of user and mount namespaces, which ordinary users may
//! make on most systems; where they may not, the tests fail and say so.

use crate::harness::{Disk, HELLO, Server, Tool, eventually, fetch, lines, next_matching, text};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

const READ_ONLY: &str = "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\" && exec \"$@\"";

/// As the operating system says it.
const NO_SPACE: &str = "o space left on device";

#[test]
fn a_read_only_data_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = namespace(READ_ONLY, directory.path());
    let output = command
        .args([env!("CARGO_BIN_EXE_wk"), "server", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(directory.path())
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(directory.path().to_str().unwrap()) && said.contains("Read-only file system"), "{said}");
}

#[test]
fn a_damaged_store_is_named_with_what_to_do() {
    let mut server = Server::start();
    server.stop("-KILL");
    fs::write(server.directory().join("store/CURRENT"), "").unwrap();
    let said = server.try_restart().unwrap_err();
    assert!(said.contains("the store is damaged") && said.contains("restore a snapshot"), "{said}");
}

#[test]
fn a_disk_that_is_full_at_the_first_start_is_named_and_harms_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::mount(directory.path(), 16);
    disk.fill();
    let start = || {
        let args = ["server", "--listen", "127.0.0.1:0", "--data-dir"];
        let mut command = disk.inside();
        command.arg(env!("CARGO_BIN_EXE_wk")).args(args).arg(directory.path());
        command
    };
    let output = start().output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(directory.path().to_str().unwrap()) && said.contains(NO_SPACE), "{said}");
    disk.clear();
    let mut child = start().stdout(Stdio::piped()).spawn().unwrap();
    next_matching(&lines(child.stdout.take().unwrap()), |line| line.starts_with("wk is ready"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space_and_loses_nothing() {
    let mut server = Server::start_on_disk(64, &[]);
    server.load(wk_guests::hello_kiamol(), HELLO);
    server.ok(Tool::Wk, &["run", "hello", "--image", HELLO, "--image-pull-policy", "IfNotPresent"]);
    server.wait_for(Tool::Wk, "Ready", &["pod", "hello"]);
    let mut watch = server.command(Tool::Kubectl, &["get", "configmaps", "--watch", "-o", "name"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let seen = lines(watch.stdout.take().unwrap());
    let (mut kept, refused) = until_refused(&server, &seen);

    reads_go_on(&server, &kept, &refused);
    // What the store set aside in vain is free again.
    server.disk().fill();
    images_are_refused(&server);
    // It does not get worse by trying, and not by a restart.
    let error = server.fails(Tool::Wk, &["delete", "configmap", &kept[0]]);
    assert!(error.contains(NO_SPACE), "{error}");
    server.disk().clear();

    let create = |name: &str| server.run(Tool::Kubectl, &["create", "configmap", name]).status.success();
    eventually("writes work again", || create("after"));
    kept.push("after".to_owned());
    // The same watch, all the time.
    next_matching(&seen, |line| line == "configmap/after");
    let _ = watch.kill();
    let _ = watch.wait();
    server.load(wk_guests::whoami(), "whoami");
    assert_eq!(config_maps(&server), kept);

    server.stop("-KILL");
    server.disk().fill();
    // A start writes; what it cannot do without is said.
    let started = server.try_restart();
    if let Err(said) = &started {
        assert!(said.contains(NO_SPACE) && said.contains(server_path(&server).as_str()), "{said}");
    }
    if started.is_ok() {
        server.stop("-KILL");
    }
    server.disk().clear();
    server.restart();
    assert_eq!(config_maps(&server), kept);
    server.wait_for(Tool::Wk, "Ready", &["pod", "hello"]);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// Fills the disk between writes until one is refused, which is when what the
/// store has set aside for its log is full, too: the names that were acknowledged,
/// each seen by the watch, and the name that was not.
fn until_refused(server: &Server, seen: &std::sync::mpsc::Receiver<String>) -> (Vec<String>, String) {
    let data = server.file("data", &"x".repeat(900_000));
    let data = format!("--from-file=data={}", data.display());
    let mut kept = Vec::new();
    for index in 0..40 {
        if index == 3 {
            server.disk().fill();
        }
        let name = format!("written-{index:02}");
        let output = server.run(Tool::Kubectl, &["create", "configmap", &name, &data]);
        if output.status.success() {
            next_matching(seen, |line| line == format!("configmap/{name}"));
            kept.push(name);
            continue;
        }
        let error = text(&output.stderr);
        assert!(
            error.starts_with("error: failed to create configmap: ") || error.contains("Error from server"),
            "{error}"
        );
        assert!(error.contains("the store cannot write") && error.contains(NO_SPACE), "{error}");
        assert!(kept.len() >= 3, "refused before the disk was full");
        kept.insert(0, "kube-root-ca.crt".to_owned());
        return (kept, name);
    }
    panic!("the disk is full, and much was written");
}

fn config_maps(server: &Server) -> Vec<String> {
    let names = server
        .ok(Tool::Kubectl, &["get", "configmaps", "-o", "jsonpath={range .items[*]}{.metadata.name}{\"\\n\"}{end}"]);
    let mut names: Vec<String> = names.lines().map(str::to_owned).collect();
    names.sort_by_key(|name| (name != "kube-root-ca.crt", name == "after", name.clone()));
    names
}

fn reads_go_on(server: &Server, kept: &[String], refused: &str) {
    assert_eq!(config_maps(server), kept);
    let error = server.fails(Tool::Kubectl, &["get", "configmap", refused]);
    assert!(error.contains("NotFound"), "{error}");
    assert_eq!(server.ok(Tool::Kubectl, &["get", "--raw", "/readyz"]), "ok");
    let forward = server.forward(Tool::Wk, "pod/hello", 80);
    assert!(fetch(forward.local).unwrap().contains("</html>"));
    server.ok(Tool::Kubectl, &["logs", "hello"]);
}

fn images_are_refused(server: &Server) {
    let guest = wk_guests::whoami().to_str().unwrap();
    let error = server.fails(Tool::Wk, &["image", "load", guest, "--tag", "whoami"]);
    assert!(error.contains("images/") && error.contains(NO_SPACE), "{error}");
    let images = server.ok(Tool::Wk, &["image", "ls"]);
    assert!(images.contains(HELLO) && !images.contains("whoami"), "{images}");
}

/// The data directory as the server knows it.
fn server_path(server: &Server) -> String {
    let seen = server.directory().to_str().unwrap();
    seen.split_once("/root/").map(|(_, path)| format!("/{path}")).unwrap()
}

/// A command that runs what follows after `script` in namespaces of its own.
fn namespace(script: &str, directory: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-Urm", "sh", "-c", script]).arg(directory);
    command
}
