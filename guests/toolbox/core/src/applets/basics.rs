//! The smallest programs, most of which the shell has built in too.

use crate::{
    Context,
    context::{CHUNK_BYTES, Failure, Outcome},
    flags::Flags,
};
use std::{
    io::{BufRead, Read, Write},
    time::Duration,
};

pub fn yes(_: &mut Context) -> Outcome {
    Ok(0)
}

pub fn no(_: &mut Context) -> Outcome {
    Ok(1)
}

pub fn pwd(context: &mut Context) -> Outcome {
    writeln!(context.stdout, "{}", context.directory)?;
    Ok(0)
}

pub fn echo(context: &mut Context) -> Outcome {
    let mut arguments = context.operands();
    let (mut newline, mut escapes) = (true, false);
    while let Some(flags) = arguments.first().and_then(|first| first.strip_prefix('-')) {
        if flags.is_empty() || !flags.chars().all(|flag| matches!(flag, 'n' | 'e' | 'E')) {
            break;
        }
        for flag in flags.chars() {
            match flag {
                'n' => newline = false,
                other => escapes = other == 'e',
            }
        }
        arguments = &arguments[1..];
    }
    let mut text = arguments.join(" ").into_bytes();
    if escapes {
        let (unescaped, stop) = unescape(&String::from_utf8_lossy(&text), Octal::AfterZero);
        text = unescaped;
        newline &= !stop;
    }
    if newline {
        text.push(b'\n');
    }
    context.stdout.write_all(&text)?;
    Ok(0)
}

/// How an octal escape begins: `\0101` in echo and `%b`, `\101` in a format.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Octal {
    AfterZero,
    Plain,
}

/// Replaces backslash escapes; whether `\c` said to stop.
pub fn unescape(text: &str, octal: Octal) -> (Vec<u8>, bool) {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' || at + 1 == bytes.len() {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        at += 2;
        match bytes[at - 1] {
            b'a' => out.push(7),
            b'b' => out.push(8),
            b'c' => return (out, true),
            b'e' => out.push(27),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(11),
            b'\\' => out.push(b'\\'),
            b'x' if bytes.get(at).is_some_and(u8::is_ascii_hexdigit) => out.push(digits(bytes, &mut at, 16, 2)),
            b'0' if octal == Octal::AfterZero => out.push(digits(bytes, &mut at, 8, 3)),
            b'0'..=b'7' => {
                at -= 1;
                out.push(digits(bytes, &mut at, 8, 3));
            }
            other => out.extend([b'\\', other]),
        }
    }
    (out, false)
}

fn digits(bytes: &[u8], at: &mut usize, base: u32, most: usize) -> u8 {
    let mut value = 0u32;
    for _ in 0..most {
        let Some(digit) = bytes.get(*at).and_then(|&byte| char::from(byte).to_digit(base)) else { break };
        value = value * base + digit;
        *at += 1;
    }
    // As C stores it in a char.
    (value & 0xff) as u8
}

pub fn sleep(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "+", &[])?;
    if flags.operands.is_empty() {
        return Err(Failure::Usage(String::new()));
    }
    let mut total = Duration::ZERO;
    for operand in &flags.operands {
        total = total.saturating_add(duration(operand)?);
    }
    context.host.sleep(total);
    Ok(0)
}

/// `1`, `0.5s`, `2m`, `inf`.
pub fn duration(text: &str) -> Result<Duration, Failure> {
    let invalid = || Failure::Message(format!("invalid number '{text}'"));
    if text == "inf" || text == "infinity" {
        return Ok(Duration::from_secs(u64::from(u32::MAX)));
    }
    let number = text.trim_end_matches(['s', 'm', 'h', 'd']);
    let unit = match &text[number.len()..] {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return Err(invalid()),
    };
    let seconds: f64 = number.parse().map_err(|_| invalid())?;
    Duration::try_from_secs_f64(seconds * unit).map_err(|_| invalid())
}

