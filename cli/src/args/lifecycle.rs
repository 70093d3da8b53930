//! What was typed for the life of a cluster (`up`, `down`, `status`, `snapshot`),
//! its containers (`ctr`) and its kubeconfig (`config`).

use clap::{Args as ClapArgs, Subcommand};
use std::{net::SocketAddr, path::PathBuf};

/// `wk up`
#[derive(Clone, Debug, ClapArgs)]
pub struct Up {
    /// How many nodes run [default: as the last time, else 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub nodes: Option<u32>,
    /// Address and port of the API [default: as the last time, else 127.0.0.1:6443]
    #[arg(long, env = "WK_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// How long to wait until the cluster is ready; 0s to return when it is started
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub wait: String,
    /// Leave the kubeconfig alone
    #[arg(long)]
    pub no_kubeconfig: bool,
    /// More flags of `wk server`
    #[arg(last = true, value_name = "SERVER FLAGS")]
    pub server_flags: Vec<String>,
}

/// `wk down`
#[derive(Clone, Debug, ClapArgs)]
pub struct Down {
    /// Then remove the data directory with everything in it
    #[arg(long)]
    pub purge: bool,
    /// How long the server may take to stop before it is ended
    #[arg(long, value_name = "DURATION", default_value = "20s")]
    pub timeout: String,
}

/// `wk status`
#[derive(Clone, Debug, ClapArgs)]
pub struct Status {
    /// Output format: json, yaml
    #[arg(short, long)]
    pub output: Option<String>,
}

/// `wk ctr`
#[derive(Debug, Subcommand)]
pub enum Ctr {
    /// List containers
    #[command(alias = "ls", alias = "list")]
    Ps(CtrPs),
    /// Remove containers; the kubelet replaces those that it misses
    Rm {
        /// Ids, or what they begin with
        #[arg(required = true)]
        ids: Vec<String>,
        /// Also when they run
        #[arg(short, long)]
        force: bool,
    },
    /// Show everything that the runtime knows of containers, in JSON
    Inspect {
        /// Ids, or what they begin with
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Show what running containers use
    Stats {
        /// Ids, or what they begin with; all when none is given
        ids: Vec<String>,
    },
}

/// `wk ctr ps`
#[derive(Debug, ClapArgs)]
pub struct CtrPs {
    /// Also containers that do not run
    #[arg(short, long)]
    pub all: bool,
    /// Only containers with this label, such as io.kubernetes.pod.name=web; may be repeated
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub label: Vec<String>,
    /// Only containers of this node
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Only the ids
    #[arg(short, long)]
    pub quiet: bool,
    /// Ids in full
    #[arg(long)]
    pub no_trunc: bool,
    /// Output format: json, yaml
    #[arg(short, long)]
    pub output: Option<String>,
}

/// `wk node`
#[derive(Debug, Subcommand)]
pub enum Node {
    /// Turn nodes off: their containers are gone at once, and the cluster is not told
    Stop {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Turn nodes on again, empty
    Start {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// `wk snapshot`
#[derive(Debug, Subcommand)]
pub enum Snapshot {
    /// Write all objects of the running server to a file
    Save {
        /// Where
        file: PathBuf,
    },
    /// Start from the objects in a file
    Restore {
        /// From where
        file: PathBuf,
    },
    /// Check a file and show what is in it
    Status {
        /// Which
        file: PathBuf,
        /// Output format: table, json, simple
        #[arg(short = 'w', long = "write-out", default_value = "table")]
        write_out: String,
    },
}

/// `wk config`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Show the merged kubeconfig
    View {
        /// Only what the current context needs
        #[arg(long)]
        minify: bool,
        /// Show keys, tokens and certificates
        #[arg(long)]
        raw: bool,
        /// Put the contents of certificate files in; implies --raw
        #[arg(long)]
        flatten: bool,
        /// Output format: yaml, json, jsonpath=TEMPLATE, go-template=TEMPLATE
        #[arg(short, long)]
        output: Option<String>,
        /// The template of -o jsonpath or -o go-template
        #[arg(long)]
        template: Option<String>,
    },
    /// Show the name of the current context
    CurrentContext,
    /// List contexts
    GetContexts {
        /// Only these
        names: Vec<String>,
        /// Output format: name
        #[arg(short, long)]
        output: Option<String>,
        /// Leave the headings out
        #[arg(long)]
        no_headers: bool,
    },
    /// List clusters
    GetClusters,
    /// List users
    GetUsers,
    /// Make a context the current one
    #[command(alias = "use")]
    UseContext {
        /// Its name
        name: String,
    },
    /// Create or change a context; -n sets its namespace
    SetContext(SetContext),
    /// Create or change a cluster
    SetCluster(SetCluster),
    /// Create or change a user
    SetCredentials(SetCredentials),
    /// Remove a context
    DeleteContext {
        /// Its name
        name: String,
    },
    /// Remove a cluster
    DeleteCluster {
        /// Its name
        name: String,
    },
    /// Remove a user
    DeleteUser {
        /// Its name
        name: String,
    },
    /// Set one property, such as contexts.NAME.namespace
    Set {
        /// Its path: current-context, or SECTION.NAME.FIELD
        property: String,
        /// Its value
        value: String,
    },
    /// Remove one property, such as users.NAME
    Unset {
        /// Its path: current-context, SECTION.NAME or SECTION.NAME.FIELD
        property: String,
    },
    /// Give a context another name
    RenameContext {
        /// Its name
        old: String,
        /// Its new name
        new: String,
    },
}

/// `wk config set-context`
#[derive(Debug, ClapArgs)]
pub struct SetContext {
    /// Its name
    #[arg(required_unless_present = "current", conflicts_with = "current")]
    pub name: Option<String>,
    /// The current one
    #[arg(long)]
    pub current: bool,
    /// Name of its cluster
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Name of its user
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
}

/// `wk config set-cluster`
#[derive(Debug, ClapArgs)]
pub struct SetCluster {
    /// Its name
    pub name: String,
    /// URL of its API
    // Named as the flag of all client commands that is spelled so, whose place it takes.
    #[arg(id = "api", long = "server", value_name = "URL")]
    pub server: Option<String>,
    /// File of the authority that signed the server's certificate
    #[arg(long, value_name = "FILE")]
    pub certificate_authority: Option<PathBuf>,
    /// Put the file's contents into the kubeconfig
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub embed_certs: Option<bool>,
    /// Do not check the server's certificate
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub insecure_skip_tls_verify: Option<bool>,
    /// Name in the server's certificate, when it is not the URL's
    #[arg(long, value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// URL of a proxy
    #[arg(long, value_name = "URL")]
    pub proxy_url: Option<String>,
}

/// `wk config set-credentials`
#[derive(Debug, ClapArgs)]
pub struct SetCredentials {
    /// Its name
    pub name: String,
    /// File of its certificate
    #[arg(long, value_name = "FILE")]
    pub client_certificate: Option<PathBuf>,
    /// File of its key
    #[arg(long, value_name = "FILE")]
    pub client_key: Option<PathBuf>,
    /// Put the files' contents into the kubeconfig
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub embed_certs: Option<bool>,
    /// Bearer token
    #[arg(long)]
    pub token: Option<String>,
    /// Name for basic authentication
    #[arg(long)]
    pub username: Option<String>,
    /// Password for basic authentication
    #[arg(long)]
    pub password: Option<String>,
}
