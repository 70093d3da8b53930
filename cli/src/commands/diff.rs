//! `wk diff`: what applying files would change, told by the server's dry run
//! (upstream: `kubectl/pkg/cmd/diff`).
//!
//! Ends with 0 without and 1 with a difference, and more than 1 when something
//! failed, as diff(1) does.

mod unified;

use super::{Context, apply};
use crate::{
    args::Diff,
    manifest::{self, Manifest},
    output::yaml,
    resources::{Discovery, query},
};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::{
    io::Write,
    path::Path,
    process::{Command, ExitCode},
};

/// The exit code for "something failed".
const FAILED: u8 = 2;

pub(super) async fn run(context: &Context, args: &Diff) -> ExitCode {
    match diff(context, args).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{}", crate::rest::describe_error(&error));
            ExitCode::from(FAILED)
        }
    }
}

async fn diff(context: &Context, args: &Diff) -> Result<u8> {
    if args.files.is_empty() {
        bail!("must specify one of -f and -k");
    }
    let live = tempfile::Builder::new().prefix("LIVE-").tempdir().context("make a temporary directory")?;
    let merged = tempfile::Builder::new().prefix("MERGED-").tempdir().context("make a temporary directory")?;
    let discovery = context.discovery().await?;
    for manifest in manifest::read_selected(&args.files, args.selector.as_deref()).await? {
        let versions = versions(context, &discovery, args, &manifest).await?;
        if let Some(before) = &versions.before {
            write(live.path(), &versions.file_name, before)?;
        }
        write(merged.path(), &versions.file_name, &versions.after)?;
    }
    compare(live.path(), merged.path())
}

/// One object, before and after.
struct Versions {
    file_name: String,
    before: Option<Value>,
    after: Value,
}

async fn versions(context: &Context, discovery: &Discovery, args: &Diff, manifest: &Manifest) -> Result<Versions> {
    let resource = apply::resource_of(discovery, manifest)?;
    let namespace = context.namespace_of(resource, manifest.namespace())?;
    let path = resource.object(namespace, manifest.name());
    let mut before = context.rest.get_optional(&path).await?;
    let mut after = if args.server_side {
        let force = if args.force_conflicts { "true" } else { "" };
        let manager = args.field_manager.as_deref().unwrap_or(apply::SERVER_SIDE_MANAGER);
        let path = format!("{path}{}", query(&[("fieldManager", manager), ("force", force), ("dryRun", "All")]));
        context.rest.patch(&path, apply::APPLY_PATCH, &manifest.object).await?.body
    } else {
        let manager = args.field_manager.as_deref().unwrap_or(apply::CLIENT_SIDE_MANAGER);
        apply::preview(context, resource, namespace, manifest, before.as_ref(), manager).await?
    };
    for object in before.iter_mut().chain([&mut after]) {
        simplify(object, args.show_managed_fields);
    }
    if resource.kind == "Secret" {
        mask(&mut before, &mut after);
    }
    let group = if resource.group.is_empty() { String::new() } else { format!("{}.", resource.group) };
    let namespace = after["metadata"]["namespace"].as_str().unwrap_or_default();
    let file_name = format!("{group}{}.{}.{namespace}.{}", resource.version, resource.kind, manifest.name());
    Ok(Versions { file_name, before, after })
}

fn simplify(object: &mut Value, keep_managed_fields: bool) {
    if let Some(metadata) = object["metadata"].as_object_mut().filter(|_| !keep_managed_fields) {
        metadata.remove("managedFields");
    }
}

/// Hides a secret's values, and says only which differ.
fn mask(before: &mut Option<Value>, after: &mut Value) {
    let old = before.as_ref().map(|object| object["data"].clone()).unwrap_or_default();
    let new = after["data"].clone();
    let hide = |data: &mut Value, other: &Value, changed: &str| {
        for (key, value) in data.as_object_mut().into_iter().flatten() {
            let differs = other.get(key).is_some_and(|other| other != value);
            *value = if differs { format!("*** ({changed})") } else { "***".to_owned() }.into();
        }
    };
    if let Some(before) = before {
        hide(&mut before["data"], &new, "before");
    }
    hide(&mut after["data"], &old, "after");
}

fn write(directory: &Path, name: &str, object: &Value) -> Result<()> {
    let path = directory.join(name.replace('/', "_"));
    std::fs::write(&path, yaml::to_string(object)).with_context(|| format!("write {}", path.display()))
}

/// Runs `$KUBECTL_EXTERNAL_DIFF`, else diff(1), else compares itself.
fn compare(live: &Path, merged: &Path) -> Result<u8> {
    let external = std::env::var("KUBECTL_EXTERNAL_DIFF").unwrap_or_default();
    let mut words = external.split(' ').filter(|word| !word.is_empty());
    let program = words.next().unwrap_or("diff");
    let arguments: Vec<&str> =
        if external.is_empty() { vec!["-u", "-N"] } else { words.filter(|word| is_plain(word)).collect() };
    match Command::new(program).args(arguments).arg(live).arg(merged).status() {
        // Without a code it was killed, which is a failure.
        Ok(status) => Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && external.is_empty() => {
            let text = unified::directories(live, merged)?;
            write!(crate::output::stdout(), "{text}")?;
            Ok(u8::from(!text.is_empty()))
        }
        Err(error) => Err(error).with_context(|| format!("failed to run {program:?}")),
    }
}

/// kubectl passes on only arguments of letters, digits, `-` and `=`.
fn is_plain(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'=')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_not_shown() {
        let mut before = Some(json!({"data": {"a": "MQ==", "b": "Mg=="}}));
        let mut after = json!({"data": {"a": "MQ==", "b": "Mw==", "c": "NA=="}});
        mask(&mut before, &mut after);
        assert_eq!(before, Some(json!({"data": {"a": "***", "b": "*** (before)"}})));
        assert_eq!(after, json!({"data": {"a": "***", "b": "*** (after)", "c": "***"}}));
    }
}
