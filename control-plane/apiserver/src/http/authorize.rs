//! Who may do what: fixed rules for the identities this project hands out, and
//! everything for `system:masters`. Called by the router after authentication.
//! Roles and bindings are not read.

use super::{
    request_info::RequestInfo,
    status::{ApiError, Target},
};
use wk_platform::{UserInfo, identity::SYSTEM_MASTERS};

/// Paths that anybody may read.
const PUBLIC_PATHS: &[&str] = &["/healthz", "/livez", "/readyz", "/version"];

/// Paths that every authenticated user may read: discovery
/// (upstream: `system:discovery`).
const DISCOVERY_PATHS: &[&str] = &["/api", "/apis", "/openapi"];

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "update", "patch", "delete"];

/// What an identity may do to resources: verbs on resources (`*` is any).
struct Rule {
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
}

const fn rule(resources: &'static [&'static str], verbs: &'static [&'static str]) -> Rule {
    Rule { resources, verbs }
}

const EVENTS: Rule = rule(&["events"], WRITE);

/// Upstream: the cluster role `system:kube-scheduler`.
const SCHEDULER: &[Rule] = &[
    rule(&["*"], READ),
    rule(&["pods/binding", "bindings"], &["create"]),
    rule(&["pods/status"], &["patch", "update"]),
    rule(&["pods"], &["delete"]),
    rule(&["leases", "endpoints"], WRITE),
    EVENTS,
];

/// Upstream: the node authorizer, without its graph of which node needs what.
const NODE: &[Rule] = &[
    rule(&["*"], READ),
    rule(&["nodes", "nodes/status", "leases", "csinodes"], WRITE),
    rule(&["pods"], WRITE),
    rule(&["pods/status"], &["patch", "update"]),
    rule(&["pods/eviction", "serviceaccounts/token"], &["create"]),
    EVENTS,
];

/// Upstream: the cluster role `system:node-proxier`.
const PROXY: &[Rule] = &[rule(&["services", "endpoints", "endpointslices", "nodes", "pods"], READ), EVENTS];

/// Controllers act on every kind, as upstream's do taken together.
const CONTROLLERS: &[Rule] = &[rule(&["*"], READ), rule(&["*"], WRITE), rule(&["*"], &["deletecollection"])];

/// Lets the request pass.
///
/// # Errors
/// 403 with upstream's text.
pub fn authorize(user: &UserInfo, info: &RequestInfo) -> Result<(), ApiError> {
    if is_allowed(user, info) { Ok(()) } else { Err(refusal(user, info)) }
}

/// Whether the rules let `user` do it.
pub fn is_allowed(user: &UserInfo, info: &RequestInfo) -> bool {
    if user.groups.iter().any(|group| group == SYSTEM_MASTERS) {
        return true;
    }
    if !info.is_resource {
        let authenticated = user.groups.iter().any(|group| group == "system:authenticated");
        let reads = matches!(info.verb, "get" | "head");
        return reads && (under(PUBLIC_PATHS, &info.path) || authenticated && under(DISCOVERY_PATHS, &info.path));
    }
    let about_self = info.verb == "create" && info.resource.starts_with("selfsubject");
    about_self && user.name != "system:anonymous" || rules(user).iter().any(|rule| covers(rule, info))
}

fn under(roots: &[&str], path: &str) -> bool {
    roots.iter().any(|root| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn rules(user: &UserInfo) -> &'static [Rule] {
    match user.name.as_str() {
        "system:kube-scheduler" => SCHEDULER,
        "system:kube-controller-manager" => CONTROLLERS,
        "system:kube-proxy" => PROXY,
        name if name.starts_with("system:serviceaccount:kube-system:") && name.ends_with("-controller") => CONTROLLERS,
        name if name.starts_with("system:node:") && user.groups.iter().any(|group| group == "system:nodes") => NODE,
        _ => &[],
    }
}

fn covers(rule: &Rule, info: &RequestInfo) -> bool {
    let resource = info.resource_path();
    rule.verbs.contains(&info.verb) && rule.resources.iter().any(|known| *known == "*" || *known == resource)
}

fn refusal(user: &UserInfo, info: &RequestInfo) -> ApiError {
    if !info.is_resource {
        return ApiError::ForbiddenPath(format!("User {:?} cannot {} path {:?}", user.name, info.verb, info.path));
    }
    let scope = if info.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", info.namespace)
    };
    let (verb, resource, group) = (info.verb, info.resource_path(), &info.group);
    let why = format!("User {:?} cannot {verb} resource {resource:?} in API group {group:?} {scope}", user.name);
    let target = Target { group: group.clone(), resource: info.resource.clone(), name: info.name.clone() };
    ApiError::Forbidden(target, why, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::query::Query;
    use http::Method;

    fn asks(user: &UserInfo, method: Method, path: &str) -> Result<(), String> {
        let info = RequestInfo::parse(&method, path, &Query::default());
        authorize(user, &info).map_err(|error| error.status()["message"].as_str().unwrap_or_default().to_owned())
    }

    #[test]
    fn strangers_see_health_and_version_only() {
        let nobody = UserInfo::anonymous();
        assert_eq!(asks(&nobody, Method::GET, "/readyz/ping"), Ok(()));
        assert_eq!(
            asks(&nobody, Method::GET, "/api/v1/namespaces/a/pods"),
            Err("pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in the \
                 namespace \"a\""
                .to_owned())
        );
        assert_eq!(
            asks(&nobody, Method::GET, "/metrics"),
            Err("forbidden: User \"system:anonymous\" cannot get path \"/metrics\"".to_owned())
        );
    }

    #[test]
    fn parts_of_the_cluster_do_their_work_and_no_more() {
        let scheduler = UserInfo::new("system:kube-scheduler", &[]);
        assert_eq!(asks(&scheduler, Method::POST, "/api/v1/namespaces/a/pods/p/binding"), Ok(()));
        assert!(asks(&scheduler, Method::DELETE, "/api/v1/namespaces/a").is_err());
        let node = UserInfo::node("n1");
        assert_eq!(asks(&node, Method::PATCH, "/api/v1/namespaces/a/pods/p/status"), Ok(()));
        assert!(asks(&node, Method::POST, "/apis/apps/v1/namespaces/a/deployments").is_err());
        let pretender = UserInfo::new("system:node:n1", &[]);
        assert!(asks(&pretender, Method::GET, "/api/v1/nodes/n1").is_err());
    }
}
