//! `wk taint`: what keeps pods off nodes (upstream: `kubectl/pkg/cmd/taint`).

use super::{
    Context, apply,
    report::{MERGE_PATCH, Reporter},
    select::{self, Found, Unnamed},
};
use crate::args::{Choice, DryRun, Taint};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// `KEY=VALUE:EFFECT`; to remove, the effect may be missing.
#[derive(Clone, Debug, PartialEq)]
struct Spec {
    key: String,
    value: String,
    effect: String,
}

impl Spec {
    fn parse(text: &str) -> Result<Self> {
        let (pair, effect) = text.split_once(':').unwrap_or((text, ""));
        if effect.contains(':') {
            bail!("invalid taint spec: {text}");
        }
        if !effect.is_empty() && !EFFECTS.contains(&effect) {
            bail!("invalid taint effect: {effect}, unsupported taint effect");
        }
        // Without an effect everything is the key, as upstream has it.
        let (key, value) = if effect.is_empty() { (pair, "") } else { pair.split_once('=').unwrap_or((pair, "")) };
        if key.is_empty() || key.contains('=') || value.contains('=') {
            bail!("invalid taint spec: {text}");
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned(), effect: effect.to_owned() })
    }

    fn is_same(&self, taint: &Value) -> bool {
        taint["key"] == self.key.as_str() && (self.effect.is_empty() || taint["effect"] == self.effect.as_str())
    }

    fn taint(&self) -> Value {
        let mut taint = json!({"key": self.key, "effect": self.effect});
        if !self.value.is_empty() {
            taint["value"] = self.value.clone().into();
        }
        taint
    }
}

/// What to do to a node's taints.
#[derive(Debug, Default, PartialEq)]
struct Changes {
    add: Vec<Spec>,
    remove: Vec<Spec>,
}

impl Changes {
    fn parse(words: &[String]) -> Result<Self> {
        let mut changes = Self::default();
        for word in words {
            if let Some(removed) = word.strip_suffix('-') {
                changes.remove.push(Spec::parse(removed)?);
                continue;
            }
            let spec = Spec::parse(word)?;
            if spec.effect.is_empty() {
                bail!("invalid taint spec: {word}");
            }
            if changes.add.iter().any(|other| other.key == spec.key && other.effect == spec.effect) {
                bail!("duplicated taints with the same key and effect: {word}");
            }
            changes.add.push(spec);
        }
        let both =
            changes.remove.iter().find(|removed| changes.add.iter().any(|added| removed.is_same(&added.taint())));
        match both {
            Some(Spec { key, effect, .. }) => {
                bail!("can not both modify and remove the following taint(s) in the same command: {key}={effect}")
            }
            None => Ok(changes),
        }
    }

    /// The taints afterwards, and what kubectl calls it.
    fn applied(&self, node: &str, now: &[Value], overwrite: bool) -> Result<(Vec<Value>, &'static str)> {
        let existing: Vec<&str> = self
            .add
            .iter()
            .filter(|spec| now.iter().any(|taint| spec.is_same(taint)))
            .map(|spec| spec.key.as_str())
            .collect();
        if !overwrite && !existing.is_empty() {
            let keys = existing.join(",");
            bail!("node {node} already has {keys} taint(s) with same effect(s) and --overwrite is false");
        }
        let mut taints: Vec<Value> = self.add.iter().map(Spec::taint).collect();
        let kept = now.iter().filter(|taint| !self.add.iter().any(|spec| spec.is_same(taint)));
        taints.extend(kept.cloned());
        let added = taints.len() != now.len();
        let mut removed = false;
        for spec in &self.remove {
            let before = taints.len();
            taints.retain(|taint| !spec.is_same(taint));
            removed = taints.len() != before;
            if !removed {
                let effect = if spec.effect.is_empty() { String::new() } else { format!(":{}", spec.effect) };
                bail!("taint \"{}{effect}\" not found", spec.key);
            }
        }
        let told = match (added, removed) {
            (true, true) => "modified",
            _ if overwrite => "modified",
            (true, false) => "tainted",
            (false, _) => "untainted",
        };
        Ok((taints, told))
    }
}

