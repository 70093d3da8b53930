//! Edits a line on a terminal in raw mode: cursor keys, history, completion.

use crate::host::{Errno, File};

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line with its newline.
    Text(String),
    /// ^C.
    Interrupted,
    /// A caught signal came; what was typed is gone.
    Signalled,
    /// ^D on an empty line, or nobody types any more.
    End,
}

/// Lines that are remembered: a person scrolls no further.
const HISTORY_LINES_MAX: usize = 500;
/// As a terminal's own line buffer.
const LINE_CHARACTERS_MAX: usize = 4096;

/// The lines typed so far.
#[derive(Default)]
pub struct Editor {
    history: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Key {
    Character(char),
    Up,
    Down,
    Left,
    Right,
    Home,
    End,
    Delete,
    Other,
}

struct Buffer {
    characters: Vec<char>,
    cursor: usize,
}

impl Buffer {
    fn set(&mut self, text: &str) {
        self.characters = text.chars().collect();
        self.cursor = self.characters.len();
    }

    fn text(&self) -> String {
        self.characters.iter().collect()
    }
}

impl Editor {
    /// Reads one line, byte by byte: what is typed ahead is for others.
    pub fn read(
        &mut self,
        stdin: &File,
        terminal: &File,
        prompt: &str,
        columns: usize,
        complete: impl Fn(&str) -> Vec<String>,
    ) -> Line {
        let mut buffer = Buffer { characters: Vec::new(), cursor: 0 };
        let mut position = self.history.len();
        let mut draft = String::new();
        // Nobody is left to see that this failed.
        let write = |text: &str| {
            let _ = terminal.write(text.as_bytes());
        };
        write(prompt);
        loop {
            let key = match read_key(stdin) {
                Ok(Some(key)) => key,
                Ok(None) => return Line::End,
                Err(Signalled) => {
                    write("\r\n");
                    return Line::Signalled;
                }
            };
            match key {
                Key::Character('\r' | '\n') => {
                    write("\r\n");
                    let text = buffer.text();
                    self.remember(&text);
                    return Line::Text(format!("{text}\n"));
                }
                Key::Character('\x03') => {
                    write("^C\r\n");
                    return Line::Interrupted;
                }
                Key::Character('\x04') if buffer.characters.is_empty() => return Line::End,
                Key::Character('\x0c') => write("\x1b[H\x1b[J"),
                Key::Character('\t') => self.complete(&mut buffer, &complete, &write),
                Key::Up if position > 0 => {
                    if position == self.history.len() {
                        draft = buffer.text();
                    }
                    position -= 1;
                    buffer.set(&self.history[position]);
                }
                Key::Down if position < self.history.len() => {
                    position += 1;
                    buffer.set(self.history.get(position).unwrap_or(&draft));
                }
                key => edit(&mut buffer, key),
            }
            write(&redraw(prompt, &buffer, columns));
        }
    }

    fn remember(&mut self, text: &str) {
        if text.trim().is_empty() || self.history.last().is_some_and(|last| last == text) {
            return;
        }
        if self.history.len() == HISTORY_LINES_MAX {
            self.history.remove(0);
        }
        self.history.push(text.to_owned());
    }

