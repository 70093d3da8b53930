//! A request's path and method → which resource, which verb
//! (upstream: `apiserver/pkg/endpoints/request.RequestInfoFactory`). Pure.
//!
//! ```text
//! /api/v1/namespaces/{ns}/pods/{name}/log      /apis/apps/v1/deployments
//! /api/v1/watch/namespaces/{ns}/pods           (deprecated form of ?watch=true)
//! ```

use super::query::Query;
use http::Method;

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// The path as sent.
    pub path: String,
    /// `get`, `list`, `watch`, `create`…; the lower-case method for a path that
    /// is no resource.
    pub verb: &'static str,
    /// Whether the path names a resource.
    pub is_resource: bool,
    /// API group; empty for core.
    pub group: String,
    /// API version.
    pub version: String,
    /// Namespace; empty when the path has none.
    pub namespace: String,
    /// Plural resource.
    pub resource: String,
    /// Object name; empty for collections.
    pub name: String,
    /// `status`, `log`…; empty for the object itself.
    pub subresource: String,
    /// What follows the subresource (`proxy/{rest}`).
    pub rest: String,
}

impl RequestInfo {
    /// Reads a path such as `uri.path()`.
    pub fn parse(method: &Method, path: &str, query: &Query) -> Self {
        let mut info = Self { path: path.to_owned(), verb: plain_verb(method), ..Self::default() };
        let segments: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(super::query::percent_decoded).collect();
        let Some(rest) = info.take_api(&segments) else { return info };
        info.is_resource = true;
        let legacy_watch = rest.first().is_some_and(|part| part == "watch") && rest.len() > 1;
        info.take_resource(if legacy_watch { &rest[1..] } else { rest });
        info.verb = if legacy_watch { "watch" } else { info.resource_verb(method, query) };
        info
    }

    /// Takes `api/{version}` or `apis/{group}/{version}`; `None` when nothing of
    /// a resource follows.
    fn take_api<'a>(&mut self, segments: &'a [String]) -> Option<&'a [String]> {
        let rest = match segments {
            [api, version, rest @ ..] if api == "api" => {
                self.version.clone_from(version);
                rest
            }
            [apis, group, version, rest @ ..] if apis == "apis" => {
                self.group.clone_from(group);
                self.version.clone_from(version);
                rest
            }
            _ => return None,
        };
        (!rest.is_empty()).then_some(rest)
    }

    fn take_resource(&mut self, parts: &[String]) {
        let parts = match parts {
            [namespaces, namespace, tail @ ..] if namespaces == "namespaces" => {
                self.namespace.clone_from(namespace);
                // `/namespaces/x`, `/namespaces/x/status` are the Namespace itself.
                let of_namespace = matches!(tail, [sub, ..] if sub == "status" || sub == "finalize");
                if tail.is_empty() || of_namespace { parts } else { tail }
            }
            _ => parts,
        };
        let mut parts = parts.iter();
        let mut next = || parts.next().cloned().unwrap_or_default();
        (self.resource, self.name, self.subresource) = (next(), next(), next());
        self.rest = parts.cloned().collect::<Vec<_>>().join("/");
        if self.resource == "namespaces" {
            self.namespace = String::new();
        }
    }

    fn resource_verb(&self, method: &Method, query: &Query) -> &'static str {
        let collection = self.name.is_empty();
        match *method {
            Method::GET | Method::HEAD if collection && query.flag("watch") => "watch",
            Method::GET | Method::HEAD if collection => "list",
            Method::GET | Method::HEAD => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if collection => "deletecollection",
            Method::DELETE => "delete",
            _ => "",
        }
    }

    /// `pods` or `pods/log`
    pub fn resource_path(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

fn plain_verb(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: Method, target: &str) -> RequestInfo {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        RequestInfo::parse(&method, path, &Query::parse(query))
    }

    fn told(method: Method, target: &str) -> [String; 6] {
        let info = parse(method, target);
        [info.verb.to_owned(), info.group, info.namespace, info.resource, info.name, info.subresource]
    }

    #[test]
    fn paths_name_resources() {
        assert_eq!(told(Method::GET, "/api/v1/pods"), ["list", "", "", "pods", "", ""]);
        assert_eq!(told(Method::GET, "/api/v1/namespaces/a/pods?watch=1"), ["watch", "", "a", "pods", "", ""]);
        let log = told(Method::GET, "/api/v1/namespaces/a/pods/p/log");
        assert_eq!(log, ["get", "", "a", "pods", "p", "log"]);
        let scale = told(Method::PATCH, "/apis/apps/v1/namespaces/a/deployments/d/scale");
        assert_eq!(scale, ["patch", "apps", "a", "deployments", "d", "scale"]);
        let many = told(Method::DELETE, "/apis/apps/v1/namespaces/a/deployments");
        assert_eq!(many, ["deletecollection", "apps", "a", "deployments", "", ""]);
    }

    #[test]
    fn namespaces_are_a_resource_and_a_prefix() {
        assert_eq!(told(Method::GET, "/api/v1/namespaces/a"), ["get", "", "", "namespaces", "a", ""]);
        let finalize = told(Method::PUT, "/api/v1/namespaces/a/finalize");
        assert_eq!(finalize, ["update", "", "", "namespaces", "a", "finalize"]);
        assert_eq!(told(Method::GET, "/api/v1/namespaces"), ["list", "", "", "namespaces", "", ""]);
    }

    #[test]
    fn the_old_watch_form_is_a_watch() {
        let one = told(Method::GET, "/api/v1/watch/namespaces/a/secrets/s");
        assert_eq!(one, ["watch", "", "a", "secrets", "s", ""]);
    }

    #[test]
    fn other_paths_are_no_resources() {
        for path in ["/", "/version", "/api", "/apis/apps", "/apis/apps/v1", "/healthz/ping"] {
            assert!(!parse(Method::GET, path).is_resource, "{path}");
        }
    }
}
