//! The special builtins (POSIX 2.14): an error in one ends a script, and
//! assignments before one stay.

use super::{CALLS_MAX, Flow, Shell, parser::is_name, run::quote};
use crate::host::Access;

type Ran = Result<u8, Flow>;

fn status(shell: &mut Shell, fields: &[String]) -> Result<u8, Flow> {
    match fields.get(1) {
        None => Ok(shell.status),
        Some(text) => match text.parse::<i64>() {
            // As exit(3) cuts it.
            Ok(number) => Ok((number & 0xff) as u8),
            Err(_) => Err(shell.fatal(&format!("{}: Illegal number: {text}", fields[0]))),
        },
    }
}

pub fn colon(_: &mut Shell, _: &[String]) -> Ran {
    Ok(0)
}

pub fn exit(shell: &mut Shell, fields: &[String]) -> Ran {
    let code = status(shell, fields)?;
    Err(Flow::Exit(code))
}

pub fn return_(shell: &mut Shell, fields: &[String]) -> Ran {
    let code = status(shell, fields)?;
    Err(Flow::Return(code))
}

fn levels(shell: &mut Shell, fields: &[String]) -> Result<usize, Flow> {
    let levels = match fields.get(1).map(|text| text.parse::<usize>()) {
        None => 1,
        Some(Ok(levels)) if levels > 0 => levels,
        _ => return Err(shell.fatal(&format!("{}: Illegal number: {}", fields[0], fields[1]))),
    };
    Ok(levels.min(shell.loops))
}

pub fn break_(shell: &mut Shell, fields: &[String]) -> Ran {
    match levels(shell, fields)? {
        0 => Ok(0),
        levels => Err(Flow::Break(levels)),
    }
}

pub fn continue_(shell: &mut Shell, fields: &[String]) -> Ran {
    match levels(shell, fields)? {
        0 => Ok(0),
        levels => Err(Flow::Continue(levels)),
    }
}

pub fn eval(shell: &mut Shell, fields: &[String]) -> Ran {
    nested(shell, |shell| shell.run_text(&fields[1..].join(" ")))
}

fn nested(shell: &mut Shell, run: impl FnOnce(&mut Shell) -> Ran) -> Ran {
    if shell.calls >= CALLS_MAX {
        return Err(shell.fatal("too many scripts within each other"));
    }
    shell.calls += 1;
    let result = run(shell);
    shell.calls -= 1;
    result
}

pub fn dot(shell: &mut Shell, fields: &[String]) -> Ran {
    let Some(path) = fields.get(1) else { return Err(shell.fatal(".: filename argument required")) };
    let Ok(file) = shell.host.open(&shell.absolute(path), Access::Read) else {
        return Err(shell.fatal(&format!(".: can't open '{path}': No such file or directory")));
    };
    let positional = (fields.len() > 2).then(|| std::mem::replace(&mut shell.positional, fields[2..].to_vec()));
    let result = nested(shell, |shell| shell.run_file(&file));
    if let Some(positional) = positional {
        shell.positional = positional;
    }
    match result {
        Err(Flow::Return(code)) => Ok(code),
        other => other,
    }
}

pub fn export(shell: &mut Shell, fields: &[String]) -> Ran {
    mark(shell, fields, |variable| &mut variable.exported)
}

pub fn readonly(shell: &mut Shell, fields: &[String]) -> Ran {
    mark(shell, fields, |variable| &mut variable.read_only)
}

