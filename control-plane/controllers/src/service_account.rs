//! ServiceAccounts: every namespace that lives has one named `default`
//! (upstream: `pkg/controller/serviceaccount/serviceaccounts_controller.go`).

use crate::{
    namespace,
    runner::{Cache, Error, Key, Next, Reconcile, Runner, is_conflict, is_not_found, patch},
};
use k8s_openapi::{
    api::core::v1::{Namespace, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client};
use std::sync::Arc;

/// Namespaces looked at once (upstream: `--concurrent-serviceaccount-token-syncs` is about others; this has one).
const WORKERS: usize = 1;
/// The account of pods that name none.
const DEFAULT: &str = "default";

struct Controller {
    client: Client,
    namespaces: Arc<Cache<Namespace>>,
    accounts: Arc<Cache<ServiceAccount>>,
}

/// Puts the controller into `runner`.
pub fn register(runner: &mut Runner) {
    let mut builder = runner.controller("serviceaccount-controller");
    let (namespaces, accounts) = (builder.cache_of_own::<Namespace>(), builder.cache::<ServiceAccount>());
    let queue = builder.queue.clone();
    accounts.on_change(move |change| {
        if let (Some(gone), None) = (change.old, change.new) {
            queue.add(Key::new("", gone.metadata.namespace.clone().unwrap_or_default()));
        }
    });
    let client = builder.runner.client.clone();
    builder.run(WORKERS, Controller { client, namespaces, accounts });
}

/// Whether the namespace lacks its account.
fn is_needed(namespace: Option<&Namespace>, account: Option<&ServiceAccount>) -> bool {
    account.is_none() && namespace.is_some_and(|namespace| !namespace::is_terminating(namespace))
}

impl Reconcile for Controller {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let known = self.accounts.get(&Key::new(key.name.clone(), DEFAULT));
        if !is_needed(self.namespaces.get(key).as_deref(), known.as_deref()) {
            return Ok(Next::Change);
        }
        let metadata = ObjectMeta { name: Some(DEFAULT.to_owned()), ..ObjectMeta::default() };
        let account = ServiceAccount { metadata, ..ServiceAccount::default() };
        let api = Api::namespaced(self.client.clone(), &key.name);
        match api.create(&patch::post_params(), &account).await {
            // It exists already, or the namespace is going.
            Err(error) if is_conflict(&error) || is_not_found(&error) || namespace::refuses_content(&error) => {}
            other => other.map(|_| ()).map_err(Error::api("create the default ServiceAccount of", key))?,
        }
        Ok(Next::Change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_living_namespaces_without_an_account_need_one() {
        let living = Namespace::default();
        let mut going = Namespace::default();
        going.status.get_or_insert_default().phase = Some("Terminating".to_owned());
        let account = ServiceAccount::default();
        assert!(is_needed(Some(&living), None));
        assert!(!is_needed(Some(&living), Some(&account)));
        assert!(!is_needed(Some(&going), None));
        assert!(!is_needed(None, None));
    }
}
