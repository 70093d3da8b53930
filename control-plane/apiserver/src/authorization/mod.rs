//! Who may do what: the chain of authorizers as upstream orders them.
//!
//! ```text
//!  user, attributes ─▶ system:masters? ─▶ node? ─▶ RBAC ─▶ allowed, or refused with the reasons
//!                                                   ▲
//!        watch cache of roles and bindings ─────────┘ (taken in when a decision finds news)
//! ```
//!
//! Reading order: [`rule`], [`rbac`], [`Authorizer`], then what uses it:
//! [`escalation`] (writes of roles), [`policy`] (the first roles). Called by the
//! router for every request and by reviews. Upstream: `plugin/pkg/auth/authorizer`.

pub mod escalation;
mod node;
pub mod policy;
pub mod rbac;
pub mod rule;

use crate::{
    cache::{Caches, Watcher},
    http::{
        query::Query,
        request_info::RequestInfo,
        status::{ApiError, Target},
    },
    registry::{Resource, rbac as kinds},
    selector::fields::exact_name,
    storage,
};
use parking_lot::RwLock;
use rbac::Index;
use rule::Rule;
use wk_platform::{UserInfo, identity::SYSTEM_MASTERS};
use wk_store::Revision;

/// What a request is about, as rules see it (upstream: `authorizer.Attributes`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// `get`, or the lower-case method for a path.
    pub verb: &'a str,
    /// Empty for the core group.
    pub group: &'a str,
    /// Plural resource.
    pub resource: &'a str,
    /// `log`; empty for the object itself.
    pub subresource: &'a str,
    /// Empty for all, and at the cluster scope.
    pub namespace: &'a str,
    /// Empty for all.
    pub name: &'a str,
    /// The path, when it is no resource's.
    pub path: &'a str,
    /// Whether it is about a resource.
    pub is_resource: bool,
}

impl<'a> Attributes<'a> {
    /// Of a request. A Namespace is in itself; a list of one object by field
    /// selector is about that object.
    pub fn of(info: &'a RequestInfo, query: &'a Query) -> Self {
        let of_namespaces = info.group.is_empty() && info.resource == "namespaces";
        let selected = || exact_name(query.get("fieldSelector"));
        Self {
            verb: info.verb,
            group: &info.group,
            resource: &info.resource,
            subresource: &info.subresource,
            namespace: if of_namespaces { &info.name } else { &info.namespace },
            name: if info.name.is_empty() { selected().unwrap_or_default() } else { &info.name },
            path: &info.path,
            is_resource: info.is_resource,
        }
    }

    fn resource_path(&self) -> String {
        match self.subresource {
            "" => self.resource.to_owned(),
            subresource => format!("{}/{subresource}", self.resource),
        }
    }
}

/// What the chain says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may; the reason is for reviews, and may be empty.
    Allowed(String),
    /// Nobody said that it may; the reason may be empty.
    NoOpinion(String),
}

/// The chain, with what it knows of roles. One per server.
#[derive(Default)]
pub struct Authorizer {
    known: RwLock<Option<Known>>,
}

/// The index and where it is in the changes of each kind.
struct Known {
    index: Index,
    followed: Vec<Followed>,
}

struct Followed {
    row: &'static Resource,
    changes: Watcher,
}

const KINDS: [&Resource; 4] = [
    &kinds::roles::CLUSTER_ROLE,
    &kinds::roles::ROLE,
    &kinds::bindings::CLUSTER_ROLE_BINDING,
    &kinds::bindings::ROLE_BINDING,
];

impl Authorizer {
    /// Whether `user` may.
    ///
    /// # Errors
    /// When roles cannot be read.
    pub async fn decide(&self, caches: &Caches, user: &UserInfo, asked: &Attributes<'_>) -> Result<Decision, ApiError> {
        if is_master(user) {
            return Ok(Decision::Allowed(String::new()));
        }
        if let Some(decision) = node::decide(user, asked) {
            return Ok(decision);
        }
        self.with_index(caches, |index| index.decide(user, asked)).await
    }

    /// Lets the request pass.
    ///
    /// # Errors
    /// 403 with upstream's text.
    pub async fn authorize(&self, caches: &Caches, user: &UserInfo, asked: &Attributes<'_>) -> Result<(), ApiError> {
        match self.decide(caches, user, asked).await? {
            Decision::Allowed(_) => Ok(()),
            Decision::NoOpinion(reason) => Err(refusal(user, asked, &reason)),
        }
    }

    /// Every rule that holds for `user` in `namespace`, and what could not be resolved.
    ///
    /// # Errors
    /// When roles cannot be read.
    pub async fn rules(
        &self,
        caches: &Caches,
        user: &UserInfo,
        namespace: &str,
    ) -> Result<(Vec<Rule>, Vec<String>), ApiError> {
        self.with_index(caches, |index| index.rules_of(user, namespace)).await
    }

