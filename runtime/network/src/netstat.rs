//! Who listens and who is connected: for people and tests.
//!
//! A snapshot per pod, not one instant of the whole network.

use crate::{
    Network, PodPort,
    pod::{OpenFlow, Pod},
    services::Protocol,
};
use std::net::SocketAddr;

/// One socket of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketInfo {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Its own address.
    pub local: SocketAddr,
    /// What it does.
    pub state: SocketState,
}

/// What a socket does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SocketState {
    /// It waits for connections.
    Listening {
        /// Connections not yet accepted.
        waiting: usize,
    },
    /// It waits for datagrams.
    Bound {
        /// Bytes received and not yet read by the pod.
        received_bytes: usize,
    },
    /// It has a peer.
    Connected {
        /// As this end sees it.
        peer: SocketAddr,
        /// Bytes received and not yet read by the pod.
        received_bytes: usize,
        /// Bytes sent and not yet read by the peer.
        sent_bytes: usize,
    },
}

impl PodPort {
    /// This pod's sockets, sorted.
    pub fn sockets(&self) -> Vec<SocketInfo> {
        let mut sockets = of_pod(self.pod());
        sockets.sort();
        sockets
    }
}

impl Network {
    /// The sockets of every pod, sorted within each.
    pub fn sockets(&self) -> Vec<SocketInfo> {
        let pods: Vec<_> = self.shared.pods.read().values().cloned().collect();
        let mut sockets: Vec<_> = pods.iter().flat_map(|pod| of_pod(pod)).collect();
        sockets.sort();
        sockets
    }
}

fn of_pod(pod: &Pod) -> Vec<SocketInfo> {
    let listening = |(scope, port, waiting)| SocketInfo {
        protocol: Protocol::Tcp,
        local: pod.local_addr(scope, port),
        state: SocketState::Listening { waiting },
    };
    let bound = |(scope, port, received_bytes)| SocketInfo {
        protocol: Protocol::Udp,
        local: pod.local_addr(scope, port),
        state: SocketState::Bound { received_bytes },
    };
    let listening = pod.listeners().into_iter().map(listening);
    let mut sockets: Vec<_> = listening.chain(pod.inboxes().into_iter().map(bound)).collect();
    pod.each_flow(|flow| sockets.push(of_flow(flow)));
    sockets
}

fn of_flow(open: &OpenFlow) -> SocketInfo {
    let received_bytes = open.flow.incoming(open.side).queued();
    let sent_bytes = open.flow.outgoing(open.side).queued();
    let state = SocketState::Connected { peer: open.peer, received_bytes, sent_bytes };
    SocketInfo { protocol: Protocol::Tcp, local: open.local, state }
}
