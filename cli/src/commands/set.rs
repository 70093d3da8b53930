//! `wk set`: one thing of a workload (upstream: `kubectl/pkg/cmd/set`).

mod containers;
mod env;

use super::{
    Context, apply,
    create::access,
    report::{Reporter, STRATEGIC_PATCH},
    select::{self, Found, Selected, Unnamed},
};
use crate::args::{DryRun, Set, SetResources, SetSubject, SetThing};
use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

pub(super) async fn run(context: &Context, args: &Set) -> Result<()> {
    match args {
        Set::Image(args) => image(context, args).await,
        Set::Env(args) => env::run(context, args).await,
        Set::Resources(args) => resources(context, args).await,
        Set::Selector(args) => selector(context, args).await,
        Set::Serviceaccount(args) => service_account(context, args).await,
        Set::Subject(args) => subject(context, args).await,
    }
}

/// Adds subjects to bindings.
async fn subject(context: &Context, args: &SetSubject) -> Result<()> {
    let added = access::subjects(&args.subjects)?;
    if added.is_empty() {
        bail!("you must specify at least one value of user, group or serviceaccount");
    }
    let selected = selected(context, &args.set, &args.set.choice.target).await?;
    change(context, &args.set, selected, "subjects updated", |found| {
        if !found.resource.kind.ends_with("RoleBinding") {
            bail!("setting subject is only supported for RoleBinding/ClusterRoleBinding");
        }
        let mut subjects = found.object["subjects"].as_array().cloned().unwrap_or_default();
        let missing: Vec<Value> = added.iter().filter(|subject| !subjects.contains(subject)).cloned().collect();
        if missing.is_empty() {
            return Ok(None);
        }
        subjects.extend(missing);
        Ok(Some(json!({ "subjects": subjects })))
    })
    .await
}

/// The objects that the words before the changes name.
async fn selected(context: &Context, args: &SetThing, target: &[String]) -> Result<Selected> {
    if args.local && args.change.dry_run == DryRun::Server {
        bail!("cannot specify --local and --dry-run=server - did you mean --dry-run=client?");
    }
    if args.local {
        return select::local(context, &args.choice).await;
    }
    if target.is_empty() && args.choice.files.is_empty() {
        bail!("one or more resources must be specified as <resource> <name> or <resource>/<name>");
    }
    select::select(context, target, &args.choice, Unnamed::Refused).await
}

/// Sends what `patch_of` makes of each object; `None` changes nothing.
async fn change(
    context: &Context,
    args: &SetThing,
    selected: Selected,
    told: &str,
    patch_of: impl Fn(&Found) -> Result<Option<Value>>,
) -> Result<()> {
    let mut reporter = Reporter::new(&args.change)?;
    let mut failures = selected.failures;
    for found in &selected.found {
        match patch_of(found) {
            Ok(Some(patch)) => {
                let sent = send(context, args, found, &patch, told, &mut reporter).await;
                failures.extend(sent.err());
            }
            Ok(None) => {}
            Err(error) => failures.push(error),
        }
    }
    apply::first_failure(failures)
}

async fn send(
    context: &Context,
    args: &SetThing,
    found: &Found,
    patch: &Value,
    told: &str,
    reporter: &mut Reporter,
) -> Result<()> {
    let object = if args.local || args.change.dry_run == DryRun::Client {
        containers::patched(&found.object, patch)
    } else {
        let path = format!("{}{}", found.path(), args.change.query("set", ""));
        context.rest.patch(&path, STRATEGIC_PATCH, patch).await?.body
    };
    reporter.done(&found.resource, &object, told)
}

async fn image(context: &Context, args: &SetThing) -> Result<()> {
    let (target, words) = select::split_changes(&args.choice.target, "image")?;
    let images = pairs(&words, "image")?;
    if images.is_empty() {
        bail!("at least one image update is required");
    }
    if images.len() > 1 && images.iter().any(|(name, _)| name == "*") {
        bail!("all containers are already specified by *, but saw more than one container_name=container_image pairs");
    }
    let selected = selected(context, args, &target).await?;
    change(context, args, selected, "image updated", |found| image_patch(found, &images)).await
}

