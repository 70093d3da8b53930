//! `kubectl debug`: a container that joins a pod to look into it.

use crate::{
    harness::{Server, Tool, lines, next_matching},
    inside::on_a_terminal,
};
use std::{io::Write as _, process::Stdio};

/// A server with a running pod `web` that serves, and an image `tools` to look at it with.
fn with_pod() -> Server {
    let server = Server::with_image(wk_guests::whoami(), "whoami");
    server.load(wk_guests::sleep(), "tools");
    let run = ["run", "web", "--image=whoami", "--image-pull-policy=IfNotPresent"];
    server.ok(Tool::Kubectl, &run);
    server.wait_for(Tool::Kubectl, "Ready", &["pod/web"]);
    server
}

const DEBUG: [&str; 5] = ["debug", "web", "--image=tools", "--image-pull-policy=IfNotPresent", "--target=web"];

fn until_ended(server: &Server, name: &str) -> String {
    let path =
        format!("jsonpath={{.status.ephemeralContainerStatuses[?(@.name==\"{name}\")].state.terminated.exitCode}}");
    server.until(&["get", "pod", "web", "-o", &path], "its end", |code| !code.is_empty())
}

#[test]
fn a_debugger_shares_the_pods_network_and_leaves_it_running() {
    let server = with_pod();
    let script = "wget -qO- http://localhost/ | head -1; exit 4";
    server.ok(Tool::Kubectl, &[&DEBUG[..], &["-c", "peek", "--", "sh", "-c", script]].concat());
    assert_eq!(until_ended(&server, "peek"), "4");
    assert_eq!(server.ok(Tool::Kubectl, &["logs", "web", "-c", "peek"]), "Hostname: web\n");
    let described = server.ok(Tool::Kubectl, &["describe", "pod", "web"]);
    assert!(described.contains("Ephemeral Containers:\n  peek:"), "{described}");
    assert!(
        described.contains("Created container: peek") && described.contains("Started container peek"),
        "{described}"
    );
    let web =
        "jsonpath={.status.phase} {.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}";
    assert_eq!(server.ok(Tool::Kubectl, &["get", "pod", "web", "-o", web]), "Running 0 true");
    // The name is taken: kubectl changes nothing, and no second one runs.
    server.run(Tool::Kubectl, &[&DEBUG[..], &["-c", "peek", "--", "true"]].concat());
    let names = "jsonpath={.spec.ephemeralContainers[*].name} {.status.ephemeralContainerStatuses[*].restartCount}";
    assert_eq!(server.ok(Tool::Kubectl, &["get", "pod", "web", "-o", names]), "peek 0");
}

#[test]
fn a_debuggers_shell_is_typed_into() {
    let server = with_pod();
    let command = server.command(Tool::Kubectl, &[&DEBUG[..], &["-it", "-c", "shell", "--", "sh"]].concat());
    let mut child = on_a_terminal(&command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let shown = lines(child.stdout.take().unwrap());
    let mut keys = child.stdin.take().unwrap();
    keys.write_all(b"echo answer $((6*7))\n").unwrap();
    next_matching(&shown, |line| line.contains("answer 42"));
    keys.write_all(b"exit 3\n").unwrap();
    assert_eq!(until_ended(&server, "shell"), "3");
    child.wait().unwrap();
}
