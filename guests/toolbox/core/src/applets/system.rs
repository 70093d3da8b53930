//! Programs that say what they run on, and those that turn bytes into text.

use super::text::lines;
use crate::{
    Context,
    context::{Failure, Outcome},
    flags::Flags,
    time,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256, Sha512};
use std::{
    io::{Read, Write},
    ops::Range,
};

pub fn date(context: &mut Context) -> Outcome {
    let long = [("utc", 'u'), ("date", 'd'), ("iso-8601", 'I'), ("rfc-2822", 'R'), ("reference", 'r')];
    let mut arguments = context.operands().to_vec();
    for argument in &mut arguments {
        // `-Iseconds` has its value attached or none.
        if argument == "-Iseconds" || argument == "--iso-8601=seconds" {
            "+%Y-%m-%dT%H:%M:%S+00:00".clone_into(argument);
        }
    }
    let flags = Flags::parse(&arguments, "ud:IRr:s:", &long)?;
    let now = context.host.now();
    let seconds = i64::try_from(now.as_secs()).unwrap_or(0);
    let at = match (flags.value('d'), flags.value('r')) {
        (Some(text), _) => {
            time::parse(text, seconds).ok_or_else(|| Failure::Message(format!("invalid date '{text}'")))?
        }
        (None, Some(path)) => super::ls::modified(&std::fs::metadata(context.path(path))?),
        (None, None) => seconds,
    };
    let format = match flags.operands.first().map(|operand| operand.strip_prefix('+')) {
        Some(Some(format)) => format,
        Some(None) => return Err(Failure::Message(format!("invalid date '{}'", flags.operands[0]))),
        None if flags.has('R') => "%a, %d %b %Y %H:%M:%S %z",
        None if flags.has('I') => "%F",
        None => "%a %b %e %H:%M:%S %Z %Y",
    };
    writeln!(context.stdout, "{}", time::format(format, at, now.subsec_nanos()))?;
    Ok(0)
}

pub fn whoami(context: &mut Context) -> Outcome {
    writeln!(context.stdout, "root")?;
    Ok(0)
}

pub fn id(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "ugnGr", &[])?;
    let text = match (flags.last_of("ugG"), flags.has('n')) {
        (None, _) => "uid=0(root) gid=0(root) groups=0(root)",
        (Some(_), true) => "root",
        (Some(_), false) => "0",
    };
    writeln!(context.stdout, "{text}")?;
    Ok(0)
}

/// The container's name, as the runtime wrote it.
fn own_name(context: &Context) -> String {
    if let Some(name) = context.variable("HOSTNAME").filter(|name| !name.is_empty()) {
        return name.to_owned();
    }
    let file = std::fs::read_to_string(context.path("/etc/hostname")).unwrap_or_default();
    let name = file.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

pub fn uname(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "asnrvmpio", &[("all", 'a')])?;
    let name = own_name(context);
    let parts = [
        ('s', "wasi"),
        ('n', name.as_str()),
        ('r', env!("CARGO_PKG_VERSION")),
        ('v', "#1"),
        ('m', "wasm32"),
        ('o', "WASI"),
    ];
    let none = flags.last_of("asnrvmpio").is_none();
    let shown = parts.iter().filter(|(flag, _)| flags.has('a') || flags.has(*flag) || (none && *flag == 's'));
    let text = shown.map(|(_, part)| *part).collect::<Vec<_>>().join(" ");
    writeln!(context.stdout, "{text}")?;
    Ok(0)
}

pub fn hostname(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "ifsdI", &[("fqdn", 'f'), ("ip-address", 'i'), ("short", 's')])?;
    if !flags.operands.is_empty() {
        return Err(Failure::Message("sethostname: Operation not permitted".to_owned()));
    }
    let name = own_name(context);
    let hosts = std::fs::read_to_string(context.path("/etc/hosts")).unwrap_or_default();
    let line =
        hosts.lines().map(|line| line.split('#').next().unwrap_or_default().split_whitespace().collect::<Vec<_>>());
    let own = line.filter(|words| words.len() > 1).find(|words| words[1..].contains(&name.as_str()));
    let text = match flags.last_of("ifsdI") {
        Some('i' | 'I') => match &own {
            Some(words) => words[0].to_owned(),
            None => super::net::addresses(&name)
                .map_err(|_| Failure::Message(format!("{name}: Unknown host")))?
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
        },
        // The first name of the line is the full one.
        Some('f') => own.map_or(name.clone(), |words| words[1].to_owned()),
        Some('d') => {
            own.and_then(|words| words[1].split_once('.').map(|(_, domain)| domain.to_owned())).unwrap_or_default()
        }
        Some('s') => name.split('.').next().unwrap_or_default().to_owned(),
        _ => name,
    };
    writeln!(context.stdout, "{text}")?;
    Ok(0)
}

