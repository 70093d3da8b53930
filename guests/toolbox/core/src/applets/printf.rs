//! `printf`: C's formats over text.

use super::basics::{Octal, unescape};
use crate::{
    Context,
    context::{Failure, Outcome},
};
use std::io::Write;

/// The widest field; more would only fill memory.
const WIDTH_MAX: usize = 4096;

pub fn printf(context: &mut Context) -> Outcome {
    let mut operands = context.operands().to_vec();
    if operands.first().is_some_and(|first| first == "--") {
        operands.remove(0);
    }
    let Some((format, arguments)) = operands.split_first() else { return Err(Failure::Usage(String::new())) };
    let mut arguments = arguments.iter();
    let mut code = 0;
    loop {
        let before = arguments.len();
        let (text, stop, errors) = once(format, &mut arguments);
        context.stdout.write_all(&text)?;
        for error in errors {
            context.complain(error);
            code = 1;
        }
        if stop || arguments.len() == 0 || arguments.len() == before {
            return Ok(code);
        }
    }
}

/// One round of the format: the text, whether `\c` ended it, and what was wrong.
fn once<'a>(format: &str, arguments: &mut impl Iterator<Item = &'a String>) -> (Vec<u8>, bool, Vec<String>) {
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let mut rest = format;
    while let Some(percent) = rest.find('%') {
        let (text, stop) = unescape(&rest[..percent], Octal::Plain);
        out.extend(text);
        if stop {
            return (out, true, errors);
        }
        rest = &rest[percent + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push(b'%');
            rest = after;
            continue;
        }
        let mut spec = Spec::default();
        rest = spec.parse(rest, arguments);
        let Some(conversion) = rest.chars().next() else {
            errors.push("%: invalid format".to_owned());
            return (out, true, errors);
        };
        rest = &rest[conversion.len_utf8()..];
        match spec.convert(conversion, arguments.next().map_or("", String::as_str), &mut errors) {
            Some((text, stop)) => {
                out.extend(text);
                if stop {
                    return (out, true, errors);
                }
            }
            None => {
                errors.push(format!("%{conversion}: invalid format"));
                return (out, true, errors);
            }
        }
    }
    let (text, stop) = unescape(rest, Octal::Plain);
    out.extend(text);
    (out, stop, errors)
}

/// What stands between `%` and its letter.
#[derive(Default)]
pub struct Spec {
    flags: String,
    width: usize,
    precision: Option<usize>,
}

