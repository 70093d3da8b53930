//! The roles and bindings that every cluster has, from `data/bootstrap-policy.txt`
//! (which says its own form), and how what is stored is brought up to them
//! (upstream: `rbac/bootstrappolicy`, `component-helpers/auth/rbac/reconciliation`).
//! Pure; [`crate::bootstrap`] writes.

use super::rule::Rule;
use crate::{
    object,
    registry::{
        Resource,
        rbac::{
            bindings::{CLUSTER_ROLE_BINDING, ROLE_BINDING},
            roles::{CLUSTER_ROLE, ROLE},
        },
    },
};
use serde_json::{Map, Value, json};

const POLICY: &str = include_str!("../../data/bootstrap-policy.txt");

/// Who sets this to anything but `true` keeps an object as it is.
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const CONTROLLER_PREFIX: &str = "system:controller:";

/// Kinds by the word that begins a line.
static KINDS: [(&str, &Resource); 4] = [
    ("ClusterRole", &CLUSTER_ROLE),
    ("Role", &ROLE),
    ("ClusterRoleBinding", &CLUSTER_ROLE_BINDING),
    ("RoleBinding", &ROLE_BINDING),
];

/// Every object of the policy, with its kind, roles first.
pub fn objects() -> Vec<(&'static Resource, Value)> {
    let mut objects: Vec<(&'static Resource, Value)> = Vec::with_capacity(160);
    for line in POLICY.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with(' ') {
            let (_, role) = objects.last_mut().expect("a rule follows its role");
            role["rules"].as_array_mut().expect("made with the role").push(rule(line.trim()));
            continue;
        }
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or_default();
        let row = KINDS.iter().find(|(word, _)| *word == kind).expect("the policy has four kinds").1;
        let words: Vec<&str> = words.collect();
        objects.push((row, if kind.ends_with("Binding") { binding(row, &words) } else { role(row, &words) }));
    }
    let bindings: Vec<_> = objects.iter().filter_map(|(row, role)| controller_binding(row, role)).collect();
    objects.extend(bindings);
    aggregate(&mut objects);
    objects.sort_by_key(|(row, _)| std::ptr::eq(*row, KINDS[2].1) || std::ptr::eq(*row, KINDS[3].1));
    objects
}

fn named(row: &Resource, name: &str) -> Value {
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    let mut metadata = json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {AUTOUPDATE: "true"},
    });
    if !namespace.is_empty() {
        metadata["namespace"] = namespace.into();
    }
    json!({"apiVersion": row.api_version(), "kind": row.kind, "metadata": metadata})
}

fn label(set: &str) -> String {
    format!("{}/aggregate-to-{set}", ROLE.group)
}

fn role(row: &Resource, words: &[&str]) -> Value {
    let mut role = named(row, words.first().copied().unwrap_or_default());
    role["rules"] = json!([]);
    for word in words.iter().skip(1) {
        let set = &word[1..];
        if word.starts_with('=') {
            role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {label(set): "true"}}]});
        } else {
            role["metadata"]["labels"][label(set)] = "true".into();
        }
    }
    role
}

fn rule(line: &str) -> Value {
    const EVENTS: &str = "create,patch,update core,events.k8s.io events";
    let mut words = if line == "events" { EVENTS } else { line }.split(' ');
    let mut list = || -> Vec<&str> { words.next().map(|word| word.split(',').collect()).unwrap_or_default() };
    let (verbs, groups, resources, names) = (list(), list(), list(), list());
    let verbs: Vec<&str> = verbs.iter().flat_map(spelled).copied().collect();
    if groups == ["url"] {
        return json!({"verbs": verbs, "nonResourceURLs": resources});
    }
    let groups: Vec<&str> = groups.into_iter().map(|group| if group == "core" { "" } else { group }).collect();
    let mut rule = json!({"verbs": verbs, "apiGroups": groups, "resources": resources});
    if !names.is_empty() {
        rule["resourceNames"] = json!(names);
    }
    rule
}

fn spelled<'a>(verb: &'a &'a str) -> &'a [&'a str] {
    match *verb {
        "read" => &["get", "list", "watch"],
        "write" => &["create", "delete", "deletecollection", "patch", "update"],
        "all" => &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        _ => std::slice::from_ref(verb),
    }
}

