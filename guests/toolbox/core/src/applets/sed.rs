//! `sed`: a script becomes commands (parse), which run once per line (run).

use super::{
    regular::{Pattern, Syntax, compile},
    text::lines,
};
use crate::{
    Context,
    context::{Failure, Outcome, Stream},
    flags::Flags,
    host::{Access, File},
};
use std::{io::Write, rc::Rc};

#[derive(Clone)]
enum Address {
    Line(usize),
    Last,
    Pattern(Rc<Pattern>),
    /// `first~step`.
    Step(usize, usize),
    /// `addr,+N`.
    Plus(usize),
}

struct Command {
    from: Option<Address>,
    to: Option<Address>,
    negated: bool,
    action: Action,
    /// Within a range, and the line where it began.
    active: Option<usize>,
}

enum Action {
    Begin(usize),
    End,
    Substitute { pattern: Pattern, text: Vec<Piece>, global: bool, nth: usize, print: bool, file: Option<File> },
    Translate(Vec<(char, char)>),
    Delete,
    DeleteFirst,
    Print,
    PrintFirst,
    Next,
    NextAppend,
    Quit(u8, bool),
    Append(String),
    Insert(String),
    Change(String),
    Hold(bool),
    Get(bool),
    Exchange,
    Number,
    Label(String),
    Jump(char, String),
    Read(String),
    Write(File),
}

enum Piece {
    Text(String),
    Group(usize),
}

struct Script<'a> {
    text: &'a [char],
    at: usize,
    extended: bool,
    /// The empty pattern is the last one.
    last: Option<String>,
}

fn bad(what: &str) -> Failure {
    Failure::Message(what.to_owned())
}

