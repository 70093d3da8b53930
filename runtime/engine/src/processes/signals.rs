//! What signals do to a process. Pure; `mod.rs` waits for its changes.
//!
//! ```text
//! send ─▶ default: fatal (the process's task ends it), or nothing
//!         ignored: nothing
//!         caught:  kept until the process asks: wasm has no handlers
//! ```

/// Signals up to this one exist (`SIGRTMAX`).
pub(crate) const SIGNAL_MAX: u8 = 64;

/// Signals that do nothing by default: SIGCHLD, SIGCONT, SIGURG and SIGWINCH, and
/// the stopping ones, since a wasm program cannot be stopped.
const HARMLESS: [i32; 8] = [
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGURG,
    libc::SIGWINCH,
    libc::SIGSTOP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// What a process wants of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// What Linux does by default.
    Default,
    /// Nothing.
    Ignore,
    /// To be told, when it asks.
    Catch,
}

/// A set of signals; number n is bit n - 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Set(u64);

impl Set {
    fn bit(signal: u8) -> u64 {
        1_u64.checked_shl(u32::from(signal).wrapping_sub(1)).unwrap_or(0)
    }

    fn has(self, signal: u8) -> bool {
        self.0 & Self::bit(signal) != 0
    }

    fn put(&mut self, signal: u8, member: bool) {
        let bit = Self::bit(signal);
        self.0 = if member { self.0 | bit } else { self.0 & !bit };
    }
}

/// A process's signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signals {
    ignored: Set,
    catching: Set,
    caught: Set,
    fatal: Option<u8>,
}

impl Signals {
    /// Of a process that this one starts: what is ignored stays so.
    pub fn inherited(&self) -> Self {
        Self { ignored: self.ignored, ..Self::default() }
    }

    /// Sets what a signal does; false for those that always do the same. What was
    /// caught and not asked for is forgotten.
    pub fn set_action(&mut self, signal: u8, action: Action) -> bool {
        if signal == 0 || signal > SIGNAL_MAX || [libc::SIGKILL, libc::SIGSTOP].contains(&i32::from(signal)) {
            return false;
        }
        self.ignored.put(signal, action == Action::Ignore);
        self.catching.put(signal, action == Action::Catch);
        if action != Action::Catch {
            self.caught.put(signal, false);
        }
        true
    }

    /// Whether the process wants to be told of it.
    pub fn catches(&self, signal: u8) -> bool {
        self.catching.has(signal)
    }

    /// A signal comes. Of those that end the process the first counts.
    pub fn send(&mut self, signal: u8) {
        if self.catching.has(signal) {
            self.caught.put(signal, true);
        } else if !self.ignored.has(signal) && !HARMLESS.contains(&i32::from(signal)) {
            self.fatal.get_or_insert(signal);
        }
    }

    /// The one that ends the process.
    pub fn fatal(&self) -> Option<u8> {
        self.fatal
    }

    /// Whether there are some to ask for.
    pub fn any_caught(&self) -> bool {
        self.caught != Set::default()
    }

    /// What was caught, once; number n is bit n - 1.
    pub fn take_caught(&mut self) -> u64 {
        std::mem::take(&mut self.caught).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INT: u8 = 2;
    const KILL: u8 = 9;
    const CHLD: u8 = 17;

    #[test]
    fn a_signal_does_what_the_process_wants() {
        let mut signals = Signals::default();
        signals.send(CHLD);
        assert_eq!(signals, Signals::default());
        assert!(signals.set_action(INT, Action::Ignore));
        signals.send(INT);
        assert_eq!((signals.fatal(), signals.any_caught()), (None, false));
        assert!(signals.set_action(INT, Action::Catch) && signals.set_action(CHLD, Action::Catch));
        signals.send(INT);
        signals.send(INT);
        signals.send(CHLD);
        assert_eq!((signals.fatal(), signals.take_caught(), signals.take_caught()), (None, 1 << 1 | 1 << 16, 0));
        assert!(signals.set_action(INT, Action::Default));
        signals.send(INT);
        signals.send(15);
        assert_eq!(signals.fatal(), Some(INT), "the first counts");
    }

    #[test]
    fn some_signals_cannot_be_caught() {
        let mut signals = Signals::default();
        for signal in [0, KILL, 19, 65, 255] {
            assert!(!signals.set_action(signal, Action::Catch), "{signal}");
        }
        signals.send(KILL);
        assert_eq!(signals.fatal(), Some(KILL));
        assert!(signals.set_action(SIGNAL_MAX, Action::Catch));
        signals.send(SIGNAL_MAX);
        assert_eq!(signals.take_caught(), 1 << 63);
    }

    #[test]
    fn a_child_ignores_what_its_parent_does_and_catches_nothing() {
        let mut parent = Signals::default();
        parent.set_action(INT, Action::Ignore);
        parent.set_action(15, Action::Catch);
        let mut child = parent.inherited();
        child.send(INT);
        child.send(15);
        assert_eq!(child.fatal(), Some(15));
    }
}
