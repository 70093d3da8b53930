//! What was typed for commands about any kind of object.
#![allow(rustdoc::broken_intra_doc_links, reason = "clap prints these comments as they are")]

use super::*;

/// The commands that only need a cluster's API.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Create or update objects from files
    Apply(Apply),
    /// Show objects
    Get(Get),
    /// Show objects in detail, with their events
    Describe(Describe),
    /// Create an object
    Create(Create),
    /// Create a pod from an image
    Run(Run),
    /// Show a workload as a Service
    Expose(Expose),
    /// Delete objects
    Delete(Delete),
    /// Change labels
    Label(Label),
    /// Change annotations
    Annotate(Label),
    /// Change fields by a patch
    Patch(Patch),
    /// Change objects in an editor
    Edit(Edit),
    /// Show what applying files would change
    Diff(Diff),
    /// Replace objects by those of files
    Replace(Replace),
    /// Set one thing of a workload
    #[command(subcommand)]
    Set(Set),
    /// Follow, repeat, undo, pause rollouts
    #[command(subcommand)]
    Rollout(Rollout),
    /// Change how many replicas run
    Scale(Scale),
    /// Let a workload's replicas follow its load
    Autoscale(Autoscale),
    /// Wait until objects are as asked
    Wait(Wait),
    /// Show what a container wrote
    Logs(Logs),
    /// Run a command in a container
    Exec(Exec),
    /// Join a running container's streams
    Attach(Attach),
    /// Look into a pod with a container of one's own
    Debug(Debug),
    /// Copy files into and out of containers
    Cp(Cp),
    /// Forward local ports to a pod
    PortForward(PortForward),
    /// Let no new pods onto a node
    Cordon(Cordon),
    /// Let new pods onto a node again
    Uncordon(Cordon),
    /// Empty a node
    Drain(Drain),
    /// Change the taints of nodes
    Taint(Taint),
    /// Show who may do what
    #[command(subcommand)]
    Auth(Auth),
    /// Show what happened
    Events(Events),
    /// Show what a kind's fields mean
    Explain(Explain),
    /// Show where the cluster's parts answer
    ClusterInfo(ClusterInfo),
    /// Show what nodes and pods use
    #[command(subcommand)]
    Top(Top),
    /// Serve the cluster's API on a local port
    Proxy(Proxy),
    /// Show which kinds the server knows
    ApiResources(ApiResources),
    /// Show which groups and versions the server knows
    ApiVersions,
    /// Show the versions of client and server
    Version(Version),
}

impl ClientCommand {
    /// Whether `--user` is the command's own flag and not that of all commands:
    /// clap gives its value to both.
    pub fn has_own_user(&self) -> bool {
        match self {
            Self::Create(create) => {
                matches!(create.kind, Some(CreateKind::Rolebinding(_) | CreateKind::Clusterrolebinding(_)))
            }
            Self::Set(set) => matches!(set, Set::Subject(_)),
            _ => false,
        }
    }
}

/// `wk get`
#[derive(Debug, ClapArgs)]
pub struct Get {
    /// TYPE, TYPE NAME..., or TYPE/NAME...
    pub target: Vec<String>,
    /// Manifests that name the objects
    #[command(flatten)]
    pub files: Files,
    /// wide, json, yaml, name, jsonpath=TEMPLATE, go-template=TEMPLATE, custom-columns=SPEC; jsonpath-as-json=TEMPLATE;
    /// jsonpath-file, go-template-file and custom-columns-file=FILE
    #[arg(short, long)]
    pub output: Option<String>,
    /// The template of -o jsonpath or -o go-template
    #[arg(long)]
    pub template: Option<String>,
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
    /// Only changes, without the list before them
    #[arg(long)]
    pub watch_only: bool,
    /// Sort by what a JSONPath expression finds, such as .metadata.name
    #[arg(long, value_name = "JSONPATH")]
    pub sort_by: Option<String>,
    /// Objects per request of a list; 0 for all at once
    #[arg(long, default_value_t = 500)]
    pub chunk_size: u32,
    /// Show these labels as columns; may be repeated
    #[arg(short = 'L', long, value_delimiter = ',', value_name = "LABEL")]
    pub label_columns: Vec<String>,
    /// Show the type before each name
    #[arg(long)]
    pub show_kind: bool,
    /// Show who manages which field too
    #[arg(long)]
    pub show_managed_fields: bool,
    /// Read or write this subresource: status or scale
    #[arg(long, value_name = "NAME")]
    pub subresource: Option<String>,
    /// Show the labels in the last column
    #[arg(long)]
    pub show_labels: bool,
    /// Leave the headings out
    #[arg(long)]
    pub no_headers: bool,
    /// Succeed when a named object does not exist
    #[arg(long)]
    pub ignore_not_found: bool,
    /// With --watch: say of each row whether it was added, modified or deleted
    #[arg(long)]
    pub output_watch_events: bool,
    /// GET this path of the server
    #[arg(long, value_name = "PATH")]
    pub raw: Option<String>,
}

