//! `wk delete`: by name, file, label, or all of a type; waits until they are gone.

use super::{Context, Selection, apply, name_of, namespace_of, parse_duration};
use crate::{
    args::Delete,
    manifest, output,
    resources::{self, ResourceType},
    rest::{self, JSON},
};
use anyhow::{Result, bail};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// What is to go: a type, a namespace, a name.
struct Doomed {
    resource: ResourceType,
    namespace: String,
    name: String,
}

pub(super) async fn run(context: &Context, args: &Delete) -> Result<()> {
    let doomed = find(context, args).await?;
    if doomed.is_empty() {
        return output::line("No resources found");
    }
    let options = options(args)?;
    let mut failures = Vec::new();
    let mut going = Vec::new();
    for one in doomed {
        match delete(context, args, &one, &options).await {
            Ok(Some(uid)) => going.push((one, uid)),
            Ok(None) => {}
            Err(error) => failures.push(error),
        }
    }
    if args.wait && !(args.force && args.grace_period == 0) {
        wait_until_gone(context, args, &going).await?;
    }
    apply::first_failure(failures)
}

async fn find(context: &Context, args: &Delete) -> Result<Vec<Doomed>> {
    let discovery = context.discovery().await?;
    if !args.files.filename.is_empty() {
        let manifests = manifest::read(&args.files).await?;
        return manifests
            .iter()
            .map(|manifest| {
                let resource = apply::resource_of(&discovery, manifest)?.clone();
                let namespace = context.namespace_of(&resource, manifest.namespace())?.to_owned();
                Ok(Doomed { resource, namespace, name: manifest.name().to_owned() })
            })
            .collect();
    }
    let selection = Selection {
        labels: args.selector.as_deref().unwrap_or_default(),
        fields: "",
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
    if !target.names.is_empty() {
        if args.all || args.selector.is_some() {
            bail!("name cannot be provided when a selector is specified");
        }
        let namespace = context.namespace();
        let named =
            |name: &String| Doomed { resource: resource.clone(), namespace: namespace.to_owned(), name: name.clone() };
        return Ok(target.names.iter().map(named).collect());
    }
    if !args.all && args.selector.is_none() {
        bail!("resource(s) were provided, but no name was specified");
    }
    let objects = context.objects(&target, selection).await?;
    let listed = |object: &Value| Doomed {
        resource: resource.clone(),
        namespace: namespace_of(object).to_owned(),
        name: name_of(object).to_owned(),
    };
    Ok(objects.iter().map(listed).collect())
}

fn options(args: &Delete) -> Result<Value> {
    let propagation = match args.cascade.as_str() {
        "background" | "true" => "Background",
        "foreground" => "Foreground",
        "orphan" | "false" => "Orphan",
        other => bail!("invalid cascade value ({other}). Must be \"background\", \"foreground\", or \"orphan\""),
    };
    let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation});
    if args.grace_period == 0 && !args.force {
        // As kubectl: zero seconds without --force means "as soon as confirmed".
        options["gracePeriodSeconds"] = 1.into();
    } else if args.grace_period >= 0 || args.force {
        options["gracePeriodSeconds"] = args.grace_period.max(0).into();
    }
    Ok(options)
}

/// Deletes one; the UID of what is going, or `None` when it need not be waited for.
async fn delete(context: &Context, args: &Delete, one: &Doomed, options: &Value) -> Result<Option<String>> {
    let path = one.resource.object(&one.namespace, &one.name);
    let request = context.rest.send(Method::DELETE, &path, JSON, Some((JSON, serde_json::to_vec(options)?)));
    let answer = match rest::none_if_missing(request.await.map(|answer| answer.body)) {
        Ok(Some(answer)) => answer,
        Ok(None) if args.ignore_not_found || args.all => return Ok(None),
        Ok(None) => bail!(missing(one)),
        Err(error) => return Err(error),
    };
    let forced = if args.force { "force deleted" } else { "deleted" };
    match args.output.as_deref() {
        Some("name") => output::line(one.resource.display(&one.name))?,
        _ => output::line(format_args!("{} {forced}", named(one)))?,
    }
    let uid = answer["metadata"]["uid"].as_str().or_else(|| answer["details"]["uid"].as_str());
    Ok(uid.map(str::to_owned))
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
