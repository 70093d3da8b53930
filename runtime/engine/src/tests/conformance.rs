//! The promises of `wk-cri` over wasmtime.

use super::Node;
use std::sync::Arc;
use wk_cri::conformance::{Fixture, Program};

/// The node lives as long as the fixture, which knows it only by its traits.
fn fixture() -> (Node, Fixture) {
    let node = Node::start();
    let fixture = Fixture {
        runtime: Arc::new(node.runtime.clone()),
        images: Arc::new(node.runtime.clone()),
        root: node.directory.path().join("logs"),
        sleeper: Program::of("sleep"),
        stubborn: None,
        prints_hello: Program::with_args("env-and-files", &["print:hello"]),
        exits_three: Program::with_args("exit-code:p1", &["3"]),
        echo: Program::of("tcp-echo"),
        echo_port: 7,
        missing_image: "nobody/has-this:v1".to_owned(),
    };
    (node, fixture)
}

wk_cri::conformance_tests!(
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    fixture().1
);
