//! Services, EndpointSlices and Pods, in; tables in the pod network, out.
//!
//! What kube-proxy and CoreDNS do together, without packets: the network asks
//! the tables made here whenever a pod opens a connection or looks a name up.
//! One per network, however many nodes hang on it. It talks to the cluster only
//! through its client, and writes nothing.
//!
//! ```text
//! watch Services ───────┐                ┌─▶ services ──▶ Network::set_services
//! watch EndpointSlices ─┼─ something ────┼─▶ dns ───────▶ Network::set_names
//! watch Pods ───────────┘  changed       └─▶ node_ports: listeners of the host
//! ```
//!
//! Reading order: [`services`], [`dns`], [`node_ports`], then this.
//!
//! Invariants: tables are made from whole caches and replaced whole, so a missed
//! or repeated change does no harm; nothing is published before the first list
//! of services and slices has arrived.
#![forbid(unsafe_code)]

pub mod dns;
pub mod node_ports;
pub mod services;

use futures::{Stream, StreamExt};
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher,
    },
};
use node_ports::NodePorts;
use serde::de::DeserializeOwned;
use std::{convert::Infallible, fmt::Debug, future::pending, sync::Arc, time::Duration};
use tokio::sync::Notify;
use tracing::{debug, warn};
use wk_network::Network;
use wk_platform::{TaskGroup, tasks::OnError};

/// Least time between two publications: the first of a burst of changes is
/// published at once, the rest together. A table of 1,000 services takes a few
/// milliseconds to make.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(20);

/// What a proxy needs.
pub struct Config {
    /// The cluster.
    pub client: Client,
    /// The network to fill.
    pub network: Network,
    /// The zone of the cluster's names, for instance `cluster.local`.
    pub cluster_domain: String,
    /// Where node ports are opened; `None` opens none.
    pub node_ports: Option<node_ports::Config>,
}

/// Keeps the tables of a network equal to what the cluster says.
pub struct Proxy {
    config: Config,
}

/// The newest objects of each kind.
struct Caches {
    services: Store<Service>,
    slices: Store<EndpointSlice>,
    pods: Store<Pod>,
}

impl Proxy {
    /// A proxy that does nothing yet.
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    /// Works until `tasks` stops; its watches and node ports run there.
    pub async fn run(self, tasks: TaskGroup) {
        let Config { client, network, cluster_domain, node_ports } = self.config;
        let changed = Arc::new(Notify::new());
        let caches = Caches {
            services: reflect(&client, &tasks, &changed, |_| {}),
            slices: reflect(&client, &tasks, &changed, |_| {}),
            pods: reflect(&client, &tasks, &changed, keep_addresses),
        };
        let mut node_ports = node_ports.map(|config| NodePorts::new(config, network.clone(), tasks.clone()));
        let publishing = async {
            caches.wait_for_first_lists().await;
            loop {
                publish(&caches, &network, &cluster_domain, node_ports.as_mut());
                tokio::time::sleep(PUBLISH_INTERVAL).await;
                changed.notified().await;
            }
        };
        let stop = tasks.stopping();
        tokio::select! {
            biased; // a stop wins over more work
            () = stop.cancelled() => {}
            () = publishing => {}
        }
    }
}

impl Caches {
    /// Waits for services and slices. Pods have names that few ask for, and may
    /// be many: their names come when they come.
    async fn wait_for_first_lists(&self) {
        let (services, slices) = tokio::join!(self.services.wait_until_ready(), self.slices.wait_until_ready());
        if services.is_err() || slices.is_err() {
            pending::<()>().await; // the watches were stopped; so will we be
        }
    }
}

fn publish(caches: &Caches, network: &Network, zone: &str, node_ports: Option<&mut NodePorts>) {
    let (services, slices, pods) = (caches.services.state(), caches.slices.state(), caches.pods.state());
    let table = services::table(&services, &slices);
    debug!(services = services.len(), ports = table.len(), "published services");
    network.set_services(table);
    network.set_names(dns::table(zone, &services, &slices, &pods));
    if let Some(node_ports) = node_ports {
        node_ports.apply(&services::node_ports(&services));
    }
}

/// A cache of all objects of a kind, cut to size by `trim`, that rings `changed`.
fn reflect<K>(client: &Client, tasks: &TaskGroup, changed: &Arc<Notify>, trim: fn(&mut K)) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (cache, writer) = reflector::store();
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default());
    let events = events.default_backoff().modify(trim).reflect(writer);
    tasks.spawn("proxy watch", OnError::Log, ring(events, changed.clone()));
    cache
}

/// Rings `changed` for every event of a watch, which goes on for ever.
async fn ring<K: Resource<DynamicType = ()>>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
    changed: Arc<Notify>,
) -> Result<(), Infallible> {
    tokio::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            // Objects of a list in progress are not in the cache yet.
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
            Ok(watcher::Event::InitDone | watcher::Event::Apply(_) | watcher::Event::Delete(_)) => {
                changed.notify_one();
            }
            Err(error) => warn!(resource = %K::plural(&()), %error, "watch failed; it will be tried again"),
        }
    }
    Ok(())
}

/// Of a pod, only where it is: the rest would be most of this part's memory.
fn keep_addresses(pod: &mut Pod) {
    pod.spec = None;
    pod.metadata.managed_fields = None;
    pod.metadata.annotations = None;
    pod.metadata.labels = None;
    if let Some(status) = &mut pod.status {
        let (pod_ip, pod_ips) = (status.pod_ip.take(), status.pod_ips.take());
        *status = k8s_openapi::api::core::v1::PodStatus { pod_ip, pod_ips, ..Default::default() };
    }
}

#[cfg(test)]
mod tests;
