//! What dies comes back, as often and as fast as it should.

use crate::harness::{HELLO, Server, Tool};

fn pod_names(server: &Server) -> Vec<String> {
    let output = server.ok(Tool::Wk, &["get", "pods", "-o", "jsonpath={.items[*].metadata.name}"]);
    output.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_deployments_pod_is_replaced_and_a_bare_pod_is_not() {
    let server = Server::with_image(wk_guests::hello_kiamol(), HELLO);
    server.ok(Tool::Kubectl, &["create", "deployment", "web", &format!("--image={HELLO}")]);
    server.ok(Tool::Kubectl, &["run", "bare", &format!("--image={HELLO}"), "--image-pull-policy=IfNotPresent"]);
    server.wait_for(Tool::Kubectl, "Available", &["deployment/web"]);
    server.wait_for(Tool::Kubectl, "Ready", &["pod/bare"]);
    let before = pod_names(&server);
    let old = before.iter().find(|name| name.starts_with("web-")).unwrap().clone();
    let hash = server.ok(Tool::Wk, &["get", "pod", &old, "-o", r"jsonpath={.metadata.labels.pod-template-hash}"]);
    assert!(old.starts_with(&format!("web-{hash}-")), "{old} should be web-{hash}-<suffix>");

    server.ok(Tool::Kubectl, &["delete", "pod", &old, "bare", "--grace-period=1"]);
    server.wait_for(Tool::Wk, "Available", &["deployment/web"]);
    server.until(&["get", "deploy", "web", "--no-headers"], "one ready", |row| row.contains("1/1"));
    let after = pod_names(&server);
    assert!(!after.contains(&old) && !after.contains(&"bare".to_owned()), "{after:?}");
    assert_eq!(after.len(), 1, "{after:?}");
}

#[test]
fn a_container_that_exits_is_restarted_with_backoff() {
    let server = Server::start();
    server.load(wk_guests::exit_code_p1(), "exit-code");
    server.ok(Tool::Wk, &["run", "quitter", "--image", "exit-code", "--image-pull-policy", "IfNotPresent", "--", "7"]);
    let code = "jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}";
    server.until(&["get", "pod", "quitter", "-o", code], "exit code 7", |seen| seen == "7");
    server.until(&["get", "pod", "quitter"], "CrashLoopBackOff", |seen| seen.contains("CrashLoopBackOff"));
    let restarts =
        server.ok(Tool::Wk, &["get", "pod", "quitter", "-o", "jsonpath={.status.containerStatuses[0].restartCount}"]);
    assert!(restarts.parse::<u32>().unwrap() >= 1);
    let events = server.ok(Tool::Kubectl, &["describe", "pod", "quitter"]);
    assert!(events.contains("Back-off restarting failed container"), "{events}");
    let previous = server.run(Tool::Kubectl, &["logs", "quitter", "--previous"]);
    assert!(previous.status.success(), "{previous:?}");
}

#[test]
fn a_trap_shows_its_reason() {
    let server = Server::start();
    server.load(wk_guests::crash(), "crash");
    server.ok(
        Tool::Wk,
        &[
            "run",
            "crasher",
            "--image",
            "crash",
            "--restart=Never",
            "--image-pull-policy",
            "IfNotPresent",
            "--",
            "unreachable",
        ],
    );
    server.until(&["get", "pod", "crasher"], "Error", |seen| seen.contains("Error"));
    let described = server.ok(Tool::Kubectl, &["describe", "pod", "crasher"]);
    assert!(described.contains("unreachable"), "{described}");
}
