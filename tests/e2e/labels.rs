//! Labels decide what belongs to whom: a pod that no longer matches is let go
//! and replaced, and one that matches again is taken back.

use crate::harness::{HELLO, Server, Tool};

fn pods(server: &Server, selector: &str) -> Vec<String> {
    let output = server.ok(Tool::Wk, &["get", "pods", "-l", selector, "-o", "name"]);
    output.lines().map(str::to_owned).collect()
}

#[test]
fn a_pod_is_orphaned_and_adopted_by_its_labels() {
    let server = Server::with_image(wk_guests::hello_kiamol(), HELLO);
    server.ok(Tool::Wk, &["apply", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/hello.yaml")]);
    server.wait_for(Tool::Kubectl, "Available", &["deployment/hello-kiamol"]);
    let mine = "app=hello-kiamol";
    let first = pods(&server, mine).remove(0);
    server.ok(Tool::Kubectl, &["label", &first, "--overwrite", "app=strange"]);
    server.until(&["get", "pods", "-l", mine, "-o", "name"], "replaced", |names| {
        names.lines().count() == 2 && !names.contains(&first)
    });
    let owners = ["get", &first, "-o", "jsonpath={.metadata.ownerReferences}"];
    server.until(&owners, "let go", str::is_empty);
    let endpoints = ["get", "endpoints", "hello-kiamol", "-o", "jsonpath={.subsets[*].addresses[*].targetRef.name}"];
    let name = first.trim_start_matches("pod/");
    server.until(&endpoints, "no endpoint", |seen| !seen.contains(name) && seen.split(' ').count() == 2);

    server.ok(Tool::Kubectl, &["label", &first, "--overwrite", mine]);
    server.until(&["get", "pods", "-l", mine, "-o", "name"], "the surplus gone", |names| names.lines().count() == 2);
    let adopted = |seen: &str| seen.is_empty() || seen.contains("ReplicaSet");
    server.until(
        &["get", &first, "--ignore-not-found", "-o", "jsonpath={.metadata.ownerReferences[0].kind}"],
        "adopted, or the one that was surplus",
        adopted,
    );
    server.ok(Tool::Kubectl, &["annotate", "deployment", "hello-kiamol", "note=hi"]);
    let note = ["get", "deployment", "hello-kiamol", "-o", "jsonpath={.metadata.annotations.note}"];
    assert_eq!(server.ok(Tool::Wk, &note), "hi");
}
