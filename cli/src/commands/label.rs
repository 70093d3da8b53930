//! `wk label`: sets and removes labels (upstream: `kubectl/pkg/cmd/label`).

use super::{
    Context, apply,
    report::{MERGE_PATCH, Reporter},
    select::{self, Found, Unnamed},
};
use crate::{
    args::{DryRun, Label},
    output,
};
use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

/// What the API takes for a label's value.
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Upstream's bound on a label's value.
const VALUE_BYTES_MAX: usize = 63;

/// What to do to a map of labels or annotations: a value sets, `None` removes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Changes {
    pub(super) set: Vec<(String, String)>,
    pub(super) remove: Vec<String>,
}

impl Changes {
    fn parse(words: &[String]) -> Result<Self> {
        let mut changes = Self::default();
        for word in words {
            if let Some((key, value)) = word.split_once('=') {
                if value.contains('=') {
                    bail!("invalid label spec: {word}");
                }
                check_value(value).map_err(|error| anyhow::anyhow!("invalid label value: {word:?}: {error}"))?;
                changes.set.push((key.to_owned(), value.to_owned()));
            } else if let Some(key) = word.strip_suffix('-') {
                changes.remove.push(key.to_owned());
            } else {
                bail!("unknown label spec: {word}");
            }
        }
        if changes.set.iter().any(|(key, _)| changes.remove.contains(key)) {
            bail!("can not both modify and remove a label in the same command");
        }
        Ok(changes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }

    /// The map after the changes.
    pub(super) fn applied(&self, before: &Map<String, Value>) -> Map<String, Value> {
        let mut after = before.clone();
        after.extend(self.set.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))));
        after.retain(|key, _| !self.remove.contains(key));
        after
    }

    /// The keys that have another value now, with that value.
    pub(super) fn overwritten<'a>(&'a self, before: &'a Map<String, Value>) -> Vec<(&'a str, &'a str)> {
        let differs = |(key, value): &'a (String, String)| {
            let now = before.get(key)?.as_str()?;
            (now != value).then_some((key.as_str(), now))
        };
        self.set.iter().filter_map(differs).collect()
    }

    /// The merge patch of `metadata.<field>`.
    pub(super) fn patch(&self, field: &str, resource_version: Option<&str>) -> Value {
        let mut map = Map::new();
        map.extend(self.set.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))));
        map.extend(self.remove.iter().map(|key| (key.clone(), Value::Null)));
        let mut metadata = json!({ field: map });
        if let Some(version) = resource_version {
            metadata["resourceVersion"] = version.into();
        }
        json!({ "metadata": metadata })
    }
}

fn check_value(value: &str) -> Result<()> {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let ends = [value.bytes().next(), value.bytes().next_back()];
    if value.len() > VALUE_BYTES_MAX {
        bail!("must be no more than {VALUE_BYTES_MAX} characters");
    }
    if !value.bytes().all(is_inner) || ends.iter().flatten().any(|end| !end.is_ascii_alphanumeric()) {
        bail!(VALUE);
    }
    Ok(())
}

/// `metadata.<field>` as a map.
pub(super) fn map_of(object: &Value, field: &str) -> Map<String, Value> {
    object["metadata"][field].as_object().cloned().unwrap_or_default()
}

pub(super) async fn run(context: &Context, args: &Label) -> Result<()> {
    let (target, words) = select::split_changes(&args.choice.target, "label")?;
    let changes = Changes::parse(&words)?;
    check(args, &target, &changes, "label")?;
    let selected = if args.local {
        select::local(context, &args.choice).await?
    } else {
        select::select(context, &target, &args.choice, Unnamed::Refused).await?
    };
    if args.resource_version.is_some() && !selected.is_single {
        bail!("--resource-version may only be used with a single resource");
    }
    let mut reporter = Reporter::new(&args.change)?;
    let mut failures = selected.failures;
    for found in &selected.found {
        let done = if args.list {
            list(found, "labels", selected.is_single)
        } else {
            label(context, args, found, &changes, &mut reporter).await
        };
        failures.extend(done.err());
    }
    apply::first_failure(failures)
}

