//! Programs that read lines and write some of them.

use crate::{
    Context,
    context::{CHUNK_BYTES, Failure, Outcome, reason},
    flags::{Flags, number},
    host::{Access, File},
};
use std::{
    collections::VecDeque,
    io::{self, BufRead, Read, Write},
    time::Duration,
};

/// How often `tail -f` looks, as BusyBox's.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

fn inputs(flags: &Flags) -> Vec<String> {
    if flags.operands.is_empty() { vec!["-".to_owned()] } else { flags.operands.clone() }
}

/// `-5` means `-n 5`.
fn old_style(arguments: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for argument in arguments {
        // Not the value of the option before it.
        let is_value = all.last().is_some_and(|before| matches!(before.as_str(), "-n" | "-c"));
        let digits = argument.strip_prefix('-').filter(|digits| !is_value && !digits.is_empty());
        all.push(match digits {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => format!("-n{digits}"),
            _ => argument.clone(),
        });
    }
    all
}

/// Runs `each` on every input that can be opened; 1 when one cannot.
fn for_each(
    context: &mut Context,
    paths: &[String],
    mut each: impl FnMut(&mut Context, &str, Box<dyn BufRead>) -> Result<(), Failure>,
) -> Outcome {
    let mut code = 0;
    for path in paths {
        match context.input(path) {
            Ok(input) => match each(context, path, Box::new(input)) {
                Err(Failure::Message(message)) => {
                    context.complain(format_args!("{path}: {message}"));
                    code = 1;
                }
                other => other?,
            },
            Err(error) => {
                context.complain_of(path, &error);
                code = 1;
            }
        }
    }
    Ok(code)
}

fn title(context: &mut Context, path: &str, first: &mut bool) -> io::Result<()> {
    let gap = if *first { "" } else { "\n" };
    *first = false;
    let name = if path == "-" { "standard input" } else { path };
    writeln!(context.stdout, "{gap}==> {name} <==")
}

pub fn head(context: &mut Context) -> Outcome {
    let flags = Flags::parse(&old_style(context.operands()), "n:c:qv", &[("lines", 'n'), ("bytes", 'c')])?;
    let (unit, text) = match flags.last_of("nc") {
        Some('c') => ('c', flags.value('c').unwrap_or("10")),
        _ => ('n', flags.value('n').unwrap_or("10")),
    };
    let all_but = text.starts_with('-');
    let count = super::files::bytes(text.trim_start_matches('-'))?;
    let paths = inputs(&flags);
    let titles = (paths.len() > 1 || flags.has('v')) && !flags.has('q');
    let mut first = true;
    for_each(context, &paths, |context, path, mut input| {
        if titles {
            title(context, path, &mut first)?;
        }
        if unit == 'c' {
            io::copy(&mut input.take(count), &mut context.stdout)?;
            return Ok(());
        }
        let mut kept: VecDeque<Vec<u8>> = VecDeque::new();
        let mut left = count;
        let mut line = Vec::new();
        while (all_but || left > 0) && input.read_until(b'\n', &mut line)? > 0 {
            if all_but {
                kept.push_back(std::mem::take(&mut line));
                if kept.len() as u64 > count {
                    context.stdout.write_all(&kept.pop_front().unwrap_or_default())?;
                }
            } else {
                context.stdout.write_all(&line)?;
                left -= 1;
            }
            line.clear();
        }
        Ok(())
    })
}

pub fn tail(context: &mut Context) -> Outcome {
    let long = [("lines", 'n'), ("bytes", 'c'), ("follow", 'f')];
    let flags = Flags::parse(&old_style(context.operands()), "n:c:fFqvs:", &long)?;
    let by_bytes = flags.last_of("nc") == Some('c');
    let text = flags.value(if by_bytes { 'c' } else { 'n' }).unwrap_or("10");
    let from_start = text.starts_with('+');
    let count = super::files::bytes(text.trim_start_matches(['+', '-']))?;
    let paths = inputs(&flags);
    let titles = (paths.len() > 1 || flags.has('v')) && !flags.has('q');
    let (mut first, mut code) = (true, 0);
    let mut followed: Vec<(String, File)> = Vec::new();
    for path in &paths {
        let file = if path == "-" { Ok(std::rc::Rc::clone(&context.stdin)) } else { context.open(path, Access::Read) };
        let file = match file {
            Ok(file) => file,
            Err(error) => {
                context.complain(format_args!("can't open '{path}': {}", reason(&error)));
                code = 1;
                continue;
            }
        };
        if titles {
            title(context, path, &mut first)?;
        }
        let end = last_part(context, &file, by_bytes, from_start, count)?;
        context.stdout.write_all(&end)?;
        followed.push((path.clone(), file));
    }
    if followed.is_empty() {
        context.complain("no files");
    }
    if followed.is_empty() || (!flags.has('f') && !flags.has('F')) {
        return Ok(code);
    }
    let interval = flags.value('s').map_or(Ok(FOLLOW_INTERVAL), super::basics::duration)?;
    loop {
        context.stdout.flush()?;
        context.host.sleep(interval);
        for (path, file) in &followed {
            let bytes = file.read(64 * 1024)?;
            if !bytes.is_empty() && titles {
                title(context, path, &mut first)?;
            }
            context.stdout.write_all(&bytes)?;
        }
    }
}