fn subject(word: &str) -> Value {
    let (kind, name) = word.split_once('=').expect("a subject is Kind=name");
    match name.split_once('/') {
        Some((namespace, name)) if kind == "ServiceAccount" => {
            json!({"kind": kind, "name": name, "namespace": namespace})
        }
        _ => json!({"apiGroup": ROLE.group, "kind": kind, "name": name}),
    }
}

fn binding(row: &Resource, words: &[&str]) -> Value {
    let full = words.first().copied().unwrap_or_default();
    let colon = words.iter().position(|word| *word == ":").expect("a colon before the subjects");
    let own_name = full.rsplit('/').next().unwrap_or(full);
    let role = if colon == 2 { words[1] } else { own_name };
    let kind = if row.kind == CLUSTER_ROLE_BINDING.kind { CLUSTER_ROLE.kind } else { ROLE.kind };
    let mut binding = named(row, full);
    binding["roleRef"] = json!({"apiGroup": ROLE.group, "kind": kind, "name": role});
    let subjects: Vec<Value> = words[colon + 1..].iter().map(|word| subject(word)).collect();
    if !subjects.is_empty() {
        binding["subjects"] = Value::Array(subjects);
    }
    binding
}

/// The binding of a controller's role to its account.
fn controller_binding(row: &Resource, role: &Value) -> Option<(&'static Resource, Value)> {
    let name = object::name(role);
    let controller = name.strip_prefix(CONTROLLER_PREFIX).filter(|_| row.kind == CLUSTER_ROLE.kind)?;
    let account = format!("ServiceAccount=kube-system/{controller}");
    let row = KINDS[2].1;
    Some((row, binding(row, &[name, ":", &account])))
}

