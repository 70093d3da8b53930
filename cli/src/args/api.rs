//! What was typed for commands about the API itself.
#![allow(rustdoc::broken_intra_doc_links, reason = "clap prints these comments as they are")]

use clap::{Args as ClapArgs, Subcommand};
use std::path::PathBuf;

/// `wk explain`
#[derive(Debug, ClapArgs)]
pub struct Explain {
    /// TYPE, or TYPE.FIELD.FIELD...
    pub target: Vec<String>,
    /// Show the fields of fields too, without their descriptions
    #[arg(long)]
    pub recursive: bool,
    /// This version of the group, such as apps/v1 [default: the preferred one]
    #[arg(long, value_name = "GROUP/VERSION")]
    pub api_version: Option<String>,
    /// Output format: plaintext
    #[arg(long, default_value = "plaintext")]
    pub output: String,
}

/// `wk cluster-info`
#[derive(Debug, ClapArgs)]
pub struct ClusterInfo {
    /// More than that
    #[command(subcommand)]
    pub command: Option<ClusterInfoCommand>,
}

/// What follows `cluster-info`.
#[derive(Debug, Subcommand)]
pub enum ClusterInfoCommand {
    /// Show nodes, workloads, events and logs, to find out what is wrong
    Dump(Dump),
}

/// `wk cluster-info dump`
#[derive(Debug, ClapArgs)]
pub struct Dump {
    /// Of every namespace
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Of these namespaces [default: the current one and kube-system]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub namespaces: Vec<String>,
    /// Into files of this directory; - for standard output
    #[arg(long, value_name = "DIR")]
    pub output_directory: Option<PathBuf>,
    /// Output format: json, yaml, name, jsonpath=TEMPLATE, go-template=TEMPLATE
    #[arg(short, long, default_value = "json")]
    pub output: String,
    /// The template of -o jsonpath or -o go-template
    #[arg(long)]
    pub template: Option<String>,
}

