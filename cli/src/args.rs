//! What was typed. No defaults that need I/O; the commands check the rest.
#![allow(rustdoc::broken_intra_doc_links, reason = "clap prints these comments as they are")]

mod lifecycle;
pub use lifecycle::*;
mod access;
mod api;
mod apply;
mod booleans;
mod change;
mod choice;
mod create;
mod debug;
mod global;
mod help;
mod nodes;
mod objects;
mod pods;
mod rollout;

pub use access::*;
pub use api::*;
pub use apply::*;
pub use booleans::without_booleans;
pub use change::*;
pub use choice::*;
pub use create::*;
pub use debug::*;
pub use global::Global;
pub use help::{command, command_word};
pub use nodes::*;
pub use objects::*;
pub use pods::*;
pub use rollout::*;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::{net::SocketAddr, path::PathBuf};

/// Kubernetes for WebAssembly.
#[derive(Debug, Parser)]
#[command(name = "wk", version, about, disable_help_subcommand = true)]
pub struct Args {
    /// Which cluster, which namespace.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a cluster in the background
    Up(Up),
    /// Stop the cluster in the background
    Down(Down),
    /// Show how the cluster is
    Status(Status),
    /// Run a cluster, or some of its parts, in this process
    Server(Server),
    /// Load, list, inspect and remove wasm images
    #[command(subcommand)]
    Image(Image),
    /// List, inspect and remove containers as the runtime sees them
    #[command(subcommand)]
    Ctr(Ctr),
    /// Turn nodes of the local server off and on, as machines fail and return
    #[command(subcommand)]
    Node(Node),
    /// Save all objects to a file, or start from one
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// Show and change the kubeconfig
    #[command(subcommand)]
    Config(Config),
    /// Compile the wasm on standard input; the server runs it for itself
    #[command(hide = true)]
    Compile {
        /// component or module
        kind: String,
        /// Where the machine code goes
        code: PathBuf,
    },
    /// Print a shell completion script
    Completion {
        /// bash, elvish, fish, powershell or zsh
        shell: clap_complete::Shell,
    },
    /// List plugins
    #[command(subcommand)]
    Plugin(Plugin),
    /// Show the options of every command
    Options,
    /// Refused: kustomizations are not built in
    #[command(hide = true)]
    Kustomize {
        /// Directories
        directories: Vec<String>,
    },
    /// What is done with a cluster's API
    #[command(flatten)]
    Client(Box<ClientCommand>),
}

/// `wk server`
#[derive(Clone, Debug, ClapArgs)]
pub struct Server {
    /// Address and port of the API; node ports of Services open on the same address, by default reachable from this
    /// machine only
    #[arg(long, default_value = "127.0.0.1:6443", env = "WK_LISTEN")]
    pub listen: SocketAddr,
    /// How many nodes run in this process
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub nodes: u32,
    /// Which parts run: apiserver, scheduler, controllers, node
    #[arg(long, value_delimiter = ',', default_value = "apiserver,scheduler,controllers,node")]
    pub roles: Vec<Role>,
    /// Which controllers run: '*' for all, 'name' for one, '-name' for all but one
    #[arg(long, value_delimiter = ',', default_value = "*", allow_hyphen_values = true)]
    pub controllers: Vec<String>,
    /// Addresses of services
    #[arg(long, default_value = "10.96.0.0/16", value_name = "CIDR")]
    pub service_cluster_ip_range: ipnet::Ipv4Net,
    /// Addresses of pods; each node takes a /24 of it
    #[arg(long, default_value = "10.244.0.0/16", value_name = "CIDR")]
    pub cluster_cidr: ipnet::Ipv4Net,
    /// How long a node may be silent before it is NotReady, such as 50s; nodes renew their leases accordingly
    #[arg(long, default_value = "50s", value_name = "DURATION")]
    pub node_monitor_grace_period: String,
    /// In a session of its own, with the log in the data directory
    #[arg(long, hide = true)]
    pub background: bool,
}

/// A part of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// The API and its store
    Apiserver,
    /// Binds pods to nodes
    Scheduler,
    /// The reconcile loops
    Controllers,
    /// Runs pods
    Node,
}

/// `wk image`
#[derive(Debug, Subcommand)]
pub enum Image {
    /// Put a wasm file into the image store under a name
    Load {
        /// A wasm component (WASI 0.2) or module (WASI 0.1)
        file: PathBuf,
        /// Name, such as kiamol/ch02-hello-kiamol
        #[arg(long)]
        tag: String,
    },
    /// List images
    #[command(alias = "list")]
    Ls,
    /// Remove images
    Rm {
        /// Names or digests
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// Show an image's world, imports, exports, size and digest
    Inspect {
        /// Name or digest
        image: String,
    },
}
