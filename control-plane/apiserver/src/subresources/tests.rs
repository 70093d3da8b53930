//! The streams against a kubelet that says what it was asked.

use crate::{ApiServer, Config};
use futures::{SinkExt, StreamExt};
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{convert::Infallible, sync::Arc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};
use tower::ServiceExt;
use wk_platform::{
    Clock, Entropy, TaskGroup, UserInfo,
    http::{HttpService, Request, Response, empty, full},
    listen::{Listener, pipe},
    serve::{serve, serve_connection},
    tasks::OnError,
};
use wk_store::memory::MemoryStore;

struct Cluster {
    server: ApiServer,
    tasks: TaskGroup,
}

impl Cluster {
    /// A server with the node `n1` and the pod `default/web` on it.
    async fn start() -> Self {
        let tasks = TaskGroup::new();
        let config = Config {
            store: Arc::new(MemoryStore::new()),
            clock: Clock::system(),
            entropy: Entropy::seeded(7),
            service_cidr: "10.96.0.0/16".parse().expect("a network"),
            node_ports: 30000..=32767,
            advertise: "127.0.0.1:6443".parse().expect("an address"),
            tasks: tasks.clone(),
        };
        let cluster = Self { server: ApiServer::start(config).await.expect("starts"), tasks };
        let account = json!({"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "default"}});
        cluster.create("/api/v1/namespaces/default/serviceaccounts", account).await;
        cluster.create("/api/v1/nodes", json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n1"}})).await;
        cluster.create("/api/v1/namespaces/default/pods", pod("web", "n1")).await;
        cluster.create("/api/v1/namespaces/default/pods", pod("pending", "")).await;
        cluster.start_kubelet();
        cluster
    }

    fn start_kubelet(&self) {
        let (listener, connector) = pipe();
        self.server.nodes().register("n1", connector);
        let tasks = self.tasks.clone();
        let kubelet = HttpService::new(tower::service_fn(move |request: Request| {
            let answer = kubelet(&tasks, request);
            async move { Ok::<_, Infallible>(answer) }
        }));
        let work = serve(Listener::Pipe(listener), None, kubelet, self.tasks.clone());
        self.tasks.spawn("kubelet", OnError::StopGroup, work);
    }

    async fn create(&self, path: &str, object: Value) {
        let request = http::Request::post(path).header("content-type", "application/json");
        let (status, text) = self.send(request, object.to_string()).await;
        assert_eq!(status, 201, "{text}");
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.send(http::Request::get(path), String::new()).await
    }

    async fn send(&self, request: http::request::Builder, body: String) -> (u16, String) {
        let request = request.extension(UserInfo::admin()).body(full(body)).expect("a request");
        let response = self.server.service().oneshot(request).await.expect("never fails");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }
}

fn pod(name: &str, node: &str) -> Value {
    let containers = json!([{"name": "a", "image": "i:v1"}, {"name": "b", "image": "i:v1"}]);
    let spec = json!({"containers": containers, "nodeName": node});
    json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name}, "spec": spec})
}

/// Says what it was asked; container `b` has no log; an upgrade is an echo.
fn kubelet(tasks: &TaskGroup, mut request: Request) -> Response {
    let asked = request.uri().to_string();
    if request.headers().contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        return forward(tasks, request);
    }
    if let Some(protocol) = request.headers().get(header::UPGRADE).cloned() {
        assert!(!request.headers().contains_key(header::AUTHORIZATION), "credentials are not the kubelet's");
        let upgrade = hyper::upgrade::on(&mut request);
        tasks.spawn("echo", OnError::Log, async move {
            let mut stream = TokioIo::new(upgrade.await.map_err(std::io::Error::other)?);
            stream.write_all(asked.as_bytes()).await?;
            let (mut input, mut output) = tokio::io::split(stream);
            tokio::io::copy(&mut input, &mut output).await?;
            output.shutdown().await
        });
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        response.headers_mut().insert(header::UPGRADE, protocol);
        return response;
    }
    let mut response = Response::new(full(asked.clone()));
    if asked.contains("/web/b") {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        *response.body_mut() = full("container \"b\" in pod \"web\" is waiting to start: ContainerCreating");
    }
    response
}

/// A port-forward over channels to a port that answers any HTTP request, except
/// that port 81 is dead.
fn forward(tasks: &TaskGroup, mut request: Request) -> Response {
    let dead = request.uri().query() == Some("port=81");
    let key = request.headers()[header::SEC_WEBSOCKET_KEY].clone();
    let upgrade = hyper::upgrade::on(&mut request);
    tasks.spawn("port", OnError::Log, async move {
        let stream = TokioIo::new(upgrade.await.map_err(|_| Gone)?);
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let answer: &[u8] = if dead { b"\x01refused" } else { b"\x00HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" };
        for first in [b"\x00\x50\x00", b"\x01\x50\x00"] {
            socket.send(Message::binary(first.to_vec())).await.map_err(|_| Gone)?;
        }
        if !dead {
            socket.next().await.ok_or(Gone)?.map_err(|_| Gone)?;
        }
        socket.send(Message::binary(answer.to_vec())).await.map_err(|_| Gone)
    });
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept = derive_accept_key(key.as_bytes());
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&accept).expect("base64"));
    response
}

