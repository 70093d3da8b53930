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
