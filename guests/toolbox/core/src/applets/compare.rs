//! Programs that compare files: `cmp`, `diff`, `comm`.

use super::text::lines;
use crate::{
    Context,
    context::{Failure, Outcome, reason},
    flags::{Flags, number},
};
use std::{
    fs,
    io::{BufRead, Read, Write},
};

/// Directories within each other; deeper trees would end the guest's stack.
const DEPTH_MAX: usize = 200;

/// Lines of a file that is compared line by line.
const LINES_MAX: usize = 1 << 20;

/// What is the matter ends it with 2, since 1 says that files differ.
fn trouble(context: &mut Context, message: impl std::fmt::Display) -> Outcome {
    context.complain(message);
    Ok(2)
}

pub fn cmp(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "sln:", &[("silent", 's'), ("quiet", 's')])?;
    let (one, other) = match flags.operands.as_slice() {
        [one] => (one.clone(), "-".to_owned()),
        [one, other] => (one.clone(), other.clone()),
        _ => return Err(Failure::Usage(String::new())),
    };
    let mut inputs = Vec::new();
    for path in [&one, &other] {
        match context.input(path) {
            Ok(input) => inputs.push(input.bytes()),
            Err(_) if flags.has('s') => return Ok(2),
            Err(error) => return trouble(context, format_args!("can't open '{path}': {}", reason(&error))),
        }
    }
    let (mut line, mut code) = (1, 0);
    let most = flags.value('n').map_or(Ok(u64::MAX), number)?;
    for position in 1..=most {
        let [first, second] = [0, 1].map(|index| inputs[index].next());
        match (first.transpose()?, second.transpose()?) {
            (None, None) => break,
            (Some(first), Some(second)) if first == second => line += u64::from(first == b'\n'),
            (Some(_), Some(_)) if flags.has('s') => return Ok(1),
            (Some(first), Some(second)) if flags.has('l') => {
                code = 1;
                writeln!(context.stdout, "{position} {first:3o} {second:3o}")?;
            }
            (Some(_), Some(_)) => {
                writeln!(context.stdout, "{one} {other} differ: char {position}, line {line}")?;
                return Ok(1);
            }
            (first, _) => {
                let shorter = if first.is_none() { &one } else { &other };
                if !flags.has('s') {
                    context.complain(format_args!("EOF on {shorter}"));
                }
                return Ok(1);
            }
        }
    }
    Ok(code)
}

pub fn comm(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "123", &[])?;
    let [one, other] = flags.operands.as_slice() else { return Err(Failure::Usage(String::new())) };
    let (left, right) = (lines(context, one)?, lines(context, other)?);
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    let tab = |letter: char| if flags.has(letter) { "" } else { "\t" };
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return Ok(0),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(one), Some(other)) => one.cmp(other),
        };
        let (line, column, indent) = match order {
            std::cmp::Ordering::Less => (left.next(), '1', String::new()),
            std::cmp::Ordering::Greater => (right.next(), '2', tab('1').to_owned()),
            std::cmp::Ordering::Equal => {
                left.next();
                (right.next(), '3', format!("{}{}", tab('1'), tab('2')))
            }
        };
        if let Some(line) = line.filter(|_| !flags.has(column)) {
            context.stdout.write_all(indent.as_bytes())?;
            context.stdout.write_all(line)?;
            context.stdout.write_all(b"\n")?;
        }
    }
}

pub fn diff(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "abBdiNqrTstwuU:L:", &[("unified", 'u'), ("brief", 'q')])?;
    let [one, other] = flags.operands.clone().try_into().map_err(|_| Failure::Usage(String::new()))?;
    for path in [&one, &other] {
        if path != "-"
            && !flags.has('N')
            && let Err(error) = fs::metadata(context.path(path))
        {
            return trouble(context, format_args!("can't stat '{path}': {}", reason(&error)));
        }
    }
    let differ = Differ { context_lines: flags.number('U')?.unwrap_or(3), flags };
    let [one, other] = match [&one, &other].map(|path| path != "-" && context.path(path).is_dir()) {
        [true, true] => return differ.directories(context, &one, &other, 0),
        [true, false] => [inside(&one, &other), other],
        [false, true] => [one.clone(), inside(&other, &one)],
        [false, false] => [one, other],
    };
    differ.files(context, &one, &other)
}

/// The file of a directory that is compared with a file of that name.
fn inside(directory: &str, file: &str) -> String {
    format!("{}/{}", directory.trim_end_matches('/'), file.rsplit('/').next().unwrap_or_default())
}

struct Differ {
    flags: Flags,
    context_lines: usize,
}

