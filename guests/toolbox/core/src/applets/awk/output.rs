//! Where an awk program writes: stdout, files, commands.

use super::{
    run::{Machine, Ran},
    syntax::{Expression, Redirect},
    value::Value,
};
use crate::{
    Context,
    applets::processes::spawn_with,
    context::Failure,
    host::{Access, Child, File},
};
use std::{collections::BTreeMap, io::Write, rc::Rc};

/// Files and commands open at once.
const OUTPUTS_MAX: usize = 100;

struct Output {
    file: File,
    command: Option<Rc<dyn Child>>,
}

/// By what the program calls them.
#[derive(Default)]
pub struct Outputs(BTreeMap<Rc<str>, Output>);

impl Outputs {
    /// Closes one: how its command ended; none when there is no such.
    pub fn close(&mut self, name: &str) -> Option<u8> {
        let Output { file, command } = self.0.remove(name)?;
        drop(file);
        Some(command.map_or(0, |command| command.wait().code()))
    }

    pub fn close_all(&mut self, context: &mut Context) -> Result<(), Failure> {
        context.stdout.flush()?;
        for name in self.0.keys().cloned().collect::<Vec<_>>() {
            self.close(&name);
        }
        Ok(())
    }
}

impl Machine<'_> {
    pub fn print_statement(
        &mut self,
        what: &[Expression],
        formatted: bool,
        to: Option<&(Redirect, Expression)>,
    ) -> Ran {
        let text = if formatted {
            let mut values = what.iter().map(|value| self.value(value)).collect::<Ran<Vec<_>>>()?.into_iter();
            let format = values.next().unwrap_or_default().string();
            self.format(&format, values.as_slice())
        } else {
            self.line(what)?
        };
        let Some((redirect, name)) = to else { return Ok(self.context.stdout.write_all(text.as_bytes())?) };
        let name = self.value(name)?.string();
        self.output(*redirect, &name)?.write(text.as_bytes())?;
        Ok(())
    }

    /// `print` without more.
    pub fn print(&mut self, what: &[Expression]) -> Ran {
        let line = self.line(what)?;
        Ok(self.context.stdout.write_all(line.as_bytes())?)
    }

    fn line(&mut self, what: &[Expression]) -> Ran<String> {
        let mut line = String::new();
        if what.is_empty() {
            line.push_str(&self.current_record());
        }
        for (index, value) in what.iter().enumerate() {
            if index > 0 {
                line.push_str(&self.global("OFS").string());
            }
            let value = self.value(value)?;
            match value {
                Value::Number(number) if number.fract() != 0.0 => {
                    let format = self.global("OFMT").string();
                    line.push_str(&self.format(&format, &[value]));
                }
                value => line.push_str(&value.string()),
            }
        }
        line.push_str(&self.global("ORS").string());
        Ok(line)
    }

    fn output(&mut self, redirect: Redirect, name: &Rc<str>) -> Ran<File> {
        if let Some(output) = self.outputs.0.get(name) {
            return Ok(Rc::clone(&output.file));
        }
        if self.outputs.0.len() >= OUTPUTS_MAX {
            return Err(super::run::fail("too many open files"));
        }
        self.flush()?;
        let opened = match redirect {
            Redirect::Pipe => self.command(name)?,
            redirect => {
                let access = if redirect == Redirect::Write { Access::Write } else { Access::Append };
                let opened = self.context.open(name, access);
                let cannot = |error| format!("can't redirect to '{name}': {}", crate::context::reason(&error));
                Output { file: opened.map_err(|error| super::run::fail(cannot(error)))?, command: None }
            }
        };
        let file = Rc::clone(&opened.file);
        self.outputs.0.insert(Rc::clone(name), opened);
        Ok(file)
    }

    fn command(&mut self, text: &str) -> Ran<Output> {
        let (reader, file) = self.context.host.pipe();
        let streams = [reader, Rc::clone(&self.context.stdout.file), Rc::clone(&self.context.stderr)];
        let command = spawn_with(self.context, &shell(text), &streams)?;
        Ok(Output { file, command })
    }
}

pub fn shell(text: &str) -> [String; 3] {
    ["sh".to_owned(), "-c".to_owned(), text.to_owned()]
}
