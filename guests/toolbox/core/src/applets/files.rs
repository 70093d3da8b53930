//! Programs that make, move and remove files.

use super::ls::{human, modified};
use crate::{
    Context,
    context::{CHUNK_BYTES, Failure, Outcome, reason},
    flags::{Flags, number},
    host::Access,
    time,
};
use std::{
    fs::{self, FileTimes, Metadata},
    io::{self, Read, Write},
    path::Path,
    time::{Duration, SystemTime},
};

/// Directories within each other; deeper trees would end the guest's stack.
const DEPTH_MAX: usize = 200;

fn operands(flags: &Flags) -> Result<&[String], Failure> {
    if flags.operands.is_empty() { Err(Failure::Usage(String::new())) } else { Ok(&flags.operands) }
}

pub fn mkdir(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "pm:v", &[("parents", 'p'), ("mode", 'm'), ("verbose", 'v')])?;
    let mut code = 0;
    for path in operands(&flags)? {
        let full = context.path(path);
        let made = if flags.has('p') { fs::create_dir_all(full) } else { fs::create_dir(full) };
        if let Err(error) = made {
            context.complain(format_args!("can't create directory '{path}': {}", reason(&error)));
            code = 1;
        }
    }
    Ok(code)
}

pub fn rmdir(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "p", &[("parents", 'p')])?;
    let mut code = 0;
    for path in operands(&flags)? {
        if let Err(error) = fs::remove_dir(context.path(path)) {
            context.complain(format_args!("'{path}': {}", reason(&error)));
            code = 1;
        }
    }
    Ok(code)
}

pub fn rm(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "rRfiv", &[("recursive", 'r'), ("force", 'f')])?;
    if flags.operands.is_empty() && flags.has('f') {
        return Ok(0);
    }
    let recursive = flags.has('r') || flags.has('R');
    let mut code = 0;
    for path in operands(&flags)? {
        let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let removed = if matches!(last, "." | "..") || context.absolute(path) == "/" {
            Err(io::ErrorKind::InvalidInput.into())
        } else {
            remove(&context.path(path), recursive, 0)
        };
        match removed {
            Err(error) if !(flags.has('f') && error.kind() == io::ErrorKind::NotFound) => {
                match error.kind() {
                    io::ErrorKind::IsADirectory => context.complain(format_args!("'{path}' is a directory")),
                    _ => context.complain(format_args!("can't remove '{path}': {}", reason(&error))),
                }
                code = 1;
            }
            _ => {}
        }
    }
    Ok(code)
}

fn remove(path: &Path, recursive: bool, depth: usize) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return fs::remove_file(path);
    }
    if !recursive {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if depth > DEPTH_MAX {
        return Err(io::Error::other("File name too long"));
    }
    let entries: Vec<_> = fs::read_dir(path)?.collect::<io::Result<_>>()?;
    for entry in entries {
        remove(&entry.path(), true, depth + 1)?;
    }
    fs::remove_dir(path)
}

/// Where an operand goes: into the last one if that is a directory.
fn targets(context: &Context, flags: &Flags) -> Result<Vec<(String, String)>, Failure> {
    let mut sources = operands(flags)?.to_vec();
    let target = match flags.value('t') {
        Some(target) => target.to_owned(),
        None => sources.pop().unwrap_or_default(),
    };
    if sources.is_empty() {
        return Err(Failure::Usage(String::new()));
    }
    let into = context.path(&target).is_dir() && !flags.has('T');
    if sources.len() > 1 && !into {
        return Err(Failure::Message(format!("target '{target}' is not a directory")));
    }
    let place = |source: String| {
        let name = source.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let place = if into { format!("{}/{name}", target.trim_end_matches('/')) } else { target.clone() };
        (source, place)
    };
    Ok(sources.into_iter().map(place).collect())
}

