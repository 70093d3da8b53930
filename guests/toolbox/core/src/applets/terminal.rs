//! Programs about the terminal: `stty`, `tty`, `clear`, and `less`, which only shows.

use super::control::CLEAR;
use crate::{
    Context,
    context::{Failure, Outcome},
    flags::Flags,
};
use std::io::Write;

/// What the line discipline of the host does; the rest of termios it does not have.
const SETTINGS: &str = "speed 38400 baud; line = 0;\n\
    intr = ^C; quit = ^\\; erase = ^?; kill = ^U; eof = ^D; rprnt = ^R; werase = ^W; lnext = ^V;\n";

pub fn stty(context: &mut Context) -> Outcome {
    let mut arguments = context.operands().to_vec();
    if !context.stdin.is_terminal() {
        return Err(Failure::Message("standard input: Inappropriate ioctl for device".to_owned()));
    }
    if arguments.is_empty() {
        arguments.push("-a".to_owned());
    }
    for argument in &arguments {
        match argument.as_str() {
            "size" => {
                let (columns, rows) = context.host.terminal_size().unwrap_or((0, 0));
                writeln!(context.stdout, "{rows} {columns}")?;
            }
            "-a" | "--all" => {
                if let Some((columns, rows)) = context.host.terminal_size() {
                    writeln!(
                        context.stdout,
                        "{}",
                        SETTINGS.replacen(";\n", &format!("; rows {rows}; columns {columns};\n"), 1).trim_end()
                    )?;
                } else {
                    write!(context.stdout, "{SETTINGS}")?;
                }
            }
            "raw" | "-cooked" | "-icanon" | "cbreak" => context.host.set_raw(true)?,
            "sane" | "cooked" | "-raw" | "icanon" | "-cbreak" => context.host.set_raw(false)?,
            // The host echoes just when it edits lines.
            "echo" | "-echo" | "isig" | "-isig" | "ixon" | "-ixon" | "icrnl" | "opost" | "onlcr" => {}
            other => return Err(Failure::Message(format!("invalid argument '{other}'"))),
        }
    }
    Ok(0)
}

pub fn tty(context: &mut Context) -> Outcome {
    let silent = Flags::parse(context.operands(), "s", &[])?.has('s');
    let terminal = context.stdin.is_terminal();
    if !silent {
        writeln!(context.stdout, "{}", if terminal { "/dev/tty" } else { "not a tty" })?;
    }
    Ok(u8::from(!terminal))
}

pub fn clear(context: &mut Context) -> Outcome {
    write!(context.stdout, "{CLEAR}")?;
    Ok(0)
}
