//! Roles and bindings as a table that answers without reading an object: who is
//! bound to which role where (upstream: `plugin/pkg/auth/authorizer/rbac`). Pure;
//! [`super::Authorizer`] feeds it with the changes of the watch cache.
//!
//! ```text
//!  namespace ("" is the cluster) ─▶ user or group ─▶ bindings ─▶ role ─▶ rules
//! ```

use super::{Attributes, Decision, rule::Rule};
use crate::{
    cache::{CachedEvent, EventKind},
    http::status::ApiError,
    object,
    registry::{Resource, rbac as kinds},
};
use serde_json::Value;
use std::{collections::HashMap, sync::Arc};
use wk_platform::UserInfo;

type Name = Box<str>;
/// Namespace (empty for the cluster) and name.
type FullName = (Name, Name);

/// All roles and who has them.
#[derive(Default)]
pub struct Index {
    /// By namespace, empty for ClusterRoles, and name.
    roles: HashMap<Name, HashMap<Name, Arc<[Rule]>>>,
    /// What is in `granted`, to be taken out again.
    bindings: HashMap<FullName, Arc<Binding>>,
    /// By namespace of the binding, empty for ClusterRoleBindings.
    granted: HashMap<Name, Grants>,
}

/// Who has something in one namespace, or in all.
#[derive(Default)]
struct Grants {
    users: HashMap<Name, Vec<Grant>>,
    groups: HashMap<Name, Vec<Grant>>,
}

/// One subject of one binding.
#[derive(Clone)]
struct Grant {
    binding: Arc<Binding>,
    /// In `binding.subjects`.
    subject: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Binding {
    namespace: Name,
    name: Name,
    role_kind: Name,
    role_name: Name,
    subjects: Vec<Subject>,
}

#[derive(Debug, PartialEq, Eq)]
enum Subject {
    User(Name),
    Group(Name),
    ServiceAccount { namespace: Name, name: Name },
}

/// How the name of the user of a service account begins.
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

impl Subject {
    fn parse(subject: &Value, namespace: &str) -> Option<Self> {
        let name: Name = object::str_at(subject, "name").into();
        match object::str_at(subject, "kind") {
            "User" => Some(Self::User(name)),
            "Group" => Some(Self::Group(name)),
            "ServiceAccount" => {
                let said = object::str_at(subject, "namespace");
                let namespace: Name = if said.is_empty() { namespace } else { said }.into();
                (!namespace.is_empty()).then_some(Self::ServiceAccount { namespace, name })
            }
            _ => None,
        }
    }

    /// Of a service account: the user that it is.
    fn user_name(&self) -> Option<Name> {
        match self {
            Self::User(name) => Some(name.clone()),
            Self::ServiceAccount { namespace, name } => {
                Some(format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}").into())
            }
            Self::Group(_) => None,
        }
    }

    /// As reasons show it.
    fn shown(&self) -> String {
        match self {
            Self::User(name) => format!("User {name:?}"),
            Self::Group(name) => format!("Group {name:?}"),
            Self::ServiceAccount { namespace, name } => format!("ServiceAccount {:?}", format!("{name}/{namespace}")),
        }
    }
}

impl Binding {
    fn parse(binding: &Value) -> Self {
        let (namespace, role) = (object::namespace(binding), &binding["roleRef"]);
        let subjects = object::list_at(binding, "subjects");
        Self {
            namespace: namespace.into(),
            name: object::name(binding).into(),
            role_kind: object::str_at(role, "kind").into(),
            role_name: object::str_at(role, "name").into(),
            subjects: subjects.iter().filter_map(|subject| Subject::parse(subject, namespace)).collect(),
        }
    }

    /// As reasons show it.
    fn shown(&self, subject: usize) -> String {
        let Self { namespace, name, role_kind, role_name, subjects } = self;
        let (kind, name) = match &**namespace {
            "" => ("ClusterRoleBinding", name.to_string()),
            namespace => ("RoleBinding", format!("{name}/{namespace}")),
        };
        let subject = subjects.get(subject).map(Subject::shown).unwrap_or_default();
        format!("{kind} {name:?} of {role_kind} {role_name:?} to {subject}")
    }
}

impl Index {
    /// Takes in a role or a binding.
    pub fn put(&mut self, row: &Resource, object: &Value) {
        let (namespace, name): FullName = (object::namespace(object).into(), object::name(object).into());
        if is_role(row) {
            self.roles.entry(namespace).or_default().insert(name, Rule::of_role(object).into());
            return;
        }
        self.unbind(&namespace, &name);
        let binding = Arc::new(Binding::parse(object));
        let grants = self.granted.entry(namespace.clone()).or_default();
        for (subject, who) in binding.subjects.iter().enumerate() {
            let grant = Grant { binding: binding.clone(), subject };
            match (who, who.user_name()) {
                (Subject::Group(group), _) => grants.groups.entry(group.clone()).or_default().push(grant),
                (_, Some(user)) => grants.users.entry(user).or_default().push(grant),
                (_, None) => {}
            }
        }
        self.bindings.insert((namespace, name), binding);
    }