/// What has to be typed, and what must not be typed together.
pub(super) fn check(args: &Label, target: &[String], changes: &Changes, what: &str) -> Result<()> {
    if args.list && args.change.output.is_some() {
        bail!("--list and --output may not be specified together");
    }
    if args.local && args.change.dry_run == DryRun::Server {
        bail!("cannot specify --local and --dry-run=server - did you mean --dry-run=client?");
    }
    if target.is_empty() && args.choice.files.is_empty() {
        bail!("one or more resources must be specified as <resource> <name> or <resource>/<name>");
    }
    if changes.is_empty() && !args.list {
        bail!("at least one {what} update is required");
    }
    Ok(())
}

/// `--list`: the map as it is.
pub(super) fn list(found: &Found, field: &str, is_single: bool) -> Result<()> {
    let (kind, group) = (&found.resource.kind, &found.resource.group);
    if !is_single {
        output::line(format_args!("Listing {field} for {kind}.{group}/{}:", found.name()))?;
    }
    let indent = if is_single { "" } else { " " };
    for (key, value) in map_of(&found.object, field) {
        output::line(format_args!("{indent}{key}={}", value.as_str().unwrap_or_default()))?;
    }
    Ok(())
}

async fn label(
    context: &Context,
    args: &Label,
    found: &Found,
    changes: &Changes,
    reporter: &mut Reporter,
) -> Result<()> {
    let before = map_of(&found.object, "labels");
    let is_sent = !args.local && args.change.dry_run != DryRun::Client;
    for key in changes.remove.iter().filter(|key| is_sent && !before.contains_key(*key)) {
        output::line(format_args!("label {key:?} not found."))?;
    }
    if !args.overwrite {
        refuse_overwrites(&changes.overwritten(&before))?;
    }
    let after = changes.applied(&before);
    let mut object = found.object.clone();
    if before != after && is_sent {
        let path = format!("{}{}", found.path(), args.change.query("label", ""));
        let patch = changes.patch("labels", args.resource_version.as_deref());
        object = context.rest.patch(&path, MERGE_PATCH, &patch).await?.body;
    } else {
        object["metadata"]["labels"] = after.clone().into();
    }
    reporter.done(&found.resource, &object, told(&before, &after, args.overwrite))
}

fn refuse_overwrites(overwritten: &[(&str, &str)]) -> Result<()> {
    let lines: Vec<String> = overwritten
        .iter()
        .map(|(key, now)| format!("'{key}' already has a value ({now}), and --overwrite is false"))
        .collect();
    match lines.as_slice() {
        [] => Ok(()),
        [one] => bail!("{one}"),
        several => bail!("[{}]", several.join(", ")),
    }
}

/// kubectl 1.32 tells the two apart by whether the object got shorter.
fn told(before: &Map<String, Value>, after: &Map<String, Value>, overwrite: bool) -> &'static str {
    let length = |map: &Map<String, Value>| serde_json::to_string(map).map_or(0, |text| text.len());
    match () {
        () if before == after => "not labeled",
        () if !overwrite && length(after) < length(before) => "unlabeled",
        () => "labeled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(text: &str) -> Result<Changes> {
        Changes::parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().expect("a map").clone()
    }

    #[test]
    fn labels_are_set_and_removed() {
        let changes = changes("a=1 b= c-").expect("valid");
        let before = map(json!({"a": "0", "c": "x", "d": "y"}));
        assert_eq!(changes.applied(&before), map(json!({"a": "1", "b": "", "d": "y"})));
        assert_eq!(changes.overwritten(&before), [("a", "0")]);
        let patch = changes.patch("labels", Some("7"));
        assert_eq!(patch, json!({"metadata": {"labels": {"a": "1", "b": "", "c": null}, "resourceVersion": "7"}}));
    }

    #[test]
    fn mistakes_are_told_as_kubectl_tells_them() {
        let error = |text: &str| changes(text).expect_err("a mistake").to_string();
        assert_eq!(error("a=b=c"), "invalid label spec: a=b=c");
        assert_eq!(error("a=1 a-"), "can not both modify and remove a label in the same command");
        assert!(error("a=-b").starts_with("invalid label value: \"a=-b\": a valid label must be"));
        assert!(error(&format!("a={}", "x".repeat(64))).contains("no more than 63"));
    }

    #[test]
    fn what_happened_is_told() {
        let (empty, one) = (map(json!({})), map(json!({"a": "1"})));
        assert_eq!(told(&one, &one, false), "not labeled");
        assert_eq!(told(&empty, &one, false), "labeled");
        assert_eq!(told(&one, &empty, false), "unlabeled");
        assert_eq!(told(&one, &empty, true), "labeled");
    }
}
