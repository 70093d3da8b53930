//! A client of a service while the pods behind it come and go.

use super::SETTLES;
use crate::{
    Config, Connection, Network, PodConfig, PodPort, TcpListener,
    services::{Backends, Protocol, ServiceTable},
};
use std::{
    future::Future,
    io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset},
    net::SocketAddr,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};
use wk_platform::Entropy;

const PORT: u16 = 80;

fn service() -> SocketAddr {
    SocketAddr::from(([10, 96, 0, 1], PORT))
}

/// A network, a client, and two servers behind [`service`].
struct Scene {
    network: Network,
    client: PodPort,
    servers: [(PodPort, TcpListener); 2],
}

fn listening(network: &Network) -> (PodPort, TcpListener) {
    let pod = attach(network);
    let listener = pod.listen(any(), 64).expect("free");
    (pod, listener)
}

fn attach(network: &Network) -> PodPort {
    network.attach("10.244.1.0/24".parse().expect("valid"), PodConfig::default()).expect("room")
}

fn any() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], PORT))
}

fn lead_to(network: &Network, pods: &[&PodPort]) {
    let endpoints = pods.iter().map(|pod| SocketAddr::new(pod.address(), PORT)).collect();
    let mut table = ServiceTable::default();
    table.insert(Protocol::Tcp, service(), Backends { endpoints, ..Backends::default() });
    network.set_services(table);
}

impl Scene {
    fn new() -> Self {
        let inside = vec!["10.244.0.0/16".parse().expect("valid")];
        let network = Network::new(Config { inside, ..Config::new(Entropy::seeded(1)) });
        let (client, servers) = (attach(&network), [listening(&network), listening(&network)]);
        lead_to(&network, &[&servers[0].0, &servers[1].0]);
        Self { network, client, servers }
    }

    async fn connect(&self) -> Connection {
        self.client.connect(service()).await.expect("a backend listens")
    }

    /// Connections that have said `hello`, and wait at either server.
    async fn greetings(&self, count: usize) -> Vec<Connection> {
        let mut all = Vec::new();
        for _ in 0..count {
            let mut connection = self.connect().await;
            connection.write_all(b"hello").await.expect("open");
            all.push(connection);
        }
        all
    }
}

/// Serves `count` connections that say `hello`.
async fn serve(listener: &mut TcpListener, count: usize) {
    for _ in 0..count {
        let mut inside = listener.accept().await.expect("connected");
        inside.read_exact(&mut [0; 5]).await.expect("a greeting");
        inside.write_all(b"welcome").await.expect("open");
    }
}

async fn all_welcome(clients: Vec<Connection>) {
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("served");
        assert_eq!(answer, "welcome");
    }
}

#[tokio::test]
async fn a_backend_that_stops_is_passed_over() {
    let Scene { network, client, servers: [(going, _closed), (_staying, mut listener)] } = Scene::new();
    assert!(going.stop_listening());
    for _ in 0..50 {
        let _near = client.connect(service()).await.expect("the other backend listens");
        listener.try_accept().expect("it came here");
    }
    drop(network);
}

#[tokio::test]
async fn what_waits_at_a_closing_listener_is_served_by_another_backend() {
    let mut scene = Scene::new();
    let clients = scene.greetings(40).await;
    scene.servers[0].0.stop_listening();
    serve(&mut scene.servers[1].1, 40).await;
    all_welcome(clients).await;
}

#[tokio::test]
async fn what_was_accepted_and_left_untouched_is_served_by_another_backend() {
    let mut scene = Scene::new();
    let clients = scene.greetings(40).await;
    let (going, listener) = &mut scene.servers[0];
    let mut accepted = Vec::new();
    while let Ok(connection) = listener.try_accept() {
        accepted.push(connection);
    }
    assert!(!accepted.is_empty() && accepted.len() < 40, "both have some");
    going.stop_listening();
    drop(accepted);
    serve(&mut scene.servers[1].1, 40).await;
    all_welcome(clients).await;
    assert_eq!(scene.servers[0].0.queued_bytes() + scene.servers[1].0.queued_bytes(), 0);
    assert_eq!(scene.servers[0].0.socket_count(), 1, "only its listener");
}

#[tokio::test]
async fn a_crash_between_two_requests_is_not_noticed() {
    let scene = Scene::new();
    let clients = scene.greetings(20).await;
    let [(crashed, listener), (_staying, mut other)] = scene.servers;
    drop(listener);
    serve(&mut other, 20).await;
    drop(crashed);
    all_welcome(clients).await;
}

