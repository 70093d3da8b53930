//! Every kind that is served, as every kubectl lists, explains and describes it.

use super::{Client, with_each};
use crate::harness::Server;

/// One object of each kind that a cluster does not have by itself.
const OBJECTS: &str = include_str!("kinds.yaml");

#[test]
fn every_kubectl_describes_every_kind() {
    let server = Server::start_with(&["--roles", "apiserver,controllers"]);
    with_each(&server, |client, namespace| {
        let path = server.file("kinds.yaml", OBJECTS);
        client.ok(&["apply", "-n", namespace, "-f", path.to_str().unwrap()]);
        for (kind, namespaced) in kinds(client) {
            one(client, namespace, &kind, namespaced);
        }
    });
}

/// Names of all resources that can be read, and whether they live in namespaces.
fn kinds(client: &Client<'_>) -> Vec<(String, bool)> {
    let list = |namespaced: bool| {
        let flag = format!("--namespaced={namespaced}");
        let names = client.ok(&["api-resources", "--verbs=list,get", "-o", "name", &flag]);
        names.lines().map(|name| (name.to_owned(), namespaced)).collect::<Vec<_>>()
    };
    let all = [list(true), list(false)].concat();
    assert!(all.len() > 25, "{all:?}");
    all
}

fn one(client: &Client<'_>, namespace: &str, kind: &str, namespaced: bool) {
    let place: &[&str] = if namespaced { &["-n", namespace] } else { &[] };
    let names = client.ok(&[&["get", kind, "-o", "name"], place].concat());
    client.ok(&[&["get", kind, "-o", "wide"], place].concat());
    client.ok(&[&["get", kind, "-o", "yaml"], place].concat());
    // What a kubectl knows under another group it explains by its own name.
    client.says(&["explain", kind], "KIND:");
    let Some(name) = names.lines().next() else {
        // Nothing makes these without nodes and pods.
        let absent = ["nodes", "pods", "events", "events.events.k8s.io", "endpointslices.discovery.k8s.io"];
        assert!(absent.contains(&kind) || kind.starts_with("controllerrevisions"), "no object of {kind}");
        return;
    };
    let described = client.ok(&[&["describe", name], place].concat());
    let short = name.rsplit('/').next().unwrap();
    assert!(described.contains(short), "kubectl {} describe {name}:\n{described}", client.version);
}
