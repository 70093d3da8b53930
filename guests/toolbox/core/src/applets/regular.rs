//! POSIX regular expressions, by way of the crate `regex`: BRE and ERE are
//! rewritten in its syntax. Time is linear whatever the pattern; in return there
//! are no back-references in patterns, and of alternatives the first wins.

use crate::context::Failure;
use regex::bytes::{Regex, RegexBuilder};

/// The largest compiled pattern.
const PROGRAM_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    Basic,
    Extended,
    Fixed,
}

pub fn compile(pattern: &str, syntax: Syntax, ignore_case: bool) -> Result<Regex, Failure> {
    let rewritten = match syntax {
        Syntax::Fixed => regex::escape(pattern),
        _ => rewrite(pattern, syntax == Syntax::Extended)?,
    };
    let built = RegexBuilder::new(&rewritten).case_insensitive(ignore_case).size_limit(PROGRAM_BYTES_MAX).build();
    built.map_err(|_| Failure::Message(format!("bad regex '{pattern}'")))
}

fn rewrite(pattern: &str, extended: bool) -> Result<String, Failure> {
    let characters: Vec<char> = pattern.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    // Where an asterisk is a character.
    let mut start = true;
    while at < characters.len() {
        let character = characters[at];
        at += 1;
        let was_start = std::mem::take(&mut start);
        match character {
            '[' => {
                let end = bracket_end(&characters, at)
                    .ok_or_else(|| Failure::Message(format!("bad regex '{pattern}': Unmatched [")))?;
                bracket(&characters[at..end], &mut out);
                at = end + 1;
            }
            '\\' => {
                let next = characters
                    .get(at)
                    .copied()
                    .ok_or_else(|| Failure::Message(format!("bad regex '{pattern}': Trailing backslash")))?;
                at += 1;
                match next {
                    '(' | ')' | '{' | '}' | '|' | '+' | '?' if !extended => {
                        out.push(next);
                        start = matches!(next, '(' | '|');
                    }
                    '<' => out.push_str(r"\b{start}"),
                    '>' => out.push_str(r"\b{end}"),
                    'w' | 'W' | 's' | 'S' | 'b' | 'B' | 'n' | 't' => out.extend(['\\', next]),
                    '1'..='9' => {
                        return Err(Failure::Message(format!(
                            "bad regex '{pattern}': back-references are not supported"
                        )));
                    }
                    _ => out.push_str(&regex::escape(&next.to_string())),
                }
            }
            '(' | ')' | '{' | '}' | '|' | '+' | '?' if !extended => out.extend(['\\', character]),
            '{' if extended && was_start => out.push_str("\\{"),
            '*' if was_start => out.push_str("\\*"),
            // A second `*` changes nothing; in the crate's syntax `+` after it would.
            '*' if out.ends_with('*') && !out.ends_with("\\*") => {}
            '^' if !extended && !was_start => out.push_str("\\^"),
            '^' => {
                out.push('^');
                start = true;
            }
            '$' if !extended && !ends_here(&characters, at) => out.push_str("\\$"),
            '(' | '|' => {
                out.push(character);
                start = true;
            }
            other => out.push(other),
        }
    }
    Ok(out)
}

fn ends_here(characters: &[char], at: usize) -> bool {
    matches!(characters.get(at..), Some([] | ['\\', ')' | '|', ..]))
}

/// Where the bracket expression that begins at `at` has its `]`.
fn bracket_end(characters: &[char], at: usize) -> Option<usize> {
    let mut at = at;
    if characters.get(at) == Some(&'^') {
        at += 1;
    }
    if characters.get(at) == Some(&']') {
        at += 1;
    }
    while at < characters.len() {
        if characters[at] == '[' && matches!(characters.get(at + 1), Some(':' | '.' | '=')) {
            let close = [characters[at + 1], ']'];
            at += 2 + characters[at + 2..].windows(2).position(|pair| pair == close)? + 2;
            continue;
        }
        if characters[at] == ']' {
            return Some(at);
        }
        at += 1;
    }
    None
}

fn bracket(inner: &[char], out: &mut String) {
    out.push('[');
    let mut at = 0;
    if inner.first() == Some(&'^') {
        out.push('^');
        at = 1;
    }
    while at < inner.len() {
        if inner[at] == '['
            && inner.get(at + 1) == Some(&':')
            && let Some(length) = inner[at..].windows(2).position(|pair| pair == [':', ']'])
        {
            out.extend(&inner[at..at + length + 2]);
            at += length + 2;
            continue;
        }
        let is_range = inner[at] == '-' && at > 0 && at + 1 < inner.len();
        // A backslash is a character here; `\n` and `\t` are what people mean.
        if inner[at] == '\\' && matches!(inner.get(at + 1), Some('n' | 't' | ']' | '\\')) {
            out.extend(['\\', inner[at + 1]]);
            at += 2;
            continue;
        }
        if matches!(inner[at], '[' | ']' | '\\' | '&' | '~' | '^') || (inner[at] == '-' && !is_range) {
            out.push('\\');
        }
        out.push(inner[at]);
        at += 1;
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_and_extended_patterns_mean_what_posix_says() {
        for (pattern, syntax, text, expected) in [
            ("a+b", Syntax::Basic, "a+b", true),
            ("a+b", Syntax::Extended, "aab", true),
            (r"a\+b", Syntax::Basic, "aab", true),
            (r"\(ab\)\{2\}", Syntax::Basic, "abab", true),
            ("(ab){2}", Syntax::Extended, "abab", true),
            ("*a", Syntax::Basic, "*a", true),
            ("a|b", Syntax::Basic, "b", false),
            (r"a\|b", Syntax::Basic, "b", true),
            ("a$b", Syntax::Basic, "a$b", true),
            ("a^b", Syntax::Basic, "a^b", true),
            ("[]a]", Syntax::Basic, "]", true),
            ("[^[:digit:]-]", Syntax::Basic, "5-", false),
            (r"[a\]", Syntax::Basic, r"\", true),
            (r"\bfoo\b", Syntax::Basic, "a foo b", true),
            (r"\<foo\>", Syntax::Basic, "afoo", false),
            ("a.c", Syntax::Fixed, "abc", false),
            ("^$", Syntax::Basic, "", true),
        ] {
            let regex = compile(pattern, syntax, false).unwrap();
            assert_eq!(regex.is_match(text.as_bytes()), expected, "{pattern} {text}");
        }
        assert!(compile("[", Syntax::Basic, false).is_err() && compile("(", Syntax::Extended, false).is_err());
    }
}