#[tokio::test]
async fn a_connection_that_the_server_has_touched_stays_with_it() {
    let mut scene = Scene::new();
    lead_to(&scene.network, &[&scene.servers[0].0]);
    let [mut read, mut written] = [scene.connect().await, scene.connect().await];
    read.write_all(b"hello").await.expect("open");
    let (going, listener) = &mut scene.servers[0];
    let mut inside = [listener.try_accept().expect("first"), listener.try_accept().expect("second")];
    inside[0].read_exact(&mut [0; 5]).await.expect("a greeting");
    inside[1].write_all(b"banner").await.expect("open");
    lead_to(&scene.network, &[&going.clone(), &scene.servers[1].0]);
    scene.servers[0].0.stop_listening();
    drop(inside);
    assert_eq!(read.read(&mut [0; 8]).await.expect("the end"), 0);
    let mut text = String::new();
    written.read_to_string(&mut text).await.expect("the end");
    assert_eq!(text, "banner");
    assert!(scene.servers[1].1.try_accept().is_err(), "nothing moved");
}

#[tokio::test]
async fn a_connection_to_the_pod_itself_may_still_be_accepted() {
    let mut scene = Scene::new();
    let (going, listener) = &mut scene.servers[0];
    let mut near = scene.client.connect(SocketAddr::new(going.address(), PORT)).await.expect("listening");
    near.write_all(b"hello").await.expect("open");
    going.stop_listening();
    serve(listener, 1).await;
    all_welcome(vec![near]).await;
    assert_eq!(listener.accept().await.err().map(|error| error.kind()), Some(ConnectionAborted));
}

/// `future`'s result and how long it took.
async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let started = Instant::now();
    (future.await, started.elapsed())
}

#[tokio::test(start_paused = true)]
async fn when_all_backends_are_going_the_tables_are_waited_for() {
    let mut scene = Scene::new();
    lead_to(&scene.network, &[&scene.servers[0].0]);
    let mut early = scene.greetings(1).await;
    scene.servers[0].0.stop_listening();
    let late = scene.client.connect(service());
    let after = Duration::from_millis(300);
    let publish = async {
        tokio::time::sleep(after).await;
        lead_to(&scene.network, &[&scene.servers[1].0]);
    };
    let ((late, ()), took) = timed(async { tokio::join!(late, publish) }).await;
    let mut late = late.expect("the other backend listens");
    assert_eq!(took, after);
    late.write_all(b"hello").await.expect("open");
    early.push(late);
    serve(&mut scene.servers[1].1, 2).await;
    all_welcome(early).await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_has_just_started_is_waited_for() {
    let scene = Scene::new();
    let starting = attach(&scene.network);
    lead_to(&scene.network, &[&starting]);
    let after = Duration::from_millis(300);
    let listen = async {
        tokio::time::sleep(after).await;
        starting.listen(any(), 8).expect("free")
    };
    let ((near, mut listener), took) = timed(async { tokio::join!(scene.client.connect(service()), listen) }).await;
    near.expect("it listens now");
    listener.try_accept().expect("connected");
    assert_eq!(took, after);
}

#[tokio::test(start_paused = true)]
async fn patience_ends_and_without_hope_there_is_none() {
    let scene = Scene::new();
    lead_to(&scene.network, &[&scene.servers[0].0]);
    let mut orphan = scene.greetings(1).await.remove(0);
    scene.servers[0].0.stop_listening();
    let (refused, took) = timed(scene.client.connect(service())).await;
    assert_eq!((refused.err().map(|error| error.kind()), took), (Some(ConnectionRefused), SETTLES));
    // Any later change of a table or listener ends the others.
    lead_to(&scene.network, &[&scene.servers[0].0]);
    assert_eq!(orphan.read(&mut [0]).await.err().map(|error| error.kind()), Some(ConnectionReset));
    let (refused, took) = timed(scene.client.connect(service())).await;
    assert_eq!((refused.err().map(|error| error.kind()), took), (Some(ConnectionRefused), Duration::ZERO));
}

#[tokio::test]
async fn without_backends_what_waits_is_reset_at_once() {
    let scene = Scene::new();
    let mut orphans = scene.greetings(4).await;
    lead_to(&scene.network, &[]);
    for (pod, _) in &scene.servers {
        pod.stop_listening();
    }
    for orphan in &mut orphans {
        assert_eq!(orphan.read(&mut [0]).await.err().map(|error| error.kind()), Some(ConnectionReset));
    }
}
