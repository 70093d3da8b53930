//! Role and ClusterRole: sets of things that may be done.

use super::GROUP;
use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::table::{self, NAME};
use crate::registry::{Column, Resource, Scope, Strategy, names};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of Roles.
pub const ROLE: Resource = Resource {
    group: GROUP,
    ..Resource::new("Role", "roles", "role", "io.k8s.api.rbac.v1.Role", &Roles { scope: Scope::Namespaced })
};

/// Discovery facts of ClusterRoles.
pub const CLUSTER_ROLE: Resource = Resource {
    group: GROUP,
    scope: Scope::Cluster,
    ..Resource::new(
        "ClusterRole",
        "clusterroles",
        "clusterrole",
        "io.k8s.api.rbac.v1.ClusterRole",
        &Roles { scope: Scope::Cluster },
    )
};

struct Roles {
    scope: Scope,
}

impl Strategy for Roles {
    fn validate_name(&self, name: &str, _prefix: bool) -> Vec<String> {
        names::path_segment(name)
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        for (index, rule) in object::list_at(object, "rules").iter().enumerate() {
            validate_rule(rule, self.scope, &format!("rules[{index}]"), &mut errors);
        }
        for (index, selector) in object::list_at(object, "aggregationRule.clusterRoleSelectors").iter().enumerate() {
            check::label_selector(selector, &format!("aggregationRule.clusterRoleSelectors[{index}]"), &mut errors);
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                Column {
                    name: "Created At",
                    kind: "date",
                    format: "",
                    description: "When it was created.",
                    priority: 0,
                },
            ]
        }
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        vec![table::name(object), json!(object::metadata_str(object, "creationTimestamp"))]
    }
}

fn validate_rule(rule: &Value, scope: Scope, path: &str, errors: &mut Errors) {
    let is_empty = |field: &str| object::list_at(rule, field).is_empty();
    let mut required = |field: &str, detail: &str| errors.push(FieldError::required(format!("{path}.{field}"), detail));
    if is_empty("verbs") {
        required("verbs", "verbs must contain at least one value");
    }
    if is_empty("nonResourceURLs") {
        if is_empty("apiGroups") {
            required("apiGroups", "resource rules must supply at least one api group");
        }
        if is_empty("resources") {
            required("resources", "resource rules must supply at least one resource");
        }
        return;
    }
    let shown = check::shown_strings(object::list_at(rule, "nonResourceURLs"));
    let problem = match scope {
        Scope::Namespaced => "namespaced rules cannot apply to non-resource URLs",
        Scope::Cluster if !is_empty("apiGroups") || !is_empty("resources") || !is_empty("resourceNames") => {
            "rules cannot apply to both regular resources and non-resource URLs"
        }
        Scope::Cluster => return,
    };
    errors.push(crate::registry::metadata::invalid_shown(format!("{path}.nonResourceURLs"), &shown, problem));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::shown_errors;
    use expect_test::expect;

    #[test]
    fn rules_name_what_they_are_about() {
        let role = json!({"rules": [{}, {"verbs": ["get"], "nonResourceURLs": ["/healthz"]}]});
        expect![[r#"
            rules[0].verbs: Required value: verbs must contain at least one value
            rules[0].apiGroups: Required value: resource rules must supply at least one api group
            rules[0].resources: Required value: resource rules must supply at least one resource
            rules[1].nonResourceURLs: Invalid value: []string{"/healthz"}: namespaced rules cannot apply to non-resource URLs"#]]
        .assert_eq(&shown_errors(&ROLE.strategy.validate(&role)));
        assert_eq!(CLUSTER_ROLE.strategy.validate(&role).len(), 3);
    }
}
