//! The host functions called one by one: states, arguments, errors.

use super::{
    super::{
        bindings::wasi::sockets::{
            ip_name_lookup::{Host as _, HostResolveAddressStream as _},
            tcp::{HostTcpSocket, ShutdownType},
            tcp_create_socket::Host as _,
            udp::{HostIncomingDatagramStream as _, HostOutgoingDatagramStream as _, HostUdpSocket, OutgoingDatagram},
            udp_create_socket::Host as _,
        },
        tcp::TcpSocket,
        udp::UdpSocket,
    },
    *,
};
use std::time::Duration;
use wasmtime_wasi::p2::{Pollable as _, StreamError, bindings::sockets::network::IpAddress};
use wk_network::rule::{PacketInfo, Verdict};

fn at(address: &str) -> IpSocketAddress {
    address.parse::<SocketAddr>().expect("valid").into()
}

fn guest(pod: &PodPort) -> Guest {
    Guest::new(pod, &mut WasiCtxBuilder::new())
}

/// Reads the code of a failed call.
fn code_of<T>(result: SocketResult<T>) -> ErrorCode {
    let Err(error) = result else { panic!("the call succeeded") };
    error.downcast().expect("an error code, not a trap")
}

/// The same handle again, as a guest may lend one any number of times.
fn again<T: 'static>(handle: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(handle.rep())
}

fn tcp(guest: &mut Guest) -> Resource<TcpSocket> {
    guest.net().create_tcp_socket(IpAddressFamily::Ipv4).expect("below the limit")
}

fn start_bind(guest: &mut Guest, socket: &Resource<TcpSocket>, address: &str) -> SocketResult<()> {
    let network = guest.network();
    HostTcpSocket::start_bind(&mut guest.net(), again(socket), network, at(address))
}

fn start_connect(guest: &mut Guest, socket: &Resource<TcpSocket>, address: &str) -> SocketResult<()> {
    let network = guest.network();
    guest.net().start_connect(again(socket), network, at(address))
}

fn listening(guest: &mut Guest, address: &str) -> Resource<TcpSocket> {
    let socket = tcp(guest);
    start_bind(guest, &socket, address).expect("free");
    HostTcpSocket::finish_bind(&mut guest.net(), again(&socket)).expect("started");
    guest.net().start_listen(again(&socket)).expect("bound");
    guest.net().finish_listen(again(&socket)).expect("started");
    socket
}

#[test]
fn a_socket_goes_through_its_states_in_order_only() {
    let network = super::network();
    let mut guest = guest(&pod(&network));
    let socket = tcp(&mut guest);
    let local = |guest: &mut Guest| HostTcpSocket::local_address(&mut guest.net(), again(&socket));
    assert_eq!(code_of(local(&mut guest)), ErrorCode::InvalidState);
    assert_eq!(code_of(guest.net().start_listen(again(&socket))), ErrorCode::InvalidState);
    assert_eq!(code_of(HostTcpSocket::finish_bind(&mut guest.net(), again(&socket))), ErrorCode::NotInProgress);
    assert_eq!(code_of(start_bind(&mut guest, &socket, "10.244.1.99:80")), ErrorCode::AddressNotBindable);
    start_bind(&mut guest, &socket, "0.0.0.0:0").expect("a failed bind may be tried again");
    assert_eq!(code_of(start_bind(&mut guest, &socket, "0.0.0.0:81")), ErrorCode::ConcurrencyConflict);
    HostTcpSocket::finish_bind(&mut guest.net(), again(&socket)).expect("started");
    assert_eq!(code_of(start_bind(&mut guest, &socket, "0.0.0.0:81")), ErrorCode::InvalidState);
    assert_ne!(SocketAddr::from(local(&mut guest).expect("bound")).port(), 0);
    assert_eq!(code_of(guest.net().accept(again(&socket))), ErrorCode::InvalidState);
    guest.net().start_listen(again(&socket)).expect("bound");
    assert!(!guest.net().is_listening(again(&socket)).expect("exists"));
    guest.net().finish_listen(again(&socket)).expect("started");
    assert!(guest.net().is_listening(again(&socket)).expect("exists"));
    assert_eq!(code_of(guest.net().accept(again(&socket))), ErrorCode::WouldBlock);
    assert_eq!(code_of(guest.net().shutdown(again(&socket), ShutdownType::Both)), ErrorCode::InvalidState);
}

