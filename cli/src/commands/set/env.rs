//! `wk set env`: variables of containers, given or taken from a ConfigMap or
//! Secret (upstream: `kubectl/pkg/cmd/set/set_env.go`).

use super::containers;
use crate::{
    args::SetEnv,
    commands::{
        Context,
        select::{self, Found},
    },
    output,
    resources::{self, Target},
};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// What to do to the variables: an entry each, and names that go.
#[derive(Debug, Default, PartialEq)]
struct Variables {
    set: Vec<Value>,
    remove: Vec<String>,
}

pub(super) async fn run(context: &Context, args: &SetEnv) -> Result<()> {
    let (target, words) = select::split_changes(&args.set.choice.target, "environment")?;
    if args.list && args.set.change.output.is_some() {
        bail!("--list and --output may not be specified together");
    }
    if !args.keys.is_empty() && args.from.is_none() {
        bail!("when specifying --keys, a configmap or secret must be provided with --from");
    }
    let mut variables = parse(args.env.iter().chain(&words))?;
    if let Some(from) = &args.from {
        variables.set.extend(taken(context, args, from).await?);
    }
    if let Some(prefix) = &args.prefix {
        for variable in &mut variables.set {
            variable["name"] = format!("{prefix}{}", variable["name"].as_str().unwrap_or_default()).into();
        }
    }
    let selected = super::selected(context, &args.set, &target).await?;
    if args.list {
        return selected.found.iter().try_for_each(|found| list(args, found));
    }
    if variables == Variables::default() {
        bail!("at least one environment variable must be provided");
    }
    super::change(context, &args.set, selected, "env updated", |found| {
        containers::patch(&found.object, |container| patch(args, container, &variables))
    })
    .await
}

fn parse<'a>(words: impl Iterator<Item = &'a String>) -> Result<Variables> {
    let mut variables = Variables::default();
    for word in words {
        match (word.split_once('='), word.strip_suffix('-')) {
            (Some((name, value)), _) if !name.is_empty() => variables.set.push(json!({"name": name, "value": value})),
            (None, Some(name)) => variables.remove.push(name.to_owned()),
            _ => bail!("unknown argument {word:?}"),
        }
    }
    Ok(variables)
}

/// One reference for each key of a ConfigMap or Secret.
async fn taken(context: &Context, args: &SetEnv, from: &str) -> Result<Vec<Value>> {
    let discovery = context.discovery().await?;
    let Target { resource, names } =
        resources::targets(&discovery, &[from.to_owned()])?.pop().context("nothing is named by --from")?;
    let reference = match resource.kind.as_str() {
        "ConfigMap" => "configMapKeyRef",
        "Secret" => "secretKeyRef",
        _ => bail!("unsupported resource specified in --from"),
    };
    let name = names.first().context("--from needs TYPE/NAME")?;
    let object = context.rest.get(&resource.object(context.namespace(), name)).await?;
    let keys = object["data"].as_object().into_iter().flatten().map(|(key, _)| key);
    let wanted = keys.filter(|key| args.keys.is_empty() || args.keys.contains(key));
    Ok(wanted.map(|key| json!({"name": env_name(key), "valueFrom": {reference: {"name": name, "key": key}}})).collect())
}

/// A key as the name of a variable: `a-b.c` is `A_B_C`.
fn env_name(key: &str) -> String {
    key.chars().map(|letter| if letter.is_alphanumeric() { letter.to_ascii_uppercase() } else { '_' }).collect()
}

fn is_meant(args: &SetEnv, container: &Value) -> bool {
    container["name"].as_str().is_some_and(|name| containers::matches(&args.containers, name))
}

fn patch(args: &SetEnv, container: &Value, variables: &Variables) -> Result<Option<Value>> {
    if !is_meant(args, container) {
        return Ok(None);
    }
    let existing = container["env"].as_array().map(Vec::as_slice).unwrap_or_default();
    let has = |name: &Value| existing.iter().find(|variable| variable["name"] == *name);
    let mut env = Vec::new();
    for variable in &variables.set {
        match has(&variable["name"]) {
            Some(now) if now == variable => {}
            Some(now) if !args.overwrite => {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                bail!(
                    "'{}' already has a value ({}), and --overwrite is false",
                    text(&now["name"]),
                    text(&now["value"])
                );
            }
            Some(_) => {
                // A value and a reference exclude each other, so the other one goes.
                let mut variable = variable.clone();
                let other = if variable["value"].is_null() { "value" } else { "valueFrom" };
                variable[other] = Value::Null;
                env.push(variable);
            }
            None => env.push(variable.clone()),
        }
    }
    let gone = variables.remove.iter().filter(|name| has(&Value::from(name.as_str())).is_some());
    env.extend(gone.map(|name| json!({"name": name, "$patch": "delete"})));
    Ok((!env.is_empty()).then(|| json!({ "env": env })))
}

fn list(args: &SetEnv, found: &Found) -> Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for name in containers::names(&found.object) {
        if !containers::matches(&args.containers, &name) {
            continue;
        }
        output::line(format_args!("# {} {}, container {name}", found.resource.kind, found.name()))?;
        for variable in containers::of(&found.object, &name)["env"].as_array().into_iter().flatten() {
            let name = text(&variable["name"]);
            match variable["valueFrom"].as_object().and_then(|from| from.iter().next()) {
                Some((kind, from)) => output::line(format_args!("# {name} from {}", source(kind, from)))?,
                None => output::line(format_args!("{name}={}", text(&variable["value"])))?,
            }
        }
    }
    Ok(())
}

/// `secret x, key y`, as kubectl tells where a value comes from.
fn source(kind: &str, from: &Value) -> String {
    let text = |field: &str| from[field].as_str().unwrap_or_default().to_owned();
    match kind {
        "secretKeyRef" => format!("secret {}, key {}", text("name"), text("key")),
        "configMapKeyRef" => format!("configmap {}, key {}", text("name"), text("key")),
        "fieldRef" => format!("field path {}", text("fieldPath")),
        _ => format!("resource {}", text("resource")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_set_and_removed() {
        let words = ["A=1=2".to_owned(), "B-".to_owned()];
        let variables = parse(words.iter()).expect("valid");
        assert_eq!(variables.set, [json!({"name": "A", "value": "1=2"})]);
        assert_eq!(variables.remove, ["B"]);
        assert!(parse(["=x".to_owned()].iter()).is_err());
        assert_eq!(env_name("db-name.x"), "DB_NAME_X");
    }
}
