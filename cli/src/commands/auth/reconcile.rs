//! `wk auth reconcile`: roles allow at least what files say, bindings have at
//! least their subjects (upstream: `kubectl/pkg/cmd/auth/reconcile.go`).
//!
//! Rules are compared by what they allow: each is taken apart into single
//! permissions, so that one rule may be covered by several.

use crate::{
    args::{DryRun, Reconcile},
    commands::{
        Context, apply,
        report::{MERGE_PATCH, Reporter},
    },
    manifest::{self, Manifest},
    resources::{Discovery, ResourceType},
};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::io::Write;

pub(super) async fn run(context: &Context, args: &Reconcile) -> Result<()> {
    if args.files.is_empty() {
        bail!("must specify one of -f and -k");
    }
    let discovery = context.discovery().await?;
    let mut reporter = Reporter::new(&args.change)?;
    for manifest in manifest::read(&args.files).await? {
        reconcile(context, &discovery, args, &manifest, &mut reporter).await?;
    }
    Ok(())
}

async fn reconcile(
    context: &Context,
    discovery: &Discovery,
    args: &Reconcile,
    manifest: &Manifest,
    reporter: &mut Reporter,
) -> Result<()> {
    let (field, what) = match manifest.kind() {
        "Role" | "ClusterRole" => ("rules", "rules"),
        "RoleBinding" | "ClusterRoleBinding" => ("subjects", "subjects"),
        // As kubectl: other objects of the files are none of its business.
        _ => return Ok(()),
    };
    let resource = apply::resource_of(discovery, manifest)?;
    let namespace = context.namespace_of(resource, manifest.namespace())?;
    let live = context.rest.get_optional(&resource.object(namespace, manifest.name())).await?;
    let own = |object: &Value| object[field].as_array().cloned().unwrap_or_default();
    let (wanted, now) = (own(&manifest.object), live.as_ref().map(own).unwrap_or_default());
    let difference = match field {
        "rules" => Difference::of_rules(&wanted, &now),
        _ => Difference::of(&wanted, &now),
    };
    let removes = if field == "rules" { args.remove_extra_permissions } else { args.remove_extra_subjects };
    let (object, operation) =
        send(context, args, resource, namespace, manifest, &live, field, &difference, removes).await?;
    reporter.done(resource, &object, "reconciled")?;
    tell(what, operation, &difference, removes)
}

#[allow(clippy::too_many_arguments, reason = "what is sent, where, and why")]
async fn send(
    context: &Context,
    args: &Reconcile,
    resource: &ResourceType,
    namespace: &str,
    manifest: &Manifest,
    live: &Option<Value>,
    field: &str,
    difference: &Difference,
    removes: bool,
) -> Result<(Value, Option<&'static str>)> {
    let Some(live) = live else {
        let created = context.create(resource, manifest.object.clone(), &args.change, "auth").await?;
        return Ok((created, Some("create")));
    };
    let is_extra_removed = removes && !difference.extra.is_empty();
    if difference.missing.is_empty() && !is_extra_removed {
        return Ok((live.clone(), None));
    }
    let list = if is_extra_removed { manifest.object[field].clone() } else { json!(difference.united) };
    if args.change.dry_run == DryRun::Client {
        let mut object = live.clone();
        object[field] = list;
        return Ok((object, Some("update")));
    }
    let path = format!("{}{}", resource.object(namespace, manifest.name()), args.change.query("auth", ""));
    let answer = context.rest.patch(&path, MERGE_PATCH, &json!({ field: list })).await?;
    Ok((answer.body, Some("update")))
}

fn tell(what: &str, operation: Option<&str>, difference: &Difference, removes: bool) -> Result<()> {
    let mut out = std::io::stderr();
    if let Some(operation) = operation {
        writeln!(out, "\treconciliation required {operation}")?;
    }
    let (added, removed) = (format!("missing {what} added"), format!("extra {what} removed"));
    // What stays although no file has it is not told.
    let extra = if removes { difference.extra.as_slice() } else { &[] };
    for (title, list) in [(added, difference.missing.as_slice()), (removed, extra)] {
        if !list.is_empty() {
            writeln!(out, "\t{title}:")?;
            list.iter().try_for_each(|one| writeln!(out, "\t\t{}", go_print(one)))?;
        }
    }
    Ok(())
}

/// How two lists differ.
struct Difference {
    missing: Vec<Value>,
    extra: Vec<Value>,
    /// What there is, and what is missing.
    united: Vec<Value>,
}

