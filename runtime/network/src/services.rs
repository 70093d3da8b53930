//! Virtual addresses: which endpoint answers for an IP and port nobody owns.
//!
//! The table is made by `wk-proxy` and replaced as a whole; `switch.rs` asks it
//! for every connection and every new UDP flow. Choice is random, as kube-proxy's
//! is. It keeps no state per connection, and per client only for affinity.

use ipnet::Ipv4Net;
use parking_lot::{Mutex, RwLock};
use std::{
    collections::{HashMap, HashSet},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;
use wk_platform::Entropy;

/// Clients whose endpoint is remembered. Beyond that, after forgetting expired
/// ones, a new client gets an endpoint each time, as without affinity.
const AFFINITIES_MAX: usize = 65_536;

/// Transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// Whether a client comes back to the same endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Affinity {
    /// Each connection is chosen anew.
    #[default]
    None,
    /// By client address, until it has been quiet for this long.
    ClientIp(Duration),
}

/// Which endpoints a client may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// All.
    #[default]
    Cluster,
    /// Those on the client's own node (`internalTrafficPolicy: Local`).
    Node,
}

/// What is behind one virtual port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backends {
    /// Where it may go; none means that connections are refused.
    pub endpoints: Vec<SocketAddr>,
    /// Whether a client comes back to the same one.
    pub affinity: Affinity,
    /// Which of them a client may use.
    pub reach: Reach,
}

/// All virtual ports at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceTable {
    ports: HashMap<(Protocol, SocketAddr), Backends>,
    addresses: HashSet<IpAddr>,
}

impl ServiceTable {
    /// Adds a virtual port; the last one wins.
    pub fn insert(&mut self, protocol: Protocol, address: SocketAddr, backends: Backends) {
        self.addresses.insert(address.ip());
        self.ports.insert((protocol, address), backends);
    }

    /// What is behind a virtual port.
    pub fn get(&self, protocol: Protocol, address: SocketAddr) -> Option<&Backends> {
        self.ports.get(&(protocol, address))
    }

    /// How many virtual ports there are.
    pub fn len(&self) -> usize {
        self.ports.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub address: Ipv4Addr,
    /// The pod CIDR of its node; `None` for the host itself.
    pub node: Option<Ipv4Net>,
}

/// The table in force and who was sent where.
pub(crate) struct Services {
    table: RwLock<Arc<ServiceTable>>,
    affinities: Mutex<HashMap<(Protocol, SocketAddr, Ipv4Addr), Sticky>>,
    entropy: Entropy,
}

#[derive(Clone, Copy)]
struct Sticky {
    endpoint: SocketAddr,
    until: Instant,
}

impl Services {
    pub fn new(entropy: Entropy) -> Self {
        Self { table: RwLock::default(), affinities: Mutex::default(), entropy }
    }

    pub fn replace(&self, table: ServiceTable) {
        *self.table.write() = Arc::new(table);
    }

    pub fn table(&self) -> Arc<ServiceTable> {
        self.table.read().clone()
    }

    /// Whether `address` is some service's.
    pub fn is_virtual(&self, address: IpAddr) -> bool {
        self.table.read().addresses.contains(&address)
    }

    /// Whether `endpoint` is still behind `to`.
    pub fn has_endpoint(&self, protocol: Protocol, to: SocketAddr, endpoint: SocketAddr) -> bool {
        let table = self.table();
        table.get(protocol, to).is_some_and(|backends| backends.endpoints.contains(&endpoint))
    }

    /// The real address for `to`: itself when it is not virtual, else one of its
    /// endpoints that is not among `tried`.
    ///
    /// # Errors
    /// `ConnectionRefused` for a virtual address with no such port or no
    /// endpoint (as kube-proxy rejects both).
    pub fn route(
        &self,
        protocol: Protocol,
        client: Client,
        to: SocketAddr,
        tried: &[SocketAddr],
    ) -> io::Result<SocketAddr> {
        let table = self.table();
        if !table.addresses.contains(&to.ip()) {
            return Ok(to);
        }
        let backends = table.get(protocol, to).ok_or(io::ErrorKind::ConnectionRefused)?;
        let mut endpoints = reachable(backends, client);
        endpoints.retain(|endpoint| !tried.contains(endpoint));
        let Affinity::ClientIp(timeout) = backends.affinity else { return self.pick(&endpoints) };
        self.stick((protocol, to, client.address), &endpoints, timeout)
    }

    fn pick(&self, endpoints: &[SocketAddr]) -> io::Result<SocketAddr> {
        let index = usize::try_from(self.entropy.below(endpoints.len() as u64)).unwrap_or(0);
        endpoints.get(index).copied().ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }

    /// The remembered endpoint while it exists and has not expired, else a new
    /// one; either way the clock starts again.
    fn stick(
        &self,
        key: (Protocol, SocketAddr, Ipv4Addr),
        endpoints: &[SocketAddr],
        timeout: Duration,
    ) -> io::Result<SocketAddr> {
        let now = Instant::now();
        let mut affinities = self.affinities.lock();
        let known = affinities.get(&key).filter(|sticky| sticky.until > now && endpoints.contains(&sticky.endpoint));
        let endpoint = match known {
            Some(sticky) => sticky.endpoint,
            None => self.pick(endpoints)?,
        };
        if affinities.len() >= AFFINITIES_MAX {
            affinities.retain(|_, sticky| sticky.until > now);
        }
        if affinities.len() < AFFINITIES_MAX || affinities.contains_key(&key) {
            affinities.insert(key, Sticky { endpoint, until: now + timeout });
        }
        Ok(endpoint)
    }
}

fn reachable(backends: &Backends, client: Client) -> Vec<SocketAddr> {
    let local = |endpoint: &&SocketAddr| match (client.node, endpoint.ip()) {
        (Some(node), IpAddr::V4(address)) => node.contains(&address),
        _ => false,
    };
    match backends.reach {
        Reach::Cluster => backends.endpoints.clone(),
        Reach::Node => backends.endpoints.iter().filter(local).copied().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIRTUAL: &str = "10.96.0.10:80";

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("valid")
    }

    fn client(last: u8) -> Client {
        Client { address: Ipv4Addr::new(10, 244, 1, last), node: Some("10.244.1.0/24".parse().expect("valid")) }
    }

    fn services(endpoints: &[&str], affinity: Affinity, reach: Reach) -> Services {
        let services = Services::new(Entropy::seeded(1));
        let mut table = ServiceTable::default();
        let endpoints = endpoints.iter().map(|text| address(text)).collect();
        table.insert(Protocol::Tcp, address(VIRTUAL), Backends { endpoints, affinity, reach });
        services.replace(table);
        services
    }

    fn route(services: &Services, client: Client, to: &str) -> Result<SocketAddr, io::ErrorKind> {
        services.route(Protocol::Tcp, client, address(to), &[]).map_err(|error| error.kind())
    }

    #[test]
    fn every_endpoint_is_chosen_about_equally() {
        let services = services(&["10.244.1.2:8080", "10.244.1.3:8080"], Affinity::None, Reach::Cluster);
        let first = (0..1_000).filter(|_| route(&services, client(9), VIRTUAL) == Ok(address("10.244.1.2:8080")));
        assert!((400..600).contains(&first.count()));
    }

    #[test]
    fn what_is_not_virtual_stays_and_what_has_no_endpoint_is_refused() {
        let services = services(&[], Affinity::None, Reach::Cluster);
        assert_eq!(route(&services, client(9), "10.244.1.2:80"), Ok(address("10.244.1.2:80")));
        assert_eq!(route(&services, client(9), VIRTUAL), Err(io::ErrorKind::ConnectionRefused));
        assert_eq!(route(&services, client(9), "10.96.0.10:81"), Err(io::ErrorKind::ConnectionRefused));
    }

    #[test]
    fn a_node_local_service_never_leaves_the_node() {
        let services = services(&["10.244.1.2:80", "10.244.2.2:80"], Affinity::None, Reach::Node);
        assert!((0..20).all(|_| route(&services, client(9), VIRTUAL) == Ok(address("10.244.1.2:80"))));
        let elsewhere = Client { node: Some("10.244.3.0/24".parse().expect("valid")), ..client(9) };
        assert_eq!(route(&services, elsewhere, VIRTUAL), Err(io::ErrorKind::ConnectionRefused));
    }

    #[tokio::test(start_paused = true)]
    async fn affinity_lasts_while_the_client_comes_back_in_time_and_the_endpoint_lives() {
        let endpoints: Vec<_> = (2..250).map(|last| format!("10.244.1.{last}:80")).collect();
        let endpoints: Vec<_> = endpoints.iter().map(String::as_str).collect();
        let services = services(&endpoints, Affinity::ClientIp(Duration::from_secs(60)), Reach::Cluster);
        let first = route(&services, client(9), VIRTUAL).expect("endpoints");
        for _ in 0..5 {
            tokio::time::advance(Duration::from_secs(50)).await;
            assert_eq!(route(&services, client(9), VIRTUAL), Ok(first), "each use starts the clock again");
        }
        assert!((10..30).any(|last| route(&services, client(last), VIRTUAL) != Ok(first)), "others choose anew");
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_ne!(route(&services, client(9), VIRTUAL), Ok(first), "1 in 248 by chance; the seed is fixed");

        let mut table = ServiceTable::default();
        let (endpoints, affinity) = (vec![address("10.244.2.2:80")], Affinity::ClientIp(Duration::from_secs(60)));
        table.insert(Protocol::Tcp, address(VIRTUAL), Backends { endpoints, affinity, reach: Reach::Cluster });
        services.replace(table);
        assert_eq!(route(&services, client(9), VIRTUAL), Ok(address("10.244.2.2:80")));
    }
}