/// Gives the roles that are put together from others the rules that a controller
/// would, so that they hold from the start.
fn aggregate(objects: &mut [(&'static Resource, Value)]) {
    // view is a part of edit is a part of admin.
    for set in ["view", "edit", "admin"] {
        let is_part = |role: &Value| role["metadata"]["labels"][label(set)] == "true";
        let mut parts: Vec<&Value> = objects.iter().map(|(_, role)| role).filter(|role| is_part(role)).collect();
        parts.sort_by_key(|role| object::name(role));
        let mut rules: Vec<Value> = Vec::new();
        for rule in parts.iter().flat_map(|role| object::list_at(role, "rules")) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
        let whole =
            objects.iter_mut().find(|(_, role)| object::name(role) == set && !role["aggregationRule"].is_null());
        if let Some((_, whole)) = whole {
            whole["rules"] = Value::Array(rules);
        }
    }
}

/// What to do about an object that is stored already.
#[derive(Debug, PartialEq)]
pub enum Reconciled {
    /// It has all it should have, or nobody may touch it.
    Keep,
    /// Write this.
    Update(Value),
    /// It is bound to another role, which no update changes: make it anew.
    Replace,
}

/// Adds what is missing; what users added stays.
pub fn reconcile(stored: &Value, wanted: &Value) -> Reconciled {
    if stored["metadata"]["annotations"].get(AUTOUPDATE).is_some_and(|value| value != "true") {
        return Reconciled::Keep;
    }
    if stored["roleRef"] != wanted["roleRef"] {
        return Reconciled::Replace;
    }
    let mut new = stored.clone();
    for field in ["labels", "annotations"] {
        add_texts(&mut new, wanted, field);
    }
    if wanted["aggregationRule"].is_null() {
        add_rules(&mut new, wanted);
    } else if new["aggregationRule"].is_null() {
        new["aggregationRule"] = wanted["aggregationRule"].clone();
    }
    add_subjects(&mut new, wanted);
    if new == *stored { Reconciled::Keep } else { Reconciled::Update(new) }
}

fn add_texts(new: &mut Value, wanted: &Value, field: &str) {
    let empty = Map::new();
    let missing = wanted["metadata"][field].as_object().unwrap_or(&empty);
    let metadata = object::metadata_mut(new);
    let texts = metadata.entry(field).or_insert_with(|| json!({}));
    if let Some(texts) = texts.as_object_mut() {
        texts.extend(missing.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
}

fn add_rules(new: &mut Value, wanted: &Value) {
    let owned = Rule::of_role(new);
    let covered =
        |rule: &Value| Rule::parse(rule).breakdown().iter().all(|part| owned.iter().any(|known| known.covers(part)));
    let missing: Vec<Value> = object::list_at(wanted, "rules").iter().filter(|rule| !covered(rule)).cloned().collect();
    if let (Some(fields), false) = (new.as_object_mut(), missing.is_empty()) {
        object::list_mut(fields, "rules").extend(missing);
    }
}

fn add_subjects(new: &mut Value, wanted: &Value) {
    let missing: Vec<Value> = object::list_at(wanted, "subjects")
        .iter()
        .filter(|subject| !object::list_at(new, "subjects").contains(subject))
        .cloned()
        .collect();
    if let (Some(fields), false) = (new.as_object_mut(), missing.is_empty()) {
        object::list_mut(fields, "subjects").extend(missing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(kind: &str, name: &str) -> Value {
        let found = objects().into_iter().find(|(row, object)| row.kind == kind && object::name(object) == name);
        found.expect("in the policy").1
    }

    #[test]
    fn every_object_is_valid_and_every_binding_has_its_role() {
        let all = objects();
        for (row, object) in &all {
            assert_eq!(row.strategy.validate(object), [], "{object}");
        }
        for (row, binding) in all.iter().filter(|(_, object)| !object["roleRef"].is_null()) {
            let role = &binding["roleRef"];
            let namespace = if role["kind"] == "Role" { object::namespace(binding) } else { "" };
            let has = all.iter().any(|(of, role_object)| {
                role["kind"] == of.kind
                    && role["name"] == role_object["metadata"]["name"]
                    && object::namespace(role_object) == namespace
            });
            assert!(has, "{} {} has no role", row.kind, object::name(binding));
        }
        let mut names: Vec<_> = all.iter().map(|(row, o)| (row.kind, object::namespace(o), object::name(o))).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "an object twice");
    }

    #[test]
    fn the_words_of_the_policy_become_objects() {
        let view = find("ClusterRole", "system:aggregate-to-view");
        assert_eq!(view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"], "true");
        assert_eq!(
            view["rules"][2],
            json!({"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["namespaces"]})
        );
        let scheduler = find("ClusterRole", "system:kube-scheduler");
        assert_eq!(scheduler["rules"][0]["apiGroups"], json!(["", "events.k8s.io"]));
        assert_eq!(scheduler["rules"][2]["resourceNames"], json!(["kube-scheduler"]));
        let controller = find("ClusterRoleBinding", "system:controller:job-controller");
        let account = json!([{"kind": "ServiceAccount", "name": "job-controller", "namespace": "kube-system"}]);
        assert_eq!(controller["subjects"], account);
    }

    #[test]
    fn the_whole_roles_have_the_rules_of_their_parts() {
        let rules = |name: &str| object::list_at(&find("ClusterRole", name), "rules").len();
        let (view, edit, admin) = (rules("view"), rules("edit"), rules("admin"));
        assert_eq!(view, rules("system:aggregate-to-view"));
        assert_eq!(edit, view + rules("system:aggregate-to-edit"));
        assert_eq!(admin, edit + rules("system:aggregate-to-admin"));
    }

    #[test]
    fn what_users_added_stays_and_what_is_missing_comes_back() {
        let wanted = find("ClusterRole", "system:kube-dns");
        assert_eq!(reconcile(&wanted, &wanted), Reconciled::Keep);
        let mut stored = wanted.clone();
        stored["rules"] = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
        stored["metadata"]["labels"] = json!({"mine": "yes"});
        let Reconciled::Update(new) = reconcile(&stored, &wanted) else { panic!("a rule is missing") };
        assert_eq!(object::list_at(&new, "rules").len(), 2);
        assert_eq!(new["metadata"]["labels"].as_object().map(Map::len), Some(2));
        assert_eq!(reconcile(&new, &wanted), Reconciled::Keep, "once is enough");
        stored["metadata"]["annotations"][AUTOUPDATE] = json!("false");
        assert_eq!(reconcile(&stored, &wanted), Reconciled::Keep, "the user said so");
    }

    #[test]
    fn a_binding_to_another_role_is_made_anew() {
        let wanted = find("ClusterRoleBinding", "cluster-admin");
        let mut stored = wanted.clone();
        stored["subjects"] = json!([]);
        assert!(matches!(reconcile(&stored, &wanted), Reconciled::Update(_)));
        stored["roleRef"]["name"] = json!("view");
        assert_eq!(reconcile(&stored, &wanted), Reconciled::Replace);
    }
}
