//! `ls` and `stat`.

use crate::{
    Context,
    context::{Outcome, reason},
    flags::Flags,
    time,
};
use std::{
    fs::{self, Metadata},
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

/// Dates further away are shown with their year.
const HALF_A_YEAR_SECONDS: i64 = 15_778_476;

struct Entry {
    name: String,
    path: String,
    metadata: Metadata,
}

pub fn modified(metadata: &Metadata) -> i64 {
    let time = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    time.duration_since(UNIX_EPOCH).map_or(0, |duration| i64::try_from(duration.as_secs()).unwrap_or(0))
}

/// As ls shows it. WASI has no permission bits; these are what a container's user would see.
pub fn mode(metadata: &Metadata) -> (&'static str, u32) {
    let kind = metadata.file_type();
    if kind.is_symlink() {
        ("lrwxrwxrwx", 0o777)
    } else if kind.is_dir() {
        ("drwxr-xr-x", 0o755)
    } else {
        ("-rw-r--r--", 0o644)
    }
}

pub fn ls(context: &mut Context) -> Outcome {
    let long = [("all", 'a'), ("almost-all", 'A'), ("human-readable", 'h'), ("recursive", 'R'), ("color", 'G')];
    let flags = Flags::parse(context.operands(), "1aAlhdFRtSrpinsCxkHLugoG", &long)?;
    let mut operands = flags.operands.clone();
    if operands.is_empty() {
        operands.push(".".to_owned());
    }
    let (mut files, mut directories, mut code) = (Vec::new(), Vec::new(), 0);
    for path in operands {
        let long = flags.has('l') && !path.ends_with('/');
        let metadata = match fs::symlink_metadata(context.path(&path)) {
            Ok(link) if link.file_type().is_symlink() && !long => Ok(fs::metadata(context.path(&path)).unwrap_or(link)),
            other => other,
        };
        match metadata {
            Ok(metadata) => {
                let is_directory = metadata.is_dir() && !flags.has('d');
                let entry = Entry { name: path.clone(), path, metadata };
                if is_directory { directories.push(entry) } else { files.push(entry) }
            }
            Err(error) => {
                context.complain_of(&path, &error);
                code = 1;
            }
        }
    }
    sort(&mut files, &flags);
    sort(&mut directories, &flags);
    show(context, &files, &flags)?;
    let titles = directories.len() + files.len() > 1 || flags.has('R');
    let mut first = files.is_empty();
    directories.reverse();
    while let Some(directory) = directories.pop() {
        if titles {
            let gap = if first { "" } else { "\n" };
            writeln!(context.stdout, "{gap}{}:", directory.name)?;
        }
        first = false;
        match list(context, &directory.path, &flags) {
            Ok(entries) => {
                if flags.has('l') {
                    let blocks: u64 = entries.iter().map(|entry| blocks(&entry.metadata)).sum();
                    writeln!(context.stdout, "total {blocks}")?;
                }
                show(context, &entries, &flags)?;
                if flags.has('R') {
                    let inner = entries
                        .into_iter()
                        .filter(|entry| entry.metadata.is_dir() && entry.name != "." && entry.name != "..");
                    let inner = inner.map(|entry| Entry { name: entry.path.clone(), ..entry });
                    directories.extend(inner.rev_collect());
                }
            }
            Err(error) => {
                context.complain_of(&directory.path, &error);
                code = 1;
            }
        }
    }
    Ok(code)
}

trait RevCollect: Iterator + Sized {
    fn rev_collect(self) -> Vec<Self::Item> {
        let mut all: Vec<_> = self.collect();
        all.reverse();
        all
    }
}

impl<I: Iterator> RevCollect for I {}

fn blocks(metadata: &Metadata) -> u64 {
    if metadata.is_dir() { 4 } else { metadata.len().div_ceil(4096) * 4 }
}

fn list(context: &Context, directory: &str, flags: &Flags) -> io::Result<Vec<Entry>> {
    let prefix = directory.trim_end_matches('/');
    let mut entries = Vec::new();
    let mut add = |name: String, path: String| {
        if let Ok(metadata) = fs::symlink_metadata(context.path(&path)) {
            entries.push(Entry { name, path, metadata });
        }
    };
    for entry in fs::read_dir(context.path(directory))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') || flags.has('a') || flags.has('A') {
            let path = format!("{prefix}/{name}");
            add(name, path);
        }
    }
    if flags.has('a') {
        add(".".to_owned(), format!("{prefix}/."));
        add("..".to_owned(), format!("{prefix}/.."));
    }
    sort(&mut entries, flags);
    Ok(entries)
}

fn sort(entries: &mut [Entry], flags: &Flags) {
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    match flags.last_of("tS") {
        Some('t') => entries.sort_by_key(|entry| std::cmp::Reverse(modified(&entry.metadata))),
        Some(_) => entries.sort_by_key(|entry| std::cmp::Reverse(entry.metadata.len())),
        None => {}
    }
    if flags.has('r') {
        entries.reverse();
    }
}

