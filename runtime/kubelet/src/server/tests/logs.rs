//! Logs of a file that grows, moves and ends.

use super::Node;
use http_body_util::BodyExt;
use std::{path::PathBuf, time::Duration};
use tower::ServiceExt;
use wk_cri::{RuntimeService, fake::Script};
use wk_platform::http::{Body, empty};

fn three_lines() -> Script {
    Script { log_lines: ["one", "two", "three"].map(str::to_owned).to_vec(), ..Script::default() }
}

/// A change that nobody tells of shows as a wait of this long.
const PATIENCE: Duration = Duration::from_secs(20);

fn append(node: &Node, text: &str) {
    node.runtime.append_log(&node.container, text.as_bytes()).expect("writes");
}

/// Moves the log on as the runtime does, which then writes `text`.
fn rotate(node: &Node, text: &str) {
    let rotated = |number: u32| PathBuf::from(format!("{}.{number}", node.log_path.display()));
    for number in (1..9).rev().filter(|number| rotated(*number).exists()) {
        std::fs::rename(rotated(number), rotated(number + 1)).expect("renames");
    }
    std::fs::rename(&node.log_path, rotated(1)).expect("renames");
    append(node, text);
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
    let frame = tokio::time::timeout(PATIENCE, body.frame()).await.expect("somebody told of it");
    let frame = frame?.expect("the file can be read");
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
    append(&node, &written[..20]);
    append(&node, &written[20..]);
    assert_eq!(next(&mut body).await.as_deref(), Some("four\n"));
    append(&node, &line("last"));
    node.runtime.end_guest(&node.container, 0, "");
    assert_eq!(next(&mut body).await.as_deref(), Some("last\n"));
    assert_eq!(next(&mut body).await, None);
}

#[tokio::test]
async fn following_goes_on_in_the_new_file_after_a_rotation() {
    let node = Node::start(three_lines()).await;
    let mut body = follow(&node, "&tailLines=0").await;
    append(&node, &line("old"));
    std::fs::rename(&node.log_path, node.log_path.with_extension("log.20261120-120000")).expect("renames");
    append(&node, &line("new"));
    assert_eq!(next(&mut body).await.as_deref(), Some("old\n"));
    assert_eq!(next(&mut body).await.as_deref(), Some("new\n"));
    node.runtime.end_guest(&node.container, 0, "");
    assert_eq!(next(&mut body).await, None);
}

#[tokio::test]
async fn a_slow_reader_misses_no_rotated_file() {
    let node = Node::start(three_lines()).await;
    let mut body = follow(&node, "").await;
    for number in 1..=4 {
        rotate(&node, &line(&format!("file {number}")));
    }
    node.runtime.end_guest(&node.container, 0, "");
    assert_eq!(next(&mut body).await.as_deref(), Some("one\ntwo\nthree\n"));
    for number in 1..=4 {
        assert_eq!(next(&mut body).await, Some(format!("file {number}\n")));
    }
    assert_eq!(next(&mut body).await, None);
}

#[tokio::test]
async fn who_waits_is_woken_by_a_write_a_rotation_and_the_end() {
    let node = Node::start(three_lines()).await;
    let mut body = follow(&node, "&tailLines=0").await;
    // Each change happens while the reader waits.
    let (first, ()) = tokio::join!(next(&mut body), later(|| append(&node, &line("more"))));
    assert_eq!(first.as_deref(), Some("more\n"));
    let (second, ()) = tokio::join!(next(&mut body), later(|| rotate(&node, &line("rotated"))));
    assert_eq!(second.as_deref(), Some("rotated\n"));
    let (end, ()) = tokio::join!(next(&mut body), later(|| node.runtime.end_guest(&node.container, 0, "")));
    assert_eq!(end, None);
}

/// Does it after the others had every chance to run until they wait.
async fn later(change: impl FnOnce()) {
    for _ in 0..8 {
        tokio::task::spawn_blocking(|| ()).await.expect("does not panic"); // as reading a file
        tokio::task::yield_now().await;
    }
    change();
}

#[tokio::test]
async fn following_the_log_of_a_container_that_has_gone_ends() {
    let node = Node::start(three_lines()).await;
    let mut body = follow(&node, "&tailLines=0").await;
    let (end, removed) = tokio::join!(next(&mut body), node.runtime.remove_container(&node.container));
    assert_eq!((end, removed), (None, Ok(())));
    let mut body = follow(&node, "&tailLines=1").await;
    assert_eq!(next(&mut body).await.as_deref(), Some("three\n"));
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