/// `wk describe`
#[derive(Debug, ClapArgs)]
pub struct Describe {
    /// TYPE, TYPE NAME..., TYPE PREFIX, or TYPE/NAME...
    pub target: Vec<String>,
    /// Manifests that name the objects
    #[command(flatten)]
    pub files: Files,
    /// Only objects with these labels
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// Show what happened to them too
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub show_events: bool,
    /// In every namespace
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

/// `wk delete`
#[derive(Debug, ClapArgs)]
pub struct Delete {
    /// TYPE NAME..., TYPE/NAME..., or TYPE with -l or --all
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
    /// End as soon as possible: a grace period of 1
    #[arg(long)]
    pub now: bool,
    /// Show what is to go, and ask
    #[arg(short, long)]
    pub interactive: bool,
    /// none, client (send nothing) or server (do everything but delete it)
    #[arg(
        long,
        value_enum,
        default_value = "none",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "client"
    )]
    pub dry_run: DryRun,
    /// Only objects with these fields
    #[arg(long)]
    pub field_selector: Option<String>,
    /// DELETE this path of the server
    #[arg(long, value_name = "PATH")]
    pub raw: Option<String>,
    /// Return when the objects are gone
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
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

/// `wk wait`
#[derive(Debug, ClapArgs)]
pub struct Wait {
    /// TYPE NAME..., TYPE/NAME..., or TYPE with -l or --all
    #[arg(required_unless_present_any = ["filename", "kustomize"])]
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
    /// Only objects with these fields
    #[arg(long)]
    pub field_selector: Option<String>,
    /// Every object of the type in the namespace
    #[arg(long)]
    pub all: bool,
    /// In every namespace
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Output format: name, json, yaml, jsonpath=TEMPLATE, go-template=TEMPLATE
    #[arg(short, long)]
    pub output: Option<String>,
    /// The template of -o jsonpath or -o go-template
    #[arg(long)]
    pub template: Option<String>,
    /// How long; negative for a week
    #[arg(long, default_value = "30s", allow_hyphen_values = true)]
    pub timeout: String,
}

/// `wk api-resources`
#[derive(Debug, ClapArgs)]
pub struct ApiResources {
    /// wide or name
    #[arg(short, long)]
    pub output: Option<String>,
    /// Only those that live in namespaces, or only those that do not
    #[arg(long)]
    pub namespaced: Option<bool>,
    /// Only this group
    #[arg(long)]
    pub api_group: Option<String>,
    /// Only those with all of these verbs
    #[arg(long, value_delimiter = ',')]
    pub verbs: Vec<String>,
    /// Only those with all of these categories
    #[arg(long, value_delimiter = ',')]
    pub categories: Vec<String>,
    /// name or kind [default: by group, then name]
    #[arg(long, value_name = "WHAT")]
    pub sort_by: Option<String>,
    /// Leave the headings out
    #[arg(long)]
    pub no_headers: bool,
}

/// `wk version`
#[derive(Debug, ClapArgs)]
pub struct Version {
    /// Only the client's
    #[arg(long)]
    pub client: bool,
    /// json or yaml
    #[arg(short, long)]
    pub output: Option<String>,
}

/// `wk events`
#[derive(Debug, ClapArgs)]
pub struct Events {
    /// In every namespace
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only about this object, such as pod/web
    #[arg(long = "for", value_name = "TYPE/NAME")]
    pub about: Option<String>,
    /// Only these types, such as Warning; may be repeated
    #[arg(long, value_delimiter = ',')]
    pub types: Vec<String>,
    /// After listing, go on with every change
    #[arg(short, long)]
    pub watch: bool,
    /// Leave the headings out
    #[arg(long)]
    pub no_headers: bool,
    /// json, yaml
    #[arg(short, long)]
    pub output: Option<String>,
}
