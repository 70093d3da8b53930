//! Several nodes: pods spread, go where they are told, and leave when they must.

use crate::harness::{HELLO, Server, Tool};
use std::collections::BTreeMap;

const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];

fn three_nodes(args: &[&str]) -> Server {
    let server = Server::start_with(&[&["--nodes", "3"], args].concat());
    server.load(wk_guests::hello_kiamol(), HELLO);
    server.wait_for(Tool::Kubectl, "Ready", &["node", "--all"]);
    server
}

/// A Deployment `NAME` of pods with more in their spec.
fn deploy(server: &Server, name: &str, replicas: u32, more: &str) {
    let manifest = format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      {more}
      containers:
      - {{name: web, image: {HELLO}, imagePullPolicy: IfNotPresent}}
"
    );
    let path = server.file(&format!("{name}.yaml"), &manifest);
    server.ok(Tool::Kubectl, &["apply", "-f", path.to_str().unwrap()]);
}

fn rolled_out(server: &Server, name: &str) {
    server.ok(Tool::Kubectl, &["rollout", "status", &format!("deployment/{name}"), "--timeout=90s"]);
}

/// How many pods of `app` are on each node.
fn placement(server: &Server, app: &str) -> BTreeMap<String, usize> {
    let path = r"jsonpath={range .items[*]}{.spec.nodeName}{'\n'}{end}";
    let nodes = server.ok(Tool::Wk, &["get", "pods", "-l", &format!("app={app}"), "-o", path]);
    nodes.lines().fold(BTreeMap::new(), |mut counts, node| {
        *counts.entry(node.to_owned()).or_default() += 1;
        counts
    })
}

fn only_on(node: &str, count: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([(node.to_owned(), count)])
}

#[test]
fn pods_spread_and_reach_each_other_across_nodes() {
    let server = three_nodes(&[]);
    deploy(&server, "web", 6, "");
    rolled_out(&server, "web");
    let each_two = NODES.iter().map(|node| ((*node).to_owned(), 2)).collect::<BTreeMap<_, _>>();
    assert_eq!(placement(&server, "web"), each_two);
    let ranges = server.ok(Tool::Wk, &["get", "nodes", "-o", "jsonpath={.items[*].spec.podCIDR}"]);
    assert_eq!(ranges, "10.244.0.0/20 10.244.16.0/20 10.244.32.0/20");
    server.load(wk_guests::http_get(), "http-get");
    let far = ["get", "pods", "--field-selector", "spec.nodeName=node-3", "-o", "jsonpath={.items[0].status.podIP}"];
    let ip = server.ok(Tool::Kubectl, &far);
    assert!(ip.starts_with("10.244.32."), "{ip}");
    let overrides = r#"{"spec":{"nodeName":"node-1"}}"#;
    let run = ["run", "client", "--image=http-get", "--restart=Never", "--image-pull-policy=IfNotPresent"];
    let address = format!("{ip}:80");
    server.ok(Tool::Kubectl, &[&run[..], &["--overrides", overrides, "--", &address, "20"]].concat());
    let phase = ["get", "pod", "client", "-o", "jsonpath={.status.phase}"];
    server.until(&phase, "succeeded", |phase| phase == "Succeeded");
    assert!(server.ok(Tool::Kubectl, &["logs", "client"]).contains("</html>"));
}

#[test]
fn a_cordoned_node_gets_no_pods_and_a_drained_one_loses_them() {
    let server = three_nodes(&[]);
    server.ok(Tool::Kubectl, &["cordon", "node-2"]);
    let nodes = server.ok(Tool::Wk, &["get", "nodes"]);
    let line = nodes.lines().find(|line| line.starts_with("node-2")).unwrap();
    assert!(line.contains("Ready,SchedulingDisabled"), "{nodes}");
    deploy(&server, "web", 4, "");
    rolled_out(&server, "web");
    assert_eq!(placement(&server, "web").get("node-2"), None);
    server.ok(Tool::Kubectl, &["uncordon", "node-2"]);
    let drained = server.ok(Tool::Kubectl, &["drain", "node-1", "--ignore-daemonsets"]);
    assert!(drained.contains("node/node-1 drained"), "{drained}");
    rolled_out(&server, "web");
    assert_eq!(placement(&server, "web").get("node-1"), None);
    assert!(placement(&server, "web").contains_key("node-2"), "it takes pods again");
    let all = ["node-1", "node-2", "node-3"];
    all.iter().for_each(|node| drop(server.ok(Tool::Kubectl, &["cordon", node])));
    deploy(&server, "stuck", 1, "");
    let message = r#"jsonpath={.items[0].status.conditions[?(@.type=="PodScheduled")].message}"#;
    let get = ["get", "pods", "-l", "app=stuck", "-o", message];
    let seen = server.until(&get, "refused", |seen| !seen.is_empty());
    assert_eq!(
        seen,
        "0/3 nodes are available: 3 node(s) were unschedulable. preemption: 0/3 nodes are available: 3 Preemption is \
         not helpful for scheduling."
    );
    server.ok(Tool::Kubectl, &["uncordon", "node-3"]);
    rolled_out(&server, "stuck");
}

