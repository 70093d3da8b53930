//! The user's terminal: whether there is one, its size, raw mode that is
//! always undone.

use anyhow::{Context, Result};
use rustix::termios::{self, OptionalActions, Termios};
use std::io::IsTerminal;

/// Whether standard input is a terminal.
pub(super) fn is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// Columns and rows; `None` when standard output has none.
pub(super) fn size() -> Option<(u16, u16)> {
    let size = termios::tcgetwinsize(std::io::stdout()).or_else(|_| termios::tcgetwinsize(std::io::stdin())).ok()?;
    Some((size.ws_col, size.ws_row))
}

/// Raw mode: keys go to the program as they are pressed. Dropping it brings
/// the earlier mode back, also when a panic unwinds.
pub(super) struct RawMode {
    earlier: Termios,
}

impl RawMode {
    /// # Errors
    /// Standard input is no terminal.
    pub(super) fn enter() -> Result<Self> {
        let earlier = termios::tcgetattr(std::io::stdin()).context("read the terminal's mode")?;
        let mut raw = earlier.clone();
        raw.make_raw();
        termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).context("set the terminal's mode")?;
        Ok(Self { earlier })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Nothing helps when the terminal is gone.
        let _ = termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &self.earlier);
    }
}
