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
//! | [`mod@cron_job`] | CronJobs, Jobs | Jobs, CronJob status |
//! | [`mod@daemon_set`] | DaemonSets, pods, nodes, ControllerRevisions | pods, ControllerRevisions, DaemonSet status |
//! | [`mod@deployment`] | Deployments, ReplicaSets, pods | ReplicaSets, Deployment status |
//! | [`mod@disruption`] | PodDisruptionBudgets, pods and what owns them | PodDisruptionBudget status |
//! | [`mod@endpoint_slice`] | Services, pods, nodes, EndpointSlices | EndpointSlices |
//! | [`mod@endpoints`] | Services, pods, Endpoints | Endpoints |
//! | [`mod@garbage_collector`] | the metadata of everything | deletions, owner references, finalizers |
//! | [`mod@job`] | Jobs, pods | pods, Job status |
//! | [`mod@namespace`] | namespaces, pods | deletions, namespace conditions and finalizers |
//! | [`mod@node_ipam`] | nodes | node pod addresses |
//! | [`mod@node_lifecycle`] | nodes, leases, pods | node conditions and taints, pod readiness |
//! | [`mod@pod_gc`] | nodes, pods | pod deletions |
//! | [`mod@replica_set`] | ReplicaSets, pods | pods, ReplicaSet status |
//! | [`mod@root_ca`] | namespaces, its ConfigMaps | ConfigMaps |
//! | [`mod@service_account`] | namespaces, ServiceAccounts | ServiceAccounts |
//! | [`mod@stateful_set`] | StatefulSets, pods, ControllerRevisions | pods, ControllerRevisions, StatefulSet status |
//! | [`mod@taint_eviction`] | nodes, pods | pod deletions |
//! | [`mod@ttl_after_finished`] | Jobs | Job deletions |
//! | [`mod@volume_protection`] | PersistentVolumeClaims, pods, PersistentVolumes | their finalizers |
//!
//! Reading order: `runner`, `replica_set`, `deployment`, the rest in any order.
//!
//! Invariants: controllers speak only through `kube::Client`; a plan never
//! assumes that the cache holds what this process has just written.
#![forbid(unsafe_code)]

mod cluster_role_aggregation;
mod cron_job;
mod daemon_set;
mod deployment;
mod discovery;
mod disruption;
mod endpoint_slice;
mod endpoints;
mod garbage_collector;
mod hash;
mod history;
mod job;
mod namespace;
mod node;
mod node_ipam;
mod node_lifecycle;
mod ownership;
mod pod;
mod pod_control;
mod pod_gc;
mod pod_owner;
mod replica_set;
mod root_ca;
mod runner;
mod scaled;
mod service_account;
mod service_endpoints;
mod set;
mod stateful_set;
mod taint_eviction;
mod ttl_after_finished;
mod volume_protection;

pub use runner::Error;
pub use set::{ControllerSet, UnknownController};

use ipnet::Ipv4Net;
use runner::Runner;
use std::time::Duration;
use wk_platform::{Clock, Entropy, TaskGroup};

/// How long a node may be silent before it is Unknown (upstream's default of
/// `--node-monitor-grace-period`).
pub const NODE_GRACE: Duration = Duration::from_secs(50);

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
    /// How long a node may be silent; [`NODE_GRACE`] unless there is a reason.
    pub node_grace: Duration,
    /// What nodes get their pod addresses from; without it somebody else gives them.
    pub pod_cidr: Option<Ipv4Net>,
}

/// Starts the controllers; they run until `tasks` stops. Call it inside a
/// tokio runtime. An API server that is not there yet is waited for.
pub fn run(config: Config, tasks: TaskGroup) {
    let Config { client, clock, entropy, enabled, root_ca_pem, node_grace, pod_cidr } = config;
    let mut runner = Runner::new(client, clock, entropy, tasks);
    type Register = fn(&mut Runner);
    let table: &[(&str, Register)] = &[
        ("clusterrole-aggregation-controller", cluster_role_aggregation::register),
        ("cronjob-controller", cron_job::register),
        ("daemonset-controller", daemon_set::register),
        ("deployment-controller", deployment::register),
        ("disruption-controller", disruption::register),
        ("endpoints-controller", endpoints::register),
        ("endpointslice-controller", endpoint_slice::register),
        ("garbage-collector-controller", garbage_collector::register),
        ("job-controller", job::register),
        ("namespace-controller", namespace::register),
        ("persistentvolume-protection-controller", volume_protection::register_volumes),
        ("persistentvolumeclaim-protection-controller", volume_protection::register_claims),
        ("pod-garbage-collector-controller", pod_gc::register),
        ("replicaset-controller", replica_set::register),
        ("serviceaccount-controller", service_account::register),
        ("statefulset-controller", stateful_set::register),
        ("taint-eviction-controller", taint_eviction::register),
        ("ttl-after-finished-controller", ttl_after_finished::register),
    ];
    for (name, register) in table {
        if enabled.contains(name) {
            register(&mut runner);
        }
    }
    if let Some(pem) = root_ca_pem.filter(|_| enabled.contains("root-ca-certificate-publisher-controller")) {
        root_ca::register(&mut runner, pem);
    }
    if enabled.contains("node-lifecycle-controller") {
        node_lifecycle::register(&mut runner, node_grace);
    }
    if let Some(cluster) = pod_cidr.filter(|_| enabled.contains("node-ipam-controller")) {
        node_ipam::register(&mut runner, cluster);
    }
    runner.start();
}

#[cfg(test)]
mod tests;
