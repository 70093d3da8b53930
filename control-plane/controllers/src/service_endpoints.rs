//! Which pods stand behind a Service, on which ports: what EndpointSlices and
//! Endpoints are made from, and when a change of a pod matters to either. Pure
//! (upstream: `pkg/api/v1/endpoints`, `k8s.io/endpointslice/util`).

use crate::{
    ownership, pod,
    runner::{Cache, Change, Key, Queue},
};
use k8s_openapi::{
    api::core::v1::{ContainerPort, ObjectReference, Pod, Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
    jiff::Timestamp,
};
use kube::{
    ResourceExt,
    core::{Selector, SelectorExt},
};
use std::{collections::BTreeMap, sync::Arc};

/// Marks what belongs to a Service without a virtual address.
pub const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
/// When the change happened that an endpoint object tells of.
pub const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// A port of a Service as one pod serves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Empty for the only port of a Service.
    pub name: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// On the pod.
    pub port: i32,
    /// What is spoken there.
    pub app_protocol: Option<String>,
}

/// A pod behind a Service.
#[derive(Clone, Debug)]
pub struct Backend {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Its address.
    pub ip: String,
    /// The Service's ports that it has.
    pub ports: Vec<Port>,
    /// It says it is ready.
    pub is_ready: bool,
    /// Its deletion has begun.
    pub is_terminating: bool,
    /// Its own name under the Service's.
    pub hostname: Option<String>,
}

impl Backend {
    /// A reference to the pod.
    pub fn target(&self) -> ObjectReference {
        ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: self.pod.namespace(),
            name: Some(self.pod.name_any()),
            uid: self.pod.uid(),
            ..ObjectReference::default()
        }
    }

    /// The node it runs on.
    pub fn node_name(&self) -> Option<String> {
        self.pod.spec.as_ref().and_then(|spec| spec.node_name.clone())
    }
}

/// The selector of a Service that has backends of our making; none for those
/// without a selector and for names of outside services.
pub fn selector(service: &Service) -> Option<Selector> {
    let spec = service.spec.as_ref()?;
    let labels = spec.selector.as_ref().filter(|labels| !labels.is_empty())?;
    (spec.type_.as_deref() != Some("ExternalName")).then(|| labels.clone().into_iter().collect())
}

/// Whether clients find the pods themselves.
pub fn is_headless(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    spec.and_then(|spec| spec.cluster_ip.as_deref()).is_some_and(|address| address == "None")
}

/// Whether pods that are not ready count as ready.
pub fn publishes_unready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or_default()
}

/// The pods behind `service`, those that are going included, in order of names.
pub fn backends(service: &Service, pods: &[Arc<Pod>]) -> Vec<Backend> {
    let Some(selector) = selector(service) else { return Vec::new() };
    let empty = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&empty);
    let chosen = pods.iter().filter(|pod| !pod::is_terminal(pod) && selector.matches(ownership::labels(&***pod)));
    chosen.filter_map(|pod| backend(service, spec, pod)).collect()
}

fn backend(service: &Service, spec: &ServiceSpec, pod: &Arc<Pod>) -> Option<Backend> {
    let ip = pod.status.as_ref()?.pod_ip.clone().filter(|ip| !ip.is_empty())?;
    let ports = spec.ports.iter().flatten().filter_map(|port| served(port, pod)).collect();
    let pod_spec = pod.spec.as_ref()?;
    let is_under_service = pod_spec.subdomain.as_deref() == Some(&service.name_any());
    Some(Backend {
        ip,
        ports,
        is_ready: pod::is_ready(pod),
        is_terminating: pod::is_deleting(pod),
        hostname: pod_spec.hostname.clone().filter(|name| is_under_service && !name.is_empty()),
        pod: pod.clone(),
    })
}

fn served(port: &ServicePort, pod: &Pod) -> Option<Port> {
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let number = match &port.target_port {
        None | Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) if name.is_empty() => port.port,
        Some(IntOrString::String(name)) => named_port(pod, name, &protocol)?,
    };
    let name = port.name.clone().unwrap_or_default();
    Some(Port { name, protocol, port: number, app_protocol: port.app_protocol.clone() })
}

fn named_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let mut ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let is_it = |port: &&ContainerPort| {
        port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
    };
    ports.find(is_it).map(|port| port.container_port)
}

