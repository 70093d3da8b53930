//! What get, describe and logs print.

use crate::harness::{HELLO, Server, Tool};
use std::process::Stdio;

fn running() -> Server {
    let server = Server::with_image(wk_guests::hello_kiamol(), HELLO);
    server.ok(Tool::Wk, &["run", "hello-kiamol", "--image", HELLO, "--image-pull-policy", "IfNotPresent"]);
    server.wait_for(Tool::Wk, "Ready", &["pod", "hello-kiamol"]);
    server
}

/// Columns differ in width with the age, so cells are compared.
fn cells(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect()
}

#[test]
fn get_prints_as_kubectl_does() {
    let server = running();
    let forms: &[&[&str]] = &[
        &["get", "pods", "-o", "name"],
        &["get", "pod", "hello-kiamol", "-o", "jsonpath={.status.phase}"],
        &["get", "pods", "-o", "custom-columns=NAME:.metadata.name,PHASE:.status.phase,NO:.x"],
        &["get", "pods", "-l", "run=hello-kiamol", "-o", "name"],
        &["get", "pods", "-l", "run!=hello-kiamol", "-o", "name"],
        &["get", "pod", "hello-kiamol", "-o", "json"],
        &["get", "pod", "hello-kiamol", "-o", "yaml"],
        &["get", "nodes", "-o", "name"],
    ];
    for form in forms {
        assert_eq!(server.ok(Tool::Wk, form), server.ok(Tool::Kubectl, form), "{form:?}");
    }
    for form in [
        &["get", "pods"][..],
        &["get", "pods", "-o", "wide"],
        &["get", "pods", "-A", "--show-labels"],
        &["get", "svc,nodes"],
    ] {
        let (ours, theirs) = (server.ok(Tool::Wk, form), server.ok(Tool::Kubectl, form));
        let strip_age = |table: &str| -> Vec<Vec<String>> {
            let is_age = |cell: &&&str| !(cell.ends_with('s') && cell[..cell.len() - 1].parse::<u32>().is_ok());
            cells(table).iter().map(|row| row.iter().filter(is_age).map(|cell| (*cell).to_owned()).collect()).collect()
        };
        assert_eq!(strip_age(&ours), strip_age(&theirs), "{form:?}");
    }
    let row = server.ok(Tool::Kubectl, &["get", "pod", "hello-kiamol", "--no-headers"]);
    assert_eq!(cells(&row)[0][..4], ["hello-kiamol", "1/1", "Running", "0"], "{row}");
    for tool in Tool::BOTH {
        let error = server.fails(tool, &["get", "pod", "nobody"]);
        assert_eq!(error, "Error from server (NotFound): pods \"nobody\" not found\n");
        let error = server.fails(tool, &["get", "widgets"]);
        assert_eq!(error, "error: the server doesn't have a resource type \"widgets\"\n");
    }
}

