//! Programs, pipelines and the background: what needs a process of its own.
//!
//! Of a pipeline's stages one may run in this process: the last that is no
//! program. The others are started first, so that nothing waits for a reader
//! that does not exist yet. A stage that is no program becomes a new `sh`, which
//! gets the text of the stage and, in [`STATE`], what a fork would have copied.

use super::{Flow, Shell, Variable, builtins, expand::Capture, run::quote, syntax::*};
use crate::{
    context::reason,
    host::{Access, Child, Command as HostCommand, Errno, File},
};
use std::{io, rc::Rc};

/// The variable that a new shell takes its state from, and removes.
pub const STATE: &str = "WK_SHELL_STATE";

/// Bytes of a file that say whether it is text.
const HEAD_BYTES: u32 = 256;

impl Shell {
    /// Starts a program and waits for it.
    pub(super) fn run_program(&mut self, fields: &[String]) -> Result<u8, Flow> {
        let Ok(child) = self.spawn_program(fields) else { return Ok(self.status) };
        Ok(self.wait_for(&child))
    }

    /// The exit code of a child, once all it wrote for this process is read.
    pub(super) fn wait_for(&mut self, child: &Rc<dyn Child>) -> u8 {
        for file in self.files.values() {
            if let Some(capture) = file.as_any().downcast_ref::<Capture>() {
                capture.drain();
            }
        }
        let end = child.wait();
        self.signals.job_ended(self.interactive, end);
        end.code()
    }

    /// `PATH`.
    fn search(&self) -> String {
        self.get("PATH").unwrap_or_default()
    }

    /// Where a program is.
    pub(super) fn find(&self, name: &str) -> Option<String> {
        self.host.find(name, &self.search(), &self.directory)
    }

    /// Starts a program; `status` says why it did not start.
    pub(super) fn spawn_program(&mut self, fields: &[String]) -> Result<Rc<dyn Child>, ()> {
        let environment = self.environment();
        let errno = match self.try_spawn(fields.to_vec(), environment.clone()) {
            Ok(child) => return Ok(child),
            Err(errno) => errno,
        };
        let script = if errno == Errno::NoExec { self.script(&fields[0]) } else { None };
        match script {
            Some(path) => {
                let arguments = ["sh".to_owned(), path].into_iter().chain(fields[1..].iter().cloned()).collect();
                self.spawn(arguments, environment)
            }
            None => {
                self.not_started(&fields[0], errno);
                Err(())
            }
        }
    }

    /// The path of a file without `#!`, if it is text: the shell runs it (POSIX 2.9.1.6).
    fn script(&self, name: &str) -> Option<String> {
        let path = self.find(name)?;
        let head = self.host.open(&self.absolute(&path), Access::Read).ok()?.read(HEAD_BYTES).ok()?;
        (!head.contains(&0)).then_some(path)
    }

    fn not_started(&mut self, name: &str, errno: Errno) {
        let why = match errno {
            Errno::NoEntry => "not found".to_owned(),
            Errno::Again => "can't fork: Resource temporarily unavailable".to_owned(),
            other => reason(&io::Error::from(other)),
        };
        self.complain(&format!("{name}: {why}"));
        self.status = match errno {
            Errno::NoEntry => 127,
            Errno::Again => 2,
            _ => 126,
        };
    }

