//! The shell: `sh`.
//!
//! ```text
//! text -> parser (syntax) -> run -> expand -> builtins, functions
//!                                          -> spawn (a process per program)
//! ```
//!
//! WASI has no fork. What POSIX runs in a subshell runs on a copy of [`Shell`]
//! in this process, unless something must go on beside it: then it is a new `sh`
//! that gets this one's state and the text of its part (`spawn.rs`).

mod arithmetic;
mod builtins;
mod expand;
mod here;
mod input;
mod parser;
pub(crate) mod pattern;
mod prompt;
mod read;
mod redirect;
mod run;
mod signals;
mod spawn;
mod special;
mod syntax;
#[cfg(test)]
mod tests;
mod words;

use crate::{
    Context,
    context::Outcome,
    host::{Access, Child, File, Host},
};
use signals::{Signals, Traps};
use std::{collections::BTreeMap, rc::Rc};
use syntax::Command;

/// Why commands do not go on with the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The shell ends.
    Exit(u8),
    /// The function or the sourced file ends.
    Return(u8),
    /// So many loops end.
    Break(usize),
    /// So many loops minus one end, and the last goes on.
    Continue(usize),
    /// An error that ends a script, but only the line a person typed.
    Fatal(u8),
    /// ^C of the person at an interactive shell: back to the prompt.
    Interrupted,
}

#[derive(Debug, Clone, Default)]
struct Variable {
    /// None when it is only marked.
    value: Option<String>,
    exported: bool,
    read_only: bool,
}

#[derive(Clone)]
struct Function {
    body: Rc<Command>,
    source: String,
}

/// `set -e` and the like.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools)]
struct Options {
    allexport: bool,
    noclobber: bool,
    errexit: bool,
    noglob: bool,
    noexec: bool,
    nounset: bool,
    verbose: bool,
    xtrace: bool,
    pipefail: bool,
}

/// Function calls and sourced files within each other; more would end the guest's stack.
const CALLS_MAX: usize = 100;

/// A shell's state; a copy is a subshell.
#[derive(Clone)]
pub(crate) struct Shell {
    host: Rc<dyn Host>,
    /// `$0`.
    name: String,
    positional: Vec<String>,
    variables: BTreeMap<String, Variable>,
    functions: BTreeMap<String, Function>,
    options: Options,
    directory: String,
    /// By descriptor.
    files: BTreeMap<u32, File>,
    /// `$?`.
    status: u8,
    /// A command substitution set `status` for the command at hand.
    substituted: bool,
    /// `$$`.
    pid: u32,
    /// `$!`.
    last_background: Option<u32>,
    jobs: Vec<Rc<dyn Child>>,
    traps: Traps,
    signals: Rc<Signals>,
    /// A copy, in the process of the shell that it was copied from.
    is_copy: bool,
    /// The keys of a terminal are not for what it starts.
    is_background: bool,
    interactive: bool,
    /// Conditions, in which `set -e` does not end the shell.
    tested: usize,
    /// Functions and sourced files within each other.
    calls: usize,
    loops: usize,
    /// Variables to put back when the function ends.
    locals: Vec<Vec<(String, Option<Variable>)>>,
    /// Letters of clustered options that `getopts` has read.
    getopts_at: usize,
}

/// The program `sh`.
pub(crate) fn main(context: &mut Context) -> Outcome {
    let mut shell = Shell::new(context);
    let arguments = context.operands().to_vec();
    Ok(shell.start(&arguments))
}

impl Shell {
    fn new(context: &Context) -> Self {
        let variable = |(name, value): &(String, String)| {
            (name.clone(), Variable { value: Some(value.clone()), exported: true, read_only: false })
        };
        let files = [Rc::clone(&context.stdin), Rc::clone(&context.stdout.file), Rc::clone(&context.stderr)];
        let mut shell = Self {
            host: Rc::clone(&context.host),
            name: context.arguments.first().cloned().unwrap_or_else(|| "sh".to_owned()),
            positional: Vec::new(),
            variables: context.environment.iter().map(variable).collect(),
            functions: BTreeMap::new(),
            options: Options::default(),
            directory: context.directory.clone(),
            files: (0..).zip(files).collect(),
            status: 0,
            substituted: false,
            pid: context.host.pid(),
            last_background: None,
            jobs: Vec::new(),
            traps: Traps::default(),
            signals: Rc::new(Signals::new(&context.host)),
            is_copy: false,
            is_background: false,
            interactive: false,
            tested: 0,
            calls: 0,
            loops: 0,
            locals: Vec::new(),
            getopts_at: 0,
        };
        shell.set_default("PATH", crate::applets::DEFAULT_SEARCH, false);
        shell.set_default("IFS", " \t\n", false);
        shell.set_default("PS1", "\\w # ", false);
        shell.set_default("PS2", "> ", false);
        shell.set_default("PS4", "+ ", false);
        shell.set_default("OPTIND", "1", false);
        let directory = shell.directory.clone();
        shell.set_default("PWD", &directory, true);
        shell.variables.entry("PWD".to_owned()).and_modify(|pwd| pwd.value = Some(directory));
        shell
    }

