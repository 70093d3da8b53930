//! A pod's port is reached through a forward, from another pod, and not
//! otherwise.

use crate::harness::{HELLO, PATIENCE, Server, Tool, fetch};
use std::{
    thread,
    time::{Duration, Instant},
};

fn deployed() -> Server {
    let server = Server::with_image(wk_guests::hello_kiamol(), HELLO);
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/hello.yaml");
    server.ok(Tool::Wk, &["apply", "-f", manifest]);
    server.wait_for(Tool::Kubectl, "Available", &["deployment/hello-kiamol"]);
    server
}

#[test]
fn a_page_is_fetched_through_every_kind_of_forward() {
    let server = deployed();
    let pod = server.ok(Tool::Wk, &["get", "pods", "-o", "jsonpath={.items[0].metadata.name}"]);
    for tool in Tool::BOTH {
        for target in [format!("pod/{pod}"), "deployment/hello-kiamol".to_owned(), "service/hello-kiamol".to_owned()] {
            let forward = server.forward(tool, &target, 80);
            for _ in 0..3 {
                let page = fetch(forward.local).unwrap();
                assert!(page.starts_with("HTTP/1.1 200") && page.contains("</html>"), "{tool:?} {target}: {page}");
            }
        }
    }
}

#[test]
fn many_connections_at_once() {
    let server = deployed();
    for tool in Tool::BOTH {
        let forward = server.forward(tool, "deployment/hello-kiamol", 80);
        let local = forward.local;
        let clients: Vec<_> = (0..20).map(|_| thread::spawn(move || fetch(local))).collect();
        for client in clients {
            assert!(client.join().unwrap().unwrap().contains("</html>"));
        }
    }
}

#[test]
fn older_clients_forward_over_spdy() {
    let server = deployed();
    let mut command = server.command(Tool::Kubectl, &["port-forward", "deployment/hello-kiamol", ":80"]);
    command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false");
    let forward = server.forward_command(command);
    assert!(fetch(forward.local).unwrap().contains("</html>"));
}

#[test]
fn a_dead_port_fails_alone() {
    let server = deployed();
    for tool in Tool::BOTH {
        let mut forward = server.forward(tool, "deployment/hello-kiamol", 81);
        for _ in 0..2 {
            let answer = fetch(forward.local).unwrap_or_default();
            assert_eq!(answer, "", "{tool:?}: nobody listens on 81");
        }
        // wk goes on after the errors; kubectl ends its forward with the first
        // one since 1.23, which is its choice, not ours.
        if tool == Tool::Wk {
            assert!(forward.child.try_wait().unwrap().is_none(), "the forward ended");
        }
    }
}

#[test]
fn pods_reach_each_other_and_the_host_does_not_reach_them() {
    let server = deployed();
    let ip = server.ok(Tool::Wk, &["get", "pods", "-o", "jsonpath={.items[0].status.podIP}"]);
    assert!(ip.starts_with("10.244."), "{ip}");
    // The host has no such address, and the pod's port is not one of its own.
    assert!(std::net::TcpListener::bind(format!("{ip}:0")).is_err(), "the host has the address {ip}");
    let own = crate::harness::fetch("127.0.0.1:80".parse().unwrap()).unwrap_or_default();
    assert!(!own.contains("</html>"), "the pod's port is open on the host: {own}");

    server.load(wk_guests::http_get(), "http-get");
    for (name, address) in [
        ("by-ip", format!("{ip}:80")),
        ("by-name", "hello-kiamol:80".to_owned()),
        ("by-full-name", "hello-kiamol.default.svc.cluster.local:80".to_owned()),
    ] {
        server.ok(
            Tool::Wk,
            &[
                "run",
                name,
                "--image",
                "http-get",
                "--restart",
                "Never",
                "--image-pull-policy",
                "IfNotPresent",
                "--",
                &address,
                "20",
            ],
        );
        server
            .until(&["get", "pod", name, "-o", "jsonpath={.status.phase}"], "succeeded", |phase| phase == "Succeeded");
        let logs = server.ok(Tool::Kubectl, &["logs", name]);
        assert!(logs.contains("</html>"), "{name}: {logs}");
    }
}

#[test]
fn containers_of_a_pod_share_localhost() {
    let server = Server::with_image(wk_guests::hello_kiamol(), HELLO);
    server.load(wk_guests::http_get(), "http-get");
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: pair}}\nspec:\n  restartPolicy: OnFailure\n  containers:\n  - {{name: web, image: {HELLO}, imagePullPolicy: IfNotPresent}}\n  - {{name: client, image: http-get, imagePullPolicy: IfNotPresent, args: ['localhost:80', '50']}}\n"
    );
    let path = server.file("pair.yaml", &manifest);
    server.ok(Tool::Kubectl, &["apply", "-f", path.to_str().unwrap()]);
    let page = |seen: &str| seen.contains("</html>");
    server.until(&["logs", "pair", "-c", "client"], "a page from localhost", page);
}

#[test]
fn a_pod_reaches_the_api_under_its_name() {
    let mut server = Server::start();
    server.load(wk_guests::http_get(), "http-get");
    for round in 0..2 {
        let name = format!("client-{round}");
        let run = ["run", &name, "--image", "http-get", "--restart", "Never", "--image-pull-policy", "IfNotPresent"];
        // No TLS in the guest: it is enough that it is let in and hung up on.
        server.ok(Tool::Wk, &[&run[..], &["--", "kubernetes.default:443", "50"]].concat());
        let phase = ["get", "pod", &name, "-o", "jsonpath={.status.phase}"];
        let ended = server.until(&phase, "ended", |phase| phase == "Succeeded" || phase == "Failed");
        let logs = server.ok(Tool::Wk, &["logs", &name]);
        let hung_up = logs.contains("Broken pipe") || logs.contains("reset");
        assert!(ended == "Succeeded" || hung_up, "not let in: {logs}");
        // The next one listens on another port.
        server.stop("-TERM");
        server.restart();
    }
}

#[test]
fn a_node_port_opens_where_the_api_listens_and_nowhere_else() {
    let server = Server::with_image(wk_guests::hello_kiamol(), HELLO);
    server.ok(Tool::Kubectl, &["create", "deployment", "web", &format!("--image={HELLO}")]);
    server.ok(Tool::Kubectl, &["create", "service", "nodeport", "web", "--tcp=80:80"]);
    server.wait_for(Tool::Kubectl, "Available", &["deployment/web"]);
    let port = server.ok(Tool::Wk, &["get", "svc", "web", "-o", "jsonpath={.spec.ports[0].nodePort}"]);
    let at = |host: &str| format!("{host}:{port}").parse().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !fetch(at("127.0.0.1")).is_ok_and(|page| page.contains("</html>")) {
        assert!(Instant::now() < deadline, "the node port never opened");
        thread::sleep(Duration::from_millis(50));
    }
    let elsewhere = fetch(at("127.0.0.2")).map_err(|error| error.kind());
    assert_eq!(elsewhere, Err(std::io::ErrorKind::ConnectionRefused));
}
