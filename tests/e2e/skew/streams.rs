//! What every kubectl does with running pods: commands, terminals, copies, logs,
//! ports, watches, drains.

use super::{Client, with_each};
use crate::harness::{Forward, PATIENCE, Server, fetch, lines, next_matching, text};
use std::{
    ffi::OsStr,
    io::Write,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::Instant,
};

const WHOAMI: &str = "whoami:v1";
const ACTIONS: &str = "env-and-files:v1";

#[test]
fn every_kubectl_reaches_into_pods() {
    let server = Server::with_image(wk_guests::whoami(), WHOAMI);
    server.load(wk_guests::env_and_files(), ACTIONS);
    with_each(&server, |client, namespace| {
        let pods = Pods { client, namespace };
        pods.says(&["run", "web", "--image", WHOAMI, "--port=80"], "pod/web created");
        pods.says(&["wait", "--for=condition=Ready", "pod/web", "--timeout=90s"], "condition met");
        pods.commands();
        pods.copies();
        pods.ports();
        pods.logs_and_attachments();
        pods.watches();
        pods.drains();
    });
}

/// One kubectl in its namespace.
struct Pods<'a> {
    client: &'a Client<'a>,
    namespace: &'a str,
}

impl Pods<'_> {
    fn command(&self, args: &[&str]) -> Command {
        self.client.command(&[&["-n", self.namespace], args].concat())
    }

    fn says(&self, args: &[&str], part: &str) {
        self.client.says(&[&["-n", self.namespace], args].concat(), part);
    }

    fn told(&self, args: &[&str], input: &str) -> Output {
        let mut command = self.command(args);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn follow(&self, args: &[&str]) -> Following {
        let mut child = self.command(args).stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let lines = lines(child.stdout.take().unwrap());
        Following { child, lines }
    }

    fn commands(&self) {
        let version = &self.client.version;
        self.says(&["exec", "web", "--", "hostname"], "web\n");
        let ended = self.told(&["exec", "web", "--", "sh", "-c", "echo err >&2; exit 3"], "");
        assert_eq!(ended.status.code(), Some(3), "kubectl {version}: {}", text(&ended.stderr));
        assert!(text(&ended.stderr).contains("err\n"), "kubectl {version}: {}", text(&ended.stderr));
        let echoed = self.told(&["exec", "-i", "web", "--", "cat"], "one\ntwo");
        assert_eq!(text(&echoed.stdout), "one\ntwo", "kubectl {version}");
        let shown =
            on_a_terminal(&self.command(&["exec", "-it", "web", "--", "sh", "-c", "test -t 0 && echo yes; exit 4"]));
        assert_eq!(shown.status.code(), Some(4), "kubectl {version}: {}", text(&shown.stdout));
        assert!(text(&shown.stdout).contains("yes"), "kubectl {version}: {}", text(&shown.stdout));
    }

    fn copies(&self) {
        let here = self.client.server.file("note.txt", "hello\n");
        let back = here.with_extension("back");
        self.client.ok(&["-n", self.namespace, "cp", here.to_str().unwrap(), "web:/tmp/note.txt"]);
        self.says(&["exec", "web", "--", "cat", "/tmp/note.txt"], "hello\n");
        self.client.ok(&["-n", self.namespace, "cp", "web:/tmp/note.txt", back.to_str().unwrap()]);
        assert_eq!(std::fs::read_to_string(&back).unwrap(), "hello\n", "kubectl {}", self.client.version);
        std::fs::remove_file(back).unwrap();
    }

    fn ports(&self) {
        self.says(&["expose", "pod", "web", "--port=8080", "--target-port=80"], "service/web exposed");
        for (target, port) in [("pod/web", ":80"), ("service/web", ":8080")] {
            let mut command = self.command(&["port-forward", target, port]);
            let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
            let lines = lines(child.stdout.take().unwrap());
            let mut forward = Forward { child, local: ([127, 0, 0, 1], 0).into() };
            let line = lines.recv_timeout(PATIENCE).expect("it says where");
            let local = line.strip_prefix("Forwarding from ").and_then(|rest| rest.split(" -> ").next());
            forward.local = local.unwrap_or_else(|| panic!("{line}")).parse().unwrap();
            let page = fetch(forward.local).unwrap();
            assert!(page.contains("Hostname: web"), "kubectl {} {target}: {page}", self.client.version);
        }
    }

    fn logs_and_attachments(&self) {
        let run = ["run", "talker", "--image", ACTIONS, "--restart=Never", "-i", "--rm", "--", "print:begun", "stdin"];
        let said = self.told(&run, "from afar\n");
        let (out, err) = (text(&said.stdout), text(&said.stderr));
        assert!(out.contains("from afar"), "kubectl {}: {out}{err}", self.client.version);
        let run = ["run", "waiting", "--image", ACTIONS, "--restart=Never", "--stdin", "--stdin-once"];
        self.attach(&run);
        self.says(&["logs", "waiting"], "begun\nattached\n");
        self.says(&["logs", "waiting", "--tail=1"], "attached\n");
        self.says(&["logs", "--timestamps", "waiting"], "Z begun");
    }

    /// A pod that waits for somebody to attach, and one log that is followed meanwhile.
    fn attach(&self, run: &[&str]) {
        let overrides = format!(
            r#"{{"spec": {{"containers": [{{"name": "waiting", "image": "{ACTIONS}", "stdin": true, "stdinOnce": true,
                "args": ["print:begun", "stdin"]}}]}}}}"#
        );
        let overrides = format!("--overrides={overrides}");
        let run: Vec<&str> =
            run.iter().filter(|arg| !arg.starts_with("--stdin")).copied().chain([overrides.as_str()]).collect();
        self.says(&run, "pod/waiting created");
        self.says(&["wait", "--for=condition=Ready", "pod/waiting", "--timeout=90s"], "condition met");
        let log = self.follow(&["logs", "-f", "waiting"]);
        log.until("begun");
        let said = self.told(&["attach", "-i", "waiting"], "attached\n");
        let (out, err) = (text(&said.stdout), text(&said.stderr));
        assert!(out.contains("attached"), "kubectl {}: {out}{err}", self.client.version);
        log.until("attached");
        log.ends();
    }

    fn watches(&self) {
        let watch = self.follow(&["get", "pods", "--watch"]);
        watch.until("web ");
        self.says(&["label", "pod", "web", "seen=yes"], "labeled");
        self.says(&["run", "later", "--image", WHOAMI], "pod/later created");
        watch.until("later ");
        self.says(&["delete", "pod", "later", "--grace-period=1"], "pod \"later\" deleted");
    }

    fn drains(&self) {
        let refused = self.command(&["drain", "node-1"]).output().unwrap();
        let said = text(&refused.stderr);
        assert!(
            !refused.status.success() && said.contains("use --force to override"),
            "kubectl {}: {said}",
            self.client.version
        );
        self.says(
            &["drain", "node-1", "--ignore-daemonsets", "--force", "--grace-period=1", "--timeout=90s"],
            "drained",
        );
        self.says(&["get", "node", "node-1"], "SchedulingDisabled");
        self.says(&["uncordon", "node-1"], "uncordoned");
        for what in ["pods", "nodes"] {
            self.client.fails(&["top", what], "etrics");
        }
    }
}

/// A command that goes on; ended when dropped.
struct Following {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Following {
    fn until(&self, part: &str) {
        next_matching(&self.lines, |line| line.contains(part));
    }

    /// Waits until it has ended by itself.
    fn ends(mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it goes on");
            let _ = self.lines.recv_timeout(std::time::Duration::from_millis(50));
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command on a terminal of its own, by script(1).
fn terminal(command: &Command) -> Command {
    let quoted = |word: &OsStr| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"));
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
    let mut script = Command::new("script");
    script.args(["-qefc", &words.join(" "), "/dev/null"]);
    script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script
}

fn on_a_terminal(command: &Command) -> Output {
    terminal(command).stdin(Stdio::null()).output().expect("script(1) is there")
}
