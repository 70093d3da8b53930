//! Logs of a file that grows, moves and ends.

use super::Node;
use http_body_util::BodyExt;
use std::{io::Write, path::Path};
use tower::ServiceExt;
use wk_cri::fake::Script;
use wk_platform::http::{Body, empty};

fn three_lines() -> Script {
    Script { log_lines: ["one", "two", "three"].map(str::to_owned).to_vec(), ..Script::default() }
}

fn append(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("opens");
    file.write_all(text.as_bytes()).expect("writes");
}

fn line(text: &str) -> String {
    format!("2026-11-20T12:00:00Z stdout F {text}\n")
}

async fn follow(node: &Node, query: &str) -> Body {
    let mut request = http::Request::new(empty());
    *request.uri_mut() = format!("/containerLogs/default/web/app?follow=true{query}").parse().expect("a uri");
    node.service.clone().oneshot(request).await.expect("never fails").into_body()
}

async fn next(body: &mut Body) -> Option<String> {
    let frame = body.frame().await?.expect("the file can be read");
    Some(String::from_utf8_lossy(&frame.into_data().expect("data")).into_owned())
}

#[tokio::test]
async fn a_log_is_shown_whole_or_its_end() {
    let node = Node::start(three_lines()).await;
    assert_eq!(node.get("/containerLogs/default/web/app").await, (200, "one\ntwo\nthree\n".to_owned()));
    assert_eq!(node.get("/containerLogs/default/web/app?tailLines=1").await.1, "three\n");
    assert_eq!(node.get("/containerLogs/default/web/app?limitBytes=5").await.1, "one\nt");
    let (status, text) = node.get("/containerLogs/default/web/app?previous=true").await;
    let expected = r#"previous terminated container "app" in pod "web" not found"#;
    assert_eq!((status, text.as_str()), (400, expected));
}

#[tokio::test]
async fn following_shows_what_is_written_and_ends_with_the_container() {
    let node = Node::start(three_lines()).await;
    let mut body = follow(&node, "&tailLines=1").await;
    assert_eq!(next(&mut body).await.as_deref(), Some("three\n"));
    let written = line("four");
    // A line counts when it is whole.
    append(&node.log_path, &written[..20]);
    append(&node.log_path, &written[20..]);
    assert_eq!(next(&mut body).await.as_deref(), Some("four\n"));
    append(&node.log_path, &line("last"));
    node.runtime.end_guest(&node.container, 0, "");
    assert_eq!(next(&mut body).await.as_deref(), Some("last\n"));
    assert_eq!(next(&mut body).await, None);
}

#[tokio::test]
async fn following_goes_on_in_the_new_file_after_a_rotation() {
    let node = Node::start(three_lines()).await;
    let mut body = follow(&node, "&tailLines=0").await;
    append(&node.log_path, &line("old"));
    std::fs::rename(&node.log_path, node.log_path.with_extension("log.20261120-120000")).expect("renames");
    append(&node.log_path, &line("new"));
    assert_eq!(next(&mut body).await.as_deref(), Some("old\n"));
    assert_eq!(next(&mut body).await.as_deref(), Some("new\n"));
    node.runtime.end_guest(&node.container, 0, "");
    assert_eq!(next(&mut body).await, None);
}

#[tokio::test]
async fn kube_streams_a_log() {
    use futures::AsyncReadExt;
    let node = Node::start(three_lines()).await;
    let parameters = kube::api::LogParams { tail_lines: Some(2), ..Default::default() };
    let mut text = String::new();
    let mut stream = node.pods().log_stream("web", &parameters).await.expect("a log");
    stream.read_to_string(&mut text).await.expect("ends");
    assert_eq!(text, "two\nthree\n");
}