impl Script<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn blanks(&mut self, also: &[char]) {
        while self.peek().is_some_and(|next| matches!(next, ' ' | '\t') || also.contains(&next)) {
            self.at += 1;
        }
    }

    fn number(&mut self) -> Option<usize> {
        let digits: String = self.text[self.at..].iter().take_while(|digit| digit.is_ascii_digit()).collect();
        self.at += digits.len();
        digits.parse().ok()
    }

    /// Up to the delimiter; `\n` becomes a newline, an escaped delimiter itself.
    fn until(&mut self, delimiter: char, pattern: bool) -> Result<String, Failure> {
        let mut out = String::new();
        let mut bracket = false;
        while let Some(next) = self.peek() {
            self.at += 1;
            match next {
                _ if next == delimiter && !bracket => return Ok(out),
                '\\' if !bracket || !pattern => match self.peek() {
                    Some(escaped) if escaped == delimiter => {
                        out.push(escaped);
                        self.at += 1;
                    }
                    Some(escaped) => {
                        out.extend(['\\', escaped]);
                        self.at += 1;
                    }
                    None => break,
                },
                _ => {
                    if pattern && next == '[' && !bracket {
                        bracket = true;
                        out.push(next);
                        // A bracket first in the list is one of it.
                        for first in ['^', ']'] {
                            if self.peek() == Some(first) {
                                out.push(first);
                                self.at += 1;
                            }
                        }
                        continue;
                    }
                    bracket &= next != ']';
                    out.push(next);
                }
            }
        }
        Err(bad(&format!("unmatched '{delimiter}'")))
    }

    fn pattern(&mut self, text: String, ignore_case: bool) -> Result<Pattern, Failure> {
        let text = if text.is_empty() { self.last.clone().ok_or_else(|| bad("no previous regexp"))? } else { text };
        let syntax = if self.extended { Syntax::Extended } else { Syntax::Basic };
        let regex = compile(&text, syntax, ignore_case)?;
        self.last = Some(text);
        Ok(regex)
    }

    fn address(&mut self) -> Result<Option<Address>, Failure> {
        match self.peek() {
            Some('$') => {
                self.at += 1;
                Ok(Some(Address::Last))
            }
            Some('+') => {
                self.at += 1;
                Ok(self.number().map(Address::Plus))
            }
            Some('/' | '\\') => {
                if self.peek() == Some('\\') {
                    self.at += 1;
                }
                let delimiter = self.peek().ok_or_else(|| bad("unterminated address regex"))?;
                self.at += 1;
                let text = self.until(delimiter, true)?;
                let ignore_case = self.peek() == Some('I');
                self.at += usize::from(ignore_case);
                Ok(Some(Address::Pattern(Rc::new(self.pattern(text, ignore_case)?))))
            }
            Some(digit) if digit.is_ascii_digit() => {
                let line = self.number().unwrap_or(0);
                if self.peek() == Some('~') {
                    self.at += 1;
                    return Ok(Some(Address::Step(line, self.number().unwrap_or(0))));
                }
                Ok(Some(Address::Line(line)))
            }
            _ => Ok(None),
        }
    }

    fn parse(&mut self, context: &Context) -> Result<Vec<Command>, Failure> {
        let mut commands: Vec<Command> = Vec::new();
        let mut open = Vec::new();
        loop {
            self.blanks(&['\n', ';', '\r']);
            let Some(next) = self.peek() else { break };
            if next == '#' {
                self.line();
                continue;
            }
            let from = self.address()?;
            self.blanks(&[]);
            let mut to = None;
            if from.is_some() && self.peek() == Some(',') {
                self.at += 1;
                self.blanks(&[]);
                to = Some(self.address()?.ok_or_else(|| bad("no address after comma"))?);
            }
            self.blanks(&[]);
            let negated = self.peek() == Some('!');
            self.at += usize::from(negated);
            self.blanks(&[]);
            let name = self.peek().ok_or_else(|| bad("missing command"))?;
            self.at += 1;
            let action = self.action(name, context)?;
            match action {
                Action::Begin(_) => open.push(commands.len()),
                Action::End => {
                    let begin: usize = open.pop().ok_or_else(|| bad("unexpected '}'"))?;
                    let end = commands.len();
                    commands[begin].action = Action::Begin(end);
                }
                _ => {}
            }
            commands.push(Command { from, to, negated, action, active: None });
        }
        if open.is_empty() { Ok(commands) } else { Err(bad("unmatched '{'")) }
    }

    /// The rest of the line.
    fn line(&mut self) -> String {
        let rest: String = self.text[self.at..].iter().take_while(|next| **next != '\n').collect();
        self.at += rest.chars().count();
        rest
    }

    /// A word, as labels are.
    fn label(&mut self) -> String {
        self.blanks(&[]);
        let word: String = self.text[self.at..].iter().take_while(|next| !matches!(next, '\n' | ';' | '}')).collect();
        self.at += word.chars().count();
        word.trim().to_owned()
    }

    /// What `a`, `i` and `c` put in.
    fn text(&mut self) -> String {
        self.blanks(&[]);
        if self.peek() == Some('\\') {
            self.at += 1;
            self.blanks(&[]);
            if self.peek() == Some('\n') {
                self.at += 1;
            }
        }
        let mut out = String::new();
        while let Some(next) = self.peek() {
            self.at += 1;
            match next {
                '\\' => {
                    out.extend(self.peek());
                    self.at += 1;
                }
                '\n' => break,
                _ => out.push(next),
            }
        }
        out.push('\n');
        out
    }

    fn action(&mut self, name: char, context: &Context) -> Result<Action, Failure> {
        Ok(match name {
            '{' => Action::Begin(0),
            '}' => Action::End,
            's' => self.substitute(context)?,
            'y' => {
                let delimiter = self.peek().ok_or_else(|| bad("bad y command"))?;
                self.at += 1;
                let (from, to) = (self.until(delimiter, false)?, self.until(delimiter, false)?);
                let plain = |text: String| text.replace("\\n", "\n").replace("\\\\", "\\");
                let (from, to) = (plain(from), plain(to));
                if from.chars().count() != to.chars().count() {
                    return Err(bad("y command strings have different lengths"));
                }
                Action::Translate(from.chars().zip(to.chars()).collect())
            }
            'd' => Action::Delete,
            'D' => Action::DeleteFirst,
            'p' => Action::Print,
            'P' => Action::PrintFirst,
            'n' => Action::Next,
            'N' => Action::NextAppend,
            'q' | 'Q' => {
                self.blanks(&[]);
                let code = self.number().and_then(|code| u8::try_from(code).ok()).unwrap_or(0);
                Action::Quit(code, name == 'q')
            }
            'a' => Action::Append(self.text()),
            'i' => Action::Insert(self.text()),
            'c' => Action::Change(self.text()),
            'h' | 'H' => Action::Hold(name == 'H'),
            'g' | 'G' => Action::Get(name == 'G'),
            'x' => Action::Exchange,
            '=' => Action::Number,
            ':' => Action::Label(self.label()),
            'b' | 't' | 'T' => Action::Jump(name, self.label()),
            'r' => {
                self.blanks(&[]);
                Action::Read(self.line())
            }
            'w' => {
                self.blanks(&[]);
                Action::Write(context.open(&self.line(), Access::Write)?)
            }
            other => return Err(bad(&format!("unsupported command {other}"))),
        })
    }

    fn substitute(&mut self, context: &Context) -> Result<Action, Failure> {
        let delimiter = self.peek().ok_or_else(|| bad("unterminated `s' command"))?;
        self.at += 1;
        let pattern = self.until(delimiter, true)?;
        let text = pieces(&self.until(delimiter, false)?);
        let (mut global, mut nth, mut print, mut ignore_case, mut file) = (false, 1, false, false, None);
        loop {
            match self.peek() {
                Some('g') => global = true,
                Some('p') => print = true,
                Some('i' | 'I') => ignore_case = true,
                Some(digit) if digit.is_ascii_digit() => {
                    nth = self.number().unwrap_or(1).max(1);
                    continue;
                }
                Some('w') => {
                    self.at += 1;
                    self.blanks(&[]);
                    file = Some(context.open(&self.line(), Access::Write)?);
                    break;
                }
                Some('}' | ';' | '\n' | ' ' | '\t') | None => break,
                Some(other) => return Err(bad(&format!("unknown option to s: {other}"))),
            }
            self.at += 1;
        }
        let pattern = self.pattern(pattern, ignore_case)?;
        Ok(Action::Substitute { pattern, text, global, nth, print, file })
    }
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let group = match character {
            '&' => Some(0),
            '\\' => match characters.next() {
                Some(digit @ '0'..='9') => digit.to_digit(10).map(|digit| digit as usize),
                Some('n') => {
                    plain.push('\n');
                    None
                }
                Some('t') => {
                    plain.push('\t');
                    None
                }
                other => {
                    plain.extend(other);
                    None
                }
            },
            other => {
                plain.push(other);
                None
            }
        };
        if let Some(group) = group {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Group(group));
        }
    }
    pieces.push(Piece::Text(plain));
    pieces
}

