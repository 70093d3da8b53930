//! A pod's place on the network: its address, its ports, its open flows.
//!
//! [`PodPort`] is what a sandbox owns and its containers share. Closing it (or
//! dropping the last clone) wakes every listener with `ConnectionAborted`,
//! resets every connection and frees the address; what the guests still hold
//! then only gives errors. It knows nothing of routes: `switch.rs` does.

use crate::{
    Limits, Network, address,
    budget::Budget,
    connection::{Connection, Flow, Side},
    handover::{Inlet, SETTLES, Via},
    leases::{FlowGuard, PortLease, SocketSlot},
    names::Resolver,
    ports::{Ports, Scope},
    switch::{Connect, Origin},
    tcp::{Backlog, TcpListener, TcpSocket, wake},
    udp::{Inbox, UdpSocket},
};
use ipnet::Ipv4Net;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
};
use tokio::time::Instant;

/// What a pod is called and how it looks names up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodConfig {
    /// The name of the pod itself; resolves to its address.
    pub hostname: String,
    /// Its `resolv.conf` and `hosts`.
    pub resolver: Resolver,
}

/// A pod's network identity. Clones are the same pod; the last one dropped
/// closes everything.
#[derive(Clone)]
pub struct PodPort {
    owner: Arc<Owner>,
    user: User,
}

/// Which user of a pod's port opened a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// The owner of the pod, who may close all of them.
    Pod,
    /// One of those that share it, by a number of its own.
    Member(u64),
}

/// Closes the pod when its last owner goes. Sockets hold the [`Pod`] only, so
/// that a forgotten socket does not keep a pod alive.
struct Owner {
    pod: Arc<Pod>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.pod.close();
    }
}

impl PodPort {
    pub(crate) fn new(pod: Arc<Pod>) -> Self {
        Self { owner: Arc::new(Owner { pod }), user: User::Pod }
    }

    pub(crate) fn pod(&self) -> &Arc<Pod> {
        &self.owner.pod
    }

    /// The same pod for one of those that share it (a container), which can be
    /// told to stop listening without the others.
    pub fn member(&self) -> Self {
        self.pod().unsettle(); // it will listen soon, if it does
        let number = self.pod().members.fetch_add(1, Ordering::Relaxed);
        Self { owner: self.owner.clone(), user: User::Member(number) }
    }

    /// The pod's address.
    pub fn address(&self) -> IpAddr {
        IpAddr::V4(self.pod().address)
    }

    /// The pod's host name.
    pub fn hostname(&self) -> &str {
        &self.pod().config.hostname
    }

    /// A new unbound TCP socket, counted against the pod's limit.
    ///
    /// # Errors
    /// `QuotaExceeded` at the limit, `NetworkDown` when the pod was closed.
    pub fn tcp_socket(&self) -> io::Result<TcpSocket> {
        TcpSocket::new(self.pod(), self.user)
    }

    /// A new unbound UDP socket, counted against the pod's limit.
    ///
    /// # Errors
    /// As [`PodPort::tcp_socket`].
    pub fn udp_socket(&self) -> io::Result<UdpSocket> {
        UdpSocket::new(self.pod())
    }

    /// Listens in one step: socket, bind, listen.
    ///
    /// # Errors
    /// Those of [`PodPort::tcp_socket`], [`TcpSocket::bind`] and
    /// [`TcpSocket::listen`].
    pub fn listen(&self, address: SocketAddr, backlog: usize) -> io::Result<TcpListener> {
        let mut socket = self.tcp_socket()?;
        socket.bind(address)?;
        socket.listen(backlog)
    }

    /// Connects in one step, from any free port. The errors come with the
    /// future; see [`Connect`].
    pub fn connect(&self, to: SocketAddr) -> Connect {
        match self.tcp_socket() {
            Ok(socket) => socket.connect(to),
            Err(error) => Connect::done(Err(error)),
        }
    }

