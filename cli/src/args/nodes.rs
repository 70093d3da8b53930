//! What was typed for commands about nodes.
#![allow(rustdoc::broken_intra_doc_links, reason = "clap prints these comments as they are")]

use super::{Change, DryRun};
use clap::Args as ClapArgs;

/// `wk cordon`, `wk uncordon`
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Cordon {
    /// Names of nodes
    pub nodes: Vec<String>,
    /// Nodes with these labels
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// none, client or server
    #[arg(
        long,
        value_enum,
        default_value = "none",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "client"
    )]
    pub dry_run: DryRun,
}

/// `wk drain`
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Drain {
    /// Which nodes
    #[command(flatten)]
    pub cordon: Cordon,
    /// Leave pods of DaemonSets where they are
    #[arg(long)]
    pub ignore_daemonsets: bool,
    /// Go on when pods lose the data of their emptyDir volumes
    #[arg(long)]
    pub delete_emptydir_data: bool,
    /// Go on when pods have no controller that would replace them
    #[arg(long)]
    pub force: bool,
    /// Seconds that each pod gets to end; -1 for its own
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    pub grace_period: i64,
    /// How long it may take; 0s for as long as it takes
    #[arg(long, default_value = "0s", value_name = "DURATION")]
    pub timeout: String,
    /// Delete in place of evicting: disruption budgets do not count
    #[arg(long)]
    pub disable_eviction: bool,
    /// Only pods with these labels
    #[arg(long, value_name = "SELECTOR")]
    pub pod_selector: Option<String>,
    /// Do not wait for pods that have been ending for longer than this; 0 to wait for all
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub skip_wait_for_delete_timeout: i64,
    /// Pods per request of a list
    #[arg(long, default_value_t = 500)]
    pub chunk_size: u32,
}

/// `wk taint`
#[derive(Debug, ClapArgs)]
pub struct Taint {
    /// nodes NAME..., then KEY=VALUE:EFFECT, KEY:EFFECT, KEY:EFFECT- or KEY-
    pub words: Vec<String>,
    /// Nodes with these labels
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// Every node
    #[arg(long)]
    pub all: bool,
    /// Change values that exist
    #[arg(long)]
    pub overwrite: bool,
    /// How
    #[command(flatten)]
    pub change: Change,
}
