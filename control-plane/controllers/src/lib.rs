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
//! | [`mod@garbage_collector`] | the metadata of everything | deletions, owner references, finalizers |
//! | [`mod@namespace`] | namespaces, pods | deletions, namespace conditions and finalizers |
//! | [`mod@replica_set`] | ReplicaSets, pods | pods, ReplicaSet status |
//! | [`mod@root_ca`] | namespaces, its ConfigMaps | ConfigMaps |
//! | [`mod@service_account`] | namespaces, ServiceAccounts | ServiceAccounts |
//!
//! Reading order: `runner`, `replica_set`, `deployment`, the rest in any order.
//!
//! Invariants: controllers speak only through `kube::Client`; a plan never
//! assumes that the cache holds what this process has just written.
#![forbid(unsafe_code)]

mod deployment;
mod discovery;
mod garbage_collector;
mod namespace;
mod ownership;
mod pod;
mod replica_set;
mod root_ca;
mod runner;
mod service_account;
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
    /// The certificate published in every namespace; without it none is.
    pub root_ca_pem: Option<String>,
}

/// Starts the controllers; they run until `tasks` stops. Call it inside a
/// tokio runtime. An API server that is not there yet is waited for.
pub fn run(config: Config, tasks: TaskGroup) {
    let Config { client, clock, entropy, enabled, root_ca_pem } = config;
    let mut runner = Runner::new(client, clock, entropy, tasks);
    type Register = fn(&mut Runner);
    let table: &[(&str, Register)] = &[
        ("deployment-controller", deployment::register),
        ("garbage-collector-controller", garbage_collector::register),
        ("namespace-controller", namespace::register),
        ("replicaset-controller", replica_set::register),
        ("serviceaccount-controller", service_account::register),
    ];
    for (name, register) in table {
        if enabled.contains(name) {
            register(&mut runner);
        }
    }
    if let Some(pem) = root_ca_pem.filter(|_| enabled.contains("root-ca-certificate-publisher-controller")) {
        root_ca::register(&mut runner, pem);
    }
    runner.start();
}
