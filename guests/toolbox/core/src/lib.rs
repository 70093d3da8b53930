//! The toolbox: a POSIX-like shell and the tools a person expects beside it,
//! for containers whose image is one program.
//!
//! ```text
//! argv[0] -> applets (table) -> one applet, with a Context
//!                            -> shell: parse -> expand -> run -> Host::spawn
//!                                     Context, shell -> Host (the engine; a fake in tests)
//! ```
//!
//! Reading order: [`host`], `context`, `flags`, `applets`, `shell`.
//!
//! Invariants:
//! - Everything outside enters through [`host::Host`], except files by absolute
//!   path ([`std::fs`]) and sockets ([`std::net`]), which WASI has.
//! - Nothing is global: directory, environment and streams are values in a
//!   `Context`, so that tests run many programs in one process.
//! - It writes what BusyBox writes, where BusyBox and GNU differ.
#![forbid(unsafe_code)]

mod applets;
#[cfg(test)]
mod cases;
mod context;
mod edit;
#[cfg(test)]
mod fake;
mod flags;
pub mod host;
mod shell;
mod time;

pub use applets::{names, run};
pub use context::{Context, Output};
