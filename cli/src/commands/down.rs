//! `wk down`: the server in the background ends, politely if it can, and leaves
//! the user's kubeconfig.

use super::parse_duration;
use crate::{
    args::{Down, Global},
    client,
    control::lock::ServerProcess,
    data_dir::DataDir,
    kubeconfig::{self, Sources},
    output,
};
use anyhow::{Context, Result, bail};
use std::{io::Write, process::ExitCode, time::Duration};

/// How long the kernel may take to end a process that was killed: its memory is
/// freed and its files are closed first.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn run(global: &Global, args: &Down) -> Result<ExitCode> {
    let patience = parse_duration(&args.timeout).context("--timeout")?;
    let data_dir = DataDir::new(client::data_dir(global)?)?;
    if !data_dir.path().exists() {
        output::line(format_args!("wk is not running: there is no {}", data_dir.path().display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let _only_one = data_dir.lock_changes()?;
    match ServerProcess::find(data_dir.path())? {
        Some(process) => stop(&process, patience)?,
        None => output::line("wk is not running")?,
    }
    remove_from_kubeconfig(global, &data_dir)?;
    if args.purge {
        purge(&data_dir)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn stop(process: &ServerProcess, patience: Duration) -> Result<()> {
    process.terminate()?;
    if process.wait(patience)? {
        return output::line(format_args!("Stopped wk (process {})", process.pid()));
    }
    process.kill()?;
    if !process.wait(KILL_PATIENCE)? {
        bail!("process {} did not end although it was killed", process.pid());
    }
    output::line(format_args!("Killed wk (process {}), which had not stopped after {patience:?}", process.pid()))
}

/// A kubeconfig that cannot be changed is no reason to keep the data.
fn remove_from_kubeconfig(global: &Global, data_dir: &DataDir) -> Result<()> {
    // A server that never got ready has written none.
    let Ok(server) = data_dir.kubeconfig() else { return Ok(()) };
    let Ok(sources) = Sources::of(global) else { return Ok(()) };
    let removed = match sources.read() {
        // Nothing is locked or made where there is nothing to remove.
        Ok(config) if !config.exists() => return Ok(()),
        _ => sources.edit(|config| {
            let path = config.default_path().to_owned();
            Ok((kubeconfig::cluster::remove(config, &server)?, path))
        }),
    };
    match removed {
        Ok((contexts, path)) => {
            for context in contexts {
                output::line(format_args!("Removed context {context:?} from {}", path.display()))?;
            }
        }
        Err(error) => writeln!(std::io::stderr(), "warning: {error:#}")?,
    }
    Ok(())
}

fn purge(data_dir: &DataDir) -> Result<()> {
    let left = data_dir.purge()?;
    let path = data_dir.path().display();
    if left.is_empty() {
        return output::line(format_args!("Removed {path}"));
    }
    output::line(format_args!("Removed the data in {path}; left alone what wk has not made: {}", left.join(", ")))
}
