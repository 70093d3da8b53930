//! The pod network in user space: addresses, ports, flows, names, rules.
//!
//! Every pod of every node in this process hangs on one [`Network`]. Guests
//! reach it through `wasi:sockets` (`wk-engine`), hosts through [`Network::dial`];
//! `wk-proxy` fills the tables. It knows neither wasm nor Kubernetes, and no
//! byte of a pod passes through the operating system unless an [`Egress`] says so.
//!
//! ```text
//!             connect                            accept
//!  TcpSocket ─────────▶ services ─▶ rule ─▶ pod ─────────▶ TcpListener
//!     │                (virtual IP)       (switch)              │
//!     ▼                                                         ▼
//!  Connection ◀════ Half (256 KiB) ══ Half (256 KiB) ════▶ Connection
//! ```
//!
//! Reading order: half, budget, connection, ports, address, leases, tcp, udp, pod, [`services`],
//! [`rule`], egress, switch, handover, [`names`], netstat.
//!
//! Invariants: an address has one pod; a port of an address has one holder; a
//! direction never holds more than [`HALF_BYTES_MAX`] bytes; no lock is shared
//! by two connections once they are open; a closed pod leaves nothing behind.
#![forbid(unsafe_code)]

mod address;
mod budget;
mod connection;
mod egress;
mod half;
mod handover;
mod leases;
pub mod names;
mod netstat;
mod pod;
mod ports;
pub mod rule;
pub mod services;
mod soon;
mod switch;
mod tcp;
mod udp;

pub use connection::{Connection, Control, ReadHalf, WriteHalf};
pub use egress::Egress;
pub use half::HALF_BYTES_MAX;
pub use netstat::{SocketInfo, SocketState};
pub use pod::{PodConfig, PodPort};
pub use soon::Soon;
pub use switch::Connect;
pub use tcp::{BACKLOG_MAX, TcpListener, TcpSocket};
pub use udp::{DATAGRAM_BYTES_MAX, Datagram, UdpSocket};

use address::Range;
use handover::WaitingRoom;
use ipnet::{IpNet, Ipv4Net};
use names::Names;
use parking_lot::{Mutex, RwLock};
use pod::Pod;
use rule::{Rule, Rules};
use services::{ServiceTable, Services};
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};
use switch::Origin;
use wk_platform::Entropy;

/// Sockets a pod may have unless configured: enough for a busy server.
const SOCKETS_PER_POD: usize = 16_384;

/// Bytes the connections of a pod may hold at full speed unless configured:
/// 256 full windows.
const QUEUED_BYTES_PER_POD: usize = 64 * 1024 * 1024;

/// Source ports of connections from the host.
const HOST_PORT_MIN: u16 = 32_768;

/// What a network is made of.
pub struct Config {
    /// Ranges in which an address without a pod is `HostUnreachable` rather
    /// than a matter for the egress: pod and service CIDRs.
    pub inside: Vec<IpNet>,
    /// The way out; `None` keeps pods in.
    pub egress: Option<Egress>,
    /// What each pod may take.
    pub limits: Limits,
    /// Chooses among endpoints and turns lists of addresses.
    pub entropy: Entropy,
}

impl Config {
    /// Nothing inside but pods, no way out.
    pub fn new(entropy: Entropy) -> Self {
        Self { inside: Vec::new(), egress: None, limits: Limits::default(), entropy }
    }
}

/// What one pod may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sockets: listeners, connections, also those not yet accepted.
    pub sockets_max: usize,
    /// Bytes written and not yet read. Beyond that connections get a window of
    /// 16 KiB instead of [`HALF_BYTES_MAX`].
    pub queued_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sockets_max: SOCKETS_PER_POD, queued_bytes_max: QUEUED_BYTES_PER_POD }
    }
}

/// The network of all pods in this process. Clones are the same network.
#[derive(Clone)]
pub struct Network {
    shared: Arc<Shared>,
}

struct Shared {
    pods: RwLock<HashMap<Ipv4Addr, Arc<Pod>>>,
    nodes: Mutex<HashMap<Ipv4Net, Range>>,
    services: Services,
    names: Names,
    rules: Rules,
    inside: Vec<IpNet>,
    egress: Option<Egress>,
    limits: Limits,
    host_port: AtomicU16,
    waiting_room: WaitingRoom,
}

