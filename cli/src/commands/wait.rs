//! `wk wait --for=…`: watches objects until they are as asked.

use super::{Context, Selection, apply, name_of, namespace_of, parse_duration, with_type};
use crate::{
    args::Wait,
    manifest,
    output::{self, Format, Objects, jsonpath},
    resources::{self, ResourceType, Target, query},
    rest::{ApiError, JSON},
};
use anyhow::{Result, bail};
use serde_json::Value;
use std::time::Duration;

/// kubectl takes a negative timeout for a week.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// What to wait for.
#[derive(Debug, PartialEq)]
enum Goal {
    Condition { name: String, status: String },
    JsonPath { path: jsonpath::Template, value: Option<String> },
    Created,
    Deleted,
}

impl Goal {
    fn parse(text: &str) -> Result<Self> {
        if text.eq_ignore_ascii_case("delete") {
            return Ok(Self::Deleted);
        }
        if text.eq_ignore_ascii_case("create") {
            return Ok(Self::Created);
        }
        if let Some(condition) = text.strip_prefix("condition=") {
            let (name, status) = condition.split_once('=').unwrap_or((condition, "true"));
            return Ok(Self::Condition { name: name.to_owned(), status: status.to_owned() });
        }
        if let Some(rest) = text.strip_prefix("jsonpath=") {
            let end = rest.rfind('}').map_or(rest.len(), |end| end + 1);
            let (path, value) = rest.split_at(end);
            let value = value.strip_prefix('=').map(|value| value.trim_matches(['\'', '"']).to_owned());
            return Ok(Self::JsonPath { path: jsonpath::Template::parse_relaxed(path.trim_matches('\''))?, value });
        }
        bail!("unrecognized condition: {text:?}")
    }

    fn is_reached(&self, object: &Value) -> bool {
        match self {
            Self::Created => true,
            Self::Deleted => false,
            Self::Condition { name, status } => has_condition(object, name, status),
            Self::JsonPath { path, value } => {
                let found = path.find(object);
                match value {
                    None => !found.is_empty(),
                    Some(value) => found.len() == 1 && found.iter().all(|found| jsonpath::text(found) == *value),
                }
            }
        }
    }
}