#[test]
fn wrong_arguments_are_refused() {
    let network = super::network();
    let mut guest = guest(&pod(&network));
    assert_eq!(code_of(guest.net().create_tcp_socket(IpAddressFamily::Ipv6)), ErrorCode::NotSupported);
    assert_eq!(code_of(guest.net().create_udp_socket(IpAddressFamily::Ipv6)), ErrorCode::NotSupported);
    let socket = tcp(&mut guest);
    for address in ["[::1]:80", "224.0.0.1:80", "255.255.255.255:80"] {
        assert_eq!(code_of(start_bind(&mut guest, &socket, address)), ErrorCode::InvalidArgument, "{address}");
    }
    for address in ["[::1]:80", "[::ffff:10.0.0.1]:80", "0.0.0.0:80", "10.244.1.2:0", "224.0.0.1:80"] {
        assert_eq!(code_of(start_connect(&mut guest, &socket, address)), ErrorCode::InvalidArgument, "{address}");
    }
    assert_eq!(code_of(guest.net().set_listen_backlog_size(again(&socket), 0)), ErrorCode::InvalidArgument);
    assert_eq!(code_of(guest.net().set_keep_alive_count(again(&socket), 0)), ErrorCode::InvalidArgument);
    assert_eq!(code_of(guest.net().set_hop_limit(again(&socket), 0)), ErrorCode::InvalidArgument);
}

#[test]
fn an_accepted_socket_has_the_options_of_its_listener() {
    let network = super::network();
    let mut guest = guest(&pod(&network));
    let listener = listening(&mut guest, "0.0.0.0:80");
    guest.net().set_keep_alive_enabled(again(&listener), true).expect("open");
    guest.net().set_hop_limit(again(&listener), 9).expect("open");
    let _client = guest.pod.dial(80).expect("listening");
    let (accepted, ..) = guest.net().accept(listener).expect("one waits");
    assert!(guest.net().keep_alive_enabled(again(&accepted)).expect("open"));
    assert_eq!(guest.net().hop_limit(accepted).expect("open"), 9);
}

