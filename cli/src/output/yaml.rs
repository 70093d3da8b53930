//! JSON values as block-style YAML that every YAML 1.1 reader reads back as the
//! same value: kubectl's parser takes a plain `yes` for a boolean, which the
//! serialiser of serde_yaml does not know.

use regex::Regex;
use serde_json::Value;
use std::{fmt::Write, sync::LazyLock};

/// The document, ending in a newline.
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => write_map(fields, 0, &mut out, true),
        Value::Array(items) if !items.is_empty() => write_list(items, 0, &mut out),
        scalar => {
            write_scalar(scalar, 0, &mut out);
            out.push('\n');
        }
    }
    out
}

fn write_map(fields: &serde_json::Map<String, Value>, indent: usize, out: &mut String, mut at_line_start: bool) {
    for (key, value) in fields {
        if at_line_start {
            out.extend(std::iter::repeat_n(' ', indent));
        }
        at_line_start = true;
        write_text(key, indent, out);
        out.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                write_map(inner, indent + 2, out, true);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                write_list(items, indent, out);
            }
            scalar => {
                out.push(' ');
                write_scalar(scalar, indent, out);
                out.push('\n');
            }
        }
    }
}

fn write_list(items: &[Value], indent: usize, out: &mut String) {
    for item in items {
        out.extend(std::iter::repeat_n(' ', indent));
        out.push('-');
        match item {
            Value::Object(fields) if !fields.is_empty() => {
                out.push(' ');
                write_map(fields, indent + 2, out, false);
            }
            Value::Array(inner) if !inner.is_empty() => {
                out.push('\n');
                write_list(inner, indent + 2, out);
            }
            scalar => {
                out.push(' ');
                write_scalar(scalar, indent, out);
                out.push('\n');
            }
        }
    }
}

fn write_scalar(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::String(text) if is_block(text) => write_block(text, indent + 2, out),
        Value::String(text) => write_text(text, indent, out),
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

/// Several lines without oddities read best as a literal block.
fn is_block(text: &str) -> bool {
    text.contains('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && !text.chars().any(|letter| is_odd(letter) && letter != '\n' && letter != '\t')
        && !text.lines().any(|line| line.ends_with([' ', '\t']))
}

fn write_block(text: &str, indent: usize, out: &mut String) {
    let body = text.trim_end_matches('\n');
    let chomping = match text.len() - body.len() {
        0 => "|-",
        1 => "|",
        _ => "|+",
    };
    out.push_str(chomping);
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.extend(std::iter::repeat_n(' ', indent));
            out.push_str(line);
        }
    }
    out.extend(std::iter::repeat_n('\n', (text.len() - body.len()).saturating_sub(1)));
}

fn write_text(text: &str, _indent: usize, out: &mut String) {
    if is_plain(text) {
        out.push_str(text);
    } else if text.is_empty() || is_special(text) || text.chars().any(is_odd) {
        write_escaped(text, out);
    } else {
        // What is text in any case is quoted the lighter way, as by Go's writer.
        out.push_str(&format!("'{}'", text.replace('\'', "''")));
    }
}

/// Control characters, and what YAML takes for the end of a line or for nothing.
fn is_odd(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// A JSON string is a YAML double-quoted scalar, once the odd characters that
/// JSON leaves as they are have been escaped.
fn write_escaped(text: &str, out: &mut String) {
    for letter in Value::from(text).to_string().chars() {
        if is_odd(letter) {
            let _ = write!(out, "\\u{:04x}", u32::from(letter));
        } else {
            out.push(letter);
        }
    }
}

fn is_plain(text: &str) -> bool {
    let is_dashed = text.starts_with('-') && text.len() > 1 && !text.starts_with("- ") && !text.starts_with("---");
    let starts_plainly = is_dashed
        || text
            .starts_with(|first: char| first.is_alphanumeric() || matches!(first, '/' | '_' | '.' | '<' | '$' | '('));
    let body_is_plain =
        !text.contains(": ") && !text.contains(" #") && !text.ends_with([':', ' ']) && !text.chars().any(is_odd);
    starts_plainly && body_is_plain && !is_special(text)
}

/// Whether a YAML 1.1 reader takes the plain text for something else.
fn is_special(text: &str) -> bool {
    const WORDS: [&str; 12] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", ".nan", ".inf", "<<"];
    let lower = text.to_ascii_lowercase();
    if WORDS.contains(&lower.as_str()) {
        return true;
    }
    LOOKS_TYPED.is_match(text)
}

/// Integers in any base, floats, sexagesimals and timestamps of YAML 1.1.
static LOOKS_TYPED: LazyLock<Regex> = LazyLock::new(|| {
    let patterns = [
        r"[-+]?0b[01_]+",
        r"[-+]?0o?[0-7_]+",
        r"[-+]?[0-9][0-9_]*",
        r"[-+]?0x[0-9a-fA-F_]+",
        r"[-+]?(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?",
        r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?",
        r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?",
    ];
    Regex::new(&format!("^({})$", patterns.join("|"))).expect("the patterns above are valid")
});

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn layout_is_kubectls() {
        let value = json!({"apiVersion": "v1", "items": [{"a": [1, {"b": {}}], "c": null}], "text": "x\ny\n"});
        let expected = "apiVersion: v1\nitems:\n- a:\n  - 1\n  - b: {}\n  c: null\ntext: |\n  x\n  y\n";
        assert_eq!(to_string(&value), expected);
    }

    #[test]
    fn what_a_reader_would_misread_is_quoted() {
        for text in [
            "yes",
            "NO",
            "on",
            "012",
            "1e3",
            "0x1f",
            "1_000",
            "12:30:45",
            "2026-01-02",
            "",
            "null",
            "- a",
            "a: b",
            "#x",
            "~",
            "*x",
            "1Gi ",
        ] {
            let printed = to_string(&json!({ "k": text }));
            assert!(printed.contains(['"', '\'']), "{text:?} printed as {printed}");
            assert_eq!(serde_yaml::from_str::<Value>(&printed).expect("valid")["k"], text);
        }
        for text in [
            "web",
            "512Mi",
            "kiamol/ch02-hello-kiamol",
            "a:b",
            "100m",
            "v1",
            "10.244.0.1",
            "688dcfc1-0b5e",
            "-c",
            "$(A)",
        ] {
            assert_eq!(to_string(&json!(text)), format!("{text}\n"));
        }
    }

    #[test]
    fn quotes_are_those_of_gos_writer() {
        for (text, printed) in
            [("*/5 * * * *", "'*/5 * * * *'"), ("it's: x", "'it''s: x'"), ("1", "\"1\""), ("a\tb", "\"a\\tb\"")]
        {
            assert_eq!(to_string(&json!(text)), format!("{printed}\n"));
        }
    }

    #[test]
    fn every_string_comes_back() {
        proptest::proptest!(|(text in "\\PC*|[ a:#\\n\\t-]{0,12}")| {
            let value = json!({"outer": [{ "k": text.clone() }]});
            let back: Value = serde_yaml::from_str(&to_string(&value)).expect("valid YAML");
            proptest::prop_assert_eq!(back, value);
        });
    }
}
