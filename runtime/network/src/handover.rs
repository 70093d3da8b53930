//! Connections to services while their pods come and go: none is lost that no
//! server has touched.
//!
//! A pod is asked to stop at once, and services hear of it some milliseconds
//! later; a connection between the two finds a closed listener. Packets would be
//! refused or reset there, which is why pods elsewhere sleep in `preStop`. Here
//! both ends are in one process, so `switch.rs` asks another backend, and a
//! connection that waited at the closed listener, or was accepted and then
//! dropped without a byte read or written, is joined to another backend, by
//! [`Network::hand_over`]. The client notices nothing. When all backends are
//! changing, both wait for the tables or for a listener, [`SETTLES`] at most.
//!
//! It never moves a connection that a server has read from or written to, nor
//! one to a pod's own address.

use crate::{
    Network,
    connection::Flow,
    rule::{PacketInfo, Verdict},
    services::{Client, Protocol},
    tcp::Backlog,
};
use parking_lot::Mutex;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

/// How far the tables of services may be behind the pods: a pod that changed
/// longer ago refuses for good. Writing a status and publishing a table takes
/// tens of milliseconds; a busy machine takes more.
pub(crate) const SETTLES: Duration = Duration::from_secs(2);

/// Connections that wait for a backend with no one to drive them; one more is
/// reset. A listener's whole backlog.
const ORPHANS_MAX: usize = crate::BACKLOG_MAX;

/// The service that sent a connection to a pod.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Via {
    pub client: Client,
    /// Its virtual address.
    pub to: SocketAddr,
}

/// How a server's end came in.
pub(crate) struct Inlet {
    via: Via,
    listener: Arc<Backlog>,
}

impl Inlet {
    pub fn new(via: Via, listener: Arc<Backlog>) -> Self {
        Self { via, listener }
    }

    /// Whether the listener takes no more.
    pub fn is_closed(&self) -> bool {
        self.listener.is_closed()
    }
}

/// A flow without a server.
pub(crate) struct Orphan {
    flow: Arc<Flow>,
    via: Via,
    from: SocketAddr,
    until: Instant,
}

impl Orphan {
    pub fn new(flow: Arc<Flow>, inlet: Inlet, from: SocketAddr) -> Self {
        Self { flow, via: inlet.via, from, until: Instant::now() + SETTLES }
    }
}

/// Those that wait for pods and tables to agree.
#[derive(Default)]
pub(crate) struct WaitingRoom {
    settled: Notify,
    orphans: Mutex<Vec<Orphan>>,
}

impl WaitingRoom {
    /// Ready at the next change of a table or listener after this call.
    pub fn settled(&self) -> Notified<'_> {
        self.settled.notified()
    }
}

impl Network {
    /// Says that a table has changed or that somebody listens.
    pub(crate) fn settle(&self) {
        let room = &self.shared.waiting_room;
        room.settled.notify_waiters();
        let orphans = std::mem::take(&mut *room.orphans.lock());
        orphans.into_iter().for_each(|orphan| self.hand_over(orphan));
    }

    /// Joins a flow that no server has touched to another backend of its
    /// service, now or when there is one.
    pub(crate) fn hand_over(&self, orphan: Orphan) {
        let room = &self.shared.waiting_room;
        // Held over the attempt: `settle` comes after it or finds the orphan.
        let mut orphans = room.orphans.lock();
        let Some(orphan) = self.place(orphan) else { return };
        let now = Instant::now();
        orphans.extract_if(.., |orphan| orphan.until <= now).for_each(|late| late.flow.reset());
        if orphans.len() < ORPHANS_MAX {
            orphans.push(orphan);
        } else {
            orphan.flow.reset();
        }
    }

    /// The orphan again when every backend refuses for now.
    fn place(&self, orphan: Orphan) -> Option<Orphan> {
        let Via { client, to } = orphan.via;
        let (mut tried, mut unsettled) = (Vec::new(), false);
        while let Ok(endpoint) = self.shared.services.route(Protocol::Tcp, client, to, &tried) {
            match self.admit_orphan(&orphan, endpoint) {
                Ok(()) => return None,
                Err(is_unsettled) => unsettled |= is_unsettled,
            }
            tried.push(endpoint);
        }
        if unsettled && Instant::now() < orphan.until {
            return Some(orphan);
        }
        orphan.flow.reset();
        None
    }

    /// # Errors
    /// Whether the refusal may be of the moment only.
    fn admit_orphan(&self, orphan: &Orphan, endpoint: SocketAddr) -> Result<(), bool> {
        let packet = PacketInfo { protocol: Protocol::Tcp, from: orphan.from, to: endpoint };
        if self.shared.rules.judge(&packet) != Verdict::Pass {
            return Err(false);
        }
        let Some(pod) = self.find(endpoint.ip()) else { return Err(self.is_inside(endpoint.ip())) };
        let admitted: io::Result<()> = pod.admit(&orphan.flow, orphan.from, endpoint, Some(orphan.via));
        admitted.map_err(|_| pod.is_unsettled())
    }
}

#[cfg(test)]
mod tests;