impl Spec {
    /// What is left of the format, from the letter.
    pub fn parse<'a, 'f>(&mut self, format: &'f str, arguments: &mut impl Iterator<Item = &'a String>) -> &'f str {
        let flags = format.find(|character| !"-+ #0".contains(character)).unwrap_or(format.len());
        format[..flags].clone_into(&mut self.flags);
        let mut rest = &format[flags..];
        let mut number = |rest: &mut &str| -> i64 {
            if let Some(after) = rest.strip_prefix('*') {
                *rest = after;
                return arguments.next().and_then(|argument| argument.parse().ok()).unwrap_or(0);
            }
            let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
            let value = rest[..digits].parse().unwrap_or(0);
            *rest = &rest[digits..];
            value
        };
        let width = number(&mut rest);
        if width < 0 {
            self.flags.push('-');
        }
        self.width = usize::try_from(width.unsigned_abs()).unwrap_or(0).min(WIDTH_MAX);
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            self.precision = usize::try_from(number(&mut rest)).ok().map(|precision| precision.min(WIDTH_MAX));
        }
        rest.trim_start_matches(['l', 'h', 'j', 'z', 'q'])
    }

    /// The text, and whether it ends the output; none for an unknown letter.
    pub fn convert(&self, conversion: char, argument: &str, errors: &mut Vec<String>) -> Option<(Vec<u8>, bool)> {
        let text = match conversion {
            's' | 'b' => {
                let (bytes, stop) =
                    if conversion == 'b' { unescape(argument, Octal::AfterZero) } else { (argument.into(), false) };
                let end = self.precision.unwrap_or(bytes.len()).min(bytes.len());
                return Some((self.pad(bytes[..end].to_vec(), 0), stop));
            }
            'c' => {
                let first: Vec<u8> = argument.bytes().take(1).collect();
                return Some((self.pad(first, 0), false));
            }
            'd' | 'i' => self.signed(integer(argument, errors)),
            'u' => self.digits(integer(argument, errors).cast_unsigned().to_string()),
            'x' => self.prefixed("0x", format!("{:x}", integer(argument, errors))),
            'X' => self.prefixed("0X", format!("{:X}", integer(argument, errors))),
            'o' => self.prefixed("0", format!("{:o}", integer(argument, errors))),
            'f' | 'F' => self.float(argument, errors, |value, precision| format!("{value:.precision$}")),
            'e' | 'E' => self.float(argument, errors, exponent),
            'g' | 'G' => {
                let alternate = self.flags.contains('#');
                self.float(argument, errors, |value, precision| general(value, precision, alternate))
            }
            _ => return None,
        };
        let signs = usize::from(text.starts_with(['-', '+', ' ']));
        Some((self.pad(text.into_bytes(), signs), false))
    }

    fn sign(&self, negative: bool) -> &'static str {
        if negative {
            "-"
        } else if self.flags.contains('+') {
            "+"
        } else if self.flags.contains(' ') {
            " "
        } else {
            ""
        }
    }

    fn digits(&self, digits: String) -> String {
        format!("{}{digits}", "0".repeat(self.precision.unwrap_or(1).saturating_sub(digits.len())))
    }

    fn signed(&self, value: i64) -> String {
        format!("{}{}", self.sign(value < 0), self.digits(value.unsigned_abs().to_string()))
    }

    fn prefixed(&self, prefix: &str, digits: String) -> String {
        let digits = self.digits(digits);
        if self.flags.contains('#') && digits != "0" { format!("{prefix}{digits}") } else { digits }
    }

    fn float(&self, argument: &str, errors: &mut Vec<String>, show: impl Fn(f64, usize) -> String) -> String {
        let value: f64 = argument.trim().parse().unwrap_or_else(|_| {
            if !argument.is_empty() {
                errors.push(format!("invalid number '{argument}'"));
            }
            0.0
        });
        format!("{}{}", self.sign(value.is_sign_negative()), show(value.abs(), self.precision.unwrap_or(6)))
    }

    /// Fills up to the width; zeros go behind the sign.
    fn pad(&self, text: Vec<u8>, signs: usize) -> Vec<u8> {
        // As many characters as a person sees.
        let length = String::from_utf8_lossy(&text).chars().count();
        let missing = self.width.saturating_sub(length);
        if self.flags.contains('-') {
            return [text, vec![b' '; missing]].concat();
        }
        if self.flags.contains('0') {
            return [&text[..signs], &vec![b'0'; missing], &text[signs..]].concat();
        }
        [vec![b' '; missing], text].concat()
    }
}

fn exponent(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// `%g`: the shorter of both ways, without zeros at the end.
pub fn general(value: f64, precision: usize, alternate: bool) -> String {
    if !value.is_finite() {
        return value.to_string().to_lowercase();
    }
    let precision = precision.max(1);
    let scientific = exponent(value, precision - 1);
    let power: i32 = scientific.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0);
    let trim = |text: &str| match text.contains('.') && !alternate {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if power < -4 || power >= i32::try_from(precision).unwrap_or(i32::MAX) {
        let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "+00"));
        return format!("{}e{power}", trim(mantissa));
    }
    let places = usize::try_from(i32::try_from(precision).unwrap_or(0) - 1 - power).unwrap_or(0);
    trim(&format!("{value:.places$}"))
}

/// A number as C writes it, or the code of the character after a quote.
fn integer(text: &str, errors: &mut Vec<String>) -> i64 {
    let trimmed = text.trim();
    if let Some(quoted) = trimmed.strip_prefix(['\'', '"']) {
        return quoted.chars().next().map_or(0, |character| i64::from(u32::from(character)));
    }
    let (negative, digits) = match trimmed.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    let lower = digits.to_lowercase();
    let parsed = if let Some(hex) = lower.strip_prefix("0x") {
        i64::from_str_radix(hex, 16)
    } else if lower.len() > 1 && lower.starts_with('0') {
        i64::from_str_radix(&lower, 8)
    } else if lower.is_empty() {
        Ok(0)
    } else {
        lower.parse::<i64>().or_else(|error| lower.parse::<u64>().map(u64::cast_signed).map_err(|_| error))
    };
    match parsed {
        Ok(value) => {
            if negative {
                value.wrapping_neg()
            } else {
                value
            }
        }
        Err(_) => {
            errors.push(format!("invalid number '{text}'"));
            0
        }
    }
}