pub fn which(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "a", &[])?;
    let search = context.variable("PATH").unwrap_or(super::DEFAULT_SEARCH).to_owned();
    let mut code = 0;
    for name in &flags.operands {
        match context.host.find(name, &search, &context.directory) {
            Some(path) => writeln!(context.stdout, "{path}")?,
            None => code = 1,
        }
    }
    Ok(code)
}

pub fn df(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "hkmPTai", &[])?;
    // WASI does not say how large a file system is.
    let unit = if flags.has('h') { "     Size" } else { "1K-blocks" };
    writeln!(context.stdout, "Filesystem           {unit}      Used Available Use% Mounted on")?;
    writeln!(context.stdout, "rootfs                       0         0         0   0% /")?;
    Ok(0)
}

pub fn base64(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "dw:i", &[("decode", 'd'), ("wrap", 'w')])?;
    let mut bytes = Vec::new();
    context.input(flags.operands.first().map_or("-", String::as_str))?.read_to_end(&mut bytes)?;
    if flags.has('d') {
        bytes.retain(|byte| !byte.is_ascii_whitespace());
        let decoded = STANDARD.decode(&bytes).map_err(|_| Failure::Message("truncated input".to_owned()))?;
        context.stdout.write_all(&decoded)?;
        return Ok(0);
    }
    let text = STANDARD.encode(bytes);
    let width = flags.number('w')?.unwrap_or(76usize);
    if width == 0 {
        context.stdout.write_all(text.as_bytes())?;
        return Ok(0);
    }
    for line in text.as_bytes().chunks(width) {
        context.stdout.write_all(line)?;
        writeln!(context.stdout)?;
    }
    Ok(0)
}

fn hash(context: &mut Context, path: &str) -> Result<String, Failure> {
    fn all<D: Digest>(input: &mut impl Read) -> std::io::Result<String> {
        let mut digest = D::new();
        let mut buffer = vec![0; crate::context::CHUNK_BYTES];
        loop {
            let length = input.read(&mut buffer)?;
            if length == 0 {
                return Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
            }
            digest.update(&buffer[..length]);
        }
    }
    let mut input = context.input(path)?;
    Ok(match context.name() {
        "sha512sum" => all::<Sha512>(&mut input)?,
        "sha1sum" => all::<sha1::Sha1>(&mut input)?,
        "md5sum" => all::<md5::Md5>(&mut input)?,
        _ => all::<Sha256>(&mut input)?,
    })
}

pub fn sum(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "cswb", &[("check", 'c'), ("status", 's')])?;
    let paths = if flags.operands.is_empty() { vec!["-".to_owned()] } else { flags.operands.clone() };
    let mut code = 0;
    for path in &paths {
        if flags.has('c') {
            code |= check(context, path, flags.has('s'))?;
            continue;
        }
        match hash(context, path) {
            Ok(hash) => writeln!(context.stdout, "{hash}  {path}")?,
            Err(Failure::Message(message)) => {
                context.complain(format_args!("can't open '{path}': {message}"));
                code = 1;
            }
            Err(other) => return Err(other),
        }
    }
    Ok(code)
}

fn check(context: &mut Context, list: &str, silent: bool) -> Outcome {
    let (mut wrong, mut total) = (0u32, 0u32);
    for line in lines(context, list)? {
        let line = String::from_utf8_lossy(&line).into_owned();
        let Some((expected, path)) = line.split_once("  ") else { continue };
        total += 1;
        let fits = hash(context, path).is_ok_and(|hash| hash.eq_ignore_ascii_case(expected));
        wrong += u32::from(!fits);
        if !silent {
            writeln!(context.stdout, "{path}: {}", if fits { "OK" } else { "FAILED" })?;
        }
    }
    if wrong > 0 && !silent {
        context.complain(format_args!("WARNING: {wrong} of {total} computed checksums did NOT match"));
    }
    Ok(u8::from(wrong > 0 || total == 0))
}

/// `expr`, by precedence.
pub fn expr(context: &mut Context) -> Outcome {
    let words = context.operands().to_vec();
    let mut at = 0;
    let value = expression(&words, &mut at, 0, 0).and_then(|value| match words.get(at) {
        None => Ok(value),
        Some(_) => Err("syntax error".to_owned()),
    });
    match value {
        Ok(value) => {
            writeln!(context.stdout, "{value}")?;
            Ok(u8::from(value.is_empty() || value == "0"))
        }
        Err(message) => {
            context.complain(message);
            Ok(2)
        }
    }
}

