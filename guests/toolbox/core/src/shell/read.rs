//! The builtin `read`: a line, split among variables.

use super::{Flow, Shell};
use crate::host::{Errno, File};
use std::time::Duration;

type Ran = Result<u8, Flow>;

/// The longest line; the host bounds memory too, but this says why.
const LINE_BYTES_MAX: usize = 16 << 20;

/// The status when the time was over, as for SIGALRM.
const TIMED_OUT: u8 = 128 + 14;

/// What the command line says.
struct Wish {
    raw: bool,
    prompt: Option<String>,
    /// Ends the line, and is not part of it.
    delimiter: u8,
    /// At most so many characters.
    most: usize,
    timeout: Option<Duration>,
    fd: u32,
    names: Vec<String>,
}

impl Wish {
    fn parse(fields: &[String]) -> Result<Self, String> {
        let mut wish = Self {
            raw: false,
            prompt: None,
            delimiter: b'\n',
            most: usize::MAX,
            timeout: None,
            fd: 0,
            names: Vec::new(),
        };
        let mut rest = fields[1..].iter();
        while let Some(field) = rest.as_slice().first().filter(|field| field.len() > 1 && field.starts_with('-')) {
            rest.next();
            if field == "--" {
                break;
            }
            wish.flags(&field[1..], &mut rest)?;
        }
        wish.names = rest.cloned().collect();
        Ok(wish)
    }

    fn flags<'a>(&mut self, letters: &str, rest: &mut impl Iterator<Item = &'a String>) -> Result<(), String> {
        for (at, letter) in letters.char_indices() {
            match letter {
                'r' => self.raw = true,
                // Echo is the host's, which shows what is typed.
                's' => {}
                'p' | 'd' | 'n' | 't' | 'u' => {
                    let attached = &letters[at + 1..];
                    let value = if attached.is_empty() { rest.next().map_or("", String::as_str) } else { attached };
                    return self.set(letter, value);
                }
                _ => return Err(format!("illegal option -{letter}")),
            }
        }
        Ok(())
    }

    fn set(&mut self, letter: char, value: &str) -> Result<(), String> {
        let invalid = || format!("invalid number '{value}'");
        match letter {
            'p' => self.prompt = Some(value.to_owned()),
            'd' => self.delimiter = value.bytes().next().unwrap_or(0),
            'n' => self.most = value.parse().map_err(|_| invalid())?,
            'u' => self.fd = value.parse().map_err(|_| invalid())?,
            _ => {
                let seconds: f64 = value.parse().map_err(|_| invalid())?;
                self.timeout = Some(Duration::try_from_secs_f64(seconds).map_err(|_| invalid())?);
            }
        }
        Ok(())
    }
}

/// Each character, and whether a backslash was before it.
type Characters = Vec<(char, bool)>;

pub fn read(shell: &mut Shell, fields: &[String]) -> Ran {
    let wish = match Wish::parse(fields) {
        Ok(wish) => wish,
        Err(message) => {
            shell.complain(&format!("read: {message}"));
            return Ok(2);
        }
    };
    let Some(file) = shell.files.get(&wish.fd).cloned() else {
        shell.complain(&format!("read: {}: Bad file descriptor", wish.fd));
        return Ok(1);
    };
    if let (Some(prompt), true) = (&wish.prompt, file.is_terminal()) {
        let _ = shell.files.get(&2).map(|stderr| stderr.write(prompt.as_bytes()));
    }
    let (characters, complete) = match line(&file, &wish) {
        Ok(line) => line,
        Err(Errno::Again) => return Ok(TIMED_OUT),
        Err(_) => return Ok(1),
    };
    let separators = shell.get("IFS").unwrap_or_else(|| " \t\n".to_owned());
    let reply = ["REPLY".to_owned()];
    let whole = wish.names.is_empty();
    let names = if whole { &reply[..] } else { &wish.names };
    let values = if whole {
        vec![characters.iter().map(|(character, _)| character).collect()]
    } else {
        split(&characters, &separators, names.len())
    };
    for (index, name) in names.iter().enumerate() {
        let value = values.get(index).map_or("", String::as_str);
        shell.assign(name, value)?;
    }
    Ok(u8::from(!complete))
}

/// The line, and whether it was whole; what was read before an error is lost, as
/// in other shells.
fn line(file: &File, wish: &Wish) -> Result<(Characters, bool), Errno> {
    let mut characters = Characters::new();
    let (mut escaped, mut pending, mut length) = (false, Vec::new(), 0);
    while characters.len() < wish.most && length < LINE_BYTES_MAX {
        let byte = match file.read_or_signal(1, wish.timeout) {
            Err(errno @ (Errno::Interrupted | Errno::Again)) => return Err(errno),
            read => read.unwrap_or_default(),
        };
        let Some(byte) = byte.first().copied() else {
            characters.extend(text(&pending).map(|character| (character, false)));
            return Ok((characters, false));
        };
        length += 1;
        if byte == wish.delimiter && !escaped {
            characters.extend(text(&pending).map(|character| (character, false)));
            return Ok((characters, true));
        }
        pending.push(byte);
        // A character may take several bytes.
        if std::str::from_utf8(&pending).is_err() && pending.len() < 4 {
            continue;
        }
        for character in text(&std::mem::take(&mut pending)) {
            if !wish.raw && !escaped && character == '\\' {
                escaped = true;
            } else if std::mem::take(&mut escaped) {
                // A newline behind a backslash goes on.
                characters.extend((character != '\n').then_some((character, true)));
            } else {
                characters.extend((character != '\0').then_some((character, false)));
            }
        }
    }
    Ok((characters, true))
}

fn text(bytes: &[u8]) -> impl Iterator<Item = char> {
    String::from_utf8_lossy(bytes).chars().collect::<Vec<_>>().into_iter()
}

/// At most `count` fields; the last has the rest of the line.
fn split(characters: &[(char, bool)], separators: &str, count: usize) -> Vec<String> {
    let separates =
        |at: usize| characters.get(at).is_some_and(|(character, escaped)| !escaped && separators.contains(*character));
    let blank = |at: usize| separates(at) && characters[at].0.is_whitespace();
    let mut at = 0;
    while blank(at) {
        at += 1;
    }
    let mut end = characters.len();
    while end > at && blank(end - 1) {
        end -= 1;
    }
    let mut values = Vec::new();
    while at < end && values.len() + 1 < count {
        let start = at;
        while at < end && !separates(at) {
            at += 1;
        }
        values.push(characters[start..at].iter().map(|(character, _)| character).collect());
        while at < end && blank(at) {
            at += 1;
        }
        if at < end && separates(at) {
            at += 1;
            while at < end && blank(at) {
                at += 1;
            }
        }
    }
    let mut rest = &characters[at.min(end)..end];
    // One separator at the end belongs to the last field's end, if it is the only one.
    if let Some(((last, false), before)) = rest.split_last()
        && separators.contains(*last)
        && !before.iter().any(|(character, escaped)| !escaped && separators.contains(*character))
    {
        rest = before;
    }
    values.push(rest.iter().map(|(character, _)| character).collect());
    values
}
