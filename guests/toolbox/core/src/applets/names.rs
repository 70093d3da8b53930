//! Programs that make and take away names of files: `mktemp`, `truncate`, `link`.

use crate::{
    Context,
    context::{Failure, Outcome, reason},
    flags::Flags,
};
use std::{fs, io, io::Write};

/// Names that are tried before there must be something else wrong.
const TRIES_MAX: u32 = 100;

pub fn mktemp(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "dqtp:u", &[("directory", 'd'), ("tmpdir", 'p'), ("quiet", 'q')])?;
    let base = flags.value('p').or(context.variable("TMPDIR")).unwrap_or("/tmp").to_owned();
    let template = match flags.operands.first() {
        Some(template) if flags.has('t') || flags.has('p') => format!("{base}/{template}"),
        Some(template) => template.clone(),
        None => format!("{base}/tmp.XXXXXX"),
    };
    let stem = template.trim_end_matches('X');
    let count = template.len() - stem.len();
    if count < 6 {
        return Err(Failure::Message(format!("{template}: Invalid argument")));
    }
    let mut seed = context.host.now().as_nanos() ^ u128::from(context.host.pid()) << 64;
    for _ in 0..TRIES_MAX {
        // As good as the clock: what counts is that the name is new.
        seed = seed.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
        let name = format!("{stem}{}", letters(seed >> 32, count));
        let path = context.path(&name);
        let made = match flags.has('u') {
            true => Ok(()),
            false if flags.has('d') => fs::create_dir(&path),
            false => fs::File::create_new(&path).map(drop),
        };
        match made {
            Ok(()) => {
                writeln!(context.stdout, "{name}")?;
                return Ok(0);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(_) if flags.has('q') => return Ok(1),
            Err(error) => return Err(Failure::Message(format!("{template}: {}", reason(&error)))),
        }
    }
    Err(Failure::Message(format!("{template}: File exists")))
}

fn letters(mut number: u128, count: usize) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = String::new();
    for _ in 0..count {
        text.push(char::from(ALPHABET[usize::try_from(number % 62).unwrap_or(0)]));
        number /= 62;
    }
    text
}

pub fn truncate(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "cs:", &[("size", 's'), ("no-create", 'c')])?;
    let Some(text) = flags.value('s') else { return Err(Failure::Usage(String::new())) };
    let size = super::files::bytes(text.trim_start_matches(['+', '-']))?;
    let mut code = 0;
    for path in &flags.operands {
        let opened = fs::File::options().write(true).create(!flags.has('c')).truncate(false).open(context.path(path));
        let changed = opened.and_then(|file| {
            let now = file.metadata()?.len();
            file.set_len(match text.chars().next() {
                Some('+') => now.saturating_add(size),
                Some('-') => now.saturating_sub(size),
                _ => size,
            })
        });
        match changed {
            Err(error) if flags.has('c') && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                context.complain(format_args!("{path}: open: {}", reason(&error)));
                code = 1;
            }
            Ok(()) => {}
        }
    }
    Ok(code)
}

pub fn unlink(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "", &[])?;
    let [path] = flags.operands.as_slice() else { return Err(Failure::Usage(String::new())) };
    let removed = fs::remove_file(context.path(path));
    removed.map_err(|error| Failure::Message(format!("can't remove file '{path}': {}", reason(&error))))?;
    Ok(0)
}

pub fn link(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "", &[])?;
    let [from, to] = flags.operands.as_slice() else { return Err(Failure::Usage(String::new())) };
    let linked = fs::hard_link(context.path(from), context.path(to));
    let why = |error: io::Error| format!("can't create hardlink '{to}' to '{from}': {}", reason(&error));
    linked.map_err(|error| Failure::Message(why(error)))?;
    Ok(0)
}
