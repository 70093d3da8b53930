//! A disk that is read-only or damaged: the server says so, with the place and
//! what to do, and ends.
//!
//! The read-only disk is one of a user and mount namespace of the server's own,
//! which ordinary users may make on most systems; where they may not, the test
//! fails and says so.

use crate::harness::{Server, text};
use std::{fs, path::Path, process::Command};

const READ_ONLY: &str = "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\" && exec \"$@\"";

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
    let output = Command::new(env!("CARGO_BIN_EXE_wk"))
        .args(["server", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(server.directory())
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the store is damaged") && said.contains("restore a snapshot"), "{said}");
}

/// A command that runs what follows after `script` in namespaces of its own.
fn namespace(script: &str, directory: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-Urm", "sh", "-c", script]).arg(directory);
    command
}
