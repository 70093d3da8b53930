//! EndpointSlices: the pods behind each Service, in slices of up to a hundred.
//!
//! Watches Services, pods, nodes (for zones) and its own slices; writes slices.
//! `endpoint_slice/plan.rs` decides (upstream: `pkg/controller/endpointslice`, `k8s.io/endpointslice`).

mod plan;

use crate::{
    namespace,
    runner::{Cache, Error, Key, Next, Queue, Reconcile, Runner, expectations::Expectations, patch, uid, unless_gone},
    service_endpoints,
};
use k8s_openapi::api::{
    core::v1::{Node, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, Preconditions},
};
use plan::{MANAGED_BY, MANAGER, Plan, SERVICE_NAME};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};

/// Services reconciled at once (upstream: `--concurrent-service-endpoint-syncs`).
const WORKERS: usize = 5;

struct Controller {
    client: Client,
    services: Arc<Cache<Service>>,
    pods: Arc<Cache<Pod>>,
    nodes: Arc<Cache<Node>>,
    slices: Arc<Cache<EndpointSlice>>,
    /// Slices have generated names: a second one must not be made because the
    /// cache does not show the first yet.
    expectations: Arc<Expectations>,
}

/// Puts the controller into `runner`.
pub fn register(runner: &mut Runner) {
    let mut builder = runner.controller("endpointslice-controller");
    let services = builder.cache_of_own::<Service>();
    let (pods, nodes, slices) = (builder.cache::<Pod>(), builder.cache::<Node>(), builder.cache::<EndpointSlice>());
    let (queue, known) = (builder.queue.clone(), services.clone());
    pods.on_change(move |change| service_endpoints::on_pod(&queue, &known, change));
    let expectations = Arc::new(Expectations::default());
    let (queue, expected) = (builder.queue.clone(), expectations.clone());
    slices.on_change(move |change| {
        if change.old.is_none() {
            on_slice(&queue, change.latest(), |key| expected.creations_observed(key, 1));
        } else {
            on_slice(&queue, change.latest(), |_| {});
        }
    });
    let client = builder.runner.client.clone();
    builder.run(WORKERS, Controller { client, services, pods, nodes, slices, expectations });
}

fn on_slice(queue: &Queue<Key>, slice: &EndpointSlice, tell: impl Fn(&Key)) {
    if slice.labels().get(MANAGED_BY).is_some_and(|manager| manager == MANAGER)
        && let Some(service) = slice.labels().get(SERVICE_NAME)
    {
        let key = Key::new(slice.namespace().unwrap_or_default(), service.clone());
        tell(&key);
        queue.add(key);
    }
}

impl Reconcile for Controller {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(service) = self.services.get(key) else {
            self.expectations.forget(key); // its slices go with it, as its dependents
            return Ok(Next::Change);
        };
        let is_going = service.metadata.deletion_timestamp.is_some();
        if is_going || !self.expectations.satisfied(key) || service_endpoints::selector(&service).is_none() {
            return Ok(Next::Change);
        }
        let backends = service_endpoints::backends(&service, &self.pods.in_namespace(&key.namespace));
        let plan = plan::plan(&service, &backends, &self.slices_of(&service), &self.zones(&backends));
        self.act(key, plan).await?;
        Ok(Next::Change)
    }
}

impl Controller {
    fn slices_of(&self, service: &Service) -> Vec<Arc<EndpointSlice>> {
        let ours = |slice: &Arc<EndpointSlice>| {
            slice.metadata.deletion_timestamp.is_none()
                && slice.labels().get(MANAGED_BY).is_some_and(|manager| manager == MANAGER)
        };
        self.slices.controlled_by(uid(service)).into_iter().filter(ours).collect()
    }

    /// The zones of the nodes that the backends are on.
    fn zones(&self, backends: &[service_endpoints::Backend]) -> BTreeMap<String, String> {
        let nodes = backends.iter().filter_map(service_endpoints::Backend::node_name);
        nodes
            .filter_map(|name| {
                let node = self.nodes.get(&Key::new("", name.clone()))?;
                Some((name, node.labels().get("topology.kubernetes.io/zone")?.clone()))
            })
            .collect()
    }

    async fn act(&self, key: &Key, plan: Plan) -> Result<(), Error> {
        let api: Api<EndpointSlice> = Api::namespaced(self.client.clone(), &key.namespace);
        for change in &plan.update {
            let slice = &change.slice;
            let body = json!({
                "metadata": {
                    "uid": slice.uid(), "resourceVersion": slice.resource_version(),
                    "labels": change.labels, "annotations": change.annotations,
                },
                "endpoints": change.endpoints, "ports": change.ports,
            });
            let written = api.patch(&slice.name_any(), &patch::params(), &Patch::Merge(&body)).await;
            written.map_err(Error::api("update EndpointSlice", &slice.name_any()))?;
        }
        self.create(key, &api, &plan.create).await?;
        for slice in &plan.delete {
            let preconditions = Some(Preconditions { uid: slice.uid(), resource_version: None });
            let params = DeleteParams { preconditions, ..DeleteParams::default() };
            let deleted = api.delete(&slice.name_any(), &params).await;
            unless_gone(deleted).map_err(Error::api("delete EndpointSlice", &slice.name_any()))?;
        }
        Ok(())
    }

    async fn create(&self, key: &Key, api: &Api<EndpointSlice>, slices: &[EndpointSlice]) -> Result<(), Error> {
        if slices.is_empty() {
            return Ok(());
        }
        self.expectations.expect(key, slices.len(), []);
        for (done, slice) in slices.iter().enumerate() {
            if let Err(error) = api.create(&patch::post_params(), slice).await {
                self.expectations.creations_observed(key, slices.len() - done);
                if namespace::refuses_content(&error) {
                    return Ok(());
                }
                return Err(Error::api("create an EndpointSlice of", key)(error));
            }
        }
        Ok(())
    }
}
