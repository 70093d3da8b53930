//! `wk annotate`: sets and removes annotations (upstream: `kubectl/pkg/cmd/annotate`).

use super::{
    Context, apply,
    label::{self, Changes},
    report::{MERGE_PATCH, Reporter},
    select::{self, Found, Unnamed},
};
use crate::args::{DryRun, Label};
use anyhow::{Result, bail};

/// May always be written over.
pub(super) const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

fn parse(words: &[String]) -> Result<Changes> {
    let mut changes = Changes::default();
    for word in words {
        match (word.split_once('='), word.strip_suffix('-')) {
            (Some((key, value)), _) => changes.set.push((key.to_owned(), value.to_owned())),
            (None, Some(key)) => changes.remove.push(key.to_owned()),
            (None, None) => bail!("invalid annotation format: {word}"),
        }
    }
    let both: Vec<&str> = changes
        .remove
        .iter()
        .filter(|key| changes.set.iter().any(|(set, _)| set == *key))
        .map(String::as_str)
        .collect();
    if !both.is_empty() {
        bail!("can not both modify and remove the following annotation(s) in the same command: {}", both.join(", "));
    }
    Ok(changes)
}

pub(super) async fn run(context: &Context, args: &Label) -> Result<()> {
    let (target, words) = select::split_changes(&args.choice.target, "annotation")?;
    let changes = parse(&words)?;
    label::check(args, &target, &changes, "annotation")?;
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
            label::list(found, "annotations", selected.is_single)
        } else {
            annotate(context, args, found, &changes, &mut reporter).await
        };
        failures.extend(done.err());
    }
    apply::first_failure(failures)
}

async fn annotate(
    context: &Context,
    args: &Label,
    found: &Found,
    changes: &Changes,
    reporter: &mut Reporter,
) -> Result<()> {
    let before = label::map_of(&found.object, "annotations");
    let mut overwritten = changes.overwritten(&before);
    overwritten.retain(|(key, _)| *key != CHANGE_CAUSE);
    if !args.overwrite && !overwritten.is_empty() {
        let told: Vec<String> =
            overwritten.iter().map(|(key, now)| format!("'{key}' already has a value ({now})")).collect();
        bail!("--overwrite is false but found the following declared annotation(s): {}", told.join("; "));
    }
    let mut object = found.object.clone();
    if args.local || args.change.dry_run == DryRun::Client {
        object["metadata"]["annotations"] = changes.applied(&before).into();
    } else {
        let path = format!("{}{}", found.path(), args.change.query("annotate", ""));
        let patch = changes.patch("annotations", args.resource_version.as_deref());
        object = context.rest.patch(&path, MERGE_PATCH, &patch).await?.body;
    }
    reporter.done(&found.resource, &object, "annotated")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_have_equals_signs() {
        let changes = parse(&["a=b=c".to_owned(), "d-".to_owned()]).expect("valid");
        assert_eq!(changes.set, [("a".to_owned(), "b=c".to_owned())]);
        assert_eq!(changes.remove, ["d"]);
        assert!(parse(&["a=1".to_owned(), "a-".to_owned()]).is_err());
    }
}
