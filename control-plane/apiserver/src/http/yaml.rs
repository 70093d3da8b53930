//! YAML bodies, read within bounds. Called by [`super::body`] and by server-side
//! apply, whose patches are YAML.

use serde_json::Value;

/// Levels of `[` and `{` in a document. The parser allows 128 of values, and looks
/// at every open one for each token that it reads: without a bound here, a body of
/// nothing but brackets keeps it busy for hours.
const DEPTH_MAX: usize = 200;

/// Reads a document.
///
/// # Errors
/// The parser's text, or upstream's for a document that is nested too deeply.
pub fn parse(body: &[u8]) -> Result<Value, String> {
    if depth(body) > DEPTH_MAX {
        return Err(format!("exceeded max depth of {DEPTH_MAX}"));
    }
    serde_yaml::from_slice(body).map_err(|error| go_error(&error.to_string()))
}

/// libyaml's message as Go's port of it says where: the line, counted from 0, and
/// nothing on the first.
fn go_error(text: &str) -> String {
    let (what, place) = text.split_once(" at line ").unwrap_or((text, ""));
    let line: usize = place.split(' ').next().and_then(|line| line.parse().ok()).unwrap_or(1);
    if line > 1 { format!("line {}: {what}", line - 1) } else { what.to_owned() }
}

/// The most brackets that are open at once. Those in strings count as well: no
/// text that people write has so many unclosed.
fn depth(body: &[u8]) -> usize {
    let mut open = 0_usize;
    let mut most = 0;
    for byte in body {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_bounded_before_it_is_read() {
        let nested = |levels: usize| format!("a: {}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(nested(100).as_bytes()).is_ok());
        let refused = parse(nested(3_000_000).as_bytes());
        assert_eq!(refused, Err("exceeded max depth of 200".to_owned()));
        assert!(parse(format!("a: [{}]", "[],".repeat(1_000)).as_bytes()).is_ok(), "beside each other");
    }
}
