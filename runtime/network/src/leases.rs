//! What an end of a flow holds of its pod, given back when it is dropped: a
//! socket, a port, a place in the list of open flows. Taken by `pod.rs`,
//! `tcp.rs` and `switch.rs`.

use crate::{Network, pod::Pod, ports::Scope};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

/// One of the sockets a pod may have.
pub(crate) struct SocketSlot {
    pod: Arc<Pod>,
}

impl SocketSlot {
    /// # Errors
    /// `QuotaExceeded` at the pod's limit.
    pub fn take(pod: &Arc<Pod>) -> io::Result<Self> {
        let below = |count| (count < pod.sockets_max).then_some(count + 1);
        pod.sockets
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, below)
            .map_err(|_| io::Error::from(io::ErrorKind::QuotaExceeded))?;
        Ok(Self { pod: pod.clone() })
    }
}

impl Drop for SocketSlot {
    fn drop(&mut self) {
        self.pod.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A TCP port held until dropped.
pub(crate) struct PortLease {
    pub pod: Arc<Pod>,
    pub scope: Scope,
    pub port: u16,
}

impl PortLease {
    /// Holds `port`, or any when it is 0.
    ///
    /// # Errors
    /// `AddrInUse`, `NetworkDown`.
    pub fn take(pod: &Arc<Pod>, scope: Scope, port: u16) -> io::Result<Self> {
        pod.check_open()?;
        let port = pod.tcp.lock().hold(scope, port)?;
        Ok(Self { pod: pod.clone(), scope, port })
    }

    /// The address as a program asking for its own sees it.
    pub fn local_addr(&self) -> SocketAddr {
        self.pod.local_addr(self.scope, self.port)
    }
}

impl Drop for PortLease {
    fn drop(&mut self) {
        let backlog = self.pod.tcp.lock().release(self.scope, self.port);
        if let Some(backlog) = backlog {
            self.pod.unsettle();
            backlog.abort();
        }
    }
}

/// What a pod's end of a flow holds: registration, socket, port.
pub(crate) struct FlowGuard {
    pod: Arc<Pod>,
    id: u64,
    _slot: SocketSlot,
    _port: Option<PortLease>,
}

impl FlowGuard {
    pub fn new(pod: Arc<Pod>, id: u64, slot: SocketSlot, port: Option<PortLease>) -> Self {
        Self { pod, id, _slot: slot, _port: port }
    }

    /// The network of its pod.
    pub fn network(&self) -> Network {
        self.pod.network.clone()
    }
}

impl Drop for FlowGuard {
    fn drop(&mut self) {
        let open = self.pod.flows.lock().open.remove(&self.id);
        drop(open); // outside the lock: it may be the last owner of queued bytes
    }
}
