//! What many commands take: which objects, how a change is made and told, where
//! manifests come from.
#![allow(rustdoc::broken_intra_doc_links, reason = "clap prints these comments as they are")]

use clap::{Args as ClapArgs, ValueEnum};

/// How a change is made and told.
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Change {
    /// none, client (send nothing) or server (do everything but store it)
    #[arg(
        long,
        value_enum,
        default_value = "none",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "client"
    )]
    pub dry_run: DryRun,
    /// Output format: name, json, yaml, jsonpath=TEMPLATE, go-template=TEMPLATE
    #[arg(short, long)]
    pub output: Option<String>,
    /// The template of -o jsonpath or -o go-template
    #[arg(long)]
    pub template: Option<String>,
    /// Name under which the fields are managed [default: wk and the command]
    #[arg(long, value_name = "NAME")]
    pub field_manager: Option<String>,
    /// Show who manages which field too
    #[arg(long)]
    pub show_managed_fields: bool,
}

/// Which objects.
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Choice {
    /// TYPE, TYPE NAME..., or TYPE/NAME...
    pub target: Vec<String>,
    /// Manifests that name the objects
    #[command(flatten)]
    pub files: Files,
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
}

/// Where manifests come from.
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Files {
    /// File, directory, http(s) URL, or - for standard input; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", value_delimiter = ',')]
    pub filename: Vec<String>,
    /// Refused: kustomizations are not built in
    #[arg(short = 'k', long, value_name = "DIR", hide = true)]
    pub kustomize: Option<String>,
    /// Read directories with their subdirectories
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

impl Files {
    /// Whether nothing names a manifest.
    pub fn is_empty(&self) -> bool {
        self.filename.is_empty() && self.kustomize.is_none()
    }
}

/// How strictly the server reads manifests.
#[derive(Clone, Debug, ClapArgs)]
pub struct Validate {
    /// strict or true (refuse unknown fields), warn, ignore or false
    #[arg(
        long,
        default_value = "strict",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "strict",
        value_name = "HOW"
    )]
    pub validate: String,
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