    fn set_default(&mut self, name: &str, value: &str, exported: bool) {
        let variable = || Variable { value: Some(value.to_owned()), exported, read_only: false };
        self.variables.entry(name.to_owned()).or_insert_with(variable);
    }

    /// Does what the command line says: the exit code.
    fn start(&mut self, arguments: &[String]) -> u8 {
        let (mut command, mut from_stdin, mut forced) = (false, false, false);
        let mut rest = arguments;
        while let Some(first) = rest.first().filter(|first| first.len() > 1 && first.starts_with(['-', '+'])) {
            rest = &rest[1..];
            if first == "--" {
                break;
            }
            let on = first.starts_with('-');
            for letter in first.chars().skip(1) {
                match letter {
                    'c' => command = true,
                    's' => from_stdin = true,
                    'i' => forced = true,
                    'l' => {}
                    'o' => {
                        let name = rest.first().cloned().unwrap_or_default();
                        rest = rest.get(1..).unwrap_or_default();
                        if !self.options.set_by_name(&name, on) {
                            self.complain(&format!("set: illegal option -o {name}"));
                            return 2;
                        }
                    }
                    letter if self.options.set(letter, on) => {}
                    _ => {
                        self.complain(&format!("illegal option -{letter}"));
                        return 2;
                    }
                }
            }
        }
        let state = self.variables.remove(spawn::STATE).and_then(|state| state.value);
        let flow = self.start_with(command, from_stdin, forced, rest, state);
        self.finish(flow)
    }

    fn start_with(
        &mut self,
        command: bool,
        from_stdin: bool,
        forced: bool,
        rest: &[String],
        state: Option<String>,
    ) -> Result<u8, Flow> {
        if command {
            let Some((text, rest)) = rest.split_first() else {
                self.complain("-c requires an argument");
                return Ok(2);
            };
            if let Some((name, positional)) = rest.split_first() {
                self.name.clone_from(name);
                self.positional = positional.to_vec();
            }
            if let Some(state) = state {
                self.take_over(&state)?;
            }
            return self.run_text(text);
        }
        match rest.split_first() {
            Some((path, positional)) if !from_stdin => {
                self.positional = positional.to_vec();
                self.name.clone_from(path);
                match self.host.open(&self.absolute(path), Access::Read) {
                    Ok(file) => self.run_file(&file),
                    Err(_) => {
                        self.name = "sh".to_owned();
                        self.complain(&format!("can't open '{path}': No such file or directory"));
                        Ok(2)
                    }
                }
            }
            _ => {
                self.positional = rest.to_vec();
                let terminal = self.files[&0].is_terminal();
                self.interactive = forced || terminal;
                if self.interactive { self.converse() } else { self.run_stdin() }
            }
        }
    }

    /// The exit code, after the trap for it.
    fn finish(&mut self, flow: Result<u8, Flow>) -> u8 {
        let mut code = match flow {
            Ok(code) | Err(Flow::Exit(code) | Flow::Return(code) | Flow::Fatal(code)) => code,
            Err(Flow::Break(_) | Flow::Continue(_)) => self.status,
            Err(Flow::Interrupted) => signals::INTERRUPTED,
        };
        if let Some(trap) = self.traps.take_exit() {
            self.status = code;
            if let Err(Flow::Exit(other)) = self.run_text(&trap) {
                code = other;
            }
        }
        self.end_traps();
        code
    }

    /// A copy to change and throw away.
    fn subshell(&self) -> Self {
        let traps = self.traps.of_copy();
        Self { traps, is_copy: true, jobs: Vec::new(), interactive: false, loops: 0, ..self.clone() }
    }

    /// Runs in a copy: its exit code, whatever ended it.
    fn run_as_subshell(&mut self, run: impl FnOnce(&mut Self) -> Result<u8, Flow>) -> u8 {
        let flow = run(self);
        self.finish(flow)
    }

    fn absolute(&self, path: &str) -> String {
        crate::context::absolute(&self.directory, path)
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.host.path(&self.absolute(path))
    }

    fn complain(&self, message: &str) {
        // Nobody is left to hear that this failed.
        let _ = self.files.get(&2).map(|stderr| stderr.write(format!("{}: {message}\n", self.short_name()).as_bytes()));
    }