#[test]
fn a_drain_asks_before_anything_is_lost() {
    let server = three_nodes(&[]);
    let pin = "nodeSelector: {kubernetes.io/hostname: node-2}";
    deploy(&server, "web", 1, &format!("{pin}\n      volumes: [{{name: scratch, emptyDir: {{}}}}]"));
    rolled_out(&server, "web");
    let overrides = r#"{"spec":{"nodeName":"node-2"}}"#;
    let image = format!("--image={HELLO}");
    let run = ["run", "bare", &image, "--image-pull-policy=IfNotPresent", "--overrides", overrides];
    server.ok(Tool::Kubectl, &run);
    server.wait_for(Tool::Kubectl, "Ready", &["pod/bare"]);
    let drain = |more: &[&'static str]| [&["drain", "node-2", "--grace-period=1", "--timeout=60s"], more].concat();
    let refused = server.fails(Tool::Kubectl, &drain(&[]));
    assert!(refused.contains("(use --delete-emptydir-data to override): default/web-"), "{refused}");
    let bare = "cannot delete Pods that declare no controller (use --force to override): default/bare";
    assert!(refused.contains(bare), "{refused}");
    let left = server.ok(Tool::Kubectl, &["get", "pods", "-o", "jsonpath={.items[*].metadata.deletionTimestamp}"]);
    assert_eq!(left, "", "a refusal deletes nothing");
    let drained = server.ok(Tool::Kubectl, &drain(&["--force", "--delete-emptydir-data"]));
    assert!(drained.contains("pod/bare evicted") && drained.contains("node/node-2 drained"), "{drained}");
    server.fails(Tool::Kubectl, &["get", "pod", "bare"]);
    let message = r#"jsonpath={.items[0].status.conditions[?(@.type=="PodScheduled")].message}"#;
    let reasons = ["1 node(s) were unschedulable", "2 node(s) didn't match Pod's node affinity/selector"];
    let waits = |seen: &str| reasons.iter().all(|reason| seen.contains(reason));
    server.until(&["get", "pods", "-l", "app=web", "-o", message], "the replacement waits for its node", waits);
}

#[test]
fn a_node_is_described() {
    let server = three_nodes(&[]);
    deploy(&server, "web", 3, "");
    rolled_out(&server, "web");
    let seen = server.ok(Tool::Kubectl, &["describe", "node", "node-2"]);
    let seen = seen.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in [
        "kubernetes.io/hostname=node-2",
        "Taints: <none>",
        "Unschedulable: false",
        "KubeletHasSufficientMemory kubelet has sufficient memory available",
        "KubeletHasNoDiskPressure kubelet has no disk pressure",
        "KubeletHasSufficientPID kubelet has sufficient PID available",
        "KubeletReady kubelet is posting ready status",
        "InternalIP: 10.244.16.1",
        "Hostname: node-2",
        "Container Runtime Version: wasmtime://",
        "Kubelet Version: v1.33.",
        "PodCIDR: 10.244.16.0/20",
        "Non-terminated Pods: (1 in total)",
        "Allocated resources:",
        "RegisteredNode",
    ] {
        assert!(seen.contains(text), "no {text:?} in:\n{seen}");
    }
    // The kubelet looks every ten seconds, as upstream's.
    let images = ["get", "node", "node-2", "-o", "jsonpath={.status.images[*].names[0]}"];
    server.until(&images, "the image is told", |names| names.contains(HELLO));
    let both = "jsonpath={.status.capacity.pods} {.status.allocatable.pods}";
    let pods = server.ok(Tool::Kubectl, &["get", "node", "node-2", "-o", both]);
    let (capacity, allocatable) = pods.split_once(' ').unwrap();
    assert!(capacity.parse::<u32>().unwrap() >= 110 && capacity == allocatable, "{pods}");
}

#[test]
fn labels_selectors_and_affinity_say_where_pods_go() {
    let server = three_nodes(&[]);
    server.ok(Tool::Kubectl, &["label", "nodes", "node-2", "disk=ssd"]);
    deploy(&server, "selected", 3, "nodeSelector: {disk: ssd}");
    let terms = "nodeSelectorTerms: [{matchExpressions: [{key: disk, operator: DoesNotExist}], matchFields: [{key: metadata.name, operator: NotIn, values: [node-1]}]}]";
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    deploy(&server, "attracted", 3, &format!("affinity: {{nodeAffinity: {{{required}: {{{terms}}}}}}}"));
    let apart = |app| {
        format!("{required}: [{{topologyKey: kubernetes.io/hostname, labelSelector: {{matchLabels: {{app: {app}}}}}}}]")
    };
    deploy(&server, "apart", 3, &format!("affinity: {{podAntiAffinity: {{{}}}}}", apart("apart")));
    rolled_out(&server, "selected");
    deploy(&server, "near", 3, &format!("affinity: {{podAffinity: {{{}}}}}", apart("selected")));
    for name in ["attracted", "apart", "near"] {
        rolled_out(&server, name);
    }
    assert_eq!(placement(&server, "selected"), only_on("node-2", 3));
    assert_eq!(placement(&server, "attracted"), only_on("node-3", 3));
    assert_eq!(placement(&server, "near"), only_on("node-2", 3));
    assert_eq!(placement(&server, "apart").len(), 3);
    server.ok(Tool::Kubectl, &["scale", "deployment", "apart", "--replicas=4"]);
    let messages = r#"jsonpath={.items[*].status.conditions[?(@.type=="PodScheduled")].message}"#;
    let refused = |seen: &str| seen.contains("3 node(s) didn't match pod anti-affinity rules");
    server.until(&["get", "pods", "-l", "app=apart", "-o", messages], "refused", refused);
}

#[test]
fn taints_keep_pods_away_and_drive_them_out() {
    let server = three_nodes(&[]);
    for node in ["node-1", "node-2"] {
        server.ok(Tool::Kubectl, &["taint", "nodes", node, "dedicated=db:NoSchedule"]);
    }
    deploy(&server, "web", 3, "");
    deploy(
        &server,
        "db",
        2,
        "tolerations: [{key: dedicated, value: db}]\n      nodeSelector: {kubernetes.io/hostname: node-1}",
    );
    rolled_out(&server, "web");
    rolled_out(&server, "db");
    assert_eq!(placement(&server, "web"), only_on("node-3", 3));
    assert_eq!(placement(&server, "db"), only_on("node-1", 2));
    for node in ["node-1", "node-2"] {
        server.ok(Tool::Kubectl, &["taint", "nodes", node, "dedicated-"]);
    }
    // Out at once, and replaced elsewhere; who tolerates it for a second leaves then.
    let patient = "tolerations: [{key: broken, operator: Exists, effect: NoExecute, tolerationSeconds: 1}]\n      affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100, preference: {matchFields: [{key: metadata.name, operator: In, values: [node-3]}]}}]}}";
    deploy(&server, "patient", 1, patient);
    rolled_out(&server, "patient");
    assert_eq!(placement(&server, "patient"), only_on("node-3", 1));
    server.ok(Tool::Kubectl, &["taint", "nodes", "node-3", "broken=yes:NoExecute"]);
    let nodes = r"jsonpath={.items[*].spec.nodeName}";
    let gone = |seen: &str| !seen.is_empty() && !seen.contains("node-3");
    server.until(&["get", "pods", "-l", "app=web", "-o", nodes], "left the node", gone);
    rolled_out(&server, "web");
    let still = server.ok(Tool::Wk, &["get", "events", "-o", "jsonpath={.items[*].reason}"]);
    assert!(still.contains("TaintManagerEviction"), "{still}");
}

#[test]
fn a_lost_node_loses_its_pods_and_comes_back_clean() {
    let server = three_nodes(&["--node-monitor-grace-period", "5s"]);
    let brief = |taint| {
        format!("{{key: node.kubernetes.io/{taint}, operator: Exists, effect: NoExecute, tolerationSeconds: 1}}")
    };
    deploy(&server, "web", 6, &format!("tolerations: [{}, {}]", brief("not-ready"), brief("unreachable")));
    rolled_out(&server, "web");
    assert!(placement(&server, "web").contains_key("node-2"));
    assert_eq!(server.ok(Tool::Wk, &["node", "stop", "node-2"]), "node/node-2 stopped\n");
    let ready = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
    server.until(&["get", "node", "node-2", "-o", ready], "silent", |seen| seen == "Unknown");
    let row = server.ok(Tool::Kubectl, &["get", "node", "node-2"]);
    assert!(row.contains("NotReady"), "{row}");
    let on_it = ["get", "pods", "-l", "app=web", "--field-selector", "spec.nodeName=node-2", "-o"];
    let ending = [&on_it[..], &["jsonpath={range .items[*]}{.metadata.deletionTimestamp},{end}"]].concat();
    server.until(&ending, "evicted", |seen| seen.split_terminator(',').all(|time| !time.is_empty()));
    rolled_out(&server, "web");
    // Back, it learns that its pods were given up, and takes new ones.
    assert_eq!(server.ok(Tool::Wk, &["node", "start", "node-2"]), "node/node-2 started\n");
    server.wait_for(Tool::Kubectl, "Ready", &["node/node-2"]);
    server.until(&[&on_it[..], &["name"]].concat(), "clean", str::is_empty);
    server.ok(Tool::Kubectl, &["scale", "deployment", "web", "--replicas=9"]);
    rolled_out(&server, "web");
    assert!(placement(&server, "web").contains_key("node-2"), "it takes pods again");
    let unknown = server.fails(Tool::Wk, &["node", "stop", "node-9"]);
    assert!(unknown.contains(r#"this server has no node "node-9""#), "{unknown}");
}
