//! What was typed after `debug`.
#![allow(rustdoc::broken_intra_doc_links, reason = "clap prints these comments as they are")]

use super::Files;
use clap::{ArgAction, Args as ClapArgs, ValueEnum};

/// `wk debug`
#[derive(Debug, ClapArgs)]
pub struct Debug {
    /// POD or TYPE/NAME
    #[arg(value_name = "TARGET")]
    pub pods: Vec<String>,
    /// Manifests that name the pods
    #[command(flatten)]
    pub files: Files,
    /// Image of the container to debug with
    #[arg(long)]
    pub image: Option<String>,
    /// Name of the container to debug with [default: debugger-XXXXX]
    #[arg(short, long)]
    pub container: Option<String>,
    /// The container that is looked into
    #[arg(long, value_name = "CONTAINER")]
    pub target: Option<String>,
    /// Keep the container's standard input open, and write to it
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Give the container a terminal
    #[arg(short = 't', long)]
    pub tty: bool,
    /// Join the container's streams when it runs [default: with --stdin]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub attach: Option<bool>,
    /// NAME=VALUE; may be repeated
    #[arg(long)]
    pub env: Vec<String>,
    /// Always, IfNotPresent or Never
    #[arg(long, default_value = "")]
    pub image_pull_policy: String,
    /// The words after -- are the container's arguments, not its command
    #[arg(long)]
    pub arguments_only: bool,
    /// What the container may do beyond others
    #[arg(long, value_enum, default_value = "legacy")]
    pub profile: Profile,
    /// Do not say what is going on
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// How a copy is made
    #[command(flatten)]
    pub copy: DebugCopy,
    /// Command of the container
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// `wk debug --copy-to`
#[derive(Debug, ClapArgs)]
pub struct DebugCopy {
    /// Debug a copy of the pod with this name
    #[arg(long, value_name = "NAME")]
    pub copy_to: Option<String>,
    /// With --copy-to: delete the original
    #[arg(long)]
    pub replace: bool,
    /// With --copy-to: run on the same node
    #[arg(long)]
    pub same_node: bool,
    /// With --copy-to: CONTAINER=IMAGE, or *=IMAGE for all; may be repeated
    #[arg(long, value_delimiter = ',', value_name = "CONTAINER=IMAGE")]
    pub set_image: Vec<String>,
    /// With --copy-to: let the containers of the copy see each other's processes
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub share_processes: Option<bool>,
    /// With --copy-to: keep the labels
    #[arg(long)]
    pub keep_labels: bool,
    /// With --copy-to: keep the annotations
    #[arg(long)]
    pub keep_annotations: bool,
    /// With --copy-to: keep the liveness probes
    #[arg(long)]
    pub keep_liveness: bool,
    /// With --copy-to: keep the readiness probes
    #[arg(long)]
    pub keep_readiness: bool,
    /// With --copy-to: keep the startup probes
    #[arg(long)]
    pub keep_startup: bool,
    /// With --copy-to: run the init containers
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub keep_init_containers: bool,
}

/// `--profile`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// As kubectl 1.23
    Legacy,
    /// May trace processes
    General,
    /// Nothing beyond others
    Baseline,
    /// As little as possible
    Restricted,
    /// May change the network
    Netadmin,
    /// May do everything
    Sysadmin,
}
