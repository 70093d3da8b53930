//! Times on the wire: read as Go's `time.Parse` reads them, with its errors,
//! and written in UTC. Called by the decoder for every `Time` and `MicroTime`.

use jiff::Timestamp;

/// Whether a time has fractions of a second on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// `metav1.Time`
    Seconds,
    /// `metav1.MicroTime`
    Microseconds,
}

impl Precision {
    fn layout(self) -> &'static str {
        match self {
            Self::Seconds => "2006-01-02T15:04:05Z07:00",
            Self::Microseconds => "2006-01-02T15:04:05.000000Z07:00",
        }
    }
}

/// Reads a time and gives its form on the wire.
///
/// # Errors
/// The text of Go's `ParseError`.
pub fn canonical(text: &str, precision: Precision) -> Result<String, String> {
    let layout = precision.layout();
    if let Some((rest, element)) = first_mismatch(text, precision) {
        return Err(format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}"));
    }
    if let Some(part) = out_of_range(text) {
        return Err(format!("parsing time {text:?}: {part} out of range"));
    }
    let time: Timestamp = text.parse().map_err(|_| format!("parsing time {text:?}: day out of range"))?;
    Ok(format(time, precision))
}

/// The form of a time on the wire.
pub fn format(time: Timestamp, precision: Precision) -> String {
    match precision {
        Precision::Seconds => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Precision::Microseconds => time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
    }
}

/// Where the text leaves the layout: what is left of it, and the element of the
/// layout that it is not.
fn first_mismatch(text: &str, precision: Precision) -> Option<(&str, &'static str)> {
    const ELEMENTS: [(&str, usize); 11] = [
        ("2006", 4),
        ("-", 0),
        ("01", 2),
        ("-", 0),
        ("02", 2),
        ("T", 0),
        ("15", 2),
        (":", 0),
        ("04", 2),
        (":", 0),
        ("05", 2),
    ];
    let mut rest = text;
    for (element, digits) in ELEMENTS {
        let next = if digits == 0 { rest.strip_prefix(element) } else { strip_digits(rest, digits) };
        let Some(next) = next else { return Some((rest, element)) };
        rest = next;
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        let count = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if count == 0 || (precision == Precision::Microseconds && count != 6) {
            return Some((rest, if precision == Precision::Seconds { "Z07:00" } else { ".000000" }));
        }
        rest = &fraction[count..];
    } else if precision == Precision::Microseconds {
        return Some((rest, ".000000"));
    }
    (!is_offset(rest)).then_some((rest, "Z07:00"))
}

fn strip_digits(text: &str, count: usize) -> Option<&str> {
    let digits = text.get(..count)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| &text[count..])
}

fn is_offset(text: &str) -> bool {
    let signed = || text.strip_prefix(['+', '-']).and_then(|rest| strip_digits(rest, 2));
    text == "Z" || signed().and_then(|rest| strip_digits(rest.strip_prefix(':')?, 2)) == Some("")
}

/// The part of a well-formed time that is too great.
fn out_of_range(text: &str) -> Option<&'static str> {
    let number = |start: usize| text.get(start..start + 2).and_then(|digits| digits.parse::<u32>().ok()).unwrap_or(0);
    let checks = [
        ("month", number(5), 1, 12),
        ("day", number(8), 1, 31),
        ("hour", number(11), 0, 23),
        ("minute", number(14), 0, 59),
        ("second", number(17), 0, 59),
    ];
    checks.into_iter().find(|(_, value, least, most)| value < least || value > most).map(|(part, ..)| part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        let seconds = |text| canonical(text, Precision::Seconds).unwrap();
        assert_eq!(seconds("2024-02-29T12:00:00+02:00"), "2024-02-29T10:00:00Z");
        assert_eq!(seconds("2024-02-29T12:00:00.75Z"), "2024-02-29T12:00:00Z");
        let micro = canonical("2024-02-29T12:00:00.5000004Z", Precision::Microseconds);
        assert!(micro.is_err());
        let micro = canonical("2024-02-29T12:00:00.500000Z", Precision::Microseconds);
        assert_eq!(micro.unwrap(), "2024-02-29T12:00:00.500000Z");
    }

    #[test]
    fn errors_say_where_as_go_does() {
        let error = |text, precision| canonical(text, precision).unwrap_err();
        assert_eq!(
            error("yesterday", Precision::Microseconds),
            r#"parsing time "yesterday" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "yesterday" as "2006""#
        );
        assert_eq!(
            error("2024-02-30 10:00", Precision::Seconds),
            r#"parsing time "2024-02-30 10:00" as "2006-01-02T15:04:05Z07:00": cannot parse " 10:00" as "T""#
        );
        assert_eq!(
            error("2024-13-01T00:00:00Z", Precision::Seconds),
            r#"parsing time "2024-13-01T00:00:00Z": month out of range"#
        );
        assert_eq!(
            error("2023-02-29T00:00:00Z", Precision::Seconds),
            r#"parsing time "2023-02-29T00:00:00Z": day out of range"#
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = canonical(&text, Precision::Seconds);
        }
    }
}
