//! Programs about processes and what they run in.

use crate::{
    Context,
    context::{Failure, Outcome},
    flags::Flags,
    host::{Child, Command, Errno, File, Process},
};
use std::{io::Write, rc::Rc, time::Duration};

/// `PATH` when it is not set.
pub const DEFAULT_SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub fn env(context: &mut Context) -> Outcome {
    let spec = [("ignore-environment", 'i'), ("unset", 'u'), ("null", '0')];
    let flags = Flags::parse(context.operands(), "+iu:0", &spec)?;
    let mut operands = flags.operands.as_slice();
    if operands.first().is_some_and(|first| first == "-") {
        operands = &operands[1..];
        context.environment.clear();
    }
    if flags.has('i') {
        context.environment.clear();
    }
    for name in flags.values('u') {
        context.environment.retain(|(key, _)| key != name);
    }
    while let Some((name, value)) = operands.first().and_then(|first| first.split_once('=')) {
        context.environment.retain(|(key, _)| key != name);
        context.environment.push((name.to_owned(), value.to_owned()));
        operands = &operands[1..];
    }
    if !operands.is_empty() {
        return run(context, operands);
    }
    let end = if flags.has('0') { '\0' } else { '\n' };
    for (name, value) in &context.environment {
        write!(context.stdout, "{name}={value}{end}")?;
    }
    Ok(0)
}

/// Runs a program with this one's streams, environment and directory.
pub fn run(context: &mut Context, arguments: &[String]) -> Outcome {
    let Some(child) = spawn(context, arguments)? else { return Ok(127) };
    Ok(child.wait().code())
}

/// Starts a program as [`run`] does; none, and a message, when there is no such program.
pub fn spawn(context: &mut Context, arguments: &[String]) -> Result<Option<Rc<dyn Child>>, Failure> {
    context.stdout.flush()?;
    let streams = [&context.stdin, &context.stdout.file, &context.stderr].map(Rc::clone);
    spawn_with(context, arguments, &streams)
}

/// The same with other streams.
pub fn spawn_with(
    context: &mut Context,
    arguments: &[String],
    streams: &[File; 3],
) -> Result<Option<Rc<dyn Child>>, Failure> {
    let command = Command {
        arguments: arguments.to_vec(),
        environment: context.environment.clone(),
        directory: context.directory.clone(),
        search: context.variable("PATH").unwrap_or(DEFAULT_SEARCH).to_owned(),
        background: false,
    };
    match context.host.spawn(&command, streams.each_ref()) {
        Ok(child) => Ok(Some(child)),
        Err(Errno::NoEntry) => {
            let program = arguments.first().map_or("", String::as_str);
            context.complain(format_args!("can't execute '{program}': No such file or directory"));
            Ok(None)
        }
        // As execvp(3): the shell's, if it is text.
        Err(Errno::NoExec) if arguments.first().is_some_and(|first| first != "sh") => {
            let path = context.host.find(&command.arguments[0], &command.search, &command.directory);
            let shell = ["/bin/sh".to_owned(), path.unwrap_or_default()];
            spawn_with(context, &[&shell, &arguments[1..]].concat(), streams)
        }
        Err(errno) => Err(errno.into()),
    }
}

pub fn printenv(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "", &[])?;
    if flags.operands.is_empty() {
        for (name, value) in &context.environment {
            writeln!(context.stdout, "{name}={value}")?;
        }
        return Ok(0);
    }
    let mut code = 0;
    for name in &flags.operands {
        match context.environment.iter().find(|(key, _)| key == name) {
            Some((_, value)) => writeln!(context.stdout, "{value}")?,
            None => code = 1,
        }
    }
    Ok(code)
}

/// Signals by number, as Linux numbers them.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "POLL",
    "PWR", "SYS",
];

