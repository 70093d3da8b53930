//! `wk patch`: the user's own patch (upstream: `kubectl/pkg/cmd/patch`).

use super::{
    Context, apply,
    report::{JSON_PATCH, MERGE_PATCH, Reporter, STRATEGIC_PATCH},
    select::{self, Found, Unnamed},
};
use crate::{
    args::{Choice, DryRun, Patch},
    resources::query,
};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use wk_apiserver::{patch::strategic, schema};

pub(super) async fn run(context: &Context, args: &Patch) -> Result<()> {
    let content_type = content_type(&args.patch_type)?;
    let patch = read(args)?;
    let choice = Choice { files: args.files.clone(), ..Choice::default() };
    let selected = if args.local {
        select::local(context, &choice).await?
    } else {
        select::select(context, &args.target, &choice, Unnamed::Refused).await?
    };
    let mut reporter = Reporter::new(&args.change)?;
    let mut failures = selected.failures;
    if selected.found.is_empty() && failures.is_empty() {
        bail!("no objects passed to patch");
    }
    for found in &selected.found {
        failures.extend(patch_one(context, args, found, content_type, &patch, &mut reporter).await.err());
    }
    apply::first_failure(failures)
}

fn content_type(name: &str) -> Result<&'static str> {
    Ok(match name.to_lowercase().as_str() {
        "strategic" => STRATEGIC_PATCH,
        "merge" => MERGE_PATCH,
        "json" => JSON_PATCH,
        _ => bail!("--type must be one of [json merge strategic], not {name:?}"),
    })
}

/// The patch, from JSON or YAML.
fn read(args: &Patch) -> Result<Value> {
    let text = match (&args.patch, &args.patch_file) {
        (Some(_), Some(_)) => bail!("cannot specify --patch and --patch-file together"),
        (Some(text), None) if !text.is_empty() => text.clone(),
        (_, Some(path)) => std::fs::read_to_string(path).context("unable to read patch file")?,
        _ => bail!("must specify --patch or --patch-file containing the contents of the patch"),
    };
    let parsed = serde_yaml::from_str::<serde_yaml::Value>(&text).map_err(anyhow::Error::from);
    parsed.and_then(|value| Ok(serde_json::to_value(value)?)).with_context(|| format!("unable to parse {text:?}"))
}

async fn patch_one(
    context: &Context,
    args: &Patch,
    found: &Found,
    content_type: &str,
    patch: &Value,
    reporter: &mut Reporter,
) -> Result<()> {
    if args.local {
        let patched = patched(found, content_type, patch)?;
        return reporter.done(&found.resource, &patched, "patched");
    }
    // Only the server knows all about lists, so it is asked in any dry run.
    let mut parameters = args.change.query("patch", "");
    if args.change.dry_run == DryRun::Client {
        parameters = query(&[("fieldManager", "wk-patch"), ("dryRun", "All")]);
    }
    let path = format!("{}{parameters}", found.subresource(args.subresource.as_deref().unwrap_or_default()));
    let patched = context.rest.patch(&path, content_type, patch).await?.body;
    let done = if patched == found.object { "patched (no change)" } else { "patched" };
    reporter.done(&found.resource, &patched, done)
}

/// The patch applied here, as the server would apply it.
fn patched(found: &Found, content_type: &str, patch: &Value) -> Result<Value> {
    let resource = &found.resource;
    let mut object = found.object.clone();
    match content_type {
        STRATEGIC_PATCH => {
            let definition = schema::definition_for(&resource.group, &resource.version, &resource.kind);
            return Ok(strategic(definition.unwrap_or_default(), &object, patch)?);
        }
        MERGE_PATCH => json_patch::merge(&mut object, patch),
        _ => {
            let patch: json_patch::Patch =
                serde_json::from_value(patch.clone()).context("the patch is no JSON patch")?;
            json_patch::patch(&mut object, &patch)?;
        }
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn args(words: &[&str]) -> Patch {
        use clap::{Args as _, FromArgMatches};
        let command = Patch::augment_args(clap::Command::new("patch"));
        let matches = command.get_matches_from([&["patch"], words].concat());
        Patch::from_arg_matches(&matches).expect("valid")
    }

    #[test]
    fn patches_are_json_or_yaml() {
        for text in [r#"{"spec":{"replicas":2}}"#, "spec:\n  replicas: 2\n"] {
            assert_eq!(read(&args(&["pod", "x", "-p", text])).expect(text), json!({"spec": {"replicas": 2}}));
        }
        assert!(read(&args(&["pod", "x"])).is_err());
        assert!(read(&args(&["pod", "x", "-p", "a", "--patch-file", "b"])).is_err());
    }

    #[test]
    fn there_are_three_types() {
        assert_eq!(content_type("JSON").expect("known"), JSON_PATCH);
        let error = content_type("apply").expect_err("unknown").to_string();
        assert_eq!(error, "--type must be one of [json merge strategic], not \"apply\"");
    }
}
