//! The control socket of a running server: what is not the Kubernetes API.
//!
//! `wk server` listens on `<data-dir>/control.sock`, which its owner alone may
//! open, and speaks HTTP with JSON there: containers as the runtimes see them,
//! the state of the process, snapshots, the power of nodes. It is to `wk` what `containerd.sock` is to
//! `crictl`; the API server and the controllers are not involved.
//!
//! ```text
//!   wk ctr, node, status, up, down, snapshot ─▶ client ── control.sock ──▶ server ─▶ runtimes, store
//!                                          └── server.lock: whether a server runs, and its process
//! ```
//!
//! Reading order: [`protocol`], [`server`], `snapshots`, [`client`], [`lock`].

pub mod client;
pub mod lock;
pub mod protocol;
pub mod server;
mod snapshots;

/// The socket's name in the data directory.
pub const SOCKET: &str = "control.sock";
