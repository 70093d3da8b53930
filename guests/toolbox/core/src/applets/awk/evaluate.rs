//! Expressions of awk, and what variables, fields and arrays hold.

use super::{
    output::shell,
    run::{Array, Cell, FIELDS_MAX, Machine, Ran, fail, read_record},
    syntax::*,
    value::Value,
};
use crate::{
    applets::processes::spawn_with,
    context::{CHUNK_BYTES, Stream},
};
use std::{cell::RefCell, cmp::Ordering, io::BufReader, rc::Rc};

/// Files and commands read at once.
const INPUTS_MAX: usize = 100;

impl Machine<'_> {
    pub fn value(&mut self, expression: &Expression) -> Ran<Value> {
        Ok(match expression {
            Expression::Number(number) => Value::Number(*number),
            Expression::Text(text) => Value::text(text.as_str()),
            Expression::Regex(text) => {
                let record = self.current_record();
                Value::truth(self.matches(&record, text.as_str().into())?)
            }
            Expression::Place(place) => self.get(place)?,
            Expression::Assign(place, None, value) => {
                let value = self.value(value)?;
                self.set(place, value.clone())?;
                value
            }
            Expression::Assign(place, Some(operator), value) => {
                let right = self.value(value)?.number();
                let left = self.get(place)?.number();
                let value = Value::Number(calculate(*operator, left, right)?);
                self.set(place, value.clone())?;
                value
            }
            Expression::Step { place, by, old } => {
                let before = self.get(place)?.number();
                self.set(place, Value::Number(before + by))?;
                Value::Number(if *old { before } else { before + by })
            }
            Expression::Not(value) => Value::truth(!self.value(value)?.is_true()),
            Expression::Negative(value) => Value::Number(-self.value(value)?.number()),
            Expression::Positive(value) => Value::Number(self.value(value)?.number()),
            Expression::Binary(operator, left, right) => self.binary(operator, left, right)?,
            Expression::Choice(condition, yes, no) => {
                let chosen = if self.value(condition)?.is_true() { yes } else { no };
                self.value(chosen)?
            }
            Expression::In(index, array) => {
                let key = self.key(index)?;
                Value::truth(self.array(array)?.borrow().contains_key(&key))
            }
            Expression::Call(name, arguments) => self.call(name, arguments)?,
            Expression::Group(values) => match values.as_slice() {
                [value] => self.value(value)?,
                _ => return Err(fail("a list is no value")),
            },
            Expression::Getline { from, into } => self.getline(from.as_ref(), into.as_ref())?,
        })
    }

    fn binary(&mut self, operator: &str, left: &Expression, right: &Expression) -> Ran<Value> {
        match operator {
            "&&" => return Ok(Value::truth(self.value(left)?.is_true() && self.value(right)?.is_true())),
            "||" => return Ok(Value::truth(self.value(left)?.is_true() || self.value(right)?.is_true())),
            "~" | "!~" => {
                let text = self.value(left)?.string();
                let pattern = self.regex(right)?;
                return Ok(Value::truth(self.matches(&text, pattern)? == (operator == "~")));
            }
            _ => {}
        }
        let (left, right) = (self.value(left)?, self.value(right)?);
        Ok(match operator {
            " " => Value::text(format!("{}{}", left.string(), right.string())),
            "<" => Value::truth(compare(&left, &right).is_lt()),
            "<=" => Value::truth(compare(&left, &right).is_le()),
            "==" => Value::truth(compare(&left, &right).is_eq()),
            "!=" => Value::truth(compare(&left, &right).is_ne()),
            ">" => Value::truth(compare(&left, &right).is_gt()),
            ">=" => Value::truth(compare(&left, &right).is_ge()),
            operator => {
                let operator = operator.chars().next().unwrap_or('+');
                Value::Number(calculate(operator, left.number(), right.number())?)
            }
        })
    }

    /// A pattern, which may be a regex or any text.
    pub fn regex(&mut self, expression: &Expression) -> Ran<Rc<str>> {
        match expression {
            Expression::Regex(text) => Ok(text.as_str().into()),
            other => Ok(self.value(other)?.string()),
        }
    }

    pub fn matches(&mut self, text: &str, pattern: Rc<str>) -> Ran<bool> {
        Ok(self.pattern(&pattern)?.is_match(text.as_bytes())?)
    }

    /// What an index is in an array.
    pub fn key(&mut self, index: &[Expression]) -> Ran<Rc<str>> {
        if let [one] = index {
            return Ok(self.value(one)?.string());
        }
        let separator = self.global("SUBSEP").string();
        let parts = index.iter().map(|part| Ok(self.value(part)?.string())).collect::<Ran<Vec<_>>>()?;
        Ok(parts.join(&*separator).into())
    }

    fn cell(&mut self, name: &str) -> Option<&mut Cell> {
        match self.locals.last_mut() {
            Some(locals) if locals.contains_key(name) => locals.get_mut(name),
            _ => self.globals.get_mut(name),
        }
    }

    /// The array of this name, made when there is none.
    pub fn array(&mut self, name: &str) -> Ran<Rc<RefCell<Array>>> {
        match self.cell(name) {
            Some(Cell::Array(array)) => return Ok(Rc::clone(array)),
            Some(Cell::Value(Value::Unset)) | None => {}
            Some(Cell::Value(_)) => return Err(fail(format!("{name} is not an array"))),
        }
        let array = Rc::new(RefCell::default());
        let cell = Cell::Array(Rc::clone(&array));
        match self.cell(name) {
            Some(place) => *place = cell,
            None => drop(self.globals.insert(name.to_owned(), cell)),
        }
        Ok(array)
    }

    pub fn get(&mut self, place: &Place) -> Ran<Value> {
        match place {
            Place::Variable(name) if name == "NF" => {
                self.split_record()?;
                Ok(Value::Number(self.fields.as_ref().map_or(0, Vec::len) as f64))
            }
            Place::Variable(name) => match self.cell(name) {
                Some(Cell::Value(value)) => Ok(value.clone()),
                Some(Cell::Array(_)) => Err(fail(format!("{name} is an array"))),
                None => Ok(Value::Unset),
            },
            Place::Field(index) => {
                let index = self.field_number(index)?;
                if index == 0 {
                    return Ok(Value::Input(self.current_record()));
                }
                self.split_record()?;
                Ok(self.fields.as_ref().and_then(|fields| fields.get(index - 1)).cloned().unwrap_or_default())
            }
            Place::Element(name, index) => {
                let key = self.key(index)?;
                Ok(self.array(name)?.borrow_mut().entry(key).or_default().clone())
            }
        }
    }

    pub fn set(&mut self, place: &Place, value: Value) -> Ran {
        match place {
            Place::Variable(name) if name == "NF" => {
                let count = self.bounded(value.number())?;
                self.split_record()?;
                self.fields.get_or_insert_default().resize(count, Value::Unset);
                self.stale = true;
            }
            Place::Variable(name) => match self.cell(name) {
                Some(Cell::Array(_)) => return Err(fail(format!("{name} is an array"))),
                Some(cell) => *cell = Cell::Value(value),
                None => self.set_global(name, value),
            },
            Place::Field(index) => {
                let index = self.field_number(index)?;
                if index == 0 {
                    self.set_record(value.string().to_string());
                    return Ok(());
                }
                self.split_record()?;
                let fields = self.fields.get_or_insert_default();
                if fields.len() < index {
                    fields.resize(index, Value::Unset);
                }
                fields[index - 1] = Value::Input(value.string());
                self.stale = true;
            }
            Place::Element(name, index) => {
                let key = self.key(index)?;
                self.array(name)?.borrow_mut().insert(key, value);
            }
        }
        Ok(())
    }

    fn field_number(&mut self, index: &Expression) -> Ran<usize> {
        let number = self.value(index)?.number();
        self.bounded(number)
    }

    fn bounded(&self, number: f64) -> Ran<usize> {
        let fits = (0.0..=FIELDS_MAX as f64).contains(&number);
        if fits { Ok(number as usize) } else { Err(fail(format!("access to field {number}"))) }
    }

    pub fn set_record(&mut self, record: String) {
        self.record = record.into();
        self.fields = None;
        self.stale = false;
    }

    /// The record, made anew when a field was changed.
    pub fn current_record(&mut self) -> Rc<str> {
        if std::mem::take(&mut self.stale) {
            let separator = self.global("OFS").string();
            let fields: Vec<Rc<str>> = self.fields.iter().flatten().map(Value::string).collect();
            self.record = fields.join(&*separator).into();
        }
        Rc::clone(&self.record)
    }

    fn split_record(&mut self) -> Ran {
        if self.fields.is_none() {
            let separator = match (&*self.global("RS").string(), self.global("FS").string()) {
                // With blank lines between records a newline separates fields, too.
                ("", separator) if &*separator != " " => format!("{separator}|\n").into(),
                (_, separator) => separator,
            };
            let parts = self.split(&self.record.clone(), &separator)?;
            self.fields = Some(parts.into_iter().take(FIELDS_MAX).map(Value::input).collect());
        }
        Ok(())
    }

    /// The parts of a text between separators.
    pub fn split(&mut self, text: &str, separator: &Rc<str>) -> Ran<Vec<String>> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let mut characters = separator.chars();
        Ok(match (characters.next(), characters.next()) {
            (Some(' '), None) => text.split_ascii_whitespace().map(str::to_owned).collect(),
            (None, _) => text.chars().map(String::from).collect(),
            (Some(one), None) if one != '\\' => text.split(one).map(str::to_owned).collect(),
            _ => {
                let pattern = self.pattern(separator)?;
                let (mut parts, mut last) = (Vec::new(), 0);
                for groups in pattern.captures_all(text.as_bytes(), FIELDS_MAX)? {
                    let Some(found) = groups.first().cloned().flatten().filter(|found| !found.is_empty()) else {
                        continue;
                    };
                    parts.push(text[last..found.start].to_owned());
                    last = found.end;
                }
                parts.push(text[last..].to_owned());
                parts
            }
        })
    }

    fn getline(&mut self, from: Option<&(bool, Box<Expression>)>, into: Option<&Place>) -> Ran<Value> {
        let record = match from {
            None => self.next_record()?,
            Some((is_command, name)) => {
                let name = self.value(name)?.string();
                if !self.open_input(*is_command, &name)? {
                    return Ok(Value::Number(-1.0));
                }
                let separator = self.global("RS").string();
                let Some(input) = self.inputs.get_mut(&*name) else { return Ok(Value::Number(-1.0)) };
                let record = read_record(input, &separator)?;
                if record.is_some() {
                    let number = self.global("NR").number() + f64::from(u8::from(*is_command));
                    self.set_global("NR", Value::Number(number));
                }
                record
            }
        };
        let Some(record) = record else { return Ok(Value::Number(0.0)) };
        match into {
            Some(place) => self.set(place, Value::input(record))?,
            None => self.set_record(record),
        }
        Ok(Value::Number(1.0))
    }

    fn open_input(&mut self, is_command: bool, name: &Rc<str>) -> Ran<bool> {
        if self.inputs.contains_key(&**name) {
            return Ok(true);
        }
        if self.inputs.len() >= INPUTS_MAX {
            return Err(fail("too many open files"));
        }
        let input = if is_command {
            self.flush()?;
            let (reader, writer) = self.context.host.pipe();
            let streams = [Rc::clone(&self.context.stdin), writer, Rc::clone(&self.context.stderr)];
            spawn_with(self.context, &shell(name), &streams)?;
            BufReader::with_capacity(CHUNK_BYTES, Stream(reader))
        } else {
            match self.context.input(name) {
                Ok(input) => input,
                Err(_) => return Ok(false),
            }
        };
        self.inputs.insert(name.to_string(), input);
        Ok(true)
    }
}

pub fn calculate(operator: char, left: f64, right: f64) -> Ran<f64> {
    Ok(match operator {
        '+' => left + right,
        '-' => left - right,
        '*' => left * right,
        '/' if right == 0.0 => return Err(fail("division by zero")),
        '/' => left / right,
        '%' if right == 0.0 => return Err(fail("division by zero")),
        '%' => left % right,
        _ => left.powf(right),
    })
}

fn compare(left: &Value, right: &Value) -> Ordering {
    match (left.as_number(), right.as_number()) {
        (Some(left), Some(right)) => left.partial_cmp(&right).unwrap_or(Ordering::Less),
        _ => left.string().cmp(&right.string()),
    }
}
