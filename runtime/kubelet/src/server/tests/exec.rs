//! exec and attach with kube's client (WebSocket v5) and over SPDY.

use super::{Node, port_forward::SpdyPeer};
use crate::server::spdy::frame::Frame;
use bytes::Bytes;
use kube::api::AttachParams;
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wk_cri::{ExecSyncOutput, fake::Script};

fn script() -> Script {
    let output = ExecSyncOutput { stdout: "out".into(), stderr: "err".into(), exit_code: 3 };
    Script { commands: BTreeMap::from([(vec!["both".to_owned()], output)]), ..Script::default() }
}

#[tokio::test]
async fn output_and_exit_code_reach_the_client() {
    let node = Node::start(script()).await;
    let mut process = node.pods().exec("web", ["both"], &AttachParams::default()).await.expect("connects");
    let (mut stdout, mut stderr) = (String::new(), String::new());
    process.stdout().expect("wanted").read_to_string(&mut stdout).await.expect("ends");
    process.stderr().expect("wanted").read_to_string(&mut stderr).await.expect("ends");
    assert_eq!((stdout.as_str(), stderr.as_str()), ("out", "err"));
    let status = process.take_status().expect("once").await.expect("a status");
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
    let causes = status.details.and_then(|details| details.causes).unwrap_or_default();
    assert_eq!(causes[0].message.as_deref(), Some("3"));
    process.join().await.expect("a good end");
}

#[tokio::test]
async fn stdin_reaches_the_command_and_ends() {
    let node = Node::start(script()).await;
    let parameters = AttachParams::default().stdin(true).stderr(false);
    let mut process = node.pods().exec("web", ["cat"], &parameters).await.expect("connects");
    let mut stdin = process.stdin().expect("wanted");
    stdin.write_all(b"hello").await.expect("connected");
    stdin.shutdown().await.expect("connected");
    drop(stdin);
    let mut stdout = String::new();
    process.stdout().expect("wanted").read_to_string(&mut stdout).await.expect("ends");
    assert_eq!(stdout, "hello");
    let status = process.take_status().expect("once").await.expect("a status");
    assert_eq!(status.status.as_deref(), Some("Success"));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_internal_error() {
    let node = Node::start(script()).await;
    let mut process = node.pods().exec("web", ["nothing"], &AttachParams::default()).await.expect("connects");
    let status = process.take_status().expect("once").await.expect("a status");
    assert_eq!(status.reason.as_deref(), Some("InternalError"));
    assert!(status.message.unwrap_or_default().contains("error executing command in container: no program"));
}

#[tokio::test]
async fn attach_speaks_to_the_guest_itself() {
    let node = Node::start(script()).await;
    let parameters = AttachParams::default().stdin(true).stderr(false);
    let mut process = node.pods().attach("web", &parameters).await.expect("connects");
    process.stdin().expect("wanted").write_all(b"hello").await.expect("connected");
    let mut echoed = [0; 5];
    process.stdout().expect("wanted").read_exact(&mut echoed).await.expect("the guest answers");
    assert_eq!(&echoed, b"hello");
}

#[tokio::test]
async fn a_spdy_client_gets_its_streams_and_a_status() {
    let node = Node::start(script()).await;
    let uri = "/exec/default/web/app?command=cat&input=1&output=1";
    let mut peer = SpdyPeer::upgrade(&node, uri, "v4.channel.k8s.io, channel.k8s.io").await;
    for (stream, kind) in [(1, "error"), (3, "stdin"), (5, "stdout")] {
        peer.open(stream, &[("streamtype", kind)]).await;
    }
    peer.send(Frame::Data { stream: 3, fin: true, bytes: Bytes::from_static(b"hello") }).await;
    assert_eq!(peer.read(5).await, b"hello");
    let status: serde_json::Value = serde_json::from_slice(&peer.read(1).await).expect("a status");
    assert_eq!(status["status"], "Success");
}
