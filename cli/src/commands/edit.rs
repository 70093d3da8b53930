//! `wk edit`: objects in an editor, again and again until they are valid
//! (upstream: `kubectl/pkg/cmd/util/editor`).

use super::{
    Context, apply,
    report::{MERGE_PATCH, merge_patch},
    select::{self, Found, Unnamed},
};
use crate::{
    args::{Edit, EditLastApplied},
    manifest,
    output::{self, json_text, yaml},
    resources::query,
    rest::{self, ApiError},
};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::{io::Write, path::Path, process::Command};

const HEADER: &str = "# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit. If an error occurs while saving this file will be
# reopened with the relevant failures.
#
";

/// How the objects are shown and sent.
struct Editing<'a> {
    as_json: bool,
    subresource: &'a str,
    parameters: String,
    output_patch: bool,
    what: What,
}

/// What of an object is edited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Object,
    /// The object, which then also counts as applied.
    ObjectAndLastApplied,
    /// Only what counts as applied.
    LastApplied,
}

pub(super) async fn run(context: &Context, args: &Edit) -> Result<()> {
    let mut selected = select::select(context, &args.choice.target, &args.choice, Unnamed::All).await?;
    apply::first_failure(std::mem::take(&mut selected.failures))?;
    if selected.found.is_empty() {
        bail!("edit cancelled, no objects found");
    }
    for found in selected.found.iter_mut().filter(|_| !args.show_managed_fields) {
        if let Some(metadata) = found.object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
    }
    let editing = Editing {
        as_json: args.output.as_deref() == Some("json"),
        subresource: args.subresource.as_deref().unwrap_or_default(),
        parameters: query(&[("fieldManager", &args.field_manager), ("fieldValidation", args.validate.directive()?)]),
        output_patch: args.output_patch,
        what: if args.save_config { What::ObjectAndLastApplied } else { What::Object },
    };
    edit(context, &editing, &selected.found).await
}

/// `wk apply edit-last-applied`
pub(super) async fn last_applied(context: &Context, args: &EditLastApplied) -> Result<()> {
    let mut selected = select::select(context, &args.choice.target, &args.choice, Unnamed::All).await?;
    apply::first_failure(std::mem::take(&mut selected.failures))?;
    for found in &mut selected.found {
        let Some(text) = apply::last_applied_of(&found.object) else {
            bail!("no last-applied-configuration annotation found on resource: {}", found.name())
        };
        found.object = serde_json::from_str(text).context("the annotation is no object")?;
    }
    let editing = Editing {
        as_json: args.output.as_deref() == Some("json"),
        subresource: "",
        parameters: query(&[("fieldManager", &args.field_manager), ("fieldValidation", args.validate.directive()?)]),
        output_patch: false,
        what: What::LastApplied,
    };
    edit(context, &editing, &selected.found).await
}

/// What came of sending the edited objects.
#[derive(Debug, Default)]
struct Outcome {
    /// Comments for the next round; none when everything was taken.
    reasons: Vec<String>,
    /// Whether another round could help.
    is_hopeless: bool,
}

async fn edit(context: &Context, args: &Editing<'_>, found: &[Found]) -> Result<()> {
    let as_json = args.as_json;
    let file = tempfile::Builder::new()
        .prefix("wk-edit-")
        .suffix(if as_json { ".json" } else { ".yaml" })
        .tempfile()
        .context("make a temporary file")?;
    let original = text_of(found, as_json)?;
    let (mut shown, mut reasons) = (original.clone(), Vec::new());
    loop {
        let edited = round(file.path(), &shown, &reasons)?;
        if !reasons.is_empty() && without_comments(&edited) == without_comments(&shown) {
            return keep(file, anyhow::anyhow!("Edit cancelled, no valid changes were saved."));
        }
        if without_comments(&edited) == without_comments(&original) {
            return Ok(writeln!(std::io::stderr(), "Edit cancelled, no changes made.")?);
        }
        if without_comments(&edited).trim().is_empty() {
            return Ok(writeln!(std::io::stderr(), "Edit cancelled, saved file was empty.")?);
        }
        let outcome = match manifest::parse("edited-file", &without_comments(&edited)) {
            Ok(objects) => {
                let objects: Vec<Value> = objects.into_iter().map(|manifest| manifest.object).collect();
                send(context, args, found, &objects).await?
            }
            Err(error) => {
                Outcome { reasons: vec![format!("The edited file had a syntax error: {error}")], is_hopeless: false }
            }
        };
        if outcome.is_hopeless {
            return keep(file, anyhow::anyhow!("the edit was not taken"));
        }
        if outcome.reasons.is_empty() {
            return Ok(());
        }
        (shown, reasons) = (edited, outcome.reasons);
    }
}

/// The file as the editor left it.
fn round(path: &Path, shown: &str, reasons: &[String]) -> Result<String> {
    std::fs::write(path, with_reasons(shown, reasons)).context("write the file to edit")?;
    launch(path)?;
    std::fs::read_to_string(path).context("read the edited file")
}

/// What the editor shows: how to use it, why it is shown again, the object.
fn with_reasons(shown: &str, reasons: &[String]) -> String {
    let commented: String = reasons.iter().map(|reason| format!("# {}\n#\n", reason.replace('\n', "\n# "))).collect();
    format!("{HEADER}{commented}{}", without_comments(shown))
}