pub(super) async fn run(context: &Context, args: &Taint) -> Result<()> {
    let is_change = |word: &String| word.contains(['=', ':']) || word.ends_with('-');
    let first = args.words.iter().position(is_change).unwrap_or(args.words.len());
    let (target, words) = args.words.split_at(first);
    if let Some(late) = words.iter().find(|word| !is_change(word)) {
        bail!("all resources must be specified before taint changes: {late}");
    }
    if words.is_empty() {
        bail!("at least one taint update is required");
    }
    let changes = Changes::parse(words)?;
    check(context, args, target).await?;
    let choice = Choice { selector: args.selector.clone(), all: args.all, ..Choice::default() };
    let selected = select::select(context, target, &choice, Unnamed::Refused).await?;
    let mut reporter = Reporter::new(&args.change)?;
    let mut failures = selected.failures;
    for node in &selected.found {
        failures.extend(taint(context, args, node, &changes, &mut reporter).await.err());
    }
    apply::first_failure(failures)
}

async fn check(context: &Context, args: &Taint, target: &[String]) -> Result<()> {
    let kind = target.first().context("one or more resources must be specified as <resource> <name>")?;
    if args.all && args.selector.is_some() {
        bail!("setting 'all' parameter with a non empty selector is prohibited");
    }
    let word = kind.split('/').next().unwrap_or(kind);
    if context.discovery().await?.find(word)?.kind != "Node" {
        bail!("invalid resource type {kind}, only node types are supported");
    }
    if !args.all && args.selector.is_none() && target.len() < 2 && !kind.contains('/') {
        bail!("at least one resource name must be specified since 'all' parameter is not set");
    }
    Ok(())
}

async fn taint(
    context: &Context,
    args: &Taint,
    node: &Found,
    changes: &Changes,
    reporter: &mut Reporter,
) -> Result<()> {
    let now = node.object["spec"]["taints"].as_array().cloned().unwrap_or_default();
    let (taints, told) = changes.applied(node.name(), &now, args.overwrite)?;
    let mut object = node.object.clone();
    if args.change.dry_run == DryRun::Client {
        object["spec"]["taints"] = taints.into();
    } else {
        // The list as a whole, so it must still be the one that was read.
        let version = &node.object["metadata"]["resourceVersion"];
        let taints = if taints.is_empty() { Value::Null } else { taints.into() };
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"taints": taints}});
        let path = format!("{}{}", node.path(), args.change.query("taint", "Strict"));
        object = context.rest.patch(&path, MERGE_PATCH, &patch).await?.body;
    }
    reporter.done(&node.resource, &object, told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(text: &str) -> Result<Changes> {
        Changes::parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn taints_come_and_go() {
        let now =
            [json!({"key": "a", "value": "1", "effect": "NoSchedule"}), json!({"key": "a", "effect": "NoExecute"})];
        let apply = |text: &str, overwrite| changes(text).expect("valid").applied("n", &now, overwrite);
        let (taints, told) = apply("b=2:NoSchedule", false).expect("new");
        assert_eq!(
            (taints.len(), told, &taints[0]),
            (3, "tainted", &json!({"key": "b", "value": "2", "effect": "NoSchedule"}))
        );
        assert_eq!(apply("a:NoExecute-", false).expect("there"), (vec![now[0].clone()], "untainted"));
        assert_eq!(apply("a-", false).expect("there"), (vec![], "untainted"));
        assert_eq!(apply("b:NoExecute a:NoExecute-", false).expect("both").1, "modified");
        let error = apply("a=2:NoSchedule", false).expect_err("exists").to_string();
        assert_eq!(error, "node n already has a taint(s) with same effect(s) and --overwrite is false");
        let (taints, told) = apply("a=2:NoSchedule", true).expect("overwritten");
        assert_eq!((taints[0]["value"].as_str(), taints.len(), told), (Some("2"), 2, "modified"));
        assert_eq!(apply("x:NoExecute-", false).expect_err("missing").to_string(), "taint \"x:NoExecute\" not found");
    }

    #[test]
    fn mistakes_are_told_as_kubectl_tells_them() {
        let error = |text: &str| changes(text).expect_err("a mistake").to_string();
        assert_eq!(error("a=b"), "invalid taint spec: a=b");
        assert_eq!(error("a=b:Never"), "invalid taint effect: Never, unsupported taint effect");
        assert!(error("a:NoExecute a-").starts_with("can not both modify and remove"));
    }
}
