//! `wk cp`: files into and out of containers, by the container's own `tar`
//! (upstream: `kubectl/pkg/cmd/cp`).

mod archive;

use super::{
    Context,
    exec::Program,
    pod_choice::{self, Telling},
    remote::{self, End, Input, Output, Streams},
};
use crate::args::Cp;
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Pieces of an archive that wait for their reader.
const PIECES_MAX: usize = 16;

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Local(PathBuf),
    Remote { namespace: Option<String>, pod: String, path: String },
}

impl Place {
    /// `PATH`, `POD:PATH` or `NAMESPACE/POD:PATH`. A colon after a slash belongs to a path.
    fn parse(text: &str) -> Result<Self> {
        let Some((pod, path)) = text.split_once(':').filter(|(pod, _)| !pod.starts_with(['/', '.'])) else {
            return Ok(Self::Local(text.into()));
        };
        let (namespace, pod) = match pod.split('/').collect::<Vec<_>>().as_slice() {
            [pod] => (None, *pod),
            [namespace, pod] => (Some((*namespace).to_owned()), *pod),
            _ => bail!("filespec must match the canonical format: [[namespace/]pod:]file/path"),
        };
        if pod.is_empty() || path.is_empty() {
            bail!("filepath can not be empty");
        }
        Ok(Self::Remote { namespace, pod: pod.to_owned(), path: path.to_owned() })
    }
}

pub(super) async fn run(context: &Context, args: &Cp) -> Result<()> {
    match (Place::parse(&args.source)?, Place::parse(&args.destination)?) {
        (Place::Local(from), Place::Remote { namespace, pod, path }) => {
            if !from.exists() {
                bail!("{} doesn't exist in local filesystem", from.display());
            }
            let pod = get(context, namespace.as_deref(), &pod).await?;
            upload(context, args, &pod, &from, &path).await
        }
        (Place::Remote { namespace, pod, path }, Place::Local(to)) => {
            let pod = get(context, namespace.as_deref(), &pod).await?;
            download(context, args, &pod, &path, &to).await
        }
        _ => bail!("one of src or dest must be a local file specification, and the other one in a pod"),
    }
}

async fn get(context: &Context, namespace: Option<&str>, pod: &str) -> Result<Value> {
    let namespace = namespace.unwrap_or(context.namespace());
    context.rest.get(&format!("/api/v1/namespaces/{namespace}/pods/{}", crate::resources::encode(pod))).await
}

/// Runs `command` in the pod with these streams.
async fn exec(context: &Context, args: &Cp, pod: &Value, command: &[String], streams: Streams) -> Result<End> {
    let container = pod_choice::container(pod, args.container.as_deref(), Telling::Aloud)?;
    let container = container["name"].as_str().unwrap_or_default();
    let stdin = matches!(streams.input, Input::Pieces(_));
    let path = Program { container, command, stdin, tty: false }.path(pod);
    remote::run(&context.rest.client(), &path, streams).await
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn check(end: End) -> Result<()> {
    match end {
        End::Success => Ok(()),
        End::Code(code) => bail!("command terminated with exit code {code}"),
    }
}

async fn upload(context: &Context, args: &Cp, pod: &Value, from: &Path, to: &str) -> Result<()> {
    // A directory that exists takes the file under its own name.
    let test = words(&["test", "-d", to]);
    let streams = Streams { input: Input::None, output: Output::Stdout, sizes: false };
    let is_directory =
        to.ends_with('/') || exec(context, args, pod, &test, streams).await.is_ok_and(|end| end == End::Success);
    let file_name =
        from.canonicalize().ok().and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
    let name = file_name.with_context(|| format!("{} has no name", from.display()))?;
    let to = if is_directory { format!("{}/{name}", to.trim_end_matches('/')) } else { to.to_owned() };
    let (directory, name) = match to.rsplit_once('/') {
        Some(("", name)) => ("/".to_owned(), name.to_owned()),
        Some((directory, name)) => (directory.to_owned(), name.to_owned()),
        None => (".".to_owned(), to.clone()),
    };
    let mut command = words(&["tar"]);
    if args.no_preserve {
        command.extend(words(&["--no-same-permissions", "--no-same-owner"]));
    }
    command.extend(words(&["-xmf", "-", "-C", &directory]));
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let from = from.to_owned();
    let packing = tokio::task::spawn_blocking(move || archive::pack(&from, &name, sender));
    let streams = Streams { input: Input::Pieces(pieces), output: Output::Stdout, sizes: false };
    let end = exec(context, args, pod, &command, streams).await;
    let packed = packing.await.context("pack the files")?;
    check(end?)?;
    packed
}

async fn download(context: &Context, args: &Cp, pod: &Value, from: &str, to: &Path) -> Result<()> {
    let from = from.trim_end_matches('/');
    let from = if from.is_empty() { "/" } else { from };
    let command = words(&["tar", "cf", "-", from]);
    let (sender, pieces) = mpsc::channel::<Bytes>(PIECES_MAX);
    // As `cp`: into a directory that exists, else under the new name.
    let base = from.rsplit('/').next().unwrap_or(from).to_owned();
    let to = if to.is_dir() && !base.is_empty() && base != "." { to.join(&base) } else { to.to_owned() };
    let prefix = from.trim_start_matches('/').to_owned();
    let unpacking = tokio::task::spawn_blocking(move || archive::unpack(pieces, &prefix, &to));
    let streams = Streams { input: Input::None, output: Output::Pieces(sender), sizes: false };
    let end = exec(context, args, pod, &command, streams).await;
    let unpacked = unpacking.await.context("unpack the files")?;
    check(end?)?;
    if unpacked? == 0 {
        bail!("{from} no such file or directory");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_kubectl_reads_them() {
        let remote = |namespace: Option<&str>, pod: &str, path: &str| Place::Remote {
            namespace: namespace.map(str::to_owned),
            pod: pod.to_owned(),
            path: path.to_owned(),
        };
        assert_eq!(Place::parse("web:/tmp/x").expect("valid"), remote(None, "web", "/tmp/x"));
        assert_eq!(Place::parse("shop/web:x:y").expect("valid"), remote(Some("shop"), "web", "x:y"));
        assert_eq!(Place::parse("./a:b").expect("valid"), Place::Local("./a:b".into()));
        assert_eq!(Place::parse("/a/b").expect("valid"), Place::Local("/a/b".into()));
        assert!(Place::parse("a/b/c:d").is_err() && Place::parse("web:").is_err());
    }
}