/// The end of a file; what is from the start goes out at once.
fn last_part(
    context: &mut Context,
    file: &File,
    by_bytes: bool,
    from_start: bool,
    count: u64,
) -> Result<Vec<u8>, Failure> {
    let mut kept: Vec<u8> = Vec::new();
    // Lines or bytes still to skip.
    let mut skip = count.saturating_sub(1);
    loop {
        let bytes = file.read(64 * 1024)?;
        if bytes.is_empty() {
            return Ok(if from_start { Vec::new() } else { kept[start_of_last(&kept, by_bytes, count)..].to_vec() });
        }
        if from_start {
            let mut at = 0;
            while skip > 0 && at < bytes.len() {
                skip -= u64::from(by_bytes || bytes[at] == b'\n');
                at += 1;
            }
            context.stdout.write_all(&bytes[at..])?;
            continue;
        }
        kept.extend(bytes);
        // Keeps memory near what is wanted.
        if kept.len() > 4 * CHUNK_BYTES {
            kept.drain(..start_of_last(&kept, by_bytes, count));
        }
    }
}

fn start_of_last(bytes: &[u8], by_bytes: bool, count: u64) -> usize {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if by_bytes {
        return bytes.len().saturating_sub(count);
    }
    if count == 0 {
        return bytes.len();
    }
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let newlines = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    newlines.map(|(at, _)| at + 1).nth(count - 1).unwrap_or(0)
}

pub fn wc(context: &mut Context) -> Outcome {
    let flags =
        Flags::parse(context.operands(), "clwmL", &[("bytes", 'c'), ("lines", 'l'), ("words", 'w'), ("chars", 'm')])?;
    let all = flags.last_of("clwmL").is_none();
    let paths = inputs(&flags);
    let mut totals = [0u64; 5];
    let show = |context: &mut Context, counts: &[u64; 5], name: &str| -> io::Result<()> {
        let shown = ['l', 'w', 'm', 'c', 'L'].into_iter().zip(counts);
        let shown = shown.filter(|(flag, _)| flags.has(*flag) || (all && matches!(flag, 'l' | 'w' | 'c')));
        let numbers: Vec<String> = shown.map(|(_, count)| count.to_string()).collect();
        let text = if numbers.len() == 1 {
            numbers[0].clone()
        } else {
            numbers.iter().map(|number| format!("{number:>9}")).collect::<Vec<_>>().join(" ")
        };
        let name = if flags.operands.is_empty() { String::new() } else { format!(" {name}") };
        writeln!(context.stdout, "{text}{name}")
    };
    let code = for_each(context, &paths, |context, path, mut input| {
        let mut counts = [0u64; 5];
        let mut line = Vec::new();
        let mut in_word = false;
        while (&mut input).take(CHUNK_BYTES as u64).read_until(b'\n', &mut line)? > 0 {
            counts[0] += u64::from(line.ends_with(b"\n"));
            for byte in &line {
                let blank = byte.is_ascii_whitespace() || *byte == 11;
                counts[1] += u64::from(!blank && !in_word);
                in_word = !blank;
                counts[2] += u64::from(*byte & 0xc0 != 0x80);
            }
            counts[3] += line.len() as u64;
            counts[4] = counts[4].max(line.strip_suffix(b"\n").unwrap_or(&line).len() as u64);
            line.clear();
        }
        totals.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
        Ok(show(context, &counts, path)?)
    })?;
    if paths.len() > 1 {
        show(context, &totals, "total")?;
    }
    Ok(code)
}