    /// The rules of the role that a binding in `namespace` refers to.
    ///
    /// # Errors
    /// When roles cannot be read.
    pub async fn rules_of_role(
        &self,
        caches: &Caches,
        namespace: &str,
        kind: &str,
        name: &str,
    ) -> Result<Option<Vec<Rule>>, ApiError> {
        self.with_index(caches, |index| index.role(namespace, kind, name).map(<[Rule]>::to_vec)).await
    }

    /// Reads the index, after it has taken in what the caches have.
    async fn with_index<T>(&self, caches: &Caches, read: impl FnOnce(&Index) -> T) -> Result<T, ApiError> {
        if let Some(known) = &*self.known.read()
            && !known.is_behind()
        {
            return Ok(read(&known.index));
        }
        if let Some(known) = &mut *self.known.write()
            && known.catch_up()?
        {
            return Ok(read(&known.index));
        }
        let fresh = Known::read(caches).await?;
        Ok(read(&self.known.write().insert(fresh).index))
    }
}

impl Known {
    async fn read(caches: &Caches) -> Result<Self, ApiError> {
        let (mut index, mut followed) = (Index::default(), Vec::with_capacity(KINDS.len()));
        for row in KINDS {
            let cache = caches.of(row).await?;
            // The caches started over meanwhile; who asks again finds new ones.
            let lost = |_| ApiError::Unavailable("roles are being read anew".to_owned());
            let snapshot = cache.snapshot(&storage::prefix(row, ""), Revision(0)).map_err(lost)?;
            for object in &snapshot.objects {
                index.put(row, &object.encoded.decode(row)?);
            }
            followed.push(Followed { row, changes: cache.watch(snapshot.revision).map_err(lost)? });
        }
        Ok(Self { index, followed })
    }

    fn is_behind(&self) -> bool {
        self.followed.iter().any(|kind| kind.changes.is_behind())
    }

    /// Takes in all changes; false when some are no longer to be had.
    fn catch_up(&mut self) -> Result<bool, ApiError> {
        for Followed { row, changes } in &mut self.followed {
            loop {
                let Ok(events) = changes.ready() else { return Ok(false) };
                if events.is_empty() {
                    break;
                }
                for event in events {
                    self.index.apply(row, &event)?;
                }
            }
        }
        Ok(true)
    }
}

/// Whether nothing is asked of the user.
pub fn is_master(user: &UserInfo) -> bool {
    user.groups.iter().any(|group| group == SYSTEM_MASTERS)
}

/// The 403 for a request (upstream: `responsewriters.Forbidden`).
pub fn refusal(user: &UserInfo, asked: &Attributes<'_>, reason: &str) -> ApiError {
    let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let Attributes { verb, group, namespace, .. } = asked;
    if !asked.is_resource {
        return ApiError::ForbiddenPath(format!("User {:?} cannot {verb} path {:?}{because}", user.name, asked.path));
    }
    let scope = if namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {namespace:?}")
    };
    let resource = asked.resource_path();
    let why =
        format!("User {:?} cannot {verb} resource {resource:?} in API group {group:?} {scope}{because}", user.name);
    let target =
        Target { group: (*group).to_owned(), resource: asked.resource.to_owned(), name: asked.name.to_owned() };
    ApiError::Forbidden(target, why, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    fn refused(path: &str, method: Method, reason: &str) -> String {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query = Query::parse(query);
        let info = RequestInfo::parse(&method, path, &query);
        let error = refusal(&UserInfo::new("jane", &[]), &Attributes::of(&info, &query), reason);
        error.status()["message"].as_str().unwrap_or_default().to_owned()
    }

    #[test]
    fn refusals_read_as_upstreams() {
        assert_eq!(
            refused("/api/v1/namespaces/default/pods", Method::GET, ""),
            "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
        );
        assert_eq!(
            refused("/apis/apps/v1/namespaces/a/deployments/d/scale", Method::PATCH, "RBAC: no"),
            "deployments.apps \"d\" is forbidden: User \"jane\" cannot patch resource \"deployments/scale\" in API group \
             \"apps\" in the namespace \"a\": RBAC: no"
        );
        assert_eq!(
            refused("/api/v1/namespaces/a", Method::GET, ""),
            "namespaces \"a\" is forbidden: User \"jane\" cannot get resource \"namespaces\" in API group \"\" in the \
             namespace \"a\""
        );
        assert_eq!(refused("/metrics", Method::GET, ""), "forbidden: User \"jane\" cannot get path \"/metrics\"");
    }

    #[test]
    fn a_list_of_one_object_is_about_it() {
        let query = Query::parse("fieldSelector=metadata.name%3Dcfg&watch=true");
        let info = RequestInfo::parse(&Method::GET, "/api/v1/namespaces/a/configmaps", &query);
        let asked = Attributes::of(&info, &query);
        assert_eq!((asked.verb, asked.name), ("watch", "cfg"));
    }
}