pub fn cp(context: &mut Context) -> Outcome {
    let long = [("recursive", 'r'), ("archive", 'a'), ("force", 'f'), ("no-clobber", 'n')];
    let flags = Flags::parse(context.operands(), "rRafpdPLHTt:nvi", &long)?;
    let recursive = flags.has('r') || flags.has('R') || flags.has('a');
    let mut code = 0;
    for (from, to) in targets(context, &flags)? {
        if flags.has('n') && context.path(&to).exists() {
            continue;
        }
        if recursive && (context.absolute(&to) + "/").starts_with(&(context.absolute(&from) + "/")) {
            context.complain(format_args!("'{to}' is a subdirectory of '{from}'"));
            code = 1;
            continue;
        }
        if to.ends_with('/') && !context.path(&to).is_dir() && !context.path(&from).is_dir() {
            context.complain(format_args!("can't create '{to}': Is a directory"));
            code = 1;
            continue;
        }
        if let Err(error) = copy(context, &from, &to, recursive, flags.has('p') || flags.has('a'), 0) {
            context.complain(error);
            code = 1;
        }
    }
    Ok(code)
}

/// Copies one file or tree; the error names the path.
fn copy(context: &Context, from: &str, to: &str, recursive: bool, times: bool, depth: usize) -> Result<(), String> {
    let (source, target) = (context.path(from), context.path(to));
    let told = |what: &str, error: &io::Error| format!("can't {what}: {}", reason(error));
    let stat = |error: io::Error| told(&format!("stat '{from}'"), &error);
    let create = |error: io::Error| told(&format!("create '{to}'"), &error);
    let link = fs::symlink_metadata(&source).map_err(stat)?;
    if link.file_type().is_symlink() && recursive {
        let points_to = fs::read_link(&source).map_err(stat)?;
        let _ = fs::remove_file(&target);
        return context.host.symlink(&points_to.to_string_lossy(), &context.absolute(to)).map_err(create);
    }
    let metadata = fs::metadata(&source).map_err(stat)?;
    if metadata.is_dir() {
        if !recursive || depth > DEPTH_MAX {
            return Err(format!("omitting directory '{from}'"));
        }
        match fs::create_dir(&target) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !target.is_dir() => {
                return Err(create(error));
            }
            _ => {}
        }
        let mut names = names(&source).map_err(stat)?;
        names.sort();
        for name in names {
            copy(context, &format!("{from}/{name}"), &format!("{to}/{name}"), true, times, depth + 1)?;
        }
        return Ok(());
    }
    if context.absolute(from) == context.absolute(to) {
        return Err(format!("'{from}' and '{to}' are the same file"));
    }
    let mut input = fs::File::open(&source).map_err(|error| told(&format!("open '{from}'"), &error))?;
    let mut output = fs::File::create(&target).map_err(create)?;
    io::copy(&mut input, &mut output).map_err(|error| told(&format!("copy '{from}'"), &error))?;
    drop(output);
    if times {
        set_modified(&target, modified(&metadata)).map_err(create)?;
    }
    Ok(())
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Sets a file's time of change; seconds since 1970.
pub fn set_modified(path: &Path, seconds: i64) -> io::Result<()> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    fs::File::options().write(true).open(path)?.set_times(FileTimes::new().set_modified(time).set_accessed(time))
}

pub fn mv(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "fintT", &[("force", 'f'), ("no-clobber", 'n')])?;
    let mut code = 0;
    for (from, to) in targets(context, &flags)? {
        if flags.has('n') && context.path(&to).exists() {
            continue;
        }
        let moved = match fs::rename(context.path(&from), context.path(&to)) {
            // From one volume to another.
            Err(error) if matches!(error.kind(), io::ErrorKind::CrossesDevices) => {
                copy(context, &from, &to, true, true, 0)
                    .and_then(|()| remove(&context.path(&from), true, 0).map_err(|error| reason(&error)))
            }
            Err(error) => Err(format!("can't rename '{from}': {}", reason(&error))),
            Ok(()) => Ok(()),
        };
        if let Err(message) = moved {
            context.complain(message);
            code = 1;
        }
    }
    Ok(code)
}

