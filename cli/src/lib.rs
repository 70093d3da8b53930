//! Kubernetes for WebAssembly, in one binary.
//!
//! ```text
//!   args ─▶ commands ─▶ rest ─▶ a cluster's API          (a client)
//!       └─▶ compose  ─▶ store, API server, scheduler, controllers, nodes   (a cluster)
//! ```
//!
//! Reading order: [`args`] (what was typed), [`compose`] (how a cluster is put
//! together: the one place that knows every part), [`client`] and [`rest`] (how a
//! command reaches a cluster), [`kubeconfig`] (which one), [`control`] and
//! [`data_dir`] (how it reaches the server's process and files), [`resources`] and
//! [`manifest`] (what it is about), [`commands`], [`output`] (what it prints).
#![forbid(unsafe_code)]

pub mod args;
pub mod client;
pub mod commands;
pub mod compose;
pub mod control;
pub mod data_dir;
pub mod kubeconfig;
mod log_file;
pub mod manifest;
pub mod output;
pub mod resources;
pub mod rest;

use clap::FromArgMatches;
use std::{io::Write, process::ExitCode};

/// Parses the command line, runs the command and turns its end into an exit
/// code: 0 done, 1 failed, 2 wrong usage (clap's own exit).
pub fn main() -> ExitCode {
    let command = args::command();
    let words = args::without_booleans(&command, std::env::args_os());
    let matches = command.get_matches_from(words);
    let args = match args::Args::from_arg_matches(&matches) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    start_telemetry(&args);
    // Two TLS providers in one process panic at the first handshake; this one is ours.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match commands::run(args) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{}", rest::describe_error(&error));
            ExitCode::FAILURE
        }
    }
}

/// Whether the reader of our output went away (`wk get pods | head -1`).
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

fn start_telemetry(args: &args::Args) {
    let default = if matches!(args.command, args::Command::Server(_)) { "info" } else { "off" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("WK_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    match log_file(args) {
        Some(log) => subscriber.with_ansi(false).with_writer(std::sync::Mutex::new(log)).init(),
        None => subscriber.with_writer(std::io::stderr).init(),
    }
}

/// The log of a server in the background. Without one, standard error is as good.
fn log_file(args: &args::Args) -> Option<log_file::LogFile> {
    match &args.command {
        args::Command::Server(server) if server.background => {}
        _ => return None,
    }
    let data_dir = data_dir::DataDir::new(client::data_dir(&args.global).ok()?).ok()?;
    log_file::LogFile::open(data_dir.log_path()).ok()
}
