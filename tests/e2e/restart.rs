//! A server that ends, politely or not, forgets nothing it acknowledged.

use crate::harness::{HELLO, Server, Tool};

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
