//! `wk logs`: what containers wrote, of one pod or of all that match.

use super::{Context, Selection, name_of, parse_duration};
use crate::{
    args::Logs,
    output,
    resources::{self, Discovery, Target, query},
};
use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use http::Method;
use http_body_util::BodyExt;
use serde_json::Value;
use std::io::Write;

/// With a selector kubectl shows this many lines of each pod.
const TAIL_WITH_SELECTOR: i64 = 10;

/// With a selector and `-f`, more streams than this are refused, as by kubectl.
const FOLLOWS_MAX: usize = 5;

pub(super) async fn run(context: &Context, args: &Logs) -> Result<()> {
    let discovery = context.discovery().await?;
    let pods = pods(context, &discovery, args).await?;
    let mut sources = Vec::new();
    for pod in &pods {
        sources.extend(containers(pod, args)?.into_iter().map(|container| (name_of(pod).to_owned(), container)));
    }
    if !args.follow {
        for (pod, container) in &sources {
            stream(context, args, pod, container).await?;
        }
        return Ok(());
    }
    if sources.len() > FOLLOWS_MAX {
        bail!(
            "you are attempting to follow {} log streams, but maximum allowed concurrency is {FOLLOWS_MAX}",
            sources.len()
        );
    }
    try_join_all(sources.iter().map(|(pod, container)| stream(context, args, pod, container))).await?;
    Ok(())
}

async fn pods(context: &Context, discovery: &Discovery, args: &Logs) -> Result<Vec<Value>> {
    let pods = discovery.find("pods")?.clone();
    if let Some(labels) = &args.selector {
        let target = Target { resource: pods, names: Vec::new() };
        let found = context.objects(&target, &Selection { labels, ..Selection::default() }).await?;
        if found.is_empty() {
            output::line(format_args!("No resources found in {} namespace.", context.namespace()))?;
        }
        return Ok(found);
    }
    let word = args.target.clone().context("no pod given")?;
    Ok(vec![super::logs::pod_behind(context, discovery, &word).await?])
}

/// The pod that `POD`, `pod/X`, `deploy/X`, `svc/X`… stands for: the newest
/// running one that the object selects.
pub(super) async fn pod_behind(context: &Context, discovery: &Discovery, word: &str) -> Result<Value> {
    let words = if word.contains('/') { vec![word.to_owned()] } else { vec!["pods".to_owned(), word.to_owned()] };
    let target = resources::targets(discovery, &words)?.pop().context("no target given")?;
    let object = context.objects(&target, &Selection::default()).await?.pop().context("no such object")?;
    if target.resource.plural == "pods" {
        return Ok(object);
    }
    let selector = &object["spec"]["selector"];
    let labels = if target.resource.kind == "Service" { selector } else { &selector["matchLabels"] };
    let labels = labels_selector(labels).with_context(|| format!("cannot find pods behind {word}: it selects none"))?;
    let pods = Target { resource: discovery.find("pods")?.clone(), names: Vec::new() };
    let mut found = context.objects(&pods, &Selection { labels: &labels, ..Selection::default() }).await?;
    found.sort_by_key(|pod| {
        (
            pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null(),
            pod["metadata"]["creationTimestamp"].to_string(),
        )
    });
    found.pop().with_context(|| format!("no pods found for {word}"))
}

fn labels_selector(labels: &Value) -> Option<String> {
    let pairs: Vec<String> = labels
        .as_object()?
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    (!pairs.is_empty()).then(|| pairs.join(","))
}

/// Which containers to show; one, unless all are asked for.
fn containers(pod: &Value, args: &Logs) -> Result<Vec<String>> {
    let names = |field: &str| -> Vec<String> {
        let list = pod["spec"][field].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(|container| container["name"].as_str().map(str::to_owned)).collect()
    };
    if args.all_containers {
        return Ok([names("initContainers"), names("containers")].concat());
    }
    if let Some(container) = &args.container {
        return Ok(vec![container.clone()]);
    }
    let all = names("containers");
    if all.len() > 1 {
        writeln!(std::io::stderr(), "Defaulted container {:?} out of: {}", all[0], all.join(", "))?;
    }
    all.into_iter().next().map(|first| vec![first]).context("the pod has no containers")
}

async fn stream(context: &Context, args: &Logs, pod: &str, container: &str) -> Result<()> {
    let path = format!("/api/v1/namespaces/{}/pods/{}/log", context.namespace(), resources::encode(pod));
    let flag = |set: bool| if set { "true" } else { "" };
    let default_tail = args.selector.is_some().then_some(TAIL_WITH_SELECTOR);
    let tail = args.tail.or(default_tail).filter(|tail| *tail >= 0).map(|tail| tail.to_string()).unwrap_or_default();
    let since = args.since.as_deref().map(parse_duration).transpose()?;
    let since = since.map(|since| since.as_secs().max(1).to_string()).unwrap_or_default();
    let parameters = query(&[
        ("container", container),
        ("follow", flag(args.follow)),
        ("previous", flag(args.previous)),
        ("timestamps", flag(args.timestamps)),
        ("tailLines", &tail),
        ("sinceSeconds", &since),
    ]);
    let response = context.rest.stream(Method::GET, &format!("{path}{parameters}"), "*/*", None).await?;
    let mut body = response.into_body();
    let prefix = if args.prefix { format!("[pod/{pod}/{container}] ") } else { String::new() };
    let mut printer = Printer { prefix, at_line_start: true };
    while let Some(frame) = body.frame().await {
        printer.print(&frame.context("the log broke off")?.into_data().unwrap_or_default())?;
    }
    Ok(())
}

/// Copies bytes to standard output, with a prefix at each line's start.
struct Printer {
    prefix: String,
    at_line_start: bool,
}

impl Printer {
    fn print(&mut self, bytes: &[u8]) -> Result<()> {
        let mut out = output::stdout();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.at_line_start {
                out.write_all(self.prefix.as_bytes())?;
            }
            out.write_all(line)?;
            self.at_line_start = line.ends_with(b"\n");
        }
        Ok(out.flush()?)
    }
}
