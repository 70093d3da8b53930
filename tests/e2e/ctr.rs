//! Containers below Kubernetes: `wk ctr`, and the kubelet that misses them.

use crate::harness::{HELLO, Server, Tool, fetch};
use serde_json::Value;

fn field(server: &Server, path: &str) -> String {
    server.ok(Tool::Wk, &["get", "pods", "-l", "app=web", "-o", &format!("jsonpath={{.items[0].{path}}}")])
}

fn deployed(server: &Server) {
    server.load(wk_guests::hello_kiamol(), HELLO);
    server.ok(Tool::Kubectl, &["create", "deployment", "web", &format!("--image={HELLO}"), "--port=80"]);
    server.wait_for(Tool::Kubectl, "Available", &["deployment/web"]);
}

#[test]
fn a_container_that_is_removed_by_force_comes_back() {
    let server = Server::start();
    deployed(&server);
    let name = field(&server, "spec.containers[0].name");
    let (pod, address) = (field(&server, "metadata.name"), field(&server, "status.podIP"));
    let label = format!("io.kubernetes.container.name={name}");
    for restarts in 1..=2 {
        let id = server.ok(Tool::Wk, &["ctr", "ps", "-q", "--label", &label]).trim().to_owned();
        assert_eq!(id.len(), 64, "{id}");
        let container = field(&server, "status.containerStatuses[0].containerID");
        assert!(container.ends_with(&id), "{container} is {id}");
        let refused = server.fails(Tool::Wk, &["ctr", "rm", &id[..12]]);
        assert!(refused.contains("is running"), "{refused}");
        assert_eq!(server.ok(Tool::Wk, &["ctr", "rm", "-f", &id[..12]]).trim(), id);

        let count = restarts.to_string();
        let path = "jsonpath={.items[0].status.containerStatuses[0].restartCount} {.items[0].status.containerStatuses[0].ready}";
        server
            .until(&["get", "pods", "-l", "app=web", "-o", path], "restarted", |seen| seen == format!("{count} true"));
        assert_ne!(field(&server, "status.containerStatuses[0].containerID"), container);
        assert_eq!((field(&server, "metadata.name"), field(&server, "status.podIP")), (pod.clone(), address.clone()));
        let last = "status.containerStatuses[0].lastState.terminated";
        assert_eq!(field(&server, &format!("{last}.reason")), "ContainerStatusUnknown");
        assert_eq!(field(&server, &format!("{last}.exitCode")), "137");
        let forward = server.forward(Tool::Wk, "deployment/web", 80);
        assert!(fetch(forward.local).unwrap().contains("</html>"));
    }
    let gone = server.fails(Tool::Wk, &["ctr", "rm", "-f", "0123456789ab"]);
    assert!(gone.contains("no such container: 0123456789ab"), "{gone}");
}

#[test]
fn containers_of_every_node_are_listed_with_their_labels() {
    let server = Server::start_with(&["--nodes", "3"]);
    deployed(&server);
    server.ok(Tool::Wk, &["scale", "deployment/web", "--replicas=3"]);
    server.until(&["get", "deploy", "web", "--no-headers"], "three ready", |row| row.contains("3/3"));
    let listed: Value = serde_json::from_str(&server.ok(Tool::Wk, &["ctr", "ps", "-o", "json"])).unwrap();
    let containers = listed["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 3, "{listed}");
    for container in containers {
        let labels = &container["labels"];
        assert_eq!(labels["io.kubernetes.pod.namespace"], "default");
        let pod = labels["io.kubernetes.pod.name"].as_str().unwrap();
        let expected = server.ok(Tool::Wk, &["get", "pod", pod, "-o", "jsonpath={.metadata.uid} {.spec.nodeName}"]);
        let found =
            format!("{} {}", labels["io.kubernetes.pod.uid"].as_str().unwrap(), container["node"].as_str().unwrap());
        assert_eq!(found, expected);
        let by_pod = format!("io.kubernetes.pod.name={pod}");
        let id = server.ok(Tool::Wk, &["ctr", "ps", "-q", "--label", &by_pod]);
        assert_eq!(id.trim(), container["id"].as_str().unwrap());
    }
    let table = server.ok(Tool::Wk, &["ctr", "ps", "--node", containers[0]["node"].as_str().unwrap()]);
    assert!(table.starts_with("CONTAINER ID") && table.contains("Running"), "{table}");
    let inspected = server.ok(Tool::Wk, &["ctr", "inspect", &containers[0]["id"].as_str().unwrap()[..13]]);
    assert!(inspected.contains("CONTAINER_RUNNING") && inspected.contains("logPath"), "{inspected}");
    let used = server.ok(Tool::Wk, &["ctr", "stats"]);
    assert_eq!(used.lines().count(), 4, "{used}");
}
