//! What goes through `exec`, `attach` and `cp`: much, slowly, with a terminal, over
//! both protocols.

use crate::harness::{Server, Tool, eventually, lines, next_matching, text};
use std::{
    fs,
    io::{Read as _, Write as _},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

const WHOAMI: &str = "whoami:v1";

/// More than every buffer on the way together.
const LARGE_BYTES: usize = 100 << 20;

/// What the server may hold for one client that does not read.
const SLOW_CLIENT_BYTES_MAX: u64 = 64 << 20;

/// A client, and how it talks.
#[derive(Clone, Copy, Debug)]
struct Client {
    tool: Tool,
    spdy: bool,
}

const CLIENTS: [Client; 3] = [
    Client { tool: Tool::Wk, spdy: false },
    Client { tool: Tool::Kubectl, spdy: false },
    Client { tool: Tool::Kubectl, spdy: true },
];

impl Client {
    fn command(self, server: &Server, args: &[&str]) -> Command {
        let mut command = server.command(self.tool, args);
        command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", if self.spdy { "false" } else { "true" });
        command
    }

    fn exec(self, server: &Server, command: &[&str]) -> Output {
        let args = [&["exec", "-i", "web", "--"], command].concat();
        self.command(server, &args).stdin(Stdio::null()).output().unwrap()
    }
}

fn with_pod() -> Server {
    let server = Server::with_image(wk_guests::whoami(), WHOAMI);
    server.ok(Tool::Wk, &["run", "web", "--image", WHOAMI]);
    server.wait_for(Tool::Wk, "Ready", &["pod/web"]);
    server
}

fn piped(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Bytes that no packing makes small and that say where they are from.
fn large() -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    (0..LARGE_BYTES / 4).flat_map(next).collect()
}

#[test]
fn a_hundred_megabytes_go_in_and_come_out_unchanged() {
    let server = with_pod();
    let large = large();
    for client in CLIENTS {
        let mut child = piped(client.command(&server, &["exec", "-i", "web", "--", "sh", "-c", "cat > /tmp/large"]));
        child.stdin.take().unwrap().write_all(&large).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{client:?} {}", text(&output.stderr));
        let output = client.exec(&server, &["cat", "/tmp/large"]);
        assert!(output.status.success(), "{client:?} {}", text(&output.stderr));
        assert_eq!(output.stdout.len(), large.len(), "{client:?}");
        assert!(output.stdout == large, "{client:?}: changed on the way");
    }
}

/// Resident memory of a process, and the CPU time it has used, in ticks.
fn usage(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let times: Vec<u64> =
        stat.rsplit(')').next().unwrap().split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // The state, which is first, is no number: utime and stime are the 11th and 12th number.
    (kilobytes.unwrap().parse::<u64>().unwrap() * 1024, times[10] + times[11])
}

#[test]
fn a_client_that_does_not_read_costs_no_memory() {
    let server = with_pod();
    for client in CLIENTS {
        client.exec(&server, &["true"]);
        let (before, _) = usage(server.pid());
        let mut child = piped(client.command(&server, &["exec", "web", "--", "yes"]));
        let mut first = [0; 2];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        assert_eq!(&first, b"y\n");
        // It stands still when everything on the way is full.
        let last = std::cell::Cell::new(0);
        eventually("the guest waits for its client", || {
            std::thread::sleep(std::time::Duration::from_millis(300));
            let (_, ticks) = usage(server.pid());
            ticks - last.replace(ticks) <= 3
        });
        let (after, _) = usage(server.pid());
        assert!(after < before + SLOW_CLIENT_BYTES_MAX, "{client:?}: {before} became {after}");
        child.kill().unwrap();
        child.wait().unwrap();
        eventually("the command ends with its client", || {
            !text(&client.exec(&server, &["ps", "-o", "args"]).stdout).lines().any(|line| line == "yes")
        });
    }
}

#[test]
fn exit_codes_pass_over_both_protocols() {
    let server = with_pod();
    for client in CLIENTS {
        for (script, code) in [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("nosuch", 127), ("kill -9 $$", 137)] {
            let output = client.exec(&server, &["sh", "-c", script]);
            assert_eq!(output.status.code(), Some(code), "{client:?} {script} {}", text(&output.stderr));
        }
        let output = client.exec(&server, &["sh", "-c", "echo out; echo err >&2; exit 1"]);
        assert_eq!(text(&output.stdout), "out\n");
        assert!(text(&output.stderr).starts_with("err\n"), "{client:?} {}", text(&output.stderr));
    }
}

/// Many files, blanks and signs in names, links, an empty directory, a large file.
fn tree(root: &Path) {
    fs::create_dir_all(root.join("many")).unwrap();
    for number in 0..500 {
        fs::write(root.join(format!("many/file {number}")), format!("content {number}\n")).unwrap();
    }
    fs::create_dir_all(root.join("a b/$c'd\"")).unwrap();
    fs::write(root.join("a b/$c'd\"/* ü"), "odd\n").unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("large"), &large()[..20 << 20]).unwrap();
}

