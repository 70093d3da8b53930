//! Nobody gives away what they do not have: the checks on writes of roles and
//! bindings (upstream: `registry/rbac/*/policybased`, `ConfirmNoEscalation`).
//! Called by the verbs before an object of these kinds is written.

use super::{Attributes, Decision, is_master, rule};
use crate::{
    http::status::{ApiError, Target},
    object,
    registry::rbac::{
        bindings::{CLUSTER_ROLE_BINDING, ROLE_BINDING},
        roles::{CLUSTER_ROLE, ROLE},
    },
    verbs::Call,
};
use rule::Rule;
use serde_json::Value;

/// Refuses a role that says more than its writer may do, and a binding to such
/// a role. `old` is `None` for a new object.
///
/// # Errors
/// 403, or 404 for the role of a binding.
pub async fn check(call: &Call, new: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    if call.row.group != ROLE.group || is_master(&call.user) {
        return Ok(());
    }
    if [CLUSTER_ROLE.plural, ROLE.plural].contains(&call.row.plural) {
        check_role(call, new, old).await
    } else if [CLUSTER_ROLE_BINDING.plural, ROLE_BINDING.plural].contains(&call.row.plural) {
        check_binding(call, new, old).await
    } else {
        Ok(())
    }
}

async fn check_role(call: &Call, new: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    let same = |field: &str| old.is_some_and(|old| old.get(field) == new.get(field));
    if same("rules") && same("aggregationRule") || may(call, "escalate", call.row.plural, object::name(new)).await? {
        return Ok(());
    }
    let aggregates = |role: &Value| !role["aggregationRule"].is_null();
    if aggregates(new) || old.is_some_and(aggregates) {
        let everything = [
            Rule::parse(&serde_json::json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})),
            Rule::parse(&serde_json::json!({"verbs": ["*"], "nonResourceURLs": ["*"]})),
        ];
        let why = "must have cluster-admin privileges to use the aggregationRule";
        confirm(call, object::name(new), &everything).await.map_err(|error| match error {
            ApiError::Forbidden(target, _, cause) => ApiError::Forbidden(target, why.to_owned(), cause),
            other => other,
        })?;
    }
    confirm(call, object::name(new), &Rule::of_role(new)).await
}

async fn check_binding(call: &Call, new: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    if old.is_some_and(|old| old["roleRef"] == new["roleRef"] && old["subjects"] == new["subjects"]) {
        return Ok(());
    }
    let role = &new["roleRef"];
    let (kind, name) = (object::str_at(role, "kind"), object::str_at(role, "name"));
    let plural = if kind == CLUSTER_ROLE.kind { CLUSTER_ROLE.plural } else { ROLE.plural };
    if may(call, "bind", plural, name).await? {
        return Ok(());
    }
    let caches = &call.server.caches;
    let rules = call.server.authorizer.rules_of_role(caches, call.namespace(), kind, name).await?;
    let missing = || {
        let target = Target { group: ROLE.group.to_owned(), resource: kind.to_lowercase(), name: name.to_owned() };
        ApiError::NotFound(target)
    };
    confirm(call, object::name(new), &rules.ok_or_else(missing)?).await
}

/// Whether a rule gives the caller the special verb on the role.
async fn may(call: &Call, verb: &str, plural: &str, name: &str) -> Result<bool, ApiError> {
    let asked = Attributes {
        verb,
        group: ROLE.group,
        resource: plural,
        namespace: call.namespace(),
        name,
        is_resource: true,
        ..Attributes::default()
    };
    let decision = call.server.authorizer.decide(&call.server.caches, &call.user, &asked).await?;
    Ok(matches!(decision, Decision::Allowed(_)))
}

/// Lets pass what the caller may do already.
async fn confirm(call: &Call, name: &str, wanted: &[Rule]) -> Result<(), ApiError> {
    let (owned, unresolved) = call.server.authorizer.rules(&call.server.caches, &call.user, call.namespace()).await?;
    let mut missing: Vec<String> = rule::missing(&owned, wanted).iter().map(ToString::to_string).collect();
    if missing.is_empty() {
        return Ok(());
    }
    missing.sort();
    missing.dedup();
    let groups: Vec<String> = call.user.groups.iter().map(|group| format!("{group:?}")).collect();
    let mut why = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        call.user.name,
        groups.join(" "),
        missing.join("\n")
    );
    if !unresolved.is_empty() {
        why.push_str(&format!("; resolution errors: [{}]", unresolved.join(", ")));
    }
    Err(ApiError::Forbidden(Target::object(call.row, name), why, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorization::rbac;

    #[test]
    fn a_missing_role_is_named_by_its_kind() {
        let target = Target { group: ROLE.group.to_owned(), resource: "clusterrole".to_owned(), name: "x".to_owned() };
        let message = ApiError::NotFound(target).status()["message"].clone();
        assert_eq!(message, rbac::not_found("ClusterRole", "x"));
    }
}
