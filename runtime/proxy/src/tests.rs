//! The whole proxy against a small server of lists and watches.

use super::*;
use bytes::Bytes;
use futures::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::{Value, json};
use std::{io, net::SocketAddr, sync::Mutex};
use tokio::sync::mpsc;
use wk_network::{PodConfig, names::Record, services::Protocol};
use wk_platform::Entropy;

/// Longer than anything here takes on a busy machine; the clock is virtual.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers a list with what it has, and a watch with what it is told.
struct Server {
    lists: Mutex<Vec<(&'static str, Value)>>,
    watches: Mutex<Vec<(&'static str, mpsc::Receiver<Value>)>>,
}

type Body = StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, io::Error>>>;

impl Server {
    fn answer(&self, uri: &http::Uri) -> http::Response<Body> {
        let is = |(suffix, _): &&(&'static str, Value)| uri.path().ends_with(*suffix);
        let bytes = |value: &Value| Ok(Frame::data(Bytes::from(format!("{value}\n"))));
        if !uri.query().unwrap_or_default().contains("watch=true") {
            let lists = self.lists.lock().expect("no test panics here");
            let items = lists.iter().filter(is).map(|(_, object)| object.clone()).collect::<Vec<_>>();
            let list = json!({"metadata": {"resourceVersion": "1"}, "items": items});
            return http::Response::new(Body::new(stream::iter([bytes(&list)]).boxed()));
        }
        let mut watches = self.watches.lock().expect("no test panics here");
        let Some(index) = watches.iter().position(|(suffix, _)| uri.path().ends_with(suffix)) else {
            return http::Response::new(Body::new(stream::pending().boxed()));
        };
        let (_, told) = watches.remove(index);
        let events = stream::unfold(told, |mut told| async { told.recv().await.map(|event| (event, told)) });
        http::Response::new(Body::new(events.map(move |event| bytes(&event)).boxed()))
    }
}

fn service(name: &str, address: &str) -> Value {
    let ports = json!([{"port": 80, "protocol": "TCP"}]);
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "shop", "resourceVersion": "2"},
        "spec": {"clusterIP": address, "ports": ports},
    })
}

fn slice(address: &str) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"name": "", "port": 8080}], "endpoints": [{"addresses": [address]}],
    })
}

/// Waits until `condition` holds, in virtual time.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(PUBLISH_INTERVAL).await;
        }
    };
    tokio::time::timeout(PATIENCE, holds).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test(start_paused = true)]
async fn tables_follow_the_cluster() {
    let network = Network::new(wk_network::Config::new(Entropy::seeded(1)));
    let pod = network.attach("10.244.1.0/24".parse().expect("valid"), PodConfig::default()).expect("room");
    let address = pod.address().to_string();
    let (tell, told) = mpsc::channel(8);
    let server = Arc::new(Server {
        lists: Mutex::new(vec![
            ("/services", service("web", "10.96.0.1")),
            ("/endpointslices", slice(&address)),
            ("/pods", json!({"metadata": {"name": "a", "namespace": "shop"}, "status": {"podIP": address}})),
        ]),
        watches: Mutex::new(vec![("/services", told)]),
    });
    let answering = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let response = server.answer(request.uri());
        async move { Ok::<_, io::Error>(response) }
    });
    let config = Config {
        client: Client::new(answering, "default"),
        network: network.clone(),
        cluster_domain: "cluster.local".to_owned(),
        node_ports: None,
    };
    let tasks = TaskGroup::new();
    let working = tasks.clone();
    tasks.spawn_to_completion("proxy", OnError::Log, async move {
        Proxy::new(config).run(working).await;
        Ok::<_, Infallible>(())
    });

    let virtual_port = |text: &str| (Protocol::Tcp, text.parse::<SocketAddr>().expect("valid"));
    let (protocol, web) = virtual_port("10.96.0.1:80");
    until("the first list is published", || network.services().get(protocol, web).is_some()).await;
    let endpoints = network.services().get(protocol, web).expect("published").endpoints.clone();
    assert_eq!(endpoints, [SocketAddr::new(pod.address(), 8080)]);
    let name = "web.shop.svc.cluster.local";
    assert_eq!(network.names().get(name), Some(&Record::Addresses(vec![web.ip()])));
    let pod_name = format!("{}.shop.pod.cluster.local", address.replace('.', "-"));
    until("pods are named", || network.names().get(&pod_name).is_some()).await;

    tell.send(json!({"type": "ADDED", "object": service("api", "10.96.0.2")})).await.expect("watched");
    let (protocol, api) = virtual_port("10.96.0.2:80");
    until("a new service is published", || network.services().get(protocol, api).is_some()).await;
    tell.send(json!({"type": "DELETED", "object": service("web", "10.96.0.1")})).await.expect("watched");
    until("a deleted service is gone", || network.services().get(protocol, web).is_none()).await;
    assert_eq!(network.names().get(name), None);
    tasks.shutdown(PATIENCE).await.expect("it stops when told");
}
