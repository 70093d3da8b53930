//! `-o` in every form, and how lists are made and shown.

use crate::{
    harness::{Tool, text},
    pair::{API_ONLY, Pair},
};
use std::process::Stdio;

fn three_maps() -> Pair {
    let pair = Pair::start(API_ONLY);
    for (name, size) in [("c10", "1"), ("c9", "30"), ("a", "4")] {
        pair.all_same(&[
            &format!("create configmap {name} --from-literal=n={size}"),
            &format!("label cm {name} size={size} x.org/kind=map"),
        ]);
    }
    pair
}

#[test]
fn templates_and_columns_print_as_kubectls_do() {
    let pair = three_maps();
    let file = |name: &str, content: &str| pair.file(name, content);
    let go = file("t.gotemplate", "{{range .items}}{{.metadata.name}}={{.data.n}};{{end}}");
    let path = file("t.jsonpath", "{range .items[*]}{.metadata.name}{\"\\n\"}{end}");
    let columns = file("t.columns", "NAME              N\nmetadata.name     data.n\n");
    let (by_go, by_file) = (format!("go-template-file={go}"), format!("templatefile={go}"));
    let (by_path, by_columns) = (format!("jsonpath-file={path}"), format!("custom-columns-file={columns}"));
    let mut all = Vec::new();
    for words in [
        &["-o", "go-template={{range .items}}{{.metadata.name}} {{end}}"][..],
        &["-o", "go-template={{range .items}}{{if eq .data.n \"4\"}}{{.metadata.name}}{{\"\\n\"}}{{end}}{{end}}"],
        &["-o", "go-template={{(index .items 0).metadata.labels.size}}"],
        &["-o", "go-template={{range $i, $m := .items}}{{$i}}:{{$m.metadata.name | printf \"%-5s|\"}}{{end}}"],
        &["-o", "go-template={{len .items}}{{/* no more */}}"],
        &["-o", "go-template={{.nope}}"],
        &["-o", "go-template", "--template={{.kind}}"],
        &["--template={{.kind}} {{.apiVersion}}"],
        &["-o", "template={{with .metadata}}{{.}}{{end}}"],
        &["-o", &by_go],
        &["-o", &by_file],
        &["-o", &by_path],
        &["-o", "jsonpath", "--template={.items[*].metadata.name}"],
        &["-o", "jsonpath-as-json={.items[*].metadata.name}"],
        &["-o", "jsonpath-as-json={.items[0].data}"],
        &["-o", &by_columns],
        &["-o", "custom-columns=NAME:.metadata.name,N:.data.n,NONE:.x.y"],
        &["-o", "custom-columns=NAME:.metadata.name", "--no-headers"],
        &["-o", "jsonpath={.items[?(@.data.n==\"30\")].metadata.name}"],
        &["-o", "jsonpath={.items[*]['metadata.name','data.n']}"],
        &["-o", "jsonpath={.items[*].metadata.labels.x\\.org/kind}"],
        &["-o", "json"],
        &["-o", "yaml"],
        &["-o", "name"],
        &["-o", "xml"],
        &["-o", "jsonpath"],
        &["-o", "jsonpath={.items[}"],
        &["-o", "custom-columns="],
        &["-o", "custom-columns=NAME"],
        &["-o", "jsonpath-file=/nowhere"],
    ] {
        all.push([&["get", "configmap", "-l", "size"], words].concat());
    }
    pair.each_same(&all.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

#[test]
fn lists_are_shown_as_kubectl_shows_them() {
    let pair = three_maps();
    pair.all_same(&[
        "get cm -l size",
        "get cm -l size --show-labels",
        "get cm -l size -L size,x.org/kind",
        "get cm -l size --label-columns=size --no-headers",
        "get cm -l size --show-kind",
        "get cm -l size --sort-by=.data.n",
        "get cm -l size --sort-by={.metadata.name}",
        "get cm -l size --chunk-size=1",
        "get cm -l size --chunk-size=0",
        "get cm a c9",
        "get cm/a cm/c9",
        "get cm/a sa/default",
        "get cm,sa -l size",
        "get cm a nope",
        "get cm nope --ignore-not-found",
        "get cm a nope --ignore-not-found -o name",
        "get cm nope nope2",
        "get cm -l size=99",
        "get cm -l size=99 --ignore-not-found",
        "get cm -l size=99 -o yaml",
        "get cm -l size=99 -o name",
        "get cm -l size=99 -o jsonpath={.items}",
        "get cm -l size>3",
        "get cm -l !size",
        "get cm --field-selector=metadata.name=a",
        "get cm --field-selector=metadata.name!=a -l size",
        "get cm a -l size",
        "get cm a --show-managed-fields=false -o yaml",
        "get cm a -o json",
        "get cm a -o yaml --output-watch-events",
        "get cm a cm",
        "get cm cm/a",
        "get configmaps.v1. a -o name",
        "get deployments.apps",
        "get deployments.v1.apps",
        "get all",
        "get all -o name",
        "get -A cm -l size --no-headers -o name",
        "get ns NAMESPACE -o name",
        "get widgets.example.org",
    ]);
    for line in
        ["get --raw /api/v1/namespaces/NAMESPACE", "get --raw /readyz", "get --raw /nope", "get --raw /api pods"]
    {
        pair.same(&line.split(' ').collect::<Vec<_>>());
    }
    let files = pair.file("both.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c9}\n");
    pair.same(&["get", "-f", &files, "-o", "name"]);
    pair.same(&["get", "-f", &files]);
    pair.same(&["get", "-f", "nowhere.yaml"]);
}

#[test]
fn a_watch_says_what_happened() {
    let pair = three_maps();
    for (tool, namespace) in crate::pair::NAMESPACES {
        let words = ["-n", namespace, "get", "cm", "-l", "size", "-w", "--output-watch-events"];
        let mut child = pair.server.command(tool, &words).stdout(Stdio::piped()).spawn().unwrap();
        let rows = crate::harness::lines(child.stdout.take().unwrap());
        crate::harness::next_matching(&rows, |row| row.starts_with("EVENT "));
        crate::harness::next_matching(&rows, |row| row.starts_with("ADDED ") && row.contains("c9"));
        pair.server.ok(tool, &["-n", namespace, "annotate", "cm", "c9", "x=y"]);
        crate::harness::next_matching(&rows, |row| row.starts_with("MODIFIED ") && row.contains("c9"));
        pair.server.ok(tool, &["-n", namespace, "delete", "cm", "c9"]);
        crate::harness::next_matching(&rows, |row| row.starts_with("DELETED ") && row.contains("c9"));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let output = pair.run(Tool::Wk, &["get", "cm", "--output-watch-events"]);
    assert!(text(&output.stderr).contains("only be used with --watch"), "{}", text(&output.stderr));
}
