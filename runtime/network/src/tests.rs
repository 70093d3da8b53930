//! What programs on the network see: the behaviour of Linux sockets.

use super::*;
use bytes::Bytes;
use rule::Verdict;
use services::{Affinity, Backends, Protocol, Reach};
use std::{
    io::{ErrorKind, ErrorKind::*},
    net::Shutdown,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wk_platform::{TaskGroup, listen, tasks::OnError};

const ANY: &str = "0.0.0.0:80";
const LOOPBACK: &str = "127.0.0.1:80";

fn address(text: &str) -> SocketAddr {
    text.parse().expect("valid")
}

fn network() -> Network {
    let inside = vec!["10.244.0.0/16".parse().expect("valid"), "10.96.0.0/16".parse().expect("valid")];
    Network::new(Config { inside, ..Config::new(Entropy::seeded(1)) })
}

fn pod_on(network: &Network, node: &str) -> PodPort {
    network.attach(node.parse().expect("valid"), PodConfig::default()).expect("there is room")
}

fn pod(network: &Network) -> PodPort {
    pod_on(network, "10.244.1.0/24")
}

fn at(pod: &PodPort, port: u16) -> SocketAddr {
    SocketAddr::new(pod.address(), port)
}

async fn connect_error(pod: &PodPort, to: SocketAddr) -> Option<ErrorKind> {
    pod.connect(to).await.err().map(|error| error.kind())
}

#[tokio::test]
async fn pods_of_two_nodes_talk_and_see_each_others_addresses() {
    let network = network();
    let (server, client) = (pod_on(&network, "10.244.1.0/24"), pod_on(&network, "10.244.2.0/24"));
    let mut listener = server.listen(address(ANY), 8).expect("free");
    let mut near = client.connect(at(&server, 80)).await.expect("listening");
    let mut far = listener.accept().await.expect("connected");
    assert_eq!((far.peer_addr(), far.local_addr()), (near.local_addr(), at(&server, 80)));
    assert_eq!(near.peer_addr(), at(&server, 80));
    near.write_all(b"ping").await.expect("open");
    near.shutdown().await.expect("open");
    let mut received = String::new();
    far.read_to_string(&mut received).await.expect("open");
    far.write_all(b"pong").await.expect("the other direction is open");
    drop(far);
    near.read_to_string(&mut received).await.expect("what was sent before the close arrives");
    assert_eq!(received, "pingpong");
}

#[tokio::test]
async fn loopback_is_inside_the_pod_only() {
    let network = network();
    let (server, other) = (pod(&network), pod(&network));
    let mut listener = server.listen(address(LOOPBACK), 8).expect("free");
    let near = server.connect(address(LOOPBACK)).await.expect("two containers share it");
    assert_eq!(listener.accept().await.expect("connected").peer_addr(), near.local_addr());
    assert_eq!(connect_error(&server, at(&server, 80)).await, Some(ConnectionRefused));
    assert_eq!(connect_error(&other, at(&server, 80)).await, Some(ConnectionRefused));
    assert_eq!(connect_error(&other, address(LOOPBACK)).await, Some(ConnectionRefused));
    server.dial(80).expect("port-forwarding goes through loopback");
    let mut outer = server.listen(at(&server, 81), 8).expect("free");
    server.dial(81).expect("probes go to the pod's address");
    let node = Network::node_address("10.244.1.0/24".parse().expect("valid")).expect("room");
    assert_eq!(outer.try_accept().expect("connected above").peer_addr().ip(), node);
    assert_eq!(server.dial(82).err().map(|error| error.kind()), Some(ConnectionRefused));
}

#[tokio::test]
async fn listening_on_any_hears_loopback_and_the_pods_address() {
    let network = network();
    let server = pod(&network);
    let mut listener = server.listen(address(ANY), 8).expect("free");
    for to in [address(LOOPBACK), address(ANY), at(&server, 80)] {
        server.connect(to).await.expect("listening");
        listener.try_accept().expect("connected above");
    }
    let taken = server.listen(address(LOOPBACK), 8).err().map(|error| error.kind());
    assert_eq!(taken, Some(AddrInUse));
}

#[tokio::test]
async fn unreachable_addresses_have_the_errors_of_linux() {
    let network = network();
    let (client, gone) = (pod(&network), pod(&network));
    let old = at(&gone, 80);
    assert_eq!(connect_error(&client, old).await, Some(ConnectionRefused));
    drop(gone);
    assert_eq!(connect_error(&client, old).await, Some(HostUnreachable));
    assert_eq!(connect_error(&client, address("192.0.2.1:80")).await, Some(NetworkUnreachable));
    assert_eq!(connect_error(&client, address("[::1]:80")).await, Some(NetworkUnreachable));
    assert_eq!(connect_error(&client, address("10.244.1.2:0")).await, Some(InvalidInput));
    let bind = |text| client.tcp_socket().expect("below the limit").bind(address(text)).err().map(|error| error.kind());
    assert_eq!(bind("10.244.1.200:80"), Some(AddrNotAvailable));
    assert_eq!(bind("[::]:80"), Some(Unsupported));
}

#[tokio::test]
async fn a_bound_port_is_taken_at_once_and_free_again_after_close() {
    let network = network();
    let server = pod(&network);
    let mut first = server.tcp_socket().expect("below the limit");
    first.bind(address(ANY)).expect("free");
    let second = || server.listen(address(ANY), 8);
    assert_eq!(second().err().map(|error| error.kind()), Some(AddrInUse));
    assert_eq!(connect_error(&server, address(LOOPBACK)).await, Some(ConnectionRefused), "bound, not listening");
    drop(first);
    let mut listener = second().expect("free again");
    let open = server.connect(address(LOOPBACK)).await.expect("listening");
    let accepted = listener.accept().await.expect("connected");
    drop(listener);
    second().expect("accepted connections do not hold the port");
    drop((open, accepted));
}

#[tokio::test]
async fn a_full_backlog_refuses() {
    let network = network();
    let server = pod(&network);
    let mut listener = server.listen(address(ANY), 2).expect("free");
    let _waiting = (server.connect(address(LOOPBACK)).await, server.connect(address(LOOPBACK)).await);
    assert_eq!(connect_error(&server, address(LOOPBACK)).await, Some(ConnectionRefused));
    listener.accept().await.expect("waiting");
    server.connect(address(LOOPBACK)).await.expect("room for one");
}

#[tokio::test]
async fn dropping_a_listener_resets_what_was_not_accepted() {
    let network = network();
    let server = pod(&network);
    let listener = server.listen(address(ANY), 8).expect("free");
    let mut near = server.connect(address(LOOPBACK)).await.expect("listening");
    drop(listener);
    assert_eq!(near.read(&mut [0]).await.err().map(|error| error.kind()), Some(ConnectionReset));
}

#[tokio::test]
async fn stopping_wakes_the_acceptor_and_spares_open_connections() {
    let network = network();
    let server = pod(&network);
    let mut listener = server.listen(address(ANY), 8).expect("free");
    let mut near = server.connect(address(LOOPBACK)).await.expect("listening");
    let mut far = listener.accept().await.expect("connected");
    let (accepted, closed) = tokio::join!(listener.accept(), async { server.stop_listening() });
    assert!(closed);
    assert_eq!(accepted.err().map(|error| error.kind()), Some(ConnectionAborted));
    assert_eq!(connect_error(&server, address(LOOPBACK)).await, Some(ConnectionRefused));
    far.write_all(b"bye").await.expect("still open");
    near.read_exact(&mut [0; 3]).await.expect("still open");
}

#[tokio::test]
async fn a_member_stops_listening_without_the_others() {
    let network = network();
    let server = pod(&network);
    let (first, second) = (server.member(), server.member());
    let mut ended = first.listen(address("0.0.0.0:80"), 8).expect("free");
    let mut going_on = second.listen(address("0.0.0.0:81"), 8).expect("free");
    assert!(first.stop_listening());
    assert_eq!(ended.accept().await.err().map(|error| error.kind()), Some(ConnectionAborted));
    let _near = second.connect(at(&server, 81)).await.expect("still listening");
    going_on.accept().await.expect("connected");
    drop(ended);
    assert!(!first.stop_listening(), "nothing is left to close");
    assert!(server.stop_listening(), "the pod closes those of all members");
}

#[tokio::test]
async fn closing_a_pod_resets_its_connections_and_leaves_nothing_behind() {
    let network = network();
    let (server, client) = (pod(&network), pod(&network));
    let mut listener = server.listen(address(ANY), 8).expect("free");
    let mut near = client.connect(at(&server, 80)).await.expect("listening");
    let far = listener.accept().await.expect("connected");
    let (read, ()) = tokio::join!(near.read_u8(), async { server.close() });
    assert_eq!(read.err().map(|error| error.kind()), Some(ConnectionReset));
    assert_eq!(near.write_u8(1).await.err().map(|error| error.kind()), Some(ConnectionReset));
    assert_eq!(listener.accept().await.err().map(|error| error.kind()), Some(ConnectionAborted));
    assert_eq!(server.listen(address("0.0.0.0:81"), 1).err().map(|error| error.kind()), Some(NetworkDown));
    assert_eq!(connect_error(&server, at(&client, 80)).await, Some(NetworkDown));
    drop((far, listener, near));
    assert_eq!((network.pod_count(), server.socket_count(), client.socket_count()), (1, 0, 0));
    let weak = Arc::downgrade(server.pod());
    drop(server);
    assert_eq!(weak.strong_count(), 0);
}

#[tokio::test]
async fn sockets_are_counted_and_limited() {
    let network = Network::new(Config {
        limits: Limits { sockets_max: 3, ..Limits::default() },
        ..Config::new(Entropy::seeded(1))
    });
    let (server, client) = (pod(&network), pod(&network));
    let mut listener = server.listen(address(ANY), 8).expect("1 of 3");
    let open: Vec<_> = [client.connect(at(&server, 80)).await, client.connect(at(&server, 80)).await].into();
    assert!(open.iter().all(Result::is_ok));
    assert_eq!(connect_error(&client, at(&server, 80)).await, Some(ConnectionRefused), "the server has no socket left");
    assert_eq!(server.tcp_socket().err().map(|error| error.kind()), Some(QuotaExceeded));
    drop(listener.try_accept());
    client.connect(at(&server, 80)).await.expect("one was given back");
}

#[tokio::test]
async fn a_slow_reader_stops_its_writer_and_lets_it_go_on() {
    let network = network();
    let server = pod(&network);
    let mut listener = server.listen(address(ANY), 8).expect("free");
    let (_reader, mut writer) = server.connect(address(LOOPBACK)).await.expect("listening").split();
    let (mut far, _) = listener.accept().await.expect("connected").split();
    let mut data = Bytes::from(vec![1; HALF_BYTES_MAX + 10]);
    assert_eq!(writer.try_write(&mut data).expect("empty"), HALF_BYTES_MAX);
    assert_eq!((data.len(), writer.writable().expect("open")), (10, 0));
    assert!(writer.poll_writable(&mut Context::from_waker(Waker::noop())).is_pending());
    let read = async { far.try_read(usize::MAX).expect("full").len() };
    let (_, read) = tokio::join!(std::future::poll_fn(|cx| writer.poll_writable(cx)), read);
    assert_eq!((read, writer.writable().expect("open")), (HALF_BYTES_MAX, HALF_BYTES_MAX));
}

#[tokio::test]
async fn a_pod_over_its_budget_goes_on_with_small_windows() {
    let limits = Limits { queued_bytes_max: HALF_BYTES_MAX, ..Limits::default() };
    let network = Network::new(Config { limits, ..Config::new(Entropy::seeded(1)) });
    let server = pod(&network);
    let mut listener = server.listen(address(ANY), 8).expect("free");
    let mut writers = Vec::new();
    let mut readers = Vec::new();
    for _ in 0..3 {
        writers.push(server.connect(address(LOOPBACK)).await.expect("listening").split());
        readers.push(listener.accept().await.expect("connected").split());
    }
    let mut write = |index: usize| {
        let (_, writer): &mut (ReadHalf, WriteHalf) = &mut writers[index];
        writer.try_write(&mut Bytes::from(vec![1; HALF_BYTES_MAX])).expect("there is a window")
    };
    assert_eq!((write(0), write(1)), (HALF_BYTES_MAX, 16 * 1024));
    assert_eq!(server.queued_bytes(), HALF_BYTES_MAX + 16 * 1024);
    drop(readers.remove(0));
    assert_eq!(server.queued_bytes(), 16 * 1024, "what nobody will read is given back");
    assert_eq!(write(2), HALF_BYTES_MAX);
    drop((readers, writers));
    assert_eq!(server.queued_bytes(), 0);
}

#[tokio::test]
async fn a_node_has_the_first_address_and_one_port() {
    let network = network();
    let node = "10.244.1.0/24".parse().expect("valid");
    let host = network.attach_node(node, PodConfig::default()).expect("not there yet");
    assert_eq!(Some(host.address()), Network::node_address(node).ok());
    let again = network.attach_node(node, PodConfig::default());
    assert_eq!(again.err().map(|error| error.kind()), Some(AddrInUse));
    let mut listener = host.listen(address(ANY), 8).expect("free");
    pod(&network).connect(at(&host, 80)).await.expect("pods reach their node");
    listener.try_accept().expect("connected above");
    host.close();
    network.attach_node(node, PodConfig::default()).expect("gone");
}

#[tokio::test]
async fn a_control_shuts_down_either_direction() {
    let network = network();
    let server = pod(&network);
    let mut listener = server.listen(address(ANY), 8).expect("free");
    let near = server.connect(address(LOOPBACK)).await.expect("listening");
    let mut far = listener.accept().await.expect("connected");
    let control = near.control();
    let (mut reader, mut writer) = near.split();
    control.shutdown(Shutdown::Write);
    assert_eq!(far.read(&mut [0]).await.expect("the end"), 0);
    assert_eq!(writer.try_write(&mut Bytes::from_static(b"x")).err().map(|error| error.kind()), Some(BrokenPipe));
    far.write_all(b"lost").await.expect("open");
    control.shutdown(Shutdown::Read);
    assert_eq!(reader.try_read(10).expect("the end"), Bytes::new());
    assert_eq!(far.write(b"x").await.err().map(|error| error.kind()), Some(BrokenPipe));
}

#[tokio::test]
async fn a_virtual_address_leads_to_an_endpoint_and_stays_the_peer() {
    let network = network();
    let (server, client) = (pod(&network), pod(&network));
    let mut listener = server.listen(address("0.0.0.0:8080"), 8).expect("free");
    let virtual_address = address("10.96.0.1:80");
    let mut table = ServiceTable::default();
    let backends = Backends { endpoints: vec![at(&server, 8080)], affinity: Affinity::None, reach: Reach::Cluster };
    table.insert(Protocol::Tcp, virtual_address, backends);
    network.set_services(table);
    let near = client.connect(virtual_address).await.expect("an endpoint listens");
    let far = listener.accept().await.expect("connected");
    assert_eq!((near.peer_addr(), far.peer_addr()), (virtual_address, near.local_addr()));
    assert_eq!(connect_error(&client, address("10.96.0.1:81")).await, Some(ConnectionRefused));
    let node = Network::node_address("10.244.1.0/24".parse().expect("valid")).expect("room");
    let _dialed = network.dial(node, virtual_address).await.expect("hosts use services too");
    assert_eq!(listener.accept().await.expect("connected").peer_addr().ip(), node);
    network.set_services(ServiceTable::default());
    assert_eq!(connect_error(&client, virtual_address).await, Some(HostUnreachable));
}

#[tokio::test(start_paused = true)]
async fn rules_delay_and_drop_connections() {
    let network = network();
    let server = pod(&network);
    let _listener = server.listen(address(ANY), 8).expect("free");
    let started = tokio::time::Instant::now();
    network.set_rule(Some(Box::new(|_: &rule::PacketInfo| Verdict::Delay(Duration::from_millis(70)))));
    server.connect(at(&server, 80)).await.expect("late");
    assert_eq!(started.elapsed(), Duration::from_millis(70));
    network.set_rule(Some(Box::new(|_: &rule::PacketInfo| Verdict::Drop)));
    assert_eq!(connect_error(&server, at(&server, 80)).await, Some(TimedOut));
    network.set_rule(None);
    server.connect(at(&server, 80)).await.expect("no rule");
}

#[tokio::test]
async fn egress_carries_what_is_outside_and_nothing_inside() {
    let (mut outside, door) = listen::pipe();
    let tasks = TaskGroup::new();
    let egress = Egress::new(tasks.clone(), move |to| {
        let door = door.clone();
        Box::pin(async move {
            match to.port() {
                80 => Ok(Box::new(door.connect().await?) as listen::BoxByteStream),
                _ => Err(ConnectionRefused.into()),
            }
        })
    });
    let network = Network::new(Config { egress: Some(egress), ..Config::new(Entropy::seeded(1)) });
    let client = pod(&network);
    tasks.spawn("echo", OnError::Log, async move {
        let (mut reader, mut writer) = tokio::io::split(outside.accept().await?);
        tokio::io::copy(&mut reader, &mut writer).await?;
        writer.shutdown().await
    });
    let mut near = client.connect(address("192.0.2.1:80")).await.expect("the egress connects");
    near.write_all(b"hello").await.expect("open");
    near.shutdown().await.expect("open");
    let mut echoed = String::new();
    near.read_to_string(&mut echoed).await.expect("open");
    assert_eq!((echoed.as_str(), near.peer_addr()), ("hello", address("192.0.2.1:80")));
    assert_eq!(connect_error(&client, address("192.0.2.1:81")).await, Some(ConnectionRefused));
    assert_eq!(connect_error(&client, address("10.244.1.99:80")).await, Some(HostUnreachable));
}

#[tokio::test]
async fn the_host_is_reached_only_where_allowed() {
    let mut outside = listen::Listener::tcp(address("127.0.0.1:0")).await.expect("a free port");
    let open = outside.local_addr().expect("TCP");
    let egress = Egress::to_host(TaskGroup::new(), move |to| to == open);
    let network = Network::new(Config { egress: Some(egress), ..Config::new(Entropy::seeded(1)) });
    let client = pod(&network);
    let virtual_address = address("10.96.0.1:443");
    let lead_to = |endpoint| {
        let mut table = ServiceTable::default();
        let backends = Backends { endpoints: vec![endpoint], ..Backends::default() };
        table.insert(Protocol::Tcp, virtual_address, backends);
        network.set_services(table);
    };
    lead_to(open);
    let mut near = client.connect(virtual_address).await.expect("as an endpoint, loopback is the host's");
    assert_eq!(connect_error(&client, open).await, Some(ConnectionRefused), "asked for, it is the pod's own");
    let (mut far, _) = outside.accept().await.expect("connected");
    near.write_all(b"hello").await.expect("open");
    far.read_exact(&mut [0; 5]).await.expect("open");
    lead_to(address("127.0.0.1:22"));
    assert_eq!(connect_error(&client, virtual_address).await, Some(NetworkUnreachable));
}

#[tokio::test]
async fn netstat_lists_listeners_and_both_ends() {
    let network = network();
    let server = pod(&network);
    let mut listener = server.listen(address(ANY), 8).expect("free");
    let mut near = server.connect(address(LOOPBACK)).await.expect("listening");
    near.write_all(b"abc").await.expect("open");
    let far = listener.try_accept().expect("connected");
    let _waiting = server.connect(at(&server, 80)).await.expect("listening");
    let sockets = network.sockets();
    assert_eq!(sockets, server.sockets());
    let peer = near.local_addr();
    let accepted = SocketState::Connected { peer, received_bytes: 3, sent_bytes: 0 };
    assert!(sockets.contains(&SocketInfo {
        protocol: Protocol::Tcp,
        local: address(ANY),
        state: SocketState::Listening { waiting: 1 }
    }));
    assert!(sockets.contains(&SocketInfo { protocol: Protocol::Tcp, local: far.local_addr(), state: accepted }));
    assert_eq!(sockets.len(), 5, "a listener and two ends of two connections");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn megabytes_cross_threads_without_a_lost_wakeup() {
    const TOTAL: usize = 64 << 20;
    let network = network();
    let server = pod(&network);
    let mut listener = server.listen(address(ANY), 8).expect("free");
    let tasks = TaskGroup::new();
    tasks.spawn("echo", OnError::Log, async move {
        let (mut reader, mut writer) = tokio::io::split(listener.accept().await?);
        tokio::io::copy(&mut reader, &mut writer).await.map(drop)
    });
    let (mut reader, mut writer) = tokio::io::split(server.connect(address(LOOPBACK)).await.expect("listening"));
    tasks.spawn("writer", OnError::Log, async move {
        let (data, mut sent) = (vec![0; 100_000], 0);
        while sent < TOTAL {
            let size = (sent % 99_991 + 1).min(TOTAL - sent);
            writer.write_all(&data[..size]).await?;
            sent += size;
        }
        writer.shutdown().await
    });
    let mut sink = tokio::io::sink();
    let received = tokio::time::timeout(Duration::from_secs(60), tokio::io::copy(&mut reader, &mut sink));
    assert_eq!(received.await.expect("no wakeup is lost").expect("open"), TOTAL as u64);
}

#[test]
fn a_connect_that_needs_no_wait_is_ready_at_once() {
    let network = network();
    let server = pod(&network);
    let _listener = server.listen(address(ANY), 8).expect("free");
    let mut connect = server.connect(at(&server, 80));
    let polled = std::pin::Pin::new(&mut connect).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(_))));
}
