//! Endpoints: the older form of EndpointSlices, one object per Service
//! (upstream: `pkg/controller/endpoint`).

use crate::{
    namespace,
    runner::{Cache, Error, Key, Next, Reconcile, Runner, patch, unless_gone},
    service_endpoints::{self, Backend, Port, TRIGGER_TIME},
};
use k8s_openapi::{
    api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Preconditions},
};
use std::{collections::BTreeMap, sync::Arc};

/// Services reconciled at once (upstream: `--concurrent-endpoint-syncs`).
const WORKERS: usize = 5;
/// Who looks after the object.
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// That is us.
const MANAGER: &str = "endpoint-controller";
/// Addresses of one object (upstream: `maxCapacity`).
const ADDRESSES_MAX: usize = 1000;
/// Says that there are more.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

struct Controller {
    client: Client,
    services: Arc<Cache<Service>>,
    pods: Arc<Cache<Pod>>,
    endpoints: Arc<Cache<Endpoints>>,
}

/// Puts the controller into `runner`.
pub fn register(runner: &mut Runner) {
    let mut builder = runner.controller("endpoints-controller");
    let services = builder.cache_of_own::<Service>();
    let (pods, endpoints) = (builder.cache::<Pod>(), builder.cache_of_own::<Endpoints>());
    let (queue, known) = (builder.queue.clone(), services.clone());
    pods.on_change(move |change| service_endpoints::on_pod(&queue, &known, change));
    let client = builder.runner.client.clone();
    builder.run(WORKERS, Controller { client, services, pods, endpoints });
}

/// What to do about one name.
#[derive(Debug)]
enum Plan {
    Nothing,
    Create(Box<Endpoints>),
    /// The whole object, at the version it was decided from.
    Replace(Box<Endpoints>),
    Delete(Arc<Endpoints>),
}

fn plan(service: Option<&Service>, pods: &[Arc<Pod>], existing: Option<Arc<Endpoints>>) -> Plan {
    let Some(service) = service else {
        // Only what this controller has made goes with its Service.
        let ours = existing.filter(|existing| existing.labels().get(MANAGED_BY).is_some_and(|name| name == MANAGER));
        return ours.map_or(Plan::Nothing, Plan::Delete);
    };
    if service_endpoints::selector(service).is_none() || service.metadata.deletion_timestamp.is_some() {
        return Plan::Nothing;
    }
    let backends = service_endpoints::backends(service, pods);
    let wanted = wanted(service, &backends);
    let Some(existing) = existing else { return Plan::Create(Box::new(wanted)) };
    if existing.subsets == wanted.subsets && existing.metadata.labels == wanted.metadata.labels {
        return Plan::Nothing;
    }
    let mut replaced = (*existing).clone();
    replaced.subsets = wanted.subsets;
    replaced.metadata.labels = wanted.metadata.labels;
    let annotations = replaced.metadata.annotations.get_or_insert_default();
    annotations.remove(OVER_CAPACITY);
    annotations.extend(wanted.metadata.annotations.unwrap_or_default());
    Plan::Replace(Box::new(replaced))
}

fn wanted(service: &Service, backends: &[Backend]) -> Endpoints {
    let mut labels = service_endpoints::labels(service);
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut annotations = BTreeMap::new();
    if let Some(time) = service_endpoints::trigger_time(service, backends) {
        annotations.insert(TRIGGER_TIME.to_owned(), time.to_string());
    }
    let unready = service_endpoints::publishes_unready(service);
    let mut shown: Vec<&Backend> = backends.iter().filter(|backend| unready || !backend.is_terminating).collect();
    if shown.len() > ADDRESSES_MAX {
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
        shown.truncate(ADDRESSES_MAX);
    }
    Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.namespace(),
            labels: Some(labels),
            annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
            ..ObjectMeta::default()
        },
        subsets: subsets(service, &shown),
    }
}

/// Addresses by the ports they share, each in order.
fn subsets(service: &Service, backends: &[&Backend]) -> Option<Vec<EndpointSubset>> {
    let has_ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).is_some_and(|ports| !ports.is_empty());
    let mut groups: BTreeMap<&[Port], (Vec<EndpointAddress>, Vec<EndpointAddress>)> = BTreeMap::new();
    for backend in backends.iter().filter(|backend| !has_ports || !backend.ports.is_empty()) {
        let (ready, unready) = groups.entry(&backend.ports).or_default();
        let is_ready = backend.is_ready || service_endpoints::publishes_unready(service);
        if is_ready { ready.push(address(backend)) } else { unready.push(address(backend)) }
    }
    let subsets: Vec<EndpointSubset> =
        groups.into_iter().map(|(ports, (ready, unready))| subset(ports, ready, unready)).collect();
    (!subsets.is_empty()).then_some(subsets)
}