/// Paths below a directory with what is in them.
fn content(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                all.push((name, Vec::new()));
                left.push(path);
            } else {
                all.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    all.sort();
    all
}

#[test]
fn a_tree_is_copied_both_ways() {
    let server = with_pod();
    let here = server.directory().join("tree");
    tree(&here);
    for (number, client) in CLIENTS.into_iter().enumerate() {
        let there = format!("web:/tmp/tree-{number}");
        let back = server.directory().join(format!("back-{number}"));
        for (from, to) in [(here.to_str().unwrap(), there.as_str()), (&there, back.to_str().unwrap())] {
            let output = client.command(&server, &["cp", from, to]).stdin(Stdio::null()).output().unwrap();
            assert!(output.status.success(), "{client:?} cp {from} {to}: {}", text(&output.stderr));
        }
        let (sent, came) = (content(&here), content(&back));
        let names = |all: &[(String, Vec<u8>)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&sent), names(&came), "{client:?}");
        assert!(sent == came, "{client:?}: a file was changed");
    }
}

#[test]
fn attach_passes_what_is_typed_to_the_guest() {
    let server = Server::with_image(wk_guests::whoami(), WHOAMI);
    for (number, client) in CLIENTS.into_iter().enumerate() {
        let pod = format!("asks-{number}");
        let script = "while read line; do echo \"got $line\"; [ \"$line\" = end ] && exit 0; done";
        let image = format!("--image={WHOAMI}");
        let args = ["run", &pod, &image, "--stdin", "--attach=false", "--restart=Never", "--command", "--", "sh", "-c"];
        server.ok(Tool::Kubectl, &[&args[..], &[script]].concat());
        server.wait_for(Tool::Wk, "Ready", &[&format!("pod/{pod}")]);
        let mut child = piped(client.command(&server, &["attach", "-i", &pod]));
        let shown = lines(child.stdout.take().unwrap());
        let mut keys = child.stdin.take().unwrap();
        keys.write_all(b"one\n").unwrap();
        next_matching(&shown, |line| line == "got one");
        keys.write_all(b"end\n").unwrap();
        next_matching(&shown, |line| line == "got end");
        drop(keys);
        assert!(child.wait().unwrap().success(), "{client:?}");
    }
}

/// A terminal of 41 rows and 101 columns that becomes one of 33 and 77 when a FIFO
/// says so.
#[test]
fn a_command_sees_the_size_of_its_terminal_change() {
    let server = with_pod();
    let fifo = server.directory().join("go");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for client in CLIENTS {
        // The first size, too, may come after the start.
        let script = "for size in '41 101' '33 77'; do until [ \"$(stty size)\" = \"$size\" ]; do sleep 0.05; done; \
                      echo \"it is $size\"; done";
        let exec = client.command(&server, &["exec", "-it", "web", "--", "sh", "-c", script]);
        let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"));
        let words: Vec<_> = std::iter::once(exec.get_program()).chain(exec.get_args()).map(quoted).collect();
        let resize = format!(
            "stty rows 41 cols 101; exec 3<&0; {} <&3 & read go < {}; stty rows 33 cols 77; wait $!",
            words.join(" "),
            fifo.display()
        );
        let mut terminal = Command::new("script");
        terminal.args(["-qefc", &resize, "/dev/null"]).env("SHELL", "/bin/sh");
        for (name, value) in exec.get_envs() {
            terminal.env(name, value.unwrap());
        }
        let mut child = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let shown = lines(child.stdout.take().unwrap());
        next_matching(&shown, |line| line.trim_end() == "it is 41 101");
        fs::write(&fifo, "go\n").unwrap();
        next_matching(&shown, |line| line.trim_end() == "it is 33 77");
        assert!(child.wait().unwrap().success(), "{client:?}");
    }
}
