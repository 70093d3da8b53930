//! `wk run`: one pod from an image.

use super::{Context, dry_run_suffix};
use crate::{
    args::{DryRun, Run},
    output::{self, Format, Objects},
    resources::query,
};
use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

pub(super) async fn run(context: &Context, args: &Run) -> Result<()> {
    let discovery = context.discovery().await?;
    let resource = discovery.find("pods")?.clone();
    let mut pod = pod(args)?;
    if args.dry_run != DryRun::Client {
        let dry_run = if args.dry_run == DryRun::Server { "All" } else { "" };
        let path = resource.collection(Some(context.namespace()));
        let parameters = query(&[("fieldManager", "wk-run"), ("dryRun", dry_run)]);
        pod = context.rest.create(&format!("{path}{parameters}"), &pod).await?;
    }
    match &args.output {
        Some(format) => {
            Objects { items: vec![(resource, pod)], single: true }.print(&Format::parse(Some(format))?, true)
        }
        None => output::line(format_args!("{} created{}", resource.display(&args.name), dry_run_suffix(args.dry_run))),
    }
}

fn pod(args: &Run) -> Result<Value> {
    let mut container = json!({"name": args.name, "image": args.image, "resources": {}});
    if !args.args.is_empty() {
        container[if args.command { "command" } else { "args" }] = json!(args.args);
    }
    if !args.env.is_empty() {
        let pairs = pairs(&args.env, "env")?;
        container["env"] = pairs.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    }
    if let Some(port) = args.port {
        container["ports"] = json!([{ "containerPort": port }]);
    }
    if let Some(policy) = &args.image_pull_policy {
        container["imagePullPolicy"] = policy.clone().into();
    }
    Ok(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": args.name, "labels": labels(args)?},
        "spec": {"containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": args.restart},
    }))
}

fn labels(args: &Run) -> Result<Map<String, Value>> {
    let Some(text) = &args.labels else { return Ok(Map::from_iter([("run".to_owned(), args.name.clone().into())])) };
    let parts: Vec<String> = text.split(',').map(str::to_owned).collect();
    Ok(pairs(&parts, "label")?.into_iter().map(|(name, value)| (name, value.into())).collect())
}

fn pairs(texts: &[String], what: &str) -> Result<Vec<(String, String)>> {
    let split = |text: &String| match text.split_once('=').filter(|(name, _)| !name.is_empty()) {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => bail!("invalid {what}: {text}"),
    };
    texts.iter().map(split).collect()
}