    /// A connection from the host to `port`, on the pod's loopback or else on its
    /// address: port-forwards go to the first, as everywhere, and probes to the
    /// second, and both come through here. It takes none of the pod's sockets but
    /// the accepted one.
    ///
    /// # Errors
    /// `ConnectionRefused` when nobody listens on either.
    pub fn dial(&self, port: u16) -> io::Result<Connection> {
        let pod = self.pod();
        let between = |from: Ipv4Addr, to: Ipv4Addr| {
            let from = SocketAddr::from((from, pod.network.next_host_port()));
            pod.accept_from(from, SocketAddr::from((to, port)))
        };
        match between(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                between(address::node_of(pod.node), pod.address)
            }
            result => result,
        }
    }

    /// Sockets in use, of those a pod may have.
    pub fn socket_count(&self) -> usize {
        self.pod().sockets.load(Ordering::Relaxed)
    }

    /// Bytes this pod wrote that its peers have not read yet.
    pub fn queued_bytes(&self) -> usize {
        self.pod().budget.used()
    }

    /// Closes the listeners of this [`PodPort::member`], or of all: their owners
    /// get what waits there, then `ConnectionAborted`. Open connections go on;
    /// those that came through a service and that no server has touched go to
    /// another of its backends. The polite first step of stopping a pod. Whether
    /// there was one to close.
    pub fn stop_listening(&self) -> bool {
        self.pod().stop_listening(self.user)
    }

    /// Closes everything now; again is not an error.
    pub fn close(&self) {
        self.pod().close();
    }
}

/// What sockets and the switch see of a pod.
pub(crate) struct Pod {
    pub address: Ipv4Addr,
    pub node: Ipv4Net,
    pub config: PodConfig,
    pub network: Network,
    pub tcp: Mutex<Ports<Backlog>>,
    pub udp: Mutex<Ports<Inbox>>,
    /// Bytes written by this pod and not yet read by its peers.
    pub budget: Arc<Budget>,
    pub flows: Mutex<Flows>,
    pub sockets: AtomicUsize,
    members: AtomicU64,
    pub sockets_max: usize,
    closed: AtomicBool,
    /// When a user came, or a listener went.
    unsettled_at: Mutex<Instant>,
}

/// Open flows by a number of their own.
#[derive(Default)]
pub(crate) struct Flows {
    next: u64,
    pub open: HashMap<u64, OpenFlow>,
}

/// One end of an open flow, for closing and listing.
pub(crate) struct OpenFlow {
    pub flow: Arc<Flow>,
    pub side: Side,
    pub local: SocketAddr,
    pub peer: SocketAddr,
}

impl Pod {
    pub fn new(network: Network, node: Ipv4Net, address: Ipv4Addr, config: PodConfig) -> Self {
        let Limits { sockets_max, queued_bytes_max } = network.shared.limits;
        Self {
            address,
            node,
            config,
            network,
            budget: Arc::new(Budget::new(queued_bytes_max)),
            tcp: Mutex::default(),
            udp: Mutex::default(),
            flows: Mutex::default(),
            sockets: AtomicUsize::new(0),
            members: AtomicU64::new(0),
            sockets_max,
            closed: AtomicBool::new(false),
            unsettled_at: Mutex::new(Instant::now()),
        }
    }

