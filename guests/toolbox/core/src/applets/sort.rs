//! `sort`.

use crate::{
    Context,
    context::{Failure, Outcome, Stream},
    flags::Flags,
    host::Access,
};
use std::{
    cmp::Ordering,
    io::{BufRead, Write},
};

/// `-k 2n,3`: fields from 1, characters from 1, own options.
#[derive(Debug, Clone, Default)]
struct Key {
    start: (usize, usize),
    end: Option<(usize, usize)>,
    options: String,
}

fn key(text: &str) -> Result<Key, Failure> {
    let bad = || Failure::Message(format!("bad field specification '{text}'"));
    let (start, end) = text.split_once(',').map_or((text, None), |(start, end)| (start, Some(end)));
    let mut options = String::new();
    let mut position = |text: &str| -> Result<(usize, usize), Failure> {
        let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
        options.push_str(&text[digits.len()..]);
        let (field, character) = digits.split_once('.').unwrap_or((digits, "0"));
        Ok((field.parse().map_err(|_| bad())?, character.parse().map_err(|_| bad())?))
    };
    let start = position(start)?;
    let end = end.map(position).transpose()?;
    if start.0 == 0 { Err(bad()) } else { Ok(Key { start, end, options }) }
}

/// Where each field begins and ends. Without a separator a field takes the blanks before it.
fn fields(line: &[u8], separator: Option<u8>) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut start = 0;
    if let Some(separator) = separator {
        for part in line.split(|byte| *byte == separator) {
            found.push((start, start + part.len()));
            start += part.len() + 1;
        }
        return found;
    }
    while start < line.len() {
        let blanks = line[start..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let word = line[start + blanks..].iter().take_while(|byte| !matches!(byte, b' ' | b'\t')).count();
        found.push((start, start + blanks + word));
        start += blanks + word;
    }
    found
}

fn part<'a>(line: &'a [u8], key: &Key, separator: Option<u8>, skip_blanks: bool) -> &'a [u8] {
    let fields = fields(line, separator);
    let Some((start, _)) = fields.get(key.start.0 - 1).copied() else { return &[] };
    let end = match key.end {
        None => line.len(),
        Some((field, character)) => match fields.get(field.saturating_sub(1)) {
            None => line.len(),
            Some((_, end)) if character == 0 => *end,
            Some((begin, _)) => (begin + character).min(line.len()),
        },
    };
    let start = (start + key.start.1.saturating_sub(1)).min(line.len());
    let part = &line[start..end.max(start)];
    if skip_blanks { part.trim_ascii_start() } else { part }
}

fn numeric(text: &[u8]) -> f64 {
    let text = text.trim_ascii_start();
    let digits = text
        .iter()
        .enumerate()
        .take_while(|(at, byte)| byte.is_ascii_digit() || **byte == b'.' || (*at == 0 && **byte == b'-'));
    std::str::from_utf8(&text[..digits.count()]).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

/// A size as `du -h` writes it.
fn human(text: &[u8]) -> f64 {
    let text = text.trim_ascii();
    let unit = text.last().and_then(|last| "KMGTP".find(char::from(last.to_ascii_uppercase())));
    numeric(text) * unit.map_or(1.0, |unit| 1024f64.powi(i32::try_from(unit + 1).unwrap_or(1)))
}

/// Compares versions: runs of digits as numbers.
fn version(one: &[u8], other: &[u8]) -> Ordering {
    let (mut one, mut other) = (one, other);
    loop {
        let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (left, right) = (digits(one), digits(other));
        if left > 0 && right > 0 {
            let trim =
                |text: &[u8]| text.iter().position(|byte| *byte != b'0').map_or(Vec::new(), |at| text[at..].to_vec());
            let (first, second) = (trim(&one[..left]), trim(&other[..right]));
            let order = first.len().cmp(&second.len()).then_with(|| first.cmp(&second));
            if order != Ordering::Equal {
                return order;
            }
            (one, other) = (&one[left..], &other[right..]);
            continue;
        }
        match (one.split_first(), other.split_first()) {
            (Some((first, rest)), Some((second, others))) if first == second => (one, other) = (rest, others),
            _ => return one.cmp(other),
        }
    }
}

fn compare(one: &[u8], other: &[u8], options: &str) -> Ordering {
    let has = |option| options.contains(option);
    let order = if has('n') {
        numeric(one).total_cmp(&numeric(other))
    } else if has('h') {
        human(one).total_cmp(&human(other))
    } else if has('g') {
        let value = |text: &[u8]| String::from_utf8_lossy(text).trim().parse::<f64>().unwrap_or(f64::NEG_INFINITY);
        value(one).total_cmp(&value(other))
    } else if has('V') {
        version(one, other)
    } else if has('M') {
        let month = |text: &[u8]| {
            let name = String::from_utf8_lossy(text).trim().to_lowercase();
            let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
            months.iter().position(|month| name.starts_with(month)).map_or(0, |index| index + 1)
        };
        month(one).cmp(&month(other))
    } else if has('f') || has('d') {
        let fold = |text: &[u8]| -> Vec<u8> {
            let kept =
                text.iter().filter(|byte| !has('d') || byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'\t'));
            kept.map(|byte| if has('f') { byte.to_ascii_uppercase() } else { *byte }).collect()
        };
        fold(one).cmp(&fold(other))
    } else {
        one.cmp(other)
    };
    if has('r') { order.reverse() } else { order }
}