/// Whether a condition has a status that belongs to this generation.
fn has_condition(object: &Value, name: &str, status: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(condition) = conditions
        .iter()
        .find(|condition| condition["type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case(name)))
    else {
        return false;
    };
    let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
    let observed = condition["observedGeneration"].as_i64().or_else(|| object["status"]["observedGeneration"].as_i64());
    let is_current = observed.is_none_or(|observed| observed >= generation);
    is_current && condition["status"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(status))
}

pub(super) async fn run(context: &Context, args: &Wait) -> Result<()> {
    let goal = Goal::parse(&args.condition)?;
    let format = Format::of_change(args.output.as_deref(), args.template.as_deref())?;
    let timeout = if args.timeout.starts_with('-') { WEEK } else { parse_duration(&args.timeout)? };
    let deadline = tokio::time::Instant::now() + timeout;
    let objects = find(context, args, &goal).await?;
    if objects.is_empty() && goal != Goal::Deleted {
        bail!("no matching resources found");
    }
    for (resource, namespace, name) in &objects {
        let reached = until(context, resource, namespace, name, &goal);
        let object = tokio::time::timeout_at(deadline, reached).await.map_err(|_| timed_out(resource, name))??;
        match &format {
            None => output::line(format_args!("{} condition met", resource.display(name)))?,
            Some(format) => {
                let items = vec![(resource.clone(), with_type(resource, vec![object]).remove(0))];
                Objects { items, single: true, ..Objects::default() }.print(format, true)?;
            }
        }
    }
    Ok(())
}

fn timed_out(resource: &ResourceType, name: &str) -> anyhow::Error {
    anyhow::anyhow!("timed out waiting for the condition on {}/{name}", resource.plural)
}

async fn find(context: &Context, args: &Wait, goal: &Goal) -> Result<Vec<(ResourceType, String, String)>> {
    let discovery = context.discovery().await?;
    if !args.files.is_empty() {
        let manifests = manifest::read(&args.files).await?;
        return manifests
            .iter()
            .map(|manifest| {
                let resource = apply::resource_of(&discovery, manifest)?.clone();
                let namespace = context.namespace_of(&resource, manifest.namespace())?.to_owned();
                Ok((resource, namespace, manifest.name().to_owned()))
            })
            .collect();
    }
    let mut found = Vec::new();
    let selection = Selection {
        labels: args.selector.as_deref().unwrap_or_default(),
        fields: args.field_selector.as_deref().unwrap_or_default(),
        all_namespaces: args.all_namespaces,
    };
    for target in resources::targets(&discovery, &args.target)? {
        found.extend(of_target(context, args, target, &selection, goal).await?);
    }
    Ok(found)
}

async fn of_target(
    context: &Context,
    args: &Wait,
    target: Target,
    selection: &Selection<'_>,
    goal: &Goal,
) -> Result<Vec<(ResourceType, String, String)>> {
    if target.names.is_empty() {
        if !args.all && args.selector.is_none() && args.field_selector.is_none() {
            bail!("resource(s) were provided, but no resource name was specified");
        }
        let objects = context.objects(&target, selection).await?;
        let listed =
            |object: &Value| (target.resource.clone(), namespace_of(object).to_owned(), name_of(object).to_owned());
        return Ok(objects.iter().map(listed).collect());
    }
    let mut found = Vec::new();
    for name in &target.names {
        // A missing object is an error, except for who waits for it to come or go.
        let path = target.resource.object(context.namespace(), name);
        match goal {
            Goal::Created => {}
            Goal::Deleted if context.rest.get_optional(&path).await?.is_none() => continue,
            Goal::Deleted => {}
            _ => drop(context.rest.get(&path).await?),
        }
        found.push((target.resource.clone(), context.namespace().to_owned(), name.clone()));
    }
    Ok(found)
}

/// Waits until the object is gone, or is another one than `uid`.
pub(super) async fn until_gone(
    context: &Context,
    resource: &ResourceType,
    namespace: &str,
    name: &str,
    uid: Option<&str>,
) -> Result<()> {
    let is_gone = |object: Option<&Value>| match object {
        None => Ok(true),
        Some(object) => Ok(uid.is_some_and(|uid| object["metadata"]["uid"] != uid)),
    };
    follow(context, resource, namespace, name, is_gone).await
}

/// The object when it is as asked; what it was before, when it was to go.
async fn until(context: &Context, resource: &ResourceType, namespace: &str, name: &str, goal: &Goal) -> Result<Value> {
    let mut seen = Value::Null;
    let is_reached = |object: Option<&Value>| {
        let reached = match object {
            None => *goal == Goal::Deleted,
            Some(object) => goal.is_reached(object),
        };
        seen = object.cloned().unwrap_or_else(|| std::mem::take(&mut seen));
        Ok(reached)
    };
    follow(context, resource, namespace, name, is_reached).await?;
    Ok(seen)
}

/// Lists the one object and follows its changes until `is_done`; lists again
/// when the watch ends or its revision has expired.
pub(super) async fn follow(
    context: &Context,
    resource: &ResourceType,
    namespace: &str,
    name: &str,
    mut is_done: impl FnMut(Option<&Value>) -> Result<bool>,
) -> Result<()> {
    let collection = resource.collection(Some(namespace));
    let selector = format!("metadata.name={name}");
    loop {
        let mut list = context.rest.get(&format!("{collection}{}", query(&[("fieldSelector", &selector)]))).await?;
        let listed = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let listed = with_type(resource, listed);
        if is_done(listed.first())? {
            return Ok(());
        }
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let parameters = query(&[("fieldSelector", &selector), ("resourceVersion", version), ("watch", "true")]);
        let mut events = context.rest.watch(&format!("{collection}{parameters}"), JSON).await?;
        while let Some(event) = events.next().await? {
            let object = &event["object"];
            match event["type"].as_str() {
                Some("ERROR") if object["code"] == 410 => break,
                Some("ERROR") => return Err(ApiError { status: object.clone() }.into()),
                Some("DELETED") if is_done(None)? => return Ok(()),
                Some("ADDED" | "MODIFIED") if is_done(Some(object))? => return Ok(()),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn goals_are_read_as_kubectl_reads_them() {
        let pod = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        for text in [
            "condition=Ready",
            "condition=ready=true",
            "jsonpath={.status.phase}=Running",
            "jsonpath='{.status.phase}'=Running",
            "jsonpath={.status.phase}",
            "create",
        ] {
            assert!(Goal::parse(text).expect(text).is_reached(&pod), "{text}");
        }
        for text in ["condition=Ready=false", "condition=Initialized", "jsonpath={.status.podIP}", "delete"] {
            assert!(!Goal::parse(text).expect(text).is_reached(&pod), "{text}");
        }
        assert!(Goal::parse("ready").is_err());
    }

    #[test]
    fn an_old_generation_does_not_count() {
        let stale = json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1,
            "conditions": [{"type": "Available", "status": "True"}]}});
        assert!(!Goal::parse("condition=Available").expect("valid").is_reached(&stale));
    }
}
