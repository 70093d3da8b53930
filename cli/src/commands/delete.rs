//! `wk delete`: by name, file, label, or all of a type; waits until they are gone.

use super::{Context, Selection, apply, dry_run_suffix, name_of, namespace_of, parse_duration};
use crate::{
    args::{Delete, DryRun},
    manifest, output,
    resources::{self, ResourceType},
    rest::{self, JSON},
};
use anyhow::{Result, bail};
use http::Method;
use serde_json::{Value, json};
use std::{
    io::{BufRead, Write},
    time::Duration,
};

/// How long `--force` waits for an old object to go, as kubectl does.
const GONE_TIMEOUT: Duration = Duration::from_secs(300);

/// What is to go: a type, a namespace, a name.
struct Doomed {
    resource: ResourceType,
    namespace: String,
    name: String,
    /// The file that names it.
    source: Option<String>,
}

pub(super) async fn run(context: &Context, args: &Delete) -> Result<()> {
    check(args)?;
    if let Some(path) = &args.raw {
        let answer = context.rest.send(Method::DELETE, path, JSON, None).await?;
        return output::line(answer.body);
    }
    let doomed = find(context, args).await?;
    if doomed.is_empty() {
        return output::line("No resources found");
    }
    if args.interactive && !confirmed(&doomed)? {
        return Ok(());
    }
    let grace_period = if args.now { 1 } else { args.grace_period };
    if args.force && grace_period <= 0 {
        writeln!(
            std::io::stderr(),
            "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely."
        )?;
    }
    let options = options(&args.cascade, grace_period, args.force, args.dry_run)?;
    let mut failures = Vec::new();
    let mut going = Vec::new();
    for one in doomed {
        match delete(context, args, &one, &options).await {
            Ok(Some(uid)) => going.push((one, uid)),
            Ok(None) => {}
            Err(error) => failures.push(error),
        }
    }
    if args.wait && args.dry_run == DryRun::None && !(args.force && grace_period == 0) {
        wait_until_gone(context, args, &going).await?;
    }
    apply::first_failure(failures)
}

fn check(args: &Delete) -> Result<()> {
    if args.target.is_empty() && args.files.is_empty() && args.raw.is_none() {
        bail!(
            "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'"
        );
    }
    let is_selected = args.selector.is_some() || args.field_selector.is_some();
    if args.all && args.selector.is_some() {
        bail!("setting 'all' parameter but found a non empty selector. ");
    }
    if args.all && args.field_selector.is_some() {
        bail!("setting 'all' parameter but found a non empty selector. ");
    }
    if args.now && args.grace_period != -1 {
        bail!("--now and --grace-period cannot be specified together");
    }
    if args.force && args.grace_period > 0 {
        bail!("--force and --grace-period greater than 0 cannot be specified together");
    }
    if args.raw.is_some() && (!args.target.is_empty() || !args.files.is_empty() || is_selected) {
        bail!("--raw and --filename, --selector or a type are mutually exclusive");
    }
    if !matches!(args.output.as_deref(), None | Some("" | "name")) {
        bail!("unexpected -o output mode: {}. We only support '-o name'", args.output.as_deref().unwrap_or_default());
    }
    Ok(())
}

async fn find(context: &Context, args: &Delete) -> Result<Vec<Doomed>> {
    let discovery = context.discovery().await?;
    if !args.files.is_empty() {
        let manifests = manifest::read_selected(&args.files, args.selector.as_deref()).await?;
        return manifests
            .iter()
            .map(|manifest| {
                let resource = apply::resource_of(&discovery, manifest)?.clone();
                let namespace = context.namespace_of(&resource, manifest.namespace())?.to_owned();
                Ok(Doomed {
                    resource,
                    namespace,
                    name: manifest.name().to_owned(),
                    source: Some(manifest.source.clone()),
                })
            })
            .collect();
    }
    let selection = Selection {
        labels: args.selector.as_deref().unwrap_or_default(),
        fields: args.field_selector.as_deref().unwrap_or_default(),
        all_namespaces: args.all_namespaces,
    };
    let mut doomed = Vec::new();
    for target in resources::targets(&discovery, &args.target)? {
        doomed.extend(of_target(context, args, target, &selection).await?);
    }
    Ok(doomed)
}

async fn of_target(
    context: &Context,
    args: &Delete,
    target: resources::Target,
    selection: &Selection<'_>,
) -> Result<Vec<Doomed>> {
    let resource = &target.resource;
    let is_selected = args.all || args.selector.is_some() || args.field_selector.is_some();
    if !target.names.is_empty() {
        if is_selected {
            bail!("name cannot be provided when a selector is specified");
        }
        let namespace = context.namespace();
        let named = |name: &String| Doomed {
            resource: resource.clone(),
            namespace: namespace.to_owned(),
            name: name.clone(),
            source: None,
        };
        return Ok(target.names.iter().map(named).collect());
    }
    if !is_selected {
        bail!("resource(s) were provided, but no name was specified");
    }
    let objects = context.objects(&target, selection).await?;
    let listed = |object: &Value| Doomed {
        resource: resource.clone(),
        namespace: namespace_of(object).to_owned(),
        name: name_of(object).to_owned(),
        source: None,
    };
    Ok(objects.iter().map(listed).collect())
}

