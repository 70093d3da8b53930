//! Who is asking. In-process parts say it; remote ones prove it.

use std::collections::BTreeMap;

/// The group whose members may do everything.
pub const SYSTEM_MASTERS: &str = "system:masters";

/// A user as the authenticator sees it (upstream: `authentication/user.Info`).
/// It travels in the extensions of an `http::Request`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// For instance `system:kube-scheduler`.
    pub name: String,
    /// Stable identity; empty when the authenticator gives none.
    pub uid: String,
    /// For instance `system:authenticated`.
    pub groups: Vec<String>,
    /// Free-form facts from the authenticator.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// A user with groups; `system:authenticated` is added.
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Self {
        let mut groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        groups.push("system:authenticated".to_owned());
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// A member of `system:masters`.
    pub fn admin() -> Self {
        Self::new("kubernetes-admin", &[SYSTEM_MASTERS])
    }

    /// The node agent of `node`.
    pub fn node(node: &str) -> Self {
        Self::new(format!("system:node:{node}"), &["system:nodes"])
    }

    /// A request nobody has signed.
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            ..Self::default()
        }
    }
}
