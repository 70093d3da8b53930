//! Ports of the host that lead to services: `type: NodePort`.
//!
//! One listener of the host per node port; what it accepts becomes a flow on the
//! pod network, to the service's virtual address. A port that is taken is logged
//! and tried again, and troubles no other. UDP is not forwarded.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};
use wk_network::Network;
use wk_platform::{
    TaskGroup,
    listen::{BoxByteStream, Listener},
    tasks::OnError,
};

/// Connections through one node port at a time; more wait in the host's queue.
const CONNECTIONS_MAX: usize = 4_096;

/// After a failed bind or accept, wait before the next attempt.
const RETRY: Duration = Duration::from_secs(1);

/// Where node ports are opened.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The address of the host to listen on.
    pub listen: IpAddr,
    /// The address that pods see as their peer: a node's on the pod network.
    pub from: IpAddr,
}

/// The node ports that are open.
pub(crate) struct NodePorts {
    config: Config,
    network: Network,
    tasks: TaskGroup,
    open: HashMap<u16, Open>,
}

/// An open port; dropping the tasks closes the listener, and leaves connections
/// to end by themselves.
struct Open {
    target: SocketAddr,
    _tasks: TaskGroup,
}

impl NodePorts {
    pub fn new(config: Config, network: Network, tasks: TaskGroup) -> Self {
        Self { config, network, tasks, open: HashMap::new() }
    }

    /// Opens, closes and redirects until exactly `wanted` is open.
    pub fn apply(&mut self, wanted: &BTreeMap<u16, SocketAddr>) {
        self.open.retain(|port, open| wanted.get(port) == Some(&open.target));
        for (port, target) in wanted {
            if !self.open.contains_key(port) {
                self.open.insert(*port, self.start(*port, *target));
            }
        }
    }

    fn start(&self, port: u16, target: SocketAddr) -> Open {
        let tasks = self.tasks.child();
        let forward = Forward {
            target,
            from: self.config.from,
            network: self.network.clone(),
            connections: self.tasks.clone(),
            limit: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        };
        tasks.spawn("node port", OnError::Log, forward.listen(SocketAddr::new(self.config.listen, port)));
        Open { target, _tasks: tasks }
    }
}

/// What one listener does with its connections.
struct Forward {
    target: SocketAddr,
    from: IpAddr,
    network: Network,
    /// Owns the connections, which outlive their listener.
    connections: TaskGroup,
    limit: Arc<Semaphore>,
}

impl Forward {
    async fn listen(self, address: SocketAddr) -> io::Result<()> {
        let mut listener = bind(address).await;
        info!(%address, target = %self.target, "opened node port");
        loop {
            let permit = self.limit.clone().acquire_owned().await.map_err(io::Error::other)?;
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    debug!(%address, %error, "accept failed");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            };
            let flow = self.network.dial(self.from, self.target);
            self.connections.spawn("node port connection", OnError::Log, async move {
                let result = carry(flow, stream).await;
                drop(permit);
                if let Err(error) = result {
                    debug!(%error, "node port connection ended");
                }
                Ok::<_, io::Error>(())
            });
        }
    }
}

/// Binds, however long it takes for the port to be free.
async fn bind(address: SocketAddr) -> Listener {
    let mut warned = false;
    loop {
        match Listener::tcp(address).await {
            Ok(listener) => return listener,
            Err(error) if warned => debug!(%error, "node port is still taken"),
            Err(error) => {
                warn!(%error, "cannot open node port; another program may have it; trying again");
                warned = true;
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn carry(flow: wk_network::Connect, mut stream: BoxByteStream) -> io::Result<()> {
    let mut flow = flow.await?;
    tokio::io::copy_bidirectional(&mut stream, &mut flow).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use wk_network::{
        PodConfig, PodPort,
        services::{Backends, Protocol, ServiceTable},
    };
    use wk_platform::{Entropy, listen::connect_tcp};

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A pod behind the virtual address 10.96.0.1:80.
    fn served() -> (Network, PodPort) {
        let network = Network::new(wk_network::Config::new(Entropy::seeded(1)));
        let pod = network.attach("10.244.1.0/24".parse().expect("valid"), PodConfig::default()).expect("room");
        let mut table = ServiceTable::default();
        let backends = Backends { endpoints: vec![SocketAddr::new(pod.address(), 8080)], ..Backends::default() };
        table.insert(Protocol::Tcp, target(), backends);
        network.set_services(table);
        (network, pod)
    }

    fn target() -> SocketAddr {
        SocketAddr::from(([10, 96, 0, 1], 80))
    }

    fn config() -> Config {
        Config { listen: Ipv4Addr::LOCALHOST.into(), from: [10, 244, 1, 1].into() }
    }

    async fn free_port() -> u16 {
        let listener = Listener::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("a free port");
        listener.local_addr().expect("TCP").port()
    }

    /// Connects as soon as the port is open.
    async fn connect(port: u16) -> tokio::net::TcpStream {
        let attempt = async {
            loop {
                match connect_tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await {
                    Ok(stream) => return stream,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, attempt).await.expect("the port opens")
    }

    #[tokio::test]
    async fn a_node_port_leads_to_a_pod_until_it_is_no_longer_wanted() {
        let (network, pod) = served();
        let mut listener = pod.listen(SocketAddr::from(([0, 0, 0, 0], 8080)), 8).expect("free");
        let port = free_port().await;
        let tasks = TaskGroup::new();
        let mut ports = NodePorts::new(config(), network, tasks.clone());
        ports.apply(&BTreeMap::from([(port, target())]));
        let mut outside = connect(port).await;
        let mut inside = listener.accept().await.expect("connected");
        assert_eq!(inside.peer_addr().ip(), config().from);
        outside.write_all(b"ping").await.expect("open");
        inside.read_exact(&mut [0; 4]).await.expect("open");

        ports.apply(&BTreeMap::new());
        let closed = async {
            while connect_tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, closed).await.expect("the port closes");
        inside.write_all(b"pong").await.expect("open connections go on");
        outside.read_exact(&mut [0; 4]).await.expect("open connections go on");
        tasks.shutdown(PATIENCE).await.expect("connections end with their owner");
    }

    #[tokio::test]
    async fn a_taken_port_troubles_no_other_and_opens_when_it_is_free() {
        let (network, pod) = served();
        let _listener = pod.listen(SocketAddr::from(([0, 0, 0, 0], 8080)), 8).expect("free");
        let taken = Listener::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("a free port");
        let (taken_port, port) = (taken.local_addr().expect("TCP").port(), free_port().await);
        let mut ports = NodePorts::new(config(), network, TaskGroup::new());
        ports.apply(&BTreeMap::from([(taken_port, target()), (port, target())]));
        drop(connect(port).await);
        drop(taken);
        drop(connect(taken_port).await);
    }
}
