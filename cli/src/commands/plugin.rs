//! `wk plugin list`: programs on the path that could be called as kubectl's
//! plugins are (upstream: `kubectl/pkg/cmd/plugin`).

use crate::{args::Plugin, output};
use anyhow::{Result, bail};
use std::os::unix::fs::PermissionsExt;

/// What a plugin's name begins with.
const PREFIXES: [&str; 2] = ["wk-", "kubectl-"];

pub(super) fn run(plugin: &Plugin) -> Result<()> {
    let Plugin::List { name_only } = plugin;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = Vec::new();
    for directory in std::env::split_paths(&path) {
        // A directory of the path that is not there has no programs.
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_program =
                entry.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
            if is_program && PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
                found.push(if *name_only { name } else { entry.path().display().to_string() });
            }
        }
    }
    if found.is_empty() {
        bail!("unable to find any wk plugins in your PATH");
    }
    output::line("The following compatible plugins are available:\n")?;
    found.iter().try_for_each(output::line)
}