pub fn sort(context: &mut Context) -> Outcome {
    let long = [
        ("reverse", 'r'),
        ("numeric-sort", 'n'),
        ("unique", 'u'),
        ("key", 'k'),
        ("field-separator", 't'),
        ("output", 'o'),
    ];
    let flags = Flags::parse(context.operands(), "nrufbghMVdsck:t:o:zT:S:m", &long)?;
    let separator = flags.value('t').and_then(|text| text.bytes().next());
    let keys: Vec<Key> = flags.values('k').map(key).collect::<Result<_, _>>()?;
    let global: String = "nrfbghMVd".chars().filter(|option| flags.has(*option)).collect();
    let order = |one: &[u8], other: &[u8]| -> Ordering {
        if keys.is_empty() {
            return compare(one, other, &global);
        }
        for key in &keys {
            let options = if key.options.is_empty() { &global } else { &key.options };
            let skip = options.contains('b') || options.contains('n');
            let (left, right) = (part(one, key, separator, skip), part(other, key, separator, skip));
            match compare(left, right, options) {
                Ordering::Equal => {}
                order => return order,
            }
        }
        Ordering::Equal
    };
    let paths = if flags.operands.is_empty() { vec!["-".to_owned()] } else { flags.operands.clone() };
    let mut all = Vec::new();
    let end = if flags.has('z') { b'\0' } else { b'\n' };
    for path in &paths {
        match context.input(path) {
            Ok(input) => all.extend(input.split(end).collect::<std::io::Result<Vec<_>>>()?),
            Err(error) => {
                context.complain_of(path, &error);
                return Ok(2);
            }
        }
    }
    if flags.has('c') {
        let sorted = all.is_sorted_by(|one, other| order(one, other) != Ordering::Greater);
        return Ok(u8::from(!sorted));
    }
    // Lines that are the same by key are told apart by all of themselves.
    let last_resort = !flags.has('s') && !flags.has('u');
    all.sort_by(|one, other| {
        let whole = || if flags.has('r') { other.cmp(one) } else { one.cmp(other) };
        order(one, other).then_with(|| if last_resort { whole() } else { Ordering::Equal })
    });
    if flags.has('u') {
        all.dedup_by(|one, other| order(one, other) == Ordering::Equal);
    }
    let mut output: Box<dyn Write> = match flags.value('o') {
        Some(path) => Box::new(std::io::BufWriter::new(Stream(context.open(path, Access::Write)?))),
        None => Box::new(&mut context.stdout),
    };
    for line in all {
        output.write_all(&line)?;
        output.write_all(&[end])?;
    }
    output.flush()?;
    drop(output);
    Ok(0)
}