    fn complete(&self, buffer: &mut Buffer, complete: &impl Fn(&str) -> Vec<String>, write: &impl Fn(&str)) {
        let before: String = buffer.characters[..buffer.cursor].iter().collect();
        let word = before.rsplit([' ', '\t', '=', '|', ';', '<', '>', '&']).next().unwrap_or_default();
        let found = complete(word);
        let Some(first) = found.first() else { return };
        let shared = found.iter().fold(first.clone(), |shared, next| {
            shared.chars().zip(next.chars()).take_while(|(one, other)| one == other).map(|(one, _)| one).collect()
        });
        let mut added: Vec<char> = shared.chars().skip(word.chars().count()).collect();
        if found.len() == 1 && !first.ends_with('/') {
            added.push(' ');
        }
        if added.is_empty() {
            write(&format!("\r\n{}\r\n", found.join("  ")));
        }
        for character in added {
            edit(buffer, Key::Character(character));
        }
    }
}

fn edit(buffer: &mut Buffer, key: Key) {
    let length = buffer.characters.len();
    match key {
        Key::Left | Key::Character('\x02') => buffer.cursor = buffer.cursor.saturating_sub(1),
        Key::Right | Key::Character('\x06') => buffer.cursor = (buffer.cursor + 1).min(length),
        Key::Home | Key::Character('\x01') => buffer.cursor = 0,
        Key::End | Key::Character('\x05') => buffer.cursor = length,
        Key::Delete | Key::Character('\x04') if buffer.cursor < length => drop(buffer.characters.remove(buffer.cursor)),
        Key::Character('\x7f' | '\x08') if buffer.cursor > 0 => {
            buffer.cursor -= 1;
            buffer.characters.remove(buffer.cursor);
        }
        Key::Character('\x0b') => buffer.characters.truncate(buffer.cursor),
        Key::Character('\x15') => {
            buffer.characters.drain(..buffer.cursor);
            buffer.cursor = 0;
        }
        Key::Character('\x17') => {
            let before = &buffer.characters[..buffer.cursor];
            let end = before.iter().rposition(|character| *character != ' ').map_or(0, |at| at + 1);
            let start = before[..end].iter().rposition(|character| *character == ' ').map_or(0, |at| at + 1);
            buffer.characters.drain(start..buffer.cursor);
            buffer.cursor = start;
        }
        Key::Character(character) if !character.is_control() && length < LINE_CHARACTERS_MAX => {
            buffer.characters.insert(buffer.cursor, character);
            buffer.cursor += 1;
        }
        _ => {}
    }
}

/// The line anew; of a long one the part around the cursor that fits.
fn redraw(prompt: &str, buffer: &Buffer, columns: usize) -> String {
    let room = columns.saturating_sub(prompt.chars().count() + 1).max(10);
    let start = buffer.cursor.saturating_sub(room);
    let shown: String = buffer.characters[start..].iter().take(room).collect();
    let back = shown.chars().count() - (buffer.cursor - start);
    let left = if back > 0 { format!("\x1b[{back}D") } else { String::new() };
    format!("\r\x1b[K{prompt}{shown}{left}")
}

/// A caught signal came first.
struct Signalled;

/// None at the end.
type Read<T> = Result<Option<T>, Signalled>;

fn read_byte(stdin: &File) -> Read<u8> {
    match stdin.read_or_signal(1, None) {
        Err(Errno::Interrupted) => Err(Signalled),
        read => Ok(read.unwrap_or_default().first().copied()),
    }
}

fn read_key(stdin: &File) -> Read<Key> {
    let Some(first) = read_byte(stdin)? else { return Ok(None) };
    if first == 0x1b {
        return escape(stdin);
    }
    let more = match first {
        0xc0..=0xdf => 1,
        0xe0..=0xef => 2,
        0xf0..=0xf7 => 3,
        _ => return Ok(Some(Key::Character(char::from(first)))),
    };
    let mut bytes = vec![first];
    for _ in 0..more {
        bytes.extend(read_byte(stdin)?);
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(Some(text.chars().next().map_or(Key::Other, Key::Character)))
}

/// After an escape: `[A`, `OA`, `[3~`.
fn escape(stdin: &File) -> Read<Key> {
    if !matches!(read_byte(stdin)?, Some(b'[' | b'O')) {
        return Ok(Some(Key::Other));
    }
    let mut number = 0u32;
    loop {
        let Some(byte) = read_byte(stdin)? else { return Ok(None) };
        return Ok(Some(match byte {
            b'0'..=b'9' | b';' => {
                number = number.saturating_mul(10).saturating_add(u32::from(byte.saturating_sub(b'0')));
                continue;
            }
            b'A' => Key::Up,
            b'B' => Key::Down,
            b'C' => Key::Right,
            b'D' => Key::Left,
            b'H' => Key::Home,
            b'F' => Key::End,
            b'~' => match number {
                1 | 7 => Key::Home,
                4 | 8 => Key::End,
                3 => Key::Delete,
                _ => Key::Other,
            },
            _ => Key::Other,
        }));
    }
}
