//! One rule of a role: what it is about, whether a request is among that, and
//! whether other rules say as much (upstream: `rbac/v1/evaluation_helpers.go`,
//! `component-helpers/auth/rbac/validation/policy_comparator.go`). Pure.

use super::Attributes;
use crate::object;
use serde_json::{Map, Value, json};
use std::fmt;

/// `rbac.authorization.k8s.io/v1.PolicyRule`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// `get`; `*` is any.
    pub verbs: Box<[Box<str>]>,
    /// Empty text is the core group; `*` is any.
    pub api_groups: Box<[Box<str>]>,
    /// `pods`, `pods/log`, `*/scale`; `*` is any.
    pub resources: Box<[Box<str>]>,
    /// Of which objects; empty is of all.
    pub resource_names: Box<[Box<str>]>,
    /// `/healthz`, `/api/*`; `*` is any.
    pub non_resource_urls: Box<[Box<str>]>,
}

const ANY: &str = "*";

fn contains(list: &[Box<str>], wanted: &str) -> bool {
    list.iter().any(|known| **known == *wanted)
}

fn contains_or_any(list: &[Box<str>], wanted: &str) -> bool {
    list.iter().any(|known| **known == *ANY || **known == *wanted)
}

impl Rule {
    /// Reads a rule of a role.
    pub fn parse(rule: &Value) -> Self {
        let list = |field| object::list_at(rule, field).iter().filter_map(Value::as_str).map(Box::from).collect();
        Self {
            verbs: list("verbs"),
            api_groups: list("apiGroups"),
            resources: list("resources"),
            resource_names: list("resourceNames"),
            non_resource_urls: list("nonResourceURLs"),
        }
    }

    /// The rules of a role.
    pub fn of_role(role: &Value) -> Vec<Self> {
        object::list_at(role, "rules").iter().map(Self::parse).collect()
    }

    /// The rule as a role has it.
    pub fn to_value(&self) -> Value {
        let fields = [
            ("verbs", &self.verbs),
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
            ("resourceNames", &self.resource_names),
            ("nonResourceURLs", &self.non_resource_urls),
        ];
        let filled = fields.into_iter().filter(|(_, list)| !list.is_empty());
        Value::Object(filled.map(|(field, list)| (field.to_owned(), json!(list))).collect::<Map<_, _>>())
    }

    /// Whether the request is one that the rule lets pass.
    pub fn allows(&self, asked: &Attributes<'_>) -> bool {
        if !contains_or_any(&self.verbs, asked.verb) {
            return false;
        }
        if !asked.is_resource {
            return self.non_resource_urls.iter().any(|url| url_matches(url, asked.path));
        }
        contains_or_any(&self.api_groups, asked.group)
            && self.resources.iter().any(|known| resource_matches(known, asked.resource, asked.subresource))
            && (self.resource_names.is_empty() || contains(&self.resource_names, asked.name))
    }

    /// The rule as rules of one verb, one group, one resource, and one name.
    pub fn breakdown(&self) -> Vec<Self> {
        let one = |text: &str| -> Box<[Box<str>]> { [Box::from(text)].into() };
        let mut parts = Vec::new();
        for verb in &self.verbs {
            for url in &self.non_resource_urls {
                parts.push(Self { verbs: one(verb), non_resource_urls: one(url), ..Self::default() });
            }
            for group in &self.api_groups {
                for resource in &self.resources {
                    let part =
                        Self { verbs: one(verb), api_groups: one(group), resources: one(resource), ..Self::default() };
                    if self.resource_names.is_empty() {
                        parts.push(part);
                        continue;
                    }
                    let named = |name: &str| Self { resource_names: one(name), ..part.clone() };
                    parts.extend(self.resource_names.iter().map(|name| named(name)));
                }
            }
        }
        parts
    }

    /// Whether this rule lets everything pass that `part`, the result of a
    /// [`Rule::breakdown`], lets pass.
    pub fn covers(&self, part: &Self) -> bool {
        let all = |mine: &[Box<str>], wanted: &[Box<str>]| wanted.iter().all(|one| contains_or_any(mine, one));
        let resource = |wanted: &str| {
            let (resource, subresource) = wanted.split_once('/').unwrap_or((wanted, ""));
            self.resources.iter().any(|known| resource_matches(known, resource, subresource))
        };
        let names = self.resource_names.is_empty()
            || !part.resource_names.is_empty()
                && part.resource_names.iter().all(|name| contains(&self.resource_names, name));
        all(&self.verbs, &part.verbs)
            && all(&self.api_groups, &part.api_groups)
            && part.resources.iter().all(|wanted| resource(wanted))
            && names
            && part.non_resource_urls.iter().all(|url| self.non_resource_urls.iter().any(|mine| url_covers(mine, url)))
    }
}

/// `pods/log` by `pods/log`, `*/log` and `*`.
fn resource_matches(known: &str, resource: &str, subresource: &str) -> bool {
    if known == ANY {
        return true;
    }
    if subresource.is_empty() {
        return known == resource;
    }
    known.rsplit_once('/').is_some_and(|(of, sub)| sub == subresource && (of == ANY || of == resource))
}

fn url_matches(known: &str, path: &str) -> bool {
    known == path || known.strip_suffix(ANY).is_some_and(|prefix| path.starts_with(prefix.trim_end_matches(ANY)))
}

