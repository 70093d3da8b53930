//! Signals: `trap`, and ^C at an interactive shell.
//!
//! Wasm has no handlers. The host keeps the signals that this process catches, and
//! the shell asks for them after each command ([`Shell::run_traps`]); what waits
//! (`read`, `wait`, the prompt) ends when one comes.
//!
//! ```text
//! trap set        the trap's command is run
//! interactive     ^C unwinds to the prompt (Flow::Interrupted)
//! in a copy       ^C ends the copy with 130, and goes on to the shell around it
//! ```

use super::{Flow, Shell, run::quote};
use crate::{
    applets::{signal, signal_name},
    host::{Action, End, Host},
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

type Ran = Result<u8, Flow>;

const INT: u8 = 2;
const QUIT: u8 = 3;
const TERM: u8 = 15;

/// The status after ^C.
pub const INTERRUPTED: u8 = 128 + INT;

/// The shell's own end, among the signals of `trap`.
const EXIT: u8 = 0;

/// The signals of this process, for all copies of its shell.
pub struct Signals {
    host: Rc<dyn Host>,
    /// What the process does, where that is not the default.
    actions: RefCell<BTreeMap<u8, Action>>,
    /// Caught and not done with: number n is bit n - 1.
    caught: Cell<u64>,
}

fn bit(signal: u8) -> u64 {
    1 << (u32::from(signal) - 1)
}

impl Signals {
    pub fn new(host: &Rc<dyn Host>) -> Self {
        Self { host: Rc::clone(host), actions: RefCell::default(), caught: Cell::new(0) }
    }

    fn action(&self, signal: u8) -> Action {
        self.actions.borrow().get(&signal).copied().unwrap_or(Action::Default)
    }

    fn set_action(&self, signal: u8, action: Action) {
        // SIGKILL and SIGSTOP take none, silently.
        if self.action(signal) != action && self.host.set_action(signal, action).is_ok() {
            self.actions.borrow_mut().insert(signal, action);
        }
    }

    /// Those that are caught and not done with.
    fn pending(&self) -> u64 {
        self.caught.set(self.caught.get() | self.host.caught_signals());
        self.caught.get()
    }

    fn forget(&self, signal: u8) {
        self.caught.set(self.caught.get() & !bit(signal));
    }

    /// While an interactive shell waits for a job, ^C is the job's: it is the
    /// shell's, too, if it ended the job.
    pub fn job_ended(&self, interactive: bool, end: End) {
        if interactive && self.pending() & bit(INT) != 0 && end != End::Signalled(INT) {
            self.forget(INT);
        }
    }
}

/// What `trap` has set.
#[derive(Clone, Default)]
pub struct Traps {
    /// By signal. Empty ones ignore it.
    commands: BTreeMap<u8, String>,
    /// They are of the shell around this copy: shown until one is set, and not run.
    foreign: bool,
    /// A trap's command is being run; what comes meanwhile waits.
    running: bool,
    /// What to put back when this copy ends.
    before: Vec<(u8, Action)>,
}

impl Traps {
    pub fn of_copy(&self) -> Self {
        Self { foreign: true, before: Vec::new(), ..self.clone() }
    }

    pub fn take_exit(&mut self) -> Option<String> {
        if self.foreign { None } else { self.commands.remove(&EXIT) }
    }

    /// What is to be run for a signal.
    fn command(&self, signal: u8) -> Option<String> {
        if self.foreign { None } else { self.commands.get(&signal).cloned() }
    }

    fn set(&mut self, signal: u8, command: Option<&str>) {
        if std::mem::take(&mut self.foreign) {
            self.commands.retain(|_, command| command.is_empty());
        }
        match command {
            Some(command) => drop(self.commands.insert(signal, command.to_owned())),
            None => drop(self.commands.remove(&signal)),
        }
    }
}

impl Shell {
    /// From now on a person types, whom ^C does not throw out.
    pub(super) fn begin_conversation(&mut self) {
        for signal in [INT, QUIT, TERM] {
            self.signals.set_action(signal, self.default_action(signal));
        }
    }

    fn default_action(&self, signal: u8) -> Action {
        match signal {
            // Caught and forgotten, not ignored: what it starts would inherit that, and a `kill`
            // of a job would do nothing.
            INT | QUIT | TERM if self.interactive => Action::Catch,
            _ => Action::Default,
        }
    }

    /// Does what caught signals ask for, after a command that ended with `code`.
    pub(super) fn run_traps(&mut self, code: u8) -> Result<(), Flow> {
        let pending = self.signals.pending();
        if pending == 0 {
            return Ok(());
        }
        for signal in (1..=64).filter(|signal| pending & bit(*signal) != 0) {
            match self.traps.command(signal) {
                Some(_) if self.traps.running => {}
                Some(command) => self.run_trap(signal, &command, code)?,
                None if signal == INT && self.interactive => return Err(Flow::Interrupted),
                // ^C and ^\ were for this copy too; other signals are for the shell itself.
                None if self.is_copy && matches!(signal, INT | QUIT) => return Err(Flow::Exit(128 + signal)),
                None if self.is_copy => {}
                None => self.signals.forget(signal),
            }
        }
        Ok(())
    }

    fn run_trap(&mut self, signal: u8, command: &str, code: u8) -> Result<(), Flow> {
        self.signals.forget(signal);
        self.status = code;
        self.traps.running = true;
        let result = self.run_text(command);
        self.traps.running = false;
        self.status = code;
        result.map(drop)
    }

    /// The status of `wait` that a signal ended: of the first with a trap.
    pub(super) fn wait_interrupted(&self) -> Ran {
        let pending = self.signals.pending();
        let first = (1..=64).find(|signal| pending & bit(*signal) != 0);
        Ok(128 + first.unwrap_or(INT))
    }

    /// ^C was heard.
    pub(super) fn forget_interrupt(&self) {
        for signal in [INT, QUIT, TERM] {
            if self.traps.command(signal).is_none() {
                self.signals.pending();
                self.signals.forget(signal);
            }
        }
    }

    /// A copy is over: signals do again what they did.
    pub(super) fn end_traps(&mut self) {
        for (signal, action) in std::mem::take(&mut self.traps.before).into_iter().rev() {
            self.signals.set_action(signal, action);
        }
    }

    /// `exec` runs a program in place of the shell: what is caught has its default action.
    pub(super) fn drop_traps(&mut self) {
        for signal in self.traps.commands.keys().copied().filter(|signal| *signal != EXIT) {
            if self.signals.action(signal) == Action::Catch {
                self.signals.set_action(signal, Action::Default);
            }
        }
        self.traps.commands.clear();
    }

    fn set_trap(&mut self, signal: u8, command: Option<&str>) {
        self.traps.set(signal, command);
        if signal == EXIT {
            return;
        }
        let before = self.signals.action(signal);
        let action = match command {
            Some("") => Action::Ignore,
            Some(_) => Action::Catch,
            // What the shell around this copy catches must still be caught.
            None if self.is_copy && before == Action::Catch => before,
            None => self.default_action(signal),
        };
        if self.is_copy && action != before {
            self.traps.before.push((signal, before));
        }
        self.signals.set_action(signal, action);
    }
}

pub fn trap(shell: &mut Shell, fields: &[String]) -> Ran {
    let arguments = match fields.get(1).map(String::as_str) {
        Some("--") => &fields[2..],
        _ => &fields[1..],
    };
    let Some((action, signals)) = arguments.split_first() else {
        for (signal, command) in shell.traps.commands.clone() {
            shell.print(&format!("trap -- {} {}\n", quote(&command), name(signal)))?;
        }
        return Ok(0);
    };
    // One argument alone is a signal to reset; so are numbers.
    let resets = signals.is_empty() || action.parse::<u8>().is_ok();
    let (command, signals) = if resets { (None, arguments) } else { (Some(action.as_str()), signals) };
    let command = command.filter(|command| *command != "-");
    for text in signals {
        match if text.eq_ignore_ascii_case("EXIT") { Some(EXIT) } else { signal(text) } {
            Some(signal) => shell.set_trap(signal, command),
            None => {
                shell.complain(&format!("trap: {text}: invalid signal specification"));
                return Ok(1);
            }
        }
    }
    Ok(0)
}

fn name(signal: u8) -> String {
    if signal == EXIT { "EXIT".to_owned() } else { signal_name(signal) }
}
