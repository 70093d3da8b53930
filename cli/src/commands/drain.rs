//! `wk drain`: a node's pods go elsewhere, by eviction, so that disruption
//! budgets count (upstream: `kubectl/pkg/drain`).

mod filter;

use super::{
    Context, apply,
    cordon::{self, Wanted},
    parse_duration,
    select::Found,
    wait,
};
use crate::{
    args::{Drain, DryRun},
    output,
    resources::{Discovery, ResourceType, query},
    rest::{self, ApiError, JSON},
};
use anyhow::{Context as _, Result, bail};
use filter::Policy;
use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};
use std::{io::Write, time::Duration};

/// How long to wait when a budget allows no disruption, as kubectl does.
const RETRY: Duration = Duration::from_secs(5);

pub(super) async fn run(context: &Context, args: &Drain) -> Result<()> {
    let nodes = cordon::nodes(context, &args.cordon).await?;
    let mut failures = nodes.failures;
    for node in &nodes.found {
        if let Err(error) = cordon::set(context, args.cordon.dry_run, node, Wanted::Cordoned).await {
            writeln!(std::io::stderr(), "error: unable to cordon node {:?}: {error:#}", node.name())?;
        }
    }
    let discovery = context.discovery().await?;
    let mut pending = Vec::new();
    for node in &nodes.found {
        let suffix = super::dry_run_suffix(args.cordon.dry_run);
        match drain(context, &discovery, args, node).await {
            Ok(()) => output::line(format_args!("{} drained{suffix}", node.resource.display(node.name())))?,
            Err(error) => {
                let (name, told) = (node.name(), plain(&error));
                let mut stderr = std::io::stderr();
                writeln!(stderr, "error: unable to drain node {name:?} due to error: {told}, continuing command...")?;
                pending.push(name);
                failures.push(error);
            }
        }
    }
    if !pending.is_empty() {
        writeln!(std::io::stderr(), "There are pending nodes to be drained:\n {}", pending.join("\n "))?;
    }
    apply::first_failure(failures)
}

/// The bare text of an error: a server's message without its reason.
fn plain(error: &anyhow::Error) -> String {
    match error.downcast_ref::<ApiError>() {
        Some(api) => api.status["message"].as_str().unwrap_or_default().to_owned(),
        None => format!("{error:#}"),
    }
}

async fn drain(context: &Context, discovery: &Discovery, args: &Drain, node: &Found) -> Result<()> {
    let pods = discovery.find("pods")?;
    let fields = format!("spec.nodeName={}", node.name());
    let labels = args.pod_selector.as_deref().unwrap_or_default();
    let parameters = query(&[("fieldSelector", &fields), ("labelSelector", labels)]);
    let list = context.rest.get(&format!("{}{parameters}", pods.collection(None))).await?;
    let mut verdicts = Vec::new();
    for pod in list["items"].as_array().cloned().unwrap_or_default() {
        let daemon_set = daemon_set_of(context, &pod).await?;
        verdicts.push((Policy::new(args, context.now()).verdict(&pod, daemon_set.as_ref()), pod));
    }
    let (going, warnings) = filter::sort_out(verdicts)?;
    if !warnings.is_empty() {
        writeln!(std::io::stderr(), "Warning: {warnings}")?;
    }
    let timeout = parse_duration(&args.timeout)?;
    let all = join_all(going.iter().map(|pod| remove(context, pods, args, pod)));
    let results = if timeout.is_zero() {
        all.await
    } else {
        let late = |_| vec![Err(anyhow::anyhow!("global timeout reached: {}", args.timeout))];
        tokio::time::timeout(timeout, all).await.unwrap_or_else(late)
    };
    apply::first_failure(results.into_iter().filter_map(Result::err).collect())
}

/// Whether the DaemonSet that controls a pod exists; `None` when none controls it.
async fn daemon_set_of(context: &Context, pod: &Value) -> Result<Option<Result<(), String>>> {
    let Some(name) = filter::daemon_set(pod) else { return Ok(None) };
    let path = format!("/apis/apps/v1/namespaces/{}/daemonsets/{name}", super::namespace_of(pod));
    Ok(Some(match context.rest.get_optional(&path).await? {
        Some(_) => Ok(()),
        None => Err(format!("daemonsets.apps {name:?} not found")),
    }))
}

/// Evicts or deletes one pod and waits until it is gone.
async fn remove(context: &Context, pods: &ResourceType, args: &Drain, pod: &Value) -> Result<()> {
    let (namespace, name) = (super::namespace_of(pod), super::name_of(pod));
    let evicts = !args.disable_eviction;
    let dry_run = args.cordon.dry_run;
    if dry_run == DryRun::Client {
        return output::line(format_args!("evicting pod {namespace}/{name} (dry run)"));
    }
    let mut options = json!({});
    if args.grace_period >= 0 {
        options["gracePeriodSeconds"] = args.grace_period.into();
    }
    if dry_run == DryRun::Server {
        options["dryRun"] = json!(["All"]);
    }
    let is_going = if evicts {
        evict(context, pods, dry_run, pod, &options).await?
    } else {
        let body = serde_json::to_vec(&options)?;
        let sent = context.rest.send(Method::DELETE, &pods.object(namespace, name), JSON, Some((JSON, body))).await;
        rest::none_if_missing(sent)?.is_some()
    };
    if !is_going || dry_run == DryRun::Server {
        return Ok(());
    }
    let uid = pod["metadata"]["uid"].as_str();
    wait::until_gone(context, pods, namespace, name, uid)
        .await
        .with_context(|| format!("error when waiting for pod {name:?} in namespace {namespace:?} to terminate"))?;
    output::line(format_args!("pod/{name} {}", if evicts { "evicted" } else { "deleted" }))
}

/// Asks until the budget allows it; whether the pod was still there.
async fn evict(context: &Context, pods: &ResourceType, dry_run: DryRun, pod: &Value, options: &Value) -> Result<bool> {
    let (namespace, name) = (super::namespace_of(pod), super::name_of(pod));
    let path = format!("{}/eviction", pods.object(namespace, name));
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace}, "deleteOptions": options});
    loop {
        output::line(format_args!("evicting pod {namespace}/{name}{}", super::dry_run_suffix(dry_run)))?;
        let Err(error) = context.rest.create(&path, &eviction).await else { return Ok(true) };
        match error.downcast_ref::<ApiError>().map(ApiError::reason) {
            Some("NotFound") => return Ok(false),
            Some("TooManyRequests") => {
                let told = plain(&error);
                writeln!(
                    std::io::stderr(),
                    "error when evicting pods/{name:?} -n {namespace:?} (will retry after 5s): {told}"
                )?;
                tokio::time::sleep(RETRY).await;
            }
            _ => bail!("error when evicting pods/{name:?} -n {namespace:?}: {}", plain(&error)),
        }
    }
}
