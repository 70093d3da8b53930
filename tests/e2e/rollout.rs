//! A new version takes over while clients go on asking: none of them is turned
//! away. A bad one stalls, says so, and is undone.

use crate::harness::{HELLO, Server, Tool, fetch};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// The second version: another program on the same port.
const WHOAMI: &str = "whoami:v2";

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: kiamol/ch02-hello-kiamol, imagePullPolicy: IfNotPresent}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80}]
";

fn deployed(args: &[&str]) -> (Server, SocketAddr) {
    let server = Server::start_with(args);
    server.load(wk_guests::hello_kiamol(), HELLO);
    server.load(wk_guests::whoami(), WHOAMI);
    let path = server.file("web.yaml", WEB);
    server.ok(Tool::Kubectl, &["apply", "-f", path.to_str().unwrap()]);
    server.wait_for(Tool::Kubectl, "Available", &["deployment/web"]);
    let port = server.ok(Tool::Wk, &["get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}"]);
    let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    let deadline = Instant::now() + crate::harness::PATIENCE;
    while fetch(address).is_err() {
        assert!(Instant::now() < deadline, "the node port never opened");
        thread::yield_now();
    }
    (server, address)
}

/// Clients that ask without pause, each over a new connection, until they are told to stop.
struct Clients {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Clients {
    /// How many ask at a time.
    const COUNT: usize = 4;

    fn start(address: SocketAddr) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let ask = || {
            let (stop, answered) = (stop.clone(), answered.clone());
            thread::spawn(move || {
                let mut failures = Vec::new();
                while !stop.load(SeqCst) {
                    match fetch(address) {
                        Ok(answer) if answer.starts_with("HTTP/1.1 200") => drop(answered.fetch_add(1, SeqCst)),
                        other => failures.push(format!("{other:?}")),
                    }
                }
                failures
            })
        };
        let threads = (0..Self::COUNT).map(|_| ask()).collect();
        Self { stop, answered, threads }
    }

    /// Waits until a good many more requests have been answered.
    fn go_on(&self) {
        let (enough, deadline) = (self.answered.load(SeqCst) + 200, Instant::now() + crate::harness::PATIENCE);
        while self.answered.load(SeqCst) < enough {
            assert!(Instant::now() < deadline, "requests are no longer answered");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Every request was answered.
    fn all_were_answered(self) {
        self.go_on();
        self.stop.store(true, SeqCst);
        let failures: Vec<_> = self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let answered = self.answered.load(SeqCst);
        assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), answered, failures.join("\n"));
    }
}

fn rolled_out(server: &Server) {
    server.ok(Tool::Kubectl, &["rollout", "status", "deployment/web", "--timeout=90s"]);
}

#[test]
fn no_request_is_lost_while_versions_change_and_pods_come_and_go() {
    let (server, address) = deployed(&[]);
    let clients = Clients::start(address);
    clients.go_on();
    server.ok(Tool::Kubectl, &["set", "image", "deployment/web", &format!("web={WHOAMI}")]);
    rolled_out(&server);
    clients.go_on();
    assert!(!fetch(address).unwrap().contains("</html>"), "the new version answers");
    server.ok(Tool::Kubectl, &["scale", "deployment/web", "--replicas=8"]);
    rolled_out(&server);
    clients.go_on();
    server.ok(Tool::Kubectl, &["rollout", "undo", "deployment/web"]);
    rolled_out(&server);
    clients.go_on();
    assert!(fetch(address).unwrap().contains("</html>"), "the old version answers again");
    server.ok(Tool::Kubectl, &["scale", "deployment/web", "--replicas=1"]);
    server.until(&["get", "pods", "-o", "name"], "scaled down", |pods| pods.lines().count() == 1);
    clients.go_on();
    // With one pod every request meets the change.
    server.ok(Tool::Kubectl, &["rollout", "restart", "deployment/web"]);
    rolled_out(&server);
    // kubectl refuses a second restart within a second, and these take less.
    for round in ["ROUND=1", "ROUND=2"] {
        server.ok(Tool::Kubectl, &["set", "env", "deployment/web", round]);
        rolled_out(&server);
    }
    clients.all_were_answered();
}

#[test]
fn no_request_is_lost_while_a_node_is_drained() {
    let (server, address) = deployed(&["--nodes", "3"]);
    server.ok(Tool::Kubectl, &["scale", "deployment/web", "--replicas=6"]);
    rolled_out(&server);
    let clients = Clients::start(address);
    clients.go_on();
    server.ok(Tool::Kubectl, &["drain", "node-2", "--ignore-daemonsets"]);
    rolled_out(&server);
    let on_it = ["get", "pods", "--field-selector", "spec.nodeName=node-2", "-o", "name"];
    server.until(&on_it, "empty", |pods| pods.is_empty());
    clients.all_were_answered();
}

#[test]
fn a_bad_image_stalls_and_is_undone() {
    let (server, address) = deployed(&[]);
    let deadline = r#"{"spec":{"progressDeadlineSeconds":1}}"#;
    server.ok(Tool::Kubectl, &["patch", "deployment", "web", "-p", deadline]);
    server.ok(Tool::Kubectl, &["set", "image", "deployment/web", "web=no-such-image:v3"]);
    let reason = r#"jsonpath={.status.conditions[?(@.type=="Progressing")].reason}"#;
    server.until(&["get", "deployment", "web", "-o", reason], "stalled", |seen| seen == "ProgressDeadlineExceeded");
    let problem = server.fails(Tool::Kubectl, &["rollout", "status", "deployment/web"]);
    assert!(problem.contains(r#"error: deployment "web" exceeded its progress deadline"#), "{problem}");
    assert!(fetch(address).unwrap().contains("</html>"), "the old pods go on");
    server.ok(Tool::Kubectl, &["rollout", "undo", "deployment/web"]);
    rolled_out(&server);
    server.until(&["get", "deployment", "web", "-o", reason], "progressing", |seen| seen == "NewReplicaSetAvailable");
    server.until(&["get", "pods", "-o", "name"], "clean", |pods| pods.lines().count() == 2);
}