pub fn uniq(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "cdiuf:s:w:", &[("count", 'c'), ("repeated", 'd'), ("unique", 'u')])?;
    let (fields, characters): (usize, usize) = (flags.number('f')?.unwrap_or(0), flags.number('s')?.unwrap_or(0));
    let width = flags.number('w')?.unwrap_or(usize::MAX);
    let key = |line: &[u8]| -> Vec<u8> {
        let text = String::from_utf8_lossy(line).into_owned();
        let mut rest = text.as_str();
        for _ in 0..fields {
            rest = rest.trim_start();
            rest = &rest[rest.find(char::is_whitespace).unwrap_or(rest.len())..];
        }
        let key: String = rest.chars().skip(characters).take(width).collect();
        if flags.has('i') { key.to_lowercase().into_bytes() } else { key.into_bytes() }
    };
    let mut input = context.named_input(flags.operands.first().map_or("-", String::as_str))?;
    let mut output: Box<dyn Write> = match flags.operands.get(1) {
        Some(path) => Box::new(crate::context::Stream(context.open(path, Access::Write)?)),
        None => Box::new(&mut context.stdout),
    };
    let mut last: Option<(Vec<u8>, Vec<u8>, u64)> = None;
    let mut show = |group: Option<(Vec<u8>, Vec<u8>, u64)>| -> io::Result<()> {
        let Some((_, line, count)) = group else { return Ok(()) };
        if (flags.has('d') && count < 2) || (flags.has('u') && count > 1) {
            return Ok(());
        }
        if flags.has('c') {
            write!(output, "{count:7} ")?;
        }
        output.write_all(&line)?;
        output.write_all(b"\n")
    };
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        let text = line.strip_suffix(b"\n").unwrap_or(&line).to_vec();
        let this = key(&text);
        match &mut last {
            Some((key, _, count)) if *key == this => *count += 1,
            _ => show(last.replace((this, text, 1)))?,
        }
        line.clear();
    }
    show(last)?;
    Ok(0)
}

/// `1,3-5,7-`: ranges of numbers from 1.
fn ranges(list: &str) -> Result<Vec<(usize, usize)>, Failure> {
    let range = |part: &str| -> Result<(usize, usize), Failure> {
        let bound = |text: &str, otherwise| if text.is_empty() { Ok(otherwise) } else { number(text) };
        let (low, high) = match part.split_once('-') {
            Some((low, high)) => (bound(low, 1)?, bound(high, usize::MAX)?),
            None => (number(part)?, number(part)?),
        };
        if low == 0 || high < low { Err(Failure::Message(format!("invalid range {part}"))) } else { Ok((low, high)) }
    };
    list.split(',').map(range).collect()
}

pub fn cut(context: &mut Context) -> Outcome {
    let flags = Flags::parse(
        context.operands(),
        "b:c:f:d:sn",
        &[("delimiter", 'd'), ("fields", 'f'), ("output-delimiter", 'D')],
    )?;
    let Some(kind) = flags.last_of("bcf") else {
        return Err(Failure::Usage("expected a list of bytes, characters, or fields".to_owned()));
    };
    let wanted = ranges(flags.value(kind).unwrap_or_default())?;
    let chosen = |index: usize| wanted.iter().any(|(low, high)| (*low..=*high).contains(&(index + 1)));
    let delimiter = flags.value('d').unwrap_or("\t").to_owned();
    for_each(context, &inputs(&flags), |context, _, mut input| {
        let mut line = Vec::new();
        while input.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
            line.clear();
            let out: String = match kind {
                'f' if !text.contains(&delimiter) => {
                    if flags.has('s') {
                        continue;
                    }
                    text
                }
                'f' => {
                    let fields = text.split(delimiter.as_str()).enumerate().filter(|(index, _)| chosen(*index));
                    fields.map(|(_, field)| field).collect::<Vec<_>>().join(&delimiter)
                }
                _ => text
                    .chars()
                    .enumerate()
                    .filter(|(index, _)| chosen(*index))
                    .map(|(_, character)| character)
                    .collect(),
            };
            writeln!(context.stdout, "{out}")?;
        }
        Ok(())
    })
}

/// A set of bytes for `tr`: ranges, classes and escapes.
fn set(text: &str) -> Vec<u8> {
    let (bytes, _) = super::unescape(text, super::Octal::Plain);
    let mut set = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        if rest.starts_with(b"[:")
            && let Some(end) = rest.windows(2).position(|pair| pair == b":]")
        {
            let name = String::from_utf8_lossy(&rest[2..end]).into_owned();
            set.extend((0..=127u8).filter(|byte| crate::shell::pattern::in_class(&name, char::from(*byte))));
            at += end + 2;
        } else if rest.len() > 2 && rest[1] == b'-' {
            set.extend(rest[0]..=rest[2]);
            at += 3;
        } else {
            set.push(rest[0]);
            at += 1;
        }
    }
    set
}

