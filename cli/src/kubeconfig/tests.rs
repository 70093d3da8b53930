//! Several files as one, and changes that keep what others wrote.

use super::*;
use serde_json::json;
use std::{fs, os::unix::fs::PermissionsExt};

const FIRST: &str = "\
apiVersion: v1
kind: Config
future-field: {kept: true}
clusters:
- name: one
  cluster: {server: https://one, certificate-authority: ca.pem}
contexts:
- name: shared
  context: {cluster: one, user: admin}
";

const SECOND: &str = "\
clusters:
- name: two
  cluster: {server: https://two}
- name: one
  cluster: {server: https://hidden}
contexts:
- name: shared
  context: {cluster: two, user: nobody}
- name: only-second
  context: {cluster: two, user: admin, namespace: there}
users:
- name: admin
  user: {token: secret, future: 1}
current-context: only-second
";

struct Files {
    directory: tempfile::TempDir,
    sources: Sources,
}

impl Files {
    /// Two files, and before them one that does not exist.
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let paths: Vec<_> = ["none", "first", "second"].iter().map(|name| directory.path().join(name)).collect();
        fs::write(&paths[1], FIRST).expect("writes");
        fs::write(&paths[2], SECOND).expect("writes");
        Self { directory, sources: Sources { paths } }
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).expect("reads")
    }
}

fn current(config: &mut Kubeconfig, name: &str) -> Result<()> {
    config.set_current_context(name);
    Ok(())
}

#[test]
fn the_first_file_that_says_something_wins() {
    let files = Files::new();
    let merged = files.sources.read().expect("reads").merged();
    let names = |section| merged.entries(section).map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(Section::Clusters), ["one", "two"]);
    assert_eq!(names(Section::Contexts), ["only-second", "shared"]);
    assert_eq!(merged.get(Section::Contexts, "shared").expect("there")["cluster"], "one");
    assert_eq!(merged.current_context(), Some("only-second"));
    let authority = files.directory.path().join("ca.pem");
    let cluster = merged.get(Section::Clusters, "one").expect("there");
    assert_eq!(cluster["certificate-authority"], authority.to_str().expect("UTF-8"));
    let client = merged.to_client().expect("a client understands it");
    assert_eq!(client.current_context.as_deref(), Some("only-second"));
}

#[test]
fn an_entry_changes_where_it_is_and_a_new_one_goes_into_the_first_file_that_exists() {
    let files = Files::new();
    let second = files.text("second");
    files
        .sources
        .edit(|config| {
            config.document_of(Section::Contexts, "shared").set(Section::Contexts, "shared", json!({"cluster": "two"}));
            config.document_of(Section::Contexts, "new").set(Section::Contexts, "new", json!({"cluster": "one"}));
            config.set_current_context("new");
            Ok(())
        })
        .expect("edits");
    let first = files.text("first");
    assert!(first.contains("future-field:\n  kept: true\n") && first.contains("current-context: new\n"), "{first}");
    assert_eq!(files.text("second"), second, "a file without a change is not written");
    assert!(!files.directory.path().join("none").exists());
    let merged = files.sources.read().expect("reads").merged();
    assert_eq!(merged.get(Section::Contexts, "shared"), Some(&json!({"cluster": "two"})));
    assert_eq!(merged.current_context(), Some("new"));
}

#[test]
fn what_is_removed_is_removed_from_every_file() {
    let files = Files::new();
    let removed = files.sources.edit(|config| Ok(config.remove(Section::Contexts, "shared"))).expect("edits");
    assert!(removed);
    let merged = files.sources.read().expect("reads").merged();
    assert_eq!(merged.get(Section::Contexts, "shared"), None);
    assert!(files.text("second").contains("future: 1"));
}

#[test]
fn a_written_file_is_its_owners_and_a_link_stays_one() {
    let files = Files::new();
    let (real, link) = (files.directory.path().join("first"), files.directory.path().join("link"));
    fs::set_permissions(&real, fs::Permissions::from_mode(0o644)).expect("changes");
    std::os::unix::fs::symlink(&real, &link).expect("links");
    let sources = Sources { paths: vec![link.clone()] };
    sources.edit(|config| current(config, "shared")).expect("edits");
    assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    assert_eq!(fs::metadata(&real).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(files.text("first").contains("current-context: shared"));
    let left: Vec<_> = fs::read_dir(files.directory.path()).expect("lists").collect();
    assert_eq!(left.len(), 3, "no lock and no half-written file is left: {left:?}");
}

#[test]
fn a_file_that_is_no_kubeconfig_is_named_and_left_alone() {
    let files = Files::new();
    for broken in ["- a\n", "clusters: {}\n", "contexts: [{}]\n", "{\n"] {
        fs::write(files.directory.path().join("first"), broken).expect("writes");
        let error = files.sources.edit(|config| current(config, "x")).expect_err("broken");
        assert!(format!("{error:#}").contains("error loading config file") && format!("{error:#}").contains("first"));
        assert_eq!(files.text("first"), broken);
    }
}

#[test]
fn what_is_shown_hides_secrets_and_may_be_reduced_to_one_context() {
    let mut merged = Files::new().sources.read().expect("reads").merged();
    merged.redact();
    assert_eq!(merged.get(Section::Users, "admin").expect("there")["token"], "REDACTED");
    merged.minify("only-second").expect("exists");
    assert!(merged.get(Section::Clusters, "one").is_none() && merged.get(Section::Clusters, "two").is_some());
    assert_eq!(merged.minify("x").expect_err("unknown").to_string(), "cannot locate context x");
}
