//! Who may do what: kubectl's own commands about it, and a pod's own token.

use crate::harness::{Server, Tool, text};

const CONTROL_PLANE: &[&str] = &["--roles", "apiserver,controllers"];
const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

fn can_i(server: &Server, args: &[&str]) -> String {
    let output = server.run(Tool::Kubectl, &[&["auth", "can-i"][..], args].concat());
    assert_eq!(output.status.success(), text(&output.stdout) == "yes\n", "{args:?}: {}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

#[test]
fn kubectl_asks_and_grants() {
    let server = Server::start_with(CONTROL_PLANE);
    let kubectl = |args: &[&str]| server.ok(Tool::Kubectl, args);
    assert_eq!(can_i(&server, &["*", "*"]), "yes");
    assert_eq!(can_i(&server, &["list", "pods", "--as", "jane"]), "no");
    kubectl(&["create", "role", "reader", "--verb=get,list,watch", "--resource=pods,pods/log"]);
    kubectl(&["create", "rolebinding", "readers", "--role=reader", "--user=jane", "--group=devs"]);
    assert_eq!(can_i(&server, &["list", "pods", "--as", "jane"]), "yes");
    assert_eq!(can_i(&server, &["get", "pods", "--subresource=log", "--as", "joe", "--as-group", "devs"]), "yes");
    assert_eq!(can_i(&server, &["delete", "pods", "--as", "jane"]), "no");
    assert_eq!(can_i(&server, &["list", "pods", "--as", "jane", "-n", "kube-system"]), "no");
    let list = kubectl(&["auth", "can-i", "--list", "--as", "jane"]);
    assert!(list.lines().any(|line| line.starts_with("pods/log ") && line.contains("[get list watch]")), "{list}");
    assert_eq!(kubectl(&["get", "pods", "--as", "jane", "-o", "name"]), "");
    let error = server.fails(Tool::Kubectl, &["get", "secrets", "--as", "jane"]);
    let refused = "Error from server (Forbidden): secrets is forbidden: User \"jane\" cannot list resource \"secrets\" in \
                   API group \"\" in the namespace \"default\"\n";
    assert_eq!(error, refused);
    kubectl(&["create", "clusterrolebinding", "viewers", "--clusterrole=view", "--user=vera"]);
    assert_eq!(can_i(&server, &["list", "deployments.apps", "--as", "vera", "-A"]), "yes");
    assert_eq!(can_i(&server, &["list", "secrets", "--as", "vera"]), "no");
    assert_eq!(can_i(&server, &["get", "/healthz", "--as", "vera"]), "yes");
    let who = kubectl(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]);
    assert_eq!(who, "kubernetes-admin");
}

#[test]
fn roles_are_reconciled_and_put_together() {
    let server = Server::start_with(CONTROL_PLANE);
    let kubectl = |args: &[&str]| server.ok(Tool::Kubectl, args);
    let manifest = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: widgets\n  labels:\n    \
                    rbac.authorization.k8s.io/aggregate-to-view: \"true\"\nrules:\n- apiGroups: [acme.com]\n  resources: \
                    [widgets]\n  verbs: [get, list]\n";
    let path = server.file("role.yaml", manifest);
    let said = kubectl(&["auth", "reconcile", "-f", path.to_str().unwrap()]);
    assert!(said.contains("clusterrole.rbac.authorization.k8s.io/widgets reconciled"), "{said}");
    kubectl(&["create", "clusterrolebinding", "viewers", "--clusterrole=view", "--user=vera"]);
    let rules = ["get", "clusterrole", "admin", "-o", "jsonpath={.rules[*].resources}"];
    server.until(&rules, "put together", |resources| resources.contains("widgets"));
    let shown = kubectl(&["describe", "clusterrole", "view"]);
    assert!(shown.contains("widgets.acme.com"), "{shown}");
    let error = server.fails(
        Tool::Kubectl,
        &["patch", "clusterrolebinding", "viewers", "--type=merge", "-p", r#"{"roleRef":{"name":"edit"}}"#],
    );
    assert!(error.contains("cannot change roleRef"), "{error}");
}

#[test]
fn a_pod_may_what_its_account_may() {
    let server = Server::with_image(wk_guests::env_and_files(), "env-and-files");
    let read = |file: &str| format!("read:{MOUNT}/{file}");
    let (token, namespace, ca) = (read("token"), read("namespace"), read("ca.crt"));
    let parts = [token.as_str(), "print:", namespace.as_str(), "print:", ca.as_str()];
    let run = [
        "run",
        "reader",
        "--image",
        "env-and-files",
        "--restart",
        "Never",
        "--image-pull-policy",
        "IfNotPresent",
        "--",
    ];
    server.ok(Tool::Wk, &[&run[..], &parts[..]].concat());
    let phase = ["get", "pod", "reader", "-o", "jsonpath={.status.phase}"];
    server.until(&phase, "succeeded", |phase| phase == "Succeeded");
    let logs = server.ok(Tool::Wk, &["logs", "reader"]);
    let mut parts = logs.splitn(3, '\n');
    let (token, namespace, ca) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    assert_eq!(namespace, "default");
    let ca = server.file("pod-ca.crt", ca);
    let api = server.ok(Tool::Kubectl, &["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"]);
    let empty = server.file("nothing", "");
    let as_pod = |args: &[&str]| {
        let mut command = server.command(Tool::Kubectl, args);
        let (api, token) = (format!("--server={api}"), format!("--token={token}"));
        let ca = format!("--certificate-authority={}", ca.display());
        let output = command.env("KUBECONFIG", &empty).args([api, token, ca]).output().unwrap();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    };
    let (allowed, said) = as_pod(&["get", "pods"]);
    assert!(!allowed && said.contains("User \"system:serviceaccount:default:default\" cannot list"), "{said}");
    server.ok(
        Tool::Kubectl,
        &["create", "rolebinding", "viewers", "--clusterrole=view", "--serviceaccount=default:default"],
    );
    let (allowed, said) = as_pod(&["get", "pods"]);
    assert!(allowed && said.contains("reader"), "{said}");
    assert!(!as_pod(&["get", "pods", "-n", "kube-system"]).0, "only where it is bound");
    server.ok(Tool::Wk, &["delete", "pod", "reader", "--grace-period=0", "--force"]);
    server.until(&["get", "pods", "-o", "name"], "gone", |names| !names.contains("reader"));
    let (allowed, said) = as_pod(&["get", "pods"]);
    assert!(!allowed && said.contains("Unauthorized"), "the token ends with its pod: {said}");
}
