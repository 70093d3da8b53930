//! Runs commands.

use super::{CALLS_MAX, Flow, Function, Shell, builtins, syntax::*};
use std::rc::Rc;

type Ran = Result<u8, Flow>;

impl Shell {
    pub(super) fn run_list(&mut self, list: &List) -> Ran {
        let mut code = 0;
        for item in &list.0 {
            code = if item.background { self.start_background(item)? } else { self.run_and_or(item)? };
            self.status = code;
        }
        Ok(code)
    }

    pub(super) fn run_and_or(&mut self, item: &Item) -> Ran {
        // Only the last command of the list may end the shell under `set -e`.
        let last = item.rest.len();
        let mut code = self.run_tested(last > 0, |shell| shell.run_pipeline(&item.first))?;
        let mut last_ran = last == 0;
        for (index, (connection, pipeline)) in item.rest.iter().enumerate() {
            self.status = code;
            if (code == 0) == (*connection == Connection::And) {
                last_ran = index + 1 == last;
                code = self.run_tested(!last_ran, |shell| shell.run_pipeline(pipeline))?;
            } else {
                last_ran = false;
            }
        }
        self.status = code;
        let pipeline = item.rest.last().map_or(&item.first, |(_, pipeline)| pipeline);
        if code != 0 && self.options.errexit && self.tested == 0 && last_ran && !pipeline.negated {
            return Err(Flow::Exit(code));
        }
        Ok(code)
    }

    fn run_tested(&mut self, tested: bool, run: impl FnOnce(&mut Self) -> Ran) -> Ran {
        self.tested += usize::from(tested);
        let result = run(self);
        self.tested -= usize::from(tested);
        result
    }

    fn run_pipeline(&mut self, pipeline: &Pipeline) -> Ran {
        let code = self.run_tested(pipeline.negated, |shell| match pipeline.commands.as_slice() {
            [command] => shell.run_command(command),
            commands => shell.run_stages(commands),
        })?;
        Ok(if pipeline.negated { u8::from(code == 0) } else { code })
    }

    pub(super) fn run_command(&mut self, command: &Command) -> Ran {
        let code = match &command.kind {
            Kind::Simple { assignments, words } => self.run_simple(assignments, words, &command.redirections),
            kind => self.with_redirections(&command.redirections, |shell| shell.run_compound(kind)),
        }?;
        self.run_traps(code)?;
        Ok(code)
    }

    fn run_compound(&mut self, kind: &Kind) -> Ran {
        match kind {
            Kind::Simple { .. } => Ok(0),
            Kind::Group(list) => self.run_list(list),
            Kind::Subshell(list) => {
                let mut inner = self.subshell();
                Ok(inner.run_as_subshell(|shell| shell.run_list(list)))
            }
            Kind::If(branches, otherwise) => {
                for (condition, body) in branches {
                    if self.run_tested(true, |shell| shell.run_list(condition))? == 0 {
                        return self.run_list(body);
                    }
                }
                otherwise.as_ref().map_or(Ok(0), |list| self.run_list(list))
            }
            Kind::While { until, condition, body } => self.run_while(*until, condition, body),
            Kind::For { name, words, body } => self.run_for(name, words.as_deref(), body),
            Kind::Case { word, arms } => self.run_case(word, arms),
            Kind::Function { name, body } => {
                let function = Function { body: Rc::clone(body), source: body.source.text().to_owned() };
                self.functions.insert(name.clone(), function);
                Ok(0)
            }
        }
    }

    /// One round of a loop: what it ended with, or that the loop ends.
    fn run_round(&mut self, body: &List, code: &mut u8) -> Result<bool, Flow> {
        match self.run_list(body) {
            Ok(ended) => *code = ended,
            Err(Flow::Continue(1)) => *code = 0,
            Err(Flow::Break(1)) => {
                *code = 0;
                return Ok(false);
            }
            Err(Flow::Continue(levels)) => return Err(Flow::Continue(levels - 1)),
            Err(Flow::Break(levels)) => return Err(Flow::Break(levels - 1)),
            Err(flow) => return Err(flow),
        }
        Ok(true)
    }

    fn run_while(&mut self, until: bool, condition: &List, body: &List) -> Ran {
        let mut code = 0;
        self.loops += 1;
        let result = loop {
            let mut tested = 0;
            self.tested += 1;
            let go_on = self.run_round(condition, &mut tested);
            self.tested -= 1;
            match go_on {
                Ok(true) if (tested == 0) != until => {}
                Ok(_) => break Ok(code),
                Err(flow) => break Err(flow),
            }
            match self.run_round(body, &mut code) {
                Ok(true) => {}
                Ok(false) => break Ok(code),
                Err(flow) => break Err(flow),
            }
        };
        self.loops -= 1;
        result
    }