    /// Forgets a role or a binding.
    pub fn remove(&mut self, row: &Resource, namespace: &str, name: &str) {
        if !is_role(row) {
            return self.unbind(namespace, name);
        }
        if let Some(roles) = self.roles.get_mut(namespace) {
            roles.remove(name);
            if roles.is_empty() {
                self.roles.remove(namespace);
            }
        }
    }

    /// Takes in a change of the watch cache.
    ///
    /// # Errors
    /// When the object cannot be read.
    pub fn apply(&mut self, row: &Resource, event: &CachedEvent) -> Result<(), ApiError> {
        match event.kind {
            EventKind::Deleted => self.remove(row, &event.object.namespace, &event.object.name),
            EventKind::Added | EventKind::Modified => self.put(row, &event.object.encoded.decode(row)?),
        }
        Ok(())
    }

    fn unbind(&mut self, namespace: &str, name: &str) {
        let Some(binding) = self.bindings.remove(&(Name::from(namespace), Name::from(name))) else { return };
        let Some(grants) = self.granted.get_mut(namespace) else { return };
        let forget = |of: &mut HashMap<Name, Vec<Grant>>, who: &str| {
            let Some(list) = of.get_mut(who) else { return };
            list.retain(|grant| !Arc::ptr_eq(&grant.binding, &binding));
            if list.is_empty() {
                of.remove(who);
            }
        };
        for subject in &binding.subjects {
            match (subject, subject.user_name()) {
                (Subject::Group(group), _) => forget(&mut grants.groups, group),
                (_, Some(user)) => forget(&mut grants.users, &user),
                (_, None) => {}
            }
        }
        if grants.users.is_empty() && grants.groups.is_empty() {
            self.granted.remove(namespace);
        }
    }

    /// The rules of a role that a binding in `namespace` refers to.
    pub fn role(&self, namespace: &str, kind: &str, name: &str) -> Option<&[Rule]> {
        let namespace = if kind == kinds::roles::CLUSTER_ROLE.kind { "" } else { namespace };
        self.roles.get(namespace)?.get(name).map(|rules| &**rules)
    }

