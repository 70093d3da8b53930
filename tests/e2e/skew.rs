//! The same work by every kubectl at hand: the one on PATH and those that
//! `WK_TEST_KUBECTLS` (a list, as PATH is one) names. Kubernetes promises a minor
//! version up and down; users have what they have, from Debian's 1.20 on.

mod kinds;
mod streams;

use crate::harness::{Server, Tool, text};
use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: \"example/web:v1\"}
";

/// One kubectl and the server it talks to.
struct Client<'a> {
    server: &'a Server,
    program: PathBuf,
    version: String,
    minor: u32,
}

impl Client<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let prepared = self.server.command(Tool::Kubectl, args);
        let mut command = Command::new(&self.program);
        command.args(args);
        for (name, value) in prepared.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }

    fn run(&self, args: &[&str]) -> (bool, String, String) {
        let output = self.output(args);
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }

    fn ok(&self, args: &[&str]) -> String {
        let (succeeded, out, err) = self.run(args);
        assert!(succeeded, "kubectl {} {args:?} failed:\n{out}{err}", self.version);
        out
    }

    fn says(&self, args: &[&str], part: &str) {
        let out = self.ok(args);
        assert!(out.contains(part), "kubectl {} {args:?} does not say {part:?}:\n{out}", self.version);
    }

    fn fails(&self, args: &[&str], part: &str) {
        let (succeeded, out, err) = self.run(args);
        assert!(!succeeded, "kubectl {} {args:?} succeeded:\n{out}", self.version);
        assert!(err.contains(part), "kubectl {} {args:?} does not complain of {part:?}:\n{err}", self.version);
    }
}

fn programs() -> Vec<PathBuf> {
    let named = std::env::var_os("WK_TEST_KUBECTLS").unwrap_or_default();
    let mut programs = vec![PathBuf::from("kubectl")];
    programs.extend(std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()));
    programs
}

fn version_of(program: &PathBuf) -> (String, u32) {
    let output = Command::new(program).args(["version", "--client", "-o", "json"]).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let version: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let version = version["clientVersion"]["gitVersion"].as_str().unwrap().to_owned();
    let minor = version.split('.').nth(1).unwrap().parse().unwrap();
    (version, minor)
}