    /// Writes on standard error, as it is.
    fn tell(&self, text: &str) {
        // Nobody is left to hear that this failed.
        let _ = self.files.get(&2).map(|stderr| stderr.write(text.as_bytes()));
    }

    fn short_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or("sh")
    }

    /// An error that ends a shell that nobody types at.
    fn fatal(&mut self, message: &str) -> Flow {
        self.complain(message);
        Flow::Fatal(2)
    }

    fn get(&self, name: &str) -> Option<String> {
        self.variables.get(name)?.value.clone()
    }

    /// The value of a variable or of a special or positional parameter.
    fn parameter_value(&self, name: &str) -> Option<String> {
        match name {
            "@" | "*" => (!self.positional.is_empty()).then(|| self.positional.join(" ")),
            "#" => Some(self.positional.len().to_string()),
            "?" => Some(self.status.to_string()),
            "$" => Some(self.pid.to_string()),
            "!" => self.last_background.map(|pid| pid.to_string()),
            "-" => Some(self.options.letters(self.interactive)),
            "0" => Some(self.name.clone()),
            "PPID" => {
                let me = self.host.processes().into_iter().find(|process| process.pid == self.pid);
                Some(me.map_or(0, |process| process.parent).to_string())
            }
            "RANDOM" => {
                // Not for secrets: different at each call is all that it promises.
                let nanos = self.host.now().subsec_nanos();
                Some((nanos.wrapping_mul(2_654_435_761) >> 17).to_string())
            }
            _ => match name.parse::<usize>() {
                Ok(number) => self.positional.get(number.checked_sub(1)?).cloned(),
                Err(_) => self.get(name),
            },
        }
    }

    fn assign(&mut self, name: &str, value: &str) -> Result<(), Flow> {
        if self.variables.get(name).is_some_and(|variable| variable.read_only) {
            return Err(self.fatal(&format!("{name}: is read only")));
        }
        if !parser::is_name(name) {
            return Err(self.fatal(&format!("{name}: bad variable name")));
        }
        let exported = self.options.allexport;
        let variable = self.variables.entry(name.to_owned()).or_default();
        variable.value = Some(value.to_owned());
        variable.exported |= exported;
        if name == "OPTIND" {
            self.getopts_at = 0;
        }
        Ok(())
    }

    fn environment(&self) -> Vec<(String, String)> {
        let exported = self.variables.iter().filter(|(_, variable)| variable.exported);
        exported.filter_map(|(name, variable)| Some((name.clone(), variable.value.clone()?))).collect()
    }
}

impl arithmetic::Variables for Shell {
    fn get(&self, name: &str) -> Result<String, String> {
        match self.parameter_value(name) {
            None if self.options.nounset => Err(format!("{name}: parameter not set")),
            value => Ok(value.unwrap_or_default()),
        }
    }

    fn set(&mut self, name: &str, value: i64) -> Result<(), String> {
        if self.variables.get(name).is_some_and(|variable| variable.read_only) {
            return Err(format!("{name}: is read only"));
        }
        self.variables.entry(name.to_owned()).or_default().value = Some(value.to_string());
        Ok(())
    }
}

impl Options {
    fn by_letter(&mut self, letter: char) -> Option<&mut bool> {
        Some(match letter {
            'a' => &mut self.allexport,
            'C' => &mut self.noclobber,
            'e' => &mut self.errexit,
            'f' => &mut self.noglob,
            'n' => &mut self.noexec,
            'u' => &mut self.nounset,
            'v' => &mut self.verbose,
            'x' => &mut self.xtrace,
            _ => return None,
        })
    }

    /// Names by letter; those without a letter have a blank.
    const NAMES: [(&'static str, char); 9] = [
        ("allexport", 'a'),
        ("errexit", 'e'),
        ("noclobber", 'C'),
        ("noexec", 'n'),
        ("noglob", 'f'),
        ("nounset", 'u'),
        ("pipefail", ' '),
        ("verbose", 'v'),
        ("xtrace", 'x'),
    ];

    /// Whether there is such an option.
    fn set(&mut self, letter: char, on: bool) -> bool {
        self.by_letter(letter).map(|option| *option = on).is_some()
    }

    fn set_by_name(&mut self, name: &str, on: bool) -> bool {
        if name == "pipefail" {
            self.pipefail = on;
            return true;
        }
        Self::NAMES.iter().any(|(known, letter)| *known == name && self.set(*letter, on))
    }

    fn letters(&self, interactive: bool) -> String {
        let mut copy = self.clone();
        let on = "aCefnuvx".chars().filter(|letter| copy.by_letter(*letter).is_some_and(|option| *option));
        on.chain(interactive.then_some('i')).collect()
    }
}