/// The newest change that the backends show.
pub fn trigger_time(service: &Service, backends: &[Backend]) -> Option<Timestamp> {
    let created = service.creation_timestamp().map(|time| time.0);
    let ready = backends
        .iter()
        .filter_map(|backend| pod::condition(&backend.pod, "Ready")?.last_transition_time.as_ref().map(|time| time.0));
    ready.chain(created).max()
}

/// The Service's own labels and the one for headless ones.
pub fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.labels().clone();
    labels.remove(HEADLESS_LABEL);
    if is_headless(service) {
        labels.insert(HEADLESS_LABEL.to_owned(), String::new());
    }
    labels
}

/// A change of a pod becomes keys of the Services that had or have it.
pub fn on_pod(queue: &Queue<Key>, services: &Cache<Service>, change: &Change<'_, Pod>) {
    if let (Some(old), Some(new)) = (change.old, change.new)
        && looks_the_same(old, new)
    {
        return;
    }
    for service in services.in_namespace(&change.latest().namespace().unwrap_or_default()) {
        let Some(selector) = selector(&service) else { continue };
        let touches = |pod: &&Arc<Pod>| selector.matches(ownership::labels(&***pod));
        if [change.old, change.new].into_iter().flatten().any(|pod| touches(&pod)) {
            queue.add(Key::of(&*service));
        }
    }
}

/// Whether no endpoint would differ.
fn looks_the_same(old: &Pod, new: &Pod) -> bool {
    let ip = |pod: &Pod| pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    let facts = |pod: &Pod| {
        let spec = pod.spec.as_ref();
        let place = spec.map(|spec| (spec.node_name.clone(), spec.hostname.clone(), spec.subdomain.clone()));
        (ip(pod), place, pod::is_ready(pod), pod::is_deleting(pod), pod::is_terminal(pod))
    };
    facts(old) == facts(new) && ownership::labels(old) == ownership::labels(new)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use serde_json::json;

    /// A Service `web` of port 80, to port `http` of its pods.
    pub fn service() -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "svc", "labels": {"team": "a"}},
            "spec": {
                "selector": {"app": "web"}, "clusterIP": "10.96.0.10",
                "ports": [{"name": "www", "port": 80, "targetPort": "http", "protocol": "TCP"}],
            },
        }))
        .expect("a Service")
    }

    /// A pod of that Service, with a container port `http`.
    pub fn pod(name: &str, ip: &str, port: i32, ready: bool) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"), "labels": {"app": "web"}},
            "spec": {
                "nodeName": "node-1",
                "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": port, "protocol": "TCP"}]}],
            },
            "status": {
                "phase": "Running", "podIP": ip,
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
            },
        }))
        .expect("a Pod")
    }

    #[test]
    fn backends_are_the_selected_pods_with_an_address() {
        let mut other = pod("other", "10.0.0.9", 1, true);
        other.metadata.labels = None;
        let mut done = pod("done", "10.0.0.8", 1, true);
        done.status.get_or_insert_default().phase = Some("Succeeded".into());
        let pods = [pod("a", "10.0.0.1", 8080, true), pod("b", "", 8080, true), other, done].map(Arc::new);
        let backends = backends(&service(), &pods);
        assert_eq!(backends.len(), 1);
        let port = &backends[0].ports[0];
        assert_eq!((backends[0].ip.as_str(), port.port, port.name.as_str()), ("10.0.0.1", 8080, "www"));
    }

    #[test]
    fn a_number_is_a_target_too_and_an_unknown_name_is_none() {
        let mut service = service();
        let ports =
            |service: &Service| backends(service, &[Arc::new(pod("a", "10.0.0.1", 8080, true))])[0].ports.clone();
        let mut target = |to| service.spec.as_mut().expect("spec").ports.as_mut().expect("ports")[0].target_port = to;
        target(Some(IntOrString::String("ftp".into())));
        assert!(ports(&service).is_empty());
        let mut target = |to| service.spec.as_mut().expect("spec").ports.as_mut().expect("ports")[0].target_port = to;
        target(None);
        assert_eq!(ports(&service)[0].port, 80);
    }

    #[test]
    fn a_status_without_news_is_not_looked_at() {
        let (old, mut new) = (pod("a", "10.0.0.1", 80, true), pod("a", "10.0.0.1", 80, true));
        new.metadata.resource_version = Some("2".into());
        assert!(looks_the_same(&old, &new));
        assert!(!looks_the_same(&old, &pod("a", "10.0.0.1", 80, false)));
        assert!(!looks_the_same(&old, &pod("a", "10.0.0.2", 80, true)));
    }
}