fn url_covers(known: &str, wanted: &str) -> bool {
    url_matches(known, wanted)
}

/// Go's `%q` of a list, as messages show rules.
fn write_list(out: &mut fmt::Formatter<'_>, separator: &str, name: &str, list: &[Box<str>]) -> fmt::Result {
    if list.is_empty() {
        return Ok(());
    }
    let quoted: Vec<String> = list.iter().map(|text| format!("{text:?}")).collect();
    write!(out, "{separator}{name}:[{}]", quoted.join(" "))
}

/// `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}` (upstream: `CompactString`).
impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        out.write_str("{")?;
        let mut separator = "";
        for (name, list) in lists {
            write_list(out, separator, name, list)?;
            if !list.is_empty() {
                separator = ", ";
            }
        }
        out.write_str("}")
    }
}

/// What of `wanted` the `owned` rules do not let pass, in the form of messages:
/// one rule per group and resource, with its verbs together.
pub fn missing(owned: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let parts = wanted.iter().flat_map(Rule::breakdown);
    compact(parts.filter(|part| !owned.iter().any(|rule| rule.covers(part))).collect())
}

/// Joins the verbs of rules about the same single resource (upstream: `CompactRules`).
pub fn compact(rules: Vec<Rule>) -> Vec<Rule> {
    let mut compacted: Vec<Rule> = Vec::new();
    for rule in rules {
        let simple = rule.api_groups.len() == 1 && rule.resources.len() == 1 && rule.non_resource_urls.is_empty();
        let same = |known: &&mut Rule| {
            simple
                && known.api_groups == rule.api_groups
                && known.resources == rule.resources
                && known.resource_names == rule.resource_names
        };
        match compacted.iter_mut().find(same) {
            Some(known) => {
                let new = rule.verbs.iter().filter(|verb| !contains(&known.verbs, verb)).cloned();
                known.verbs = known.verbs.iter().cloned().chain(new.collect::<Vec<_>>()).collect();
            }
            None => compacted.push(rule),
        }
    }
    compacted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str]) -> Rule {
        Rule::parse(&json!({"verbs": verbs, "apiGroups": groups, "resources": resources}))
    }

    fn on(verb: &'static str, group: &'static str, resource: &'static str) -> Attributes<'static> {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes { verb, group, resource, subresource, is_resource: true, ..Attributes::default() }
    }

    #[test]
    fn verbs_groups_and_resources_must_all_fit() {
        let pods = rule(&["get", "list"], &[""], &["pods", "pods/log"]);
        assert!(pods.allows(&on("get", "", "pods")) && pods.allows(&on("list", "", "pods/log")));
        assert!(!pods.allows(&on("watch", "", "pods")));
        assert!(!pods.allows(&on("get", "apps", "pods")));
        assert!(!pods.allows(&on("get", "", "pods/exec")), "a resource is not its subresources");
        assert!(!pods.allows(&on("get", "", "secrets")));
    }

    #[test]
    fn stars_are_any() {
        assert!(rule(&["*"], &["*"], &["*"]).allows(&on("drain", "x.y", "things/part")));
        let scale = rule(&["get"], &["*"], &["*/scale"]);
        assert!(scale.allows(&on("get", "apps", "deployments/scale")));
        assert!(!scale.allows(&on("get", "apps", "deployments")));
        assert!(!rule(&["get"], &[""], &["pods/*"]).allows(&on("get", "", "pods/log")), "upstream knows no such star");
    }

    #[test]
    fn names_narrow_a_rule() {
        let mut named = rule(&["get", "create"], &[""], &["secrets"]);
        named.resource_names = ["a".into()].into();
        assert!(named.allows(&Attributes { name: "a", ..on("get", "", "secrets") }));
        assert!(!named.allows(&Attributes { name: "b", ..on("get", "", "secrets") }));
        assert!(!named.allows(&on("create", "", "secrets")), "a new object has no name yet");
    }

    #[test]
    fn paths_end_in_a_star_or_are_exact() {
        let paths = Rule::parse(&json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/api/*"]}));
        let asks = |path| paths.allows(&Attributes { verb: "get", path, ..Attributes::default() });
        assert!(asks("/healthz") && asks("/api/v1"));
        assert!(!asks("/healthz/ping") && !asks("/api") && !asks("/metrics"));
        assert!(!rule(&["get"], &["*"], &["*"]).allows(&Attributes {
            verb: "get",
            path: "/",
            ..Attributes::default()
        }));
    }

    #[test]
    fn what_is_missing_is_said_shortly() {
        let owned = [rule(&["get"], &[""], &["pods"]), rule(&["*"], &["apps"], &["*"])];
        let wanted = [rule(&["get", "list", "watch"], &["", "apps"], &["pods", "pods/log"])];
        let shown: Vec<String> = missing(&owned, &wanted).iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                r#"{APIGroups:[""], Resources:["pods/log"], Verbs:["get" "list" "watch"]}"#,
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}"#
            ]
        );
        assert!(missing(&[rule(&["*"], &["*"], &["*"])], &wanted).is_empty());
    }

    #[test]
    fn a_rule_for_some_names_does_not_cover_all() {
        let mut named = rule(&["get"], &[""], &["pods"]);
        named.resource_names = ["a".into()].into();
        let all = rule(&["get"], &[""], &["pods"]);
        assert!(all.covers(&named) && !named.covers(&all) && named.covers(&named));
    }
}
