//! The reconcile loops: what is declared, made so.
//!
//! ```text
//!   watch ──▶ Cache ──▶ handlers ──▶ Queue ──▶ worker ──▶ plan (pure) ──▶ kube::Client
//!               ▲                                │
//!               └────────── read ────────────────┘
//! ```
//!
//! | Controller | watches | writes |
//! |---|---|---|
//! | [`mod@deployment`] | Deployments, ReplicaSets, pods | ReplicaSets, Deployment status |
//! | [`mod@replica_set`] | ReplicaSets, pods | pods, ReplicaSet status |
//!
//! Reading order: `runner`, `replica_set`, `deployment`, the rest in any order.
//!
//! Invariants: controllers speak only through `kube::Client`; a plan never
//! assumes that the cache holds what this process has just written.
#![forbid(unsafe_code)]

mod deployment;
mod ownership;
mod pod;
mod replica_set;
mod runner;
mod set;

pub use runner::Error;
pub use set::{ControllerSet, UnknownController};

use runner::Runner;
use wk_platform::{Clock, Entropy, TaskGroup};

/// What the controllers are given.
pub struct Config {
    /// Where everything is read and written.
    pub client: kube::Client,
    /// For timestamps in objects.
    pub clock: Clock,
    /// For generated names and jitter.
    pub entropy: Entropy,
    /// Which controllers run.
    pub enabled: ControllerSet,
}

/// Starts the controllers; they run until `tasks` stops. Call it inside a
/// tokio runtime. An API server that is not there yet is waited for.
pub fn run(config: Config, tasks: TaskGroup) {
    let Config { client, clock, entropy, enabled } = config;
    let mut runner = Runner::new(client, clock, entropy, tasks);
    type Register = fn(&mut Runner);
    let table: [(&str, Register); 2] =
        [("deployment-controller", deployment::register), ("replicaset-controller", replica_set::register)];
    for (name, register) in table {
        if enabled.contains(name) {
            register(&mut runner);
        }
    }
    runner.start();
}