pub fn tr(context: &mut Context) -> Outcome {
    let flags =
        Flags::parse(context.operands(), "+cCds", &[("delete", 'd'), ("squeeze-repeats", 's'), ("complement", 'c')])?;
    let Some(first) = flags.operands.first() else { return Err(Failure::Usage(String::new())) };
    let mut from = set(first);
    if flags.has('c') || flags.has('C') {
        from = (0..=255).filter(|byte| !from.contains(byte)).collect();
    }
    let to = flags.operands.get(1).map(|text| set(text)).unwrap_or_default();
    let mut map: [Option<u8>; 256] = std::array::from_fn(|byte| u8::try_from(byte).ok());
    for (index, byte) in from.iter().enumerate() {
        if flags.has('d') {
            map[usize::from(*byte)] = None;
        } else if let Some(last) = to.last() {
            map[usize::from(*byte)] = Some(*to.get(index).unwrap_or(last));
        }
    }
    let squeezed = if to.is_empty() { &from } else { &to };
    let mut last = None;
    let mut input = context.input("-")?;
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let length = input.read(&mut buffer)?;
        if length == 0 {
            return Ok(0);
        }
        for byte in &buffer[..length] {
            let Some(byte) = map[usize::from(*byte)] else { continue };
            if flags.has('s') && last == Some(byte) && squeezed.contains(&byte) {
                continue;
            }
            last = Some(byte);
            context.stdout.write_all(&[byte])?;
        }
        context.stdout.flush()?;
    }
}

pub fn tee(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "ai", &[("append", 'a')])?;
    let access = if flags.has('a') { Access::Append } else { Access::Write };
    let (mut files, mut code) = (Vec::new(), 0);
    for path in &flags.operands {
        match context.open(path, access) {
            Ok(file) => files.push(file),
            Err(error) => {
                context.complain_of(path, &error);
                code = 1;
            }
        }
    }
    loop {
        let bytes = context.stdin.read(64 * 1024)?;
        if bytes.is_empty() {
            return Ok(code);
        }
        for file in &files {
            file.write(&bytes)?;
        }
        context.stdout.write_all(&bytes)?;
        context.stdout.flush()?;
    }
}

pub fn tac(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "", &[])?;
    let reversed = context.name() == "rev";
    for_each(context, &inputs(&flags), |context, _, input| {
        let mut lines: Vec<String> = Vec::new();
        for line in input.split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            if reversed {
                writeln!(context.stdout, "{}", line.chars().rev().collect::<String>())?;
            } else {
                lines.push(line);
            }
        }
        for line in lines.iter().rev() {
            writeln!(context.stdout, "{line}")?;
        }
        Ok(())
    })
}

pub fn seq(context: &mut Context) -> Outcome {
    let mut operands = context.operands().to_vec();
    let mut separator = "\n".to_owned();
    let mut wide = false;
    while let Some(flag) = operands.first().filter(|first| *first == "-w" || first.starts_with("-s")).cloned() {
        operands.remove(0);
        match flag.strip_prefix("-s") {
            None => wide = true,
            Some("") if !operands.is_empty() => separator = operands.remove(0),
            Some(attached) => attached.clone_into(&mut separator),
        }
    }
    let value = |text: &String| number::<f64>(text);
    let (first, step, last) = match operands.as_slice() {
        [last] => (1.0, 1.0, value(last)?),
        [first, last] => (value(first)?, 1.0, value(last)?),
        [first, step, last] => (value(first)?, value(step)?, value(last)?),
        _ => return Err(Failure::Usage(String::new())),
    };
    let decimals = |text: &String| text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let decimals = operands.iter().map(decimals).max().unwrap_or(0);
    let width = if wide { operands.iter().map(String::len).max().unwrap_or(0) } else { 0 };
    let mut index = 0u32;
    loop {
        let now = first + step * f64::from(index);
        if (step > 0.0 && now > last) || (step < 0.0 && now < last) {
            break;
        }
        if index > 0 {
            context.stdout.write_all(separator.as_bytes())?;
        }
        write!(context.stdout, "{now:0width$.decimals$}")?;
        index = index.checked_add(1).ok_or(Failure::Code(1))?;
    }
    if index > 0 {
        writeln!(context.stdout)?;
    }
    Ok(0)
}

pub fn yes(context: &mut Context) -> Outcome {
    let operands = context.operands();
    let line = if operands.is_empty() { "y\n".to_owned() } else { operands.join(" ") + "\n" };
    let block = line.repeat(CHUNK_BYTES.div_ceil(line.len()));
    loop {
        context.stdout.write_all(block.as_bytes())?;
    }
}

