//! The line discipline of a terminal (termios(3), n_tty): what becomes of typed
//! bytes. Pure.
//!
//! ```text
//!  canonical (the start): keys edit a line, are echoed, and a line is read when it is
//!      complete. ERASE, KILL, WERASE, REPRINT, LNEXT, EOF; INTR and QUIT are signals.
//!  raw: bytes are read as they come, nothing is echoed, nothing is a signal.
//! ```
//!
//! In both, output has its newlines made CR NL (OPOST, ONLCR). Not here: flow
//! control (^S and ^Q do nothing) and stopping (^Z does nothing), since a wasm
//! program cannot be stopped.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Bytes of a line, as on Linux (`N_TTY_BUF_SIZE`): further ones ring the bell.
const LINE_BYTES_MAX: usize = 4095;

/// Bytes that can be read and are not yet; whoever types waits beyond that.
const UNREAD_BYTES_MAX: usize = 16 * 1024;

/// Lines that can be read and are not yet: empty ones count too.
const UNREAD_LINES_MAX: usize = 4096;

const TAB_WIDTH: usize = 8;

const INTERRUPT: u8 = 0x03; // ^C
const END_OF_FILE: u8 = 0x04; // ^D
const BACKSPACE: u8 = 0x08;
const START: u8 = 0x11; // ^Q
const REPRINT: u8 = 0x12; // ^R
const STOP: u8 = 0x13; // ^S
const KILL: u8 = 0x15; // ^U
const LITERAL_NEXT: u8 = 0x16; // ^V
const WORD_ERASE: u8 = 0x17; // ^W
const SUSPEND: u8 = 0x1a; // ^Z
const QUIT: u8 = 0x1c; // ^\
const DELETE: u8 = 0x7f;

/// What a key asks for besides its byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// ^C.
    Interrupt,
    /// ^\.
    Quit,
}

impl Signal {
    /// Its number on Linux.
    pub fn number(self) -> u8 {
        match self {
            Self::Interrupt => 2,
            Self::Quit => 3,
        }
    }
}

/// What became of a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It was taken.
    Taken,
    /// It was taken and is a signal; everything typed before it is gone.
    Signal(Signal),
    /// There is no room for it now.
    Full,
}

/// The state of a terminal's input.
#[derive(Debug, Default)]
pub(crate) struct LineDiscipline {
    raw: bool,
    /// The line being typed: its characters, and how wide each was echoed.
    line: Vec<Key>,
    line_bytes: usize,
    literal_next: bool,
    /// What can be read, in canonical mode by lines. An empty one is end of file.
    lines: VecDeque<BytesMut>,
    unread_bytes: usize,
}

/// A character of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    bytes: Vec<u8>,
    columns: usize,
}

impl LineDiscipline {
    /// Whether lines are edited and echoed, or bytes come as they are typed. What
    /// was typed is not lost.
    pub fn set_raw(&mut self, raw: bool) {
        if raw && !self.raw {
            self.finish_line();
        }
        self.raw = raw;
        self.literal_next = false;
    }

    /// Whether a byte would be a signal; then it need not wait for room.
    pub fn signal_of(&self, byte: u8) -> Option<Signal> {
        match byte {
            _ if self.raw || self.literal_next => None,
            INTERRUPT => Some(Signal::Interrupt),
            QUIT => Some(Signal::Quit),
            _ => None,
        }
    }

    /// Takes a typed byte; what the terminal shows goes to `echo`.
    pub fn accept(&mut self, byte: u8, echo: &mut Vec<u8>) -> Accepted {
        if let Some(signal) = self.signal_of(byte) {
            self.flush();
            echo.extend(caret(byte));
            return Accepted::Signal(signal);
        }
        if self.is_full() {
            return Accepted::Full;
        }
        if self.raw {
            self.push_raw(byte);
        } else {
            self.edit(byte, echo);
        }
        Accepted::Taken
    }

    /// Whether nothing more can be typed until something was read.
    pub fn is_full(&self) -> bool {
        self.unread_bytes >= UNREAD_BYTES_MAX || self.lines.len() >= UNREAD_LINES_MAX
    }

    /// Forgets what was typed and not read.
    fn flush(&mut self) {
        self.line.clear();
        self.line_bytes = 0;
        self.lines.clear();
        self.unread_bytes = 0;
    }

    /// Whether a read would not wait.
    pub fn is_readable(&self) -> bool {
        !self.lines.is_empty()
    }

    /// What can be read, at most one line and `size` bytes: `None` when that is
    /// nothing yet, empty for end of file.
    pub fn read(&mut self, size: usize) -> Option<Bytes> {
        let line = self.lines.front_mut()?;
        let bytes = line.split_to(size.min(line.len()));
        if line.is_empty() {
            self.lines.pop_front();
        }
        self.unread_bytes -= bytes.len();
        Some(bytes.freeze())
    }