const LEVELS: [&[&str]; 6] =
    [&["|"], &["&"], &["=", "==", "!=", "<", "<=", ">", ">="], &["+", "-"], &["*", "/", "%"], &[":"]];

fn expression(words: &[String], at: &mut usize, level: usize, depth: usize) -> Result<String, String> {
    let Some(operators) = LEVELS.get(level) else { return operand(words, at, depth) };
    let mut left = expression(words, at, level + 1, depth)?;
    while let Some(operator) = words.get(*at).filter(|word| operators.contains(&word.as_str())) {
        *at += 1;
        let right = expression(words, at, level + 1, depth)?;
        left = combine(operator, left, &right)?;
    }
    Ok(left)
}

fn operand(words: &[String], at: &mut usize, depth: usize) -> Result<String, String> {
    let word = words.get(*at).ok_or("syntax error")?;
    *at += 1;
    let mut next = || {
        let next = words.get(*at).cloned().ok_or("syntax error");
        *at += 1;
        next
    };
    match word.as_str() {
        "(" if depth < 100 => {
            let value = expression(words, at, 0, depth + 1)?;
            if words.get(*at).is_none_or(|word| word != ")") {
                return Err("syntax error".to_owned());
            }
            *at += 1;
            Ok(value)
        }
        "length" => Ok(next()?.chars().count().to_string()),
        "substr" => {
            let (text, from, count) = (next()?, next()?, next()?);
            let (from, count) = (from.parse::<usize>().unwrap_or(0), count.parse::<usize>().unwrap_or(0));
            Ok(if from == 0 { String::new() } else { text.chars().skip(from - 1).take(count).collect() })
        }
        "index" => {
            let (text, set) = (next()?, next()?);
            Ok(text.chars().position(|character| set.contains(character)).map_or(0, |at| at + 1).to_string())
        }
        "match" => {
            let (text, pattern) = (next()?, next()?);
            combine(":", text, &pattern)
        }
        _ => Ok(word.clone()),
    }
}

fn combine(operator: &str, left: String, right: &str) -> Result<String, String> {
    let empty = |text: &str| text.is_empty() || text == "0";
    let numbers = || -> Result<(i64, i64), String> {
        let number = |text: &str| text.parse::<i64>().map_err(|_| "non-numeric argument".to_owned());
        Ok((number(&left)?, number(right)?))
    };
    Ok(match operator {
        "|" => {
            if empty(&left) {
                right.to_owned()
            } else {
                left
            }
        }
        "&" => {
            if empty(&left) || empty(right) {
                "0".to_owned()
            } else {
                left
            }
        }
        "+" => numbers().map(|(left, right)| left.wrapping_add(right))?.to_string(),
        "-" => numbers().map(|(left, right)| left.wrapping_sub(right))?.to_string(),
        "*" => numbers().map(|(left, right)| left.wrapping_mul(right))?.to_string(),
        "/" | "%" => {
            let (left, right) = numbers()?;
            if right == 0 {
                return Err("division by zero".to_owned());
            }
            (if operator == "/" { left.wrapping_div(right) } else { left.wrapping_rem(right) }).to_string()
        }
        ":" => {
            let anchored = format!("^{}", right.trim_start_matches('^'));
            let pattern = super::regular::compile(&anchored, super::regular::Syntax::Basic, false);
            let pattern = pattern.map_err(|_| "bad regex".to_owned())?;
            let groups = pattern.groups() > 0;
            let found = pattern.captures_at(left.as_bytes(), 0).map_err(|_| "bad regex".to_owned())?;
            let text = |group: Option<&Option<Range<usize>>>| {
                let bytes = group.cloned().flatten().map_or(&b""[..], |group| &left.as_bytes()[group]);
                String::from_utf8_lossy(bytes).into_owned()
            };
            match found {
                Some(found) if groups => text(found.get(1)),
                Some(found) => text(found.first()).chars().count().to_string(),
                None if groups => String::new(),
                None => "0".to_owned(),
            }
        }
        _ => {
            let order = numbers().map_or_else(|_| left.as_str().cmp(right), |(left, right)| left.cmp(&right));
            let holds = match operator {
                "=" | "==" => order.is_eq(),
                "!=" => order.is_ne(),
                "<" => order.is_lt(),
                "<=" => order.is_le(),
                ">" => order.is_gt(),
                _ => order.is_ge(),
            };
            u8::from(holds).to_string()
        }
    })
}
