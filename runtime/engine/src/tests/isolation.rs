//! A guest's end is told as it was, and no guest hurts another.

use super::*;
use wk_cri::{Error, Resources};

#[tokio::test]
async fn exit_codes_arrive_as_far_as_wasi_carries_them() {
    let node = Node::start();
    let (exit, log) = node.run_to_exit(container("exit-code:p1", &["7"])).await;
    assert!(exit.is(7, "Error"), "{exit:?}");
    assert_eq!(log, "ending with 7\n");
    let (exit, _) = node.run_to_exit(container("exit-code", &["7"])).await;
    assert!(exit.is(1, "Error"), "{exit:?}");
    let (exit, _) = node.run_to_exit(container("exit-code", &["0"])).await;
    assert_eq!(exit, Exit { exit_code: 0, reason: "Completed".to_owned(), message: String::new() });
}

#[tokio::test]
async fn a_trap_is_an_error_that_says_what_and_where() {
    let node = Node::start();
    let (exit, log) = node.run_to_exit(container("crash", &[])).await;
    assert!(exit.is(134, "Error") && exit.message.contains("unreachable"), "{exit:?}");
    assert!(exit.message.contains("crash::main"), "{exit:?}");
    assert!(log.contains("this guest crashes on purpose"), "{log}");
    let (exit, _) = node.run_to_exit(container("crash", &["stack"])).await;
    assert!(exit.is(139, "Error"), "{exit:?}");
}

#[tokio::test]
async fn too_much_memory_is_oom_killed() {
    for image in ["memory-hog", "memory-hog:p1"] {
        let node = Node::start();
        let mut config = container(image, &[]);
        config.resources = Resources { memory_limit_bytes: Some(64 << 20), ..Resources::default() };
        let (exit, log) = node.run_to_exit(config).await;
        assert!(exit.is(137, "OOMKilled"), "{image}: {exit:?}");
        assert!(log.contains("holding 32 MiB"), "{image}: {log}");
    }
}

#[tokio::test]
async fn memory_and_cpu_are_counted() {
    let node = Node::start();
    let hog = node.run(container("memory-hog", &["32"])).await;
    let busy = node.run(container("busy-loop", &[])).await;
    let counted = async {
        loop {
            let memory = node.runtime.container_stats(&hog).await.unwrap().memory_bytes;
            let cpu = node.runtime.container_stats(&busy).await.unwrap().cpu_nanos;
            if memory >= 32 << 20 && cpu > 1_000_000 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.unwrap();
    node.runtime.remove_container(&hog).await.unwrap();
    node.runtime.remove_container(&busy).await.unwrap();
}

#[tokio::test]
async fn spinning_guests_do_not_stop_others_and_can_be_stopped() {
    let node = Node::start();
    let sandbox = node.sandbox("busy").await;
    let mut busy = Vec::new();
    for attempt in 0..4 {
        let mut config = container("busy-loop", &[]);
        config.metadata.attempt = attempt;
        busy.push(node.start_in(&sandbox, config).await);
    }
    let (exit, _) = node.run_to_exit(container("exit-code", &["0"])).await;
    assert!(exit.is(0, "Completed"), "{exit:?}");
    node.runtime.stop_container(&busy[0], PATIENCE).await.unwrap();
    assert!(node.exit(&busy[0]).await.is(143, "Error"), "it listens to nothing, so it ends at once");
    node.runtime.stop_container(&busy[1], Duration::ZERO).await.unwrap();
    assert!(node.exit(&busy[1]).await.is(137, "Error"));
    node.runtime.stop_pod_sandbox(&sandbox).await.unwrap();
    assert!(node.exit(&busy[2]).await.is(137, "Error"));
}

#[tokio::test]
async fn a_cpu_limit_slows_a_guest_down() {
    let node = Node::start();
    let mut config = container("busy-loop", &[]);
    config.resources = Resources { cpu_limit_millis: Some(100), ..Resources::default() };
    let started = tokio::time::Instant::now();
    let busy = node.run(config).await;
    while node.runtime.container_stats(&busy).await.unwrap().cpu_nanos < 50_000_000 {
        tokio::task::yield_now().await;
    }
    assert!(started.elapsed() >= Duration::from_millis(350), "{:?} for 50 ms at a tenth", started.elapsed());
    node.runtime.remove_container(&busy).await.unwrap();
}

#[tokio::test]
async fn a_program_that_is_not_in_the_image_is_not_found() {
    let node = Node::start();
    let sandbox = node.sandbox("web").await;
    let config = ContainerConfig { command: vec!["nginx".to_owned()], ..container("sleep", &[]) };
    let made = node.create(&sandbox, config).await;
    let message = "failed to create containerd task: failed to create shim task: OCI runtime create failed: \
        runc create failed: unable to start container process: error during container init: \
        exec: \"nginx\": executable file not found in $PATH: unknown";
    assert_eq!(node.runtime.start_container(&made).await, Err(Error::NotFound(message.to_owned())));
    let exit = node.exit(&made).await;
    assert!(exit.is(128, "StartError") && exit.message == message, "{exit:?}");
}

#[tokio::test]
async fn a_new_runtime_clears_away_what_the_last_one_left() {
    let node = Node::start();
    let left = node.directory.path().join("containers/old/root");
    std::fs::create_dir_all(&left).unwrap();
    let config = Config {
        programs: programs(),
        images: node.images.clone(),
        toolbox: None,
        network: Network::new(wk_network::Config::new(Entropy::seeded(1))),
        pod_cidr: "10.244.0.0/24".parse().unwrap(),
        state_dir: node.directory.path().join("containers"),
        guests: guest_runtime(),
        clock: Clock::system(),
        entropy: Entropy::system(),
        limits: Limits::default(),
    };
    let runtime = WasmRuntime::new(config).unwrap();
    assert!(!left.exists());
    assert_eq!(runtime.list_containers(Filter::default()).await.unwrap(), []);
}

#[test]
fn the_version_is_that_of_the_lock_file() {
    let lock = include_str!("../../../../Cargo.lock");
    let version = lock.split("name = \"wasmtime\"\nversion = \"").nth(1).unwrap().split('"').next().unwrap();
    let node = Node::start();
    assert_eq!(node.runtime.version(), format!("wasmtime://{version}"));
}

#[tokio::test]
async fn a_shutdown_ends_guests_with_whole_logs_and_a_drop_ends_them_too() {
    let node = Node::start();
    let made = node.run(ContainerConfig { stdin: true, ..container("env-and-files", &["stdin"]) }).await;
    let mut session = node.runtime.attach(&made, wk_cri::AttachOptions { stdin: true }).await.unwrap();
    session.stdin.as_ref().unwrap().send(bytes::Bytes::from_static(b"last words\n")).await.unwrap();
    session.output.recv().await.unwrap();
    node.runtime.shutdown(PATIENCE).await.unwrap();
    assert_eq!(node.log(&made).await, "last words\n");
    assert!(node.exit(&made).await.is(137, "Error"));

    let node = Node::start();
    let made = node.run(container("sleep", &[])).await;
    let mut session = node.runtime.attach(&made, wk_cri::AttachOptions { stdin: true }).await.unwrap();
    drop(node);
    assert_eq!(session.output.recv().await, None, "the guest is gone");
}
