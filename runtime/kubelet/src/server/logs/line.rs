//! One line of a CRI log, and what of it is shown.
//!
//! `2026-11-20T12:00:00.123456789Z stdout F text`: the third word starts with
//! `P` when the guest's line goes on in the next one.

use bytes::{BufMut, BytesMut};
use jiff::Timestamp;

/// A line of the file, understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    time: Timestamp,
    written_time: &'a str,
    partial: bool,
    text: &'a [u8],
}

/// Understands `line` (without its line feed); `None` when it is no CRI log line.
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let (time, rest) = word(line)?;
    let (stream, rest) = word(rest)?;
    let (tags, text) = word(rest).unwrap_or((rest, &[]));
    if stream != b"stdout" && stream != b"stderr" {
        return None;
    }
    let partial = match tags.split(|byte| *byte == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    let written_time = std::str::from_utf8(time).ok()?;
    Some(Line { time: written_time.parse().ok()?, written_time, partial, text })
}

fn word(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = line.iter().position(|byte| *byte == b' ')?;
    Some((&line[..end], &line[end + 1..]))
}

/// Decides what of each line is shown.
#[derive(Debug)]
pub struct Shown {
    /// Put the time before each line.
    pub timestamps: bool,
    /// Only lines from then on.
    pub since: Option<Timestamp>,
    /// Bytes still allowed.
    pub bytes_left: Option<u64>,
    /// Whether the last shown line goes on.
    in_line: bool,
}

impl Shown {
    /// From the options of a request.
    pub fn new(timestamps: bool, since: Option<Timestamp>, limit_bytes: Option<u64>) -> Self {
        Self { timestamps, since, bytes_left: limit_bytes, in_line: false }
    }

    /// Whether the limit is reached.
    pub fn is_full(&self) -> bool {
        self.bytes_left == Some(0)
    }

    /// Appends what is shown of `line`; a line that is not valid is skipped, as
    /// upstream does.
    pub fn show(&mut self, line: &[u8], output: &mut BytesMut) {
        let Some(line) = parse(line) else { return };
        if self.since.is_some_and(|since| line.time < since) {
            return;
        }
        if self.timestamps && !self.in_line {
            self.put(line.written_time.as_bytes(), output);
            self.put(b" ", output);
        }
        self.put(line.text, output);
        if !line.partial {
            self.put(b"\n", output);
        }
        self.in_line = line.partial;
    }

    fn put(&mut self, bytes: &[u8], output: &mut BytesMut) {
        let allowed = self.bytes_left.map_or(bytes.len(), |left| bytes.len().min(left as usize));
        output.put_slice(&bytes[..allowed]);
        if let Some(left) = &mut self.bytes_left {
            *left -= allowed as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINES: &[&str] = &[
        "2026-11-20T12:00:00.1Z stdout F first",
        "2026-11-20T12:00:01Z stderr P be",
        "2026-11-20T12:00:01.5Z stderr F gun",
        "no log line",
        "2026-11-20T12:00:02Z stdout F ",
        "2026-11-20T12:00:03Z stdout F:tag last one",
    ];

    fn shown(mut shown: Shown) -> String {
        let mut output = BytesMut::new();
        LINES.iter().for_each(|line| shown.show(line.as_bytes(), &mut output));
        String::from_utf8(output.to_vec()).expect("text")
    }

    #[test]
    fn partial_lines_are_joined_and_others_skipped() {
        assert_eq!(shown(Shown::new(false, None, None)), "first\nbegun\n\nlast one\n");
    }

    #[test]
    fn a_joined_line_has_one_timestamp() {
        let text = shown(Shown::new(true, None, None));
        assert!(text.contains("\n2026-11-20T12:00:01Z begun\n"), "{text}");
    }

    #[test]
    fn since_and_limit_cut_both_ends() {
        let since = "2026-11-20T12:00:01.5Z".parse().expect("a time");
        assert_eq!(shown(Shown::new(false, Some(since), Some(8))), "gun\n\nlas");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_line_or_not(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&line);
        }
    }
}