/// Does the same with every kubectl, each in a namespace of its own.
fn with_each(server: &Server, work: impl Fn(&Client<'_>, &str)) {
    let mut used = Vec::new();
    for program in programs() {
        let (version, minor) = version_of(&program);
        used.push(version.clone());
        let client = Client { server, program, version, minor };
        let namespace = format!("skew-{}", used.len());
        client.ok(&["create", "namespace", &namespace]);
        work(&client, &namespace);
        client.says(&["delete", "namespace", &namespace, "--wait=false"], "deleted");
    }
    eprintln!("used kubectl {}", used.join(", "));
}

#[test]
fn every_kubectl_does_the_daily_work() {
    let server = Server::start_with(&["--roles", "apiserver,controllers"]);
    with_each(&server, |client, namespace| {
        objects(client, namespace);
        rollouts(client, namespace);
        access(client, namespace);
    });
}

/// Objects come, change and go.
fn objects(client: &Client<'_>, namespace: &str) {
    let n = ["-n", namespace];
    let with =
        |args: &[&'static str]| -> Vec<String> { args.iter().chain(n.iter()).map(|arg| (*arg).to_owned()).collect() };
    let says = |args: &[&'static str], part: &str| {
        let args = with(args);
        client.says(&args.iter().map(String::as_str).collect::<Vec<_>>(), part);
    };
    let path = client.server.file("web.yaml", DEPLOYMENT);
    let path = path.to_str().unwrap();
    // Validation is on: old clients check against OpenAPI v2.
    client.says(&["apply", "-f", path, n[0], n[1]], "deployment.apps/web created");
    client.says(&["apply", "-f", path, n[0], n[1]], "deployment.apps/web unchanged");
    let changed = client.server.file("changed.yaml", &DEPLOYMENT.replace("web:v1", "web:v2"));
    let (same, difference, error) = client.run(&["diff", "-f", changed.to_str().unwrap(), n[0], n[1]]);
    assert!(!same && difference.contains("+      - image: example/web:v2"), "{difference}{error}");
    let wrong = client.server.file("wrong.yaml", &DEPLOYMENT.replace("replicas", "replicsa"));
    client.fails(&["apply", "-f", wrong.to_str().unwrap(), n[0], n[1]], "replicsa");
    client.says(
        &["apply", "--server-side", "--force-conflicts", "-f", changed.to_str().unwrap(), n[0], n[1]],
        "serverside-applied",
    );
    says(&["get", "deploy,rs"], "deployment.apps/web");
    says(&["get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"], "example/web:v2");
    says(&["patch", "deploy", "web", "-p", r#"{"spec":{"minReadySeconds":1}}"#], "patched");
    says(&["label", "deploy", "web", "tier=front"], "labeled");
    says(&["annotate", "deploy", "web", "note=yes"], "annotate");
    says(&["get", "deploy", "-l", "tier=front", "-o", "name"], "deployment.apps/web");
    says(&["describe", "deploy", "web"], "note: yes");
    says(&["create", "configmap", "settings", "--from-literal=color=blue"], "configmap/settings created");
    says(&["get", "cm", "settings", "-o", "yaml"], "color: blue");
    edit(client, namespace);
    says(&["delete", "configmap", "settings"], "configmap \"settings\" deleted");
    client.says(&["explain", "deployment.spec.replicas"], "Number of desired pods");
    client.says(&["api-resources", "--api-group=apps"], "deployments");
    client.says(&["api-versions"], "rbac.authorization.k8s.io/v1");
}

/// In the user's editor, which here is sed.
fn edit(client: &Client<'_>, namespace: &str) {
    let mut command = client.command(&["edit", "configmap", "settings", "-n", namespace]);
    let output = command.env("KUBE_EDITOR", "sed -i s/blue/green/").stdin(Stdio::null()).output().unwrap();
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(said.contains("configmap/settings edited"), "kubectl {}: {said}{complained}", client.version);
    client.says(&["get", "cm", "settings", "-n", namespace, "-o", "yaml"], "color: green");
}

fn rollouts(client: &Client<'_>, namespace: &str) {
    let says = |args: &[&str], part: &str| client.says(&[args, &["-n", namespace]].concat(), part);
    says(&["scale", "deploy", "web", "--replicas=2"], "deployment.apps/web scaled");
    says(&["get", "deploy", "web", "-o", "jsonpath={.spec.replicas}"], "2");
    says(&["set", "image", "deploy/web", "web=example/web:v3"], "image updated");
    client.server.until(&["get", "rs", "-n", namespace, "-o", "name"], "rolled out", |sets| sets.lines().count() >= 3);
    says(&["rollout", "history", "deploy/web"], "REVISION");
    says(&["rollout", "pause", "deploy/web"], "paused");
    says(&["rollout", "resume", "deploy/web"], "resumed");
    says(&["rollout", "restart", "deploy/web"], "restarted");
    says(&["rollout", "undo", "deploy/web"], "rolled back");
    says(&["rollout", "status", "deploy/web", "--watch=false"], "Waiting for deployment");
    says(&["delete", "deploy", "web"], "deployment.apps \"web\" deleted");
}

fn access(client: &Client<'_>, namespace: &str) {
    let n = ["-n", namespace];
    client.says(&["auth", "can-i", "create", "pods", n[0], n[1]], "yes");
    let (may, said, _) = client.run(&["auth", "can-i", "create", "pods", "--as", "jane", n[0], n[1]]);
    assert!(!may && said.starts_with("no"), "{said}");
    client.ok(&["create", "role", "reader", "--verb=list", "--resource=pods", n[0], n[1]]);
    client.ok(&["create", "rolebinding", "reader", "--role=reader", "--user=jane", n[0], n[1]]);
    client.says(&["auth", "can-i", "list", "pods", "--as", "jane", n[0], n[1]], "yes");
    client.says(
        &["auth", "can-i", "--list", "--as", "jane", n[0], n[1]],
        "selfsubjectaccessreviews.authorization.k8s.io",
    );
    client.fails(&["get", "secrets", "--as", "jane", n[0], n[1]], "secrets is forbidden: User \"jane\" cannot list");
    client.ok(&["create", "serviceaccount", "bot", n[0], n[1]]);
    // Newer than the oldest clients.
    if client.minor >= 24 {
        assert_eq!(client.ok(&["create", "token", "bot", n[0], n[1]]).split('.').count(), 3);
    }
    // Older ones ask for a beta that no server of today has.
    if client.minor >= 28 {
        client.says(&["auth", "whoami"], "kubernetes-admin");
    }
}