impl Network {
    /// A network without pods.
    pub fn new(config: Config) -> Self {
        let Config { inside, egress, limits, entropy } = config;
        let shared = Shared {
            pods: RwLock::default(),
            nodes: Mutex::default(),
            services: Services::new(entropy.clone()),
            names: Names::new(entropy),
            rules: Rules::default(),
            inside,
            egress,
            limits,
            host_port: AtomicU16::new(0),
            waiting_room: WaitingRoom::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Puts a pod on the network with a free address of its node's pod CIDR.
    ///
    /// # Errors
    /// `AddrNotAvailable` when the CIDR is full, `InvalidInput` when it is too
    /// small or overlaps another node's.
    pub fn attach(&self, node: Ipv4Net, config: PodConfig) -> io::Result<PodPort> {
        let node = node.trunc();
        let address = self.take_address(node)?;
        let pod = Arc::new(Pod::new(self.clone(), node, address, config));
        self.shared.pods.write().insert(address, pod.clone());
        Ok(PodPort::new(pod))
    }

    /// Puts the node itself on the network, at [`Network::node_address`]: for
    /// pods that share the host's network, which then share this one port.
    ///
    /// # Errors
    /// `AddrInUse` when it is there already, `InvalidInput` when the CIDR is too
    /// small.
    pub fn attach_node(&self, node: Ipv4Net, config: PodConfig) -> io::Result<PodPort> {
        let node = node.trunc();
        let address = Range::new(node)?.node();
        let mut pods = self.shared.pods.write();
        if pods.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let pod = Arc::new(Pod::new(self.clone(), node, address, config));
        pods.insert(address, pod.clone());
        Ok(PodPort::new(pod))
    }

    /// The address of a node on the pod network: the first of its pod CIDR, and
    /// the source of what it sends to pods.
    ///
    /// # Errors
    /// `InvalidInput` when the CIDR is too small.
    pub fn node_address(node: Ipv4Net) -> io::Result<IpAddr> {
        Ok(IpAddr::V4(Range::new(node.trunc())?.node()))
    }

    /// Connects from the host: port-forwards, probes, node ports. `from` is the
    /// node's address, which the pod sees as its peer; `to` may be virtual.
    pub fn dial(&self, from: IpAddr, to: SocketAddr) -> Connect {
        self.open(Origin::Host(SocketAddr::new(from, self.next_host_port())), to)
    }

    /// Replaces all virtual addresses.
    pub fn set_services(&self, table: ServiceTable) {
        self.shared.services.replace(table);
        self.settle();
    }

    /// The virtual addresses in force.
    pub fn services(&self) -> Arc<ServiceTable> {
        self.shared.services.table()
    }

    /// Replaces the rule; `None` lets everything pass.
    pub fn set_rule(&self, rule: Option<Box<dyn Rule>>) {
        self.shared.rules.replace(rule);
    }

    /// How many pods there are.
    pub fn pod_count(&self) -> usize {
        self.shared.pods.read().len()
    }

    fn take_address(&self, node: Ipv4Net) -> io::Result<Ipv4Addr> {
        let mut nodes = self.shared.nodes.lock();
        if let Some(range) = nodes.get_mut(&node) {
            return range.take();
        }
        if let Some(other) = nodes.keys().find(|other| other.contains(&node) || node.contains(*other)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("pod CIDR {node} overlaps {other}")));
        }
        nodes.entry(node).or_insert(Range::new(node)?).take()
    }

    /// Forgets a closed pod; its address may be given out again.
    fn detach(&self, pod: &Pod) {
        self.shared.pods.write().remove(&pod.address);
        if let Some(range) = self.shared.nodes.lock().get_mut(&pod.node) {
            range.release(pod.address);
        }
    }

    fn find(&self, address: IpAddr) -> Option<Arc<Pod>> {
        let IpAddr::V4(address) = address else { return None };
        self.shared.pods.read().get(&address).cloned()
    }

    fn node_of(&self, address: Ipv4Addr) -> Option<Ipv4Net> {
        self.shared.nodes.lock().keys().find(|node| node.contains(&address)).copied()
    }

    /// Whether `address` belongs to the cluster even when no pod has it.
    fn is_inside(&self, address: IpAddr) -> bool {
        let IpAddr::V4(v4) = address else { return false };
        self.shared.inside.iter().any(|range| range.contains(&address)) || self.node_of(v4).is_some()
    }

    fn next_host_port(&self) -> u16 {
        HOST_PORT_MIN | self.shared.host_port.fetch_add(1, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