/// A signal's number, by number or name, with or without `SIG`.
pub fn signal(text: &str) -> Option<u8> {
    if let Ok(number) = text.parse::<u8>() {
        return (number < 65).then_some(number);
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let index = SIGNALS.iter().position(|known| *known == name)?;
    u8::try_from(index + 1).ok()
}

/// Its name, without `SIG`.
pub fn signal_name(number: u8) -> String {
    let index = usize::from(number).wrapping_sub(1);
    SIGNALS.get(index).map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

pub fn kill(context: &mut Context) -> Outcome {
    let operands = context.operands().to_vec();
    let mut pids = operands.as_slice();
    let mut number = 15;
    match operands.first().map(String::as_str) {
        Some("-l") => return list_signals(context, &operands[1..]),
        Some("-s") => {
            let name = operands.get(1).ok_or_else(|| Failure::Usage("option requires an argument: s".to_owned()))?;
            number = signal(name).ok_or_else(|| Failure::Message(format!("bad signal name '{name}'")))?;
            pids = &operands[2..];
        }
        Some("--") => pids = &operands[1..],
        Some(first) if first.len() > 1 && first.starts_with('-') => {
            let name = &first[1..];
            number = signal(name).ok_or_else(|| Failure::Message(format!("bad signal name '{name}'")))?;
            pids = &operands[1..];
        }
        _ => {}
    }
    if pids.is_empty() {
        return Err(Failure::Message("you need to specify whom to kill".to_owned()));
    }
    let mut code = 0;
    for pid in pids {
        let Ok(id) = pid.parse() else {
            context.complain(format_args!("invalid number '{pid}'"));
            code = 1;
            continue;
        };
        if let Err(errno) = context.host.kill(id, number) {
            let error = std::io::Error::from(errno);
            context.complain(format_args!("can't kill pid {pid}: {}", crate::context::reason(&error)));
            code = 1;
        }
    }
    Ok(code)
}

fn list_signals(context: &mut Context, asked: &[String]) -> Outcome {
    if asked.is_empty() {
        for (index, name) in SIGNALS.iter().enumerate() {
            writeln!(context.stdout, "{:2}) {name}", index + 1)?;
        }
    }
    for text in asked {
        match text.parse::<usize>() {
            // An exit code of a killed process counts too.
            Ok(number) => match SIGNALS.get((number % 128).wrapping_sub(1)) {
                Some(name) => writeln!(context.stdout, "{name}")?,
                None => return Err(Failure::Message(format!("unknown signal '{text}'"))),
            },
            Err(_) => match signal(text) {
                Some(number) => writeln!(context.stdout, "{number}")?,
                None => return Err(Failure::Message(format!("unknown signal '{text}'"))),
            },
        }
    }
    Ok(0)
}

type Column = (&'static str, &'static str, fn(&Process, Duration) -> String);

/// What `ps -o` knows: name, header, content.
const COLUMNS: [Column; 11] = [
    ("pid", "PID", |process, _| process.pid.to_string()),
    ("ppid", "PPID", |process, _| process.parent.to_string()),
    ("user", "USER", |_, _| "root".to_owned()),
    ("group", "GROUP", |_, _| "root".to_owned()),
    ("time", "TIME", |process, _| minutes(process.cpu)),
    ("etime", "ELAPSED", |process, now| minutes(now.saturating_sub(process.started_at))),
    ("vsz", "VSZ", |process, _| size(process.memory_bytes)),
    ("rss", "RSS", |process, _| size(process.memory_bytes)),
    ("stat", "STAT", |process, _| process.state.clone()),
    ("comm", "COMMAND", |process, _| process.command.first().cloned().unwrap_or_default()),
    ("args", "COMMAND", |process, _| process.command.join(" ")),
];

fn minutes(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 3600 {
        format!("{}:{:02}", seconds / 60, seconds % 60)
    } else {
        format!("{}h{:02}", seconds / 3600, seconds / 60 % 60)
    }
}

/// KiB, or with a unit when they do not fit, as BusyBox's ps.
pub fn size(bytes: u64) -> String {
    let kib = bytes / 1024;
    if kib < 100_000 { kib.to_string() } else { format!("{}m", kib / 1024) }
}

pub fn ps(context: &mut Context) -> Outcome {
    // What ps of procps takes is accepted: people type `ps aux` and `ps -ef`.
    let flags = Flags::parse(context.operands(), "o:aefluxwT", &[])?;
    let mut columns: Vec<(Column, String)> = Vec::new();
    for name in flags.values('o').flat_map(|list| list.split(',')) {
        let (name, header) = name.split_once('=').map_or((name, None), |(name, header)| (name, Some(header)));
        let known = COLUMNS.iter().find(|(known, ..)| *known == name);
        let column = *known.ok_or_else(|| Failure::Message(format!("bad -o argument '{name}'")))?;
        columns.push((column, header.unwrap_or(column.1).to_owned()));
    }
    if columns.is_empty() {
        let default = ["pid", "user", "time", "args"];
        let chosen = default.iter().flat_map(|name| COLUMNS.iter().find(|(known, ..)| known == name));
        columns = chosen.map(|column| (*column, column.1.to_owned())).collect();
    }
    let now = context.host.now();
    let mut rows: Vec<Vec<String>> = vec![columns.iter().map(|(_, header)| header.clone()).collect()];
    for process in context.host.processes() {
        rows.push(columns.iter().map(|((_, _, show), _)| show(&process, now)).collect());
    }
    for row in rows {
        let last = row.len() - 1;
        for (index, (cell, ((name, ..), _))) in row.iter().zip(&columns).enumerate() {
            match *name {
                _ if index == last => writeln!(context.stdout, "{cell}")?,
                "pid" | "ppid" => write!(context.stdout, "{cell:>5} ")?,
                "user" | "group" => write!(context.stdout, "{cell:<8} ")?,
                "stat" | "vsz" | "rss" => write!(context.stdout, "{cell:<5}")?,
                _ => write!(context.stdout, "{cell:>6}  ")?,
            }
        }
    }
    Ok(0)
}
