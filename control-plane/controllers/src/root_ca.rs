//! Root CA: every namespace that lives has a ConfigMap with the certificate
//! that the API server's can be verified with
//! (upstream: `pkg/controller/certificates/rootcacertpublisher`).

use crate::{
    namespace,
    runner::{Cache, Error, Key, Next, Reconcile, Runner, is_conflict, is_not_found, patch},
};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client, ResourceExt, api::Patch, runtime::watcher};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};

const WORKERS: usize = 1;
/// The ConfigMap's name, and the only ones watched.
const NAME: &str = "kube-root-ca.crt";
const FIELD: &str = "ca.crt";
const DESCRIPTION_ANNOTATION: &str = "kubernetes.io/description";
/// Upstream's words, which users compare.
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
    endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
    distributions of Kubernetes clusters.";

struct Controller {
    client: Client,
    pem: String,
    namespaces: Arc<Cache<Namespace>>,
    maps: Arc<Cache<ConfigMap>>,
}

/// Puts the controller into `runner`; `pem` is what it publishes.
pub fn register(runner: &mut Runner, pem: String) {
    let mut builder = runner.controller("root-ca-certificate-publisher-controller");
    let namespaces = builder.cache_of_own::<Namespace>();
    let client = builder.runner.client.clone();
    let only_ours = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
    let maps = builder.cache_of_some::<ConfigMap>(Api::all(client.clone()), only_ours);
    let queue = builder.queue.clone();
    maps.on_change(move |change| {
        if change.latest().name_any() == NAME {
            queue.add(Key::new("", change.latest().namespace().unwrap_or_default()));
        }
    });
    builder.run(WORKERS, Controller { client, pem, namespaces, maps });
}

/// What to do about one namespace.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Nothing,
    Create,
    Repair,
}

fn plan(namespace: Option<&Namespace>, map: Option<&ConfigMap>, pem: &str) -> Plan {
    if namespace.is_none_or(namespace::is_terminating) {
        return Plan::Nothing;
    }
    let Some(map) = map else { return Plan::Create };
    let published = map.data.as_ref().and_then(|data| data.get(FIELD)).is_some_and(|data| data == pem);
    let described = map.annotations().get(DESCRIPTION_ANNOTATION).is_some_and(|text| text == DESCRIPTION);
    if published && described { Plan::Nothing } else { Plan::Repair }
}

impl Reconcile for Controller {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let map = self.maps.get(&Key::new(key.name.clone(), NAME));
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &key.name);
        let written = match plan(self.namespaces.get(key).as_deref(), map.as_deref(), &self.pem) {
            Plan::Nothing => return Ok(Next::Change),
            Plan::Create => api.create(&patch::post_params(), &self.map()).await,
            Plan::Repair => {
                let body = json!({
                    "metadata": {"annotations": {DESCRIPTION_ANNOTATION: DESCRIPTION}}, "data": {FIELD: self.pem},
                });
                api.patch(NAME, &patch::params(), &Patch::Merge(&body)).await
            }
        };
        match written {
            Err(error) if is_conflict(&error) || is_not_found(&error) || namespace::refuses_content(&error) => {}
            other => other.map(|_| ()).map_err(Error::api("publish the root certificate in", key))?,
        }
        Ok(Next::Change)
    }
}

impl Controller {
    fn map(&self) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                annotations: Some(BTreeMap::from([(DESCRIPTION_ANNOTATION.to_owned(), DESCRIPTION.to_owned())])),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(FIELD.to_owned(), self.pem.clone())])),
            ..ConfigMap::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_certificate_is_repaired() {
        let namespace = Namespace::default();
        let mut map: ConfigMap = serde_json::from_value(json!({
            "metadata": {"annotations": {DESCRIPTION_ANNOTATION: DESCRIPTION}}, "data": {FIELD: "pem"},
        }))
        .expect("a ConfigMap");
        assert_eq!(plan(Some(&namespace), None, "pem"), Plan::Create);
        assert_eq!(plan(Some(&namespace), Some(&map), "pem"), Plan::Nothing);
        assert_eq!(plan(Some(&namespace), Some(&map), "other"), Plan::Repair);
        map.metadata.annotations = None;
        assert_eq!(plan(Some(&namespace), Some(&map), "pem"), Plan::Repair);
        assert_eq!(plan(None, Some(&map), "other"), Plan::Nothing);
    }
}