    /// What holds for the user in the cluster and in `namespace`.
    fn grants<'a>(&'a self, user: &'a UserInfo, namespace: &'a str) -> impl Iterator<Item = &'a Grant> {
        let scopes = [Some(""), Some(namespace).filter(|namespace| !namespace.is_empty())];
        scopes.into_iter().flatten().filter_map(|scope| self.granted.get(scope)).flat_map(move |grants| {
            let of_user = grants.users.get(user.name.as_str()).into_iter();
            of_user.chain(user.groups.iter().filter_map(|group| grants.groups.get(group.as_str()))).flatten()
        })
    }

    /// Whether a role of the user lets it.
    pub fn decide(&self, user: &UserInfo, asked: &Attributes<'_>) -> Decision {
        let mut unresolved = Vec::new();
        for Grant { binding, subject } in self.grants(user, asked.namespace) {
            match self.role(&binding.namespace, &binding.role_kind, &binding.role_name) {
                Some(rules) if rules.iter().any(|rule| rule.allows(asked)) => {
                    return Decision::Allowed(format!("RBAC: allowed by {}", binding.shown(*subject)));
                }
                Some(_) => {}
                None => note_missing(&mut unresolved, binding),
            }
        }
        Decision::NoOpinion(match unresolved.as_slice() {
            [] => String::new(),
            [only] => format!("RBAC: {only}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        })
    }

    /// Every rule that holds for the user, and what could not be resolved.
    pub fn rules_of(&self, user: &UserInfo, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        let (mut rules, mut unresolved) = (Vec::new(), Vec::new());
        for Grant { binding, .. } in self.grants(user, namespace) {
            match self.role(&binding.namespace, &binding.role_kind, &binding.role_name) {
                Some(more) => rules.extend(more.iter().cloned()),
                None => note_missing(&mut unresolved, binding),
            }
        }
        (rules, unresolved)
    }
}

fn is_role(row: &Resource) -> bool {
    row.kind == kinds::roles::ROLE.kind || row.kind == kinds::roles::CLUSTER_ROLE.kind
}

fn note_missing(unresolved: &mut Vec<String>, binding: &Binding) {
    let message = not_found(&binding.role_kind, &binding.role_name);
    if !unresolved.contains(&message) {
        unresolved.push(message);
    }
}

/// Upstream says the kind in lower case where others say the resource.
pub fn not_found(kind: &str, name: &str) -> String {
    format!("{}.{} {name:?} not found", kind.to_lowercase(), kinds::roles::ROLE.group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinds::{
        bindings::{CLUSTER_ROLE_BINDING, ROLE_BINDING},
        roles::{CLUSTER_ROLE, ROLE},
    };
    use serde_json::json;

    fn role(namespace: &str, name: &str, resource: &str) -> Value {
        let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}]);
        json!({"metadata": {"namespace": namespace, "name": name}, "rules": rules})
    }

    fn binding(namespace: &str, name: &str, role: (&str, &str), subjects: Value) -> Value {
        let role = json!({"kind": role.0, "name": role.1});
        json!({"metadata": {"namespace": namespace, "name": name}, "roleRef": role, "subjects": subjects})
    }

    fn ask(index: &Index, user: &UserInfo, namespace: &str, resource: &str) -> Decision {
        let asked =
            Attributes { verb: "get", resource, namespace, name: "x", is_resource: true, ..Attributes::default() };
        index.decide(user, &asked)
    }

    fn allowed(index: &Index, user: &UserInfo, namespace: &str, resource: &str) -> bool {
        matches!(ask(index, user, namespace, resource), Decision::Allowed(_))
    }

    #[test]
    fn a_role_binding_counts_in_its_namespace_only() {
        let mut index = Index::default();
        index.put(&CLUSTER_ROLE, &role("", "reader", "pods"));
        let jane = json!([{"kind": "User", "name": "jane"}]);
        index.put(&ROLE_BINDING, &binding("a", "b", ("ClusterRole", "reader"), jane));
        let user = UserInfo::new("jane", &[]);
        let reason = "RBAC: allowed by RoleBinding \"b/a\" of ClusterRole \"reader\" to User \"jane\"";
        assert_eq!(ask(&index, &user, "a", "pods"), Decision::Allowed(reason.to_owned()));
        assert!(!allowed(&index, &user, "b", "pods") && !allowed(&index, &user, "", "pods"));
        assert!(!allowed(&index, &user, "a", "secrets"));
        assert!(!allowed(&index, &UserInfo::new("joe", &[]), "a", "pods"));
    }

    #[test]
    fn groups_and_accounts_are_subjects() {
        let mut index = Index::default();
        index.put(&CLUSTER_ROLE, &role("", "reader", "pods"));
        index.put(&ROLE, &role("a", "own", "secrets"));
        let subjects =
            json!([{"kind": "Group", "name": "devs"}, {"kind": "ServiceAccount", "name": "bot", "namespace": "b"}]);
        index.put(&CLUSTER_ROLE_BINDING, &binding("", "all", ("ClusterRole", "reader"), subjects));
        let local = json!([{"kind": "ServiceAccount", "name": "default"}]);
        index.put(&ROLE_BINDING, &binding("a", "own", ("Role", "own"), local));
        assert!(allowed(&index, &UserInfo::new("x", &["devs"]), "anywhere", "pods"));
        assert!(allowed(&index, &UserInfo::new("system:serviceaccount:b:bot", &[]), "", "pods"));
        assert!(!allowed(&index, &UserInfo::new("system:serviceaccount:a:bot", &[]), "", "pods"));
        // A subject without a namespace is of the binding's.
        assert!(allowed(&index, &UserInfo::new("system:serviceaccount:a:default", &[]), "a", "secrets"));
    }

    #[test]
    fn what_goes_takes_its_rights_along() {
        let mut index = Index::default();
        let user = UserInfo::new("jane", &[]);
        let jane = || json!([{"kind": "User", "name": "jane"}]);
        index.put(&ROLE, &role("a", "r", "pods"));
        index.put(&ROLE_BINDING, &binding("a", "b", ("Role", "r"), jane()));
        assert!(allowed(&index, &user, "a", "pods"));
        index.put(&ROLE, &role("a", "r", "secrets"));
        assert!(!allowed(&index, &user, "a", "pods") && allowed(&index, &user, "a", "secrets"));
        index.remove(&ROLE, "a", "r");
        let reason = "RBAC: role.rbac.authorization.k8s.io \"r\" not found";
        assert_eq!(ask(&index, &user, "a", "secrets"), Decision::NoOpinion(reason.to_owned()));
        index.put(&ROLE, &role("a", "r", "pods"));
        index.put(&ROLE_BINDING, &binding("a", "b", ("Role", "r"), json!([])));
        assert!(!allowed(&index, &user, "a", "pods"));
        index.put(&ROLE_BINDING, &binding("a", "b", ("Role", "r"), jane()));
        index.remove(&ROLE_BINDING, "a", "b");
        assert_eq!(ask(&index, &user, "a", "pods"), Decision::NoOpinion(String::new()));
        assert!(index.granted.is_empty() && index.bindings.is_empty(), "nothing is kept of what is gone");
    }
}
