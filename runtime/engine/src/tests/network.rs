//! Guests on the pod network.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wk_cri::{ByteStream, Error};

async fn connect(node: &Node, sandbox: &SandboxId, port: u16) -> ByteStream {
    let connecting = async {
        loop {
            match node.runtime.port_forward(sandbox, port).await {
                Ok(stream) => return stream,
                Err(Error::Unavailable(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, connecting).await.unwrap()
}

async fn get(node: &Node, sandbox: &SandboxId, path: &str) -> String {
    let mut stream = connect(node, sandbox, 80).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: web\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

#[tokio::test]
async fn the_hello_page_is_served_again_and_again() {
    let node = Node::start();
    let sandbox = node.sandbox("hello-1").await;
    node.start_in(&sandbox, container("hello-kiamol", &[])).await;
    for _ in 0..20 {
        let response = get(&node, &sandbox, "/").await;
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        assert!(body.contains("<title>Hello, Kubernetes</title>") && body.contains("hello-1"), "{body}");
    }
    assert!(get(&node, &sandbox, "/none").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_silent_client_does_not_keep_others_waiting() {
    let node = Node::start();
    let sandbox = node.sandbox("hello").await;
    node.start_in(&sandbox, container("hello-kiamol", &[])).await;
    let silent = connect(&node, &sandbox, 80).await;
    assert!(get(&node, &sandbox, "/").await.starts_with("HTTP/1.1 200"));
    drop(silent);
}

#[tokio::test]
async fn a_server_that_is_asked_to_stop_ends_politely() {
    let node = Node::start();
    let sandbox = node.sandbox("hello").await;
    let server = node.start_in(&sandbox, container("hello-kiamol", &[])).await;
    get(&node, &sandbox, "/").await;
    node.runtime.stop_container(&server, PATIENCE).await.unwrap();
    let exit = node.exit(&server).await;
    assert!(exit.is(0, "Completed"), "{exit:?}");
    let refused = node.runtime.port_forward(&sandbox, 80).await.err();
    assert!(matches!(refused, Some(Error::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn stopping_a_container_spares_its_siblings_listeners() {
    let node = Node::start();
    let sandbox = node.sandbox("pair").await;
    node.start_in(&sandbox, container("hello-kiamol", &[])).await;
    let echo = node.start_in(&sandbox, container("tcp-echo", &[])).await;
    drop(connect(&node, &sandbox, 7).await);
    assert!(get(&node, &sandbox, "/").await.starts_with("HTTP/1.1 200"));
    node.runtime.stop_container(&echo, PATIENCE).await.unwrap();
    assert!(node.exit(&echo).await.is(0, "Completed"));
    assert!(get(&node, &sandbox, "/").await.starts_with("HTTP/1.1 200"));
}

/// The request is half said when the server is asked to end, so it goes on.
#[tokio::test]
async fn a_server_that_does_not_end_is_ended_after_its_grace() {
    let node = Node::start();
    let sandbox = node.sandbox("slow").await;
    let server = node.start_in(&sandbox, container("hello-kiamol", &[])).await;
    let mut stream = connect(&node, &sandbox, 80).await;
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    // An answer to a later request says that the server has seen the earlier one.
    get(&node, &sandbox, "/").await;
    node.runtime.stop_container(&server, Duration::from_millis(50)).await.unwrap();
    let exit = node.exit(&server).await;
    assert!(exit.is(137, "Error"), "{exit:?}");
    assert!(stream.read_u8().await.is_err(), "its connections went with it");
}

#[tokio::test]
async fn a_request_that_is_half_said_is_still_answered() {
    let node = Node::start();
    let sandbox = node.sandbox("polite").await;
    let server = node.start_in(&sandbox, container("hello-kiamol", &[])).await;
    let mut stream = connect(&node, &sandbox, 80).await;
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    get(&node, &sandbox, "/").await;
    let mut response = String::new();
    let asking = async {
        stream.write_all(b"\r\n").await.unwrap();
        stream.read_to_string(&mut response).await.unwrap();
    };
    let (stopped, ()) = tokio::join!(node.runtime.stop_container(&server, PATIENCE), asking);
    stopped.unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(node.exit(&server).await.is(0, "Completed"));
}

#[tokio::test]
async fn two_containers_of_a_pod_meet_on_localhost() {
    let node = Node::start();
    let sandbox = node.sandbox("pair").await;
    node.start_in(&sandbox, container("whoami", &["8080"])).await;
    let client = node.start_in(&sandbox, container("http-get", &["localhost:8080/x", "500"])).await;
    let exit = node.exit(&client).await;
    let log = node.log(&client).await;
    assert!(exit.is(0, "Completed"), "{exit:?} {log}");
    assert!(log.contains("Hostname: pair\n") && log.contains("GET /x HTTP/1.1"), "{log}");
    assert!(log.contains("IP: 127.0.0.1\n"), "{log}");
}

#[tokio::test]
async fn two_pods_meet_on_their_addresses() {
    let node = Node::start();
    let server = node.sandbox("server").await;
    node.start_in(&server, container("whoami", &[])).await;
    let address = node.runtime.pod_sandbox_status(&server).await.unwrap().addresses[0];
    let (exit, log) = node.run_to_exit(container("http-get", &[&format!("{address}:80"), "500"])).await;
    assert!(exit.is(0, "Completed"), "{exit:?} {log}");
    assert!(log.contains(&format!("IP: {address}\n")), "{log}");
}

#[tokio::test]
async fn nobody_listens_is_refused_in_the_guest_too() {
    let node = Node::start();
    let (exit, log) = node.run_to_exit(container("http-get", &["127.0.0.1:81"])).await;
    assert!(exit.is(1, "Error") && log.contains("onnection refused"), "{exit:?} {log}");
}
