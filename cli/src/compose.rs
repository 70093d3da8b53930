//! Roles become components: the one place that knows every part.
//!
//! Start in order of need (store, API server, scheduler, controllers, nodes),
//! stop in reverse, and stop all when the first one fails. Called by
//! `wk server`; it does not parse flags and does not print.

mod machine;
mod node;
pub mod power;

use crate::{
    args::Role,
    control::{self, lock::ServerLock, protocol},
    data_dir::DataDir,
};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use futures::future::join_all;
use ipnet::Ipv4Net;
use power::Power;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::runtime::Handle;
use wk_apiserver::{ApiServer, pki::Pki};
use wk_controllers::ControllerSet;
use wk_cri::RuntimeService;
use wk_network::{Egress, Network};
use wk_platform::{Clock, Entropy, TaskGroup, UserInfo, http::HttpService, in_process, listen::Listener, serve};
use wk_store::{Store, rocksdb::RocksStore};

/// Where the store is, under the data directory.
pub(crate) const STORE_DIRECTORY: &str = "store";

/// The zone of the cluster's names.
const CLUSTER_DOMAIN: &str = "cluster.local";

/// Node ports of Services (upstream's default of `--service-node-port-range`).
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// How long each layer may take to finish what it is at. Guests get no grace:
/// their pods are started again with the next server.
const STOP_DEADLINE: Duration = Duration::from_secs(3);

/// What a cluster is made of, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where the API listens; port 0 takes any free one.
    pub listen: SocketAddr,
    /// How many nodes run here.
    pub nodes: u32,
    /// Which parts run here.
    pub roles: Vec<Role>,
    /// Which controllers run.
    pub controllers: ControllerSet,
    /// Addresses of Services.
    pub service_cidr: Ipv4Net,
    /// Addresses of pods.
    pub cluster_cidr: Ipv4Net,
    /// After this long without a heartbeat a node counts as gone.
    pub node_grace: Duration,
}

/// A running cluster.
pub struct Cluster {
    /// Where the API listens.
    pub address: SocketAddr,
    /// A kubeconfig with the administrator's certificate.
    pub kubeconfig: PathBuf,
    /// Scheduler, controllers, nodes: what works on the API.
    parts: TaskGroup,
    /// The nodes, for the runtimes of their guests.
    nodes: Vec<node::Node>,
    /// The API server itself, and the control socket.
    api: TaskGroup,
    store: Arc<dyn Store>,
    _lock: ServerLock,
}