#[test]
fn a_failed_connect_closes_the_socket_and_gives_back_its_place() {
    let network = super::network();
    let mut guest = guest(&pod(&network));
    let refusals = [
        ("127.0.0.1:80", ErrorCode::ConnectionRefused),
        ("10.244.1.99:80", ErrorCode::RemoteUnreachable),
        ("192.0.2.1:80", ErrorCode::RemoteUnreachable),
    ];
    for (address, code) in refusals {
        let socket = tcp(&mut guest);
        start_connect(&mut guest, &socket, address).expect("it fails at the end");
        assert_eq!(code_of(guest.net().finish_connect(again(&socket))), code, "{address}");
        assert_eq!(code_of(guest.net().finish_connect(again(&socket))), ErrorCode::NotInProgress);
        assert_eq!(code_of(start_connect(&mut guest, &socket, address)), ErrorCode::InvalidState);
        assert_eq!(code_of(HostTcpSocket::hop_limit(&mut guest.net(), again(&socket))), ErrorCode::InvalidState);
    }
    assert_eq!(guest.pod.socket_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_must_wait_would_block_until_its_pollable_is_ready() {
    let network = super::network();
    let mut guest = guest(&pod(&network));
    let _listener = listening(&mut guest, "0.0.0.0:80");
    network.set_rule(Some(Box::new(|_: &PacketInfo| Verdict::Delay(Duration::from_secs(1)))));
    let socket = tcp(&mut guest);
    start_connect(&mut guest, &socket, "127.0.0.1:80").expect("started");
    assert_eq!(code_of(guest.net().finish_connect(again(&socket))), ErrorCode::WouldBlock);
    assert_eq!(code_of(start_connect(&mut guest, &socket, "127.0.0.1:80")), ErrorCode::ConcurrencyConflict);
    guest.table.get_mut(&socket).expect("exists").ready().await;
    guest.net().finish_connect(again(&socket)).expect("connected");
    let peer = HostTcpSocket::remote_address(&mut guest.net(), socket).expect("connected");
    assert_eq!(SocketAddr::from(peer).to_string(), "127.0.0.1:80");
}

#[tokio::test]
async fn streams_push_back_and_end() {
    let network = super::network();
    let mut guest = guest(&pod(&network));
    let listener = listening(&mut guest, "0.0.0.0:80");
    let mut client = guest.pod.dial(80).expect("listening");
    let (accepted, incoming, outgoing) = guest.net().accept(listener).expect("one waits");
    let mut permitted = 0;
    loop {
        let out = guest.table.get_mut(&outgoing).expect("exists");
        match out.check_write().expect("open") {
            0 => break,
            size => out.write(vec![7; size].into()).expect("permitted"),
        }
        permitted += 1;
    }
    assert_eq!(permitted * 64 * 1024, wk_network::HALF_BYTES_MAX);
    let over = guest.table.get_mut(&outgoing).expect("exists").write(vec![7].into());
    assert!(matches!(over, Err(StreamError::Trap(_))));
    let mut buffer = vec![0; wk_network::HALF_BYTES_MAX];
    tokio::io::AsyncReadExt::read_exact(&mut client, &mut buffer).await.expect("open");
    guest.table.get_mut(&outgoing).expect("exists").ready().await;

    let input = guest.table.get_mut(&incoming).expect("exists");
    assert!(input.read(10).expect("open").is_empty(), "nothing yet");
    drop(client);
    input.ready().await;
    assert!(matches!(input.read(10), Err(StreamError::Closed)));
    let broken = guest.table.get_mut(&outgoing).expect("exists").check_write();
    assert!(matches!(broken, Err(StreamError::Closed)));
    guest.net().shutdown(again(&accepted), ShutdownType::Both).expect("again is not an error");
    guest.net().shutdown(accepted, ShutdownType::Both).expect("again is not an error");
}

#[test]
fn a_stopped_listener_says_connection_aborted() {
    let network = super::network();
    let mut guest = guest(&pod(&network));
    let listener = listening(&mut guest, "0.0.0.0:80");
    guest.pod.stop_listening();
    assert_eq!(code_of(guest.net().accept(listener)), ErrorCode::ConnectionAborted);
}

fn udp(guest: &mut Guest, address: &str) -> Resource<UdpSocket> {
    let socket = guest.net().create_udp_socket(IpAddressFamily::Ipv4).expect("below the limit");
    let network = guest.network();
    HostUdpSocket::start_bind(&mut guest.net(), again(&socket), network, at(address)).expect("free");
    HostUdpSocket::finish_bind(&mut guest.net(), again(&socket)).expect("started");
    socket
}

fn datagram(data: &[u8], to: Option<&str>) -> OutgoingDatagram {
    OutgoingDatagram { data: data.to_vec(), remote_address: to.map(at) }
}

#[tokio::test]
async fn datagrams_go_to_and_come_from_the_peer_of_a_stream() {
    let network = super::network();
    let mut guest = guest(&pod(&network));
    let (server, client) = (udp(&mut guest, "127.0.0.1:53"), udp(&mut guest, "127.0.0.1:1000"));
    let stranger = udp(&mut guest, "127.0.0.1:1001");
    let (incoming, reply) = guest.net().stream(again(&server), None).expect("bound");
    let (answers, questions) = guest.net().stream(again(&client), Some(at("127.0.0.1:53"))).expect("bound");
    let (_ignored, noise) = guest.net().stream(stranger, None).expect("bound");
    assert_eq!(guest.net().check_send(again(&questions)).expect("open"), 16);
    let sent = guest.net().send(again(&questions), vec![datagram(b"q", None), datagram(b"r", Some("127.0.0.1:53"))]);
    assert_eq!(sent.expect("permitted"), 2);
    guest.table.get_mut(&incoming).expect("exists").ready().await;
    let received = guest.net().receive(again(&incoming), 16).expect("open");
    let from: Vec<_> = received.iter().map(|datagram| SocketAddr::from(datagram.remote_address).port()).collect();
    assert_eq!((from, received[0].data.as_slice()), (vec![1000, 1000], &b"q"[..]));

    guest.net().check_send(again(&noise)).expect("open");
    guest.net().send(noise, vec![datagram(b"noise", Some("127.0.0.1:1000"))]).expect("sent");
    guest.net().check_send(again(&reply)).expect("open");
    guest.net().send(again(&reply), vec![datagram(b"a", Some("127.0.0.1:1000"))]).expect("sent");
    let answered = guest.net().receive(answers, 16).expect("open");
    assert_eq!(answered.iter().map(|datagram| datagram.data.as_slice()).collect::<Vec<_>>(), [b"a"]);

    let unpermitted = guest.net().send(again(&reply), vec![datagram(b"a", Some("127.0.0.1:1000"))]);
    assert!(unpermitted.expect_err("a trap").downcast().is_err(), "each send needs its check-send");
    guest.net().check_send(again(&reply)).expect("open");
    assert_eq!(code_of(guest.net().send(again(&reply), vec![datagram(b"a", None)])), ErrorCode::InvalidArgument);
    guest.net().check_send(again(&reply)).expect("open");
    let large = vec![datagram(&[0; 65_508], Some("127.0.0.1:1000"))];
    assert_eq!(code_of(guest.net().send(reply, large)), ErrorCode::DatagramTooLarge);
}

#[test]
fn lookups_answer_or_say_why_not() {
    let network = super::network();
    let mut guest = guest(&pod(&network));
    let mut resolve = |name: &str| {
        let network = guest.network();
        let addresses = guest.net().resolve_addresses(network, name.to_owned())?;
        let first = guest.net().resolve_next_address(again(&addresses))?;
        assert!(guest.net().resolve_next_address(addresses)?.is_none());
        Ok(first)
    };
    assert!(matches!(resolve("localhost"), Ok(Some(IpAddress::Ipv4((127, 0, 0, 1))))));
    assert!(matches!(resolve("10.1.2.3"), Ok(Some(IpAddress::Ipv4((10, 1, 2, 3))))));
    assert_eq!(code_of(resolve("nobody.example")), ErrorCode::NameUnresolvable);
    assert_eq!(code_of(resolve("no body")), ErrorCode::InvalidArgument);
}
