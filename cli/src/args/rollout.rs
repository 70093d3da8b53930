//! What was typed after `rollout`.
#![allow(rustdoc::broken_intra_doc_links, reason = "clap prints these comments as they are")]

use super::{Change, Choice};
use clap::{Args as ClapArgs, Subcommand};

/// `wk rollout`
#[derive(Debug, Subcommand)]
pub enum Rollout {
    /// Follow a rollout to its end
    Status(RolloutStatus),
    /// Show earlier revisions
    History(RolloutHistory),
    /// Go back to an earlier revision
    Undo(RolloutUndo),
    /// Replace every pod
    Restart(RolloutChange),
    /// Let changes wait
    Pause(RolloutChange),
    /// Roll waiting changes out
    Resume(RolloutChange),
}

/// `wk rollout restart|pause|resume`
#[derive(Debug, ClapArgs)]
pub struct RolloutChange {
    /// Which
    #[command(flatten)]
    pub choice: Choice,
    /// How
    #[command(flatten)]
    pub change: Change,
}

/// `wk rollout status`
#[derive(Debug, ClapArgs)]
pub struct RolloutStatus {
    /// Which
    #[command(flatten)]
    pub choice: Choice,
    /// Follow it to its end
    #[arg(short, long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub watch: bool,
    /// Fail when another revision runs; 0 for any
    #[arg(long, default_value_t = 0)]
    pub revision: i64,
    /// How long to follow; 0s for as long as it takes
    #[arg(long, default_value = "0s", value_name = "DURATION")]
    pub timeout: String,
}

/// `wk rollout history`
#[derive(Debug, ClapArgs)]
pub struct RolloutHistory {
    /// Which
    #[command(flatten)]
    pub choice: Choice,
    /// Show this revision in detail
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    pub revision: i64,
    /// Output format: name, json, yaml
    #[arg(short, long)]
    pub output: Option<String>,
}

/// `wk rollout undo`
#[derive(Debug, ClapArgs)]
pub struct RolloutUndo {
    /// Which
    #[command(flatten)]
    pub choice: Choice,
    /// How
    #[command(flatten)]
    pub change: Change,
    /// The revision to go back to; 0 for the one before
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    pub to_revision: i64,
}
