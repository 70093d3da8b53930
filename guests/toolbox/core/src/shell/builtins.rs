//! Builtins that are not special.

use super::{Flow, Shell, Variable, parser::is_name, special};
use crate::{Context, Output};
use std::{rc::Rc, time::Duration};

type Ran = Result<u8, Flow>;
type Builtin = fn(&mut Shell, &[String]) -> Ran;

/// The special builtin of this name.
pub fn special(name: &str) -> Option<Builtin> {
    Some(match name {
        ":" => special::colon,
        "." | "source" => special::dot,
        "break" => special::break_,
        "continue" => special::continue_,
        "eval" => special::eval,
        // Run where its redirections stay.
        "exec" => special::colon,
        "exit" => special::exit,
        "export" => special::export,
        "readonly" => special::readonly,
        "return" => special::return_,
        "set" => special::set,
        "shift" => special::shift,
        "times" => special::times,
        "trap" => super::signals::trap,
        "unset" => special::unset,
        _ => return None,
    })
}

/// The other builtin of this name.
pub fn find(name: &str) -> Option<Builtin> {
    Some(match name {
        "cd" | "chdir" => cd,
        "command" => command,
        "fg" | "bg" => no_job_control,
        "getopts" => getopts,
        "hash" | "alias" | "unalias" => special::colon,
        "jobs" => jobs,
        "let" => let_,
        "local" => local,
        "read" => super::read::read,
        "time" => time,
        "type" => type_,
        "ulimit" => ulimit,
        "umask" => umask,
        "wait" => wait,
        "[" | "[[" | "echo" | "false" | "kill" | "printf" | "pwd" | "test" | "true" => applet,
        _ => return None,
    })
}

pub fn is_builtin(name: &str) -> bool {
    special(name).is_some() || find(name).is_some()
}

impl Shell {
    /// Writes on the shell's standard output; the end of the shell when nobody reads.
    pub(super) fn print(&mut self, text: &str) -> Result<(), Flow> {
        match self.files.get(&1).map(|stdout| stdout.write(text.as_bytes())) {
            Some(Err(crate::host::Errno::Pipe)) => Err(Flow::Exit(141)),
            _ => Ok(()),
        }
    }
}

/// A program of the toolbox, run in this process.
fn applet(shell: &mut Shell, fields: &[String]) -> Ran {
    let null = || shell.host.file_of(Vec::new());
    let [stdin, stdout, stderr] = [0, 1, 2].map(|fd| shell.files.get(&fd).cloned().unwrap_or_else(null));
    let mut context = Context {
        host: Rc::clone(&shell.host),
        arguments: fields.to_vec(),
        speaker: Some(shell.short_name().to_owned()),
        environment: Vec::new(),
        directory: shell.directory.clone(),
        stdin,
        stdout: Output::new(stdout),
        stderr,
    };
    match crate::applets::run(&mut context) {
        // Nobody reads: as the signal would end this process.
        141 => Err(Flow::Exit(141)),
        code => Ok(code),
    }
}

fn cd(shell: &mut Shell, fields: &[String]) -> Ran {
    let mut arguments: Vec<&String> = fields[1..].iter().collect();
    arguments.retain(|argument| !matches!(argument.as_str(), "-L" | "-P" | "--"));
    let home = shell.get("HOME").unwrap_or_else(|| "/".to_owned());
    let target = match arguments.first().map(|target| target.as_str()) {
        None => home,
        Some("-") => match shell.get("OLDPWD") {
            Some(old) => {
                shell.print(&format!("{old}\n"))?;
                old
            }
            None => {
                shell.complain("cd: OLDPWD not set");
                return Ok(2);
            }
        },
        Some(target) => target.to_owned(),
    };
    let directory = shell.absolute(&target);
    match std::fs::metadata(shell.host.path(&directory)) {
        Ok(metadata) if metadata.is_dir() => {}
        other => {
            let why = other.map_or_else(|error| crate::context::reason(&error), |_| "Not a directory".to_owned());
            shell.complain(&format!("cd: can't cd to {target}: {why}"));
            return Ok(2);
        }
    }
    let old = std::mem::replace(&mut shell.directory, directory.clone());
    shell.assign("OLDPWD", &old)?;
    shell.assign("PWD", &directory)?;
    Ok(0)
}