    /// Which of this pod's addresses `address` is.
    ///
    /// # Errors
    /// `AddrNotAvailable` when it is none of them, `Unsupported` for IPv6.
    pub fn scope(&self, address: IpAddr) -> io::Result<Scope> {
        match address {
            IpAddr::V4(address) if address.is_unspecified() => Ok(Scope::Any),
            IpAddr::V4(address) if address.is_loopback() => Ok(Scope::Loopback),
            IpAddr::V4(address) if address == self.address => Ok(Scope::Pod),
            IpAddr::V4(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
            IpAddr::V6(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// # Errors
    /// `NetworkDown`.
    pub fn check_open(&self) -> io::Result<()> {
        if self.closed.load(Ordering::SeqCst) { Err(io::ErrorKind::NetworkDown.into()) } else { Ok(()) }
    }

    /// Opens a flow from `from` to a listener of this pod and gives the client's
    /// end, which the caller owns alone.
    ///
    /// # Errors
    /// As [`Pod::admit`].
    pub fn accept_from(self: &Arc<Self>, from: SocketAddr, to: SocketAddr) -> io::Result<Connection> {
        let flow = Arc::new(Flow::new(None));
        self.admit(&flow, from, to, None)?;
        Ok(Connection::new(flow, Side::Client, from, to, None))
    }

    /// Queues the server's end of `flow` at the listener for `to`. `via` is the
    /// service that sent it here, if one did.
    ///
    /// # Errors
    /// `ConnectionRefused` when nobody listens there, the backlog is full, or
    /// the pod has no socket left; `NetworkDown` when it has been closed. The
    /// flow is then as it was.
    pub fn admit(
        self: &Arc<Self>,
        flow: &Arc<Flow>,
        from: SocketAddr,
        to: SocketAddr,
        via: Option<Via>,
    ) -> io::Result<()> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let scope = self.scope(to.ip())?;
        let backlog = self.tcp.lock().find(scope, to.port()).ok_or_else(refused)?;
        let slot = SocketSlot::take(self).map_err(|_| refused())?;
        flow.outgoing(Side::Server).charge_to(self.budget.clone());
        let guard = self.register(flow, Side::Server, to, from, slot, None)?;
        let inlet = via.map(|via| Inlet::new(via, backlog.clone()));
        let queued = backlog.push_with(|| Connection::of_server(flow.clone(), to, from, guard, inlet));
        if queued { Ok(()) } else { Err(refused()) }
    }

    /// Says that its listeners are changing.
    pub fn unsettle(&self) {
        *self.unsettled_at.lock() = Instant::now();
    }

    /// Whether a refusal may be of the moment only: the tables of services are a
    /// little behind a pod that starts or ends.
    pub fn is_unsettled(&self) -> bool {
        self.check_open().is_err() || self.unsettled_at.lock().elapsed() < SETTLES
    }

    /// Makes `flow` one that ends with this pod.
    ///
    /// # Errors
    /// `NetworkDown` when the pod has been closed.
    pub fn register(
        self: &Arc<Self>,
        flow: &Arc<Flow>,
        side: Side,
        local: SocketAddr,
        peer: SocketAddr,
        slot: SocketSlot,
        port: Option<PortLease>,
    ) -> io::Result<FlowGuard> {
        let mut flows = self.flows.lock();
        // Under the lock: `close` sets the flag before it takes the lock to
        // reset what is open, so that no flow slips between.
        self.check_open()?;
        let id = flows.next;
        flows.next += 1;
        flows.open.insert(id, OpenFlow { flow: flow.clone(), side, local, peer });
        Ok(FlowGuard::new(self.clone(), id, slot, port))
    }

    /// Calls `visit` for each open flow.
    pub fn each_flow(&self, mut visit: impl FnMut(&OpenFlow)) {
        self.flows.lock().open.values().for_each(&mut visit);
    }

    /// The address a socket on `port` of `scope` sees as its own.
    pub fn local_addr(&self, scope: Scope, port: u16) -> SocketAddr {
        let address = match scope {
            Scope::Any => Ipv4Addr::UNSPECIFIED,
            Scope::Loopback => Ipv4Addr::LOCALHOST,
            Scope::Pod => self.address,
        };
        SocketAddr::from((address, port))
    }

    /// Each listening port and how many connections wait there.
    pub fn listeners(&self) -> Vec<(Scope, u16, usize)> {
        self.tcp.lock().receivers().map(|(scope, port, backlog)| (scope, port, backlog.len())).collect()
    }

    /// Each bound UDP port and how many bytes wait there.
    pub fn inboxes(&self) -> Vec<(Scope, u16, usize)> {
        self.udp.lock().receivers().map(|(scope, port, inbox)| (scope, port, inbox.queued_bytes())).collect()
    }

    fn stop_listening(&self, user: User) -> bool {
        let acceptors = self.close_listeners(user);
        let any = !acceptors.is_empty();
        acceptors.into_iter().for_each(wake);
        any
    }

    /// Closes those of `user`; what waits for each of them is to be woken.
    fn close_listeners(&self, user: User) -> Vec<Option<Waker>> {
        self.unsettle();
        let listening: Vec<_> = self.tcp.lock().receivers().map(|(_, _, backlog)| backlog.clone()).collect();
        let own = listening.iter().filter(|backlog| user == User::Pod || backlog.user == user);
        own.map(|backlog| backlog.close()).collect()
    }

    fn close(&self) {
        if self.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        self.network.detach(self);
        let acceptors = self.close_listeners(User::Pod);
        // Connections first: a guest woken by its listener might close them in
        // order before they are reset, and peers would take that for the end.
        let open: Vec<_> = self.flows.lock().open.values().map(|open| open.flow.clone()).collect();
        open.iter().for_each(|flow| flow.reset());
        acceptors.into_iter().for_each(wake);
        let inboxes: Vec<_> = self.udp.lock().receivers().map(|(_, _, inbox)| inbox.clone()).collect();
        inboxes.iter().for_each(|inbox| inbox.abort());
    }
}

impl TcpSocket {
    /// Connects, giving the socket up; it cannot be used again whatever comes
    /// of it. See [`Connect`] for the errors.
    pub fn connect(self, to: SocketAddr) -> Connect {
        let network = self.pod.network.clone();
        network.open(Origin::Pod(self), to)
    }
}