impl Config {
    fn runs(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// Starts the roles of `config`; guests run on `guests`, all else on the current
/// tokio runtime.
///
/// # Errors
/// The first part that cannot start, by name.
pub async fn start(config: Config, guests: Handle) -> Result<Cluster> {
    if !config.runs(Role::Apiserver) {
        bail!("--roles: every role runs beside the API server in this version, so \"apiserver\" must be among them");
    }
    DataDir::new(&config.data_dir)?.prepare()?;
    let lock = ServerLock::take(&config.data_dir)?;
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let started_at = clock.now();
    let store = open_store(&config.data_dir.join(STORE_DIRECTORY)).await?;
    let (api_tasks, parts) = (TaskGroup::new(), TaskGroup::new());
    let listener = Listener::tcp(config.listen).await?;
    let address = listener.local_addr().context("the listener has no address")?;
    let advertise = reachable(address);
    let pki = Pki::open(&config.data_dir.join("pki"), &pki_names(&config, address), &clock)?;
    let api = ApiServer::start(wk_apiserver::Config {
        store: store.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        service_cidr: config.service_cidr,
        node_ports: NODE_PORTS,
        advertise,
        tasks: api_tasks.clone(),
    })
    .await
    .context("start the API server")?;
    let service = api.service();
    spawn_listener(listener, &pki, service.clone(), &api_tasks);
    let kubeconfig = write_kubeconfig(&config.data_dir, &pki, advertise)?;
    let shared = Shared { service, clock, entropy, parts: parts.clone(), config, advertise };
    shared.start_scheduler();
    shared.start_controllers(&pki);
    let runs_nodes = shared.config.runs(Role::Node);
    let node::Started { nodes, power } =
        if runs_nodes { node::start_all(&shared, api.nodes(), guests)? } else { node::Started::default() };
    let status = shared.status(started_at, &nodes);
    shared.start_control(status, &nodes, power, &store, &api_tasks)?;
    Ok(Cluster { address, kubeconfig, parts, nodes, api: api_tasks, store, _lock: lock })
}

/// What the parts that work on the API have in common.
struct Shared {
    service: HttpService,
    clock: Clock,
    entropy: Entropy,
    parts: TaskGroup,
    config: Config,
    /// Where this machine reaches the API.
    advertise: SocketAddr,
}

impl Shared {
    /// A client that the API server knows as `user`.
    fn client(&self, user: UserInfo) -> kube::Client {
        in_process::client(self.service.clone(), user, self.parts.clone())
    }

    fn start_scheduler(&self) {
        if self.config.runs(Role::Scheduler) {
            let client = self.client(UserInfo::new("system:kube-scheduler", &[]));
            let (clock, entropy) = (self.clock.clone(), self.entropy.clone());
            wk_scheduler::run(wk_scheduler::Config { client, clock, entropy }, self.parts.clone());
        }
    }

    fn start_controllers(&self, pki: &Pki) {
        if !self.config.runs(Role::Controllers) {
            return;
        }
        let config = wk_controllers::Config {
            client: self.client(UserInfo::new("system:kube-controller-manager", &[])),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            enabled: self.config.controllers.clone(),
            root_ca_pem: Some(pki.ca_pem().to_owned()),
            node_grace: self.config.node_grace,
            // The nodes of this process bring their ranges along.
            pod_cidr: None,
        };
        wk_controllers::run(config, self.parts.clone());
    }

    /// What the control socket says of this process.
    fn status(&self, started_at: jiff::Timestamp, nodes: &[node::Node]) -> protocol::ServerStatus {
        let info =
            |node: &node::Node| protocol::NodeInfo { name: node.name.clone(), pod_cidr: node.pod_cidr.to_string() };
        protocol::ServerStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kubernetes_version: wk_apiserver::version::git_version(),
            runtime_version: nodes.first().map(|node| node.runtime.version()).unwrap_or_default(),
            started_at,
            address: self.advertise,
            roles: self.config.roles.iter().map(role_name).collect(),
            service_cidr: self.config.service_cidr.to_string(),
            cluster_cidr: self.config.cluster_cidr.to_string(),
            nodes: nodes.iter().map(info).collect(),
        }
    }

    fn start_control(
        &self,
        status: protocol::ServerStatus,
        nodes: &[node::Node],
        power: Power,
        store: &Arc<dyn Store>,
        tasks: &TaskGroup,
    ) -> Result<()> {
        let node = |node: &node::Node| control::server::Node { name: node.name.clone(), runtime: node.runtime.clone() };
        let config = control::server::Config {
            status,
            nodes: nodes.iter().map(node).collect(),
            power,
            clock: self.clock.clone(),
            store: store.clone(),
            spool: self.config.data_dir.clone(),
            tasks: tasks.clone(),
        };
        let socket = self.config.data_dir.join(control::SOCKET);
        control::server::start(config, &socket).context("open the control socket")
    }

    fn network(&self) -> Network {
        let mut config = wk_network::Config::new(self.entropy.clone());
        config.inside = vec![self.config.cluster_cidr.into(), self.config.service_cidr.into()];
        config.egress = Some(only_to(self.advertise, self.parts.clone()));
        Network::new(config)
    }
}

impl Cluster {
    /// Waits until a part has failed; a cluster in order waits forever.
    pub async fn failed(&self) {
        let (parts, api) = (self.parts.stopping(), self.api.stopping());
        tokio::select! {
            () = parts.cancelled() => {}
            () = api.cancelled() => {}
        }
    }