/// The other side has closed the connection.
#[derive(Debug, thiserror::Error)]
#[error("gone")]
struct Gone;

#[tokio::test]
async fn a_pods_port_is_proxied_to() {
    let cluster = Cluster::start().await;
    let answer = cluster.get("/api/v1/namespaces/default/pods/web:80/proxy/page").await;
    assert_eq!(answer, (200, "ok".to_owned()));
    let (status, text) = cluster.get("/api/v1/namespaces/default/pods/web:81/proxy/page").await;
    let message = serde_json::from_str::<Value>(&text).expect("a Status")["message"].clone();
    assert_eq!((status, message), (503, json!("error trying to reach service: refused")));
}

#[tokio::test]
async fn a_log_comes_from_the_kubelet() {
    let cluster = Cluster::start().await;
    let (status, text) = cluster.get("/api/v1/namespaces/default/pods/web/log?container=a&tailLines=5").await;
    assert_eq!((status, text.as_str()), (200, "/containerLogs/default/web/a?tailLines=5"));
    assert_eq!(cluster.get("/api/v1/namespaces/default/pods/pending/log?container=a").await, (204, String::new()));
}

#[tokio::test]
async fn why_there_is_no_log_is_a_status() {
    let cluster = Cluster::start().await;
    let message = |text: String| serde_json::from_str::<Value>(&text).expect("a Status")["message"].clone();
    let (status, text) = cluster.get("/api/v1/namespaces/default/pods/web/log?container=b").await;
    let expected = "container \"b\" in pod \"web\" is waiting to start: ContainerCreating";
    assert_eq!((status, message(text)), (400, json!(expected)));
    let (status, text) = cluster.get("/api/v1/namespaces/default/pods/web/log").await;
    let expected = "a container name must be specified for pod web, choose one of: [a b]";
    assert_eq!((status, message(text)), (400, json!(expected)));
    assert_eq!(cluster.get("/api/v1/namespaces/default/pods/nobody/log").await.0, 404);
}

#[tokio::test]
async fn an_upgraded_connection_is_passed_on_both_ways() {
    let cluster = Cluster::start().await;
    let (near, far) = tokio::io::duplex(1024);
    let (service, stop) = (cluster.server.service(), cluster.tasks.stopping());
    let tagged = HttpService::new(tower::service_fn(move |mut request: Request| {
        request.extensions_mut().insert(UserInfo::admin());
        service.clone().oneshot(request)
    }));
    cluster.tasks.spawn("api", OnError::Log, serve_connection(Box::new(far), tagged, None, stop));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.expect("connects");
    cluster.tasks.spawn("client", OnError::Log, connection.with_upgrades());
    let path = "/api/v1/namespaces/default/pods/web/exec?container=a&command=echo&command=a%20b&stdout=true";
    let request = http::Request::post(path)
        .header(header::HOST, "api")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "SPDY/3.1")
        .body(empty())
        .expect("a request");
    let mut response = sender.send_request(request).await.expect("an answer");
    assert_eq!(
        (response.status().as_u16(), &response.headers()["upgrade"]),
        (101, &HeaderValue::from_static("SPDY/3.1"))
    );
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.expect("upgrades"));
    stream.write_all(b" and back").await.expect("connected");
    stream.shutdown().await.expect("connected");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("ends");
    assert_eq!(text, "/exec/default/web/a?command=echo&command=a%20b&output=1 and back");
}

#[tokio::test]
async fn a_stream_needs_an_upgrade_a_node_and_a_way_to_it() {
    let cluster = Cluster::start().await;
    let get = async |path: &str| {
        let (status, text) = cluster.get(&format!("/api/v1/namespaces/default/pods/{path}")).await;
        let status_object: Value = serde_json::from_str(&text).expect("a Status");
        (status, status_object["message"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(get("web/portforward").await, (400, "Upgrade request required".to_owned()));
    let expected = (400, "pod pending does not have a host assigned".to_owned());
    assert_eq!(get("pending/exec?container=a&command=ls&stdout=1").await, expected);
    cluster.server.nodes().forget("n1");
    let expected = (500, "error dialing backend: node \"n1\" is not in this process".to_owned());
    assert_eq!(get("web/log?container=a").await, expected);
}

#[tokio::test]
async fn a_node_is_proxied_to() {
    let cluster = Cluster::start().await;
    let (status, text) = cluster.get("/api/v1/nodes/n1/proxy/stats/summary?only_cpu=1").await;
    assert_eq!((status, text.as_str()), (200, "/stats/summary?only_cpu=1"));
}
