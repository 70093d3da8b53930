//! Runs an awk program: records, rules, statements.

use super::{output::Outputs, syntax::*, value::Value};
use crate::{
    Context,
    applets::{Octal, regular, unescape},
    context::{Failure, Outcome, Stream, reason},
};
use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader, Write},
    rc::Rc,
};

/// Patterns kept compiled; a program that makes more begins anew.
const PATTERNS_MAX: usize = 200;

/// Fields of a record; more are no table.
pub const FIELDS_MAX: usize = 1 << 20;

/// Why statements do not go on with the next.
pub enum Flow {
    Break,
    Continue,
    Next,
    Exit,
    Return(Value),
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Flow {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

pub fn fail(message: impl Into<String>) -> Flow {
    Flow::Failed(Failure::Message(message.into()))
}

pub type Ran<T = ()> = Result<T, Flow>;

pub type Array = BTreeMap<Rc<str>, Value>;

/// What a name means.
#[derive(Clone)]
pub enum Cell {
    Value(Value),
    Array(Rc<std::cell::RefCell<Array>>),
}

pub type Input = BufReader<Stream>;

/// A program that runs.
pub struct Machine<'a> {
    pub context: &'a mut Context,
    pub program: &'a Program,
    pub globals: HashMap<String, Cell>,
    /// Parameters of the functions that are called.
    pub locals: Vec<HashMap<String, Cell>>,
    pub record: Rc<str>,
    /// Of the record, split when asked for.
    pub fields: Option<Vec<Value>>,
    /// The record is to be made anew of its fields.
    pub stale: bool,
    pub outputs: Outputs,
    pub inputs: HashMap<String, Input>,
    pub random: u64,
    pub seed: f64,
    patterns: HashMap<Rc<str>, Rc<regular::Pattern>>,
    operands: Vec<String>,
    main: Option<Input>,
    any_file: bool,
    code: u8,
    ranges: Vec<bool>,
}

/// With backslash escapes replaced, as in assignments on the command line.
pub fn escaped(text: &str) -> String {
    String::from_utf8_lossy(&unescape(text, Octal::Plain).0).into_owned()
}

pub fn run(
    context: &mut Context,
    program: &Program,
    separator: Option<String>,
    assignments: &[String],
    operands: Vec<String>,
) -> Outcome {
    let environment: Array =
        context.environment.iter().map(|(name, value)| (name.as_str().into(), Value::input(value.as_str()))).collect();
    let mut machine = Machine {
        context,
        program,
        globals: HashMap::new(),
        locals: Vec::new(),
        record: "".into(),
        fields: Some(Vec::new()),
        stale: false,
        outputs: Outputs::default(),
        inputs: HashMap::new(),
        random: 1,
        seed: 0.0,
        patterns: HashMap::new(),
        operands,
        main: None,
        any_file: false,
        code: 0,
        ranges: vec![false; program.rules.len()],
    };
    machine.globals.insert("ENVIRON".to_owned(), Cell::Array(Rc::new(environment.into())));
    let names = std::iter::once("awk").chain(machine.operands.iter().map(String::as_str));
    let arguments: Array =
        names.enumerate().map(|(index, name)| (index.to_string().into(), Value::input(name))).collect();
    let count = arguments.len();
    machine.globals.insert("ARGV".to_owned(), Cell::Array(Rc::new(arguments.into())));
    machine.set_global("ARGC", Value::Number(count as f64));
    for (name, value) in [("OFS", " "), ("ORS", "\n"), ("RS", "\n"), ("SUBSEP", "\x1c"), ("OFMT", "%.6g")] {
        machine.set_global(name, Value::text(value));
    }
    for name in ["NR", "FNR", "RSTART"] {
        machine.set_global(name, Value::Number(0.0));
    }
    machine.set_global("RLENGTH", Value::Number(-1.0));
    machine.set_global("FS", Value::text(separator.as_deref().unwrap_or(" ")));
    for assignment in assignments {
        if !machine.assign_operand(assignment) {
            return Err(Failure::Usage(String::new()));
        }
    }
    let ran = machine.all();
    let flushed = machine.outputs.close_all(machine.context);
    match ran {
        Err(Flow::Failed(Failure::Message(message))) => {
            machine.context.complain(message);
            Ok(2)
        }
        Err(Flow::Failed(failure)) => Err(failure),
        _ => flushed.map(|()| machine.code),
    }
}

impl Machine<'_> {
    fn all(&mut self) -> Ran {
        let program = self.program;
        let mut ran = program.begin.iter().try_for_each(|action| self.action(action));
        if ran.is_ok() && !(program.rules.is_empty() && program.end.is_empty()) {
            ran = self.records();
        }
        if !matches!(ran, Err(Flow::Failed(_))) {
            ran = program.end.iter().try_for_each(|action| self.action(action));
        }
        ran
    }