    fn run_for(&mut self, name: &str, words: Option<&[Word]>, body: &List) -> Ran {
        let values = match words {
            Some(words) => self.expand_words(words)?,
            None => self.positional.clone(),
        };
        let mut code = 0;
        self.loops += 1;
        let mut result = Ok(());
        for value in values {
            result = self.assign(name, &value);
            if result.is_err() {
                break;
            }
            match self.run_round(body, &mut code) {
                Ok(true) => {}
                Ok(false) => break,
                Err(flow) => {
                    result = Err(flow);
                    break;
                }
            }
        }
        self.loops -= 1;
        result.map(|()| code)
    }

    fn run_case(&mut self, word: &Word, arms: &[(Vec<Word>, List)]) -> Ran {
        let text = self.expand_text(word)?;
        for (patterns, body) in arms {
            for pattern in patterns {
                let pattern = self.expand_pattern(pattern)?;
                if super::pattern::matches(&pattern, &text) {
                    return self.run_list(body);
                }
            }
        }
        Ok(0)
    }

    fn run_simple(&mut self, assignments: &[(String, Word)], words: &[Word], redirections: &[Redirection]) -> Ran {
        self.substituted = false;
        let fields = self.expand_words(words)?;
        let before: Vec<_> =
            assignments.iter().map(|(name, _)| (name.clone(), self.variables.get(name).cloned())).collect();
        let mut values = Vec::new();
        for (name, word) in assignments {
            let value = self.expand_text(word)?;
            // One may use what the one before it sets.
            self.assign(name, &value)?;
            values.push((name.clone(), value));
        }
        self.trace(&values, &fields);
        let Some(name) = fields.first() else {
            let code = if self.substituted { self.status } else { 0 };
            return self.with_redirections(redirections, |_| Ok(code));
        };
        if let Some(special) = builtins::special(name) {
            // Assignments before a special builtin stay.
            if name == "exec" {
                return self.exec(&fields[1..], redirections);
            }
            return self.with_redirections(redirections, |shell| special(shell, &fields));
        }
        if values.is_empty() {
            return self.with_redirections(redirections, |shell| shell.run_named(&fields));
        }
        for (name, _) in &values {
            self.variables.entry(name.clone()).or_default().exported = true;
        }
        let result = self.with_redirections(redirections, |shell| shell.run_named(&fields));
        self.put_back(before);
        result
    }

    /// A function, a builtin or a program.
    pub(super) fn run_named(&mut self, fields: &[String]) -> Ran {
        if let Some(function) = self.functions.get(&fields[0]).cloned() {
            return self.call(&function, &fields[1..]);
        }
        match builtins::find(&fields[0]) {
            Some(builtin) => builtin(self, fields),
            None => self.run_program(fields),
        }
    }

    fn call(&mut self, function: &Function, arguments: &[String]) -> Ran {
        if self.calls >= CALLS_MAX {
            return Err(self.fatal("too many functions within each other"));
        }
        let positional = std::mem::replace(&mut self.positional, arguments.to_vec());
        let loops = std::mem::take(&mut self.loops);
        self.calls += 1;
        self.locals.push(Vec::new());
        let result = self.run_command(&function.body);
        let locals = self.locals.pop().unwrap_or_default();
        self.put_back(locals);
        self.calls -= 1;
        self.loops = loops;
        self.positional = positional;
        match result {
            Err(Flow::Return(code)) => Ok(code),
            other => other,
        }
    }

    pub(super) fn put_back(&mut self, before: Vec<(String, Option<super::Variable>)>) {
        for (name, variable) in before.into_iter().rev() {
            match variable {
                Some(variable) => drop(self.variables.insert(name, variable)),
                None => drop(self.variables.remove(&name)),
            }
        }
    }

    fn trace(&mut self, values: &[(String, String)], fields: &[String]) {
        if !self.options.xtrace {
            return;
        }
        let assigned = values.iter().map(|(name, value)| format!("{name}={}", quote_if_needed(value)));
        let words = fields.iter().map(|field| quote_if_needed(field));
        let line: Vec<String> = assigned.chain(words).collect();
        let prefix = self.get("PS4").unwrap_or_default();
        let _ = self.files.get(&2).map(|stderr| stderr.write(format!("{prefix}{}\n", line.join(" ")).as_bytes()));
    }
}

/// Text that a shell reads as this word.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn quote_if_needed(text: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "_-./:@%+,".contains(character);
    if text == "]" || (!text.is_empty() && text.chars().all(plain)) { text.to_owned() } else { quote(text) }
}
