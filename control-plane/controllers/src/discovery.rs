//! Which resources the API server has: for the controllers that work on all of them.

use crate::runner::Error;
use kube::{
    Client, Discovery,
    core::discovery::{ApiCapabilities, ApiResource, Scope},
};

/// One kind of object at the version its group prefers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    /// Group, version, kind and plural.
    pub api: ApiResource,
    /// Whether its objects are in namespaces.
    pub is_namespaced: bool,
    /// Whether a whole collection can be deleted at once.
    pub has_delete_collection: bool,
}

impl Resource {
    fn of(api: ApiResource, capabilities: &ApiCapabilities) -> Self {
        let is_namespaced = capabilities.scope == Scope::Namespaced;
        Self { api, is_namespaced, has_delete_collection: capabilities.supports_operation("deletecollection") }
    }
}

/// Every resource whose objects support all of `verbs`.
///
/// # Errors
/// When discovery of any group fails: half of the resources would be worse than none.
pub async fn resources(client: &Client, verbs: &[&str]) -> Result<Vec<Resource>, Error> {
    let discovery =
        Discovery::new(client.clone()).run().await.map_err(Error::api("discover", "the resources of the server"))?;
    let all = discovery.groups().flat_map(|group| group.recommended_resources());
    let usable = all.filter(|(_, capabilities)| verbs.iter().all(|verb| capabilities.supports_operation(verb)));
    Ok(usable.map(|(api, capabilities)| Resource::of(api, &capabilities)).collect())
}
