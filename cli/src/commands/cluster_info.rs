//! `wk cluster-info`: where the API and the cluster's own Services answer;
//! `dump` shows everything that helps to find out what is wrong (upstream:
//! `kubectl/pkg/cmd/clusterinfo`).

use super::{Context, Selection, name_of, namespace_of};
use crate::{
    args::{ClusterInfo, ClusterInfoCommand, Dump},
    output::{self, Format, Objects},
    resources::{Discovery, Target, encode, query},
};
use anyhow::{Context as _, Result};
use http::Method;
use http_body_util::BodyExt;
use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
};

/// What is dumped of each namespace, and under which name.
const KINDS: [&str; 7] =
    ["events", "replicationcontrollers", "services", "daemonsets.apps", "deployments.apps", "replicasets.apps", "pods"];

/// Bytes of one container's log: more tells nobody more, and fills a disk.
const LOG_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(super) async fn run(context: &Context, args: &ClusterInfo) -> Result<()> {
    match &args.command {
        Some(ClusterInfoCommand::Dump(args)) => dump(context, args).await,
        None => show(context).await,
    }
}

async fn show(context: &Context) -> Result<()> {
    let url = context.cluster.url.trim_end_matches('/');
    let selector = query(&[("labelSelector", "kubernetes.io/cluster-service=true")]);
    let services = context.rest.get(&format!("/api/v1/namespaces/kube-system/services{selector}")).await?;
    output::line(format_args!("Kubernetes control plane is running at {url}"))?;
    for service in services["items"].as_array().into_iter().flatten() {
        let (namespace, name) = (namespace_of(service), name_of(service));
        let label = service["metadata"]["labels"]["kubernetes.io/name"].as_str().unwrap_or(name);
        output::line(format_args!("{label} is running at {url}/api/v1/namespaces/{namespace}/services/{name}/proxy"))?;
    }
    output::line("\nTo further debug and diagnose cluster problems, use 'wk cluster-info dump'.")
}

/// Where the parts of a dump go: one after the other, or into files.
struct Sink {
    format: Format,
    directory: Option<PathBuf>,
}

impl Sink {
    fn objects(&self, objects: &Objects, file: &str) -> Result<()> {
        let mut out = self.open(&format!("{file}.{}", if self.format == Format::Yaml { "yaml" } else { "json" }))?;
        objects.write(&mut out, &self.format, true)
    }

    fn open(&self, file: &str) -> Result<Box<dyn Write>> {
        let Some(directory) = &self.directory else { return Ok(Box::new(output::stdout())) };
        let path = directory.join(file);
        let parent = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        let file = std::fs::File::create(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Box::new(file))
    }
}

async fn dump(context: &Context, args: &Dump) -> Result<()> {
    let format = Format::with_template(Some(&args.output), args.template.as_deref())?;
    let directory = args.output_directory.clone().filter(|directory| directory != Path::new("-"));
    let sink = Sink { format, directory };
    let discovery = context.discovery().await?;
    let nodes = objects(context, &discovery, "nodes", None).await?;
    sink.objects(&nodes, "nodes")?;
    for namespace in namespaces(context, &discovery, args).await? {
        for kind in KINDS {
            if discovery.find(kind).is_err() {
                continue;
            }
            let objects = objects(context, &discovery, kind, Some(&namespace)).await?;
            let file = kind.split('.').next().unwrap_or(kind);
            sink.objects(&objects, &format!("{namespace}/{file}"))?;
            if kind == "pods" {
                logs(context, &sink, &namespace, &objects).await?;
            }
        }
    }
    match &sink.directory {
        Some(directory) => output::line(format_args!("Cluster info dumped to {}", directory.display())),
        None => Ok(()),
    }
}

async fn namespaces(context: &Context, discovery: &Discovery, args: &Dump) -> Result<BTreeSet<String>> {
    if args.all_namespaces {
        let all = objects(context, discovery, "namespaces", None).await?;
        return Ok(all.items.iter().map(|(_, namespace)| name_of(namespace).to_owned()).collect());
    }
    if args.namespaces.is_empty() {
        return Ok(BTreeSet::from(["kube-system".to_owned(), context.namespace().to_owned()]));
    }
    Ok(args.namespaces.iter().cloned().collect())
}

async fn objects(context: &Context, discovery: &Discovery, kind: &str, namespace: Option<&str>) -> Result<Objects> {
    let target = Target { resource: discovery.find(kind)?.clone(), names: Vec::new() };
    let found = match namespace {
        Some(namespace) => context.objects_in(&target, namespace).await?,
        None => context.objects(&target, &Selection::default()).await?,
    };
    let items = found.into_iter().map(|object| (target.resource.clone(), object)).collect();
    Ok(Objects { items, ..Objects::default() })
}

async fn logs(context: &Context, sink: &Sink, namespace: &str, pods: &Objects) -> Result<()> {
    for (_, pod) in &pods.items {
        let name = name_of(pod);
        let mut out = sink.open(&format!("{namespace}/{name}/logs.txt"))?;
        for container in pod["spec"]["containers"].as_array().into_iter().flatten() {
            let container = container["name"].as_str().unwrap_or_default();
            writeln!(out, "==== START logs for container {container} of pod {namespace}/{name} ====")?;
            match log(context, namespace, name, container).await {
                Ok(text) => out.write_all(&text)?,
                // One that has not started has none.
                Err(error) => writeln!(out, "{}", crate::rest::describe_error(&error))?,
            }
            writeln!(out, "==== END logs for container {container} of pod {namespace}/{name} ====")?;
        }
    }
    Ok(())
}

async fn log(context: &Context, namespace: &str, pod: &str, container: &str) -> Result<Vec<u8>> {
    let limit = LOG_BYTES_MAX.to_string();
    let parameters = query(&[("container", container), ("limitBytes", &limit)]);
    let path = format!("/api/v1/namespaces/{namespace}/pods/{}/log{parameters}", encode(pod));
    let answer = context.rest.stream(Method::GET, &path, "*/*", None).await?;
    Ok(answer.into_body().collect().await.context("read the log")?.to_bytes().to_vec())
}
