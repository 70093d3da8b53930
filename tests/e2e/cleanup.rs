//! What is deleted goes, politely when there is time, and takes along what it
//! should.

use crate::harness::{HELLO, Server, Tool};
use std::time::{Duration, Instant};

fn server() -> Server {
    let server = Server::with_image(wk_guests::hello_kiamol(), HELLO);
    server.load(wk_guests::sleep(), "sleep");
    server
}

fn deployed(server: &Server, name: &str) {
    server.ok(Tool::Kubectl, &["create", "deployment", name, &format!("--image={HELLO}"), "--replicas=3"]);
    // `create` pulls by the tag's default; the image is only here.
    let policy = r#"[{"op":"add","path":"/spec/template/spec/containers/0/imagePullPolicy","value":"IfNotPresent"}]"#;
    server.ok(Tool::Kubectl, &["patch", "deployment", name, "--type=json", "-p", policy]);
    server.ok(Tool::Kubectl, &["rollout", "status", &format!("deployment/{name}"), "--timeout=90s"]);
}

fn names(server: &Server, what: &str) -> Vec<String> {
    let output = server.ok(Tool::Wk, &["get", what, "-o", "name"]);
    output.lines().map(str::to_owned).collect()
}

/// A pod `name` whose spec has more.
fn run(server: &Server, name: &str, more: &str) {
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  {more}\n  containers:\n  - name: c\n    image: {HELLO}\n    imagePullPolicy: IfNotPresent\n"
    );
    let path = server.file(&format!("{name}.yaml"), &manifest);
    server.ok(Tool::Kubectl, &["apply", "-f", path.to_str().unwrap()]);
    server.wait_for(Tool::Kubectl, "Ready", &[&format!("pod/{name}")]);
}

fn events(server: &Server, reason: &str) -> String {
    let path = r"jsonpath={range .items[*]}{.involvedObject.name}: {.message}{'\n'}{end}";
    server.ok(Tool::Wk, &["get", "events", "--field-selector", &format!("reason={reason}"), "-o", path])
}

#[test]
fn a_deployment_brings_its_pods_back_and_takes_them_along() {
    let server = server();
    deployed(&server, "web");
    let before = names(&server, "pods");
    server.ok(Tool::Kubectl, &["delete", "pods", "--all"]);
    server.ok(Tool::Kubectl, &["rollout", "status", "deployment/web", "--timeout=90s"]);
    let after = names(&server, "pods");
    assert!(after.len() == 3 && after.iter().all(|pod| !before.contains(pod)), "{before:?} {after:?}");
    let killing = events(&server, "Killing");
    let told = |pod: &String| killing.contains(&format!("{}: Stopping container ", pod.trim_start_matches("pod/")));
    assert!(before.iter().all(told), "{before:?} {killing}");
    server.ok(Tool::Kubectl, &["delete", "deployments", "--all"]);
    server.until(&["get", "replicasets,pods", "-o", "name"], "all gone", str::is_empty);
}

#[test]
fn a_cascade_is_orphan_or_foreground() {
    let server = server();
    deployed(&server, "web");
    let sets = names(&server, "replicasets");
    let pods = names(&server, "pods");
    server.ok(Tool::Kubectl, &["delete", "deployment", "web", "--cascade=orphan"]);
    let owners = "jsonpath={.items[*].metadata.ownerReferences}";
    server.until(&["get", "replicasets", "-o", owners], "orphaned", str::is_empty);
    assert_eq!((names(&server, "replicasets"), names(&server, "pods")), (sets, pods));
    // Foreground: the owner is the last to go.
    server.ok(Tool::Kubectl, &["delete", "replicasets", "--all", "--cascade=foreground"]);
    assert_eq!(names(&server, "replicasets,pods"), Vec::<String>::new(), "kubectl waited for the owner");
}

#[test]
fn a_pod_gets_its_grace_period_and_no_more() {
    let server = server();
    // The guest would end at once; the hook holds it for two seconds.
    let hook = "terminationGracePeriodSeconds: 20";
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: hooked}}\nspec:\n  {hook}\n  containers:\n  - name: c\n    image: {HELLO}\n    imagePullPolicy: IfNotPresent\n    lifecycle: {{preStop: {{sleep: {{seconds: 2}}}}}}\n"
    );
    let path = server.file("hooked.yaml", &manifest);
    server.ok(Tool::Kubectl, &["apply", "-f", path.to_str().unwrap()]);
    server.wait_for(Tool::Kubectl, "Ready", &["pod/hooked"]);
    let started = Instant::now();
    server.ok(Tool::Kubectl, &["delete", "pod", "hooked", "--wait=false"]);
    server.until(&["get", "pod", "hooked"], "terminating", |row| row.contains("Terminating"));
    let get = ["get", "pod", "hooked", "--ignore-not-found", "-o", "name"];
    server.until(&get, "gone", str::is_empty);
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(15), "{took:?}");

    // By force nothing is waited for, and the name is free at once.
    server.ok(Tool::Kubectl, &["apply", "-f", path.to_str().unwrap()]);
    server.wait_for(Tool::Kubectl, "Ready", &["pod/hooked"]);
    let forced = server.run(Tool::Kubectl, &["delete", "pod", "hooked", "--force", "--grace-period=0"]);
    let warning = crate::harness::text(&forced.stderr);
    assert!(forced.status.success() && warning.contains("Immediate deletion does not wait"), "{warning}");
    assert_eq!(names(&server, "pods"), Vec::<String>::new());
    run(&server, "hooked", "terminationGracePeriodSeconds: 1");
    server.ok(Tool::Kubectl, &["delete", "pod", "hooked", "--now"]);
    assert_eq!(names(&server, "pods"), Vec::<String>::new());
}

#[test]
fn a_finalizer_holds_a_pod_until_it_is_taken_off() {
    let server = server();
    run(&server, "held", "terminationGracePeriodSeconds: 0");
    server.ok(Tool::Kubectl, &["patch", "pod", "held", "-p", r#"{"metadata":{"finalizers":["example.com/hold"]}}"#]);
    server.ok(Tool::Kubectl, &["delete", "pod", "held", "--wait=false"]);
    let state = "jsonpath={.status.containerStatuses[0].state}";
    server.until(&["get", "pod", "held", "-o", state], "stopped", |state| state.contains("terminated"));
    assert_ne!(server.ok(Tool::Kubectl, &["get", "pod", "held", "-o", "jsonpath={.metadata.deletionTimestamp}"]), "");
    server.ok(Tool::Kubectl, &["patch", "pod", "held", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    server.until(&["get", "pods", "-o", "name"], "gone", str::is_empty);
}

#[test]
fn a_namespace_goes_with_all_that_is_in_it() {
    let server = server();
    server.ok(Tool::Kubectl, &["create", "namespace", "shop"]);
    server.ok(Tool::Kubectl, &["create", "configmap", "settings", "-n", "shop", "--from-literal=a=b"]);
    server.ok(Tool::Kubectl, &["run", "web", "-n", "shop", "--image", HELLO, "--image-pull-policy=IfNotPresent"]);
    server.wait_for(Tool::Kubectl, "Ready", &["pod/web", "-n", "shop"]);
    server.ok(Tool::Kubectl, &["delete", "namespace", "shop"]);
    let missing = server.fails(Tool::Kubectl, &["get", "namespace", "shop"]);
    assert!(missing.contains(r#"namespaces "shop" not found"#), "{missing}");
    assert_eq!(server.ok(Tool::Wk, &["get", "pods,configmaps", "-n", "shop", "-o", "name"]), "");
}
