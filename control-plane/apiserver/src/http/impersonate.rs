//! A request in the name of another: the headers that say whom, what the real
//! user must be allowed for it, and who the request then comes from
//! (upstream: `endpoints/filters/impersonation.go`). Pure; called by the router.

use super::{query::percent_decoded, status::ApiError};
use crate::authorization::{Attributes, rbac::SERVICE_ACCOUNT_PREFIX};
use http::HeaderMap;
use std::collections::BTreeMap;
use wk_platform::UserInfo;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA_PREFIX: &str = "impersonate-extra-";

const AUTHENTICATION: &str = "authentication.k8s.io";
const ANONYMOUS: &str = "system:anonymous";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";

/// Whom the headers name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Impersonation {
    name: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Impersonation {
    /// What the headers ask for, if anything.
    ///
    /// # Errors
    /// 500 (as upstream) when something is said of a user who is not named.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let all = |name: &str| -> Vec<String> {
            let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.map(str::to_owned).collect()
        };
        let first = |name: &str| all(name).into_iter().next().unwrap_or_default();
        let mut extra = BTreeMap::new();
        for header in headers.keys() {
            if let Some(key) = header.as_str().strip_prefix(EXTRA_PREFIX) {
                extra.insert(percent_decoded(key).to_lowercase(), all(header.as_str()));
            }
        }
        let asked = Self { name: first(USER), uid: first(UID), groups: all(GROUP), extra };
        if !asked.name.is_empty() {
            return Ok(Some(asked));
        }
        if asked == Self::default() {
            return Ok(None);
        }
        let said = asked.groups.join(" ");
        Err(ApiError::Untyped(format!("requested [{{Group {said} }}] without impersonating a user")))
    }

    fn service_account(&self) -> Option<(&str, &str)> {
        self.name.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')
    }

    /// What the real user must be allowed, each by itself.
    pub fn attributes(&self) -> Vec<Attributes<'_>> {
        let act = Attributes { verb: "impersonate", is_resource: true, ..Attributes::default() };
        let mut all = vec![match self.service_account() {
            Some((namespace, name)) => Attributes { resource: "serviceaccounts", namespace, name, ..act },
            None => Attributes { resource: "users", name: &self.name, ..act },
        }];
        all.extend(self.groups.iter().map(|group| Attributes { resource: "groups", name: group, ..act }));
        for (key, values) in &self.extra {
            let of_key = Attributes { group: AUTHENTICATION, resource: "userextras", subresource: key, ..act };
            all.extend(values.iter().map(|value| Attributes { name: value, ..of_key }));
        }
        if !self.uid.is_empty() {
            all.push(Attributes { group: AUTHENTICATION, resource: "uids", name: &self.uid, ..act });
        }
        all
    }

    /// Who the request comes from. A service account without named groups is in
    /// those of its kind.
    pub fn user(self) -> UserInfo {
        let mut groups = self.groups.clone();
        if let (true, Some((namespace, _))) = (groups.is_empty(), self.service_account()) {
            groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        }
        let known = groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED);
        if !known {
            let of_all = if self.name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
            groups.push(of_all.to_owned());
        }
        UserInfo { name: self.name, uid: self.uid, groups, extra: self.extra }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&'static str, &str)]) -> Result<Option<Impersonation>, ApiError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a header value"));
        }
        Impersonation::of(&map)
    }

    #[test]
    fn each_part_is_asked_for() {
        let headers = [
            ("impersonate-user", "jane"),
            ("impersonate-group", "devs"),
            ("impersonate-group", "ops"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-acme.com%2Fscope", "view"),
        ];
        let asked = asked(&headers).expect("well formed").expect("asked");
        let told: Vec<String> = asked
            .attributes()
            .iter()
            .map(|one| format!("{} {}/{} {}", one.group, one.resource, one.subresource, one.name))
            .collect();
        let expected = [
            " users/ jane",
            " groups/ devs",
            " groups/ ops",
            "authentication.k8s.io userextras/acme.com/scope view",
            "authentication.k8s.io uids/ 7",
        ];
        assert_eq!(told, expected);
        let user = asked.user();
        assert_eq!(user.groups, ["devs", "ops", "system:authenticated"]);
        assert_eq!((user.uid.as_str(), &user.extra["acme.com/scope"]), ("7", &vec!["view".to_owned()]));
    }

    #[test]
    fn service_accounts_are_in_their_groups() {
        let asked = asked(&[("impersonate-user", "system:serviceaccount:x:y")]).expect("well formed").expect("asked");
        let first = asked.attributes()[0];
        assert_eq!((first.resource, first.namespace, first.name), ("serviceaccounts", "x", "y"));
        let groups = asked.user().groups;
        assert_eq!(groups, ["system:serviceaccounts", "system:serviceaccounts:x", "system:authenticated"]);
    }

    #[test]
    fn groups_need_a_user_and_nobody_stays_nobody() {
        assert!(asked(&[("impersonate-group", "devs")]).is_err());
        assert_eq!(asked(&[]).ok().flatten(), None);
        let nobody = asked(&[("impersonate-user", "system:anonymous")]).expect("well formed").expect("asked").user();
        assert_eq!(nobody.groups, ["system:unauthenticated"]);
    }
}
