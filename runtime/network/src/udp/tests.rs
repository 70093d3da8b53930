//! Datagrams between pods, through virtual addresses, and their bounds.

use super::*;
use crate::{
    Config, PodConfig, PodPort,
    services::{Backends, ServiceTable},
};
use std::io::ErrorKind::{self, *};
use wk_platform::Entropy;

const VIRTUAL: &str = "10.96.0.10:53";

fn address(text: &str) -> SocketAddr {
    text.parse().expect("valid")
}

fn network() -> Network {
    let inside = vec!["10.96.0.0/16".parse().expect("valid")];
    Network::new(Config { inside, ..Config::new(Entropy::seeded(1)) })
}

fn pod(network: &Network) -> PodPort {
    network.attach("10.244.1.0/24".parse().expect("valid"), PodConfig::default()).expect("room")
}

fn bound(pod: &PodPort, port: u16) -> UdpSocket {
    let socket = pod.udp_socket().expect("below the limit");
    socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).expect("free");
    socket
}

fn at(pod: &PodPort, port: u16) -> SocketAddr {
    SocketAddr::new(pod.address(), port)
}

fn serve(network: &Network, endpoints: Vec<SocketAddr>) {
    let mut table = ServiceTable::default();
    table.insert(Protocol::Udp, address(VIRTUAL), Backends { endpoints, ..Backends::default() });
    network.set_services(table);
}

fn send_error(socket: &UdpSocket, to: &str) -> Option<ErrorKind> {
    socket.send_to(Bytes::new(), address(to)).err().map(|error| error.kind())
}

#[tokio::test]
async fn datagrams_keep_their_borders_and_say_who_sent_them() {
    let network = network();
    let (left, right) = (pod(&network), pod(&network));
    let (sender, receiver) = (bound(&left, 0), bound(&right, 53));
    let sent = async {
        sender.send_to(Bytes::from_static(b"one"), at(&right, 53)).expect("sent");
        sender.send_to(Bytes::new(), at(&right, 53)).expect("sent");
    };
    let (first, ()) = tokio::join!(receiver.recv(), sent);
    let from = at(&left, sender.local_addr().expect("bound").port());
    assert_eq!(first.expect("open"), Datagram { data: Bytes::from_static(b"one"), from });
    assert_eq!(receiver.try_recv().expect("empty ones count").data.len(), 0);
    assert_eq!(receiver.try_recv().err().map(|error| error.kind()), Some(WouldBlock));
}

#[tokio::test(start_paused = true)]
async fn a_conversation_with_a_service_stays_with_one_endpoint_and_answers_come_from_it() {
    let network = network();
    let asking = pod(&network);
    let client = bound(&asking, 0);
    let servers: Vec<_> = (0..20).map(|_| pod(&network)).collect();
    let sockets: Vec<_> = servers.iter().map(|server| bound(server, 8053)).collect();
    serve(&network, servers.iter().map(|server| at(server, 8053)).collect());
    for _ in 0..10 {
        client.send_to(Bytes::from_static(b"?"), address(VIRTUAL)).expect("an endpoint");
    }
    let got: Vec<_> = sockets.iter().map(|socket| std::iter::from_fn(|| socket.try_recv().ok()).count()).collect();
    let chosen = got.iter().position(|count| *count == 10).expect("one endpoint got all ten");
    let asker = at(&asking, client.local_addr().expect("bound").port());
    sockets[chosen].send_to(Bytes::from_static(b"!"), asker).expect("sent");
    assert_eq!(client.try_recv().expect("answered").from, address(VIRTUAL));
    sockets[(chosen + 1) % 20].send_to(Bytes::from_static(b"!"), asker).expect("sent");
    assert_ne!(client.try_recv().expect("from somebody else").from, address(VIRTUAL));

    serve(&network, vec![at(&servers[(chosen + 1) % 20], 8053)]);
    client.send_to(Bytes::from_static(b"?"), address(VIRTUAL)).expect("another endpoint");
    sockets[(chosen + 1) % 20].try_recv().expect("the old endpoint is gone from the service");
    serve(&network, Vec::new());
    assert_eq!(send_error(&client, VIRTUAL), Some(ConnectionRefused));
    serve(&network, vec![address("127.0.0.1:53")]);
    assert_eq!(send_error(&client, VIRTUAL), Some(NetworkUnreachable), "the host's loopback, not the pod's");
}

#[test]
fn a_full_inbox_loses_what_comes_and_empty_datagrams_are_bounded_too() {
    let network = network();
    let server = pod(&network);
    let (sender, receiver) = (bound(&server, 0), bound(&server, 53));
    for _ in 0..10_000 {
        sender.send_to(Bytes::new(), address("127.0.0.1:53")).expect("sent or lost");
    }
    let count = std::iter::from_fn(|| receiver.try_recv().ok()).count();
    assert_eq!(count, INBOX_BYTES_MAX / DATAGRAM_COST);
}

#[tokio::test]
async fn errors_are_those_of_linux() {
    let network = network();
    let server = pod(&network);
    let unbound = server.udp_socket().expect("below the limit");
    assert_eq!(send_error(&unbound, "127.0.0.1:53"), Some(InvalidInput));
    let socket = bound(&server, 53);
    assert_eq!(unbound.bind(address("0.0.0.0:53")).err().map(|error| error.kind()), Some(AddrInUse));
    assert_eq!(socket.bind(address("0.0.0.0:54")).err().map(|error| error.kind()), Some(InvalidInput));
    assert_eq!(send_error(&socket, "192.0.2.1:53"), Some(NetworkUnreachable));
    assert_eq!(send_error(&socket, "10.244.1.200:53"), None, "lost");
    assert_eq!(send_error(&socket, "[::1]:53"), Some(NetworkUnreachable));
    let large = socket.send_to(Bytes::from(vec![0; DATAGRAM_BYTES_MAX + 1]), address("127.0.0.1:53"));
    assert_eq!(large.err().map(|error| error.kind()), Some(InvalidInput));
    let (received, ()) = tokio::join!(socket.recv(), async { server.close() });
    assert_eq!(received.err().map(|error| error.kind()), Some(ConnectionAborted));
    assert_eq!(send_error(&socket, "127.0.0.1:53"), Some(NetworkDown));
}

#[test]
fn a_closed_socket_frees_its_port() {
    let network = network();
    let server = pod(&network);
    drop(bound(&server, 53));
    bound(&server, 53);
    assert_eq!(server.socket_count(), 0);
}