fn describe(shell: &Shell, name: &str, short: bool) -> Option<String> {
    let words = [
        "if", "then", "else", "elif", "fi", "do", "done", "case", "esac", "while", "until", "for", "{", "}", "!", "in",
    ];
    Some(if words.contains(&name) {
        if short { name.to_owned() } else { format!("{name} is a shell keyword") }
    } else if shell.functions.contains_key(name) {
        if short { name.to_owned() } else { format!("{name} is a function") }
    } else if special(name).is_some() {
        if short { name.to_owned() } else { format!("{name} is a special shell builtin") }
    } else if find(name).is_some() {
        if short { name.to_owned() } else { format!("{name} is a shell builtin") }
    } else {
        let path = shell.find(name)?;
        if short { path } else { format!("{name} is {path}") }
    })
}

fn type_(shell: &mut Shell, fields: &[String]) -> Ran {
    let mut code = 0;
    for name in &fields[1..] {
        match describe(shell, name, false) {
            Some(text) => shell.print(&format!("{text}\n"))?,
            None => {
                shell.print(&format!("{name}: not found\n"))?;
                code = 127;
            }
        }
    }
    Ok(code)
}

fn command(shell: &mut Shell, fields: &[String]) -> Ran {
    let mut rest = &fields[1..];
    let mut show = None;
    while let Some(flag) = rest.first().filter(|first| matches!(first.as_str(), "-v" | "-V" | "-p" | "--")) {
        if flag != "-p" && flag != "--" {
            show = Some(flag == "-v");
        }
        rest = &rest[1..];
    }
    let Some(name) = rest.first() else { return Ok(0) };
    if let Some(short) = show {
        return match describe(shell, name, short) {
            Some(text) => shell.print(&format!("{text}\n")).map(|()| 0),
            None => {
                if !short {
                    shell.complain(&format!("{name}: not found"));
                }
                Ok(127)
            }
        };
    }
    if name == "exec" {
        return shell.exec(&rest[1..], &[]);
    }
    match special(name).or_else(|| find(name)) {
        Some(builtin) => builtin(shell, rest),
        None => shell.run_program(rest),
    }
}

fn no_job_control(shell: &mut Shell, fields: &[String]) -> Ran {
    shell.complain(&format!("{}: job control is not available", fields[0]));
    Ok(1)
}

fn jobs(shell: &mut Shell, _: &[String]) -> Ran {
    for (index, job) in shell.jobs.clone().iter().enumerate() {
        let state = if job.poll().is_none() { "Running" } else { "Done" };
        shell.print(&format!("[{}]+ {:>5} {state}\n", index + 1, job.pid()))?;
    }
    shell.jobs.retain(|job| job.poll().is_none());
    Ok(0)
}

fn wait(shell: &mut Shell, fields: &[String]) -> Ran {
    if fields.len() == 1 {
        while let Some(job) = shell.jobs.first().cloned() {
            match job.wait_or_signal() {
                Some(_) => drop(shell.jobs.remove(0)),
                None => return shell.wait_interrupted(),
            }
        }
        return Ok(0);
    }
    let mut code = 0;
    for text in &fields[1..] {
        code = match shell.job(text) {
            Some(index) => match shell.jobs[index].wait_or_signal() {
                Some(end) => {
                    shell.jobs.remove(index);
                    end.code()
                }
                None => return shell.wait_interrupted(),
            },
            None => 127,
        };
    }
    Ok(code)
}

impl Shell {
    /// The job that `%1` or a process's number names.
    fn job(&self, text: &str) -> Option<usize> {
        match text.strip_prefix('%') {
            Some(number) => number.parse::<usize>().ok()?.checked_sub(1).filter(|index| *index < self.jobs.len()),
            None => self.jobs.iter().position(|job| text.parse() == Ok(job.pid())),
        }
    }
}

fn let_(shell: &mut Shell, fields: &[String]) -> Ran {
    let mut value = 0;
    for expression in &fields[1..] {
        value = super::arithmetic::evaluate(expression, shell).map_err(|message| shell.fatal(&message))?;
    }
    Ok(u8::from(value == 0))
}

