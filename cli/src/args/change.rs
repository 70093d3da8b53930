//! What was typed for commands that change objects in place.
#![allow(rustdoc::broken_intra_doc_links, reason = "clap prints these comments as they are")]

use super::{Change, Choice, CreateSubjects, Files, Validate};
use clap::{Args as ClapArgs, Subcommand};
use std::path::PathBuf;

/// `wk scale`
#[derive(Debug, ClapArgs)]
pub struct Scale {
    /// Which
    #[command(flatten)]
    pub choice: Choice,
    /// How
    #[command(flatten)]
    pub change: Change,
    /// How many
    #[arg(long)]
    pub replicas: i32,
    /// Only when there are this many now
    #[arg(long)]
    pub current_replicas: Option<i32>,
    /// Only at this resource version
    #[arg(long, value_name = "VERSION")]
    pub resource_version: Option<String>,
}

/// `wk label`, `wk annotate`
#[derive(Debug, ClapArgs)]
pub struct Label {
    /// Which, and KEY=VALUE or KEY- after them
    #[command(flatten)]
    pub choice: Choice,
    /// How
    #[command(flatten)]
    pub change: Change,
    /// Change values that exist
    #[arg(long)]
    pub overwrite: bool,
    /// Show them
    #[arg(long)]
    pub list: bool,
    /// Change the files' objects, and send nothing
    #[arg(long)]
    pub local: bool,
    /// Only at this resource version
    #[arg(long, value_name = "VERSION")]
    pub resource_version: Option<String>,
}

/// `wk patch`
#[derive(Debug, ClapArgs)]
pub struct Patch {
    /// TYPE NAME, or TYPE/NAME
    pub target: Vec<String>,
    /// Manifests that name the objects
    #[command(flatten)]
    pub files: Files,
    /// How
    #[command(flatten)]
    pub change: Change,
    /// json, merge or strategic
    #[arg(long = "type", default_value = "strategic", value_name = "TYPE")]
    pub patch_type: String,
    /// The patch, in JSON or YAML
    #[arg(short, long)]
    pub patch: Option<String>,
    /// A file with the patch
    #[arg(long, value_name = "FILE")]
    pub patch_file: Option<PathBuf>,
    /// Change this subresource: status or scale
    #[arg(long, value_name = "NAME")]
    pub subresource: Option<String>,
    /// Change the files' objects, and send nothing
    #[arg(long)]
    pub local: bool,
}

/// `wk edit`
#[derive(Debug, ClapArgs)]
pub struct Edit {
    /// Which
    #[command(flatten)]
    pub choice: Choice,
    /// Output format: yaml or json
    #[arg(short, long)]
    pub output: Option<String>,
    /// Change this subresource: status
    #[arg(long, value_name = "NAME")]
    pub subresource: Option<String>,
    /// Show who manages which field too
    #[arg(long)]
    pub show_managed_fields: bool,
    /// Show the patch that is sent
    #[arg(long)]
    pub output_patch: bool,
    /// Keep the object in the annotation that `wk apply` compares with
    #[arg(long)]
    pub save_config: bool,
    /// Name under which the fields are managed
    #[arg(long, default_value = "wk-edit", value_name = "NAME")]
    pub field_manager: String,
    /// How strictly
    #[command(flatten)]
    pub validate: Validate,
}

/// `wk diff`
#[derive(Debug, ClapArgs)]
pub struct Diff {
    /// Manifests
    #[command(flatten)]
    pub files: Files,
    /// Refuse to take over fields that others manage
    #[arg(long)]
    pub server_side: bool,
    /// With --server-side: take them over all the same
    #[arg(long, requires = "server_side")]
    pub force_conflicts: bool,
    /// Name under which the fields would be managed
    #[arg(long, value_name = "NAME")]
    pub field_manager: Option<String>,
    /// Only manifests with these labels
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// Compare who manages which field too
    #[arg(long)]
    pub show_managed_fields: bool,
}

/// `wk replace`
#[derive(Debug, ClapArgs)]
pub struct Replace {
    /// Manifests
    #[command(flatten)]
    pub files: Files,
    /// How
    #[command(flatten)]
    pub change: Change,
    /// Delete, then create
    #[arg(long)]
    pub force: bool,
    /// Keep the manifest in the annotation that `wk apply` compares with
    #[arg(long)]
    pub save_config: bool,
    /// With --force: seconds that a pod gets to end; -1 for its own
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    pub grace_period: i64,
    /// With --force: how long to wait until the old objects are gone; 0s for as long as it takes
    #[arg(long, default_value = "0s", value_name = "DURATION")]
    pub timeout: String,
    /// Replace this subresource: status or scale
    #[arg(long, value_name = "NAME")]
    pub subresource: Option<String>,
    /// How strictly
    #[command(flatten)]
    pub validate: Validate,
    /// PUT the file to this path of the server
    #[arg(long, value_name = "PATH")]
    pub raw: Option<String>,
}

