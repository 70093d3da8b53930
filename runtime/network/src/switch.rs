//! From an address to a pod: opens flows.
//!
//! One flow is opened in this order: virtual address to endpoint (`services.rs`),
//! the rule in force (`rule.rs`), the pod that has the address, its listener.
//! A backend that refuses is passed over for another one (`handover.rs` says why).
//! An address that is nobody's goes to the egress, if there is one. Only opening
//! passes here; the bytes of a flow touch nothing but its two halves.

use crate::{
    Network,
    budget::Budget,
    connection::{Connection, Flow, Side},
    handover::{SETTLES, Via},
    leases::{PortLease, SocketSlot},
    ports::Scope,
    rule::{PacketInfo, Verdict},
    services::{Client, Protocol},
    soon::Soon,
    tcp::TcpSocket,
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// After this long a connection whose opening is dropped gives up (Linux's six
/// retries of a SYN).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(127);

/// A connection being opened.
///
/// Ends with `ConnectionRefused` (nobody listens, a full backlog, a service
/// without endpoints), `HostUnreachable` (no such pod), `NetworkUnreachable`
/// (outside the cluster without an egress, IPv6), `TimedOut` (a rule drops it),
/// `AddrInUse` (no free local port), `InvalidInput` (port 0, or a loopback
/// socket to elsewhere), `QuotaExceeded` or `NetworkDown` (the pod's limit, a
/// closed pod).
pub type Connect = Soon<Connection>;

/// Who opens a flow.
pub(crate) enum Origin {
    Pod(TcpSocket),
    Host(SocketAddr),
}

/// An origin with its local address settled.
struct Source {
    local: SocketAddr,
    client: Client,
    /// What a pod's end must hold.
    pod: Option<(SocketSlot, PortLease)>,
}

/// What came of asking the backends of a service.
enum Attempt {
    /// This.
    Ended(Connect),
    /// All refused, and some perhaps only for now.
    Unsettled(Source, io::Error),
}

impl Source {
    fn budget(&self) -> Option<Arc<Budget>> {
        self.pod.as_ref().map(|(_, lease)| lease.pod.budget.clone())
    }
}

impl Network {
    /// Opens a flow to `to`, which may be virtual.
    pub(crate) fn open(&self, origin: Origin, to: SocketAddr) -> Connect {
        self.start(origin, to).unwrap_or_else(|error| Connect::done(Err(error)))
    }

    fn start(&self, origin: Origin, to: SocketAddr) -> io::Result<Connect> {
        let to = destination(to)?;
        let source = self.source(origin, to)?;
        if self.shared.services.is_virtual(to.ip()) {
            return Ok(self.open_service(source, to));
        }
        Ok(match self.judge(&source, to) {
            Verdict::Pass => self.link(source, to, to),
            held_up => self.hold_up(held_up, source, to, to),
        })
    }

    /// What the rule in force says of a connection to a real address.
    fn judge(&self, source: &Source, to: SocketAddr) -> Verdict {
        self.shared.rules.judge(&PacketInfo { protocol: Protocol::Tcp, from: source.local, to })
    }

    /// Carries a verdict out that is not to pass.
    fn hold_up(&self, verdict: Verdict, source: Source, to: SocketAddr, endpoint: SocketAddr) -> Connect {
        let network = self.clone();
        Connect::waiting(async move {
            let Verdict::Delay(delay) = verdict else {
                tokio::time::sleep(CONNECT_TIMEOUT).await;
                return Err(io::ErrorKind::TimedOut.into());
            };
            tokio::time::sleep(delay).await;
            network.link(source, to, endpoint).await
        })
    }

    /// Opens a flow to a backend of a service. One that refuses is passed over
    /// for another; when that leaves none and the tables may be behind, it waits
    /// for them, no longer than [`SETTLES`].
    fn open_service(&self, source: Source, to: SocketAddr) -> Connect {
        let mut source = match self.try_backends(source, to) {
            Attempt::Ended(connect) => return connect,
            Attempt::Unsettled(source, _) => source,
        };
        let (network, until) = (self.clone(), Instant::now() + SETTLES);
        Connect::waiting(async move {
            loop {
                // Before the attempt, so that no change is missed.
                let settled = network.shared.waiting_room.settled();
                let error = match network.try_backends(source, to) {
                    Attempt::Ended(connect) => return connect.await,
                    Attempt::Unsettled(back, error) => {
                        source = back;
                        error
                    }
                };
                if tokio::time::timeout_at(until, settled).await.is_err() {
                    return Err(error);
                }
            }
        })
    }

    /// Asks each backend of a service at most once.
    fn try_backends(&self, source: Source, to: SocketAddr) -> Attempt {
        let (mut tried, mut refusal, mut unsettled) = (Vec::new(), None, false);
        loop {
            let endpoint = match self.shared.services.route(Protocol::Tcp, source.client, to, &tried) {
                Ok(endpoint) => endpoint,
                Err(none_left) => {
                    let error = refusal.unwrap_or(none_left);
                    return if unsettled {
                        Attempt::Unsettled(source, error)
                    } else {
                        Attempt::Ended(Connect::done(Err(error)))
                    };
                }
            };
            match self.judge(&source, endpoint) {
                Verdict::Pass => {}
                held_up => return Attempt::Ended(self.hold_up(held_up, source, to, endpoint)),
            }
            let Some(pod) = self.find(endpoint.ip()) else {
                if !self.is_inside(endpoint.ip()) {
                    return Attempt::Ended(self.link(source, to, endpoint));
                }
                unsettled = true; // the service has it still, and the pod is gone
                refusal = Some(io::ErrorKind::HostUnreachable.into());
                tried.push(endpoint);
                continue;
            };
            let flow = Arc::new(Flow::new(source.budget()));
            match pod.admit(&flow, source.local, endpoint, Some(Via { client: source.client, to })) {
                Ok(()) => return Attempt::Ended(Connect::done(client_end(source, flow, to))),
                Err(error) => {
                    unsettled |= pod.is_unsettled();
                    refusal = Some(error);
                }
            }
            tried.push(endpoint);
        }
    }

    /// Settles the local address: loopback to loopback, else the pod's own.
    fn source(&self, origin: Origin, to: SocketAddr) -> io::Result<Source> {
        let socket = match origin {
            Origin::Host(local) => return Ok(Source { local, client: self.host_client(local.ip()), pod: None }),
            Origin::Pod(socket) => socket,
        };
        let scope = if to.ip().is_loopback() { Scope::Loopback } else { Scope::Pod };
        let lease = match socket.bound {
            Some(bound) if bound.scope == Scope::Any || bound.scope == scope => bound,
            Some(_) => return Err(io::ErrorKind::InvalidInput.into()),
            None => PortLease::take(&socket.pod, scope, 0)?,
        };
        let address = if scope == Scope::Loopback { Ipv4Addr::LOCALHOST } else { socket.pod.address };
        let client = Client { address: socket.pod.address, node: Some(socket.pod.node) };
        let local = SocketAddr::from((address, lease.port));
        Ok(Source { local, client, pod: Some((socket.slot, lease)) })
    }

    fn host_client(&self, address: IpAddr) -> Client {
        let IpAddr::V4(address) = address else { return Client { address: Ipv4Addr::UNSPECIFIED, node: None } };
        Client { address, node: self.node_of(address) }
    }

    /// Joins `source` to whoever has `endpoint`; the client sees `to` as its
    /// peer.
    fn link(&self, source: Source, to: SocketAddr, endpoint: SocketAddr) -> Connect {
        // Loopback is the pod's own only when it was asked for: as the endpoint
        // of a service it is the host's, which is outside.
        let pod = match &source.pod {
            Some((_, lease)) if to.ip().is_loopback() => Some(lease.pod.clone()),
            _ => self.find(endpoint.ip()),
        };
        match (pod, &self.shared.egress) {
            (Some(pod), _) => {
                let flow = Arc::new(Flow::new(source.budget()));
                let admitted = pod.admit(&flow, source.local, endpoint, None);
                Connect::done(admitted.and_then(|()| client_end(source, flow, to)))
            }
            (None, _) if self.is_inside(endpoint.ip()) => Connect::done(Err(io::ErrorKind::HostUnreachable.into())),
            (None, None) => Connect::done(Err(io::ErrorKind::NetworkUnreachable.into())),
            (None, Some(egress)) => {
                let (egress, dial) = (egress.clone(), egress.dial(endpoint));
                Connect::waiting(async move {
                    let far = dial.await?;
                    let (flow, local) = (Arc::new(Flow::new(source.budget())), source.local);
                    let near = Connection::new(flow.clone(), Side::Server, endpoint, local, None);
                    let client = client_end(source, flow, to)?;
                    egress.carry(near, far);
                    Ok(client)
                })
            }
        }
    }
}

/// `to` as Linux takes it.
///
/// # Errors
/// `InvalidInput` for port 0, `NetworkUnreachable` for IPv6.
pub(crate) fn destination(to: SocketAddr) -> io::Result<SocketAddr> {
    match to.ip() {
        _ if to.port() == 0 => Err(io::ErrorKind::InvalidInput.into()),
        // Linux takes a connection to 0.0.0.0 as one to loopback.
        IpAddr::V4(address) if address.is_unspecified() => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, to.port()))),
        IpAddr::V4(_) => Ok(to),
        IpAddr::V6(_) => Err(io::ErrorKind::NetworkUnreachable.into()),
    }
}

/// The end that the opener of `flow` gets. When its pod has just been closed,
/// the flow is reset for the other end as well.
fn client_end(source: Source, flow: Arc<Flow>, to: SocketAddr) -> io::Result<Connection> {
    let Source { local, client: _, pod } = source;
    let Some((slot, lease)) = pod else { return Ok(Connection::new(flow, Side::Client, local, to, None)) };
    let pod = lease.pod.clone();
    match pod.register(&flow, Side::Client, local, to, slot, Some(lease)) {
        Ok(guard) => Ok(Connection::new(flow, Side::Client, local, to, Some(guard))),
        Err(error) => {
            flow.reset();
            Err(error)
        }
    }
}