fn image_patch(found: &Found, images: &[(String, String)]) -> Result<Option<Value>> {
    let names = containers::names(&found.object);
    for (name, _) in images {
        if name != "*" && !names.contains(name) {
            bail!("unable to find container named {name:?}");
        }
    }
    containers::patch(&found.object, |container| {
        let wanted = images.iter().find(|(name, _)| name == "*" || container["name"] == name.as_str());
        Ok(wanted.filter(|(_, image)| container["image"] != image.as_str()).map(|(_, image)| json!({ "image": image })))
    })
}

/// `KEY=VALUE` each.
fn pairs(words: &[String], what: &str) -> Result<Vec<(String, String)>> {
    let split = |word: &String| {
        let pair = word.split_once('=').filter(|(key, _)| !key.is_empty());
        let (key, value) = pair.with_context(|| format!("invalid {what} format: {word}"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    words.iter().map(split).collect()
}

async fn resources(context: &Context, args: &SetResources) -> Result<()> {
    let mut wanted = Map::new();
    for (field, text) in [("limits", &args.limits), ("requests", &args.requests)] {
        if let Some(text) = text {
            wanted.insert(field.to_owned(), amounts(text)?.into());
        }
    }
    if wanted.is_empty() {
        bail!("you must specify an update to requests or limits (in the form of --requests/--limits)");
    }
    let selected = selected(context, &args.set, &args.set.choice.target).await?;
    change(context, &args.set, selected, "resource requirements updated", |found| {
        let names = containers::names(&found.object);
        if !names.iter().any(|name| containers::matches(&args.containers, name)) {
            bail!("unable to find container named {}", args.containers);
        }
        containers::patch(&found.object, |container| {
            let is_meant = container["name"].as_str().is_some_and(|name| containers::matches(&args.containers, name));
            Ok(is_meant.then(|| json!({ "resources": wanted })))
        })
    })
    .await
}

/// `cpu=1,memory=64Mi`
fn amounts(text: &str) -> Result<Map<String, Value>> {
    let mut amounts = Map::new();
    for part in text.split(',') {
        let Some((name, amount)) = part.split_once('=').filter(|(_, amount)| !amount.contains('=')) else {
            bail!("invalid argument syntax {part}, expected <resource>=<value>");
        };
        // Zero removes, as kubectl documents it.
        amounts.insert(name.to_owned(), if amount == "0" { Value::Null } else { amount.into() });
    }
    Ok(amounts)
}

async fn selector(context: &Context, args: &SetThing) -> Result<()> {
    let Some((labels, target)) = args.choice.target.split_last().filter(|(last, _)| last.contains('=')) else {
        bail!("one selector is required");
    };
    let words: Vec<String> = labels.split(',').map(str::to_owned).collect();
    let labels: Map<String, Value> =
        pairs(&words, "selector")?.into_iter().map(|(key, value)| (key, value.into())).collect();
    let selected = selected(context, args, target).await?;
    change(context, args, selected, "selector updated", |found| {
        if found.resource.kind != "Service" {
            bail!("setting a selector is only supported for Services");
        }
        let mut map = labels.clone();
        let gone = found.object["spec"]["selector"].as_object().into_iter().flatten().map(|(key, _)| key);
        for key in gone {
            map.entry(key.clone()).or_insert(Value::Null);
        }
        Ok(Some(json!({"spec": {"selector": map}})))
    })
    .await
}

async fn service_account(context: &Context, args: &SetThing) -> Result<()> {
    let Some((account, target)) = args.choice.target.split_last() else { bail!("serviceaccount is required") };
    let selected = selected(context, args, target).await?;
    change(context, args, selected, "serviceaccount updated", |found| {
        containers::pod_spec_patch(&found.object, &json!({"serviceAccountName": account})).map(Some)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_pairs() {
        let amounts = amounts("cpu=1,memory=64Mi,x=0").expect("valid");
        assert_eq!(Value::from(amounts), json!({"cpu": "1", "memory": "64Mi", "x": null}));
        assert!(super::amounts("cpu").is_err());
    }
}
