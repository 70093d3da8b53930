//! The table of programs, and how one is run.
//!
//! An applet is a function from a [`Context`] to an exit code. Those of one
//! subject share a file.

mod basics;
mod printf;
mod processes;
mod test;

pub(crate) use basics::{Octal, unescape};
pub(crate) use processes::signal;

use crate::{
    Context,
    context::{Failure, Outcome},
};
use std::io::Write;

/// One program.
struct Applet {
    name: &'static str,
    run: fn(&mut Context) -> Outcome,
    /// What follows its name in its usage, and what it does.
    usage: &'static str,
}

const fn applet(name: &'static str, run: fn(&mut Context) -> Outcome, usage: &'static str) -> Applet {
    Applet { name, run, usage }
}

/// Every program, by name.
static APPLETS: &[Applet] = &[
    applet("[", basics::test, "EXPRESSION ]\n\nCheck file types, compare values etc."),
    applet("cat", basics::cat, "[-n] [FILE]...\n\nPrint FILEs to stdout"),
    applet("echo", basics::echo, "[-neE] [ARG]...\n\nPrint ARGs to stdout"),
    applet(
        "env",
        processes::env,
        "[-i] [-u NAME]... [NAME=VALUE]... [PROG ARGS]\n\nPrint the environment, or run PROG in a changed one",
    ),
    applet("false", basics::no, "\n\nReturn an exit code of FALSE (1)"),
    applet("kill", processes::kill, "[-l] [-SIG] PID...\n\nSend a signal (default: TERM) to given PIDs"),
    applet("printenv", processes::printenv, "[VARIABLE]...\n\nPrint environment VARIABLEs"),
    applet("printf", printf::printf, "FORMAT [ARG]...\n\nFormat and print ARGs according to FORMAT"),
    applet("ps", processes::ps, "[-o COL1,COL2=HEADER]\n\nShow list of processes"),
    applet("pwd", basics::pwd, "\n\nPrint the full name of the current directory"),
    applet("sh", crate::shell::main, "[-aCefnuvxs] [-o OPTION] [-c SCRIPT | FILE] [ARG]...\n\nUnix shell interpreter"),
    applet(
        "sleep",
        basics::sleep,
        "[N]...\n\nPause for a time equal to the total of the args given, where each arg can\nhave an optional suffix of (s)econds, (m)inutes, (h)ours, or (d)ays",
    ),
    applet("test", basics::test, "EXPRESSION\n\nCheck file types, compare values etc."),
    applet("true", basics::yes, "\n\nReturn an exit code of TRUE (0)"),
];

/// The names of all programs, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    APPLETS.iter().map(|applet| applet.name)
}

fn find(name: &str) -> Option<&'static Applet> {
    APPLETS.iter().find(|applet| applet.name == name)
}

/// Programs that take `--help` as any other argument.
const TAKE_HELP: [&str; 5] = ["[", "echo", "false", "test", "true"];

/// Runs the program that `arguments[0]` names: its exit code.
pub fn run(context: &mut Context) -> u8 {
    let name = context.name().to_owned();
    let Some(applet) = find(&name) else {
        // Under the name it has itself, it runs what its first argument names.
        if matches!(name.as_str(), "toolbox" | "busybox") && context.arguments.len() > 1 {
            context.arguments.remove(0);
            return run(context);
        }
        let _ = context.stderr.write(format!("{name}: applet not found\n").as_bytes());
        return 127;
    };
    if context.operands().first().is_some_and(|first| first == "--help") && !TAKE_HELP.contains(&applet.name) {
        let _ = context.stderr.write(usage(applet).as_bytes());
        return 0;
    }
    let outcome = (applet.run)(context);
    let flushed = context.stdout.flush().map_err(Failure::from);
    match outcome.and_then(|code| flushed.map(|()| code)) {
        Ok(code) | Err(Failure::Code(code)) => code,
        Err(Failure::Message(message)) => {
            context.complain(message);
            1
        }
        Err(Failure::Usage(message)) => {
            if !message.is_empty() {
                context.complain(message);
            }
            let _ = context.stderr.write(usage(applet).as_bytes());
            if applet.name == "grep" { 2 } else { 1 }
        }
    }
}

fn usage(applet: &Applet) -> String {
    format!("wk toolbox v{}\n\nUsage: {} {}\n", env!("CARGO_PKG_VERSION"), applet.name, applet.usage)
}

#[cfg(test)]
mod tests {
    /// The host reads the file to know what it may start.
    #[test]
    fn the_list_beside_the_crate_is_the_table() {
        let list: Vec<&str> = include_str!("../../../programs.txt").lines().collect();
        assert_eq!(list, super::names().collect::<Vec<_>>());
        assert!(list.is_sorted());
    }
}
