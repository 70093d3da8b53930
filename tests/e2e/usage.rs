//! `top`, against a server that has the metrics API, which `wk server` itself
//! has not: a few fixed answers are enough to see that both print the same.

use crate::{
    harness::{Server, Tool, text},
    pair::API_ONLY,
};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
};

const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The answer to a path, without its query.
fn answer(path: &str) -> Option<String> {
    let resource = |group: &str, version: &str, plural: &str, singular: &str, kind: &str, scope: &str| {
        format!(
            r#"{{"resource":"{plural}","singularResource":"{singular}","scope":"{scope}","verbs":["get","list"],"responseKind":{{"group":"{group}","version":"{version}","kind":"{kind}"}}}}"#
        )
    };
    let group = |name: &str, version: &str, resources: &[String]| {
        format!(
            r#"{{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{{}},"items":[{{"metadata":{{"name":"{name}"}},"versions":[{{"version":"{version}","freshness":"Current","resources":[{}]}}]}}]}}"#,
            resources.join(",")
        )
    };
    let node = |name: &str, cpu: &str, memory: &str| {
        format!(
            r#"{{"metadata":{{"name":"{name}"}},"timestamp":"2026-01-01T00:00:00Z","window":"10s","usage":{{"cpu":"{cpu}","memory":"{memory}"}}}}"#
        )
    };
    let pod = |namespace: &str, name: &str, uses: &[(&str, &str, &str)]| {
        let containers: Vec<String> = uses
            .iter()
            .map(|(name, cpu, memory)| format!(r#"{{"name":"{name}","usage":{{"cpu":"{cpu}","memory":"{memory}"}}}}"#))
            .collect();
        format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}"}},"timestamp":"2026-01-01T00:00:00Z","window":"10s","containers":[{}]}}"#,
            containers.join(",")
        )
    };
    let list = |kind: &str, items: &[String]| {
        format!(
            r#"{{"kind":"{kind}List","apiVersion":"metrics.k8s.io/v1beta1","metadata":{{}},"items":[{}]}}"#,
            items.join(",")
        )
    };
    let (small, big) = (
        pod("default", "small", &[("a", "12500u", "3Mi"), ("b", "1m", "2048Ki")]),
        pod("default", "big-one", &[("main", "1500m", "300Mi")]),
    );
    Some(match path {
        "/api" => group("", "v1", &[resource("", "v1", "nodes", "node", "Node", "Cluster"), resource("", "v1", "pods", "pod", "Pod", "Namespaced")]),
        "/apis" => group("metrics.k8s.io", "v1beta1", &[
            resource("metrics.k8s.io", "v1beta1", "nodes", "", "NodeMetrics", "Cluster"),
            resource("metrics.k8s.io", "v1beta1", "pods", "", "PodMetrics", "Namespaced"),
        ]),
        "/api/v1/nodes" => r#"{"kind":"NodeList","apiVersion":"v1","metadata":{},"items":[
            {"metadata":{"name":"n1"},"status":{"allocatable":{"cpu":"2","memory":"4Gi"},"capacity":{"cpu":"4","memory":"8Gi"}}},
            {"metadata":{"name":"n2"},"status":{"allocatable":{"cpu":"2","memory":"4Gi"},"capacity":{"cpu":"4","memory":"8Gi"}}}]}"#.to_owned(),
        "/apis/metrics.k8s.io/v1beta1/nodes" => list("NodeMetrics", &[node("n1", "250m", "1Gi"), node("n2", "1", "512Mi")]),
        "/apis/metrics.k8s.io/v1beta1/pods" => list("PodMetrics", &[small, big, pod("other", "x", &[("c", "0", "0")])]),
        "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods" => list("PodMetrics", &[small, big]),
        _ => return None,
    })
}

/// Serves those answers for as long as the test runs; its URL.
fn metrics_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let path = first.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
            let (code, body) = answer(&path).map_or(("404 Not Found", "{}".to_owned()), |body| ("200 OK", body));
            let kind = if path.len() <= 5 { DISCOVERY } else { "application/json" };
            let head = format!(
                "HTTP/1.1 {code}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            // A client that has gone asked for nothing any more.
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    url
}

#[test]
fn top_prints_as_kubectl_does() {
    let (server, url) = (Server::start_with(API_ONLY), metrics_server());
    for line in [
        "top nodes",
        "top node --sort-by=cpu",
        "top node --sort-by=memory --no-headers",
        "top node --show-capacity",
        "top pods",
        "top pod --sort-by=memory",
        "top pod --containers",
        "top pod -A",
        "top pod -A --containers --sum",
        "top pod --sum",
        "top pod --no-headers",
        "top pod --sort-by=age",
    ] {
        let told = Tool::BOTH.map(|tool| {
            let words: Vec<&str> = ["--server", &url, "-n", "default"].into_iter().chain(line.split(' ')).collect();
            let output = server.run(tool, &words);
            let plain = |bytes: &[u8]| text(bytes).lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
            (output.status.code(), plain(&output.stdout), plain(&output.stderr))
        });
        assert_eq!(told[0], told[1], "{line}");
    }
}