pub fn touch(context: &mut Context) -> Outcome {
    let flags =
        Flags::parse(context.operands(), "camd:t:r:h", &[("date", 'd'), ("no-create", 'c'), ("reference", 'r')])?;
    let now = i64::try_from(context.host.now().as_secs()).unwrap_or(0);
    let at = match (flags.value('d'), flags.value('r')) {
        (Some(text), _) => time::parse(text, now).ok_or_else(|| Failure::Message(format!("invalid date '{text}'")))?,
        (None, Some(path)) => modified(&fs::metadata(context.path(path))?),
        (None, None) => now,
    };
    let mut code = 0;
    for path in operands(&flags)? {
        let full = context.path(path);
        let done = match fs::metadata(&full) {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => set_modified(&full, at),
            Err(_) if flags.has('c') => Ok(()),
            Err(_) => fs::File::create(&full).and_then(|_| if at == now { Ok(()) } else { set_modified(&full, at) }),
        };
        if let Err(error) = done {
            context.complain_of(path, &error);
            code = 1;
        }
    }
    Ok(code)
}

pub fn ln(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "sfnvT", &[("symbolic", 's'), ("force", 'f')])?;
    let pairs = if flags.operands.len() == 1 {
        let source = flags.operands[0].clone();
        let name = source.rsplit('/').next().unwrap_or_default().to_owned();
        vec![(source, name)]
    } else {
        targets(context, &flags)?
    };
    let mut code = 0;
    for (target, link) in pairs {
        if flags.has('f') {
            let _ = fs::remove_file(context.path(&link));
        }
        let made = if flags.has('s') {
            context.host.symlink(&target, &context.absolute(&link))
        } else {
            fs::hard_link(context.path(&target), context.path(&link))
        };
        if let Err(error) = made {
            // What is missing is what was to be linked.
            let name = if error.kind() == io::ErrorKind::NotFound { &target } else { &link };
            context.complain_of(name, &error);
            code = 1;
        }
    }
    Ok(code)
}

pub fn readlink(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "fnem", &[])?;
    let canonical = flags.has('f') || flags.has('e') || flags.has('m') || context.name() == "realpath";
    let mut code = 0;
    for path in operands(&flags)? {
        let text = if canonical {
            resolve(context, path)
        } else {
            fs::read_link(context.path(path)).ok().map(|path| path.to_string_lossy().into_owned())
        };
        match text {
            Some(text) => writeln!(context.stdout, "{text}")?,
            None => code = 1,
        }
    }
    Ok(code)
}

/// Links that are followed before a path is thought to go in circles, as in Linux.
const LINKS_MAX: usize = 40;

fn resolve(context: &Context, path: &str) -> Option<String> {
    let mut done = String::new();
    let mut left: Vec<String> = context.absolute(path).split('/').rev().map(str::to_owned).collect();
    let mut links = 0;
    while let Some(part) = left.pop() {
        if part.is_empty() {
            continue;
        }
        let next = format!("{done}/{part}");
        match fs::read_link(context.host.path(&next)) {
            Ok(target) => {
                links += 1;
                if links > LINKS_MAX {
                    return None;
                }
                let target =
                    crate::context::absolute(if done.is_empty() { "/" } else { &done }, &target.to_string_lossy());
                left.extend(target.split('/').rev().map(str::to_owned));
                done.clear();
            }
            Err(_) => done = next,
        }
    }
    let done = if done.is_empty() { "/".to_owned() } else { done };
    let parent = done.rsplit_once('/').map_or("/", |(parent, _)| parent);
    context.host.path(parent).exists().then_some(done)
}

pub fn chmod(context: &mut Context) -> Outcome {
    // WASI has no permission bits: what exists is left as it is.
    let operands: Vec<String> =
        context.operands().iter().filter(|operand| !matches!(operand.as_str(), "-R" | "-f" | "-v")).cloned().collect();
    if operands.len() < 2 {
        return Err(Failure::Usage(String::new()));
    }
    let mut code = 0;
    for path in &operands[1..] {
        if let Err(error) = fs::metadata(context.path(path)) {
            context.complain_of(path, &error);
            code = 1;
        }
    }
    Ok(code)
}

