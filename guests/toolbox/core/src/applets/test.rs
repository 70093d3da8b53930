//! What `test` and `[` decide: POSIX's rules by number of arguments, with
//! `-a`, `-o`, `!` and parentheses.

use super::regular::{Syntax, compile};
use crate::{Context, shell::pattern};
use std::{cmp::Ordering, fs};

/// Whether the expression holds.
///
/// # Errors
/// What is wrong with the expression; `test` ends with 2 then.
pub fn evaluate(arguments: &[String], context: &Context) -> Result<bool, String> {
    match arguments {
        [] => Ok(false),
        [one] => Ok(!one.is_empty()),
        [not, one] if not == "!" => Ok(one.is_empty()),
        [left, operator, right] if is_binary(operator) => binary(left, operator, right, context),
        [not, rest @ ..] if not == "!" && rest.len() < 4 => evaluate(rest, context).map(|value| !value),
        _ => {
            let mut parser = Parser { arguments, at: 0, context };
            let value = parser.or()?;
            match arguments.get(parser.at) {
                None => Ok(value),
                Some(extra) => Err(format!("{extra}: unknown operand")),
            }
        }
    }
}

struct Parser<'a> {
    arguments: &'a [String],
    at: usize,
    context: &'a Context,
}

impl Parser<'_> {
    fn peek(&self, ahead: usize) -> Option<&str> {
        self.arguments.get(self.at + ahead).map(String::as_str)
    }

    fn or(&mut self) -> Result<bool, String> {
        let mut value = self.and()?;
        while self.peek(0) == Some("-o") {
            self.at += 1;
            value |= self.and()?;
        }
        Ok(value)
    }

    fn and(&mut self) -> Result<bool, String> {
        let mut value = self.primary()?;
        while self.peek(0) == Some("-a") {
            self.at += 1;
            value &= self.primary()?;
        }
        Ok(value)
    }

    fn primary(&mut self) -> Result<bool, String> {
        let first = self.peek(0).ok_or("argument expected")?.to_owned();
        if let (Some(operator), Some(right)) = (self.peek(1), self.peek(2))
            && is_binary(operator)
        {
            let value = binary(&first, operator, right, self.context)?;
            self.at += 3;
            return Ok(value);
        }
        self.at += 1;
        match first.as_str() {
            "!" => Ok(!self.primary()?),
            "(" => {
                let value = self.or()?;
                if self.peek(0) != Some(")") {
                    return Err("closing paren expected".to_owned());
                }
                self.at += 1;
                Ok(value)
            }
            operator if is_unary(operator) => {
                let Some(operand) = self.peek(0) else { return Ok(true) };
                let value = unary(operator, operand, self.context)?;
                self.at += 1;
                Ok(value)
            }
            text => Ok(!text.is_empty()),
        }
    }
}

fn is_unary(text: &str) -> bool {
    text.len() == 2 && text.starts_with('-') && "bcdefghknprstuwxzLS".contains(&text[1..])
}

fn is_binary(text: &str) -> bool {
    matches!(
        text,
        "=" | "==" | "=~" | "!=" | "<" | ">" | "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge" | "-nt" | "-ot" | "-ef"
    )
}

fn unary(operator: &str, operand: &str, context: &Context) -> Result<bool, String> {
    let path = context.path(operand);
    let metadata = || if operand.is_empty() { None } else { fs::metadata(&path).ok() };
    Ok(match operator {
        "-n" => !operand.is_empty(),
        "-z" => operand.is_empty(),
        "-t" => match number(operand)? {
            0 => context.stdin.is_terminal(),
            1 => context.stdout.file.is_terminal(),
            2 => context.stderr.is_terminal(),
            _ => false,
        },
        "-e" => metadata().is_some(),
        "-f" => metadata().is_some_and(|metadata| metadata.is_file()),
        "-d" => metadata().is_some_and(|metadata| metadata.is_dir()),
        "-s" => metadata().is_some_and(|metadata| metadata.len() > 0),
        "-L" | "-h" => fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.file_type().is_symlink()),
        // WASI has no permission bits: what exists may be read, written and run.
        "-r" | "-w" | "-x" => metadata().is_some(),
        _ => false,
    })
}

fn binary(left: &str, operator: &str, right: &str, context: &Context) -> Result<bool, String> {
    let modified = |path: &str| fs::metadata(context.path(path)).and_then(|metadata| metadata.modified());
    // A file that does not exist is older than one that does.
    let age = || modified(left).ok().cmp(&modified(right).ok());
    Ok(match operator {
        // Within `[[` the right side is a pattern.
        "=" | "==" if context.name() == "[[" => pattern::matches(right, left),
        "!=" if context.name() == "[[" => !pattern::matches(right, left),
        "=~" => {
            let pattern = compile(right, Syntax::Extended, false).map_err(|_| format!("{right}: bad regex"))?;
            pattern.is_match(left.as_bytes()).map_err(|_| format!("{right}: bad regex"))?
        }
        "=" | "==" => left == right,
        "!=" => left != right,
        "<" => left < right,
        ">" => left > right,
        "-nt" => age() == Ordering::Greater,
        "-ot" => age() == Ordering::Less,
        "-ef" => match (fs::canonicalize(context.path(left)), fs::canonicalize(context.path(right))) {
            (Ok(left), Ok(right)) => left == right,
            _ => false,
        },
        _ => {
            let (left, right) = (number(left)?, number(right)?);
            match operator {
                "-eq" => left == right,
                "-ne" => left != right,
                "-lt" => left < right,
                "-le" => left <= right,
                "-gt" => left > right,
                _ => left >= right,
            }
        }
    })
}

fn number(text: &str) -> Result<i64, String> {
    text.trim().parse().map_err(|_| format!("{text}: bad number"))
}