    /// Every record of the input, until `exit`.
    fn records(&mut self) -> Ran {
        while let Some(record) = self.next_record()? {
            self.set_record(record);
            for (index, rule) in self.program.rules.iter().enumerate() {
                if !self.applies(index, &rule.pattern)? {
                    continue;
                }
                let ran = match &rule.action {
                    Some(action) => self.action(action),
                    None => self.print(&[]),
                };
                match ran {
                    Err(Flow::Next) => break,
                    ran => ran?,
                }
            }
        }
        Ok(())
    }

    fn applies(&mut self, index: usize, pattern: &Pattern) -> Ran<bool> {
        Ok(match pattern {
            Pattern::Always => true,
            Pattern::If(condition) => self.value(condition)?.is_true(),
            Pattern::Range(first, last) => {
                let inside = self.ranges[index] || self.value(first)?.is_true();
                self.ranges[index] = inside && !self.value(last)?.is_true();
                inside
            }
        })
    }

    fn action(&mut self, statements: &[Statement]) -> Ran {
        match self.statements(statements) {
            Err(Flow::Break | Flow::Continue | Flow::Return(_)) => Ok(()),
            ran => ran,
        }
    }

    pub fn statements(&mut self, statements: &[Statement]) -> Ran {
        statements.iter().try_for_each(|statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &Statement) -> Ran {
        match statement {
            Statement::Expression(expression) => drop(self.value(expression)?),
            Statement::Print { what, formatted, to } => self.print_statement(what, *formatted, to.as_ref())?,
            Statement::If(condition, yes, no) => {
                let chosen = if self.value(condition)?.is_true() { yes } else { no };
                self.statements(chosen)?;
            }
            Statement::While { condition, body, body_first } => {
                let mut first = *body_first;
                while first || self.value(condition)?.is_true() {
                    first = false;
                    if self.round(body)? {
                        break;
                    }
                }
            }
            Statement::For { first, condition, next, body } => {
                self.statements_of(first.as_deref())?;
                while condition
                    .as_ref()
                    .map_or(Ok(true), |condition| Ok::<_, Flow>(self.value(condition)?.is_true()))?
                {
                    if self.round(body)? {
                        break;
                    }
                    self.statements_of(next.as_deref())?;
                }
            }
            Statement::ForIn { variable, array, body } => {
                let keys: Vec<Rc<str>> = self.array(array)?.borrow().keys().cloned().collect();
                for key in keys {
                    self.set(&Place::Variable(variable.clone()), Value::Input(key))?;
                    if self.round(body)? {
                        break;
                    }
                }
            }
            Statement::Block(body) => self.statements(body)?,
            Statement::Delete(array, None) => self.array(array)?.borrow_mut().clear(),
            Statement::Delete(array, Some(index)) => {
                let key = self.key(index)?;
                self.array(array)?.borrow_mut().remove(&key);
            }
            Statement::Break => return Err(Flow::Break),
            Statement::Continue => return Err(Flow::Continue),
            Statement::Next => return Err(Flow::Next),
            Statement::Exit(code) => {
                if let Some(code) = code {
                    self.code = (self.value(code)?.number() as i64 & 0xff) as u8;
                }
                return Err(Flow::Exit);
            }
            Statement::Return(value) => {
                let value = value.as_ref().map_or(Ok(Value::Unset), |value| self.value(value))?;
                return Err(Flow::Return(value));
            }
        }
        Ok(())
    }

    fn statements_of(&mut self, statement: Option<&Statement>) -> Ran {
        statement.map_or(Ok(()), |statement| self.statement(statement))
    }

    /// One round of a loop: whether the loop ends.
    fn round(&mut self, body: &[Statement]) -> Ran<bool> {
        match self.statements(body) {
            Err(Flow::Break) => Ok(true),
            Err(Flow::Continue) | Ok(()) => Ok(false),
            Err(flow) => Err(flow),
        }
    }

    /// `name=value` among the operands.
    fn assign_operand(&mut self, operand: &str) -> bool {
        let Some((name, value)) = operand.split_once('=') else { return false };
        let is_name = name.chars().all(|character| character.is_alphanumeric() || character == '_')
            && name.chars().next().is_some_and(|first| !first.is_ascii_digit());
        if is_name {
            self.set_global(name, Value::input(escaped(value)));
        }
        is_name
    }

    /// The next file; false when there is none.
    fn next_file(&mut self) -> Ran<bool> {
        while !self.operands.is_empty() {
            let operand = self.operands.remove(0);
            if operand.is_empty() || self.assign_operand(&operand) {
                continue;
            }
            self.any_file = true;
            self.set_global("FILENAME", Value::input(operand.as_str()));
            self.set_global("FNR", Value::Number(0.0));
            match self.context.input(&operand) {
                Ok(input) => {
                    self.main = Some(input);
                    return Ok(true);
                }
                Err(error) => {
                    self.context.complain(format_args!("{operand}: {}", reason(&error)));
                    self.code = 2;
                }
            }
        }
        if self.any_file {
            return Ok(false);
        }
        self.any_file = true;
        self.main = Some(self.context.input("-")?);
        Ok(true)
    }

    /// The next record of the main input.
    pub fn next_record(&mut self) -> Ran<Option<String>> {
        loop {
            if self.main.is_none() && !self.next_file()? {
                return Ok(None);
            }
            let separator = self.global("RS").string();
            let Some(mut main) = self.main.take() else { return Ok(None) };
            let Some(record) = read_record(&mut main, &separator)? else { continue };
            self.main = Some(main);
            for name in ["NR", "FNR"] {
                let number = self.global(name).number() + 1.0;
                self.set_global(name, Value::Number(number));
            }
            return Ok(Some(record));
        }
    }

    pub fn global(&self, name: &str) -> Value {
        match self.globals.get(name) {
            Some(Cell::Value(value)) => value.clone(),
            _ => Value::Unset,
        }
    }

    pub fn set_global(&mut self, name: &str, value: Value) {
        self.globals.insert(name.to_owned(), Cell::Value(value));
    }

    pub fn pattern(&mut self, text: &Rc<str>) -> Ran<Rc<regular::Pattern>> {
        if let Some(pattern) = self.patterns.get(text) {
            return Ok(Rc::clone(pattern));
        }
        let pattern = Rc::new(regular::compile(text, regular::Syntax::Extended, false)?);
        if self.patterns.len() >= PATTERNS_MAX {
            self.patterns.clear();
        }
        self.patterns.insert(Rc::clone(text), Rc::clone(&pattern));
        Ok(pattern)
    }

    pub fn flush(&mut self) -> Ran {
        Ok(self.context.stdout.flush()?)
    }
}

/// A record without its separator; blank lines separate when that is empty.
pub fn read_record(input: &mut Input, separator: &str) -> Ran<Option<String>> {
    let mut bytes = Vec::new();
    let end = *separator.as_bytes().first().unwrap_or(&b'\n');
    loop {
        let read = input.read_until(end, &mut bytes)?;
        if !separator.is_empty() {
            if read == 0 {
                return Ok(None);
            }
            bytes.truncate(bytes.len() - usize::from(bytes.ends_with(&[end])));
            break;
        }
        let blank = bytes.ends_with(b"\n\n") || bytes == b"\n";
        if read == 0 || blank {
            let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            let text = text.strip_suffix(b"\n").unwrap_or(text).to_vec();
            if text.is_empty() && read > 0 {
                bytes.clear();
                continue;
            }
            if text.is_empty() {
                return Ok(None);
            }
            bytes = text;
            break;
        }
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
