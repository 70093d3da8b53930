//! RoleBinding and ClusterRoleBinding: who has a role.

use super::GROUP;
use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::defaults::{each, set, within};
use crate::registry::metadata::invalid_shown;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Part, Resource, Scope, Strategy, names};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of RoleBindings.
pub const ROLE_BINDING: Resource = Resource {
    group: GROUP,
    ..Resource::new(
        "RoleBinding",
        "rolebindings",
        "rolebinding",
        "io.k8s.api.rbac.v1.RoleBinding",
        &Bindings { roles: &["Role", "ClusterRole"] },
    )
};

/// Discovery facts of ClusterRoleBindings.
pub const CLUSTER_ROLE_BINDING: Resource = Resource {
    group: GROUP,
    scope: Scope::Cluster,
    ..Resource::new(
        "ClusterRoleBinding",
        "clusterrolebindings",
        "clusterrolebinding",
        "io.k8s.api.rbac.v1.ClusterRoleBinding",
        &Bindings { roles: &["ClusterRole"] },
    )
};

/// Both kinds; they differ in the roles that they can refer to.
struct Bindings {
    roles: &'static [&'static str],
}

impl Strategy for Bindings {
    fn validate_name(&self, name: &str, _prefix: bool) -> Vec<String> {
        names::path_segment(name)
    }

    fn default(&self, object: &mut Value) {
        let Some(fields) = object.as_object_mut() else { return };
        fields.entry("roleRef").or_insert_with(|| json!({}));
        within(fields, "roleRef", |role| set(role, "apiGroup", GROUP));
        each(fields, "subjects", |subject| {
            if subject.get("kind").is_some_and(|kind| kind == "User" || kind == "Group") {
                set(subject, "apiGroup", GROUP);
            }
        });
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let role = &object["roleRef"];
        let text = |field| object::str_at(role, field);
        if text("apiGroup") != GROUP {
            errors.push(FieldError::not_supported("roleRef.apiGroup", text("apiGroup"), &[GROUP]));
        }
        if !self.roles.contains(&text("kind")) {
            errors.push(FieldError::not_supported("roleRef.kind", text("kind"), self.roles));
        }
        if check::required(role, "roleRef", "name", &mut errors) {
            check::messages("roleRef.name", text("name"), names::path_segment(text("name")), &mut errors);
        }
        for (index, subject) in object::list_at(object, "subjects").iter().enumerate() {
            validate_subject(subject, &format!("subjects[{index}]"), &mut errors);
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        let mut errors = self.validate(new);
        let role = &new["roleRef"];
        if *role != old["roleRef"] {
            let text = |field| object::str_at(role, field);
            let (group, kind, name) = (text("apiGroup"), text("kind"), text("name"));
            let shown = format!("rbac.RoleRef{{APIGroup:{group:?}, Kind:{kind:?}, Name:{name:?}}}");
            errors.push(invalid_shown("roleRef", &shown, "cannot change roleRef"));
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                table::text("Role", "What they may do."),
                AGE,
                table::wide("Users", "Users who have it."),
                table::wide("Groups", "Groups that have it."),
                table::wide("ServiceAccounts", "Service accounts that have it."),
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let role = &object["roleRef"];
        let named = |kind: &str| {
            let of_kind = object::list_at(object, "subjects").iter().filter(|subject| subject["kind"] == kind);
            json!(of_kind.map(shown_subject).collect::<Vec<_>>().join(", "))
        };
        vec![
            table::name(object),
            json!(format!("{}/{}", object::str_at(role, "kind"), object::str_at(role, "name"))),
            table::age(object, now),
            named("User"),
            named("Group"),
            named("ServiceAccount"),
        ]
    }
}

fn shown_subject(subject: &Value) -> String {
    let name = object::str_at(subject, "name");
    match object::str_at(subject, "namespace") {
        "" => name.to_owned(),
        namespace => format!("{namespace}/{name}"),
    }
}

fn validate_subject(subject: &Value, path: &str, errors: &mut Errors) {
    let text = |field| object::str_at(subject, field);
    check::required(subject, path, "name", errors);
    let group = match text("kind") {
        "ServiceAccount" => {
            if !text("name").is_empty() {
                let broken = names::dns_subdomain(text("name"), false);
                check::messages(&format!("{path}.name"), text("name"), broken, errors);
            }
            check::required(subject, path, "namespace", errors);
            ""
        }
        "User" | "Group" => GROUP,
        other => {
            let supported = ["ServiceAccount", "User", "Group"];
            errors.push(FieldError::not_supported(format!("{path}.kind"), other, &supported));
            return;
        }
    };
    if text("apiGroup") != group {
        errors.push(FieldError::not_supported(format!("{path}.apiGroup"), text("apiGroup"), &[group]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::shown_errors;
    use expect_test::expect;

    #[test]
    fn a_binding_names_a_role_that_stays() {
        let strategy = ROLE_BINDING.strategy;
        let mut old = json!({"subjects": [{"kind": "User", "name": "jane"}], "roleRef": {"kind": "Role", "name": "r"}});
        strategy.default(&mut old);
        assert_eq!(strategy.validate(&old), []);
        let mut new = old.clone();
        new["roleRef"]["name"] = json!("other");
        expect![[r#"roleRef: Invalid value: rbac.RoleRef{APIGroup:"rbac.authorization.k8s.io", Kind:"Role", Name:"other"}: cannot change roleRef"#]]
            .assert_eq(&shown_errors(&strategy.validate_update(&new, &old, Part::Main)));
    }

    #[test]
    fn an_empty_reference_is_refused() {
        let mut object = json!({});
        ROLE_BINDING.strategy.default(&mut object);
        expect![[r#"
            roleRef.kind: Unsupported value: "": supported values: "Role", "ClusterRole"
            roleRef.name: Required value"#]]
        .assert_eq(&shown_errors(&ROLE_BINDING.strategy.validate(&object)));
    }
}
