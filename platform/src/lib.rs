//! The outside world: time, randomness, tasks, connections.
//!
//! Everything a part of `wk` needs from the process around it comes through
//! here, so that a whole cluster can also run deterministically in one thread
//! with virtual time. Called by every crate; calls no other crate of ours.
//!
//! ```text
//!   listen (TCP, in-memory pipe) ──▶ serve (TLS, hyper, upgrades) ──▶ HttpService
//!                                                                        ▲
//!   kube::Client ◀── in_process (a request is a call, an upgrade a pipe) ─┘
//! ```
//!
//! Reading order: [`clock`], [`entropy`], [`tasks`], [`runtimes`], [`identity`],
//! [`http`], [`listen`], [`serve`], [`in_process`].
//!
//! Invariants: no other crate reads the wall clock, draws randomness, spawns a
//! task or binds a listener (clippy bans the functions elsewhere).
#![forbid(unsafe_code)]

pub mod clock;
pub mod entropy;
pub mod http;
pub mod identity;
pub mod in_process;
pub mod listen;
pub mod runtimes;
pub mod serve;
pub mod tasks;

pub use clock::Clock;
pub use entropy::Entropy;
pub use identity::UserInfo;
pub use tasks::TaskGroup;
