//! `find`.

use super::ls::modified;
use crate::{
    Context,
    context::{Failure, Outcome, reason},
    flags::number,
    shell::pattern::matches,
};
use std::{
    cmp::Ordering,
    fs::{self, Metadata},
    io::Write,
};

/// Directories within each other; deeper trees would end the guest's stack.
const DEPTH_MAX: usize = 200;

enum Test {
    Name(String, bool),
    Path(String),
    Type(char),
    Size(Ordering, u64, u64),
    Age(Ordering, u64, u64),
    Newer(i64),
    Empty,
    True(bool),
    Print(char),
    Prune,
    Delete,
    Exec(Vec<String>, bool),
    Not(Box<Test>),
    All(Vec<Test>),
    Any(Vec<Test>),
}

struct Walk {
    test: Test,
    min: usize,
    max: usize,
    depth_first: bool,
    prune: bool,
    code: u8,
    /// What `-exec .. +` collects.
    collected: Vec<String>,
}

struct Parser<'a> {
    context: &'a Context,
    words: &'a [String],
    at: usize,
    acts: bool,
    min: usize,
    max: usize,
    depth_first: bool,
}

pub fn find(context: &mut Context) -> Outcome {
    let mut operands = context.operands().to_vec();
    operands.retain(|operand| !matches!(operand.as_str(), "-H" | "-L" | "-P"));
    let first = operands.iter().position(|operand| operand.starts_with('-') || matches!(operand.as_str(), "!" | "("));
    let words = operands.split_off(first.unwrap_or(operands.len()));
    let paths = if operands.is_empty() { vec![".".to_owned()] } else { operands };
    let mut parser = Parser { context, words: &words, at: 0, acts: false, min: 0, max: DEPTH_MAX, depth_first: false };
    let mut test = parser.any()?;
    if let Some(word) = parser.words.get(parser.at) {
        return Err(Failure::Message(format!("unrecognized: {word}")));
    }
    if !parser.acts {
        test = Test::All(vec![test, Test::Print('\n')]);
    }
    let (min, max, depth_first) = (parser.min, parser.max, parser.depth_first);
    let mut walk = Walk { test, min, max, depth_first, prune: false, code: 0, collected: Vec::new() };
    for path in paths {
        walk.visit(context, &path, 0)?;
    }
    let collected = std::mem::take(&mut walk.collected);
    if !collected.is_empty() {
        run_collected(context, &walk.test, &collected)?;
    }
    Ok(walk.code)
}

fn run_collected(context: &mut Context, test: &Test, collected: &[String]) -> Result<(), Failure> {
    match test {
        Test::Exec(command, true) => {
            super::processes::run(context, &[command.as_slice(), collected].concat())?;
        }
        Test::All(tests) | Test::Any(tests) => {
            for test in tests {
                run_collected(context, test, collected)?;
            }
        }
        Test::Not(test) => run_collected(context, test, collected)?,
        _ => {}
    }
    Ok(())
}

/// `+3`, `-3` or `3`, with a unit for `-size`.
fn compared(text: &str) -> Result<(Ordering, u64, u64), Failure> {
    let (order, rest) = match text.as_bytes().first() {
        Some(b'+') => (Ordering::Greater, &text[1..]),
        Some(b'-') => (Ordering::Less, &text[1..]),
        _ => (Ordering::Equal, text),
    };
    let digits = rest.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let unit = match &rest[digits.len()..] {
        "c" => 1,
        "k" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => 512,
    };
    Ok((order, number(digits)?, unit))
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Test, Failure> {
        let mut tests = vec![self.all()?];
        while self.words.get(self.at).is_some_and(|word| word == "-o" || word == "-or") {
            self.at += 1;
            tests.push(self.all()?);
        }
        Ok(Test::Any(tests))
    }

    fn all(&mut self) -> Result<Test, Failure> {
        let mut tests = Vec::new();
        while let Some(word) = self.words.get(self.at) {
            match word.as_str() {
                "-o" | "-or" | ")" => break,
                "-a" | "-and" => self.at += 1,
                _ => tests.push(self.one(0)?),
            }
        }
        Ok(Test::All(tests))
    }

    fn value(&mut self, name: &str) -> Result<String, Failure> {
        let value = self.words.get(self.at).cloned();
        self.at += 1;
        value.ok_or_else(|| Failure::Message(format!("{name} requires an argument")))
    }

    fn one(&mut self, depth: usize) -> Result<Test, Failure> {
        let word = self.value("!")?;
        if depth > DEPTH_MAX {
            return Err(Failure::Message("too deeply nested".to_owned()));
        }
        let name = word.as_str();
        Ok(match name {
            "!" | "-not" => Test::Not(Box::new(self.one(depth + 1)?)),
            "(" => {
                let test = self.any()?;
                if self.value("(")? != ")" {
                    return Err(Failure::Message("unmatched '('".to_owned()));
                }
                test
            }
            "-name" => Test::Name(self.value(name)?, false),
            "-iname" => Test::Name(self.value(name)?.to_lowercase(), true),
            "-path" | "-wholename" => Test::Path(self.value(name)?),
            "-type" => Test::Type(self.value(name)?.chars().next().unwrap_or('f')),
            "-size" => {
                let (order, count, unit) = compared(&self.value(name)?)?;
                Test::Size(order, count, unit)
            }
            "-mtime" | "-mmin" | "-atime" | "-ctime" => {
                let (order, count, _) = compared(&self.value(name)?)?;
                Test::Age(order, count, if name == "-mmin" { 60 } else { 86400 })
            }
            "-newer" => Test::Newer(modified(&fs::metadata(self.context.path(&self.value(name)?))?)),
            "-empty" => Test::Empty,
            "-true" => Test::True(true),
            "-false" => Test::True(false),
            "-prune" => Test::Prune,
            "-maxdepth" => {
                self.max = number(&self.value(name)?)?;
                Test::True(true)
            }
            "-mindepth" => {
                self.min = number(&self.value(name)?)?;
                Test::True(true)
            }
            "-depth" | "-xdev" | "-mount" | "-follow" => {
                self.depth_first |= name == "-depth";
                Test::True(true)
            }
            "-print" | "-print0" => {
                self.acts = true;
                Test::Print(if name == "-print" { '\n' } else { '\0' })
            }
            "-delete" => {
                self.acts = true;
                self.depth_first = true;
                Test::Delete
            }
            "-exec" => {
                self.acts = true;
                let rest = &self.words[self.at..];
                let Some(end) = rest.iter().position(|word| word == ";" || word == "+") else {
                    return Err(Failure::Message("-exec requires an argument".to_owned()));
                };
                self.at += end + 1;
                let mut command = rest[..end].to_vec();
                let plus = rest[end] == "+";
                if plus && command.last().is_some_and(|last| last == "{}") {
                    command.pop();
                }
                Test::Exec(command, plus)
            }
            _ => return Err(Failure::Message(format!("unrecognized: {word}"))),
        })
    }
}

