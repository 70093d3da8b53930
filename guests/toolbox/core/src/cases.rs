//! The cases of `tests/cases`: what a person types, what comes out, how it ends.
//!
//! A file says how it is written at its top. `UPDATE_EXPECT=1` writes down what the
//! machine's BusyBox does, in the files that begin with `busybox-`; the others hold
//! where the toolbox differs from it on purpose, or has more.

use crate::fake::{Container, Ran};
use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

#[derive(Debug, PartialEq, Eq)]
struct Case {
    script: String,
    ran: Ran,
}

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases");
    let mut files: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// What stands above the first case, and the cases.
fn parse(text: &str) -> (String, Vec<Case>) {
    let (mut head, mut cases) = (String::new(), Vec::<Case>::new());
    for line in text.lines() {
        let (mark, rest) = line.split_at(line.len().min(1));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        if mark == "$" {
            let ran = Ran { stdout: String::new(), stderr: String::new(), code: 0 };
            cases.push(Case { script: rest.to_owned(), ran });
            continue;
        }
        let Some(Case { script, ran }) = cases.last_mut() else {
            head.extend([line, "\n"]);
            continue;
        };
        match mark {
            ">" => script.extend(["\n", rest]),
            "|" => ran.stdout.extend([rest, "\n"]),
            "%" => ran.stdout.push_str(rest),
            "!" => ran.stderr.extend([rest, "\n"]),
            "=" => ran.code = rest.parse().unwrap(),
            "" => {}
            _ => panic!("not a line of a case: {line}"),
        }
    }
    (head, cases)
}

fn show(case: &Case) -> String {
    let marked = |mark: &str, line: &str| format!("{mark} {line}").trim_end_matches(' ').to_owned() + "\n";
    let mut text = String::from("\n");
    for (index, line) in case.script.split('\n').enumerate() {
        text += &marked(if index == 0 { "$" } else { ">" }, line);
    }
    for line in case.ran.stdout.split_inclusive('\n') {
        text += &match line.strip_suffix('\n') {
            // A blank at the end of a line would be lost.
            Some(line) => format!("|{}{line}\n", if line.is_empty() { "" } else { " " }),
            None => format!("% {line}\n"),
        };
    }
    for line in case.ran.stderr.lines() {
        text += &marked("!", line);
    }
    if case.ran.code != 0 {
        text += &format!("= {}\n", case.ran.code);
    }
    text
}

/// What BusyBox does, in an empty directory.
fn busybox(script: &str, bin: &Path) -> Ran {
    let container = Container::new();
    let mut command = Command::new(bin.join("sh"));
    command.arg0("sh").args(["-c", script]).current_dir(container.directory().join("tmp")).stdin(Stdio::null());
    command.env_clear().envs([("PATH", bin.to_str().unwrap()), ("HOME", "/tmp"), ("HOSTNAME", "web-0")]);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(&format!("{}/", bin.display()), "/bin/");
    // The line number that it says is that of the whole script here: always 0.
    let stderr = text(output.stderr).replace(" line 0:", "");
    Ran { stdout: text(output.stdout), stderr, code: output.status.code().map_or(255, |code| code as u8) }
}

/// A directory with a link for each of BusyBox's programs.
fn busybox_programs() -> Container {
    let bin = Container::new();
    let done = Command::new("busybox").args(["--install", "-s"]).arg(bin.directory()).status();
    assert!(done.unwrap().success());
    bin
}

fn record() {
    let bin = busybox_programs();
    for path in files() {
        if path.file_name().unwrap().to_string_lossy().starts_with("busybox-") {
            let (mut text, cases) = parse(&fs::read_to_string(&path).unwrap());
            text.truncate(text.trim_end().len());
            text.push('\n');
            for Case { script, .. } in cases {
                let ran = busybox(&script, bin.directory());
                text += &show(&Case { script, ran });
            }
            fs::write(&path, text).unwrap();
        }
    }
}

#[test]
fn the_toolbox_does_what_the_cases_say() {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        record();
    }
    let (mut failures, mut count) = (String::new(), 0);
    for path in files() {
        for expected in parse(&fs::read_to_string(&path).unwrap()).1 {
            count += 1;
            let ran = Container::new().run(&["sh", "-c", &expected.script], "");
            let case = Case { script: expected.script.clone(), ran };
            if case != expected {
                failures += &format!("expected:{}got:{}", show(&expected), show(&case));
            }
        }
    }
    assert!(count > 0 && failures.is_empty(), "{failures}");
}
