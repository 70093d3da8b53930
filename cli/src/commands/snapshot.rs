//! `wk snapshot`: all objects in a file, and back, as etcd's backup does it.
//!
//! A snapshot has what the store has and nothing else: no certificates and no
//! service-account keys, as etcd's has none. A cluster restored into a new data
//! directory makes its own, and its pods get tokens and an authority that fit,
//! since every guest starts anew with the server.

use crate::{
    args::{Global, Snapshot},
    client,
    control::{client::Control, lock::ServerLock, lock::ServerProcess},
    data_dir::DataDir,
    output,
};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::ExitCode,
};
use wk_store::snapshot::{self, Summary};

/// Digits of the checksum that are shown, as many as etcd's checksum has.
const HASH_DIGITS: usize = 8;

pub(super) async fn run(global: &Global, command: Snapshot) -> Result<ExitCode> {
    match command {
        Snapshot::Save { file } => save(global, &file).await?,
        Snapshot::Restore { file } => restore(global, &file).await?,
        Snapshot::Status { file, write_out } => output::line(shown(&check(&file)?, &write_out)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn save(global: &Global, file: &Path) -> Result<()> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let writing = || format!("write {}", file.display());
    // Beside its place and for its owner alone: there are Secrets in it.
    let partial = tempfile::NamedTempFile::new_in(parent).with_context(writing)?;
    let mut out = tokio::fs::File::from_std(partial.as_file().try_clone().with_context(writing)?);
    Control::new(&client::data_dir(global)?).save_snapshot(&mut out).await?;
    out.sync_all().await.with_context(writing)?;
    let summary = check(partial.path())?;
    partial.persist(file).with_context(writing)?;
    File::open(parent).and_then(|parent| parent.sync_all()).with_context(writing)?;
    let (revision, keys, size) = (summary.revision, summary.keys, output::size(summary.size_bytes));
    output::line(format_args!("Snapshot saved at {} (revision {revision}, {keys} keys, {size})", file.display()))
}

/// Into the running server when there is one, else into an empty data directory.
async fn restore(global: &Global, file: &Path) -> Result<()> {
    let data_dir = DataDir::new(client::data_dir(global)?)?;
    if data_dir.path().exists() && ServerProcess::find(data_dir.path())?.is_some() {
        // A wrong file is refused before it travels.
        let summary = check(file)?;
        let input = tokio::fs::File::open(file).await.with_context(|| format!("open {}", file.display()))?;
        let revision = Control::new(data_dir.path()).restore_snapshot(input).await?;
        return output::line(format_args!(
            "Restored {} keys from {} into the running server, at revision {revision}",
            summary.keys,
            file.display()
        ));
    }
    let (path, keys) = (file.to_owned(), data_dir.path().display().to_string());
    let summary = tokio::task::spawn_blocking(move || restore_offline(&data_dir, &path)).await??;
    output::line(format_args!(
        "Restored {} keys from {} into {keys}; start the server with `wk up`",
        summary.keys,
        file.display()
    ))
}

fn restore_offline(data_dir: &DataDir, file: &PathBuf) -> Result<Summary> {
    let input = File::open(file).with_context(|| format!("open {}", file.display()))?;
    data_dir.prepare()?;
    let _lock = ServerLock::take(data_dir.path())?;
    let store = data_dir.path().join(crate::compose::STORE_DIRECTORY);
    snapshot::restore(input, &store).with_context(|| format!("restore {}", file.display()))
}

fn check(file: &Path) -> Result<Summary> {
    let input = File::open(file).with_context(|| format!("open {}", file.display()))?;
    snapshot::status(input).with_context(|| file.display().to_string())
}

fn shown(summary: &Summary, form: &str) -> Result<String> {
    let digest: String = summary.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let hash = digest.get(..HASH_DIGITS).unwrap_or_default();
    let (revision, keys) = (summary.revision, summary.keys);
    let size = output::size(summary.size_bytes);
    Ok(match form {
        "simple" => format!("{hash}, {revision}, {keys}, {size}"),
        "json" => output::json_text(&json!({
            "hash": hash, "revision": revision.0, "totalKey": keys, "totalSize": summary.size_bytes,
            "version": summary.version, "sha256": digest,
        }))?,
        "table" => framed(
            &["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE"],
            &[hash.to_owned(), revision.to_string(), keys.to_string(), size],
        ),
        other => bail!("unknown output format {other:?}; allowed formats are: json, simple, table"),
    })
}

/// One row under its headings in a frame, as etcdctl draws it.
fn framed(headings: &[&str], row: &[String]) -> String {
    let widths: Vec<usize> = headings.iter().zip(row).map(|(heading, cell)| heading.len().max(cell.len())).collect();
    let line = widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect::<String>() + "+";
    let centred: String =
        headings.iter().zip(&widths).map(|(heading, width)| format!("| {heading:^width$} ")).collect();
    let right: String = row.iter().zip(&widths).map(|(cell, width)| format!("| {cell:>width$} ")).collect();
    format!("{line}\n{centred}|\n{line}\n{right}|\n{line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_looks_as_etcdctls() {
        let revision = wk_store::Revision(10);
        let summary = Summary { version: 1, revision, keys: 7, size_bytes: 2_100_000, sha256: [0xfe; 32] };
        expect_test::expect![[r"
            +----------+----------+------------+------------+
            |   HASH   | REVISION | TOTAL KEYS | TOTAL SIZE |
            +----------+----------+------------+------------+
            | fefefefe |       10 |          7 |      2.1MB |
            +----------+----------+------------+------------+
        "]]
        .assert_eq(&format!("{}\n", shown(&summary, "table").expect("a form")));
        assert_eq!(shown(&summary, "simple").expect("a form"), "fefefefe, 10, 7, 2.1MB");
        assert!(shown(&summary, "xml").is_err());
    }
}