    /// Starts a shell that has this one's state.
    fn spawn_shell(&mut self, text: &str) -> Result<Rc<dyn Child>, ()> {
        let mut environment = self.environment();
        environment.push((STATE.to_owned(), self.state()));
        let mut arguments = vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned(), self.name.clone()];
        arguments.extend_from_slice(&self.positional);
        self.spawn(arguments, environment)
    }

    fn spawn(&mut self, arguments: Vec<String>, environment: Vec<(String, String)>) -> Result<Rc<dyn Child>, ()> {
        let name = arguments[0].clone();
        self.try_spawn(arguments, environment).map_err(|errno| self.not_started(&name, errno))
    }

    fn try_spawn(
        &mut self,
        arguments: Vec<String>,
        environment: Vec<(String, String)>,
    ) -> Result<Rc<dyn Child>, Errno> {
        let null = || self.host.file_of(Vec::new());
        let mut streams: [File; 3] = [0, 1, 2].map(|fd| self.files.get(&fd).cloned().unwrap_or_else(null));
        // What this process collects comes through a pipe; one, so that the order stays.
        for index in 0..3 {
            let file = Rc::clone(&streams[index]);
            if let Some(capture) = file.as_any().downcast_ref::<Capture>() {
                let pipe = capture.pipe(&*self.host);
                streams
                    .iter_mut()
                    .filter(|stream| Rc::ptr_eq(stream, &file))
                    .for_each(|stream| *stream = Rc::clone(&pipe));
            }
        }
        let command = HostCommand {
            arguments,
            environment,
            directory: self.directory.clone(),
            search: self.search(),
            background: self.is_background,
        };
        self.host.spawn(&command, [&streams[0], &streams[1], &streams[2]])
    }

    /// Runs the stages of a pipeline at once: the code of the last.
    pub(super) fn run_stages(&mut self, commands: &[Command]) -> Result<u8, Flow> {
        let host = Rc::clone(&self.host);
        let mut stages: Vec<Shell> = Vec::new();
        let mut input: Option<File> = None;
        for index in 0..commands.len() {
            let mut stage = self.subshell();
            if let Some(input) = input.take() {
                stage.files.insert(0, input);
            }
            if index + 1 < commands.len() {
                let (reader, writer) = host.pipe();
                stage.files.insert(1, writer);
                input = Some(reader);
            }
            stages.push(stage);
        }
        let own = commands.iter().rposition(|command| !self.is_program(command));
        let mut children: Vec<Result<Rc<dyn Child>, u8>> = Vec::new();
        let mut own_stage = None;
        for (index, (mut stage, command)) in stages.into_iter().zip(commands).enumerate() {
            if Some(index) == own {
                own_stage = Some(stage);
                children.push(Err(0));
            } else {
                children.push(stage.start_stage(command));
            }
        }
        if let (Some(mut stage), Some(index)) = (own_stage, own) {
            children[index] = Err(stage.run_as_subshell(|shell| shell.run_command(&commands[index])));
        }
        let codes: Vec<u8> = children
            .into_iter()
            .map(|child| match child {
                Ok(child) => self.wait_for(&child),
                Err(code) => code,
            })
            .collect();
        let last = codes.last().copied().unwrap_or_default();
        let failed = codes.iter().rev().copied().find(|code| *code != 0);
        Ok(if self.options.pipefail { failed.unwrap_or(0) } else { last })
    }

    /// Whether a stage can be started directly: a plain word that names no function or builtin.
    fn is_program(&self, command: &Command) -> bool {
        let Kind::Simple { assignments, words } = &command.kind else { return false };
        let Some(Word(parts)) = words.first() else { return false };
        match parts.as_slice() {
            [Part::Plain(name)] => {
                assignments.is_empty() && !self.functions.contains_key(name) && !builtins::is_builtin(name)
            }
            _ => false,
        }
    }

    /// Starts a stage beside this process; or its code, if it could not be.
    fn start_stage(&mut self, command: &Command) -> Result<Rc<dyn Child>, u8> {
        // An applet of that name does what the builtin does.
        let direct = match &command.kind {
            Kind::Simple { assignments, words } => match words.first().map(|word| word.0.as_slice()) {
                Some([Part::Plain(name)]) if assignments.is_empty() && !self.functions.contains_key(name) => {
                    !builtins::is_builtin(name) || matches!(name.as_str(), "echo" | "printf" | "true" | "false")
                }
                _ => false,
            },
            _ => false,
        };
        if !direct {
            return self.spawn_shell(command.source.text()).map_err(|()| self.status);
        }
        let Kind::Simple { words, .. } = &command.kind else { return Err(0) };
        let code = |flow| match flow {
            Flow::Exit(code) | Flow::Fatal(code) => code,
            _ => 0,
        };
        match self.redirect(&command.redirections) {
            Ok(true) => {}
            Ok(false) => return Err(1),
            Err(flow) => return Err(code(flow)),
        }
        let fields = self.expand_words(words).map_err(code)?;
        self.spawn_program(&fields).map_err(|()| self.status)
    }

    pub(super) fn start_background(&mut self, item: &Item) -> Result<u8, Flow> {
        let mut stage = self.subshell();
        stage.is_background = true;
        if !self.interactive {
            stage.files.insert(0, self.host.file_of(Vec::new()));
        }
        let started = match (item.first.commands.as_slice(), item.rest.is_empty() && !item.first.negated) {
            ([command], true) if self.is_program(command) => stage.start_stage(command),
            _ => stage.spawn_shell(item.source.text()).map_err(|()| stage.status),
        };
        match started {
            Ok(child) => {
                self.last_background = Some(child.pid());
                if self.interactive {
                    let line = format!("[{}] {}\n", self.jobs.len() + 1, child.pid());
                    let _ = self.files.get(&2).map(|stderr| stderr.write(line.as_bytes()));
                }
                self.jobs.push(child);
                Ok(0)
            }
            Err(code) => Ok(code),
        }
    }

    /// `exec`: WASI cannot replace a program, so this one waits for the other and ends as it did.
    pub(super) fn exec(&mut self, fields: &[String], redirections: &[Redirection]) -> Result<u8, Flow> {
        if !self.redirect(redirections)? {
            return Err(Flow::Fatal(1));
        }
        if fields.is_empty() {
            return Ok(0);
        }
        if self.find(&fields[0]).is_none() {
            self.complain(&format!("exec: {}: not found", fields[0]));
            return Err(Flow::Exit(127));
        }
        self.drop_traps();
        let code = self.run_program(fields)?;
        Err(Flow::Exit(code))
    }

    /// What a fork would copy and the environment and arguments do not carry.
    fn state(&self) -> String {
        let background = self.last_background.map(|pid| pid.to_string()).unwrap_or_default();
        let mut text = format!("{} {} {background}\n", self.pid, self.status);
        for (name, Variable { value, exported, read_only }) in &self.variables {
            match value {
                Some(value) if !exported => text.push_str(&format!("{name}={}\n", quote(value))),
                None if *exported => text.push_str(&format!("export {name}\n")),
                _ => {}
            }
            if *read_only {
                text.push_str(&format!("readonly {name}\n"));
            }
        }
        for function in self.functions.values() {
            text.push_str(&function.source);
            text.push('\n');
        }
        let mut letters = self.options.letters(false);
        // Traced would be the lines above, too; `-n` would run nothing.
        letters.retain(|letter| letter != 'n');
        if !letters.is_empty() {
            text.push_str(&format!("set -{letters}\n"));
        }
        if self.options.pipefail {
            text.push_str("set -o pipefail\n");
        }
        text
    }

    /// Becomes what another shell was.
    pub(super) fn take_over(&mut self, state: &str) -> Result<(), Flow> {
        let (first, script) = state.split_once('\n').unwrap_or((state, ""));
        let mut numbers = first.split(' ').map(|number| number.parse::<u32>().ok());
        let (pid, status) = (numbers.next().flatten(), numbers.next().flatten());
        self.run_text(script)?;
        self.pid = pid.unwrap_or(self.pid);
        self.last_background = numbers.next().flatten();
        self.status = status.and_then(|status| u8::try_from(status).ok()).unwrap_or(0);
        Ok(())
    }
}