pub fn cat(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "nbuvetA", &[("number", 'n'), ("show-all", 'A')])?;
    let mut operands = flags.operands.clone();
    if operands.is_empty() {
        operands.push("-".to_owned());
    }
    let (mut code, mut number) = (0, 0u64);
    for path in &operands {
        let copied = match context.input(path) {
            Ok(mut input) if flags.has('n') || flags.has('b') => {
                numbered(context, &mut input, &mut number, flags.has('b'))
            }
            Ok(mut input) if flags.last_of("vetA").is_some() => visible(context, &mut input, &flags),
            Ok(mut input) => copy(context, &mut input),
            Err(error) => Ok(Err(error)),
        };
        if let Err(error) = copied? {
            context.complain(format_args!("can't open '{path}': {}", crate::context::reason(&error)));
            code = 1;
        }
    }
    Ok(code)
}

/// What went wrong while writing ends the program; while reading, only the file.
type Copied = Result<std::io::Result<()>, Failure>;

/// Passes on each piece as it comes.
pub fn copy(context: &mut Context, input: &mut impl Read) -> Copied {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(Ok(())),
            Ok(length) => {
                context.stdout.write_all(&buffer[..length])?;
                context.stdout.flush()?;
            }
            Err(error) => return Ok(Err(error)),
        }
    }
}

fn numbered(context: &mut Context, input: &mut impl BufRead, number: &mut u64, skip_blank: bool) -> Copied {
    let mut line = Vec::new();
    loop {
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(Ok(())),
            Ok(_) if skip_blank && line == b"\n" => context.stdout.write_all(&line)?,
            Ok(_) => {
                *number += 1;
                write!(context.stdout, "{number:6}\t")?;
                context.stdout.write_all(&line)?;
            }
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// With `^X` and `M-x` for what does not print; `-e` marks the ends of lines, `-t` tabs.
fn visible(context: &mut Context, input: &mut impl Read, flags: &Flags) -> Copied {
    let (ends, tabs) = (flags.last_of("eA").is_some(), flags.last_of("tA").is_some());
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let length = match input.read(&mut buffer) {
            Ok(0) => return Ok(Ok(())),
            Ok(length) => length,
            Err(error) => return Ok(Err(error)),
        };
        for byte in &buffer[..length] {
            match byte {
                b'\n' if ends => context.stdout.write_all(b"$\n")?,
                b'\n' => context.stdout.write_all(b"\n")?,
                b'\t' if !tabs => context.stdout.write_all(b"\t")?,
                byte => {
                    let meta = if *byte >= 0x80 { "M-" } else { "" };
                    let low = byte & 0x7f;
                    let (caret, shown) = if low < 32 || low == 127 { ("^", low ^ 0x40) } else { ("", low) };
                    write!(context.stdout, "{meta}{caret}{}", char::from(shown))?;
                }
            }
        }
        context.stdout.flush()?;
    }
}

pub fn test(context: &mut Context) -> Outcome {
    let mut arguments = context.operands();
    let close = match context.name() {
        "[" => "]",
        "[[" => "]]",
        _ => "",
    };
    if !close.is_empty() {
        match arguments.split_last() {
            Some((last, rest)) if last == close => arguments = rest,
            _ => {
                context.complain(format_args!("missing {close}"));
                return Ok(2);
            }
        }
    }
    let arguments = arguments.to_vec();
    match super::test::evaluate(&arguments, context) {
        Ok(value) => Ok(u8::from(!value)),
        Err(message) => {
            context.complain(message);
            Ok(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_replaced() {
        assert_eq!(unescape(r"a\tb\0101\x41\c rest", Octal::AfterZero), (b"a\tbAA".to_vec(), true));
        assert_eq!(unescape(r"\101\q\", Octal::Plain), (br"A\q\".to_vec(), false));
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("1.5").unwrap(), Duration::from_millis(1500));
        assert_eq!(duration("2m").unwrap(), Duration::from_secs(120));
        assert!(duration("x").is_err() && duration("-1").is_err() && duration("1ss").is_err());
    }
}
