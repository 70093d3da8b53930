//! What was typed after `apply`.
#![allow(rustdoc::broken_intra_doc_links, reason = "clap prints these comments as they are")]

use super::{Change, Choice, Files, Validate};
use clap::{ArgAction, Args as ClapArgs, Subcommand};

/// `wk apply`
#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Apply {
    /// About what was applied before
    #[command(subcommand)]
    pub command: Option<ApplyCommand>,
    /// Manifests
    #[command(flatten)]
    pub files: Files,
    /// How
    #[command(flatten)]
    pub change: Change,
    /// How strictly
    #[command(flatten)]
    pub validate: Validate,
    /// Let the server merge, and refuse to take over fields that others manage
    #[arg(long)]
    pub server_side: bool,
    /// With --server-side: take them over all the same
    #[arg(long, requires = "server_side")]
    pub force_conflicts: bool,
    /// Delete and create what cannot be changed
    #[arg(long)]
    pub force: bool,
    /// Change fields back that others have changed
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub overwrite: bool,
    /// Only manifests with these labels
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// Delete what was applied earlier and is in no manifest any more; with -l or --all
    #[arg(long)]
    pub prune: bool,
    /// With --prune: whatever its labels
    #[arg(long)]
    pub all: bool,
    /// With --prune: only these kinds, as GROUP/VERSION/KIND; may be repeated
    #[arg(long, value_name = "GROUP/VERSION/KIND")]
    pub prune_allowlist: Vec<String>,
    /// With --prune and --force: background, foreground or orphan
    #[arg(long, default_value = "background")]
    pub cascade: String,
    /// With --prune and --force: seconds that a pod gets to end; -1 for its own
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    pub grace_period: i64,
    /// With --force: how long to wait until the old objects are gone; 0s for as long as it takes
    #[arg(long, default_value = "0s", value_name = "DURATION")]
    pub timeout: String,
    /// With --server-side: apply to this subresource
    #[arg(long, value_name = "NAME")]
    pub subresource: Option<String>,
}

/// What was applied before.
#[derive(Debug, Subcommand)]
pub enum ApplyCommand {
    /// Show the manifest that was applied last
    ViewLastApplied(ViewLastApplied),
    /// Make files count as applied last, without applying them
    SetLastApplied(SetLastApplied),
    /// Edit what counts as applied last
    EditLastApplied(EditLastApplied),
}

/// `wk apply view-last-applied`
#[derive(Debug, ClapArgs)]
pub struct ViewLastApplied {
    /// Which
    #[command(flatten)]
    pub choice: Choice,
    /// Output format: yaml or json
    #[arg(short, long, default_value = "yaml")]
    pub output: String,
}

/// `wk apply set-last-applied`
#[derive(Debug, ClapArgs)]
pub struct SetLastApplied {
    /// Manifests
    #[command(flatten)]
    pub files: Files,
    /// How
    #[command(flatten)]
    pub change: Change,
    /// Also for objects that nothing was applied to
    #[arg(long)]
    pub create_annotation: bool,
}

/// `wk apply edit-last-applied`
#[derive(Debug, ClapArgs)]
pub struct EditLastApplied {
    /// Which
    #[command(flatten)]
    pub choice: Choice,
    /// Output format: yaml or json
    #[arg(short, long)]
    pub output: Option<String>,
    /// Name under which the fields are managed
    #[arg(long, default_value = "kubectl-client-side-apply", value_name = "NAME")]
    pub field_manager: String,
    /// How strictly
    #[command(flatten)]
    pub validate: Validate,
}
