//! Inside a pod: commands beside its guest, with the toolbox's shell and tools.

use crate::harness::{Server, Tool, lines, next_matching, text};
use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

const WHOAMI: &str = "whoami:v1";
const TOOLS: [Tool; 2] = [Tool::Wk, Tool::Kubectl];

/// A server with a running pod `web`, which serves.
fn with_pod() -> Server {
    let server = Server::with_image(wk_guests::whoami(), WHOAMI);
    server.ok(Tool::Wk, &["run", "web", "--image", WHOAMI]);
    server.wait_for(Tool::Wk, "Ready", &["pod/web"]);
    server
}

fn shell(server: &Server, tool: Tool, script: &str) -> Output {
    server.run(tool, &["exec", "web", "--", "sh", "-c", script])
}

fn with_input(mut command: Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// The command on a terminal of its own, by script(1).
pub fn on_a_terminal(command: &Command) -> Command {
    let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"));
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
    let mut script = Command::new("script");
    script.args(["-qefc", &words.join(" "), "/dev/null"]);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    script
}

#[test]
fn a_command_sees_what_its_pod_sees_and_ends_with_its_code() {
    let server = with_pod();
    let address = server.ok(Tool::Wk, &["get", "pod", "web", "-o", "jsonpath={.status.podIP}"]);
    for tool in TOOLS {
        assert_eq!(server.ok(tool, &["exec", "web", "--", "hostname", "-i"]).trim(), address);
        assert_eq!(server.ok(tool, &["exec", "web", "--", "hostname"]).trim(), "web");
        let ended = shell(&server, tool, "echo out; echo err >&2; exit 3");
        assert_eq!((ended.status.code(), text(&ended.stdout).as_str()), (Some(3), "out\n"));
        assert!(text(&ended.stderr).starts_with("err\n"), "{}", text(&ended.stderr));
        assert!(text(&ended.stderr).contains("command terminated with exit code 3"), "{}", text(&ended.stderr));
        let unknown = server.fails(tool, &["exec", "web", "--", "nosuch"]);
        assert!(unknown.contains(r#"exec: "nosuch": executable file not found in $PATH"#), "{unknown}");
    }
}

#[test]
fn a_shell_pipes_redirects_and_reaches_the_guest() {
    let server = with_pod();
    for tool in TOOLS {
        let script = "for i in 3 1 2; do echo $i; done | sort > /tmp/sorted && wc -l < /tmp/sorted; \
                      x=$(cat /tmp/sorted | tr '\\n' ' '); echo \"<$x>\"; ps | grep -c '^ *1 root.* whoami$'";
        let ended = shell(&server, tool, script);
        assert_eq!(text(&ended.stdout), "3\n<1 2 3 >\n1\n", "{}", text(&ended.stderr));
        let page = shell(&server, tool, "wget -qO- http://localhost/ | head -1");
        assert_eq!(text(&page.stdout).trim(), "Hostname: web", "{}", text(&page.stderr));
        let echoed = with_input(server.command(tool, &["exec", "-i", "web", "--", "cat"]), "one\ntwo");
        assert_eq!((echoed.status.code(), text(&echoed.stdout).as_str()), (Some(0), "one\ntwo"));
    }
}

#[test]
fn directories_are_copied_both_ways() {
    let server = with_pod();
    let here = server.directory().join("copied");
    std::fs::create_dir_all(here.join("sub")).unwrap();
    std::fs::write(here.join("a.txt"), "hello\n").unwrap();
    let large: Vec<u8> = (0..300_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(here.join("sub/large"), &large).unwrap();
    for (tool, name) in TOOLS.into_iter().zip(["wk", "kubectl"]) {
        let (there, back) = (format!("web:/tmp/{name}"), server.directory().join(name));
        server.ok(tool, &["cp", here.to_str().unwrap(), &there]);
        let listed = shell(&server, tool, &format!("cd /tmp/{name} && find . -type f | sort"));
        assert_eq!(text(&listed.stdout), "./a.txt\n./sub/large\n", "{}", text(&listed.stderr));
        server.ok(tool, &["cp", &there, back.to_str().unwrap()]);
        assert_eq!(std::fs::read_to_string(back.join("a.txt")).unwrap(), "hello\n");
        assert!(std::fs::read(back.join("sub/large")).unwrap() == large, "a large file came back changed by {name}");
    }
}

#[test]
fn a_terminal_interrupts_and_passes_the_code_on() {
    let server = with_pod();
    for tool in TOOLS {
        let script = "test -t 0 && echo terminal; sleep 1000; echo never";
        let command = on_a_terminal(&server.command(tool, &["exec", "-it", "web", "--", "sh", "-c", script]));
        let mut child = { command }.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script(1) is there");
        let shown = lines(child.stdout.take().expect("piped"));
        next_matching(&shown, |line| line.trim_end() == "terminal");
        let mut keys = child.stdin.take().expect("piped");
        keys.write_all(b"\x03").expect("it reads");
        assert_eq!(child.wait().expect("it ends").code(), Some(130));
        drop(keys);
        assert!(shown.iter().all(|line| !line.contains("never")));
    }
}

#[test]
fn an_interactive_shell_outlives_an_interrupted_loop() {
    let server = with_pod();
    for tool in TOOLS {
        let command = on_a_terminal(&server.command(tool, &["exec", "-it", "web", "--", "sh"]));
        let mut child = { command }.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script(1) is there");
        let shown = lines(child.stdout.take().expect("piped"));
        let mut keys = child.stdin.take().expect("piped");
        for looping in ["while :; do :; done", "while :; do sleep 1000; done", "read x"] {
            keys.write_all(format!("echo u''p; {looping}; echo ne''ver\r").as_bytes()).expect("it reads");
            next_matching(&shown, |line| line.trim_end() == "up");
            keys.write_all(b"\x03").expect("it reads");
            keys.write_all(b"echo st''atus $?\r").expect("it reads");
            next_matching(&shown, |line| line.trim_end() == "status 130");
        }
        keys.write_all(b"exit 7\r").expect("it reads");
        assert_eq!(child.wait().expect("it ends").code(), Some(7), "{tool:?}");
        assert!(shown.iter().all(|line| line.trim_end() != "never"));
    }
}

const SCRIPTED: &str = r##"
apiVersion: v1
kind: ConfigMap
metadata: {name: scripts}
data:
  start: |
    #!/bin/sh
    trap 'echo bye; exit 0' TERM
    echo "started $0 $1"
    while :; do sleep 0.1; done
---
apiVersion: v1
kind: Pod
metadata: {name: scripted}
spec:
  containers:
  - name: main
    image: whoami:v1
    command: [/scripts/start, one]
    volumeMounts: [{name: scripts, mountPath: /scripts}]
  volumes: [{name: scripts, configMap: {name: scripts, defaultMode: 0755}}]
"##;

#[test]
fn a_script_is_a_command_by_its_first_line() {
    let server = with_pod();
    server.ok(Tool::Kubectl, &["apply", "-f", server.file("scripted.yaml", SCRIPTED).to_str().expect("a path")]);
    server.wait_for(Tool::Wk, "Ready", &["pod/scripted"]);
    server.until(&["logs", "scripted"], "started", |log| log == "started /scripts/start one\n");
    let script = server.file("hello.sh", "#!/usr/bin/env sh\necho \"hello $1 from $HOSTNAME\"; exit 3\n");
    for tool in TOOLS {
        server.ok(tool, &["cp", script.to_str().expect("a path"), "web:/tmp/hello.sh"]);
        let ended = server.run(tool, &["exec", "web", "--", "/tmp/hello.sh", "you"]);
        assert_eq!((ended.status.code(), text(&ended.stdout).as_str()), (Some(3), "hello you from web\n"));
        let missing = server.fails(tool, &["exec", "web", "--", "/tmp/nosuch.sh"]);
        assert!(missing.contains("stat /tmp/nosuch.sh: no such file or directory"), "{missing}");
    }
    // The trap has its grace period.
    let follower = server.command(Tool::Kubectl, &["logs", "-f", "scripted"]);
    let mut follower = { follower }.stdout(Stdio::piped()).spawn().expect("it starts");
    let log = lines(follower.stdout.take().expect("piped"));
    next_matching(&log, |line| line.starts_with("started"));
    server.ok(Tool::Kubectl, &["delete", "pod", "scripted"]);
    next_matching(&log, |line| line == "bye");
    follower.wait().expect("it ends");
}

/// A script in the pod: what it writes on both streams, and its code.
fn told(server: &Server, script: &str) -> (String, String, Option<i32>) {
    let ended = shell(server, Tool::Kubectl, script);
    let errors = text(&ended.stderr);
    let own = errors.lines().filter(|line| !line.starts_with("command terminated"));
    (text(&ended.stdout), own.map(|line| format!("{line}\n")).collect(), ended.status.code())
}

#[test]
fn the_network_is_seen_by_wget_nc_and_nslookup() {
    let server = with_pod();
    server.ok(Tool::Kubectl, &["expose", "pod", "web", "--port=80", "--name=site"]);
    let cluster_ip = server.ok(Tool::Wk, &["get", "service", "site", "-o", "jsonpath={.spec.clusterIP}"]);
    server
        .until(&["exec", "web", "--", "wget", "-qO-", "http://site/"], "served", |page| page.contains("Hostname: web"));
    let fine = |script: &str| {
        let (out, errors, code) = told(&server, script);
        assert_eq!(code, Some(0), "{script}: {out}{errors}");
        (out, errors)
    };
    for name in ["site", "site.default", "site.default.svc.cluster.local", cluster_ip.as_str()] {
        assert!(fine(&format!("wget -qO- http://{name}/")).0.contains("Hostname: web"), "{name}");
    }
    let (_, head) = fine("wget -S -O /tmp/page http://site:80/ && grep -q Hostname /tmp/page");
    assert!(head.starts_with(&format!("Connecting to site ({cluster_ip}:80)\n  HTTP/1.1 200 OK")), "{head}");
    assert!(head.ends_with("'/tmp/page' saved\n"), "{head}");
    assert_eq!(fine("wget --spider http://site/").1.lines().last(), Some("remote file exists"));

    let (out, _) = fine("nslookup site");
    assert!(out.contains(&format!("Name:\tsite.default.svc.cluster.local\nAddress: {cluster_ip}\n")), "{out}");
    let (out, _, code) = told(&server, "nslookup nosuch");
    assert!(out.ends_with("** server can't find nosuch: NXDOMAIN\n\n") && code == Some(1), "{out} {code:?}");

    assert_eq!(told(&server, "nc -z site 80").2, Some(0));
    let (out, _) = fine("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc site 80 | head -1");
    assert!(out.starts_with("HTTP/1.") && out.contains(" 200 "), "{out}");
    let listening = "nc -l -p 9000 > /tmp/heard & until nc -z localhost 9000; do :; done; wait; \
                     (echo answer | nc -l -p 9001 > /tmp/heard) & until echo hello | nc localhost 9001; do :; done; \
                     wait; cat /tmp/heard";
    let (out, _) = fine(&format!("{{ {listening}; }} 2>/dev/null"));
    assert_eq!(out, "answer\nhello\n");

    for (script, errors, code) in [
        ("wget -qO- http://nosuch/", "wget: bad address 'nosuch'\n", 1),
        ("wget -qO- http://localhost:1/", "wget: can't connect to remote host (127.0.0.1): Connection refused\n", 1),
        ("wget -qO- https://site/", "wget: not an http url: https://site/\n", 1),
        ("nc localhost 1", "nc: can't connect to remote host (127.0.0.1): Connection refused\n", 1),
        ("nc nosuch 80", "nc: bad address 'nosuch'\n", 1),
        (
            "sleep 1000 | nc -l -p 9002 >/dev/null & sleep 0.2; wget -T 1 -qO- http://localhost:9002/; c=$?; kill $!; exit $c",
            "wget: download timed out\n",
            1,
        ),
    ] {
        assert_eq!(told(&server, script), (String::new(), errors.to_owned(), Some(code)), "{script}");
    }
}