#[test]
fn get_watch_shows_changes() {
    let server = running();
    for tool in Tool::BOTH {
        let mut command = server.command(tool, &["get", "pods", "-w", "--no-headers"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let rows = crate::harness::lines(child.stdout.take().unwrap());
        // The list has come, so what follows comes from the watch.
        crate::harness::next_matching(&rows, |row| row.starts_with("hello-kiamol"));
        let pod = format!("watched-{tool:?}").to_lowercase();
        server.ok(Tool::Wk, &["run", &pod, "--image", HELLO, "--image-pull-policy", "IfNotPresent"]);
        for state in ["Pending", "Running"] {
            crate::harness::next_matching(&rows, |row| row.starts_with(&pod) && row.contains(state));
        }
        server.ok(Tool::Wk, &["delete", "pod", &pod, "--grace-period=1"]);
        crate::harness::next_matching(&rows, |row| row.starts_with(&pod) && row.contains("Terminating"));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn describe_tells_the_story() {
    let server = running();
    for tool in Tool::BOTH {
        let pod = server.ok(tool, &["describe", "pod", "hello-kiamol"]);
        for part in [
            "Name:",
            "Status:",
            "Running",
            "Image:",
            HELLO,
            "Events:",
            "Scheduled",
            "Started",
            "default-scheduler",
            "kubelet",
        ] {
            assert!(pod.contains(part), "{tool:?}: no {part:?} in\n{pod}");
        }
        let node = server.ok(tool, &["describe", "nodes"]);
        for part in ["Conditions:", "KubeletReady", "Capacity:", "hello-kiamol", "wasmtime://"] {
            assert!(node.contains(part), "{tool:?}: no {part:?} in\n{node}");
        }
        let service = server.ok(tool, &["describe", "svc", "kubernetes"]);
        assert!(service.contains("10.96.0.1"), "{service}");
    }
    server.ok(Tool::Wk, &["create", "deployment", "web", "--image", HELLO]);
    server.wait_for(Tool::Wk, "Available", &["deployment/web"]);
    for tool in Tool::BOTH {
        let deployment = server.ok(tool, &["describe", "deploy", "web"]);
        for part in [
            "1 desired | 1 updated | 1 total | 1 available",
            "NewReplicaSetAvailable",
            "ScalingReplicaSet",
            "Scaled up replica set",
        ] {
            assert!(deployment.contains(part), "{tool:?}: no {part:?} in\n{deployment}");
        }
        let sets = server.ok(tool, &["describe", "rs", "-l", "app=web"]);
        assert!(sets.contains("SuccessfulCreate") && sets.contains("pod-template-hash"), "{sets}");
    }
}

#[test]
fn logs_show_what_a_guest_wrote() {
    let server = Server::start();
    server.load(wk_guests::env_and_files(), "env-and-files");
    let overrides = ["run", "talker", "--image", "env-and-files", "--restart", "Never", "--env", "COLOR=blue"];
    server.ok(Tool::Wk, &[&overrides[..], &["--image-pull-policy", "IfNotPresent", "--", "env"]].concat());
    server
        .until(&["get", "pod", "talker", "-o", "jsonpath={.status.phase}"], "succeeded", |phase| phase == "Succeeded");
    for tool in Tool::BOTH {
        let logs = server.ok(tool, &["logs", "talker"]);
        assert!(logs.contains("COLOR=blue"), "{tool:?}: {logs}");
        let last = server.ok(tool, &["logs", "talker", "--tail", "1"]);
        assert_eq!(last.lines().count(), 1, "{last}");
        assert!(logs.ends_with(&last));
        assert_eq!(server.ok(tool, &["logs", "-l", "run=talker", "--tail=-1"]), logs);
        // Following a log that has ended ends.
        assert_eq!(server.ok(tool, &["logs", "-f", "talker"]), logs);
        let error = server.fails(tool, &["logs", "talker", "--previous"]);
        assert!(error.contains("previous terminated container \"talker\" in pod \"talker\" not found"), "{error}");
    }
}

#[test]
fn logs_follow_what_is_written() {
    let server = Server::with_image(wk_guests::whoami(), "whoami");
    server.ok(Tool::Wk, &["create", "deployment", "who", "--image", "whoami"]);
    server.wait_for(Tool::Wk, "Available", &["deployment/who"]);
    let before = server.ok(Tool::Wk, &["logs", "deployment/who"]);
    assert!(!before.is_empty(), "a server says that it serves");
    for tool in Tool::BOTH {
        let mut child = server.command(tool, &["logs", "-f", "-l", "app=who"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = crate::harness::lines(child.stdout.take().unwrap());
        crate::harness::next_matching(&lines, |line| before.contains(line));
        // The container ends and with it the log, which ends the command.
        server.ok(Tool::Wk, &["delete", "pod", "-l", "app=who", "--grace-period=1"]);
        assert!(child.wait().unwrap().success(), "{tool:?}");
        server.wait_for(Tool::Wk, "Available", &["deployment/who"]);
        server.until(&["get", "pods", "-l", "app=who", "--no-headers"], "one pod", |rows| rows.lines().count() == 1);
    }
}
