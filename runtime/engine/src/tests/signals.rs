//! Signals and the keys of a terminal, as a shell and what it runs see them.

use super::{
    toolbox::{end_of, words},
    *,
};
use bytes::Bytes;
use tokio::sync::mpsc;
use wk_cri::{ExecOptions, ExecSession, Output};

/// A command on a terminal.
struct Screen {
    session: ExecSession,
    keys: mpsc::Sender<Bytes>,
    shown: String,
}

impl Screen {
    async fn start(node: &Node, command: &[&str]) -> Self {
        let made = node.run(container("sleep", &[])).await;
        Self::start_in(node, &made, command).await
    }

    async fn start_in(node: &Node, made: &ContainerId, command: &[&str]) -> Self {
        let options = ExecOptions { command: words(command), stdin: true, tty: true };
        let mut session = node.runtime.exec(made, options).await.unwrap();
        let keys = session.stdin.take().unwrap();
        Self { session, keys, shown: String::new() }
    }

    async fn press(&self, keys: &'static str) {
        self.keys.send(Bytes::from_static(keys.as_bytes())).await.unwrap();
    }

    /// Waits for `text` behind what was waited for before.
    async fn until_shown(&mut self, text: &str) {
        let reading = async {
            loop {
                if let Some(at) = self.shown.find(text) {
                    self.shown.drain(..at + text.len());
                    return true;
                }
                let Some(Output::Stdout(bytes) | Output::Stderr(bytes)) = self.session.output.recv().await else {
                    return false;
                };
                self.shown.push_str(&String::from_utf8_lossy(&bytes));
            }
        };
        let seen = tokio::time::timeout(PATIENCE, reading).await;
        assert_eq!(seen, Ok(true), "{text:?} was not shown, but {:?}", self.shown);
    }

    async fn code(self) -> i32 {
        end_of(self.session).await.1
    }
}

/// Types a line that shows `up` and then goes on for ever, interrupts it, and sees
/// that the shell is there.
async fn interrupted(node: &Node, made: &ContainerId, line: &'static str) {
    let mut screen = Screen::start_in(node, made, &["sh"]).await;
    screen.until_shown("# ").await;
    screen.press(line).await;
    screen.press("\r").await;
    screen.until_shown("up\r\n").await;
    screen.press("\x03").await;
    screen.press("echo st''atus $?\r").await;
    screen.until_shown("status 130\r\n").await;
    screen.press("exit\r").await;
    assert_eq!(screen.code().await, 0, "{line}");
}

#[tokio::test]
async fn an_interrupt_ends_what_an_interactive_shell_does_and_not_the_shell() {
    let node = Node::start();
    let made = node.run(container("sleep", &[])).await;
    for line in [
        "echo u''p; while :; do :; done; echo never",
        "while echo u''p; do :; done",
        "echo u''p; for i in $(seq 100000); do while :; do i=$((i + 1)); done; done",
        "f() { echo u''p; f2; }; f2() { while true; do eval :; done; }; f",
        "echo u''p; read x; echo never",
        "echo u''p; while :; do sleep 1000; done",
        "echo u''p; sleep 1000; echo never",
        "echo u''p; (while :; do :; done); echo never",
        "echo u''p; x=$(while :; do :; done); echo never",
        "echo u''p; while :; do echo x; done | sleep 1000; echo never",
        "echo u''p; sleep 1000 | while read x; do :; done; echo never",
        "sleep 1000 & echo u''p; wait; echo never",
        "(trap '' TERM; echo u''p; while :; do :; done)",
        "echo u''p; sh -c 'while :; do :; done'; echo never",
    ] {
        interrupted(&node, &made, line).await;
    }
}

#[tokio::test]
async fn an_interrupt_ends_a_script() {
    let node = Node::start();
    let made = node.run(container("sleep", &[])).await;
    for script in ["echo up; while :; do :; done", "echo up; while :; do sleep 1000; done", "echo up; read x"] {
        let mut screen = Screen::start_in(&node, &made, &["sh", "-c", script]).await;
        screen.until_shown("up\r\n").await;
        screen.press("\x03").await;
        assert_eq!(screen.code().await, 130, "{script}");
    }
}