/// Runs `$KUBE_EDITOR`, `$EDITOR` or vi on the file; through a shell when the
/// variable has more than a name, as kubectl does.
fn launch(path: &Path) -> Result<()> {
    let chosen =
        ["KUBE_EDITOR", "EDITOR"].iter().filter_map(|name| std::env::var(name).ok()).find(|editor| !editor.is_empty());
    let editor = chosen.unwrap_or_else(|| "vi".to_owned());
    let mut command = if editor.contains([' ', '"', '\'', '\\']) {
        let mut shell = Command::new(std::env::var("SHELL").unwrap_or_else(|_| "/bin/bash".to_owned()));
        shell.arg("-c").arg(format!("{editor} {:?}", path.display().to_string()));
        shell
    } else {
        let mut command = Command::new(&editor);
        command.arg(path);
        command
    };
    let status = command.status().with_context(|| format!("unable to launch the editor {editor:?}"))?;
    if !status.success() {
        bail!("there was a problem with the editor {editor:?}");
    }
    Ok(())
}

/// Ends with an error and says where the user's work is.
fn keep(file: tempfile::NamedTempFile, error: anyhow::Error) -> Result<()> {
    let (_, path) = file.keep().context("keep the edited file")?;
    writeln!(std::io::stderr(), "A copy of your changes has been stored to {:?}", path.display().to_string())?;
    Err(error)
}

fn text_of(found: &[Found], as_json: bool) -> Result<String> {
    let document = match found {
        [one] => one.object.clone(),
        several => {
            let items: Vec<&Value> = several.iter().map(|found| &found.object).collect();
            json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {}})
        }
    };
    Ok(if as_json { json_text(&document)? + "\n" } else { yaml::to_string(&document) })
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with('#')).map(|line| format!("{line}\n")).collect()
}

async fn send(context: &Context, args: &Editing<'_>, found: &[Found], edited: &[Value]) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for object in edited {
        let same = |found: &&Found| identity(&found.object) == identity(object);
        let Some(before) = found.iter().find(same) else {
            outcome.reasons.push("kind, name and namespace of an object cannot be changed by an edit".to_owned());
            continue;
        };
        match send_one(context, args, before, object).await {
            Ok(()) => {}
            Err(error) => refused(before, &error, &mut outcome)?,
        }
    }
    Ok(outcome)
}

fn identity(object: &Value) -> [&Value; 4] {
    let metadata = &object["metadata"];
    [&object["apiVersion"], &object["kind"], &metadata["namespace"], &metadata["name"]]
}

async fn send_one(context: &Context, args: &Editing<'_>, before: &Found, object: &Value) -> Result<()> {
    let display = before.resource.display(before.name());
    let remembered = || apply::remember(object, &before.resource, before.namespace());
    let patch = match args.what {
        What::Object => merge_patch(&before.object, object),
        What::ObjectAndLastApplied => merge_patch(&before.object, &remembered()),
        What::LastApplied => {
            merge_patch(&before.object, object).map(|_| apply::annotation(apply::last_applied_of(&remembered())))
        }
    };
    let Some(patch) = patch else { return output::line(format_args!("{display} skipped")) };
    if args.output_patch {
        output::line(format_args!("Patch: {patch}"))?;
    }
    let path = format!("{}{}", before.subresource(args.subresource), args.parameters);
    context.rest.patch(&path, MERGE_PATCH, &patch).await?;
    output::line(format_args!("{display} edited"))
}

/// Tells a refusal, and what the next round says about it.
fn refused(before: &Found, error: &anyhow::Error, outcome: &mut Outcome) -> Result<()> {
    let named = format!("{} {:?}", before.resource.qualified(), before.name());
    let (mut out, api) = (std::io::stderr(), error.downcast_ref::<ApiError>());
    match api.map(|api| (api, api.reason())) {
        Some((api, "Invalid")) => {
            writeln!(out, "error: {named} is invalid")?;
            outcome.reasons.push(format!("{named} was not valid:{}", causes(&api.status)));
        }
        Some((api, "BadRequest")) => {
            writeln!(out, "error: {named} is invalid")?;
            outcome
                .reasons
                .push(format!("{named} was not valid: {}", api.status["message"].as_str().unwrap_or_default()));
        }
        Some((_, "NotFound")) => {
            writeln!(out, "error: {named} could not be found on the server")?;
            outcome.is_hopeless = true;
        }
        _ => {
            writeln!(out, "error: {named} could not be patched: {}", rest::describe_error(error))?;
            outcome.is_hopeless = true;
        }
    }
    Ok(())
}

fn causes(status: &Value) -> String {
    let causes = status["details"]["causes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let line = |cause: &Value| {
        let text = |name: &str| cause[name].as_str().unwrap_or_default().to_owned();
        format!("\n* {}: {}", text("field"), text("message"))
    };
    causes.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_do_not_count() {
        assert_eq!(without_comments("# a\nb: 1\n  # c\nd: 2"), "b: 1\nd: 2\n");
    }

    #[test]
    fn reasons_are_comments_above_the_object() {
        let text = with_reasons("# old\na: 1\n", &["x was not valid:\n* spec: wrong".to_owned()]);
        assert!(text.contains("# x was not valid:\n# * spec: wrong\n#\n"), "{text}");
        assert_eq!(without_comments(&text), "a: 1\n");
    }
}
