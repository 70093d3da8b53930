//! Which objects a command is about: by type and name, by label, or as files
//! name them; kubectl's resource builder (`cli-runtime/pkg/resource/builder.go`).

use super::{Context, Selection, apply, name_of, namespace_of};
use crate::{
    args::Choice,
    manifest,
    resources::{self, Discovery, ResourceType, Target},
};
use anyhow::{Result, bail};
use serde_json::Value;

/// An object and its type.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) resource: ResourceType,
    pub(super) object: Value,
}

impl Found {
    pub(super) fn name(&self) -> &str {
        name_of(&self.object)
    }

    pub(super) fn namespace(&self) -> &str {
        namespace_of(&self.object)
    }

    /// The object's own path.
    pub(super) fn path(&self) -> String {
        self.resource.object(self.namespace(), self.name())
    }

    /// The path of a part of it; an empty part is the object.
    pub(super) fn subresource(&self, part: &str) -> String {
        if part.is_empty() { self.path() } else { format!("{}/{part}", self.path()) }
    }
}

/// What was found, and what could not be.
#[derive(Debug, Default)]
pub(super) struct Selected {
    pub(super) found: Vec<Found>,
    /// Kept until the found ones are dealt with, as kubectl does.
    pub(super) failures: Vec<anyhow::Error>,
    /// Whether the words can name one object only.
    pub(super) is_single: bool,
}

/// What a type without names means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// Every object of the type.
    All,
    /// A mistake, unless a selector or `--all` says which.
    Refused,
}

/// Finds them. `target` is what remains of the words when a command has taken
/// its own; `choice` has the rest.
///
/// # Errors
/// Unknown types, unreadable files, and words that name nothing. An object that
/// is not there goes into [`Selected::failures`].
pub(super) async fn select(
    context: &Context,
    target: &[String],
    choice: &Choice,
    unnamed: Unnamed,
) -> Result<Selected> {
    let discovery = context.discovery().await?;
    if choice.all && choice.selector.is_some() {
        bail!("cannot set --all and --selector at the same time");
    }
    if choice.all && choice.field_selector.is_some() {
        bail!("cannot set --all and --field-selector at the same time");
    }
    if !choice.files.is_empty() {
        return of_files(context, &discovery, choice).await;
    }
    let mut selected = Selected::default();
    let targets = resources::targets(&discovery, target)?;
    selected.is_single = matches!(targets.as_slice(), [one] if one.names.len() == 1);
    for target in &targets {
        of_target(context, target, choice, unnamed, &mut selected).await?;
    }
    Ok(selected)
}

async fn of_files(context: &Context, discovery: &Discovery, choice: &Choice) -> Result<Selected> {
    let manifests = manifest::read(&choice.files).await?;
    let mut selected = Selected { is_single: manifests.len() == 1, ..Selected::default() };
    for manifest in manifests {
        let resource = apply::resource_of(discovery, &manifest)?.clone();
        let namespace = context.namespace_of(&resource, manifest.namespace())?;
        match context.rest.get(&resource.object(namespace, manifest.name())).await {
            Ok(object) => selected.found.push(Found { resource, object }),
            Err(error) => selected.failures.push(error),
        }
    }
    Ok(selected)
}

async fn of_target(
    context: &Context,
    target: &Target,
    choice: &Choice,
    unnamed: Unnamed,
    selected: &mut Selected,
) -> Result<()> {
    let resource = &target.resource;
    let is_selected = choice.all || choice.selector.is_some() || choice.field_selector.is_some();
    if target.names.is_empty() {
        if unnamed == Unnamed::Refused && !is_selected {
            bail!("resource(s) were provided, but no name was specified");
        }
        let selection = Selection {
            labels: choice.selector.as_deref().unwrap_or_default(),
            fields: choice.field_selector.as_deref().unwrap_or_default(),
            all_namespaces: choice.all_namespaces,
        };
        let objects = context.objects(target, &selection).await?;
        selected.found.extend(objects.into_iter().map(|object| Found { resource: resource.clone(), object }));
        return Ok(());
    }
    if is_selected {
        bail!("name cannot be provided when a selector is specified");
    }
    for name in &target.names {
        match context.rest.get(&resource.object(context.namespace(), name)).await {
            Ok(object) => selected.found.push(Found { resource: resource.clone(), object }),
            Err(error) => selected.failures.push(error),
        }
    }
    Ok(())
}

/// The objects of the files as they stand there: for `--local`.
pub(super) async fn local(context: &Context, choice: &Choice) -> Result<Selected> {
    if !choice.target.is_empty() && choice.files.is_empty() {
        bail!("can only use local files by -f pod.yaml or --filename=pod.json when --local=true is set");
    }
    if choice.files.is_empty() {
        bail!("one or more files must be specified as -f pod.yaml or --filename=pod.json");
    }
    let discovery = context.discovery().await?;
    let manifests = manifest::read(&choice.files).await?;
    let mut selected = Selected { is_single: manifests.len() == 1, ..Selected::default() };
    for manifest in manifests {
        let resource = apply::resource_of(&discovery, &manifest)?.clone();
        selected.found.push(Found { resource, object: manifest.object });
    }
    Ok(selected)
}

/// Splits words into what names objects and the changes after it (upstream:
/// `GetResourcesAndPairs`): a change is `KEY=VALUE` or `KEY-`.
///
/// # Errors
/// An object named after a change.
pub(super) fn split_changes(words: &[String], what: &str) -> Result<(Vec<String>, Vec<String>)> {
    let is_change =
        |word: &String| (word.contains('=') && !word.starts_with('=')) || (word.ends_with('-') && *word != "-");
    let first = words.iter().position(is_change).unwrap_or(words.len());
    let (objects, changes) = words.split_at(first);
    match changes.iter().find(|word| !is_change(word)) {
        Some(late) => bail!("all resources must be specified before {what} changes: {late}"),
        None => Ok((objects.to_vec(), changes.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn changes_come_after_objects() {
        let split = split_changes(&words("pods web a=b c-"), "label").expect("valid");
        assert_eq!(split, (words("pods web"), words("a=b c-")));
        let error = split_changes(&words("pods a=b web"), "label").expect_err("too late");
        assert_eq!(error.to_string(), "all resources must be specified before label changes: web");
    }
}
