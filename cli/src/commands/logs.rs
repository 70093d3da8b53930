//! `wk logs`: what containers wrote, of one pod or of all that match.

use super::{
    Context, Selection, name_of, parse_duration,
    pod_choice::{self, Telling},
    pods_behind,
};
use crate::{
    args::Logs,
    output,
    resources::{self, Discovery, Target, query},
    rest::{self, ApiError},
};
use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use http::Method;
use http_body_util::BodyExt;
use serde_json::Value;
use std::io::Write;

/// With a selector kubectl shows this many lines of each pod.
const TAIL_WITH_SELECTOR: i64 = 10;

/// What a log is asked of, and with what.
struct Source {
    pod: String,
    container: String,
}

pub(super) async fn run(context: &Context, args: &Logs) -> Result<()> {
    check(args)?;
    let discovery = context.discovery().await?;
    let mut sources = Vec::new();
    for pod in &pods(context, &discovery, args).await? {
        let names = containers(pod, args)?.into_iter();
        sources.extend(names.map(|container| Source { pod: name_of(pod).to_owned(), container }));
    }
    if !args.follow {
        for source in &sources {
            tolerate(args, source, stream(context, args, source).await)?;
        }
        return Ok(());
    }
    let most = args.max_log_requests;
    if sources.len() > most {
        bail!(
            "you are attempting to follow {} log streams, but maximum allowed concurrency is {most}, use --max-log-requests to increase the limit",
            sources.len()
        );
    }
    let follow = |source| async move { tolerate(args, source, stream(context, args, source).await) };
    try_join_all(sources.iter().map(follow)).await?;
    Ok(())
}

fn check(args: &Logs) -> Result<()> {
    match (&args.target, &args.selector) {
        (None, None) => bail!(
            "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command\nSee 'wk logs -h' for help and examples"
        ),
        (Some(_), Some(_)) => {
            bail!("only a selector (-l) or a POD name is allowed\nSee 'wk logs -h' for help and examples")
        }
        _ => {}
    }
    if args.inline_container.is_some() && args.container.is_some() {
        bail!("only one of -c or an inline [CONTAINER] arg is allowed");
    }
    if args.all_containers && (args.container.is_some() || args.inline_container.is_some()) {
        bail!("--all-containers=true should not be specified with container name");
    }
    if args.since.is_some() && args.since_time.is_some() {
        bail!("at most one of `sinceTime` or `sinceSeconds` may be specified");
    }
    if args.tail.is_some_and(|tail| tail < -1) {
        bail!("--tail must be greater than or equal to -1");
    }
    if args.max_log_requests == 0 {
        bail!("--max-log-requests must be greater than 0");
    }
    Ok(())
}

async fn pods(context: &Context, discovery: &Discovery, args: &Logs) -> Result<Vec<Value>> {
    if let Some(labels) = &args.selector {
        let target = Target { resource: discovery.find("pods")?.clone(), names: Vec::new() };
        let found = context.objects(&target, &Selection { labels, ..Selection::default() }).await?;
        if found.is_empty() {
            writeln!(std::io::stderr(), "No resources found in {} namespace.", context.namespace())?;
        }
        return Ok(found);
    }
    let word = args.target.as_deref().unwrap_or_default();
    let pods = pods_behind::all(context, discovery, word, &args.pod_running_timeout).await;
    let mut pods = pods.map_err(|error| in_logs_words(context, error))?;
    if !args.all_pods {
        pods_behind::tell(&pods)?;
        pods.truncate(1);
    }
    Ok(pods)
}

/// kubectl says it in other words here than elsewhere.
fn in_logs_words(context: &Context, error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<ApiError>() {
        Some(api) if api.reason() == "NotFound" => {
            let message = api.status["message"].as_str().unwrap_or_default();
            anyhow::anyhow!("error from server (NotFound): {message} in namespace {:?}", context.namespace())
        }
        _ => error,
    }
}

/// Which containers to show; one, unless all are asked for.
fn containers(pod: &Value, args: &Logs) -> Result<Vec<String>> {
    let names = |field: &str| -> Vec<String> {
        let list = pod["spec"][field].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(|container| container["name"].as_str().map(str::to_owned)).collect()
    };
    if args.all_containers {
        return Ok(["initContainers", "containers", "ephemeralContainers"].map(names).concat());
    }
    let wanted = args.container.as_deref().or(args.inline_container.as_deref());
    let container = pod_choice::container(pod, wanted, Telling::Aloud);
    let container = match (container, wanted) {
        (Err(_), Some(name)) => bail!("container {name} is not valid for pod {}", name_of(pod)),
        (container, _) => container?,
    };
    Ok(container["name"].as_str().map(str::to_owned).into_iter().collect())
}

/// With `--ignore-errors` what goes wrong is only told.
fn tolerate(args: &Logs, source: &Source, result: Result<()>) -> Result<()> {
    match result {
        Err(error) if args.ignore_errors => {
            let told = rest::describe_error(&error);
            output::line(format_args!(
                "error: failed to get logs of pod/{} container {}: {told}",
                source.pod, source.container
            ))
        }
        other => other,
    }
}

async fn stream(context: &Context, args: &Logs, source: &Source) -> Result<()> {
    let Source { pod, container } = source;
    let path = format!("/api/v1/namespaces/{}/pods/{}/log", context.namespace(), resources::encode(pod));
    let flag = |set: bool| if set { "true" } else { "" };
    let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
    let default_tail = args.selector.is_some().then_some(TAIL_WITH_SELECTOR);
    let since = args.since.as_deref().map(parse_duration).transpose()?.filter(|since| !since.is_zero());
    let since = since.map(|since| i64::try_from(since.as_secs_f64().ceil() as u64).unwrap_or(i64::MAX));
    let parameters = query(&[
        ("container", container),
        ("follow", flag(args.follow)),
        ("previous", flag(args.previous)),
        ("timestamps", flag(args.timestamps)),
        ("tailLines", &number(args.tail.or(default_tail).filter(|tail| *tail >= 0))),
        ("sinceSeconds", &number(since)),
        ("sinceTime", args.since_time.as_deref().unwrap_or_default()),
        ("limitBytes", &number(args.limit_bytes.filter(|limit| *limit != 0))),
    ]);
    let response = context.rest.stream(Method::GET, &format!("{path}{parameters}"), "*/*", None).await?;
    let mut body = response.into_body();
    let prefix = if args.prefix || args.all_pods { format!("[pod/{pod}/{container}] ") } else { String::new() };
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
