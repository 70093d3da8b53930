//! Real programs on the network: std's own sockets, compiled to wasm.

use super::*;
use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wasmtime::{Engine, Store, component::Component};
use wasmtime_wasi::p2::{bindings::Command, pipe::MemoryOutputPipe};
use wk_network::{
    names::{NameTable, Record, Resolver},
    services::{Backends, Protocol, ServiceTable},
};
use wk_platform::{TaskGroup, tasks::OnError};

/// Longer than any of these programs needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

static ENGINE: LazyLock<Engine> = LazyLock::new(Engine::default);
static COMPONENTS: LazyLock<Mutex<HashMap<&'static Path, Component>>> = LazyLock::new(Mutex::default);

fn component(path: &'static Path) -> Component {
    let mut components = COMPONENTS.lock().expect("no test panics while compiling");
    let compile = || Component::from_file(&ENGINE, path).expect("the guest compiles");
    components.entry(path).or_insert_with(compile).clone()
}

/// How a program ended and what it wrote.
#[derive(Debug)]
struct Ended {
    ok: bool,
    output: String,
}

/// Runs a program in `pod` to its end.
async fn run(pod: &PodPort, program: &'static Path, args: &[&str]) -> Ended {
    let output = MemoryOutputPipe::new(1 << 20);
    let mut wasi = WasiCtxBuilder::new();
    wasi.arg("program").args(args).stdout(output.clone()).stderr(output.clone());
    let mut linker = Linker::new(&ENGINE);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("an empty linker");
    add_to_linker::<Guest>(&mut linker).expect("shadowing is allowed");
    let mut store = Store::new(&ENGINE, Guest::new(pod, &mut wasi));
    let component = component(program);
    let command = Command::instantiate_async(&mut store, &component, &linker).await.expect("all imports are there");
    let ended = tokio::time::timeout(PATIENCE, command.wasi_cli_run().call_run(&mut store)).await;
    let ok = matches!(ended.expect("the program ends"), Ok(Ok(())));
    drop(store);
    Ended { ok, output: String::from_utf8_lossy(&output.contents()).into_owned() }
}

/// Runs a server beside the test; its end arrives through the receiver.
fn spawn(
    tasks: &TaskGroup,
    pod: &PodPort,
    program: &'static Path,
    args: &'static [&'static str],
) -> tokio::sync::oneshot::Receiver<Ended> {
    let (ended, end) = tokio::sync::oneshot::channel();
    let pod = pod.clone();
    tasks.spawn("guest", OnError::Log, async move {
        ended.send(run(&pod, program, args).await).map_err(|_| "nobody waits for its end")
    });
    end
}