impl Differ {
    fn directories(&self, context: &mut Context, one: &str, other: &str, depth: usize) -> Outcome {
        let names = |context: &Context, path: &str| -> Vec<String> {
            let entries = fs::read_dir(context.path(path)).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        let (left, right) = (names(context, one), names(context, other));
        let mut all: Vec<&String> = left.iter().chain(&right).collect();
        all.sort();
        all.dedup();
        let mut code = 0;
        for name in all {
            let paths = [one, other].map(|directory| format!("{}/{name}", directory.trim_end_matches('/')));
            let only = [(one, !right.contains(name)), (other, !left.contains(name))];
            let only = only.into_iter().find(|(_, only)| *only && !self.flags.has('N'));
            let ended = match (only, paths.each_ref().map(|path| context.path(path).is_dir())) {
                (Some((directory, _)), _) => {
                    writeln!(context.stdout, "Only in {directory}: {name}")?;
                    1
                }
                (None, [true, true]) if self.flags.has('r') && depth < DEPTH_MAX => {
                    self.directories(context, &paths[0], &paths[1], depth + 1)?
                }
                (None, [true, true]) => {
                    writeln!(context.stdout, "Common subdirectories: {} and {}", paths[0], paths[1])?;
                    0
                }
                (None, _) => self.files(context, &paths[0], &paths[1])?,
            };
            code = code.max(ended);
        }
        Ok(code)
    }

    fn files(&self, context: &mut Context, one: &str, other: &str) -> Outcome {
        let mut texts = Vec::new();
        for path in [one, other] {
            match self.read(context, path) {
                Ok(text) => texts.push(text),
                Err(Failure::Message(message)) => return trouble(context, message),
                Err(other) => return Err(other),
            }
        }
        let [left, right] = [0, 1].map(|index| texts[index].as_slice());
        let normal = |lines: &[Vec<u8>]| lines.iter().map(|line| self.normal(line)).collect::<Vec<_>>();
        let (keys_left, keys_right) = (normal(left), normal(right));
        if keys_left == keys_right {
            if self.flags.has('s') {
                writeln!(context.stdout, "Files {one} and {other} are identical")?;
            }
            return Ok(0);
        }
        if self.flags.has('q') {
            writeln!(context.stdout, "Files {one} and {other} differ")?;
            return Ok(1);
        }
        let operations = similar::capture_diff_slices(similar::Algorithm::Myers, &keys_left, &keys_right);
        let labels: Vec<&str> = self.flags.values('L').collect();
        writeln!(context.stdout, "--- {}", labels.first().unwrap_or(&one))?;
        writeln!(context.stdout, "+++ {}", labels.get(1).unwrap_or(&other))?;
        for group in similar::group_diff_ops(operations, self.context_lines) {
            hunk(context, &group, left, right)?;
        }
        Ok(1)
    }

    fn read(&self, context: &Context, path: &str) -> Result<Vec<Vec<u8>>, Failure> {
        let mut input = match context.input(path) {
            Ok(input) => input,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.flags.has('N') => return Ok(Vec::new()),
            Err(error) => return Err(Failure::Message(format!("can't open '{path}': {}", reason(&error)))),
        };
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            if input.read_until(b'\n', &mut line)? == 0 {
                return Ok(lines);
            }
            if lines.len() >= LINES_MAX {
                return Err(Failure::Message(format!("{path}: too many lines")));
            }
            lines.push(line);
        }
    }

    /// What of a line counts.
    fn normal(&self, line: &[u8]) -> Vec<u8> {
        let mut line = line.to_vec();
        if self.flags.has('i') {
            line.make_ascii_lowercase();
        }
        if self.flags.has('w') {
            line.retain(|byte| !byte.is_ascii_whitespace());
        } else if self.flags.has('b') {
            let words: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
            line = words.join(&b' ');
        }
        line
    }
}

fn hunk(context: &mut Context, group: &[similar::DiffOp], left: &[Vec<u8>], right: &[Vec<u8>]) -> Result<(), Failure> {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(()) };
    let place = |start: usize, end: usize| match end - start {
        0 => format!("{start},0"),
        1 => (start + 1).to_string(),
        count => format!("{},{count}", start + 1),
    };
    let old = place(first.old_range().start, last.old_range().end);
    let new = place(first.new_range().start, last.new_range().end);
    writeln!(context.stdout, "@@ -{old} +{new} @@")?;
    for operation in group {
        if operation.tag() == similar::DiffTag::Equal {
            show(context, " ", &left[operation.old_range()])?;
        } else {
            show(context, "-", &left[operation.old_range()])?;
            show(context, "+", &right[operation.new_range()])?;
        }
    }
    Ok(())
}

fn show(context: &mut Context, mark: &str, lines: &[Vec<u8>]) -> Result<(), Failure> {
    for line in lines {
        context.stdout.write_all(mark.as_bytes())?;
        context.stdout.write_all(line)?;
        if !line.ends_with(b"\n") {
            context.stdout.write_all(b"\n\\ No newline at end of file\n")?;
        }
    }
    Ok(())
}
