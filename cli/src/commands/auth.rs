//! `wk auth`: who one is and what one may do, as the server sees it (upstream:
//! `kubectl/pkg/cmd/auth`).

mod reconcile;

use super::Context;
use crate::{
    args::{Auth, CanI, Whoami},
    output::{self, Format, Objects, table::Table},
};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::{collections::BTreeMap, io::Write, process::ExitCode};

pub(super) async fn run(context: &Context, args: &Auth) -> Result<ExitCode> {
    match args {
        Auth::CanI(args) if args.list => list(context, args).await.map(|()| ExitCode::SUCCESS),
        Auth::CanI(args) => can_i(context, args).await,
        Auth::Reconcile(args) => reconcile::run(context, args).await.map(|()| ExitCode::SUCCESS),
        Auth::Whoami(args) => whoami(context, args).await.map(|()| ExitCode::SUCCESS),
    }
}

async fn review(context: &Context, group: &str, resource: &str, kind: &str, spec: Value) -> Result<Value> {
    let mut review = json!({"apiVersion": format!("{group}/v1"), "kind": kind});
    if !spec.is_null() {
        review["spec"] = spec;
    }
    context.rest.create(&format!("/apis/{group}/v1/{resource}"), &review).await
}

async fn can_i(context: &Context, args: &CanI) -> Result<ExitCode> {
    let [verb, what] = args.words.as_slice() else {
        bail!(
            "you must specify two arguments: verb resource or verb resource/resourceName.\nSee 'wk auth can-i -h' for help and examples."
        );
    };
    let spec = if what.starts_with('/') {
        json!({"nonResourceAttributes": {"verb": verb, "path": what}})
    } else {
        json!({"resourceAttributes": attributes(context, args, verb, what).await?})
    };
    let answer =
        review(context, "authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview", spec).await?;
    let (allowed, text) = told(&answer["status"]);
    if !args.quiet {
        output::line(text)?;
    }
    Ok(if allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `yes`, or `no` with the reasons.
fn told(status: &Value) -> (bool, String) {
    if status["allowed"] == true {
        return (true, "yes".to_owned());
    }
    let reasons = ["reason", "evaluationError"].iter().filter_map(|field| status[*field].as_str());
    let reasons: String = reasons.filter(|reason| !reason.is_empty()).map(|reason| format!(" - {reason}")).collect();
    (false, format!("no{reasons}"))
}

async fn attributes(context: &Context, args: &CanI, verb: &str, what: &str) -> Result<Value> {
    let (word, name) = what.split_once('/').unwrap_or((what, ""));
    let mut attributes = json!({"verb": verb, "name": name, "subresource": args.subresource});
    attributes["namespace"] = if args.all_namespaces { "" } else { context.namespace() }.into();
    match context.discovery().await?.find(word) {
        _ if word == "*" => {
            attributes["resource"] = "*".into();
            attributes["group"] = "*".into();
        }
        Ok(resource) => {
            attributes["resource"] = resource.plural.clone().into();
            attributes["group"] = resource.group.clone().into();
            if !resource.namespaced {
                attributes["namespace"] = "".into();
                let scope =
                    if resource.group.is_empty() { String::new() } else { format!(" in group '{}'", resource.group) };
                if !args.all_namespaces {
                    writeln!(
                        std::io::stderr(),
                        "Warning: resource '{}' is not namespace scoped{scope}\n",
                        resource.plural
                    )?;
                }
            }
        }
        Err(_) => {
            writeln!(std::io::stderr(), "Warning: the server doesn't have a resource type '{word}'\n")?;
            attributes["resource"] = word.into();
        }
    }
    Ok(attributes)
}

async fn list(context: &Context, args: &CanI) -> Result<()> {
    let spec = json!({"namespace": context.namespace()});
    let answer =
        review(context, "authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview", spec).await?;
    let status = &answer["status"];
    if status["incomplete"] == true {
        let error = status["evaluationError"].as_str().unwrap_or_default();
        writeln!(std::io::stderr(), "warning: the list may be incomplete: {error}")?;
    }
    let mut rows = Vec::new();
    if !args.no_headers {
        rows.push(["Resources", "Non-Resource URLs", "Resource Names", "Verbs"].map(str::to_owned).to_vec());
    }
    rows.extend(rules(status));
    Ok(write!(output::stdout(), "{}", Table::default().layout(&rows))?)
}

/// One row per resource and names, with every verb for them; then per path.
fn rules(status: &Value) -> Vec<Vec<String>> {
    let strings = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let mut verbs: BTreeMap<[String; 4], Vec<String>> = BTreeMap::new();
    let mut add = |key: [String; 4], more: Vec<String>| {
        let known = verbs.entry(key).or_default();
        known.extend(more);
        let mut seen = std::collections::BTreeSet::new();
        known.retain(|verb| seen.insert(verb.clone()));
    };
    for rule in status["resourceRules"].as_array().into_iter().flatten() {
        let names = strings(&rule["resourceNames"]).join(" ");
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                add([group.clone(), resource, names.clone(), String::new()], strings(&rule["verbs"]));
            }
        }
    }
    // Those of resources are made one per resource, those of paths stay as they are.
    let mut rules: Vec<([String; 4], Vec<String>)> = verbs.into_iter().collect();
    for rule in status["nonResourceRules"].as_array().into_iter().flatten() {
        for path in strings(&rule["nonResourceURLs"]) {
            rules.push(([String::new(), String::new(), String::new(), path], strings(&rule["verbs"])));
        }
    }
    // Upstream sorts rules by their text in Go.
    rules.sort_by_cached_key(|([group, resource, names, path], verbs)| {
        let list = |text: &str| format!("[{text}]");
        [list(&verbs.join(" ")), list(group), list(resource), list(names), list(path)]
    });
    let row = |([group, resource, names, path], verbs): ([String; 4], Vec<String>)| {
        let full = if group.is_empty() { resource } else { format!("{resource}.{group}") };
        vec![full, format!("[{path}]"), format!("[{names}]"), format!("[{}]", verbs.join(" "))]
    };
    rules.into_iter().map(row).collect()
}