fn suffix(entry: &Entry, flags: &Flags) -> &'static str {
    let kind = entry.metadata.file_type();
    match () {
        () if kind.is_dir() && (flags.has('F') || flags.has('p')) => "/",
        () if kind.is_symlink() && flags.has('F') => "@",
        () => "",
    }
}

fn show(context: &mut Context, entries: &[Entry], flags: &Flags) -> io::Result<()> {
    if flags.has('l') {
        for entry in entries {
            long(context, entry, flags)?;
        }
        return Ok(());
    }
    let names: Vec<String> = entries.iter().map(|entry| format!("{}{}", entry.name, suffix(entry, flags))).collect();
    let terminal = context.stdout.file.is_terminal() || flags.has('C');
    if !terminal || flags.has('1') {
        return names.iter().try_for_each(|name| writeln!(context.stdout, "{name}"));
    }
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0) + 2;
    let columns = context.host.terminal_size().map_or(80, |(columns, _)| usize::from(columns));
    let per_row = (columns / width).max(1);
    let rows = names.len().div_ceil(per_row);
    for row in 0..rows {
        let cells: Vec<&String> = names.iter().skip(row).step_by(rows).collect();
        for (index, cell) in cells.iter().enumerate() {
            let width = if index + 1 == cells.len() { 0 } else { width };
            write!(context.stdout, "{cell:width$}")?;
        }
        writeln!(context.stdout)?;
    }
    Ok(())
}

/// A number of bytes with a unit, as `-h` shows it.
pub fn human(bytes: u64) -> String {
    let mut value = bytes;
    let mut tenths = 0;
    let mut unit = 0;
    while value >= 1024 && unit < 4 {
        tenths = (value % 1024) * 10 / 1024;
        value /= 1024;
        unit += 1;
    }
    match (unit, value) {
        (0, _) => value.to_string(),
        (_, 0..10) => format!("{value}.{tenths}{}", &"KMGT"[unit - 1..unit]),
        _ => format!("{value}{}", &"KMGT"[unit - 1..unit]),
    }
}

fn long(context: &mut Context, entry: &Entry, flags: &Flags) -> io::Result<()> {
    let (mode, _) = mode(&entry.metadata);
    let links = if entry.metadata.is_dir() { 2 } else { 1 };
    let bytes = if entry.metadata.is_dir() { 4096 } else { entry.metadata.len() };
    let size = if flags.has('h') { human(bytes) } else { bytes.to_string() };
    let at = modified(&entry.metadata);
    let now = i64::try_from(context.host.now().as_secs()).unwrap_or(0);
    let recent = (now - at).abs() < HALF_A_YEAR_SECONDS;
    let date = time::format(if recent { "%b %e %H:%M" } else { "%b %e  %Y" }, at, 0);
    let owner = if flags.has('n') { "0        0       " } else { "root     root    " };
    let target = match fs::read_link(context.path(&entry.path)) {
        Ok(target) => format!(" -> {}", target.display()),
        Err(_) => String::new(),
    };
    let name = &entry.name;
    writeln!(context.stdout, "{mode} {links:4} {owner} {size:>9} {date} {name}{target}{}", suffix(entry, flags))
}

pub fn stat(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "c:Lft", &[("format", 'c')])?;
    let mut code = 0;
    for path in &flags.operands {
        let full = context.path(path);
        let found = if flags.has('L') { fs::metadata(&full) } else { fs::symlink_metadata(&full) };
        let metadata = match found {
            Ok(metadata) => metadata,
            Err(error) => {
                context.complain(format_args!("can't stat '{path}': {}", reason(&error)));
                code = 1;
                continue;
            }
        };
        let kind = match metadata.file_type() {
            kind if kind.is_dir() => "directory",
            kind if kind.is_symlink() => "symbolic link",
            _ => "regular file",
        };
        let (letters, bits) = mode(&metadata);
        let at = modified(&metadata);
        let date = time::format("%Y-%m-%d %H:%M:%S.000000000 +0000", at, 0);
        if let Some(format) = flags.value('c') {
            let size = metadata.len().to_string();
            let parts = [
                ("%n", path.clone()),
                ("%s", size),
                ("%F", kind.to_owned()),
                ("%a", format!("{bits:o}")),
                ("%A", letters.to_owned()),
                ("%Y", at.to_string()),
                ("%y", date),
                ("%U", "root".to_owned()),
                ("%G", "root".to_owned()),
                ("%u", "0".to_owned()),
                ("%g", "0".to_owned()),
                ("%h", "1".to_owned()),
                ("%b", (blocks(&metadata) * 2).to_string()),
            ];
            let text = parts.iter().fold(format.to_owned(), |text, (name, value)| text.replace(name, value));
            writeln!(context.stdout, "{text}")?;
            continue;
        }
        let size = metadata.len();
        writeln!(context.stdout, "  File: {path}")?;
        writeln!(context.stdout, "  Size: {size:<10}\tBlocks: {:<10} IO Block: 4096   {kind}", blocks(&metadata) * 2)?;
        writeln!(context.stdout, "Access: ({bits:04o}/{letters})  Uid: (    0/    root)   Gid: (    0/    root)")?;
        writeln!(context.stdout, "Modify: {date}")?;
    }
    Ok(code)
}