#[tokio::test]
async fn a_shell_that_kills_itself_goes_no_further() {
    let node = Node::start();
    let made = node.run(container("sleep", &[])).await;
    for (script, code) in [("kill -9 $$; echo never", 137), ("kill $$; echo never", 143), ("kill -0 $$; exit 3", 3)] {
        let done = node.runtime.exec_sync(&made, words(&["sh", "-c", script]), PATIENCE).await.unwrap();
        assert_eq!((done.exit_code, done.stdout.as_ref()), (code, &b""[..]), "{script}");
    }
}

#[tokio::test]
async fn the_keys_of_a_terminal_spare_the_background() {
    let node = Node::start();
    let mut screen = Screen::start(&node, &["sh"]).await;
    screen.until_shown("# ").await;
    screen.press("sleep 1000 & echo u''p; sleep 1000\r").await;
    screen.until_shown("up\r\n").await;
    screen.press("\x03").await;
    screen.press("kill -0 $! && echo ali''ve\r").await;
    screen.until_shown("alive\r\n").await;
    screen.press("kill $!; wait $!; echo st''atus $?\r").await;
    screen.until_shown("status 143\r\n").await;
}

#[tokio::test]
async fn a_shell_within_a_shell_is_interrupted_alone() {
    let node = Node::start();
    let mut screen = Screen::start(&node, &["sh"]).await;
    screen.until_shown("# ").await;
    screen.press("PS1='inner> ' sh; echo ou''ter $?\r").await;
    screen.until_shown("inner> ").await;
    screen.press("echo u''p; while :; do :; done\r").await;
    screen.until_shown("up\r\n").await;
    screen.press("\x03").await;
    screen.press("exit 5\r").await;
    screen.until_shown("outer 5\r\n").await;
}

#[tokio::test]
async fn a_trap_is_run_by_key_and_by_kill() {
    let node = Node::start();
    let script = "trap 'echo caught; n=1' INT; echo up; n=; while [ -z \"$n\" ]; do :; done; echo on; exit 7";
    let mut screen = Screen::start(&node, &["sh", "-c", script]).await;
    screen.until_shown("up\r\n").await;
    screen.press("\x03").await;
    screen.until_shown("caught\r\non\r\n").await;
    assert_eq!(screen.code().await, 7);

    let script = "trap 'echo usr' USR1; sleep 1000 & echo up; wait; echo waited $?; kill -9 $$";
    let made = node.run(container("sleep", &[])).await;
    let mut screen = Screen::start_in(&node, &made, &["sh", "-c", script]).await;
    screen.until_shown("up\r\n").await;
    let kill = "kill -USR1 $(ps -o pid,args | grep 'sh -c trap' | grep -v grep | sed 's/^ *//;s/ .*//;q')";
    let killed = node.runtime.exec_sync(&made, words(&["sh", "-c", kill]), PATIENCE).await.unwrap();
    assert_eq!(killed.exit_code, 0, "{killed:?}");
    screen.until_shown("usr\r\nwaited 138\r\n").await;
    assert_eq!(screen.code().await, 137);
}

/// A container that runs a script as its guest and has logged `up`.
async fn scripted(node: &Node, script: &str) -> ContainerId {
    let config = ContainerConfig { command: words(&["sh", "-c", script]), ..container("sleep", &[]) };
    let made = node.run(config).await;
    let mut progress = node.runtime.log_progress(&made).unwrap();
    let up = async {
        while !node.log(&made).await.starts_with("up\n") {
            progress.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, up).await.unwrap();
    made
}

#[tokio::test]
async fn a_stopped_container_runs_its_trap() {
    let node = Node::start();
    let script = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done";
    let made = scripted(&node, script).await;
    node.runtime.stop_container(&made, PATIENCE).await.unwrap();
    assert!(node.exit(&made).await.is(3, "Error"));
    assert_eq!(node.log(&made).await, "up\nbye\n");
}

#[tokio::test]
async fn a_trap_that_does_not_end_is_killed_in_time() {
    let node = Node::start();
    let made = scripted(&node, "trap 'echo deaf' TERM; echo up; while :; do :; done").await;
    node.runtime.stop_container(&made, Duration::from_millis(200)).await.unwrap();
    assert!(node.exit(&made).await.is(137, "Error"));
}