fn subset(ports: &[Port], ready: Vec<EndpointAddress>, unready: Vec<EndpointAddress>) -> EndpointSubset {
    let sorted = |mut addresses: Vec<EndpointAddress>| {
        addresses.sort_by(|left, right| left.ip.cmp(&right.ip));
        (!addresses.is_empty()).then_some(addresses)
    };
    let port = |port: &Port| EndpointPort {
        name: Some(port.name.clone()).filter(|name| !name.is_empty()),
        protocol: Some(port.protocol.clone()),
        port: port.port,
        app_protocol: port.app_protocol.clone(),
    };
    let ports: Vec<EndpointPort> = ports.iter().map(port).collect();
    EndpointSubset {
        addresses: sorted(ready),
        not_ready_addresses: sorted(unready),
        ports: (!ports.is_empty()).then_some(ports),
    }
}

fn address(backend: &Backend) -> EndpointAddress {
    EndpointAddress {
        ip: backend.ip.clone(),
        hostname: backend.hostname.clone(),
        node_name: backend.node_name(),
        target_ref: Some(backend.target()),
    }
}

impl Reconcile for Controller {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let pods = self.pods.in_namespace(&key.namespace);
        let api: Api<Endpoints> = Api::namespaced(self.client.clone(), &key.namespace);
        let written = match plan(self.services.get(key).as_deref(), &pods, self.endpoints.get(key)) {
            Plan::Nothing => return Ok(Next::Change),
            Plan::Create(wanted) => api.create(&patch::post_params(), &wanted).await.map(|_| ()),
            Plan::Replace(wanted) => api.replace(&key.name, &patch::post_params(), &wanted).await.map(|_| ()),
            Plan::Delete(existing) => {
                let preconditions = Some(Preconditions { uid: existing.uid(), resource_version: None });
                let params = DeleteParams { preconditions, ..DeleteParams::default() };
                unless_gone(api.delete(&key.name, &params).await)
            }
        };
        match written {
            Err(error) if namespace::refuses_content(&error) => Ok(Next::Change),
            other => other.map(|()| Next::Change).map_err(Error::api("write Endpoints", key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service_endpoints::tests::{pod, service};

    #[test]
    fn ready_and_unready_pods_of_the_same_ports_are_one_subset() {
        let pods =
            [pod("a", "10.0.0.2", 8080, true), pod("b", "10.0.0.1", 8080, true), pod("c", "10.0.0.3", 8080, false)];
        let Plan::Create(made) = plan(Some(&service()), &pods.map(Arc::new), None) else {
            panic!("expected a creation")
        };
        let subsets = made.subsets.as_ref().expect("subsets");
        let ips = |addresses: &Option<Vec<EndpointAddress>>| {
            addresses.iter().flatten().map(|address| address.ip.clone()).collect::<Vec<_>>()
        };
        assert_eq!(subsets.len(), 1);
        assert_eq!(ips(&subsets[0].addresses), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(ips(&subsets[0].not_ready_addresses), ["10.0.0.3"]);
        assert_eq!(made.labels()[MANAGED_BY], MANAGER);
    }

    #[test]
    fn a_settled_object_is_left_alone_and_goes_with_its_service() {
        let pods = [Arc::new(pod("a", "10.0.0.2", 8080, true))];
        let Plan::Create(made) = plan(Some(&service()), &pods, None) else { panic!("expected a creation") };
        let made = Arc::new(*made);
        assert!(matches!(plan(Some(&service()), &pods, Some(made.clone())), Plan::Nothing));
        assert!(matches!(plan(Some(&service()), &[], Some(made.clone())), Plan::Replace(_)));
        assert!(matches!(plan(None, &pods, Some(made)), Plan::Delete(_)));
        let by_hand = Arc::new(Endpoints::default());
        assert!(matches!(plan(None, &pods, Some(by_hand)), Plan::Nothing));
    }
}
