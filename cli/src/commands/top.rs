//! `wk top`: what nodes and pods use, when the server has the metrics API
//! (upstream: `kubectl/pkg/cmd/top`).

use super::{Context, Selection, name_of, namespace_of};
use crate::{
    args::{Top, TopNode, TopPod},
    output::{self, table::Table},
    resources::{ResourceType, Target, encode, query},
};
use anyhow::{Result, bail};
use serde_json::Value;
use std::{collections::BTreeMap, io::Write};
use wk_apiserver::schema::Quantity;

const GROUP: &str = "metrics.k8s.io";

/// What something uses, or may use.
#[derive(Clone, Copy, Default)]
struct Usage {
    cpu_millis: i128,
    memory_bytes: i128,
}

impl Usage {
    fn of(resources: &Value) -> Self {
        let quantity = |name: &str| resources[name].as_str().and_then(|text| text.parse::<Quantity>().ok());
        Self {
            cpu_millis: quantity("cpu").map_or(0, |cpu| cpu.millis()),
            memory_bytes: quantity("memory").map_or(0, |memory| memory.units()),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self { cpu_millis: self.cpu_millis + other.cpu_millis, memory_bytes: self.memory_bytes + other.memory_bytes }
    }

    fn cpu(self) -> String {
        format!("{}m", self.cpu_millis)
    }

    fn memory(self) -> String {
        format!("{}Mi", self.memory_bytes / (1 << 20))
    }

    fn by(self, key: Option<&str>) -> i128 {
        if key == Some("memory") { self.memory_bytes } else { self.cpu_millis }
    }
}

pub(super) async fn run(context: &Context, args: &Top) -> Result<()> {
    let discovery = context.discovery().await?;
    let Some(metrics) = discovery.resources.iter().find(|resource| resource.group == GROUP) else {
        bail!("Metrics API not available")
    };
    match args {
        Top::Node(args) => {
            let nodes =
                Target { resource: discovery.find("nodes")?.clone(), names: args.name.iter().cloned().collect() };
            nodes_table(context, args, metrics, &nodes).await
        }
        Top::Pod(args) => pods_table(context, args, metrics).await,
    }
}

fn check_order(sort_by: Option<&str>) -> Result<()> {
    match sort_by {
        None | Some("" | "cpu" | "memory") => Ok(()),
        Some(_) => bail!("--sort-by accepts only cpu or memory"),
    }
}

async fn metrics_of(context: &Context, path: &str, name: Option<&str>, parameters: &str) -> Result<Vec<Value>> {
    if let Some(name) = name {
        return Ok(vec![context.rest.get(&format!("{path}/{}", encode(name))).await?]);
    }
    let list = context.rest.get(&format!("{path}{parameters}")).await?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

async fn nodes_table(context: &Context, args: &TopNode, metrics: &ResourceType, nodes: &Target) -> Result<()> {
    check_order(args.sort_by.as_deref())?;
    let labels = args.selector.as_deref().unwrap_or_default();
    let path = format!("/apis/{}/nodes", metrics.api_version());
    let parameters = query(&[("labelSelector", labels)]);
    let used = metrics_of(context, &path, args.name.as_deref(), &parameters).await?;
    let field = if args.show_capacity { "capacity" } else { "allocatable" };
    let objects = context.objects(nodes, &Selection { labels, ..Selection::default() }).await?;
    let most: BTreeMap<&str, Usage> =
        objects.iter().map(|node| (name_of(node), Usage::of(&node["status"][field]))).collect();
    let mut used: Vec<(&str, Usage)> = used.iter().map(|node| (name_of(node), Usage::of(&node["usage"]))).collect();
    sort(&mut used, args.sort_by.as_deref());
    let mut rows = heading(args.no_headers, &["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"]);
    for (name, usage) in used {
        let most = most.get(name).copied().unwrap_or_default();
        let percent = |used: i128, most: i128| {
            used.saturating_mul(100).checked_div(most).map_or("<unknown>".to_owned(), |part| format!("{part}%"))
        };
        let cpu = percent(usage.cpu_millis, most.cpu_millis);
        rows.push(vec![
            name.to_owned(),
            usage.cpu(),
            cpu,
            usage.memory(),
            percent(usage.memory_bytes, most.memory_bytes),
        ]);
    }
    Ok(write!(output::stdout(), "{}", Table::default().layout(&rows))?)
}

async fn pods_table(context: &Context, args: &TopPod, metrics: &ResourceType) -> Result<()> {
    check_order(args.sort_by.as_deref())?;
    let root = format!("/apis/{}", metrics.api_version());
    let path = if args.all_namespaces {
        format!("{root}/pods")
    } else {
        format!("{root}/namespaces/{}/pods", context.namespace())
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let parameters = query(&[("labelSelector", &text(&args.selector)), ("fieldSelector", &text(&args.field_selector))]);
    let pods = metrics_of(context, &path, args.name.as_deref(), &parameters).await?;
    if pods.is_empty() {
        let place = if args.all_namespaces { String::new() } else { format!(" in {} namespace", context.namespace()) };
        return Ok(writeln!(std::io::stderr(), "No resources found{place}.")?);
    }
    let containers = |pod: &Value| -> Vec<(String, Usage)> {
        let containers = pod["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
        containers
            .iter()
            .map(|container| {
                (container["name"].as_str().unwrap_or_default().to_owned(), Usage::of(&container["usage"]))
            })
            .collect()
    };
    let total = |pod: &Value| containers(pod).into_iter().fold(Usage::default(), |sum, (_, usage)| sum.plus(usage));
    let mut used: Vec<(&Value, Usage)> = pods.iter().map(|pod| (pod, total(pod))).collect();
    used.sort_by_key(|(pod, _)| (namespace_of(pod), name_of(pod)));
    if let Some(key) = args.sort_by.as_deref().filter(|key| !key.is_empty()) {
        used.sort_by_key(|(_, usage)| std::cmp::Reverse(usage.by(Some(key))));
    }
    let columns: &[&str] = if args.containers {
        &["POD", "NAME", "CPU(cores)", "MEMORY(bytes)"]
    } else {
        &["NAME", "CPU(cores)", "MEMORY(bytes)"]
    };
    let columns: Vec<&str> =
        args.all_namespaces.then_some("NAMESPACE").into_iter().chain(columns.iter().copied()).collect();
    let mut rows = heading(args.no_headers, &columns);
    for (pod, usage) in &used {
        let place: Vec<String> = args
            .all_namespaces
            .then(|| namespace_of(pod).to_owned())
            .into_iter()
            .chain([name_of(pod).to_owned()])
            .collect();
        if args.containers {
            rows.extend(
                containers(pod)
                    .into_iter()
                    .map(|(name, usage)| [place.clone(), vec![name, usage.cpu(), usage.memory()]].concat()),
            );
        } else {
            rows.push([place, vec![usage.cpu(), usage.memory()]].concat());
        }
    }
    if args.sum {
        let sum = used.iter().fold(Usage::default(), |sum, (_, usage)| sum.plus(*usage));
        let blanks = vec![String::new(); columns.len() - 2];
        rows.push([blanks.clone(), vec!["________".to_owned(), "________".to_owned()]].concat());
        rows.push([blanks, vec![sum.cpu(), sum.memory()]].concat());
    }
    Ok(write!(output::stdout(), "{}", Table::default().layout(&rows))?)
}

fn sort(used: &mut [(&str, Usage)], key: Option<&str>) {
    used.sort_by_key(|(name, _)| *name);
    if let Some(key) = key.filter(|key| !key.is_empty()) {
        used.sort_by_key(|(_, usage)| std::cmp::Reverse(usage.by(Some(key))));
    }
}

fn heading(hidden: bool, names: &[&str]) -> Vec<Vec<String>> {
    if hidden { Vec::new() } else { vec![names.iter().map(|name| (*name).to_owned()).collect()] }
}
