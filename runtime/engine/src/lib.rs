//! The container runtime contract, implemented with wasmtime.
//!
//! A sandbox is an address on the pod network; a container is a wasm program
//! with a root directory, an environment, limits and a log. The kubelet drives
//! [`WasmRuntime`] through the traits of `wk-cri`; the composition root makes it.
//! It does not know Kubernetes: it can be run and tested without a cluster.
//!
//! ```text
//! image (wk-images) ─▶ compile: machine code, cached on disk ─▶ linker: ready to instantiate
//!                                                                    │ start
//! sandbox: PodPort (wk-network) ──▶ host: what the guest sees ──▶ run: one instance to its end
//! rootfs: directories and mounts ──▶          ▲                      │ metered, limited, yielding
//! logs ◀── stdio ─────────────────────────────┘                      ▼
//!                                        container: Created → Running → Exited
//! ```
//!
//! Reading order: [`runtime`], `state`, `sandbox`, `container`, `rootfs`, [`programs`],
//! [`compiler`], `code_file`, `toolbox`, `linker`, `host`, `sockets`, `run`, `limits`, `cpu`, `epoch`, `files`, `stdio`, `logs`,
//! `processes`, `terminal`, `exec`, `image_service`.
//!
//! Shared by all containers: the engine, its epoch ticker, compiled programs, the
//! thread that writes logs. Everything else belongs to one container.
//!
//! Invariants: a guest never holds a thread for more than an epoch; compiled
//! code is loaded only from our own cache; one task owns a running container and
//! is the only one to write its end; nothing a guest does panics the process.
#![deny(unsafe_code)]

mod code_file;
pub mod compiler;
mod container;
mod cpu;
mod epoch;
mod exec;
mod files;
mod host;
mod image_service;
mod limits;
mod linker;
mod logs;
mod processes;
pub mod programs;
mod rootfs;
mod run;
pub mod runtime;
mod sandbox;
mod sockets;
mod state;
mod stdio;
mod terminal;
#[cfg(test)]
mod tests;
mod toolbox;

pub use compiler::Compiler;
pub use limits::Limits;
pub use programs::Programs;
pub use runtime::{Config, WasmRuntime};
pub use toolbox::Toolbox;
