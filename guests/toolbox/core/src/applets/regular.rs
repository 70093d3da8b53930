//! POSIX regular expressions, by way of the crates `regex` and `fancy-regex`: BRE
//! and ERE are rewritten in their syntax. A pattern without back-references takes
//! linear time whatever it is; one with them backtracks, within a limit. Of
//! alternatives the first wins.

use crate::context::Failure;
use regex::bytes::RegexBuilder;
use std::ops::Range;

/// The largest compiled pattern.
const PROGRAM_BYTES_MAX: usize = 1 << 20;

/// Steps back in one search: about a second of them. A pattern that takes more is
/// an error, not a program that never ends.
const BACKTRACKS_MAX: usize = 10_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    Basic,
    Extended,
    Fixed,
}

/// What a pattern must match as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    Anything,
    Words,
    Line,
}

/// A compiled pattern.
#[derive(Clone)]
pub enum Pattern {
    Linear(regex::bytes::Regex),
    /// It has back-references.
    Backtracking(Box<fancy_regex::Regex>),
}

/// Where the match and its groups are.
pub type Groups = Vec<Option<Range<usize>>>;

pub fn compile(pattern: &str, syntax: Syntax, ignore_case: bool) -> Result<Pattern, Failure> {
    compile_whole(pattern, syntax, ignore_case, Whole::Anything)
}

pub fn compile_whole(pattern: &str, syntax: Syntax, ignore_case: bool, whole: Whole) -> Result<Pattern, Failure> {
    let (rewritten, refers_back) = match syntax {
        Syntax::Fixed => (regex::escape(pattern), false),
        _ => rewrite(pattern, syntax == Syntax::Extended)?,
    };
    let rewritten = match whole {
        Whole::Anything => rewritten,
        Whole::Words => format!(r"\b(?:{rewritten})\b"),
        Whole::Line => format!("^(?:{rewritten})$"),
    };
    let built = if refers_back {
        let flags = if ignore_case { "(?si)" } else { "(?s)" };
        let mut builder = fancy_regex::RegexBuilder::new(&format!("{flags}{rewritten}"));
        builder.backtrack_limit(BACKTRACKS_MAX).delegate_size_limit(PROGRAM_BYTES_MAX);
        builder.build().ok().map(|regex| Pattern::Backtracking(Box::new(regex)))
    } else {
        let mut builder = RegexBuilder::new(&rewritten);
        builder.case_insensitive(ignore_case).dot_matches_new_line(true).size_limit(PROGRAM_BYTES_MAX);
        builder.build().ok().map(Pattern::Linear)
    };
    built.ok_or_else(|| Failure::Message(format!("bad regex '{pattern}'")))
}

impl Pattern {
    /// How many groups it has.
    pub fn groups(&self) -> usize {
        match self {
            Self::Linear(regex) => regex.captures_len() - 1,
            Self::Backtracking(regex) => regex.captures_len() - 1,
        }
    }

    pub fn is_match(&self, text: &[u8]) -> Result<bool, Failure> {
        match self {
            Self::Linear(regex) => Ok(regex.is_match(text)),
            Self::Backtracking(_) => Ok(self.find_at(text, 0)?.is_some()),
        }
    }

    /// The first match that begins at `at` or behind it.
    pub fn find_at(&self, text: &[u8], at: usize) -> Result<Option<Range<usize>>, Failure> {
        match self {
            Self::Linear(regex) => Ok(regex.find_at(text, at).map(|found| found.range())),
            Self::Backtracking(_) => Ok(self.captures_at(text, at)?.and_then(|groups| groups.into_iter().next()?)),
        }
    }

    pub fn captures_at(&self, text: &[u8], at: usize) -> Result<Option<Groups>, Failure> {
        match self {
            Self::Linear(regex) => {
                let found = regex.captures_at(text, at);
                Ok(found.map(|found| found.iter().map(|group| Some(group?.range())).collect()))
            }
            Self::Backtracking(regex) => match std::str::from_utf8(text) {
                Ok(text) => backtrack(regex, text, at),
                Err(_) => backtrack_bytes(regex, text, at),
            },
        }
    }

    /// The first matches from the start, none inside another. An empty one next to
    /// another is no match.
    pub fn captures_all(&self, text: &[u8], at_most: usize) -> Result<Vec<Groups>, Failure> {
        let (mut all, mut at, mut end) = (Vec::new(), 0, None);
        while at <= text.len() && all.len() < at_most {
            let Some(groups) = self.captures_at(text, at)? else { break };
            let Some(found) = groups.first().cloned().flatten() else { break };
            at = if found.is_empty() { after(text, found.end) } else { found.end };
            if !found.is_empty() || end != Some(found.end) {
                end = Some(found.end);
                all.push(groups);
            }
        }
        Ok(all)
    }
}

/// Where the character behind the one at `at` begins.
fn after(text: &[u8], at: usize) -> usize {
    let continues = |byte: &&u8| **byte & 0xc0 == 0x80;
    at + 1 + text.iter().skip(at + 1).take_while(continues).count()
}

