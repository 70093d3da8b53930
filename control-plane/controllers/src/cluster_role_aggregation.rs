//! ClusterRoles that are put together from others: their rules are the rules of
//! every ClusterRole that their selectors choose, each once
//! (upstream: `pkg/controller/clusterroleaggregation`).

use crate::runner::{Cache, Error, Key, Next, Reconcile, Runner, patch, unless_gone};
use k8s_openapi::{
    api::rbac::v1::{ClusterRole, PolicyRule},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};
use kube::{Api, Client, ResourceExt, api::Patch};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};

/// Roles looked at at once; there are few, and each look reads all.
const WORKERS: usize = 1;

struct Controller {
    client: Client,
    roles: Arc<Cache<ClusterRole>>,
}

/// Puts the controller into `runner`.
pub fn register(runner: &mut Runner) {
    let mut builder = runner.controller("clusterrole-aggregation-controller");
    let roles = builder.cache::<ClusterRole>();
    let (queue, known) = (builder.queue.clone(), Arc::downgrade(&roles));
    roles.on_change(move |change| {
        let same = |old: &ClusterRole, new: &ClusterRole| {
            old.rules == new.rules
                && old.metadata.labels == new.metadata.labels
                && old.aggregation_rule == new.aggregation_rule
        };
        if matches!((change.old, change.new), (Some(old), Some(new)) if same(old, new)) {
            return;
        }
        // Which of them the role is a part of, or was, is told by the look at each.
        let Some(known) = known.upgrade() else { return };
        let whole = known.everything().into_iter().filter(|role| role.aggregation_rule.is_some());
        whole.for_each(|role| queue.add(Key::of(&*role)));
    });
    let client = builder.runner.client.clone();
    builder.run(WORKERS, Controller { client, roles });
}

impl Reconcile for Controller {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(role) = self.roles.get(key) else { return Ok(Next::Change) };
        let Some(rules) = plan(&role, &self.roles.everything()) else { return Ok(Next::Change) };
        let api: Api<ClusterRole> = Api::all(self.client.clone());
        let body = json!({"metadata": {"resourceVersion": role.resource_version()}, "rules": rules});
        let written = api.patch(&key.name, &patch::params(), &Patch::Merge(&body)).await;
        unless_gone(written).map_err(Error::api("write the rules of ClusterRole", key))?;
        Ok(Next::Change)
    }
}

/// The rules that the role is to have, if they are not what it has.
fn plan(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Option<Vec<PolicyRule>> {
    let selectors = role.aggregation_rule.as_ref()?.cluster_role_selectors.as_deref().unwrap_or_default();
    let name = role.metadata.name.as_deref();
    let is_part = |part: &&Arc<ClusterRole>| {
        part.metadata.name.as_deref() != name && selectors.iter().any(|selector| selects(selector, part.labels()))
    };
    let mut parts: Vec<&Arc<ClusterRole>> = all.iter().filter(is_part).collect();
    parts.sort_by_key(|part| part.metadata.name.as_deref());
    let mut rules: Vec<PolicyRule> = Vec::new();
    for rule in parts.iter().filter_map(|part| part.rules.as_ref()).flatten() {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    (role.rules.as_deref().unwrap_or_default() != rules).then_some(rules)
}

fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let exact = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    exact && selector.match_expressions.iter().flatten().all(|requirement| holds(requirement, labels))
}

fn holds(requirement: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&requirement.key);
    let listed = value.is_some_and(|value| requirement.values.iter().flatten().any(|wanted| wanted == value));
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        // The API server lets no other pass.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn role(name: &str, labels: Value, rules: Value) -> Arc<ClusterRole> {
        let object = json!({"metadata": {"name": name, "labels": labels}, "rules": rules});
        Arc::new(serde_json::from_value(object).expect("a ClusterRole"))
    }

    fn rule(resource: &str) -> Value {
        json!({"verbs": ["get"], "apiGroups": [""], "resources": [resource]})
    }

    fn whole(rules: Value) -> ClusterRole {
        let mut whole = (*role("whole", json!({"part": "yes"}), rules)).clone();
        let selector = json!({"clusterRoleSelectors": [{"matchLabels": {"part": "yes"}}, {"matchExpressions": [
            {"key": "also", "operator": "In", "values": ["a"]}]}]});
        whole.aggregation_rule = Some(serde_json::from_value(selector).expect("an aggregation rule"));
        whole
    }

    #[test]
    fn the_rules_of_all_parts_come_together_once() {
        let mut all = vec![
            role("b", json!({"part": "yes"}), json!([rule("pods"), rule("secrets")])),
            role("a", json!({"also": "a"}), json!([rule("pods")])),
            role("c", json!({"part": "no"}), json!([rule("nodes")])),
        ];
        let empty = whole(json!([]));
        all.push(Arc::new(empty.clone()));
        let rules = plan(&empty, &all).expect("rules are missing");
        let resources: Vec<&str> =
            rules.iter().flat_map(|rule| rule.resources.iter().flatten()).map(String::as_str).collect();
        assert_eq!(resources, ["pods", "secrets"]);
        assert_eq!(plan(&whole(json!([rule("pods"), rule("secrets")])), &all), None, "nothing to write");
        assert!(plan(&all[0], &all).is_none(), "a role of its own rules");
    }
}