/// `wk set`
#[derive(Debug, Subcommand)]
pub enum Set {
    /// Images of containers: CONTAINER=IMAGE, or *=IMAGE for all
    Image(SetThing),
    /// Environment of containers: NAME=VALUE, NAME- to remove
    Env(SetEnv),
    /// Requests and limits of containers
    Resources(SetResources),
    /// The selector of a Service
    Selector(SetThing),
    /// The service account of a workload
    #[command(alias = "sa")]
    Serviceaccount(SetThing),
    /// The users, groups and service accounts of a RoleBinding or ClusterRoleBinding
    Subject(SetSubject),
}

/// `wk set subject`
#[derive(Debug, ClapArgs)]
pub struct SetSubject {
    /// Which
    #[command(flatten)]
    pub set: SetThing,
    /// Who
    #[command(flatten)]
    pub subjects: CreateSubjects,
}

/// `wk autoscale`
#[derive(Debug, ClapArgs)]
pub struct Autoscale {
    /// Which
    #[command(flatten)]
    pub choice: Choice,
    /// How
    #[command(flatten)]
    pub change: Change,
    /// Most pods
    #[arg(long, allow_hyphen_values = true)]
    pub max: i32,
    /// Fewest pods [default: the server's choice]
    #[arg(long, allow_hyphen_values = true)]
    pub min: Option<i32>,
    /// Percentage of the requested CPU that pods are to use
    #[arg(long, allow_hyphen_values = true)]
    pub cpu_percent: Option<i32>,
    /// Name of the HorizontalPodAutoscaler [default: the object's]
    #[arg(long)]
    pub name: Option<String>,
}

/// `wk set image`, `wk set selector`, `wk set serviceaccount`
#[derive(Debug, ClapArgs)]
pub struct SetThing {
    /// Which, and what to set after them
    #[command(flatten)]
    pub choice: Choice,
    /// How
    #[command(flatten)]
    pub change: Change,
    /// Change the files' objects, and send nothing
    #[arg(long)]
    pub local: bool,
}

/// `wk set env`
#[derive(Debug, ClapArgs)]
pub struct SetEnv {
    /// Which, and NAME=VALUE or NAME- after them
    #[command(flatten)]
    pub set: SetThing,
    /// NAME=VALUE; may be repeated
    #[arg(short, long)]
    pub env: Vec<String>,
    /// Every key of configmap/NAME or secret/NAME
    #[arg(long, value_name = "TYPE/NAME")]
    pub from: Option<String>,
    /// With --from: put this before each name
    #[arg(long)]
    pub prefix: Option<String>,
    /// With --from: only these keys
    #[arg(long, value_delimiter = ',')]
    pub keys: Vec<String>,
    /// Only containers whose name matches; * for any characters
    #[arg(short, long, default_value = "*", value_name = "NAME")]
    pub containers: String,
    /// Show them
    #[arg(long)]
    pub list: bool,
    /// Change values that exist
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub overwrite: bool,
}

/// `wk set resources`
#[derive(Debug, ClapArgs)]
pub struct SetResources {
    /// Which
    #[command(flatten)]
    pub set: SetThing,
    /// Only containers whose name matches; * for any characters
    #[arg(short, long, default_value = "*", value_name = "NAME")]
    pub containers: String,
    /// NAME=QUANTITY,...
    #[arg(long)]
    pub limits: Option<String>,
    /// NAME=QUANTITY,...
    #[arg(long)]
    pub requests: Option<String>,
}

/// `wk expose`
#[derive(Debug, ClapArgs)]
pub struct Expose {
    /// Which
    #[command(flatten)]
    pub choice: Choice,
    /// How
    #[command(flatten)]
    pub change: Change,
    /// Name of the Service [default: the object's]
    #[arg(long)]
    pub name: Option<String>,
    /// Port of the Service [default: the object's ports]
    #[arg(long)]
    pub port: Option<String>,
    /// Number or name of the pods' port [default: --port]
    #[arg(long, value_name = "PORT")]
    pub target_port: Option<String>,
    /// TCP, UDP or SCTP
    #[arg(long)]
    pub protocol: Option<String>,
    /// ClusterIP, NodePort, LoadBalancer or ExternalName
    #[arg(long = "type", value_name = "TYPE")]
    pub service_type: Option<String>,
    /// NAME=VALUE,...: labels of the Service
    #[arg(long)]
    pub labels: Option<String>,
    /// Address of the Service; None for a headless one
    #[arg(long, value_name = "IP")]
    pub cluster_ip: Option<String>,
    /// Address outside the cluster
    #[arg(long, value_name = "IP")]
    pub external_ip: Option<String>,
    /// None or ClientIP
    #[arg(long)]
    pub session_affinity: Option<String>,
}