fn backtrack(regex: &fancy_regex::Regex, text: &str, at: usize) -> Result<Option<Groups>, Failure> {
    let found = regex.captures_from_pos(text, at).map_err(|error| Failure::Message(format!("regex: {error}")))?;
    Ok(found.map(|found| found.iter().map(|group| group.map(|group| group.start()..group.end())).collect()))
}

/// The crate takes text only: each byte becomes the character of its number.
fn backtrack_bytes(regex: &fancy_regex::Regex, bytes: &[u8], at: usize) -> Result<Option<Groups>, Failure> {
    let text: String = bytes.iter().copied().map(char::from).collect();
    let wide = |at: usize| bytes[..at].iter().map(|byte| 1 + usize::from(*byte >= 0x80)).sum();
    let narrow = |at: usize| text[..at].chars().count();
    let groups = backtrack(regex, &text, wide(at))?;
    let groups = groups.map(|groups| {
        groups.into_iter().map(|group| group.map(|group| narrow(group.start)..narrow(group.end))).collect()
    });
    Ok(groups)
}

/// The pattern in the crates' syntax, and whether it refers back to a group.
fn rewrite(pattern: &str, extended: bool) -> Result<(String, bool), Failure> {
    let characters: Vec<char> = pattern.chars().collect();
    let (mut out, mut refers_back) = (String::new(), false);
    let mut at = 0;
    // Where an asterisk is a character.
    let mut start = true;
    while at < characters.len() {
        let character = characters[at];
        at += 1;
        let was_start = std::mem::take(&mut start);
        match character {
            '[' => {
                let end =
                    bracket_end(&characters, at).ok_or_else(|| Failure::Message(format!("bad regex '{pattern}'")))?;
                bracket(&characters[at..end], &mut out);
                at = end + 1;
            }
            '\\' => {
                let next =
                    characters.get(at).copied().ok_or_else(|| Failure::Message(format!("bad regex '{pattern}'")))?;
                at += 1;
                match next {
                    '(' | ')' | '{' | '}' | '|' | '+' | '?' if !extended => {
                        out.push(next);
                        start = matches!(next, '(' | '|');
                    }
                    '<' => out.push_str(WORD_START),
                    '>' => out.push_str(WORD_END),
                    'w' | 'W' | 's' | 'S' | 'b' | 'B' | 'n' | 't' => out.extend(['\\', next]),
                    // In a group of its own: a digit may follow.
                    '1'..='9' => {
                        out.push_str(&format!("(?:\\{next})"));
                        refers_back = true;
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
    // Only `regex` has these; `fancy-regex` has what they stand for.
    if refers_back {
        out = out.replace(WORD_START, r"\b(?=\w)").replace(WORD_END, r"\b(?<=\w)");
    }
    Ok((out, refers_back))
}

const WORD_START: &str = r"\b{start}";
const WORD_END: &str = r"\b{end}";

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
            assert_eq!(regex.is_match(text.as_bytes()).unwrap(), expected, "{pattern} {text}");
        }
        assert!(compile("[", Syntax::Basic, false).is_err() && compile("(", Syntax::Extended, false).is_err());
    }

    fn found(pattern: &str, text: &[u8]) -> Vec<(usize, usize)> {
        let pattern = compile(pattern, Syntax::Basic, false).unwrap();
        pattern
            .captures_all(text, usize::MAX)
            .unwrap()
            .into_iter()
            .map(|groups| groups[0].clone().unwrap())
            .map(|range| (range.start, range.end))
            .collect()
    }

    #[test]
    fn back_references_match_what_their_group_did() {
        assert_eq!(found(r"\(.\)\1", b"abbc  dd"), [(1, 3), (4, 6), (6, 8)]);
        assert_eq!(found(r"\(a\)\(b*\)\2\1", b"abba"), [(0, 4)]);
        assert_eq!(found(r"\(a\)\10", b"aa0"), [(0, 3)]);
        assert_eq!(found(r"\<\(\w\w*\) \1\>", b"the the them"), [(0, 7)]);
        assert_eq!(found(r"\(.\)\1", b"\xff\xffxyy"), [(0, 2), (3, 5)], "bytes that are no text");
        assert_eq!(found(r"\(\)\1", "\u{e9}a".as_bytes()), [(0, 0), (2, 2), (3, 3)]);
        assert!(compile(r"\(a\)\2", Syntax::Basic, false).is_err());
        assert!(matches!(compile("a", Syntax::Basic, false), Ok(Pattern::Linear(_))), "nothing else backtracks");
    }

    #[test]
    fn a_pattern_that_would_never_end_is_an_error() {
        let pattern = compile(r"(x+x+)+(y)\2", Syntax::Extended, false).unwrap();
        assert!(pattern.is_match(&[b'x'; 64]).is_err());
    }

    #[test]
    fn empty_matches_are_found_between_characters() {
        assert_eq!(found("x*", b"abxc"), [(0, 0), (1, 1), (2, 3), (4, 4)]);
        assert_eq!(found("b*", "\u{e9}b".as_bytes()), [(0, 0), (2, 3)]);
    }
}
