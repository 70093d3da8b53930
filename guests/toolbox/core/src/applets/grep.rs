//! `grep`.

use super::regular::{Pattern, Syntax, Whole, compile_whole};
use crate::{
    Context,
    context::{Failure, Outcome, reason},
    flags::{Flags, number},
};
use std::{
    collections::VecDeque,
    fs,
    io::{self, BufRead, Write},
};

/// Directories within each other; deeper trees would end the guest's stack.
const DEPTH_MAX: usize = 200;

struct Search {
    patterns: Vec<Pattern>,
    flags: Flags,
    names: bool,
    before: usize,
    after: usize,
    max: u64,
    code: u8,
    any: bool,
}

pub fn grep(context: &mut Context) -> Outcome {
    let long = [
        ("ignore-case", 'i'),
        ("invert-match", 'v'),
        ("line-number", 'n'),
        ("recursive", 'r'),
        ("count", 'c'),
        ("files-with-matches", 'l'),
        ("quiet", 'q'),
        ("only-matching", 'o'),
        ("extended-regexp", 'E'),
        ("fixed-strings", 'F'),
        ("word-regexp", 'w'),
        ("line-regexp", 'x'),
        ("regexp", 'e'),
        ("file", 'f'),
        ("no-messages", 's'),
        ("max-count", 'm'),
        ("color", 'K'),
    ];
    let mut flags = Flags::parse(context.operands(), "EFGivnrRclLqoswxhHe:f:m:A:B:C:aK", &long)?;
    let syntax = match context.name() {
        "egrep" => Syntax::Extended,
        "fgrep" => Syntax::Fixed,
        _ => match flags.last_of("EFG") {
            Some('E') => Syntax::Extended,
            Some('F') => Syntax::Fixed,
            _ => Syntax::Basic,
        },
    };
    let mut texts: Vec<String> = flags.values('e').map(str::to_owned).collect();
    for path in flags.values('f') {
        texts.extend(super::text::lines(context, path)?.iter().map(|line| String::from_utf8_lossy(line).into_owned()));
    }
    if !flags.has('e') && !flags.has('f') {
        if flags.operands.is_empty() {
            return Err(Failure::Usage(String::new()));
        }
        texts.push(flags.operands.remove(0));
    }
    let texts = texts.iter().flat_map(|text| text.split('\n'));
    let whole = match (flags.has('x'), flags.has('w')) {
        (true, _) => Whole::Line,
        (false, true) => Whole::Words,
        (false, false) => Whole::Anything,
    };
    let patterns = texts.map(|text| compile_whole(text, syntax, flags.has('i'), whole)).collect::<Result<Vec<_>, _>>();
    let patterns = match patterns {
        Ok(patterns) => patterns,
        Err(Failure::Message(message)) => {
            context.complain(message);
            return Ok(2);
        }
        Err(other) => return Err(other),
    };
    let recursive = flags.has('r') || flags.has('R');
    let mut paths = std::mem::take(&mut flags.operands);
    if paths.is_empty() {
        paths.push((if recursive { "." } else { "-" }).to_owned());
    }
    let context_lines: usize = flags.value('C').map_or(Ok(0), number)?;
    let mut search = Search {
        patterns,
        names: (paths.len() > 1 || recursive || flags.has('H')) && !flags.has('h'),
        before: flags.number('B')?.unwrap_or(context_lines),
        after: flags.number('A')?.unwrap_or(context_lines),
        max: flags.number('m')?.unwrap_or(u64::MAX),
        code: 0,
        any: false,
        flags,
    };
    for path in &paths {
        search.path(context, path, recursive, 0)?;
        if search.any && search.flags.has('q') {
            return Ok(0);
        }
    }
    Ok(if search.code == 2 { 2 } else { u8::from(!search.any) })
}