async fn whoami(context: &Context, args: &Whoami) -> Result<()> {
    let answer =
        review(context, "authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview", Value::Null).await?;
    if let Some(format) = Format::of_change(args.output.as_deref(), args.template.as_deref())? {
        if format == Format::Name {
            return output::line("selfsubjectreview.authentication.k8s.io/<unknown>");
        }
        let resource = context.discovery().await?.find("selfsubjectreviews")?.clone();
        return Objects { items: vec![(resource, answer)], single: true, ..Objects::default() }.print(&format, true);
    }
    let user = &answer["status"]["userInfo"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let many = |value: &Value| {
        let items: Vec<String> = value.as_array().into_iter().flatten().map(text).collect();
        format!("[{}]", items.join(" "))
    };
    let mut rows = vec![["ATTRIBUTE", "VALUE"].map(str::to_owned).to_vec()];
    rows.push(vec!["Username".to_owned(), text(&user["username"])]);
    if user["uid"].is_string() {
        rows.push(vec!["UID".to_owned(), text(&user["uid"])]);
    }
    if user["groups"].is_array() {
        rows.push(vec!["Groups".to_owned(), many(&user["groups"])]);
    }
    for (key, value) in user["extra"].as_object().into_iter().flatten() {
        rows.push(vec![format!("Extra: {key}"), many(value)]);
    }
    Ok(write!(output::stdout(), "{}", Table::default().layout(&rows))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_follow_a_no() {
        assert_eq!(told(&json!({"allowed": true, "reason": "x"})), (true, "yes".to_owned()));
        assert_eq!(told(&json!({"allowed": false, "reason": "x"})), (false, "no - x".to_owned()));
    }

    #[test]
    fn rules_are_one_row_per_resource() {
        let status = json!({"resourceRules": [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
            {"apiGroups": ["", "apps"], "resources": ["pods"], "verbs": ["get", "list"]}],
            "nonResourceRules": [{"nonResourceURLs": ["/healthz"], "verbs": ["get"]}]});
        let expected = [
            ["pods", "[]", "[]", "[get list]"],
            ["pods.apps", "[]", "[]", "[get list]"],
            ["", "[/healthz]", "[]", "[get]"],
        ];
        assert_eq!(rules(&status), expected);
    }
}
