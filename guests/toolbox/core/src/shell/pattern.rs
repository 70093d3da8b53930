//! Shell patterns (POSIX 2.14): `*`, `?`, `[..]`, a backslash before what is
//! meant literally; and the paths that match one.

use std::path::Path;

/// Whether all of `text` matches.
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    matches_all(&pattern, &text)
}

/// Goes back to the last star only, which is enough: time is the product of both lengths.
pub fn matches_all(pattern: &[char], text: &[char]) -> bool {
    let (mut at, mut pos) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if at < pattern.len() && pattern[at] == '*' {
            star = Some((at + 1, pos));
            at += 1;
            continue;
        }
        if at == pattern.len() && pos == text.len() {
            return true;
        }
        match one(&pattern[at..], text.get(pos)) {
            Some(length) => {
                at += length;
                pos += 1;
            }
            None => match star {
                Some((after, from)) if from < text.len() => {
                    star = Some((after, from + 1));
                    (at, pos) = (after, from + 1);
                }
                _ => return false,
            },
        }
    }
}

/// How much of the pattern this character uses up.
fn one(pattern: &[char], character: Option<&char>) -> Option<usize> {
    let character = *character?;
    match pattern.first()? {
        '?' => Some(1),
        '\\' if pattern.len() > 1 => (pattern[1] == character).then_some(2),
        '[' => match bracket(pattern, character) {
            Some((true, length)) => Some(length),
            Some((false, _)) => None,
            None => (character == '[').then_some(1),
        },
        literal => (*literal == character).then_some(1),
    }
}

/// Whether a bracket expression holds the character, and its length.
fn bracket(pattern: &[char], character: char) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(1), Some('!' | '^'));
    let first = 1 + usize::from(negated);
    let mut at = first;
    let mut found = false;
    loop {
        let mut low = *pattern.get(at)?;
        if low == ']' && at > first {
            return Some((found != negated, at + 1));
        }
        if low == '[' && pattern.get(at + 1) == Some(&':') {
            let length = pattern[at..].windows(2).position(|pair| pair == [':', ']'])?;
            if length > 1 {
                let name: String = pattern[at + 2..at + length].iter().collect();
                found |= in_class(&name, character);
                at += length + 2;
                continue;
            }
        }
        if low == '\\' && at + 1 < pattern.len() {
            at += 1;
            low = pattern[at];
        }
        let mut high = low;
        if pattern.get(at + 1) == Some(&'-') && pattern.get(at + 2).is_some_and(|next| *next != ']') {
            at += 2;
            high = pattern[at];
            if high == '\\' && at + 1 < pattern.len() {
                at += 1;
                high = pattern[at];
            }
        }
        found |= (low..=high).contains(&character);
        at += 1;
    }
}

/// Character classes by name.
pub fn in_class(name: &str, character: char) -> bool {
    match name {
        "alpha" => character.is_alphabetic(),
        "digit" => character.is_ascii_digit(),
        "alnum" => character.is_alphanumeric(),
        "upper" => character.is_uppercase(),
        "lower" => character.is_lowercase(),
        "space" => character.is_whitespace(),
        "blank" => matches!(character, ' ' | '\t'),
        "punct" => character.is_ascii_punctuation(),
        "print" => !character.is_control(),
        "graph" => !character.is_control() && !character.is_whitespace(),
        "cntrl" => character.is_control(),
        "xdigit" => character.is_ascii_hexdigit(),
        _ => false,
    }
}

/// Whether anything in it is not literal.
pub fn is_pattern(pattern: &str) -> bool {
    let mut escaped = false;
    pattern.chars().any(|character| {
        let special = !escaped && matches!(character, '*' | '?' | '[');
        escaped = character == '\\' && !escaped;
        special
    })
}

/// Puts a backslash before what is special.
pub fn escape_into(pattern: &mut String, character: char) {
    if matches!(character, '*' | '?' | '[' | ']' | '\\' | '-' | '!' | '^') {
        pattern.push('\\');
    }
    pattern.push(character);
}

/// Takes the backslashes out again.
pub fn unescape(pattern: &str) -> String {
    let mut text = String::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        text.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    text
}

/// Paths that match, sorted; none when nothing does. `directory` says where a
/// path of the container is for the file system.
pub fn paths(pattern: &str, directory: impl Fn(&str) -> std::path::PathBuf) -> Vec<String> {
    let absolute = pattern.starts_with('/');
    let mut found = vec![if absolute { "/".to_owned() } else { String::new() }];
    let parts: Vec<&str> = pattern.split('/').collect();
    for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len();
        if part.is_empty() {
            // Before the first slash, between two, or after the last.
            if last && index > 0 {
                found.retain(|path| directory(path).is_dir());
                found.iter_mut().filter(|path| !path.ends_with('/')).for_each(|path| path.push('/'));
            }
            continue;
        }
        let mut next = Vec::new();
        for base in &found {
            let prefix = if base.is_empty() || base.ends_with('/') { base.clone() } else { format!("{base}/") };
            if is_pattern(part) {
                let here = directory(if prefix.is_empty() { "." } else { &prefix });
                next.extend(entries(&here, part).into_iter().map(|name| format!("{prefix}{name}")));
            } else {
                let path = format!("{prefix}{}", unescape(part));
                if directory(&path).symlink_metadata().is_ok() {
                    next.push(path);
                }
            }
        }
        found = next;
    }
    if absolute && found == ["/"] && !pattern.trim_matches('/').is_empty() {
        found.clear();
    }
    found.sort();
    found
}

fn entries(directory: &Path, pattern: &str) -> Vec<String> {
    let Ok(entries) = directory.read_dir() else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let hidden = pattern.starts_with('.') || pattern.starts_with("\\.");
    let pattern: Vec<char> = pattern.chars().collect();
    let visible = names.filter(|name| hidden || !name.starts_with('.'));
    visible.filter(|name| matches_all(&pattern, &name.chars().collect::<Vec<_>>())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_posix_says() {
        for (pattern, text) in [
            ("*", ""),
            ("a*c*e", "abcde"),
            ("?x", "äx"),
            ("[a-c]", "b"),
            ("[!a-c]", "d"),
            ("[]x]", "]"),
            ("[[:digit:]-]", "-"),
            (r"\*", "*"),
            ("[", "["),
            ("*.txt", ".txt"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "a"), ("a", ""), ("?", ""), ("[a-c]", "d"), (r"\*", "x"), ("a*b", "abc"), ("[[:digit:]]", "x")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        assert!(!matches(&format!("{}c", "a*".repeat(40)), &format!("{}b", "a".repeat(2000))));
    }
}
