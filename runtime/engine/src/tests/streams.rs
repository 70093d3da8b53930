//! Logs, exec, attach.

use super::*;
use bytes::Bytes;
use wk_cri::{AttachOptions, Error, ExecOptions, Output};

#[tokio::test]
async fn both_streams_are_in_the_log_in_order() {
    let node = Node::start();
    let actions = ["print:one", "stderr:two", "print:three"];
    let made = node.run(container("env-and-files", &actions)).await;
    node.exit(&made).await;
    let path = node.runtime.container_status(&made).await.unwrap().log_path;
    let log = std::fs::read_to_string(path).unwrap();
    let lines: Vec<_> = log.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(lines, ["stdout F one", "stderr F two", "stdout F three"]);
}

#[tokio::test]
async fn a_flood_of_output_arrives_whole_and_is_rotated() {
    const LINES: usize = 300_000;
    let node = Node::start();
    let made = node.run(container("env-and-files", &[&format!("lines:{LINES}")])).await;
    assert!(node.exit(&made).await.is(0, "Completed"));
    let path = node.runtime.container_status(&made).await.unwrap().log_path;
    let rotated = path.with_file_name("0.log.1");
    let log = std::fs::read_to_string(&rotated).unwrap() + &std::fs::read_to_string(&path).unwrap();
    assert_eq!(log.lines().count(), LINES);
    assert!(log.ends_with(&format!("line {}\n", LINES - 1)));
}

#[tokio::test]
async fn exec_runs_the_images_program_with_the_containers_view() {
    let node = Node::start();
    let mut config = container("env-and-files", &["write:/tmp/note=seen", "stdin"]);
    (config.stdin, config.envs) = (true, vec![("GREETING".to_owned(), "hello".to_owned())]);
    let made = node.run(config).await;
    let command = ["env-and-files", "env", "read:/tmp/note", "stderr:oops"].map(str::to_owned).to_vec();
    let note = async {
        loop {
            let done = node.runtime.exec_sync(&made, command.clone(), PATIENCE).await.unwrap();
            if done.exit_code == 0 {
                return done; // the guest has written its note
            }
        }
    };
    let done = tokio::time::timeout(PATIENCE, note).await.unwrap();
    let stdout = String::from_utf8_lossy(&done.stdout);
    assert!(stdout.contains("GREETING=hello\n") && stdout.ends_with("seen"), "{stdout}");
    assert_eq!(done.stderr, "oops\n");
    let unknown = node.runtime.exec_sync(&made, vec!["bash".to_owned()], PATIENCE).await;
    let message = "failed to exec in container: failed to start exec: OCI runtime exec failed: exec failed: \
        unable to start container process: exec: \"bash\": executable file not found in $PATH: unknown";
    assert_eq!(unknown, Err(Error::NotFound(message.to_owned())));
}

#[tokio::test]
async fn exec_gives_stdin_and_ends_with_its_client_or_container() {
    let node = Node::start();
    let made = node.run(ContainerConfig { stdin: true, ..container("env-and-files", &["stdin"]) }).await;
    let command = vec!["env-and-files".to_owned(), "stdin".to_owned()];
    let options = ExecOptions { command: command.clone(), stdin: true, tty: false };
    let mut session = node.runtime.exec(&made, options.clone()).await.unwrap();
    let stdin = session.stdin.take().unwrap();
    stdin.send(Bytes::from_static(b"ping\n")).await.unwrap();
    assert_eq!(session.output.recv().await, Some(Output::Stdout(Bytes::from_static(b"ping\n"))));
    drop(stdin);
    assert_eq!(session.exit.await.unwrap(), Ok(0));

    let session = node.runtime.exec(&made, options).await.unwrap();
    node.runtime.stop_container(&made, PATIENCE).await.unwrap();
    assert_eq!(session.exit.await.unwrap(), Ok(137));
    let late = node.runtime.exec_sync(&made, command, PATIENCE).await;
    assert!(matches!(late, Err(Error::FailedPrecondition(_))), "{late:?}");
}

#[tokio::test]
async fn exec_sync_has_a_deadline() {
    let node = Node::start();
    let made = node.run(container("sleep", &[])).await;
    let late = node.runtime.exec_sync(&made, vec!["sleep".to_owned()], Duration::from_millis(20)).await;
    assert!(matches!(late, Err(Error::DeadlineExceeded(_))), "{late:?}");
}

#[tokio::test]
async fn attach_gives_the_guests_own_streams() {
    let node = Node::start();
    let config = ContainerConfig { stdin: true, stdin_once: true, ..container("env-and-files", &["stdin"]) };
    let made = node.run(config).await;
    let mut session = node.runtime.attach(&made, AttachOptions { stdin: true }).await.unwrap();
    let stdin = session.stdin.take().unwrap();
    stdin.send(Bytes::from_static(b"hello\n")).await.unwrap();
    assert_eq!(session.output.recv().await, Some(Output::Stdout(Bytes::from_static(b"hello\n"))));
    assert!(
        node.runtime.attach(&made, AttachOptions { stdin: true }).await.unwrap().stdin.is_none(),
        "stdin is for the first client only"
    );
    drop(stdin);
    assert_eq!(session.exit.await.unwrap(), Ok(0));
    assert_eq!(node.log(&made).await, "hello\n");
}

#[tokio::test]
async fn a_reopened_log_goes_on_in_a_new_file() {
    let node = Node::start();
    let made = node.run(ContainerConfig { stdin: true, ..container("env-and-files", &["stdin"]) }).await;
    let session = node.runtime.attach(&made, AttachOptions { stdin: true }).await.unwrap();
    let path = node.runtime.container_status(&made).await.unwrap().log_path;
    std::fs::rename(&path, path.with_extension("old")).unwrap();
    node.runtime.reopen_container_log(&made).await.unwrap();
    session.stdin.as_ref().unwrap().send(Bytes::from_static(b"new\n")).await.unwrap();
    drop(session.stdin);
    node.runtime.stop_container(&made, PATIENCE).await.unwrap();
    assert!(path.exists());
    let again = node.runtime.reopen_container_log(&made).await;
    assert!(matches!(again, Err(Error::FailedPrecondition(_))), "{again:?}");
}
