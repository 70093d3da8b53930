//! What was typed for commands about who may do what.
#![allow(rustdoc::broken_intra_doc_links, reason = "clap prints these comments as they are")]

use super::{Change, Files};
use clap::{Args as ClapArgs, Subcommand};

/// `wk auth`
#[derive(Debug, Subcommand)]
pub enum Auth {
    /// Ask whether something is allowed
    CanI(CanI),
    /// Give roles and bindings at least what files say
    Reconcile(Reconcile),
    /// Show as whom the server sees us
    Whoami(Whoami),
}

/// `wk auth can-i`
#[derive(Debug, ClapArgs)]
pub struct CanI {
    /// VERB and TYPE, TYPE/NAME or /PATH
    pub words: Vec<String>,
    /// In every namespace
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Show everything that is allowed
    #[arg(long)]
    pub list: bool,
    /// Only the exit code
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// log, scale, exec...
    #[arg(long, value_name = "NAME")]
    pub subresource: Option<String>,
    /// Leave the headings out
    #[arg(long)]
    pub no_headers: bool,
}

/// `wk auth reconcile`
#[derive(Debug, ClapArgs)]
pub struct Reconcile {
    /// Manifests
    #[command(flatten)]
    pub files: Files,
    /// How
    #[command(flatten)]
    pub change: Change,
    /// Take away permissions that the files do not have
    #[arg(long)]
    pub remove_extra_permissions: bool,
    /// Take away subjects that the files do not have
    #[arg(long)]
    pub remove_extra_subjects: bool,
}

/// `wk auth whoami`
#[derive(Debug, ClapArgs)]
pub struct Whoami {
    /// Output format: json, yaml, jsonpath=TEMPLATE, go-template=TEMPLATE
    #[arg(short, long)]
    pub output: Option<String>,
    /// The template of -o jsonpath or -o go-template
    #[arg(long)]
    pub template: Option<String>,
}
