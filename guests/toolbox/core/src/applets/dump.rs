//! Programs that show bytes: `od`, `hexdump`, `xxd`.

use crate::{
    Context,
    context::{Failure, Outcome},
    flags::Flags,
};
use std::io::{Read, Write};

/// Bytes of a row.
const ROW_BYTES: usize = 16;

/// How a row's offset and its bytes are shown.
struct Layout {
    offset: fn(u64) -> String,
    unit: Unit,
    /// Rows like the one before are one `*`.
    squeeze: bool,
    /// The last offset is shown by itself.
    total: bool,
}

#[derive(Clone, Copy)]
enum Unit {
    /// `hexdump -C`.
    Canonical,
    /// `xxd`.
    Pairs,
    /// `od -c`.
    Characters,
    /// So many bytes as a number, in base 16, 8, 10 or (signed) -10.
    Number { bytes: usize, base: i32 },
    /// The same as `hexdump` without flags lays it out.
    Words,
}

pub fn dump(context: &mut Context) -> Outcome {
    match context.name() {
        "xxd" => xxd(context),
        "hexdump" => hexdump(context),
        _ => od(context),
    }
}

fn xxd(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "pl:", &[("plain", 'p'), ("postscript", 'p')])?;
    let mut input = context.input(flags.operands.first().map_or("-", String::as_str))?;
    let limit = flags.number('l')?.unwrap_or(u64::MAX);
    if !flags.has('p') {
        let layout = Layout { offset: |at| format!("{at:08x}: "), unit: Unit::Pairs, squeeze: false, total: false };
        return rows(context, &mut (&mut input).take(limit), &layout);
    }
    let mut input = input.take(limit);
    loop {
        let mut row = Vec::new();
        (&mut input).take(30).read_to_end(&mut row)?;
        if row.is_empty() {
            return Ok(0);
        }
        writeln!(context.stdout, "{}", row.iter().map(|byte| format!("{byte:02x}")).collect::<String>())?;
    }
}

fn hexdump(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "Cbcxvn:", &[])?;
    let (unit, offset): (Unit, fn(u64) -> String) = match flags.has('C') {
        true => (Unit::Canonical, |at| format!("{at:08x}")),
        false => (Unit::Words, |at| format!("{at:07x}")),
    };
    let layout = Layout { offset, unit, squeeze: !flags.has('v'), total: true };
    read_rows(context, &flags, 'n', &layout)
}

fn od(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "bcdxovA:t:N:j:", &[])?;
    let offset: fn(u64) -> String = match flags.value('A') {
        Some("n") => |_| String::new(),
        Some("x") => |at| format!("{at:06x}"),
        Some("d") => |at| format!("{at:07}"),
        _ => |at| format!("{at:07o}"),
    };
    let number = |bytes, base| Unit::Number { bytes, base };
    let unit = match (flags.value('t'), flags.last_of("bcdxo")) {
        (Some(kind), _) => unit(kind)?,
        (None, Some('c')) => Unit::Characters,
        (None, Some('b')) => number(1, 8),
        (None, Some('x')) => number(2, 16),
        (None, Some('d')) => number(2, 10),
        _ => number(2, 8),
    };
    let layout = Layout { offset, unit, squeeze: !flags.has('v'), total: flags.value('A') != Some("n") };
    read_rows(context, &flags, 'N', &layout)
}

/// What `od -t` names.
fn unit(kind: &str) -> Result<Unit, Failure> {
    let (letter, size) = kind.split_at(kind.len().min(1));
    let bytes = match size {
        "1" | "C" => 1,
        "2" | "S" => 2,
        "" | "4" | "I" => 4,
        "8" | "L" => 8,
        _ => return Err(Failure::Message(format!("invalid type string '{kind}'"))),
    };
    let base = match letter {
        "c" | "a" => return Ok(Unit::Characters),
        "x" => 16,
        "o" => 8,
        "u" => 10,
        "d" => -10,
        _ => return Err(Failure::Message(format!("invalid type string '{kind}'"))),
    };
    Ok(Unit::Number { bytes, base })
}

fn read_rows(context: &mut Context, flags: &Flags, limit: char, layout: &Layout) -> Outcome {
    let limit = flags.number(limit)?.unwrap_or(u64::MAX);
    let mut input = context.input(flags.operands.first().map_or("-", String::as_str))?.take(limit);
    rows(context, &mut input, layout)
}

fn rows(context: &mut Context, input: &mut impl Read, layout: &Layout) -> Outcome {
    let (mut at, mut before, mut squeezed) = (0u64, Vec::new(), false);
    loop {
        let mut row = Vec::with_capacity(ROW_BYTES);
        input.by_ref().take(ROW_BYTES as u64).read_to_end(&mut row)?;
        if row.is_empty() {
            break;
        }
        if layout.squeeze && row == before && row.len() == ROW_BYTES {
            if !squeezed {
                writeln!(context.stdout, "*")?;
            }
            squeezed = true;
        } else {
            squeezed = false;
            writeln!(context.stdout, "{}{}", (layout.offset)(at), show(layout.unit, &row))?;
        }
        at += row.len() as u64;
        before = row;
    }
    if layout.total && (at > 0 || context.name() == "od") {
        writeln!(context.stdout, "{}", (layout.offset)(at))?;
    }
    Ok(0)
}

fn show(unit: Unit, row: &[u8]) -> String {
    let plain = |byte: &u8| if (32..127).contains(byte) { char::from(*byte) } else { '.' };
    let text: String = row.iter().map(plain).collect();
    match unit {
        Unit::Canonical => {
            let cell = |(index, byte): (usize, &u8)| format!("{}{byte:02x} ", if index % 8 == 0 { " " } else { "" });
            let cells: String = row.iter().enumerate().map(cell).collect();
            format!(" {cells:<51}|{text}|")
        }
        Unit::Pairs => {
            let cell = |pair: &[u8]| pair.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + " ";
            let cells: String = row.chunks(2).map(cell).collect();
            format!("{cells:<40} {text}")
        }
        Unit::Characters => row.iter().map(|byte| format!("{:>4}", character(*byte))).collect(),
        Unit::Words => {
            let cells: String = row.chunks(2).map(|pair| format!(" {:04x}", little(pair))).collect();
            format!("{cells:<40}")
        }
        Unit::Number { bytes, base } => row.chunks(bytes).map(|word| numbered(word, bytes, base)).collect(),
    }
}

fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// A number in the width that the largest of its size needs.
fn numbered(word: &[u8], bytes: usize, base: i32) -> String {
    let value = little(word);
    let largest = u64::MAX >> (64 - 8 * bytes);
    match base {
        16 => format!(" {value:0width$x}", width = 2 * bytes),
        8 => format!(" {value:0width$o}", width = format!("{largest:o}").len()),
        10 => format!(" {value:>width$}", width = largest.to_string().len()),
        _ => {
            let shift = 64 - 8 * bytes;
            let signed = (value << shift).cast_signed() >> shift;
            format!(" {signed:>width$}", width = (largest / 2).to_string().len() + 1)
        }
    }
}

fn character(byte: u8) -> String {
    match byte {
        0 => "\\0".to_owned(),
        7 => "\\a".to_owned(),
        8 => "\\b".to_owned(),
        9 => "\\t".to_owned(),
        10 => "\\n".to_owned(),
        11 => "\\v".to_owned(),
        12 => "\\f".to_owned(),
        13 => "\\r".to_owned(),
        32..127 => char::from(byte).to_string(),
        _ => format!("{byte:03o}"),
    }
}