fn local(shell: &mut Shell, fields: &[String]) -> Ran {
    for argument in &fields[1..] {
        let (name, value) =
            argument.split_once('=').map_or((argument.as_str(), None), |(name, value)| (name, Some(value)));
        if !is_name(name) {
            return Err(shell.fatal(&format!("local: {name}: bad variable name")));
        }
        let before = shell.variables.get(name).cloned();
        let Some(scope) = shell.locals.last_mut() else {
            return Err(shell.fatal("local: not in a function"));
        };
        scope.push((name.to_owned(), before));
        match value {
            Some(value) => shell.assign(name, value)?,
            None => drop(shell.variables.insert(name.to_owned(), Variable::default())),
        }
    }
    Ok(0)
}

/// What a guest may have is its container's affair: `ulimit` only shows.
fn ulimit(shell: &mut Shell, fields: &[String]) -> Ran {
    let sets = fields[1..].iter().any(|field| !field.starts_with('-'));
    if sets { Ok(0) } else { shell.print("unlimited\n").map(|()| 0) }
}

/// Runs a command and tells how long it took.
fn time(shell: &mut Shell, fields: &[String]) -> Ran {
    let rest = &fields[1 + usize::from(fields.get(1).is_some_and(|flag| flag == "-p"))..];
    let cpu = |shell: &Shell| {
        let me = shell.host.processes().into_iter().find(|process| process.pid == shell.host.pid());
        me.map_or(Duration::ZERO, |process| process.cpu)
    };
    let (began, used) = (shell.host.now(), cpu(shell));
    let code = match rest.first().map(|name| special(name)) {
        None => 0,
        Some(Some(special)) => special(shell, rest)?,
        Some(None) => shell.run_named(rest)?,
    };
    let (real, user) = (shell.host.now().saturating_sub(began), cpu(shell).saturating_sub(used));
    let show = |duration: Duration| format!("{}m {:.2}s", duration.as_secs() / 60, duration.as_secs_f64() % 60.0);
    shell.tell(&format!("real\t{}\nuser\t{}\nsys\t0m 0.00s\n", show(real), show(user)));
    Ok(code)
}

fn umask(shell: &mut Shell, fields: &[String]) -> Ran {
    // There are no permission bits to mask.
    if fields.len() == 1 { shell.print("0022\n").map(|()| 0) } else { Ok(0) }
}

fn getopts(shell: &mut Shell, fields: &[String]) -> Ran {
    let (Some(spec), Some(name)) = (fields.get(1), fields.get(2)) else {
        return Err(shell.fatal("getopts: usage: getopts optstring var [arg]"));
    };
    let arguments = if fields.len() > 3 { fields[3..].to_vec() } else { shell.positional.clone() };
    let index = shell.get("OPTIND").and_then(|text| text.parse::<usize>().ok()).unwrap_or(1).max(1);
    let at = shell.getopts_at;
    let argument = arguments.get(index - 1).cloned().unwrap_or_default();
    let letters: Vec<char> = argument.chars().collect();
    if at == 0 && (letters.len() < 2 || letters[0] != '-' || argument == "--") {
        if argument == "--" {
            shell.assign("OPTIND", &(index + 1).to_string())?;
        }
        shell.assign(name, "?")?;
        return Ok(1);
    }
    let at = at.max(1);
    let Some(letter) = letters.get(at).copied() else { return Ok(1) };
    let silent = spec.starts_with(':');
    let known = letter != ':' && spec.contains(letter);
    let takes_value = known && spec.split_once(letter).is_some_and(|(_, after)| after.starts_with(':'));
    let mut next = (index, at + 1);
    if at + 1 >= letters.len() {
        next = (index + 1, 0);
    }
    let mut found = letter;
    shell.variables.remove("OPTARG");
    if !known {
        found = '?';
        if silent {
            shell.assign("OPTARG", &letter.to_string())?;
        } else {
            shell.tell(&format!("Illegal option -{letter}\n"));
        }
    } else if takes_value {
        let attached: String = letters[at + 1..].iter().collect();
        let value = if attached.is_empty() { arguments.get(index).cloned() } else { Some(attached.clone()) };
        next = (index + 1 + usize::from(attached.is_empty()), 0);
        match value {
            Some(value) => shell.assign("OPTARG", &value)?,
            None if silent => {
                found = ':';
                shell.assign("OPTARG", &letter.to_string())?;
            }
            None => {
                found = '?';
                shell.tell(&format!("No arg for -{letter} option\n"));
            }
        }
    }
    shell.assign("OPTIND", &next.0.to_string())?;
    shell.getopts_at = next.1;
    shell.assign(name, &found.to_string())?;
    Ok(0)
}