fn mark(shell: &mut Shell, fields: &[String], flag: fn(&mut super::Variable) -> &mut bool) -> Ran {
    let mut arguments = &fields[1..];
    let remove = arguments.first().is_some_and(|first| first == "-n");
    if remove || arguments.first().is_some_and(|first| first == "-p") {
        arguments = &arguments[1..];
    }
    if arguments.is_empty() {
        let marked = shell.variables.clone();
        for (name, mut variable) in marked {
            if *flag(&mut variable) {
                let value = variable.value.map(|value| format!("={}", quote(&value))).unwrap_or_default();
                shell.print(&format!("{} {name}{value}\n", fields[0]))?;
            }
        }
        return Ok(0);
    }
    for argument in arguments {
        let (name, value) =
            argument.split_once('=').map_or((argument.as_str(), None), |(name, value)| (name, Some(value)));
        if !is_name(name) {
            return Err(shell.fatal(&format!("{}: {name}: bad variable name", fields[0])));
        }
        if let Some(value) = value {
            shell.assign(name, value)?;
        }
        *flag(shell.variables.entry(name.to_owned()).or_default()) = !remove;
    }
    Ok(0)
}

pub fn unset(shell: &mut Shell, fields: &[String]) -> Ran {
    let mut functions = false;
    for name in &fields[1..] {
        match name.as_str() {
            "-f" => functions = true,
            "-v" => functions = false,
            name if functions => drop(shell.functions.remove(name)),
            name => {
                if shell.variables.get(name).is_some_and(|variable| variable.read_only) {
                    return Err(shell.fatal(&format!("{name}: is read only")));
                }
                if shell.variables.remove(name).is_none() {
                    shell.functions.remove(name);
                }
            }
        }
    }
    Ok(0)
}

pub fn shift(shell: &mut Shell, fields: &[String]) -> Ran {
    let count = match fields.get(1).map(|text| text.parse::<usize>()) {
        None => 1,
        Some(Ok(count)) => count,
        Some(Err(_)) => return Err(shell.fatal(&format!("shift: Illegal number: {}", fields[1]))),
    };
    if count > shell.positional.len() {
        return Ok(1);
    }
    shell.positional.drain(..count);
    Ok(0)
}

pub fn set(shell: &mut Shell, fields: &[String]) -> Ran {
    if fields.len() == 1 {
        for (name, variable) in shell.variables.clone() {
            if let Some(value) = variable.value {
                shell.print(&format!("{name}={}\n", quote(&value)))?;
            }
        }
        return Ok(0);
    }
    let mut arguments = fields[1..].iter();
    while let Some(argument) = arguments.next() {
        let on = argument.starts_with('-');
        if argument == "--" || argument == "-" || !argument.starts_with(['-', '+']) {
            let first = (argument != "--" && argument != "-").then(|| argument.clone());
            shell.positional = first.into_iter().chain(arguments.cloned()).collect();
            return Ok(0);
        }
        for letter in argument.chars().skip(1) {
            if letter == 'o' {
                let Some(name) = arguments.next() else { return show_options(shell, on) };
                if !shell.options.set_by_name(name, on) {
                    return Err(shell.fatal(&format!("set: illegal option -o {name}")));
                }
            } else if !shell.options.set(letter, on) && !matches!(letter, 'm' | 'b' | 'h' | 'i') {
                return Err(shell.fatal(&format!("set: illegal option -{letter}")));
            }
        }
    }
    Ok(0)
}

fn show_options(shell: &mut Shell, readable: bool) -> Ran {
    let mut options = shell.options.clone();
    if readable {
        shell.print("Current option settings\n")?;
    }
    for (name, letter) in super::Options::NAMES {
        let on = options.by_letter(letter).map_or(shell.options.pipefail, |option| *option);
        let line = if readable {
            format!("{name:<16}{}\n", if on { "on" } else { "off" })
        } else {
            format!("set {}o {name}\n", if on { '-' } else { '+' })
        };
        shell.print(&line)?;
    }
    Ok(0)
}

pub fn times(shell: &mut Shell, _: &[String]) -> Ran {
    let me = shell.host.processes().into_iter().find(|process| process.pid == shell.host.pid());
    let seconds = me.map_or(0.0, |process| process.cpu.as_secs_f64());
    let (minutes, rest) = ((seconds / 60.0).floor(), seconds % 60.0);
    shell.print(&format!("{minutes}m{rest:.3}s 0m0.000s\n0m0.000s 0m0.000s\n"))?;
    Ok(0)
}
