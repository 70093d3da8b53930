//! Roles and their bindings from flags.

use super::bare;
use crate::{
    args::{CreateClusterRole, CreateClusterRoleBinding, CreateNamed, CreateRoleBinding, CreateRules, CreateSubjects},
    commands::run::pairs,
    resources::Discovery,
};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::io::Write;

/// What resources can be asked to do.
const VERBS: [&str; 16] = [
    "*",
    "get",
    "delete",
    "list",
    "create",
    "update",
    "patch",
    "watch",
    "proxy",
    "deletecollection",
    "use",
    "bind",
    "approve",
    "sign",
    "escalate",
    "impersonate",
];

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn role(kind: &str, named: &CreateNamed, rules: Vec<Value>) -> Value {
    let mut role = bare("rbac.authorization.k8s.io/v1", kind, named);
    role["rules"] = rules.into();
    role
}

/// One rule per API group.
pub(super) fn rules(discovery: &Discovery, args: &CreateRules) -> Result<Vec<Value>> {
    if args.verb.is_empty() {
        bail!("at least one verb must be specified");
    }
    if args.resource.is_empty() {
        bail!("at least one resource must be specified");
    }
    for verb in args.verb.iter().filter(|verb| !VERBS.contains(&verb.as_str())) {
        // One may have a verb of one's own.
        let _ = writeln!(std::io::stderr(), "Warning: '{verb}' is not a standard resource verb");
    }
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for word in &args.resource {
        let (resource, part) = word.split_once('/').map_or((word.as_str(), ""), |(resource, part)| (resource, part));
        let (group, mut plural) = if resource == "*" {
            ("*".to_owned(), "*".to_owned())
        } else {
            let found = discovery.find(resource)?;
            (found.group.clone(), found.plural.clone())
        };
        if !part.is_empty() {
            plural = format!("{plural}/{part}");
        }
        match groups.iter_mut().find(|(existing, _)| *existing == group) {
            Some((_, plurals)) => plurals.push(plural),
            None => groups.push((group, vec![plural])),
        }
    }
    let rule = |(group, plurals): (String, Vec<String>)| {
        let mut rule = json!({"apiGroups": [group], "resources": plurals, "verbs": args.verb});
        if !args.resource_name.is_empty() {
            rule["resourceNames"] = json!(args.resource_name);
        }
        rule
    };
    Ok(groups.into_iter().map(rule).collect())
}

fn cluster_rules(discovery: &Discovery, args: &CreateClusterRole) -> Result<Vec<Value>> {
    if args.non_resource_url.is_empty() {
        return rules(discovery, &args.rules);
    }
    if args.rules.verb.is_empty() {
        bail!("at least one verb must be specified");
    }
    let paths = json!({"nonResourceURLs": args.non_resource_url, "verbs": args.rules.verb});
    let mut all = if args.rules.resource.is_empty() { Vec::new() } else { rules(discovery, &args.rules)? };
    all.push(paths);
    Ok(all)
}

/// A ClusterRole; its rules are its own or those of others.
pub(super) fn cluster_role(discovery: &Discovery, args: &CreateClusterRole) -> Result<Value> {
    let Some(labels) = &args.aggregation_rule else {
        return Ok(role("ClusterRole", &args.named, cluster_rules(discovery, args)?));
    };
    let labels: Vec<String> = labels.split(',').map(str::to_owned).collect();
    let labels = pairs(&labels, "aggregation rule")?;
    let labels: serde_json::Map<String, Value> = labels.into_iter().map(|(key, value)| (key, value.into())).collect();
    let mut role = bare("rbac.authorization.k8s.io/v1", "ClusterRole", &args.named);
    role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
    role["rules"] = Value::Null;
    Ok(role)
}

/// Who is meant by `--user`, `--group` and `--serviceaccount`.
pub(in crate::commands) fn subjects(args: &CreateSubjects) -> Result<Vec<Value>> {
    let of_kind = |kind: &'static str| move |name: &String| json!({"apiGroup": GROUP, "kind": kind, "name": name});
    let mut subjects: Vec<Value> = args.user.iter().map(of_kind("User")).collect();
    subjects.extend(args.group.iter().map(of_kind("Group")));
    for account in &args.serviceaccount {
        let (namespace, name) = account
            .split_once(':')
            .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty())
            .context("serviceaccount must be <namespace>:<name>")?;
        subjects.push(json!({"kind": "ServiceAccount", "name": name, "namespace": namespace}));
    }
    Ok(subjects)
}

fn binding(kind: &str, named: &CreateNamed, role: (&str, &str), args: &CreateSubjects) -> Result<Value> {
    let mut binding = bare("rbac.authorization.k8s.io/v1", kind, named);
    binding["roleRef"] = json!({"apiGroup": GROUP, "kind": role.0, "name": role.1});
    let subjects = subjects(args)?;
    if !subjects.is_empty() {
        binding["subjects"] = subjects.into();
    }
    Ok(binding)
}

pub(super) fn role_binding(args: &CreateRoleBinding) -> Result<Value> {
    let role = match (&args.role, &args.clusterrole) {
        (Some(role), None) => ("Role", role.as_str()),
        (None, Some(role)) => ("ClusterRole", role.as_str()),
        _ => bail!("exactly one of clusterrole or role must be specified"),
    };
    binding("RoleBinding", &args.named, role, &args.subjects)
}

pub(super) fn cluster_role_binding(args: &CreateClusterRoleBinding) -> Result<Value> {
    binding("ClusterRoleBinding", &args.named, ("ClusterRole", &args.clusterrole), &args.subjects)
}

#[cfg(test)]
mod tests {
    use super::super::tests::made;
    use serde_json::json;

    #[test]
    fn bindings_name_a_role_and_subjects() {
        let binding = made("create rolebinding b --role r --user jane --serviceaccount ns:sa").expect("valid");
        assert_eq!(binding["roleRef"], json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}));
        assert_eq!(binding["subjects"][1], json!({"kind": "ServiceAccount", "name": "sa", "namespace": "ns"}));
        assert!(made("create rolebinding b --role r --clusterrole c").is_err());
        assert!(made("create clusterrolebinding b --clusterrole c --serviceaccount sa").is_err());
    }
}