impl Search {
    fn path(&mut self, context: &mut Context, path: &str, recursive: bool, depth: usize) -> Result<(), Failure> {
        let full = context.path(path);
        if recursive && path != "-" && full.is_dir() && depth < DEPTH_MAX {
            let mut names: Vec<String> = match fs::read_dir(&full) {
                Ok(entries) => {
                    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
                }
                Err(error) => return self.failed(context, path, &error),
            };
            names.sort();
            for name in names {
                self.path(context, &format!("{}/{name}", path.trim_end_matches('/')), true, depth + 1)?;
            }
            return Ok(());
        }
        match context.input(path) {
            Ok(input) => {
                let shown = if path == "-" { "(standard input)" } else { path };
                match self.file(context, shown, input) {
                    Err(Failure::Message(message)) => self.failed(context, path, &io::Error::other(message)),
                    other => other,
                }
            }
            Err(error) => self.failed(context, path, &error),
        }
    }

    fn failed(&mut self, context: &mut Context, path: &str, error: &io::Error) -> Result<(), Failure> {
        if !self.flags.has('s') {
            context.complain(format_args!("{path}: {}", reason(error)));
        }
        self.code = 2;
        Ok(())
    }

    fn matches(&self, line: &[u8]) -> Result<bool, Failure> {
        for pattern in &self.patterns {
            if pattern.is_match(line)? {
                return Ok(!self.flags.has('v'));
            }
        }
        Ok(self.flags.has('v'))
    }

    fn file(&mut self, context: &mut Context, name: &str, mut input: impl BufRead) -> Result<(), Failure> {
        let (mut count, mut number) = (0u64, 0u64);
        let mut held: VecDeque<(u64, Vec<u8>)> = VecDeque::new();
        let (mut trailing, mut last_shown) = (0usize, 0u64);
        let quiet = self.flags.has('q') || self.flags.has('l') || self.flags.has('L') || self.flags.has('c');
        let grouped = self.before > 0 || self.after > 0;
        let mut line = Vec::new();
        while count < self.max && input.read_until(b'\n', &mut line)? > 0 {
            number += 1;
            let text = line.strip_suffix(b"\n").unwrap_or(&line).to_vec();
            line.clear();
            if self.matches(&text)? {
                count += 1;
                self.any = true;
                if quiet {
                    if !self.flags.has('c') {
                        break;
                    }
                    continue;
                }
                let first = held.front().map_or(number, |(number, _)| *number);
                if grouped && last_shown > 0 && first > last_shown + 1 {
                    writeln!(context.stdout, "--")?;
                }
                for (number, text) in held.drain(..) {
                    self.show(context, name, number, &text, '-')?;
                }
                self.show(context, name, number, &text, ':')?;
                last_shown = number;
                trailing = self.after;
            } else if !quiet && trailing > 0 {
                trailing -= 1;
                self.show(context, name, number, &text, '-')?;
                last_shown = number;
            } else if self.before > 0 {
                held.push_back((number, text));
                if held.len() > self.before {
                    held.pop_front();
                }
            }
        }
        if self.flags.has('c') {
            let name = if self.names { format!("{name}:") } else { String::new() };
            writeln!(context.stdout, "{name}{count}")?;
        }
        if !self.flags.has('q') && ((self.flags.has('l') && count > 0) || (self.flags.has('L') && count == 0)) {
            writeln!(context.stdout, "{name}")?;
        }
        Ok(())
    }

    fn show(&self, context: &mut Context, name: &str, number: u64, text: &[u8], mark: char) -> Result<(), Failure> {
        let mut prefix = String::new();
        if self.names {
            prefix = format!("{name}{mark}");
        }
        if self.flags.has('n') {
            prefix.push_str(&format!("{number}{mark}"));
        }
        let mut line = |part: &[u8]| -> io::Result<()> {
            context.stdout.write_all(prefix.as_bytes())?;
            context.stdout.write_all(part)?;
            context.stdout.write_all(b"\n")
        };
        if !self.flags.has('o') {
            return Ok(line(text)?);
        }
        let mut at = 0;
        while at <= text.len() && mark == ':' && !self.flags.has('v') {
            let found = self.patterns.iter().map(|pattern| pattern.find_at(text, at)).collect::<Result<Vec<_>, _>>()?;
            let first = found.into_iter().flatten().min_by_key(|found| (found.start, std::cmp::Reverse(found.end)));
            let Some(found) = first else { break };
            if found.is_empty() {
                at = found.end + 1;
                continue;
            }
            at = found.end;
            line(&text[found])?;
        }
        Ok(())
    }
}
