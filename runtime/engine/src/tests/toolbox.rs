//! Programs of the toolbox beside a guest, and as the guest.

use super::*;
use bytes::Bytes;
use wk_cri::{ExecOptions, ExecSession, ExecSyncOutput, Mount, Output};

pub(super) fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(|word| (*word).to_owned()).collect()
}

/// Runs a command beside an idle guest.
async fn exec(command: &[&str]) -> ExecSyncOutput {
    let node = Node::start();
    let made = node.run(container("sleep", &[])).await;
    node.runtime.exec_sync(&made, words(command), PATIENCE).await.unwrap()
}

/// What a session shows until its end, and its exit code.
pub(super) async fn end_of(mut session: ExecSession) -> (String, i32) {
    let mut shown = Vec::new();
    let reading = async {
        while let Some(Output::Stdout(bytes) | Output::Stderr(bytes)) = session.output.recv().await {
            shown.extend(bytes);
        }
        session.exit.await.unwrap().unwrap()
    };
    let code = tokio::time::timeout(PATIENCE, reading).await.unwrap();
    (String::from_utf8(shown).unwrap(), code)
}

#[tokio::test]
async fn a_tool_runs_beside_the_guest_and_its_exit_code_is_whole() {
    let done = exec(&["/bin/echo", "one", "two"]).await;
    assert_eq!((done.stdout, done.exit_code), (Bytes::from_static(b"one two\n"), 0));
    assert_eq!(exec(&["sh", "-c", "exit 3"]).await.exit_code, 3);
    assert_eq!(exec(&["sh", "-c", "exit 200"]).await.exit_code, 200);
}

#[tokio::test]
async fn a_pipeline_and_files_of_the_container() {
    let script = "echo one > /tmp/f; echo two >> /tmp/f; cat /tmp/f | cat | cat; echo gone > /dev/null";
    let done = exec(&["sh", "-c", script]).await;
    assert_eq!((String::from_utf8_lossy(&done.stdout), done.exit_code), ("one\ntwo\n".into(), 0), "{:?}", done.stderr);
}

#[tokio::test]
async fn a_script_runs_by_its_interpreter_from_beside_and_as_the_guest() {
    let node = Node::start();
    let scripts = node.directory.path().join("scripts");
    std::fs::create_dir(&scripts).unwrap();
    std::fs::write(scripts.join("hello"), "#!/usr/bin/env sh\necho \"hello $0 $1\"; exit 5\n").unwrap();
    std::fs::write(scripts.join("text"), "echo text\n").unwrap();
    let mount = Mount { host_path: scripts, container_path: "/scripts".to_owned(), readonly: true };
    let config = |command: &[&str]| ContainerConfig {
        command: words(command),
        mounts: vec![mount.clone()],
        ..container("sleep", &[])
    };
    let (exit, log) = node.run_to_exit(config(&["/scripts/hello", "guest"])).await;
    assert!(exit.is(5, "Error") && log == "hello /scripts/hello guest\n", "{exit:?} {log}");

    let made = node.run(ContainerConfig { args: Vec::new(), ..config(&["sleep"]) }).await;
    let exec = |command: &'static [&'static str]| node.runtime.exec_sync(&made, words(command), PATIENCE);
    let done = exec(&["/scripts/hello", "beside"]).await.unwrap();
    assert_eq!((done.stdout, done.exit_code), (Bytes::from_static(b"hello /scripts/hello beside\n"), 5));
    let done =
        exec(&["sh", "-c", "cd /scripts; ./text; PATH=/scripts:$PATH; hello path; ps -o args | grep -c hell[o]"]);
    let done = done.await.unwrap();
    // The one line of `ps` is that of the shell itself, whose arguments name it.
    assert_eq!(String::from_utf8_lossy(&done.stdout), "text\nhello /scripts/hello path\n1\n", "{done:?}");
    for (name, why) in [
        ("/scripts/text", "exec /scripts/text: exec format error"),
        ("/scripts", "exec: \"/scripts\": permission denied"),
        ("/scripts/nosuch", "exec: \"/scripts/nosuch\": stat /scripts/nosuch: no such file or directory"),
    ] {
        let refused = node.runtime.exec_sync(&made, words(&[name]), PATIENCE).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
}

#[tokio::test]
async fn stdin_reaches_a_tool_and_ends() {
    let node = Node::start();
    let made = node.run(container("sleep", &[])).await;
    let options = ExecOptions { command: words(&["sh", "-c", "cat"]), stdin: true, tty: false };
    let mut session = node.runtime.exec(&made, options).await.unwrap();
    let stdin = session.stdin.take().unwrap();
    stdin.send(Bytes::from_static(b"ping\n")).await.unwrap();
    drop(stdin);
    assert_eq!(end_of(session).await, ("ping\n".to_owned(), 0));
}

#[tokio::test]
async fn a_terminal_edits_lines_and_interrupts() {
    let node = Node::start();
    let made = node.run(container("sleep", &[])).await;
    let options = |command: &[&str]| ExecOptions { command: words(command), stdin: true, tty: true };
    let mut session = node.runtime.exec(&made, options(&["cat"])).await.unwrap();
    let stdin = session.stdin.take().unwrap();
    stdin.send(Bytes::from_static(b"helo\x7flo\r\x04")).await.unwrap();
    assert_eq!(end_of(session).await, ("helo\x08 \x08lo\r\nhello\r\n".to_owned(), 0));

    let mut session = node.runtime.exec(&made, options(&["sh", "-c", "echo up; sleep 1000"])).await.unwrap();
    let stdin = session.stdin.take().unwrap();
    assert_eq!(session.output.recv().await, Some(Output::Stdout(Bytes::from_static(b"up\r\n"))));
    stdin.send(Bytes::from_static(b"\x03")).await.unwrap();
    assert_eq!(end_of(session).await, ("^C".to_owned(), 130));
}

#[tokio::test]
async fn a_tool_can_be_the_guest_and_be_killed_from_beside() {
    let node = Node::start();
    let shell = |script: &str| ContainerConfig { command: words(&["sh", "-c", script]), ..container("sleep", &[]) };
    let (exit, log) = node.run_to_exit(shell("echo started; exit 7")).await;
    assert!(exit.is(7, "Error") && log == "started\n", "{exit:?} {log:?}");
    let made = node.run(shell("sleep 1000")).await;
    let done = node.runtime.exec_sync(&made, words(&["kill", "1"]), PATIENCE).await.unwrap();
    assert!(node.exit(&made).await.is(143, "Error"), "{done:?}");
}
