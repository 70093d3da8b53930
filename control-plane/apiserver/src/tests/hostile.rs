//! Requests that nobody means well by: whatever comes, the server answers, does
//! not panic, and keeps serving.

use super::Cluster;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};
use std::time::Duration;
use tower::ServiceExt;
use wk_platform::{UserInfo, http::full};

/// How long any answer may take here; a watch is answered at once, too.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
struct Hostile {
    method: &'static str,
    path: String,
    query: Vec<(&'static str, String)>,
    content_type: &'static str,
    accept: &'static str,
    body: Vec<u8>,
}

const SEGMENTS: &[&str] = &[
    "api",
    "apis",
    "v1",
    "apps",
    "batch",
    "rbac.authorization.k8s.io",
    "namespaces",
    "default",
    "pods",
    "configmaps",
    "secrets",
    "deployments",
    "services",
    "nodes",
    "events",
    "web",
    "n1",
    "status",
    "scale",
    "log",
    "exec",
    "attach",
    "portforward",
    "proxy",
    "binding",
    "eviction",
    "ephemeralcontainers",
    "token",
    "finalize",
    "watch",
    "openapi",
    "v2",
    "v3",
    "healthz",
    "version",
    "metrics",
    "..",
    ".",
    "%2e%2e",
    "%00",
    "%ff",
    "http:web:80",
];

const PARAMETERS: &[&str] = &[
    "labelSelector",
    "fieldSelector",
    "resourceVersion",
    "resourceVersionMatch",
    "limit",
    "continue",
    "timeoutSeconds",
    "sendInitialEvents",
    "allowWatchBookmarks",
    "dryRun",
    "fieldManager",
    "fieldValidation",
    "force",
    "gracePeriodSeconds",
    "propagationPolicy",
    "orphanDependents",
    "pretty",
    "includeObject",
    "command",
    "container",
    "tailLines",
    "limitBytes",
    "sinceSeconds",
    "sinceTime",
    "follow",
    "previous",
    "watch",
    "ports",
    "stdin",
    "tty",
    "path",
];

const VALUES: &[&str] = &[
    "",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "9223372036854775807",
    "9223372036854775808",
    "1e9",
    "NaN",
    "All",
    "Exact",
    "NotOlderThan",
    "a=b",
    "a in (b,c)",
    "a notin (",
    "!a",
    "a>b",
    "metadata.name=web",
    "spec.nodeName!=",
    "status.phase=\\",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiLi4vLi4vIn0",
    "Foreground",
    "Orphan",
    "Strict",
    "Warn",
    "2006-01-02T15:04:05Z",
    "2006-13-02",
    "\u{0}",
    "é",
    "<script>",
];

const CONTENT_TYPES: &[&str] = &[
    "",
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/apply-patch+cbor",
    "application/cbor",
    "text/plain",
    "application/json; charset=\"",
    ";;;",
];

const ACCEPTS: &[&str] = &[
    "",
    "*/*",
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,*/*;q=0.1",
    "application/json;as=Nothing",
    "image/png",
    ";q=",
];

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(words)
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![8 => one_of(SEGMENTS).prop_map(str::to_owned), 1 => "[a-zA-Z0-9:%.~-]{0,12}"];
    let anything = proptest::collection::vec(segment, 0..9).prop_map(|parts| format!("/{}", parts.join("/")));
    let kinds = [
        "/api/v1/namespaces/default/pods",
        "/api/v1/namespaces/default/configmaps",
        "/api/v1/nodes",
        "/apis/apps/v1/namespaces/default/deployments",
        "/api/v1/namespaces/default/services",
        "/api/v1/namespaces",
    ];
    let known = (
        proptest::sample::select(kinds.to_vec()),
        prop_oneof![Just(""), Just("/web"), Just("/web/status"), Just("/web/scale")],
    )
        .prop_map(|(kind, rest)| format!("{kind}{rest}"));
    prop_oneof![anything, known]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        one_of(VALUES).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        one_of(&[
            "apiVersion",
            "kind",
            "metadata",
            "name",
            "namespace",
            "labels",
            "spec",
            "status",
            "containers",
            "image",
            "ports",
            "port",
            "selector",
            "template",
            "replicas",
            "data",
            "finalizers",
            "ownerReferences",
            "managedFields",
            "fieldsV1",
            "f:spec",
            "k:{\"name\":\"a\"}",
            "resources",
            "limits",
            "cpu",
            "$patch",
            "$retainKeys",
            "$setElementOrder/containers",
            "$deleteFromPrimitiveList/finalizers",
            "op",
            "path",
            "value",
            "from"
        ])
        .prop_map(str::to_owned),
        ".{0,6}",
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        let list = proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from);
        let map = proptest::collection::btree_map(key.clone(), inner, 0..6).prop_map(|map| json!(map));
        prop_oneof![list, map]
    })
}

/// A valid object with one of its values replaced by anything.
fn nearly_valid() -> impl Strategy<Value = Value> {
    let objects = [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "labels": {"a": "b"}}, "data": {"k": "v"}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
               "spec": {"containers": [{"name": "c", "image": "i:1", "ports": [{"containerPort": 80}],
                        "resources": {"limits": {"cpu": "1"}}, "env": [{"name": "A", "value": "b"}]}]}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
               "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "strategy": {"rollingUpdate": {"maxSurge": "25%"}},
                        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
               "spec": {"type": "NodePort", "selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": "http"}]}}),
    ];
    (proptest::sample::select(objects.to_vec()), any::<proptest::sample::Index>(), any_json()).prop_map(
        |(mut object, at, other)| {
            let mut places = Vec::new();
            pointers(&object, String::new(), &mut places);
            let place = at.get(&places).clone();
            if let Some(value) = object.pointer_mut(&place) {
                *value = other;
            }
            object
        },
    )
}

fn pointers(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| pointers(value, format!("{at}/{key}"), all)),
        Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(index, value)| pointers(value, format!("{at}/{index}"), all))
        }
        _ => {}
    }
    all.push(at);
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let protobuf = proptest::collection::vec(any::<u8>(), 0..120).prop_map(|bytes| [b"k8s\0".to_vec(), bytes].concat());
    prop_oneof![
        1 => Just(Vec::new()),
        1 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => protobuf,
        3 => any_json().prop_map(|value| value.to_string().into_bytes()),
        1 => proptest::collection::vec(any_json(), 0..4).prop_map(|list| Value::from(list).to_string().into_bytes()),
        5 => nearly_valid().prop_map(|value| value.to_string().into_bytes()),
    ]
}

fn hostile() -> impl Strategy<Value = Hostile> {
    let parameter = (one_of(PARAMETERS), prop_oneof![4 => one_of(VALUES).prop_map(str::to_owned), 1 => ".{0,16}"]);
    let query = proptest::collection::vec(parameter, 0..4);
    let method = one_of(&["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW"]);
    (method, path(), query, one_of(CONTENT_TYPES), one_of(ACCEPTS), body()).prop_map(
        |(method, path, query, content_type, accept, body)| Hostile { method, path, query, content_type, accept, body },
    )
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

impl Hostile {
    /// `None` when the HTTP library would refuse it before the server sees it.
    fn request(&self) -> Option<wk_platform::http::Request> {
        let query: Vec<String> = self.query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let request = Request::builder()
            .method(Method::from_bytes(self.method.as_bytes()).ok()?)
            .uri(format!("{}?{}", self.path, query.join("&")))
            .extension(UserInfo::admin())
            .header("content-type", self.content_type)
            .header("accept", self.accept);
        request.body(full(Bytes::from(self.body.clone()))).ok()
    }
}

impl Cluster {
    /// The code of the answer and what of it comes soon.
    async fn hostile(&self, request: wk_platform::http::Request) -> (u16, Vec<u8>) {
        let asked = self.server.service().oneshot(request);
        let response = tokio::time::timeout(PATIENCE, asked).await.expect("an answer in time").expect("infallible");
        let code = response.status().as_u16();
        // A watch goes on; its beginning is enough.
        let body = tokio::time::timeout(Duration::from_millis(20), response.into_body().collect()).await;
        let bytes = body.ok().and_then(Result::ok).map(|body| body.to_bytes().to_vec()).unwrap_or_default();
        (code, bytes)
    }
}

#[test]
fn whatever_comes_is_answered() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
    let cluster = runtime.block_on(async {
        let cluster = Cluster::start().await;
        cluster.post("serviceaccounts", json!({"metadata": {"name": "default"}})).await;
        cluster
    });
    let config = ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() };
    let checked = TestRunner::new(config).run(&hostile(), |hostile| {
        let Some(request) = hostile.request() else { return Ok(()) };
        let (code, body) = runtime.block_on(cluster.hostile(request));
        let text = String::from_utf8_lossy(&body);
        prop_assert!(!text.contains("the request handler failed"), "a panic: {} {}", code, text);
        prop_assert!(code != 500 || !text.contains("InternalError"), "{} {}", code, text);
        Ok(())
    });
    checked.expect("every request is answered");
    let (code, _) = runtime.block_on(cluster.send("GET", "/readyz", "", Value::Null));
    assert_eq!(code, 200, "and it goes on");
}

#[tokio::test]
async fn bodies_that_are_too_deep_or_too_large_are_refused() {
    let cluster = Cluster::start().await;
    let path = "/api/v1/namespaces/default/configmaps";
    let send = async |content_type: &'static str, body: String| {
        let request = Request::post(path).extension(UserInfo::admin()).header("content-type", content_type);
        let (code, body) = cluster.hostile(request.body(full(body)).expect("a request")).await;
        (code, String::from_utf8_lossy(&body).into_owned())
    };
    let deep = |open: &str, close: &str, levels: usize| {
        format!("{{\"metadata\":{{\"name\":\"a\"}},\"data\":{}{}}}", open.repeat(levels), close.repeat(levels))
    };
    for (content_type, body) in [
        ("application/json", deep("[", "]", 100_000)),
        ("application/json", deep("{\"a\":", "}", 100_000)),
        ("application/yaml", deep("[", "]", 100_000)),
        ("application/yaml", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n".to_owned()),
    ] {
        let (code, said) = send(content_type, body).await;
        assert_eq!(code, 400, "{content_type}: {said}");
    }
    let (code, said) = send("application/json", "x".repeat(4 << 20)).await;
    assert_eq!(code, 413, "{said}");
    assert!(said.contains("Request entity too large: limit is 3145728"), "{said}");
}

#[tokio::test]
async fn watchers_that_do_not_read_hold_nobody_up_and_are_told() {
    let cluster = Cluster::start().await;
    let path = "/api/v1/namespaces/default/configmaps";
    let mut watches = Vec::new();
    for _ in 0..2_000 {
        let request = Request::get(format!("{path}?watch=1")).extension(UserInfo::admin());
        let request = request.body(full("")).expect("a request");
        watches.push(cluster.server.service().oneshot(request).await.expect("infallible"));
    }
    assert_eq!(cluster.post("configmaps", json!({"metadata": {"name": "a"}, "data": {}})).await.0, 201);
    // More than any history keeps.
    for round in 0..6_000 {
        let patch = json!({"data": {"round": round.to_string()}});
        let (code, _) = cluster.send("PATCH", &format!("{path}/a"), "application/merge-patch+json", patch).await;
        assert_eq!(code, 200);
    }
    let mut body = watches.swap_remove(7).into_body();
    let mut last = String::new();
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(Duration::from_secs(2), body.frame()).await {
        last = String::from_utf8_lossy(frame.data_ref().expect("data")).into_owned();
        if last.contains("\"ERROR\"") {
            break;
        }
    }
    let told = last.contains("too old resource version") && last.contains("410");
    assert!(told || last.contains("\"round\":\"5999\""), "neither the end nor that it is lost: {last}");
}