impl Difference {
    fn of(wanted: &[Value], now: &[Value]) -> Self {
        let not_in = |list: &[Value], other: &[Value]| -> Vec<Value> {
            list.iter().filter(|one| !other.contains(one)).cloned().collect()
        };
        let missing = not_in(wanted, now);
        Self { united: [now, &missing].concat(), extra: not_in(now, wanted), missing }
    }

    fn of_rules(wanted: &[Value], now: &[Value]) -> Self {
        let missing = uncovered(wanted, now);
        Self { united: [now, &missing].concat(), extra: uncovered(now, wanted), missing }
    }
}

/// The permissions of some rules that others do not give, as single rules.
fn uncovered(rules: &[Value], others: &[Value]) -> Vec<Value> {
    let single: Vec<Value> = rules.iter().flat_map(taken_apart).collect();
    let missing = single.into_iter().filter(|rule| !others.iter().any(|other| covers(other, rule)));
    let mut joined: Vec<Value> = Vec::new();
    for rule in missing {
        // Those that differ in their verb only are one again.
        let same = |other: &&mut Value| {
            ["apiGroups", "resources", "resourceNames", "nonResourceURLs"]
                .iter()
                .all(|field| other[*field] == rule[*field])
        };
        match joined.iter_mut().find(same).and_then(|other| other["verbs"].as_array_mut()) {
            Some(verbs) => verbs.extend(rule["verbs"].as_array().into_iter().flatten().cloned()),
            None => joined.push(rule),
        }
    }
    joined
}

fn words(rule: &Value, field: &str) -> Vec<String> {
    rule[field].as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

fn taken_apart(rule: &Value) -> Vec<Value> {
    let mut single = Vec::new();
    for verb in words(rule, "verbs") {
        for path in words(rule, "nonResourceURLs") {
            single.push(json!({"verbs": [verb], "nonResourceURLs": [path]}));
        }
        for group in words(rule, "apiGroups") {
            for resource in words(rule, "resources") {
                let one = json!({"verbs": [verb], "apiGroups": [group], "resources": [resource]});
                let names = words(rule, "resourceNames");
                single.extend(names.iter().map(|name| {
                    let mut one = one.clone();
                    one["resourceNames"] = json!([name]);
                    one
                }));
                if names.is_empty() {
                    single.push(one);
                }
            }
        }
    }
    single
}

fn covers(owner: &Value, single: &Value) -> bool {
    let has = |field: &str| {
        let owned = words(owner, field);
        words(single, field).iter().all(|word| owned.contains(word) || owned.iter().any(|owned| owned == "*"))
    };
    let names = words(owner, "resourceNames");
    let names_fit = names.is_empty() || !words(single, "resourceNames").is_empty() && has("resourceNames");
    has("verbs") && has("apiGroups") && has("resources") && has("nonResourceURLs") && names_fit
}

/// As Go prints a struct's fields.
fn go_print(value: &Value) -> String {
    if !value["verbs"].is_null() {
        let list = |field: &str| words(value, field).join(" ");
        return format!(
            "{{Verbs:[{}] APIGroups:[{}] Resources:[{}] ResourceNames:[{}] NonResourceURLs:[{}]}}",
            list("verbs"),
            list("apiGroups"),
            list("resources"),
            list("resourceNames"),
            list("nonResourceURLs")
        );
    }
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    format!(
        "{{Kind:{} APIGroup:{} Name:{} Namespace:{}}}",
        text("kind"),
        text("apiGroup"),
        text("name"),
        text("namespace")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_compared_by_what_they_allow() {
        let rule =
            |verbs: &[&str], resources: &[&str]| json!({"verbs": verbs, "apiGroups": [""], "resources": resources});
        let now = [rule(&["get"], &["pods", "nodes"]), rule(&["list"], &["*"])];
        assert!(uncovered(&[rule(&["get", "list"], &["pods"])], &now).is_empty());
        let missing = uncovered(&[rule(&["get", "watch", "delete"], &["pods"])], &now);
        assert_eq!(missing, [rule(&["watch", "delete"], &["pods"])]);
        let named = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]});
        assert!(uncovered(std::slice::from_ref(&named), &now).is_empty(), "all names include one");
        assert_eq!(uncovered(&[rule(&["get"], &["pods"])], &[named]).len(), 1);
    }
}