/// Connects as soon as the program listens.
async fn dial(pod: &PodPort, port: u16) -> wk_network::Connection {
    let attempt = async {
        loop {
            match pod.dial(port) {
                Ok(connection) => return connection,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, attempt).await.expect("the program listens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_echoes_megabytes_to_many_clients_and_ends_when_told() {
    let (network, tasks) = (network(), TaskGroup::new());
    let pod = pod(&network);
    let end = spawn(&tasks, &pod, wk_guests::tcp_echo(), &[]);
    let sent: Arc<Vec<u8>> = Arc::new((0..3_000_000_u32).map(|index| (index % 251) as u8).collect());
    let mut clients = Vec::new();
    for _ in 0..4 {
        let (mut reader, mut writer) = tokio::io::split(dial(&pod, 7).await);
        let (expected, data) = (sent.clone(), sent.clone());
        clients.push(async move {
            let mut received = vec![0; expected.len()];
            let (written, read) = tokio::join!(writer.write_all(&data), reader.read_exact(&mut received));
            written.and(read.map(drop)).expect("open");
            assert!(received == *expected, "the same bytes in the same order");
            writer.shutdown().await.expect("open");
            assert_eq!(reader.read(&mut [0]).await.expect("closed in order"), 0);
        });
    }
    let all = futures::future::join_all(clients);
    tokio::time::timeout(PATIENCE, all).await.expect("no wakeup is lost");
    pod.stop_listening();
    assert!(end.await.expect("it ends").ok);
    assert_eq!(pod.socket_count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_reaches_another_pod_by_address_and_by_the_name_of_a_service() {
    let (network, tasks) = (network(), TaskGroup::new());
    let server = pod(&network);
    let searches = ["default.svc.cluster.local", "svc.cluster.local"].map(str::to_owned).to_vec();
    let resolver = Resolver { searches, dots_min: 5, hosts: Vec::new() };
    let config = PodConfig { hostname: "client".to_owned(), resolver };
    let client = network.attach("10.244.2.0/24".parse().expect("valid"), config).expect("room");
    let _end = spawn(&tasks, &server, wk_guests::whoami(), &["8080"]);
    drop(dial(&server, 8080).await);

    let (mut names, mut services) = (NameTable::new("cluster.local"), ServiceTable::default());
    let virtual_address: SocketAddr = "10.96.0.7:80".parse().expect("valid");
    names.insert("who.default.svc.cluster.local", Record::Addresses(vec![virtual_address.ip()]));
    let endpoint = SocketAddr::new(server.address(), 8080);
    services.insert(Protocol::Tcp, virtual_address, Backends { endpoints: vec![endpoint], ..Backends::default() });
    network.set_names(names);
    network.set_services(services);

    for target in [endpoint.to_string(), "10.96.0.7:80".to_owned(), "who:80".to_owned(), "who.default:80/x".to_owned()]
    {
        let ended = run(&client, wk_guests::http_get(), &[&target]).await;
        assert!(ended.ok && ended.output.starts_with("HTTP/1.1 200 OK"), "{target}: {}", ended.output);
        assert!(ended.output.contains(&format!("RemoteAddr: {}:", client.address())), "{}", ended.output);
        assert!(ended.output.contains(&format!("IP: {}", server.address())), "{}", ended.output);
    }
    assert_eq!(client.socket_count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_programs_of_a_pod_share_localhost() {
    let (network, tasks) = (network(), TaskGroup::new());
    let (both, other) = (pod(&network), pod(&network));
    let _end = spawn(&tasks, &both, wk_guests::whoami(), &[]);
    drop(dial(&both, 80).await);
    for target in ["127.0.0.1:80", "localhost:80"] {
        let ended = run(&both, wk_guests::http_get(), &[target]).await;
        assert!(ended.ok && ended.output.contains("RemoteAddr: 127.0.0.1:"), "{target}: {}", ended.output);
        assert!(!run(&other, wk_guests::http_get(), &[target]).await.ok, "{target} is another pod's");
    }
}

#[tokio::test]
async fn failures_reach_the_program_as_the_errors_it_knows() {
    let network = network();
    let pod = pod(&network);
    for (target, message) in [
        ("127.0.0.1:80", "Connection refused"),
        ("10.244.1.77:80", "Host is unreachable"),
        ("192.0.2.1:80", "Host is unreachable"),
        ("nobody.example:80", "failed to lookup address information"),
    ] {
        let ended = run(&pod, wk_guests::http_get(), &[target]).await;
        assert!(!ended.ok && ended.output.contains(message), "{target}: {}", ended.output);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_the_pod_ends_its_server() {
    let (network, tasks) = (network(), TaskGroup::new());
    let pod = pod(&network);
    let end = spawn(&tasks, &pod, wk_guests::tcp_echo(), &["9"]);
    let mut client = dial(&pod, 9).await;
    client.write_all(b"x").await.expect("open");
    client.read_exact(&mut [0]).await.expect("echoed");
    pod.close();
    let ended = tokio::time::timeout(PATIENCE, end).await.expect("it wakes").expect("it ends");
    assert!(ended.output.contains("echoing on port 9"), "{}", ended.output);
    assert_eq!(client.read(&mut [0]).await.err().map(|error| error.kind()), Some(io::ErrorKind::ConnectionReset));
}
