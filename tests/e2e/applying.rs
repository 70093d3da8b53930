//! `apply` keeps what others set, takes back what it set before, prunes, and
//! does so together with kubectl.

use crate::{
    harness::{Tool, text},
    pair::{API_ONLY, NAMESPACES, Pair},
};

const TWO: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: a, labels: {app: x}}
data: {one: '1', two: '2'}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: b, labels: {app: x}}
data: {three: '3'}
";

const DEPLOYMENT: &str = "
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
      - {name: main, image: web, env: [{name: A, value: '1'}, {name: B, value: '2'}]}
      - {name: side, image: side}
";

#[test]
fn apply_tells_and_does_what_kubectl_does() {
    let pair = Pair::start(API_ONLY);
    let two = pair.file("two.yaml", TWO);
    let one = pair.file("one.yaml", TWO.split("---").next().unwrap());
    pair.each_same(&[
        &["apply", "-f", &two][..],
        &["apply", "-f", &two],
        &["apply", "-f", &two, "-o", "name"],
        &["apply", "-f", &two, "--dry-run=client"],
        &["apply", "-f", &two, "--dry-run=server"],
        &["apply", "-f", &two, "-l", "app=y"],
        &["get", "cm", "a", "-o", "yaml"],
        &["apply", "-f", &two, "-o", "yaml"],
        &["apply", "-f", &one, "-o", "json"],
        &["apply", "view-last-applied", "cm", "a"],
        &["apply", "view-last-applied", "cm/a", "-o", "json"],
        &["apply", "view-last-applied", "-f", &two],
        &["apply", "-f", &one, "--prune", "-l", "app=x", "--prune-allowlist=core/v1/ConfigMap"],
        &["get", "cm", "-l", "app=x", "-o", "name"],
        &["apply", "-f", &two, "--prune"],
        &["create", "configmap", "plain", "--from-literal=x=y"],
        &["apply", "view-last-applied", "cm", "plain"],
        &["apply", "-f", "nowhere.yaml"],
        &["apply"],
    ]);
    let refused = text(&pair.run(Tool::Wk, &["apply", "-k", "."]).stderr);
    assert!(refused.contains("kustomize build . | wk apply -f -"), "{refused}");
    let plain = pair.file("plain.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\ndata: {x: z}\n");
    pair.each_same(&[
        &["apply", "set-last-applied", "-f", &plain][..],
        &["apply", "set-last-applied", "-f", &plain, "--create-annotation"],
        &["apply", "set-last-applied", "-f", &plain],
        &["apply", "-f", &plain],
        &["create", "configmap", "warned", "--from-literal=x=y"],
    ]);
    let warned = pair.file("warned.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: warned}\n");
    pair.same(&["apply", "-f", &warned]);
    let unknown = pair.file("unknown.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: u}\ndatum: {}\n");
    pair.same(&["apply", "-f", &unknown, "--validate=false"]);
    let refused = text(&pair.run(Tool::Wk, &["apply", "-f", &unknown]).stderr);
    assert!(refused.contains("unknown field \"datum\""), "{refused}");
}

#[test]
fn apply_merges_lists_by_name_and_takes_back_its_own() {
    let pair = Pair::start(API_ONLY);
    let file = pair.file("web.yaml", DEPLOYMENT);
    pair.same(&["apply", "-f", &file]);
    pair.all_same(&["scale deploy web --replicas=5", "set image deploy/web side=other", "label deploy web theirs=yes"]);
    let changed = DEPLOYMENT
        .replace("env: [{name: A, value: '1'}, {name: B, value: '2'}]", "env: [{name: B, value: '3'}]")
        .replace("      - {name: side, image: side}\n", "      - {name: third, image: third}\n")
        .replace("  selector:", "  strategy: {type: Recreate}\n  selector:");
    let file = pair.file("web.yaml", &changed);
    pair.same(&["apply", "-f", &file]);
    let spec = pair.same(&["get", "deploy", "web", "-o", "yaml"]);
    let spec = text(&spec.stdout);
    for part in ["replicas: 2\n", "theirs: \"yes\"", "type: Recreate", "name: third"] {
        assert!(spec.contains(part), "no {part:?} in\n{spec}");
    }
    let live = &spec[spec.find("\nspec:").unwrap()..];
    assert!(!live.contains("name: side") && !live.contains("name: A\n") && !live.contains("rollingUpdate"), "{live}");
    pair.same(&["apply", "-f", &file]);
}

#[test]
fn the_two_take_turns_on_one_object() {
    let pair = Pair::start(API_ONLY);
    let file = pair.file("a.yaml", TWO.split("---").next().unwrap());
    let less = pair.file("less.yaml", &TWO.split("---").next().unwrap().replace(", two: '2'", ""));
    for (first, second) in [(Tool::Wk, Tool::Kubectl), (Tool::Kubectl, Tool::Wk)] {
        let (_, namespace) = NAMESPACES.into_iter().find(|(tool, _)| *tool == first).unwrap();
        let run = |tool: Tool, words: &[&str]| {
            let output = pair.server.run(tool, &[&["-n", namespace], words].concat());
            assert_eq!(text(&output.stderr), "", "{tool:?} {words:?}");
            text(&output.stdout)
        };
        assert_eq!(run(first, &["apply", "-f", &file]), "configmap/a created\n");
        assert_eq!(run(second, &["apply", "-f", &file]), "configmap/a unchanged\n");
        // A field that the other has applied goes when it is in the file no more.
        assert_eq!(run(second, &["apply", "-f", &less]), "configmap/a configured\n");
        assert_eq!(run(first, &["get", "cm", "a", "-o", "jsonpath={.data}"]), r#"{"one":"1"}"#);
        // What the client has applied does not conflict with the server's apply.
        assert_eq!(run(second, &["apply", "--server-side", "-f", &file]), "configmap/a serverside-applied\n");
        assert_eq!(run(first, &["apply", "--server-side", "-f", &less]), "configmap/a serverside-applied\n");
        assert_eq!(run(first, &["get", "cm", "a", "-o", "jsonpath={.data}"]), r#"{"one":"1"}"#);
    }
}

#[test]
fn what_was_applied_last_is_edited() {
    let pair = Pair::start(API_ONLY);
    let file = pair.file("a.yaml", TWO.split("---").next().unwrap());
    pair.same(&["apply", "-f", &file]);
    for (tool, namespace) in NAMESPACES {
        let mut command = pair.server.command(tool, &["-n", namespace, "apply", "edit-last-applied", "cm/a"]);
        let output = command.env("KUBE_EDITOR", "sed -i '/two:/d'").output().unwrap();
        assert_eq!(text(&output.stdout), "configmap/a edited\n", "{tool:?}: {}", text(&output.stderr));
    }
    pair.same(&["apply", "view-last-applied", "cm/a"]);
    pair.same(&["get", "cm", "a", "-o", "yaml"]);
}