struct Run<'a> {
    context: &'a mut Context,
    lines: std::iter::Peekable<std::vec::IntoIter<Vec<u8>>>,
    number: usize,
    space: Vec<u8>,
    hold: Vec<u8>,
    /// Goes out after the line.
    appended: Vec<u8>,
    quiet: bool,
    out: Vec<u8>,
    in_place: bool,
}

enum Cycle {
    Done,
    Deleted,
    Again,
    Quit(u8),
}

pub fn sed(context: &mut Context) -> Outcome {
    let long = [
        ("quiet", 'n'),
        ("silent", 'n'),
        ("expression", 'e'),
        ("file", 'f'),
        ("regexp-extended", 'E'),
        ("in-place", 'i'),
    ];
    // What is attached to `-i` names a copy of the file as it was.
    let mut arguments = context.operands().to_vec();
    let mut kept = None;
    for argument in &mut arguments {
        if let Some(suffix) = argument.strip_prefix("-i").or(argument.strip_prefix("--in-place="))
            && !suffix.is_empty()
            && !suffix.bytes().all(|byte| b"nErs".contains(&byte))
        {
            kept = Some(suffix.to_owned());
            "-i".clone_into(argument);
        }
    }
    let mut flags = Flags::parse(&arguments, "nEre:f:isz", &long)?;
    let mut script: Vec<String> = flags.values('e').map(str::to_owned).collect();
    for path in flags.values('f') {
        script.extend(lines(context, path)?.iter().map(|line| String::from_utf8_lossy(line).into_owned()));
    }
    if script.is_empty() {
        if flags.operands.is_empty() {
            return Err(Failure::Usage(String::new()));
        }
        script.push(flags.operands.remove(0));
    }
    let text: Vec<char> = script.join("\n").chars().collect();
    let mut parser = Script { text: &text, at: 0, extended: flags.has('E') || flags.has('r'), last: None };
    let mut commands = parser.parse(context)?;
    let paths = if flags.operands.is_empty() { vec!["-".to_owned()] } else { flags.operands.clone() };
    let groups: Vec<Vec<String>> =
        if flags.has('i') || flags.has('s') { paths.into_iter().map(|path| vec![path]).collect() } else { vec![paths] };
    let mut code = 0;
    for group in groups {
        let mut all = Vec::new();
        for path in &group {
            match lines(context, path) {
                Ok(lines) => all.extend(lines),
                Err(Failure::Message(message)) => {
                    context.complain(message);
                    code = 1;
                }
                Err(other) => return Err(other),
            }
        }
        let mut run = Run {
            context: &mut *context,
            lines: all.into_iter().peekable(),
            number: 0,
            space: Vec::new(),
            hold: Vec::new(),
            appended: Vec::new(),
            quiet: flags.has('n'),
            out: Vec::new(),
            in_place: flags.has('i'),
        };
        let quit = run.run(&mut commands)?;
        let out = std::mem::take(&mut run.out);
        if let Some(suffix) = kept.as_ref().filter(|_| code == 0) {
            let copy = format!("{}{suffix}", group[0]);
            std::fs::copy(context.path(&group[0]), context.path(&copy))?;
        }
        if flags.has('i') && code == 0 {
            let file = context.open(&group[0], Access::Write)?;
            Stream(file).write_all(&out)?;
        }
        if let Some(quit) = quit {
            return Ok(quit);
        }
    }
    Ok(code)
}