/// `-i`: shows what is to go, and asks.
fn confirmed(doomed: &[Doomed]) -> Result<bool> {
    output::line(format_args!("You are about to delete the following {} resource(s):", doomed.len()))?;
    for one in doomed {
        output::line(one.resource.display(&one.name))?;
    }
    write!(output::stdout(), "Do you want to continue? (y/N): ")?;
    output::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y") {
        return Ok(true);
    }
    output::line("deletion is cancelled").map(|()| false)
}

/// The options of a delete request.
///
/// # Errors
/// A word that is no way to cascade.
pub(super) fn options(cascade: &str, grace_period: i64, force: bool, dry_run: DryRun) -> Result<Value> {
    let propagation = match cascade {
        "background" | "true" => "Background",
        "foreground" => "Foreground",
        "orphan" | "false" => "Orphan",
        other => bail!("invalid cascade value ({other}). Must be \"background\", \"foreground\", or \"orphan\""),
    };
    let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation});
    if grace_period == 0 && !force {
        // As kubectl: zero seconds without --force means "as soon as confirmed".
        options["gracePeriodSeconds"] = 1.into();
    } else if grace_period >= 0 || force {
        options["gracePeriodSeconds"] = grace_period.max(0).into();
    }
    if dry_run == DryRun::Server {
        options["dryRun"] = json!(["All"]);
    }
    Ok(options)
}

/// Deletes one object; what the server answered, or `None` when there is none.
pub(super) async fn one(
    context: &Context,
    resource: &ResourceType,
    namespace: &str,
    name: &str,
    options: &Value,
) -> Result<Option<Value>> {
    let body = serde_json::to_vec(options)?;
    let sent = context.rest.send(Method::DELETE, &resource.object(namespace, name), JSON, Some((JSON, body))).await;
    rest::none_if_missing(sent.map(|answer| answer.body))
}

/// Deletes one object at once and waits until it is gone, as `--force` of other
/// commands does; whether there was one.
///
/// # Errors
/// What the server says; an object that stays longer than `timeout`.
pub(super) async fn and_wait(
    context: &Context,
    resource: &ResourceType,
    namespace: &str,
    name: &str,
    timeout: &str,
) -> Result<bool> {
    let options = options("background", 0, true, DryRun::None)?;
    if one(context, resource, namespace, name, &options).await?.is_none() {
        return Ok(false);
    }
    let timeout = Some(parse_duration(timeout)?).filter(|timeout| !timeout.is_zero()).unwrap_or(GONE_TIMEOUT);
    match tokio::time::timeout(timeout, super::wait::until_gone(context, resource, namespace, name, None)).await {
        Ok(result) => result.map(|()| true),
        Err(_) => bail!("timed out waiting for the condition"),
    }
}

/// Deletes one and says so; the UID of what is going, or `None` when it need
/// not be waited for.
async fn delete(context: &Context, args: &Delete, one: &Doomed, options: &Value) -> Result<Option<String>> {
    let mut uid = None;
    if args.dry_run == DryRun::Client {
        context.rest.get(&one.resource.object(&one.namespace, &one.name)).await?;
    } else {
        let answer = self::one(context, &one.resource, &one.namespace, &one.name, options).await?;
        let Some(answer) = answer else {
            if args.ignore_not_found || args.all {
                return Ok(None);
            }
            let error = anyhow::Error::from(missing(one));
            return Err(match &one.source {
                Some(source) => rest::with_source(error, "deleting", source),
                None => error,
            });
        };
        let found = answer["metadata"]["uid"].as_str().or_else(|| answer["details"]["uid"].as_str());
        uid = found.map(str::to_owned);
    }
    let forced = if args.force { "force deleted" } else { "deleted" };
    match args.output.as_deref() {
        Some("name") => output::line(one.resource.display(&one.name))?,
        _ => output::line(format_args!("{} {forced}{}", named(one), dry_run_suffix(args.dry_run)))?,
    }
    Ok(uid)
}

fn missing(one: &Doomed) -> rest::ApiError {
    let message = format!("{} {:?} not found", one.resource.qualified(), one.name);
    rest::ApiError { status: json!({"reason": "NotFound", "message": message}) }
}

/// `pod "x"`, `deployment.apps "x"`.
fn named(one: &Doomed) -> String {
    let display = one.resource.display("");
    format!("{} {:?}", display.trim_end_matches('/'), one.name)
}

async fn wait_until_gone(context: &Context, args: &Delete, going: &[(Doomed, String)]) -> Result<()> {
    let timeout = parse_duration(&args.timeout)?;
    let all = async {
        for (one, uid) in going {
            super::wait::until_gone(context, &one.resource, &one.namespace, &one.name, Some(uid)).await?;
        }
        Ok(())
    };
    if timeout == Duration::ZERO {
        return all.await;
    }
    match tokio::time::timeout(timeout, all).await {
        Ok(result) => result,
        Err(_) => bail!("timed out waiting for the condition"),
    }
}
