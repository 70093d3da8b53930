//! The repository obeys its own rules: who may import whom, what every file
//! says first, what no file says.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use wk_tests::{files, root};

/// Which of our crates each crate may import: the table of ARCHITECTURE.md.
/// The composition root imports every part.
const MAY_IMPORT: [(&str, &[&str]); 13] = [
    ("wk-platform", &[]),
    ("wk-store", &[]),
    ("wk-cri", &[]),
    ("wk-guests", &[]),
    ("wk-toolbox", &[]),
    ("wk-network", &["wk-platform"]),
    ("wk-images", &["wk-platform"]),
    ("wk-apiserver", &["wk-store", "wk-platform"]),
    ("wk-scheduler", &["wk-platform"]),
    ("wk-controllers", &["wk-platform"]),
    ("wk-kubelet", &["wk-cri", "wk-platform"]),
    ("wk-engine", &["wk-cri", "wk-network", "wk-images", "wk-platform"]),
    ("wk-proxy", &["wk-network", "wk-platform"]),
];

/// Which outside crates each crate must not import, because another crate of
/// ours is the only one that knows them.
const MUST_NOT_IMPORT: [(&str, &[&str]); 6] = [
    ("wk-store", &["kube", "k8s-openapi", "serde_json", "wasmtime"]),
    ("wk-cri", &["kube", "k8s-openapi", "wasmtime", "rocksdb"]),
    ("wk-network", &["kube", "k8s-openapi", "wasmtime", "rocksdb"]),
    ("wk-images", &["kube", "k8s-openapi", "wasmtime", "rocksdb"]),
    ("wk-engine", &["kube", "k8s-openapi", "rocksdb"]),
    ("wk-kubelet", &["wasmtime", "rocksdb"]),
];

/// Our crates by name, with the names of what each imports.
fn packages() -> BTreeMap<String, BTreeSet<String>> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&output).expect("cargo describes the workspace");
    let packages = metadata["packages"].as_array().expect("a workspace has packages");
    packages.iter().map(|package| (name(package), imports(package))).collect()
}

fn name(value: &Value) -> String {
    value["name"].as_str().expect("everything here has a name").to_owned()
}

fn imports(package: &Value) -> BTreeSet<String> {
    let all = package["dependencies"].as_array().into_iter().flatten();
    all.filter(|dependency| dependency["kind"].is_null()).map(name).collect()
}

fn cargo(args: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO")).args(args).current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

#[test]
fn crates_import_only_what_the_architecture_allows() {
    let packages = packages();
    for (name, allowed) in MAY_IMPORT {
        let ours = packages[name].iter().filter(|import| packages.contains_key(*import));
        let forbidden: Vec<&String> = ours.filter(|import| !allowed.contains(&import.as_str())).collect();
        assert!(forbidden.is_empty(), "{name} must not import {forbidden:?}");
    }
    let known: BTreeSet<&str> = MAY_IMPORT.iter().map(|(name, _)| *name).chain(["wk", "wk-tests"]).collect();
    let all: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    assert_eq!(all, known, "a crate is missing from the table");
}

#[test]
fn outside_crates_stay_where_they_belong() {
    for (name, imports) in packages() {
        let rules = MUST_NOT_IMPORT.iter().filter(|(ruled, _)| *ruled == name);
        for forbidden in rules.flat_map(|(_, forbidden)| *forbidden) {
            assert!(!imports.contains(*forbidden), "{name} must not import {forbidden}");
        }
        assert!(name == "wk-store" || !imports.contains("rocksdb"), "only wk-store knows RocksDB, not {name}");
        assert!(name == "wk-engine" || !imports.contains("wasmtime"), "only wk-engine knows wasmtime, not {name}");
    }
}

/// Two providers in one process make rustls panic at its first handshake.
#[test]
fn there_is_one_provider_of_cryptography() {
    let tree = cargo(&["tree", "--workspace", "--prefix", "none", "--edges", "normal", "--format", "{p}"]);
    assert!(tree.lines().any(|line| line.starts_with("aws-lc-rs ")), "the tree was not read: {tree}");
    assert!(!tree.lines().any(|line| line.starts_with("ring ")), "ring is in the tree");
}

#[test]
fn every_source_file_says_what_it_is() {
    for path in files(root(), "rs").expect("sources can be read") {
        let text = std::fs::read_to_string(&path).expect("a source can be read");
        let is_test_module = path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests");
        assert!(is_test_module || text.starts_with("//!"), "{} does not begin with //!", path.display());
    }
}

#[test]
fn nothing_unfinished_is_committed() {
    // In pieces, so that this file does not find itself.
    let banned = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[", "ignore"), concat!("TO", "DO:")];
    for path in files(root(), "rs").expect("sources can be read") {
        let text = std::fs::read_to_string(&path).expect("a source can be read");
        for word in banned {
            assert!(!text.contains(word), "{} contains {word}", path.display());
        }
    }
}

/// A longer file wants to be two.
const SOURCE_LINES_MAX: usize = 800;

#[test]
fn files_can_be_read_in_one_sitting() {
    for path in files(root(), "rs").expect("sources can be read") {
        let lines = std::fs::read_to_string(&path).expect("a source can be read").lines().count();
        assert!(lines <= SOURCE_LINES_MAX, "{} has {lines} lines", path.display());
    }
}

/// Every path in backticks with a slash or a file's extension exists.
#[test]
fn the_documents_name_what_exists() {
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "ROADMAP.md"] {
        let text = std::fs::read_to_string(root().join(document)).expect("a document can be read");
        for quoted in text.split('`').skip(1).step_by(2).filter(|quoted| is_path(quoted)) {
            assert!(root().join(quoted).exists(), "{document} names {quoted}, which does not exist");
        }
    }
}

fn is_path(quoted: &str) -> bool {
    let top = ["cli/", "platform/", "control-plane/", "runtime/", "guests/", "manifests/", "tests/", "scripts/"];
    top.iter().any(|top| quoted.starts_with(top)) && !quoted.contains([' ', '*', '<', '{'])
}