impl Run<'_> {
    fn emit(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.in_place {
            self.out.extend_from_slice(bytes);
        } else {
            self.context.stdout.write_all(bytes)?;
        }
        Ok(())
    }

    fn emit_line(&mut self, line: &[u8]) -> Result<(), Failure> {
        self.emit(line)?;
        self.emit(b"\n")
    }

    /// The exit code when a command said to quit.
    fn run(&mut self, commands: &mut [Command]) -> Result<Option<u8>, Failure> {
        let mut again = false;
        loop {
            if !again {
                let Some(line) = self.lines.next() else { return Ok(None) };
                self.space = line;
                self.number += 1;
            }
            let cycle = self.cycle(commands)?;
            if !self.quiet && matches!(cycle, Cycle::Done) {
                let space = self.space.clone();
                self.emit_line(&space)?;
            }
            let appended = std::mem::take(&mut self.appended);
            self.emit(&appended)?;
            again = matches!(cycle, Cycle::Again);
            if let Cycle::Quit(code) = cycle {
                return Ok(Some(code));
            }
        }
    }

    fn is(&mut self, address: &Address) -> Result<bool, Failure> {
        Ok(match address {
            Address::Line(line) => *line == self.number,
            Address::Last => self.lines.peek().is_none(),
            Address::Pattern(pattern) => pattern.is_match(&self.space)?,
            Address::Step(first, 0) => *first == self.number,
            Address::Step(first, step) => self.number >= *first && (self.number - first).is_multiple_of(*step),
            Address::Plus(_) => false,
        })
    }

    fn selected(&mut self, command: &mut Command) -> Result<bool, Failure> {
        let selected = match (&command.from, &command.to) {
            (None, _) => true,
            (Some(from), None) => self.is(&from.clone())?,
            (Some(from), Some(to)) => match command.active {
                Some(began) => {
                    let ended = match to {
                        Address::Line(line) => self.number >= *line,
                        Address::Plus(count) => self.number >= began + count,
                        other => self.is(&other.clone())?,
                    };
                    if ended {
                        command.active = None;
                    }
                    // A line number that has passed ends the range before this line.
                    !matches!(to, Address::Line(line) if self.number > *line)
                }
                None => {
                    let begins = self.is(&from.clone())?;
                    let at_once = match to {
                        Address::Line(line) => *line <= self.number,
                        Address::Plus(count) => *count == 0,
                        _ => false,
                    };
                    if begins && !at_once {
                        command.active = Some(self.number);
                    }
                    begins
                }
            },
        };
        Ok(selected != command.negated)
    }

    fn cycle(&mut self, commands: &mut [Command]) -> Result<Cycle, Failure> {
        let mut at = 0;
        let mut substituted = false;
        while at < commands.len() {
            let selected = self.selected(&mut commands[at])?;
            let in_range = commands[at].active.is_some();
            let action = &commands[at].action;
            at += 1;
            if !selected {
                if let Action::Begin(end) = action {
                    at = end + 1;
                }
                continue;
            }
            match action {
                Action::Begin(_) | Action::End | Action::Label(_) => {}
                Action::Substitute { pattern, text, global, nth, print, file } => {
                    if let Some(changed) = substitute(pattern, &self.space, text, *global, *nth)? {
                        self.space = changed;
                        substituted = true;
                        let line = [&self.space[..], b"\n"].concat();
                        if *print {
                            self.emit(&line)?;
                        }
                        if let Some(file) = file {
                            file.write(&line)?;
                        }
                    }
                }
                Action::Translate(map) => {
                    let text = String::from_utf8_lossy(&self.space).into_owned();
                    let to = |from: char| map.iter().find(|(known, _)| *known == from).map_or(from, |(_, to)| *to);
                    self.space = text.chars().map(to).collect::<String>().into_bytes();
                }
                Action::Delete => return Ok(Cycle::Deleted),
                Action::DeleteFirst => match self.space.iter().position(|byte| *byte == b'\n') {
                    Some(end) => {
                        self.space.drain(..=end);
                        return Ok(Cycle::Again);
                    }
                    None => return Ok(Cycle::Deleted),
                },
                Action::Print => {
                    let space = self.space.clone();
                    self.emit_line(&space)?;
                }
                Action::PrintFirst => {
                    let first = self.space.split(|byte| *byte == b'\n').next().unwrap_or_default().to_vec();
                    self.emit_line(&first)?;
                }
                Action::Next => {
                    if self.lines.peek().is_none() {
                        return Ok(if self.quiet { Cycle::Quit(0) } else { Cycle::Done });
                    }
                    if !self.quiet {
                        let space = self.space.clone();
                        self.emit_line(&space)?;
                    }
                    self.space = self.lines.next().unwrap_or_default();
                    self.number += 1;
                }
                Action::NextAppend => {
                    let Some(next) = self.lines.next() else { return Ok(Cycle::Done) };
                    self.space.push(b'\n');
                    self.space.extend(next);
                    self.number += 1;
                }
                Action::Quit(code, print) => {
                    let code = *code;
                    if *print && !self.quiet {
                        let space = self.space.clone();
                        self.emit_line(&space)?;
                    }
                    return Ok(Cycle::Quit(code));
                }
                Action::Append(text) => self.appended.extend(text.bytes()),
                Action::Insert(text) => self.emit(text.as_bytes())?,
                Action::Change(text) => {
                    // Once, at the end of a range.
                    if !in_range || commands[at - 1].negated {
                        self.emit(text.as_bytes())?;
                    }
                    return Ok(Cycle::Deleted);
                }
                Action::Hold(false) => self.hold.clone_from(&self.space),
                Action::Hold(true) => {
                    self.hold.push(b'\n');
                    self.hold.extend(&self.space);
                }
                Action::Get(false) => self.space.clone_from(&self.hold),
                Action::Get(true) => {
                    self.space.push(b'\n');
                    self.space.extend(&self.hold);
                }
                Action::Exchange => std::mem::swap(&mut self.space, &mut self.hold),
                Action::Number => self.emit_line(self.number.to_string().as_bytes())?,
                Action::Jump(kind, label) => {
                    let jumps = match kind {
                        'b' => true,
                        't' => substituted,
                        _ => !substituted,
                    };
                    if *kind != 'b' {
                        substituted = false;
                    }
                    if jumps {
                        let target = commands
                            .iter()
                            .position(|command| matches!(&command.action, Action::Label(name) if name == label));
                        at = match target {
                            Some(target) => target,
                            None if label.is_empty() => commands.len(),
                            None => return Err(bad(&format!("can't find label for jump to '{label}'"))),
                        };
                    }
                }
                Action::Read(path) => {
                    // A file that is not there is empty.
                    if let Ok(mut input) = self.context.input(path) {
                        std::io::copy(&mut input, &mut self.appended)?;
                    }
                }
                Action::Write(file) => file.write(&[&self.space[..], b"\n"].concat())?,
            }
        }
        Ok(Cycle::Done)
    }
}

fn substitute(
    pattern: &Pattern,
    space: &[u8],
    text: &[Piece],
    global: bool,
    nth: usize,
) -> Result<Option<Vec<u8>>, Failure> {
    let mut all = pattern.captures_all(space, if global { usize::MAX } else { nth })?.into_iter().skip(nth - 1);
    let Some(first) = all.next() else { return Ok(None) };
    let (mut out, mut last) = (Vec::new(), 0);
    for groups in std::iter::once(first).chain(all) {
        let group = |number: usize| groups.get(number).cloned().flatten();
        let Some(whole) = group(0) else { break };
        out.extend(&space[last..whole.start]);
        for piece in text {
            match piece {
                Piece::Text(text) => out.extend(text.bytes()),
                Piece::Group(number) => out.extend(group(*number).map_or(&b""[..], |group| &space[group])),
            }
        }
        last = whole.end;
    }
    out.extend(&space[last..]);
    Ok(Some(out))
}