pub fn basename(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "+as:", &[])?;
    let [path, rest @ ..] = flags.operands.as_slice() else { return Err(Failure::Usage(String::new())) };
    let suffix = flags.value('s').or(rest.first().filter(|_| !flags.has('a')).map(String::as_str)).unwrap_or_default();
    let paths = if flags.has('a') || flags.has('s') { flags.operands.as_slice() } else { std::slice::from_ref(path) };
    for path in paths {
        let trimmed = path.trim_end_matches('/');
        let name =
            if trimmed.is_empty() && !path.is_empty() { "/" } else { trimmed.rsplit('/').next().unwrap_or_default() };
        let name = name.strip_suffix(suffix).filter(|left| !left.is_empty()).unwrap_or(name);
        writeln!(context.stdout, "{name}")?;
    }
    Ok(0)
}

pub fn dirname(context: &mut Context) -> Outcome {
    let [path] = context.operands() else { return Err(Failure::Usage(String::new())) };
    let trimmed = path.trim_end_matches('/');
    let parent = match trimmed.rsplit_once('/') {
        Some((parent, _)) if parent.trim_end_matches('/').is_empty() => "/",
        Some((parent, _)) => parent.trim_end_matches('/'),
        None if trimmed.is_empty() && !path.is_empty() => "/",
        None => ".",
    };
    let parent = parent.to_owned();
    writeln!(context.stdout, "{parent}")?;
    Ok(0)
}

pub fn xargs(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "+0rtn:I:L:P:s:", &[("null", '0'), ("no-run-if-empty", 'r')])?;
    let mut command = flags.operands.clone();
    if command.is_empty() {
        command.push("echo".to_owned());
    }
    let mut input = Vec::new();
    context.input("-")?.read_to_end(&mut input)?;
    let text = String::from_utf8_lossy(&input).into_owned();
    let items: Vec<String> = match () {
        () if flags.has('0') => text.split_terminator('\0').map(str::to_owned).collect(),
        () if flags.has('I') => {
            text.lines().map(|line| line.trim_start().to_owned()).filter(|line| !line.is_empty()).collect()
        }
        () => quoted_words(&text)?,
    };
    // What is handed to a process at once; a kernel's limit is larger.
    let at_once: usize = flags.number('n')?.or(flags.number('L')?).unwrap_or(5000).max(1);
    let mut code = 0;
    let mut run = |context: &mut Context, arguments: &[String]| -> Result<(), Failure> {
        if flags.has('t') {
            context.stderr.write(format!("{}\n", arguments.join(" ")).as_bytes())?;
        }
        match super::processes::run(context, arguments)? {
            0 => {}
            stop @ (126 | 127) => return Err(Failure::Code(stop)),
            255 => return Err(Failure::Code(124)),
            _ => code = 123,
        }
        Ok(())
    };
    // What the command reads is not this one's input.
    context.stdin = context.host.file_of(Vec::new());
    if let Some(mark) = flags.value('I') {
        for item in &items {
            let arguments: Vec<String> = command.iter().map(|word| word.replace(mark, item)).collect();
            run(context, &arguments)?;
        }
    } else if items.is_empty() {
        if !flags.has('r') {
            run(context, &command)?;
        }
    } else {
        for group in items.chunks(at_once) {
            run(context, &[command.as_slice(), group].concat())?;
        }
    }
    Ok(code)
}

fn quoted_words(text: &str) -> Result<Vec<String>, Failure> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some(next) if next == character => break,
                        Some(next) => word.push(next),
                        None => return Err(Failure::Message("unmatched quote".to_owned())),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(characters.next()),
            blank if blank.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

pub fn nl(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "b:w:s:", &[])?;
    let all = flags.value('b') == Some("a");
    let mut count = 0u64;
    for_each(context, &inputs(&flags), |context, _, input| {
        for line in input.split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            if line.is_empty() && !all {
                writeln!(context.stdout, "{:7}", "")?;
            } else {
                count += 1;
                writeln!(context.stdout, "{count:6}\t{line}")?;
            }
        }
        Ok(())
    })
}

/// A whole input as text lines, for programs that need all.
pub fn lines(context: &mut Context, path: &str) -> Result<Vec<Vec<u8>>, Failure> {
    let input = context.input(path).map_err(|error| Failure::Message(format!("{path}: {}", reason(&error))))?;
    Ok(input.split(b'\n').collect::<io::Result<_>>()?)
}
