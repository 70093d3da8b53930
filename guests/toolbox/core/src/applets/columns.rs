//! Programs that lay lines out anew: `paste`, `fold`, `shuf`, `split`, `factor`.

use super::{basics, text::lines};
use crate::{
    Context,
    context::{CHUNK_BYTES, Failure, Outcome},
    flags::{Flags, number},
    host::{Access, File},
};
use std::io::{BufRead, Write};

pub fn paste(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "sd:", &[("serial", 's'), ("delimiters", 'd')])?;
    let (delimiters, _) = basics::unescape(flags.value('d').unwrap_or("\t"), basics::Octal::Plain);
    let delimiter = |index: usize| match delimiters.len() {
        0 => &b""[..],
        count => &delimiters[index % count..=index % count],
    };
    let mut paths = flags.operands.clone();
    if paths.is_empty() {
        paths.push("-".to_owned());
    }
    if flags.has('s') {
        for path in &paths {
            for (index, line) in lines(context, path)?.iter().enumerate() {
                context.stdout.write_all(if index > 0 { delimiter(index - 1) } else { b"" })?;
                context.stdout.write_all(line)?;
            }
            context.stdout.write_all(b"\n")?;
        }
        return Ok(0);
    }
    let files = paths.iter().map(|path| lines(context, path)).collect::<Result<Vec<_>, _>>()?;
    // Standard input named twice is read by turns.
    let shared = paths.iter().filter(|path| *path == "-").count();
    let first = paths.iter().position(|path| path == "-");
    let count = files.iter().enumerate().map(|(index, file)| match Some(index) == first {
        true => file.len().div_ceil(shared),
        false => file.len(),
    });
    for row in 0..count.max().unwrap_or(0) {
        let mut turn = 0;
        for (index, path) in paths.iter().enumerate() {
            context.stdout.write_all(if index > 0 { delimiter(index - 1) } else { b"" })?;
            let cell = match first {
                Some(first) if path == "-" => {
                    turn += 1;
                    files[first].get(row * shared + turn - 1)
                }
                _ => files[index].get(row),
            };
            context.stdout.write_all(cell.map_or(&b""[..], Vec::as_slice))?;
        }
        context.stdout.write_all(b"\n")?;
    }
    Ok(0)
}

pub fn fold(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "bsw:", &[("width", 'w'), ("spaces", 's')])?;
    let width: usize = flags.value('w').map_or(Ok(80), number)?;
    if width == 0 {
        return Err(Failure::Message("invalid number '0'".to_owned()));
    }
    let path = flags.operands.first().map_or("-", String::as_str).to_owned();
    for line in lines(context, &path)? {
        let text = String::from_utf8_lossy(&line).into_owned();
        let mut rest: Vec<char> = text.chars().collect();
        while rest.len() > width {
            let blank = rest[..width].iter().rposition(|character| character.is_whitespace());
            let at = blank.filter(|_| flags.has('s')).map_or(width, |at| at + 1);
            let piece: String = rest.drain(..at).collect();
            writeln!(context.stdout, "{piece}")?;
        }
        writeln!(context.stdout, "{}", rest.into_iter().collect::<String>())?;
    }
    Ok(0)
}

pub fn shuf(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "ei:n:", &[])?;
    let mut all: Vec<Vec<u8>> = if flags.has('e') {
        flags.operands.iter().map(|operand| operand.clone().into_bytes()).collect()
    } else if let Some((first, last)) = flags.value('i').and_then(|range| range.split_once('-')) {
        let (first, last): (u64, u64) = (number(first)?, number(last)?);
        (first..=last).take(1 << 20).map(|number| number.to_string().into_bytes()).collect()
    } else {
        lines(context, flags.operands.first().map_or("-", String::as_str))?
    };
    let most = flags.number('n')?.unwrap_or(usize::MAX);
    // Not for secrets: an order that is another one each time.
    let mut state = context.host.now().as_nanos() as u64 | 1;
    for index in (1..all.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let other = usize::try_from(state % (index as u64 + 1)).unwrap_or(0);
        all.swap(index, other);
    }
    for line in all.into_iter().take(most) {
        context.stdout.write_all(&line)?;
        context.stdout.write_all(b"\n")?;
    }
    Ok(0)
}

pub fn split(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "l:b:a:", &[("lines", 'l'), ("bytes", 'b')])?;
    let path = flags.operands.first().map_or("-", String::as_str);
    let prefix = flags.operands.get(1).map_or("x", String::as_str);
    let letters: u32 = flags.number('a')?.unwrap_or(2);
    let bytes = flags.value('b').map(super::files::bytes).transpose()?;
    let per_file: u64 = flags.number('l')?.unwrap_or(1000);
    let mut input = context.input(path)?;
    let mut part: Option<(File, u64)> = None;
    let mut index = 0u32;
    loop {
        let mut piece = Vec::new();
        match bytes {
            Some(_) => {
                piece.extend_from_slice(input.fill_buf()?);
                piece.truncate(
                    part.as_ref().map_or(CHUNK_BYTES, |(_, left)| usize::try_from(*left).unwrap_or(CHUNK_BYTES)),
                );
                if part.is_none() {
                    piece.truncate(usize::try_from(bytes.unwrap_or(1)).unwrap_or(CHUNK_BYTES));
                }
                input.consume(piece.len());
            }
            None => drop(input.read_until(b'\n', &mut piece)?),
        }
        if piece.is_empty() {
            return Ok(0);
        }
        let (file, left) = match part.take() {
            Some(part) => part,
            None => {
                let file = context.open(&format!("{prefix}{}", suffix(index, letters)?), Access::Write)?;
                index += 1;
                (file, bytes.unwrap_or(per_file))
            }
        };
        file.write(&piece)?;
        let used = if bytes.is_some() { piece.len() as u64 } else { 1 };
        part = Some((file, left - used)).filter(|(_, left)| *left > 0);
    }
}

/// `aa`, `ab`, …
fn suffix(index: u32, letters: u32) -> Result<String, Failure> {
    let mut rest = index;
    let mut text = String::new();
    for _ in 0..letters {
        text.insert(0, char::from(b'a' + u8::try_from(rest % 26).unwrap_or(0)));
        rest /= 26;
    }
    if rest == 0 { Ok(text) } else { Err(Failure::Message("suffixes exhausted".to_owned())) }
}