    /// Onto what is unread, but not onto an end of file.
    fn push_raw(&mut self, byte: u8) {
        self.unread_bytes += 1;
        match self.lines.back_mut().filter(|last| !last.is_empty()) {
            Some(last) => last.extend_from_slice(&[byte]),
            None => self.lines.push_back(BytesMut::from(&[byte][..])),
        }
    }

    fn edit(&mut self, byte: u8, echo: &mut Vec<u8>) {
        if std::mem::take(&mut self.literal_next) {
            return self.insert(byte, echo);
        }
        match byte {
            b'\r' | b'\n' => {
                echo.extend(b"\r\n");
                self.insert_bytes(vec![b'\n'], 0);
                self.finish_line();
            }
            END_OF_FILE => self.push_end_of_file(),
            BACKSPACE | DELETE => self.erase(echo),
            KILL => while self.erase_one(echo) {},
            WORD_ERASE => self.erase_word(echo),
            REPRINT => self.reprint(echo),
            LITERAL_NEXT => self.literal_next = true,
            START | STOP | SUSPEND => {}
            byte => self.insert(byte, echo),
        }
    }

    /// ^D: what is typed can be read; when that is nothing, it is the end.
    fn push_end_of_file(&mut self) {
        if self.line.is_empty() {
            self.lines.push_back(BytesMut::new());
        } else {
            self.finish_line();
        }
    }

    fn finish_line(&mut self) {
        if !self.line.is_empty() {
            let line: Vec<u8> = self.line.drain(..).flat_map(|key| key.bytes).collect();
            self.line_bytes = 0;
            self.unread_bytes += line.len();
            self.lines.push_back(BytesMut::from(&line[..]));
        }
    }

    fn insert(&mut self, byte: u8, echo: &mut Vec<u8>) {
        // Room stays for the newline.
        if self.line_bytes + 1 >= LINE_BYTES_MAX {
            echo.push(b'\x07');
            return;
        }
        let continues = (0x80..0xc0).contains(&byte);
        if continues && let Some(last) = self.line.last_mut().filter(|key| key.bytes[0] >= 0xc0 && key.bytes.len() < 4)
        {
            last.bytes.push(byte);
            self.line_bytes += 1;
            echo.push(byte);
            return;
        }
        let column: usize = self.line.iter().map(|key| key.columns).sum();
        let shown = match byte {
            b'\t' => vec![b' '; TAB_WIDTH - column % TAB_WIDTH],
            0..0x20 | DELETE => caret(byte).to_vec(),
            byte => vec![byte],
        };
        self.insert_bytes(vec![byte], shown.len());
        echo.extend(shown);
    }

    fn insert_bytes(&mut self, bytes: Vec<u8>, columns: usize) {
        self.line_bytes += bytes.len();
        self.line.push(Key { bytes, columns });
    }

    fn erase(&mut self, echo: &mut Vec<u8>) {
        self.erase_one(echo);
    }

    /// Whether there was something to erase.
    fn erase_one(&mut self, echo: &mut Vec<u8>) -> bool {
        let Some(key) = self.line.pop() else { return false };
        self.line_bytes -= key.bytes.len();
        for _ in 0..key.columns {
            echo.extend(b"\x08 \x08");
        }
        true
    }

    /// Blanks, and the word before them.
    fn erase_word(&mut self, echo: &mut Vec<u8>) {
        let is_blank = |key: &Key| matches!(key.bytes[..], [b' ' | b'\t']);
        while self.line.last().is_some_and(is_blank) {
            self.erase_one(echo);
        }
        while self.line.last().is_some_and(|key| !is_blank(key)) {
            self.erase_one(echo);
        }
    }

    fn reprint(&self, echo: &mut Vec<u8>) {
        echo.extend(b"^R\r\n");
        for key in &self.line {
            match key.bytes[..] {
                [b'\t'] => echo.extend(std::iter::repeat_n(b' ', key.columns)),
                [byte @ (0..0x20 | DELETE)] => echo.extend(caret(byte)),
                _ => echo.extend(&key.bytes),
            }
        }
    }
}

/// A control character as the terminal shows it (ECHOCTL).
fn caret(byte: u8) -> [u8; 2] {
    [b'^', byte ^ 0x40]
}

/// Output as the terminal shows it: newlines become CR NL.
pub(crate) fn process_output(bytes: &[u8]) -> Bytes {
    let mut processed = Vec::with_capacity(bytes.len() + bytes.len() / 16);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                processed.extend(line);
                processed.extend(b"\r\n");
            }
            None => processed.extend(line),
        }
    }
    processed.into()
}

#[cfg(test)]
#[path = "discipline_tests.rs"]
mod tests;
