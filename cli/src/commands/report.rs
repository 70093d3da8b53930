//! What a change says when it is done: `deployment.apps/web scaled`, or the
//! object in the format of `-o`; and how the request for it is made.

use super::{Context, dry_run_suffix, name_of, with_type};
use crate::{
    args::{Change, DryRun, Validate},
    output::{self, Format, Objects},
    resources::{ResourceType, query},
};
use anyhow::{Result, bail};
use serde_json::{Value, json};

/// RFC 7386.
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";

/// Kubernetes' own.
pub(super) const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";

/// RFC 6902.
pub(super) const JSON_PATCH: &str = "application/json-patch+json";

/// Prints one object after the other.
pub(super) struct Reporter {
    format: Option<Format>,
    suffix: &'static str,
    managed_fields: bool,
    is_first: bool,
    /// What is printed at the end as one; `None` prints each as it comes.
    collected: Option<Vec<(ResourceType, Value)>>,
}

impl Reporter {
    /// # Errors
    /// An unknown format.
    pub(super) fn new(change: &Change) -> Result<Self> {
        let format = Format::of_change(change.output.as_deref(), change.template.as_deref())?;
        let (suffix, managed_fields) = (dry_run_suffix(change.dry_run), change.show_managed_fields);
        Ok(Self { format, suffix, managed_fields, is_first: true, collected: None })
    }

    /// Prints objects in one list, when it prints objects.
    ///
    /// # Errors
    /// An unknown format.
    pub(super) fn of_several(change: &Change) -> Result<Self> {
        let mut reporter = Self::new(change)?;
        reporter.collected = reporter.format.is_some().then(Vec::new);
        Ok(reporter)
    }

    /// Prints the list.
    ///
    /// # Errors
    /// When standard output is gone.
    pub(super) fn finish(&mut self) -> Result<()> {
        let (Some(format), Some(items)) = (&self.format, self.collected.take()) else { return Ok(()) };
        if items.len() < 2 || *format == Format::Name {
            return Objects { items, single: true, managed_fields: self.managed_fields }.print(format, true);
        }
        let resource = items[0].0.clone();
        let objects: Vec<Value> = items.into_iter().map(|(_, object)| object).collect();
        let list = json!({"apiVersion": "v1", "items": objects, "kind": "List", "metadata": {}});
        let items = vec![(resource, list)];
        Objects { items, single: true, managed_fields: self.managed_fields }.print(format, true)
    }

    /// Says what was done to an object.
    ///
    /// # Errors
    /// When standard output is gone.
    pub(super) fn done(&mut self, resource: &ResourceType, object: &Value, done: &str) -> Result<()> {
        let Some(format) = &self.format else {
            return output::line(format_args!("{} {done}{}", resource.display(name_of(object)), self.suffix));
        };
        if let Some(collected) = &mut self.collected {
            let object = with_type(resource, vec![object.clone()]).remove(0);
            collected.push((resource.clone(), object));
            return Ok(());
        }
        if !std::mem::take(&mut self.is_first) && *format == Format::Yaml {
            output::line("---")?;
        }
        let object = with_type(resource, vec![object.clone()]).remove(0);
        let items = vec![(resource.clone(), object)];
        Objects { items, single: true, managed_fields: self.managed_fields }.print(format, true)
    }
}

impl Change {
    /// The query of a write under the name of `command`.
    pub(super) fn query(&self, command: &str, validation: &str) -> String {
        self.query_under(&format!("wk-{command}"), validation)
    }

    /// The same under the name of `manager`, unless another was given.
    pub(super) fn query_under(&self, manager: &str, validation: &str) -> String {
        query(&[
            ("fieldManager", self.field_manager.as_deref().unwrap_or(manager)),
            ("fieldValidation", validation),
            ("dryRun", if self.dry_run == DryRun::Server { "All" } else { "" }),
        ])
    }

    /// The same with `--validate`.
    ///
    /// # Errors
    /// As [`Validate::directive`].
    pub(super) fn query_as(&self, manager: &str, validate: &Validate) -> Result<String> {
        Ok(self.query_under(manager, validate.directive()?))
    }
}

impl Validate {
    /// The server's word for it.
    ///
    /// # Errors
    /// A word that says nothing of the kind.
    pub(super) fn directive(&self) -> Result<&'static str> {
        match self.validate.as_str() {
            "strict" | "true" => Ok("Strict"),
            "warn" => Ok("Warn"),
            "ignore" | "false" => Ok("Ignore"),
            other => {
                bail!("invalid - validate option {other:?}; must be one of: strict (or true), warn, ignore (or false)")
            }
        }
    }
}

impl Context {
    /// Creates `object`, unless only the client is asked; what it has become.
    pub(super) async fn create(
        &self,
        resource: &ResourceType,
        object: Value,
        change: &Change,
        command: &str,
    ) -> Result<Value> {
        self.create_as(resource, object, change, change.query(command, "Strict")).await
    }

    /// The same with a query that is made already.
    pub(super) async fn create_as(
        &self,
        resource: &ResourceType,
        object: Value,
        change: &Change,
        query: String,
    ) -> Result<Value> {
        let namespace = self.namespace_of(resource, object["metadata"]["namespace"].as_str())?.to_owned();
        if change.dry_run == DryRun::Client {
            let mut object = object;
            if resource.namespaced && self.cluster.namespace_given {
                object["metadata"]["namespace"] = namespace.into();
            }
            return Ok(object);
        }
        let path = format!("{}{query}", resource.collection(Some(&namespace)));
        self.rest.create(&path, &object).await
    }
}

/// The merge patch (RFC 7386) that turns one value into another; `None` when
/// they are the same.
pub(super) fn merge_patch(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (before, after) else { return Some(after.clone()) };
    let mut patch = serde_json::Map::new();
    for (key, value) in new {
        match old.get(key) {
            Some(earlier) => drop(merge_patch(earlier, value).map(|change| patch.insert(key.clone(), change))),
            None => drop(patch.insert(key.clone(), value.clone())),
        }
    }
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    patch.extend(gone.map(|key| (key.clone(), Value::Null)));
    Some(Value::Object(patch))
}

/// Applies a merge patch (RFC 7386).
pub(super) fn merge_into(object: &mut Value, patch: &Value) {
    json_patch::merge(object, patch);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_patch_leads_from_one_to_the_other() {
        let before = json!({"a": 1, "b": {"c": [1, 2], "d": "x"}, "e": true});
        let after = json!({"a": 1, "b": {"c": [2], "f": {}}, "g": "new"});
        let patch = merge_patch(&before, &after).expect("they differ");
        assert_eq!(patch, json!({"b": {"c": [2], "d": null, "f": {}}, "e": null, "g": "new"}));
        let mut patched = before.clone();
        json_patch::merge(&mut patched, &patch);
        assert_eq!(patched, after);
        assert_eq!(merge_patch(&after, &after), None);
    }
}
