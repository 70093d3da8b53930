//! A server that ends, politely or not, forgets nothing it acknowledged.

use crate::harness::{HELLO, Server, Tool};
use std::path::Path;

#[test]
fn everything_is_there_after_a_stop_and_after_a_kill() {
    let mut server = Server::with_image(wk_guests::hello_kiamol(), HELLO);
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/hello.yaml");
    server.ok(Tool::Wk, &["apply", "-f", manifest]);
    server.wait_for(Tool::Wk, "Available", &["deployment/hello-kiamol"]);
    for (round, signal) in ["-TERM", "-KILL"].into_iter().enumerate() {
        let name = format!("kept-{round}");
        let uid = "jsonpath={.metadata.uid}";
        server.ok(Tool::Kubectl, &["create", "configmap", &name, "--from-literal=a=b"]);
        let before = server.ok(Tool::Wk, &["get", "configmap", &name, "-o", uid]);
        let pods = server.ok(Tool::Wk, &["get", "pods", "-o", "jsonpath={.items[*].metadata.uid}"]);
        server.stop(signal);
        server.restart();
        assert_eq!(server.ok(Tool::Kubectl, &["get", "configmap", &name, "-o", uid]), before);
        server.until(&["get", "pods", "--no-headers"], "two running", |rows| {
            rows.lines().filter(|row| row.contains("1/1") && row.contains("Running")).count() == 2
        });
        // The same pods came back; nobody made new ones.
        assert_eq!(server.ok(Tool::Wk, &["get", "pods", "-o", "jsonpath={.items[*].metadata.uid}"]), pods);
        let forward = server.forward(Tool::Wk, "service/hello-kiamol", 80);
        assert!(crate::harness::fetch(forward.local).unwrap().contains("</html>"));
    }
}

#[test]
fn a_stop_writes_the_line_that_a_guest_had_begun() {
    let mut server = Server::start();
    server.load(wk_guests::env_and_files(), "env-and-files");
    // Longer than what a guest's standard library keeps back, and no line feed.
    let begun = "begun".repeat(1000);
    let pod = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "writer"},
        "spec": {"containers": [{
            "name": "writer", "image": "env-and-files", "imagePullPolicy": "IfNotPresent", "stdin": true,
            "args": [format!("write:/text=ready\n{begun}"), "read:/text", "stdin"],
        }]},
    });
    let manifest = server.file("writer.json", &pod.to_string());
    server.ok(Tool::Wk, &["apply", "-f", manifest.to_str().unwrap()]);
    server.until(&["logs", "writer"], "ready", |log| log == "ready\n");
    server.stop("-TERM");
    let log = std::fs::read_to_string(log_of(server.directory(), "default_writer_")).unwrap();
    assert!(log.ends_with(&format!("{begun}\n")), "{log}");
}

/// The log of the first container of the pod whose directory begins with `pod`.
fn log_of(data_dir: &Path, pod: &str) -> std::path::PathBuf {
    let logs = data_dir.join("nodes/node-1/logs");
    let mut pods = std::fs::read_dir(logs).unwrap().map(|entry| entry.unwrap());
    let pod = pods.find(|entry| entry.file_name().to_string_lossy().starts_with(pod)).unwrap().path();
    pod.join("writer/0.log")
}