    /// Stops in reverse order of start: first who calls the API, then the guests,
    /// whose logs are then whole, then the API, then the store.
    ///
    /// # Errors
    /// The first failure, with the part's name.
    pub async fn stop(self) -> Result<()> {
        let parts = self.parts.shutdown(STOP_DEADLINE).await;
        // Without the kubelets nobody starts a guest again, or reports that it ended.
        let guests = join_all(self.nodes.iter().map(|node| node.runtime.shutdown(STOP_DEADLINE))).await;
        let api = self.api.shutdown(STOP_DEADLINE).await;
        self.store.close().await.context("close the store")?;
        let guests = guests.into_iter().collect::<Result<(), _>>();
        parts.and(guests).and(api).map_err(anyhow::Error::msg)
    }
}

/// The only way out of the pod network: to the API, which is the endpoint of
/// `kubernetes.default`. No names, since they would lead nowhere else.
fn only_to(api: SocketAddr, tasks: TaskGroup) -> Egress {
    Egress::to_host(tasks, move |to| to == api)
        .with_names(|_| Box::pin(async { Err(std::io::ErrorKind::NotFound.into()) }))
}

/// A role as `--roles` spells it.
fn role_name(role: &Role) -> String {
    role.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Where a listener at `address` is reached on this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

async fn open_store(directory: &Path) -> Result<Arc<dyn Store>> {
    let path = directory.to_owned();
    // Reading a large store takes a while, and blocks.
    let opened = tokio::task::spawn_blocking(move || RocksStore::open(path)).await.context("open the store")?;
    Ok(Arc::new(opened.context("open the store")?))
}

/// What the serving certificate is for, besides localhost.
fn pki_names(config: &Config, address: SocketAddr) -> Vec<String> {
    let mut names = vec![address.ip().to_string()];
    names.extend(config.service_cidr.hosts().next().map(|first| first.to_string()));
    names.extend(["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned));
    names.push(format!("kubernetes.default.svc.{CLUSTER_DOMAIN}"));
    names.push(machine::hostname());
    names
}

fn spawn_listener(listener: Listener, pki: &Pki, service: HttpService, tasks: &TaskGroup) {
    let tls = pki.server_config();
    let group = tasks.clone();
    // To completion: at a stop it lets the requests in flight finish.
    tasks.spawn_to_completion("listener", wk_platform::tasks::OnError::StopGroup, async move {
        serve::serve(listener, Some(tls), service, group).await
    });
}

/// Writes `<data-dir>/kubeconfig`, readable by its owner, when it has changed.
fn write_kubeconfig(data_dir: &Path, pki: &Pki, address: SocketAddr) -> Result<PathBuf> {
    use std::io::Write;
    let path = data_dir.join("kubeconfig");
    let text = pki.kubeconfig(&format!("https://{address}"))?;
    if std::fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(path);
    }
    let mut file = tempfile::NamedTempFile::new_in(data_dir).context("write the kubeconfig")?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).context("write the kubeconfig")?;
    file.persist(&path).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wk_network::{
        PodConfig,
        services::{Backends, Protocol, ServiceTable},
    };

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_api_on_every_address_is_reached_on_loopback() {
        assert_eq!(reachable(address("0.0.0.0:6443")), address("127.0.0.1:6443"));
        assert_eq!(reachable(address("[::]:6443")), address("[::1]:6443"));
        assert_eq!(reachable(address("192.0.2.7:6443")), address("192.0.2.7:6443"));
    }

    #[tokio::test]
    async fn pods_reach_the_api_and_nothing_else_of_the_machine() {
        let (api, other) = (listening().await, listening().await);
        let egress = only_to(api.1, TaskGroup::new());
        let network =
            Network::new(wk_network::Config { egress: Some(egress), ..wk_network::Config::new(Entropy::seeded(1)) });
        let mut services = ServiceTable::default();
        for (port, endpoint) in [(443, api.1), (444, other.1)] {
            let backends = Backends { endpoints: vec![endpoint], ..Backends::default() };
            services.insert(Protocol::Tcp, SocketAddr::from(([10, 96, 0, 1], port)), backends);
        }
        network.set_services(services);
        let pod = network.attach("10.244.0.0/20".parse().expect("a range"), PodConfig::default()).expect("has room");
        assert!(pod.connect(address("10.96.0.1:443")).await.is_ok());
        let refused = pod.connect(address("10.96.0.1:444")).await.err().map(|error| error.kind());
        assert_eq!(refused, Some(std::io::ErrorKind::NetworkUnreachable));
    }

    async fn listening() -> (Listener, SocketAddr) {
        let listener = Listener::tcp(address("127.0.0.1:0")).await.expect("a free port");
        let at = listener.local_addr().expect("TCP");
        (listener, at)
    }
}