pub fn du(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "ahskcd:m", &[("max-depth", 'd'), ("summarize", 's')])?;
    let mut operands = flags.operands.clone();
    if operands.is_empty() {
        operands.push(".".to_owned());
    }
    let depth_shown = if flags.has('s') { 0 } else { flags.number('d')?.unwrap_or(usize::MAX) };
    let mut total = 0;
    let mut code = 0;
    for path in &operands {
        code |= u8::from(fs::symlink_metadata(context.path(path)).is_err());
        total += usage(context, path, &flags, 0, depth_shown)?;
    }
    if flags.has('c') {
        writeln!(context.stdout, "{}\ttotal", kilobytes(total, &flags))?;
    }
    Ok(code)
}

fn kilobytes(kilobytes: u64, flags: &Flags) -> String {
    if flags.has('h') {
        human(kilobytes * 1024)
    } else if flags.has('m') {
        kilobytes.div_ceil(1024).to_string()
    } else {
        kilobytes.to_string()
    }
}

fn usage(context: &mut Context, path: &str, flags: &Flags, depth: usize, shown: usize) -> Result<u64, Failure> {
    let metadata: Metadata = match fs::symlink_metadata(context.path(path)) {
        Ok(metadata) => metadata,
        Err(error) => {
            context.complain_of(path, &error);
            return Ok(0);
        }
    };
    let mut total = if metadata.is_dir() { 4 } else { metadata.len().div_ceil(4096) * 4 };
    if metadata.is_dir() && depth < DEPTH_MAX {
        let mut names = names(&context.path(path)).unwrap_or_default();
        names.sort();
        for name in names {
            total += usage(context, &format!("{}/{name}", path.trim_end_matches('/')), flags, depth + 1, shown)?;
        }
    }
    if depth == 0 || (depth <= shown && (metadata.is_dir() || flags.has('a'))) {
        writeln!(context.stdout, "{}\t{path}", kilobytes(total, flags))?;
    }
    Ok(total)
}

pub fn dd(context: &mut Context) -> Outcome {
    let mut settings = [
        ("if", String::new()),
        ("of", String::new()),
        ("bs", "512".to_owned()),
        ("count", String::new()),
        ("skip", "0".to_owned()),
        ("status", String::new()),
    ];
    for operand in context.operands() {
        let Some((name, value)) = operand.split_once('=') else { return Err(Failure::Usage(String::new())) };
        if let Some((_, setting)) = settings.iter_mut().find(|(known, _)| *known == name) {
            value.clone_into(setting);
        }
    }
    let [(_, input), (_, output), (_, size), (_, count), (_, skip), (_, status)] = settings;
    let block = bytes(&size)?.clamp(1, 1 << 24);
    let limit = if count.is_empty() { u64::MAX } else { bytes(&count)?.saturating_mul(block) };
    let mut reader = context.named_input(if input.is_empty() { "-" } else { &input })?;
    io::copy(&mut (&mut reader).take(bytes(&skip)?.saturating_mul(block)), &mut io::sink())?;
    let mut reader = reader.take(limit);
    let file = if output.is_empty() { None } else { Some(context.open(&output, Access::Write)?) };
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut total = 0u64;
    loop {
        let length = reader.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        total += length as u64;
        match &file {
            Some(file) => file.write(&buffer[..length])?,
            None => context.stdout.write_all(&buffer[..length])?,
        }
    }
    context.stdout.flush()?;
    if status != "none" {
        let (whole, part) = (total / block, u64::from(!total.is_multiple_of(block)));
        let text = format!("{whole}+{part} records in\n{whole}+{part} records out\n");
        context.stderr.write(text.as_bytes())?;
    }
    Ok(0)
}

/// A number with `k`, `M` or `G`.
pub fn bytes(text: &str) -> Result<u64, Failure> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "c" => 1,
        "b" => 512,
        "k" | "K" => 1 << 10,
        "kB" | "KB" => 1000,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return Err(Failure::Message(format!("invalid number '{text}'"))),
    };
    Ok(number::<u64>(digits)?.saturating_mul(unit))
}
