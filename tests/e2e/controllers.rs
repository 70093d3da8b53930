//! What controllers do for a user: daemons, jobs, budgets.

use crate::harness::{HELLO, Server, Tool};

fn daemon_set() -> String {
    format!(
        "{{apiVersion: apps/v1, kind: DaemonSet, metadata: {{name: logs}}, spec: {{selector: {{matchLabels: {{app: logs}}}}, \
         template: {{metadata: {{labels: {{app: logs}}}}, spec: {{terminationGracePeriodSeconds: 1, containers: \
         [{{name: c, image: {HELLO}, imagePullPolicy: IfNotPresent}}]}}}}}}}}"
    )
}

fn job(name: &str, code: u8) -> String {
    format!(
        "{{apiVersion: batch/v1, kind: Job, metadata: {{name: {name}}}, spec: {{backoffLimit: 0, template: {{spec: \
         {{restartPolicy: Never, containers: [{{name: c, image: exit-code, imagePullPolicy: IfNotPresent, \
         args: [\"{code}\"]}}]}}}}}}}}"
    )
}

fn apply(server: &Server, name: &str, manifest: &str) {
    let path = server.file(name, manifest);
    server.ok(Tool::Kubectl, &["apply", "-f", path.to_str().unwrap()]);
}

fn nodes_of(server: &Server, selector: &str) -> Vec<String> {
    let output = server.ok(Tool::Wk, &["get", "pods", "-l", selector, "-o", "jsonpath={.items[*].spec.nodeName}"]);
    let mut nodes: Vec<String> = output.split_whitespace().map(str::to_owned).collect();
    nodes.sort();
    nodes
}

#[test]
fn a_daemon_set_runs_on_every_node_rolls_back_and_a_drain_ignores_it() {
    let server = Server::start_with(&["--nodes", "3"]);
    server.load(wk_guests::hello_kiamol(), HELLO);
    apply(&server, "ds.yaml", &daemon_set());
    server.ok(Tool::Kubectl, &["rollout", "status", "ds/logs", "--timeout=90s"]);
    assert_eq!(nodes_of(&server, "app=logs"), ["node-1", "node-2", "node-3"]);

    let refused = server.fails(Tool::Kubectl, &["drain", "node-2", "--timeout=30s"]);
    assert!(refused.contains("cannot delete DaemonSet-managed Pods"), "{refused}");
    server.ok(Tool::Kubectl, &["drain", "node-2", "--ignore-daemonsets", "--timeout=60s"]);
    assert_eq!(nodes_of(&server, "app=logs"), ["node-1", "node-2", "node-3"]);

    server.ok(Tool::Kubectl, &["set", "env", "ds/logs", "A=B"]);
    server.ok(Tool::Kubectl, &["rollout", "status", "ds/logs", "--timeout=90s"]);
    let history = server.ok(Tool::Kubectl, &["rollout", "history", "ds/logs"]);
    assert!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
    server.ok(Tool::Kubectl, &["rollout", "undo", "ds/logs"]);
    server.ok(Tool::Kubectl, &["rollout", "status", "ds/logs", "--timeout=90s"]);
    let env = "jsonpath={.spec.template.spec.containers[0].env}";
    assert_eq!(server.ok(Tool::Kubectl, &["get", "ds", "logs", "-o", env]), "");
}

#[test]
fn a_job_completes_or_fails() {
    let server = Server::start();
    server.load(wk_guests::exit_code_p1(), "exit-code");
    apply(&server, "good.yaml", &job("good", 0));
    apply(&server, "bad.yaml", &job("bad", 7));
    server.wait_for(Tool::Kubectl, "complete", &["job/good"]);
    server.wait_for(Tool::Kubectl, "failed", &["job/bad"]);
    let rows = server.ok(Tool::Kubectl, &["get", "jobs", "--no-headers"]);
    assert!(
        rows.lines().any(|row| row.starts_with("good") && row.contains("Complete") && row.contains("1/1")),
        "{rows}"
    );
    assert!(rows.lines().any(|row| row.starts_with("bad") && row.contains("Failed") && row.contains("0/1")), "{rows}");
    let described = server.ok(Tool::Kubectl, &["describe", "job", "bad"]);
    assert!(described.contains("BackoffLimitExceeded"), "{described}");
    server.ok(Tool::Kubectl, &["delete", "job", "good", "bad"]);
    server.until(&["get", "pods", "-o", "name"], "no pods", |seen| seen.trim().is_empty());
}

#[test]
fn a_budget_holds_a_drain_back_and_then_lets_go() {
    let server = Server::start_with(&["--nodes", "2"]);
    server.load(wk_guests::hello_kiamol(), HELLO);
    server.ok(Tool::Kubectl, &["cordon", "node-2"]);
    server.ok(Tool::Kubectl, &["create", "deployment", "web", &format!("--image={HELLO}"), "--replicas=2"]);
    server.wait_for(Tool::Kubectl, "Available", &["deployment/web"]);
    server.ok(Tool::Kubectl, &["create", "pdb", "web", "--selector=app=web", "--min-available=2"]);
    let allowed = ["get", "pdb", "web", "-o", "jsonpath={.status.currentHealthy} {.status.disruptionsAllowed}"];
    server.until(&allowed, "a budget of none", |seen| seen == "2 0");

    let held = server.fails(Tool::Kubectl, &["drain", "node-1", "--timeout=3s"]);
    assert!(held.contains("Cannot evict pod as it would violate the pod's disruption budget."), "{held}");
    server.ok(Tool::Kubectl, &["patch", "pdb", "web", "-p", "{\"spec\":{\"minAvailable\":1}}"]);
    server.ok(Tool::Kubectl, &["uncordon", "node-2"]);
    server.ok(Tool::Kubectl, &["drain", "node-1", "--timeout=80s"]);
    server.until(&["get", "deploy", "web", "--no-headers"], "two ready", |row| row.contains("2/2"));
    assert_eq!(nodes_of(&server, "app=web"), ["node-2", "node-2"]);
}
