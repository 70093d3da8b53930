//! Bytes of one stream become lines in the CRI's log format (KEP "CRI logs"):
//! `2024-01-02T03:04:05.000000006Z stdout F text`. Pure.

use jiff::Timestamp;
use std::io::Write;

/// Bytes of text in one line of the log; longer lines are written in parts
/// marked `P`, the last one `F` (as containerd does).
const LINE_BYTES_MAX: usize = 16 * 1024;

/// The unfinished line of one stream.
pub(super) struct Lines {
    stream: &'static str,
    partial: Vec<u8>,
}

impl Lines {
    /// Of the stream `stdout` or `stderr`.
    pub fn new(stream: &'static str) -> Self {
        Self { stream, partial: Vec::new() }
    }

    /// Adds to `log` the lines that `bytes`, written at `now`, complete.
    pub fn push(&mut self, now: Timestamp, bytes: &[u8], log: &mut Vec<u8>) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(rest) => {
                    self.take_in(now, rest, log);
                    self.end_line(now, log);
                }
                None => self.take_in(now, piece, log),
            }
        }
    }

    /// Ends an unfinished line: there will be no more bytes.
    pub fn finish(&mut self, now: Timestamp, log: &mut Vec<u8>) {
        if !self.partial.is_empty() {
            self.end_line(now, log);
        }
    }

    fn take_in(&mut self, now: Timestamp, mut text: &[u8], log: &mut Vec<u8>) {
        while self.partial.len() + text.len() > LINE_BYTES_MAX {
            let (head, tail) = text.split_at(LINE_BYTES_MAX - self.partial.len());
            self.partial.extend_from_slice(head);
            self.write(now, "P", log);
            text = tail;
        }
        self.partial.extend_from_slice(text);
    }

    fn end_line(&mut self, now: Timestamp, log: &mut Vec<u8>) {
        self.write(now, "F", log);
    }

    fn write(&mut self, now: Timestamp, tag: &str, log: &mut Vec<u8>) {
        let written = write!(log, "{now:.9} {} {tag} ", self.stream);
        debug_assert!(written.is_ok(), "a vector takes everything");
        log.append(&mut self.partial);
        log.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(pieces: &[&[u8]]) -> String {
        let (mut lines, mut log) = (Lines::new("stdout"), Vec::new());
        let now = Timestamp::new(1_700_000_000, 5).unwrap();
        pieces.iter().for_each(|piece| lines.push(now, piece, &mut log));
        lines.finish(now, &mut log);
        String::from_utf8(log).unwrap()
    }

    #[test]
    fn lines_are_cut_at_newlines_wherever_writes_were_cut() {
        let expected = "2023-11-14T22:13:20.000000005Z stdout F one\n\
                        2023-11-14T22:13:20.000000005Z stdout F \n\
                        2023-11-14T22:13:20.000000005Z stdout F two\n";
        assert_eq!(log_of(&[b"one\n\ntwo\n"]), expected);
        assert_eq!(log_of(&[b"on", b"e\n\nt", b"wo"]), expected);
        assert_eq!(log_of(&[]), "");
    }

    #[test]
    fn a_long_line_is_written_in_parts() {
        let long = vec![b'x'; 2 * LINE_BYTES_MAX + 1];
        let log = log_of(&[&long, b"\n"]);
        let tags: Vec<_> = log.lines().map(|line| line.split(' ').nth(2).unwrap().to_owned()).collect();
        assert_eq!(tags, ["P", "P", "F"]);
        let text: usize = log.lines().map(|line| line.split(' ').nth(3).unwrap().len()).sum();
        assert_eq!(text, long.len());
        let exact = log_of(&[&long[..LINE_BYTES_MAX], b"\n"]);
        assert_eq!((exact.lines().count(), exact.contains(" F ")), (1, true));
    }
}
