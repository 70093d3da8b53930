//! What was typed. No defaults that need I/O; the commands check the rest.
#![allow(rustdoc::broken_intra_doc_links, reason = "clap prints these comments as they are")]

mod lifecycle;

pub use lifecycle::*;

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

/// Flags of every client command.
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Global {
    /// Path of the kubeconfig file [default: $KUBECONFIG, ~/.kube/config, then the local server's]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Name of the kubeconfig context to use
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace of the request [default: the context's, else "default"]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Directory of the local server's data, where its kubeconfig is found
    #[arg(long, global = true, value_name = "DIR", env = "WK_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
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
    /// Save all objects to a file, or start from one
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// Show and change the kubeconfig
    #[command(subcommand)]
    Config(Config),
    /// Create or update objects from files
    Apply(Apply),
    /// Show objects
    Get(Get),
    /// Show objects in detail, with their events
    Describe(Describe),
    /// Create an object
    #[command(subcommand)]
    Create(Create),
    /// Create a pod from an image
    Run(Run),
    /// Delete objects
    Delete(Delete),
    /// Change how many replicas run
    Scale(Scale),
    /// Wait until objects are as asked
    Wait(Wait),
    /// Show what a container wrote
    Logs(Logs),
    /// Forward local ports to a pod
    PortForward(PortForward),
    /// Show which kinds the server knows
    ApiResources,
    /// Show the versions of client and server
    Version,
    /// Print a shell completion script
    Completion {
        /// bash, elvish, fish, powershell or zsh
        shell: clap_complete::Shell,
    },
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

/// Where manifests come from.
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Files {
    /// File, directory, http(s) URL, or - for standard input; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub filename: Vec<String>,
    /// Read directories with their subdirectories
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

/// `--dry-run`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// Do it
    #[default]
    None,
    /// Send nothing
    Client,
    /// Send it; the server does everything but store it
    Server,
}

/// `wk apply`
#[derive(Debug, ClapArgs)]
pub struct Apply {
    /// Manifests
    #[command(flatten)]
    pub files: Files,
    /// Refuse to take over fields that others manage
    #[arg(long)]
    pub server_side: bool,
    /// With --server-side: take them over all the same
    #[arg(long, requires = "server_side")]
    pub force_conflicts: bool,
    /// Name under which the fields are managed
    #[arg(long, default_value = "wk")]
    pub field_manager: String,
    /// none, client or server
    #[arg(long, value_enum, default_value = "none", num_args = 0..=1, default_missing_value = "client")]
    pub dry_run: DryRun,
    /// Output format: name, json, yaml
    #[arg(short, long)]
    pub output: Option<String>,
}

/// `wk get`
#[derive(Debug, ClapArgs)]
pub struct Get {
    /// TYPE, TYPE NAME..., or TYPE/NAME...
    #[arg(required_unless_present = "filename")]
    pub target: Vec<String>,
    /// Manifests that name the objects
    #[command(flatten)]
    pub files: Files,
    /// wide, json, yaml, name, jsonpath=TEMPLATE, custom-columns=SPEC
    #[arg(short, long)]
    pub output: Option<String>,
    /// Only objects with these labels
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// Only objects with these fields
    #[arg(long)]
    pub field_selector: Option<String>,
    /// In every namespace
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// After listing, go on with every change
    #[arg(short, long)]
    pub watch: bool,
    /// Show the labels in the last column
    #[arg(long)]
    pub show_labels: bool,
    /// Leave the headings out
    #[arg(long)]
    pub no_headers: bool,
    /// Succeed when a named object does not exist
    #[arg(long)]
    pub ignore_not_found: bool,
}

/// `wk describe`
#[derive(Debug, ClapArgs)]
pub struct Describe {
    /// TYPE, TYPE NAME..., or TYPE/NAME...
    #[arg(required = true)]
    pub target: Vec<String>,
    /// Only objects with these labels
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// In every namespace
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

/// `wk create`
#[derive(Debug, Subcommand)]
#[command(args_conflicts_with_subcommands = true)]
pub enum Create {
    /// From files; fails when an object exists
    #[command(name = "-f", hide = true)]
    File {
        /// File, directory, URL or -
        filename: Vec<String>,
    },
    /// A Deployment
    #[command(alias = "deploy")]
    Deployment {
        /// Name
        name: String,
        /// Image of its container; may be repeated
        #[arg(long, required = true)]
        image: Vec<String>,
        /// How many pods
        #[arg(short, long, default_value_t = 1)]
        replicas: i32,
        /// Port that the container listens on
        #[arg(long)]
        port: Option<u16>,
        /// Arguments of the container
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// A Namespace
    #[command(alias = "ns")]
    Namespace {
        /// Name
        name: String,
    },
    /// A ConfigMap
    #[command(alias = "cm")]
    Configmap {
        /// Name
        name: String,
        /// KEY=VALUE; may be repeated
        #[arg(long)]
        from_literal: Vec<String>,
        /// [KEY=]FILE; may be repeated
        #[arg(long)]
        from_file: Vec<String>,
    },
    /// A Secret with arbitrary data
    Secret {
        /// generic
        kind: String,
        /// Name
        name: String,
        /// KEY=VALUE; may be repeated
        #[arg(long)]
        from_literal: Vec<String>,
        /// [KEY=]FILE; may be repeated
        #[arg(long)]
        from_file: Vec<String>,
    },
}

/// `wk run`
#[derive(Debug, ClapArgs)]
pub struct Run {
    /// Name of the pod
    pub name: String,
    /// Image of its container
    #[arg(long)]
    pub image: String,
    /// Always, OnFailure or Never
    #[arg(long, default_value = "Always")]
    pub restart: String,
    /// NAME=VALUE; may be repeated
    #[arg(long)]
    pub env: Vec<String>,
    /// NAME=VALUE,...
    #[arg(short = 'l', long)]
    pub labels: Option<String>,
    /// Port that the container listens on
    #[arg(long)]
    pub port: Option<u16>,
    /// Always, IfNotPresent or Never
    #[arg(long)]
    pub image_pull_policy: Option<String>,
    /// The arguments replace the image's command, not its arguments
    #[arg(long)]
    pub command: bool,
    /// none, client or server
    #[arg(long, value_enum, default_value = "none", num_args = 0..=1, default_missing_value = "client")]
    pub dry_run: DryRun,
    /// Output format: name, json, yaml
    #[arg(short, long)]
    pub output: Option<String>,
    /// Arguments of the container
    #[arg(last = true)]
    pub args: Vec<String>,
}

/// `wk delete`
#[derive(Debug, ClapArgs)]
pub struct Delete {
    /// TYPE NAME..., TYPE/NAME..., or TYPE with -l or --all
    #[arg(required_unless_present = "filename")]
    pub target: Vec<String>,
    /// Manifests that name the objects
    #[command(flatten)]
    pub files: Files,
    /// Only objects with these labels
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// Every object of the type in the namespace
    #[arg(long)]
    pub all: bool,
    /// In every namespace
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// background, foreground or orphan
    #[arg(long, default_value = "background")]
    pub cascade: String,
    /// Seconds that a pod gets to end; -1 for its own
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    pub grace_period: i64,
    /// Do not wait for the node: the object goes at once
    #[arg(long)]
    pub force: bool,
    /// Return when the objects are gone
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub wait: bool,
    /// How long to wait; 0s for as long as it takes
    #[arg(long, default_value = "0s")]
    pub timeout: String,
    /// Succeed when an object does not exist
    #[arg(long)]
    pub ignore_not_found: bool,
    /// Output format: name
    #[arg(short, long)]
    pub output: Option<String>,
}

/// `wk scale`
#[derive(Debug, ClapArgs)]
pub struct Scale {
    /// TYPE NAME... or TYPE/NAME...
    #[arg(required = true)]
    pub target: Vec<String>,
    /// How many
    #[arg(long)]
    pub replicas: i32,
    /// Only when there are this many now
    #[arg(long)]
    pub current_replicas: Option<i32>,
}

/// `wk wait`
#[derive(Debug, ClapArgs)]
pub struct Wait {
    /// TYPE NAME..., TYPE/NAME..., or TYPE with -l or --all
    #[arg(required_unless_present = "filename")]
    pub target: Vec<String>,
    /// Manifests that name the objects
    #[command(flatten)]
    pub files: Files,
    /// condition=NAME[=VALUE], jsonpath={PATH}=VALUE, create, or delete
    #[arg(long = "for", value_name = "WHAT")]
    pub condition: String,
    /// Only objects with these labels
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// Every object of the type in the namespace
    #[arg(long)]
    pub all: bool,
    /// How long; negative for a week
    #[arg(long, default_value = "30s", allow_hyphen_values = true)]
    pub timeout: String,
}

/// `wk logs`
#[derive(Debug, ClapArgs)]
pub struct Logs {
    /// POD or TYPE/NAME
    #[arg(required_unless_present = "selector")]
    pub target: Option<String>,
    /// Only this container
    #[arg(short, long)]
    pub container: Option<String>,
    /// Every container of the pod
    #[arg(long)]
    pub all_containers: bool,
    /// Go on with what is written from now on
    #[arg(short, long)]
    pub follow: bool,
    /// The container before the last restart
    #[arg(short, long)]
    pub previous: bool,
    /// Only this many of the newest lines; -1 for all
    #[arg(long, allow_hyphen_values = true)]
    pub tail: Option<i64>,
    /// Put the time before each line
    #[arg(long)]
    pub timestamps: bool,
    /// Only what is newer, such as 5s, 2m or 3h
    #[arg(long)]
    pub since: Option<String>,
    /// Only pods with these labels
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// Put pod and container before each line
    #[arg(long)]
    pub prefix: bool,
}

/// `wk port-forward`
#[derive(Debug, ClapArgs)]
pub struct PortForward {
    /// POD or TYPE/NAME
    pub target: String,
    /// [LOCAL:]REMOTE; without LOCAL the same number, with an empty one any free port
    #[arg(required = true)]
    pub ports: Vec<String>,
    /// Local addresses, or localhost
    #[arg(long, value_delimiter = ',', default_value = "localhost")]
    pub address: Vec<String>,
}