impl Walk {
    fn visit(&mut self, context: &mut Context, path: &str, depth: usize) -> Result<(), Failure> {
        let metadata = match fs::symlink_metadata(context.path(path)) {
            Ok(metadata) => metadata,
            Err(error) => {
                context.complain_of(path, &error);
                self.code = 1;
                return Ok(());
            }
        };
        self.prune = false;
        if !self.depth_first {
            self.apply(context, path, &metadata, depth)?;
        }
        if metadata.is_dir() && !self.prune && depth < self.max.min(DEPTH_MAX) {
            let names = fs::read_dir(context.path(path)).map(|entries| {
                entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
            });
            match names {
                Ok(mut names) => {
                    names.sort();
                    for name in names {
                        self.visit(context, &format!("{}/{name}", path.trim_end_matches('/')), depth + 1)?;
                    }
                }
                Err(error) => {
                    context.complain_of(path, &error);
                    self.code = 1;
                }
            }
        }
        if self.depth_first {
            self.apply(context, path, &metadata, depth)?;
        }
        Ok(())
    }

    fn apply(&mut self, context: &mut Context, path: &str, metadata: &Metadata, depth: usize) -> Result<(), Failure> {
        if depth >= self.min {
            let test = std::mem::replace(&mut self.test, Test::Empty);
            let result = self.holds(&test, context, path, metadata);
            self.test = test;
            result?;
        }
        Ok(())
    }

    fn holds(&mut self, test: &Test, context: &mut Context, path: &str, metadata: &Metadata) -> Result<bool, Failure> {
        let name = path.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("/");
        Ok(match test {
            Test::Name(pattern, false) => matches(pattern, name),
            Test::Name(pattern, true) => matches(pattern, &name.to_lowercase()),
            Test::Path(pattern) => matches(pattern, path),
            Test::Type('d') => metadata.is_dir(),
            Test::Type('l') => metadata.file_type().is_symlink(),
            Test::Type('f') => metadata.is_file(),
            Test::Type(_) => false,
            Test::Size(order, count, unit) => metadata.len().div_ceil(*unit).cmp(count) == *order,
            Test::Age(order, count, unit) => {
                let now = i64::try_from(context.host.now().as_secs()).unwrap_or(0);
                let age = u64::try_from(now - modified(metadata)).unwrap_or(0) / unit;
                age.cmp(count) == *order
            }
            Test::Newer(than) => modified(metadata) > *than,
            Test::Empty if metadata.is_dir() => fs::read_dir(context.path(path))?.next().is_none(),
            Test::Empty => metadata.len() == 0,
            Test::True(value) => *value,
            Test::Print(end) => {
                write!(context.stdout, "{path}{end}")?;
                true
            }
            Test::Prune => {
                self.prune = true;
                true
            }
            Test::Delete => {
                let full = context.path(path);
                let done = if metadata.is_dir() { fs::remove_dir(full) } else { fs::remove_file(full) };
                if let Err(error) = &done {
                    context.complain(format_args!("{path}: {}", reason(error)));
                    self.code = 1;
                }
                done.is_ok()
            }
            Test::Exec(_, true) => {
                self.collected.push(path.to_owned());
                true
            }
            Test::Exec(command, false) => {
                let command: Vec<String> = command.iter().map(|word| word.replace("{}", path)).collect();
                super::processes::run(context, &command)? == 0
            }
            Test::Not(test) => !self.holds(test, context, path, metadata)?,
            Test::All(tests) => {
                for test in tests {
                    if !self.holds(test, context, path, metadata)? {
                        return Ok(false);
                    }
                }
                true
            }
            Test::Any(tests) => {
                for test in tests {
                    if self.holds(test, context, path, metadata)? {
                        return Ok(true);
                    }
                }
                false
            }
        })
    }
}
