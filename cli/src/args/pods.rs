//! What was typed for commands about what runs in pods.
#![allow(rustdoc::broken_intra_doc_links, reason = "clap prints these comments as they are")]

use super::Change;
use clap::Args as ClapArgs;

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
    /// How
    #[command(flatten)]
    pub change: Change,
    /// NAME=VALUE; may be repeated
    #[arg(long)]
    pub annotations: Vec<String>,
    /// JSON merged over the pod
    #[arg(long, value_name = "JSON")]
    pub overrides: Option<String>,
    /// Service account of the pod
    #[arg(long, value_name = "NAME")]
    pub serviceaccount: Option<String>,
    /// Create a Service too, for --port
    #[arg(long)]
    pub expose: bool,
    /// Delete the pod when its container has ended; only with --attach or --stdin
    #[arg(long)]
    pub rm: bool,
    /// Keep the container's standard input open, and write to it
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Give the container a terminal
    #[arg(short = 't', long)]
    pub tty: bool,
    /// Join the container's streams when it runs [default: with --stdin]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub attach: Option<bool>,
    /// Do not say what is going on
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// How long the pod may take to run, with --attach
    #[arg(long, default_value = "1m", value_name = "DURATION")]
    pub pod_running_timeout: String,
    /// Arguments of the container
    #[arg(last = true)]
    pub args: Vec<String>,
}

/// `wk logs`
#[derive(Debug, ClapArgs)]
pub struct Logs {
    /// POD or TYPE/NAME
    pub target: Option<String>,
    /// Only this container
    #[arg(value_name = "CONTAINER")]
    pub inline_container: Option<String>,
    /// Only this container [default: the pod's annotation, else its first]
    #[arg(short, long)]
    pub container: Option<String>,
    /// Every container of the pod
    #[arg(long)]
    pub all_containers: bool,
    /// Every pod of TYPE/NAME, with --prefix
    #[arg(long)]
    pub all_pods: bool,
    /// Go on with what is written from now on
    #[arg(short, long)]
    pub follow: bool,
    /// The container before the last restart
    #[arg(short, long)]
    pub previous: bool,
    /// Only this many of the newest lines; -1 for all [default: -1, with -l 10]
    #[arg(long, allow_hyphen_values = true)]
    pub tail: Option<i64>,
    /// Put the time before each line
    #[arg(long)]
    pub timestamps: bool,
    /// Only what is newer, such as 5s, 2m or 3h
    #[arg(long)]
    pub since: Option<String>,
    /// Only what is newer than this time, such as 2026-01-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since_time: Option<String>,
    /// Only this many bytes; 0 for all
    #[arg(long, value_name = "BYTES")]
    pub limit_bytes: Option<i64>,
    /// Only pods with these labels
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// With -f: how many logs may be followed
    #[arg(long, default_value_t = 5)]
    pub max_log_requests: usize,
    /// Only tell what goes wrong, and go on
    #[arg(long)]
    pub ignore_errors: bool,
    /// Put pod and container before each line
    #[arg(long)]
    pub prefix: bool,
    /// How long to wait for a pod of TYPE/NAME
    #[arg(long, default_value = "20s", value_name = "DURATION")]
    pub pod_running_timeout: String,
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
    /// How long to wait for a pod of TYPE/NAME
    #[arg(long, default_value = "1m", value_name = "DURATION")]
    pub pod_running_timeout: String,
}

/// `wk exec`
#[derive(Debug, ClapArgs)]
pub struct Exec {
    /// POD or TYPE/NAME
    pub target: String,
    /// Only this container [default: the pod's annotation, else its first]
    #[arg(short, long)]
    pub container: Option<String>,
    /// Write standard input to the command
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Give the command a terminal
    #[arg(short = 't', long)]
    pub tty: bool,
    /// Print only what the command prints
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// How long to wait for a pod of TYPE/NAME to run
    #[arg(long, default_value = "1m", value_name = "DURATION")]
    pub pod_running_timeout: String,
    /// Command and its arguments
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// `wk attach`
#[derive(Debug, ClapArgs)]
pub struct Attach {
    /// POD or TYPE/NAME
    pub target: String,
    /// Only this container [default: the pod's annotation, else its first]
    #[arg(short, long)]
    pub container: Option<String>,
    /// Write standard input to the container
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Standard input is a terminal
    #[arg(short = 't', long)]
    pub tty: bool,
    /// Print only what the container prints
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// How long to wait for a pod of TYPE/NAME to run
    #[arg(long, default_value = "1m", value_name = "DURATION")]
    pub pod_running_timeout: String,
}

/// `wk cp`
#[derive(Debug, ClapArgs)]
pub struct Cp {
    /// Local path, POD:PATH or NAMESPACE/POD:PATH
    pub source: String,
    /// Local path, POD:PATH or NAMESPACE/POD:PATH
    pub destination: String,
    /// Only this container [default: the pod's annotation, else its first]
    #[arg(short, long)]
    pub container: Option<String>,
    /// Do not keep owner and permissions
    #[arg(long)]
    pub no_preserve: bool,
}
