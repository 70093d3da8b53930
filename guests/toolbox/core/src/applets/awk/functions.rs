//! Functions of awk: its own, and those of the program.

use super::{
    output::shell,
    run::{Cell, Flow, Machine, Ran, fail},
    syntax::*,
    value::Value,
};
use crate::applets::{printf::Spec, processes::run};
use std::{collections::HashMap, rc::Rc};

/// Calls within each other; more would end the guest's stack.
const CALLS_MAX: usize = 100;

impl Machine<'_> {
    pub fn call(&mut self, name: &str, arguments: &[Expression]) -> Ran<Value> {
        let program = self.program;
        if let Some(function) = program.functions.get(name) {
            return self.call_own(function, arguments);
        }
        match name {
            "split" => return self.call_split(arguments),
            "sub" | "gsub" => return self.substitute(arguments, name == "gsub"),
            "match" => return self.call_match(arguments),
            "length" => return self.length(arguments),
            _ => {}
        }
        let mut values = arguments.iter().map(|argument| self.value(argument)).collect::<Ran<Vec<_>>>()?.into_iter();
        let count = values.len();
        let mut next = || values.next().unwrap_or_default();
        let first = next();
        let number = first.number();
        Ok(match name {
            "substr" => {
                let (from, length) = (next().number(), next());
                let length = if count > 2 { length.number() } else { f64::INFINITY };
                Value::text(substring(&first.string(), from, length))
            }
            "index" => {
                let (text, part) = (first.string(), next().string());
                let at = text.find(&*part).map_or(0, |at| text[..at].chars().count() + 1);
                Value::Number(at as f64)
            }
            "sprintf" => {
                let rest: Vec<Value> = values.collect();
                Value::text(self.format(&first.string(), &rest))
            }
            "tolower" => Value::text(first.string().to_lowercase()),
            "toupper" => Value::text(first.string().to_uppercase()),
            "int" => Value::Number(number.trunc()),
            "sqrt" => Value::Number(number.sqrt()),
            "exp" => Value::Number(number.exp()),
            "log" => Value::Number(number.ln()),
            "sin" => Value::Number(number.sin()),
            "cos" => Value::Number(number.cos()),
            "atan2" => Value::Number(number.atan2(next().number())),
            "rand" => Value::Number(self.random()),
            "srand" => {
                let seed = if count > 0 { number } else { self.context.host.now().as_secs_f64().trunc() };
                self.random = seed.to_bits() | 1;
                Value::Number(std::mem::replace(&mut self.seed, seed))
            }
            "systime" => Value::Number(self.context.host.now().as_secs() as f64),
            "system" => {
                self.flush()?;
                Value::Number(f64::from(run(self.context, &shell(&first.string()))?))
            }
            "close" => {
                let name = first.string();
                let had_input = self.inputs.remove(&*name).is_some();
                let code = self.outputs.close(&name).map(f64::from);
                Value::Number(code.unwrap_or(if had_input { 0.0 } else { -1.0 }))
            }
            "fflush" => {
                self.flush()?;
                Value::Number(0.0)
            }
            _ => return Err(fail(format!("function {name} never defined"))),
        })
    }

    fn call_own(&mut self, function: &Rc<Function>, arguments: &[Expression]) -> Ran<Value> {
        if self.locals.len() >= CALLS_MAX {
            return Err(fail("too many functions within each other"));
        }
        let mut locals = HashMap::new();
        for (index, parameter) in function.parameters.iter().enumerate() {
            let cell = match arguments.get(index) {
                Some(argument) => self.argument(argument)?,
                None => Cell::Value(Value::Unset),
            };
            locals.insert(parameter.clone(), cell);
        }
        self.locals.push(locals);
        let ran = self.statements(&function.body);
        let locals = self.locals.pop().unwrap_or_default();
        // A name that only became an array within is the caller's, too.
        for (parameter, argument) in function.parameters.iter().zip(arguments) {
            if let (Expression::Place(Place::Variable(name)), Some(Cell::Array(array))) =
                (argument, locals.get(parameter))
                && matches!(self.cell_of(name), Some(Cell::Value(Value::Unset)) | None)
            {
                self.put_cell(name, Cell::Array(Rc::clone(array)));
            }
        }
        match ran {
            Ok(()) => Ok(Value::Unset),
            Err(Flow::Return(value)) => Ok(value),
            Err(flow) => Err(flow),
        }
    }

    /// Arrays are given as themselves, values as copies.
    fn argument(&mut self, argument: &Expression) -> Ran<Cell> {
        if let Expression::Place(Place::Variable(name)) = argument
            && let Some(Cell::Array(array)) = self.cell_of(name)
        {
            return Ok(Cell::Array(Rc::clone(array)));
        }
        Ok(Cell::Value(self.value(argument)?))
    }

    fn cell_of(&self, name: &str) -> Option<&Cell> {
        self.locals.last().and_then(|locals| locals.get(name)).or_else(|| self.globals.get(name))
    }

    fn put_cell(&mut self, name: &str, cell: Cell) {
        match self.locals.last_mut() {
            Some(locals) if locals.contains_key(name) => drop(locals.insert(name.to_owned(), cell)),
            _ => drop(self.globals.insert(name.to_owned(), cell)),
        }
    }

    fn length(&mut self, arguments: &[Expression]) -> Ran<Value> {
        let count = match arguments {
            [] => self.current_record().chars().count(),
            [Expression::Place(Place::Variable(name))] if matches!(self.cell_of(name), Some(Cell::Array(_))) => {
                self.array(name)?.borrow().len()
            }
            [argument, ..] => self.value(argument)?.string().chars().count(),
        };
        Ok(Value::Number(count as f64))
    }

    fn call_split(&mut self, arguments: &[Expression]) -> Ran<Value> {
        let [text, Expression::Place(Place::Variable(name)), rest @ ..] = arguments else {
            return Err(fail("split: an array is missing"));
        };
        let text = self.value(text)?.string();
        let separator = match rest.first() {
            Some(separator) => self.regex(separator)?,
            None => self.global("FS").string(),
        };
        let parts = self.split(&text, &separator)?;
        let count = parts.len();
        let array = self.array(name)?;
        let mut array = array.borrow_mut();
        array.clear();
        for (index, part) in parts.into_iter().enumerate() {
            array.insert((index + 1).to_string().into(), Value::input(part));
        }
        Ok(Value::Number(count as f64))
    }

    fn call_match(&mut self, arguments: &[Expression]) -> Ran<Value> {
        let [text, pattern, ..] = arguments else { return Err(fail("match: arguments are missing")) };
        let text = self.value(text)?.string();
        let pattern = self.regex(pattern)?;
        let found = self.pattern(&pattern)?.find_at(text.as_bytes(), 0)?;
        let (start, length) = match found {
            Some(found) => (text[..found.start].chars().count() as f64 + 1.0, text[found].chars().count() as f64),
            None => (0.0, -1.0),
        };
        self.set_global("RSTART", Value::Number(start));
        self.set_global("RLENGTH", Value::Number(length));
        Ok(Value::Number(start))
    }

    fn substitute(&mut self, arguments: &[Expression], all: bool) -> Ran<Value> {
        let [pattern, replacement, rest @ ..] = arguments else { return Err(fail("sub: arguments are missing")) };
        let pattern = self.regex(pattern)?;
        let replacement = self.value(replacement)?.string();
        let record = Place::Field(Box::new(Expression::Number(0.0)));
        let place = match rest.first() {
            Some(Expression::Place(place)) => place,
            Some(_) => return Err(fail("sub: the third argument cannot be changed")),
            None => &record,
        };
        let text = self.get(place)?.string();
        let found = self.pattern(&pattern)?.captures_all(text.as_bytes(), if all { usize::MAX } else { 1 })?;
        let (mut out, mut last) = (String::new(), 0);
        for groups in &found {
            let Some(whole) = groups.first().cloned().flatten() else { continue };
            out.push_str(&text[last..whole.start]);
            replace_into(&mut out, &replacement, &text[whole.clone()]);
            last = whole.end;
        }
        if !found.is_empty() {
            out.push_str(&text[last..]);
            self.set(place, Value::text(out))?;
        }
        Ok(Value::Number(found.len() as f64))
    }

    /// Not for secrets: the same for the same seed, as POSIX wants it.
    fn random(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// `printf`'s format with values.
    pub fn format(&self, format: &str, values: &[Value]) -> String {
        let texts: Vec<String> = values.iter().map(|value| value.string().to_string()).collect();
        let (mut texts, mut out, mut rest) = (texts.iter(), Vec::new(), format);
        while let Some(percent) = rest.find('%') {
            out.extend(rest[..percent].bytes());
            rest = &rest[percent + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                out.push(b'%');
                rest = after;
                continue;
            }
            let mut spec = Spec::default();
            rest = spec.parse(rest, &mut texts);
            let Some(conversion) = rest.chars().next() else { break };
            rest = &rest[conversion.len_utf8()..];
            let index = values.len() - texts.len();
            let value = values.get(index).cloned().unwrap_or_default();
            let _ = texts.next();
            let text = argument(conversion, &value);
            match spec.convert(conversion, &text, &mut Vec::new()) {
                Some((bytes, _)) => out.extend(bytes),
                None => out.extend(format!("%{conversion}").bytes()),
            }
        }
        out.extend(rest.bytes());
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// A value as `printf` reads it for a conversion.
fn argument(conversion: char, value: &Value) -> String {
    match conversion {
        'd' | 'i' | 'o' | 'x' | 'X' | 'u' => format!("{:.0}", value.number().trunc()),
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => value.number().to_string(),
        'c' => match value {
            Value::Number(number) => char::from_u32(*number as u32).map(String::from).unwrap_or_default(),
            value => value.string().chars().take(1).collect(),
        },
        _ => value.string().to_string(),
    }
}

/// `&` is what was matched, `\&` the sign itself.
fn replace_into(out: &mut String, replacement: &str, matched: &str) {
    let mut characters = replacement.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if matches!(characters.peek(), Some('&' | '\\')) => out.extend(characters.next()),
            '&' => out.push_str(matched),
            other => out.push(other),
        }
    }
}

fn substring(text: &str, from: f64, length: f64) -> String {
    let end = from.round() + length.round();
    let inside = |position: usize| {
        let position = position as f64 + 1.0;
        position >= from.round() && position < end
    };
    text.chars().enumerate().filter(|(position, _)| inside(*position)).map(|(_, character)| character).collect()
}
