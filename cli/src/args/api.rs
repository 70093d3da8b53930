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

/// `wk top`
#[derive(Debug, Subcommand)]
pub enum Top {
    /// What nodes use
    #[command(aliases = ["nodes", "no"])]
    Node(TopNode),
    /// What pods use
    #[command(aliases = ["pods", "po"])]
    Pod(TopPod),
}

/// `wk top node`
#[derive(Debug, ClapArgs)]
pub struct TopNode {
    /// Only this one
    pub name: Option<String>,
    /// Only nodes with these labels
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// cpu or memory
    #[arg(long, value_name = "WHAT")]
    pub sort_by: Option<String>,
    /// Percentages of what the node has, not of what pods may use
    #[arg(long)]
    pub show_capacity: bool,
    /// Leave the headings out
    #[arg(long)]
    pub no_headers: bool,
}

/// `wk top pod`
#[derive(Debug, ClapArgs)]
pub struct TopPod {
    /// Only this one
    pub name: Option<String>,
    /// In every namespace
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only pods with these labels
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// Only pods with these fields
    #[arg(long)]
    pub field_selector: Option<String>,
    /// cpu or memory
    #[arg(long, value_name = "WHAT")]
    pub sort_by: Option<String>,
    /// Show each container
    #[arg(long)]
    pub containers: bool,
    /// Show the sum at the end
    #[arg(long)]
    pub sum: bool,
    /// Leave the headings out
    #[arg(long)]
    pub no_headers: bool,
}

/// `wk proxy`
#[derive(Debug, ClapArgs)]
pub struct Proxy {
    /// Port to listen on; 0 for any free one
    #[arg(short, long, default_value_t = 8001)]
    pub port: u16,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    pub address: String,
    /// Socket file to listen on, in place of an address
    #[arg(short, long, value_name = "FILE")]
    pub unix_socket: Option<String>,
    /// Path under which the API is
    #[arg(long, default_value = "/", value_name = "PATH")]
    pub api_prefix: String,
    /// Regular expressions of host names that pass
    #[arg(long, default_value = r"^localhost$,^127\.0\.0\.1$,^\[::1\]$", value_name = "REGEX")]
    pub accept_hosts: String,
    /// Regular expressions of paths that pass
    #[arg(long, default_value = "^.*", value_name = "REGEX")]
    pub accept_paths: String,
    /// Regular expressions of paths that do not
    #[arg(long, default_value = "^/api/.*/pods/.*/exec,^/api/.*/pods/.*/attach", value_name = "REGEX")]
    pub reject_paths: String,
    /// Regular expressions of methods that do not
    #[arg(long, default_value = "^$", value_name = "REGEX")]
    pub reject_methods: String,
    /// Let everything pass: dangerous when others reach the port
    #[arg(long)]
    pub disable_filter: bool,
}

/// `wk plugin`
#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// List programs on the path that are plugins
    List {
        /// Without their directories
        #[arg(long)]
        name_only: bool,
    },
}
