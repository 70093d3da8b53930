//! UDP sockets of a pod: datagrams from inbox to inbox.
//!
//! Used by guests through `wasi:sockets`. Sending never waits: a full inbox
//! loses the datagram, as a full kernel buffer does. For a virtual address the
//! socket remembers which endpoint it was sent to, so that a conversation stays
//! with one endpoint and answers come from the address that was asked.

use crate::{
    Network,
    leases::SocketSlot,
    pod::Pod,
    ports::Scope,
    rule::{PacketInfo, Verdict},
    services::{Client, Protocol},
    switch::destination,
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, OnceLock},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::time::Instant;

/// The largest payload of UDP over IPv4.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;

/// Bytes an inbox holds, counting [`DATAGRAM_COST`] for each datagram (Linux's
/// default receive buffer is of this order). More are lost.
const INBOX_BYTES_MAX: usize = 256 * 1024;

/// What a datagram counts besides its payload, so that empty ones are bounded.
const DATAGRAM_COST: usize = 128;

/// Virtual addresses one socket talks to at a time; beyond that, the least
/// recently used conversation is forgotten.
const CONVERSATIONS_MAX: usize = 256;

/// A quiet conversation is forgotten after this long (Linux's conntrack keeps
/// an answered UDP stream for 120 s).
const CONVERSATION_TIMEOUT: Duration = Duration::from_secs(120);

/// A UDP socket. Clones are the same socket; the last one dropped closes it.
#[derive(Clone)]
pub struct UdpSocket {
    inner: Arc<Inner>,
}

struct Inner {
    pod: Arc<Pod>,
    bound: OnceLock<Bound>,
    conversations: Mutex<HashMap<SocketAddr, Conversation>>,
    _slot: SocketSlot,
}

struct Bound {
    scope: Scope,
    port: u16,
    inbox: Arc<Inbox>,
}

/// Which endpoint answers for a virtual address.
#[derive(Clone, Copy)]
struct Conversation {
    endpoint: SocketAddr,
    until: Instant,
}

/// A received datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The payload.
    pub data: Bytes,
    /// Who sent it: the virtual address, for an answer to one.
    pub from: SocketAddr,
}

impl UdpSocket {
    pub(crate) fn new(pod: &Arc<Pod>) -> io::Result<Self> {
        pod.check_open()?;
        let slot = SocketSlot::take(pod)?;
        let inner = Inner { pod: pod.clone(), bound: OnceLock::new(), conversations: Mutex::default(), _slot: slot };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Holds an address of the pod and starts to receive; port 0 is any free
    /// one. Gives what was bound.
    ///
    /// # Errors
    /// As `TcpSocket::bind`.
    pub fn bind(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        let Inner { pod, bound, .. } = &*self.inner;
        pod.check_open()?;
        let scope = pod.scope(address.ip())?;
        let mut ports = pod.udp.lock();
        if bound.get().is_some() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let port = ports.hold(scope, address.port())?;
        let inbox = Arc::new(Inbox::default());
        ports.receive(scope, port, inbox.clone());
        let bound = bound.get_or_init(|| Bound { scope, port, inbox });
        drop(ports);
        pod.check_open()?; // see `TcpSocket::listen`
        Ok(pod.local_addr(bound.scope, bound.port))
    }

    /// What was bound, if anything.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.inner.bound.get().map(|bound| self.inner.pod.local_addr(bound.scope, bound.port))
    }

    /// Sends a datagram, which arrives or is lost.
    ///
    /// # Errors
    /// `InvalidInput` when unbound, too large, to port 0, or from loopback to
    /// elsewhere; `NetworkUnreachable` for an address outside the cluster;
    /// `ConnectionRefused` for a service without endpoints; `NetworkDown`.
    pub fn send_to(&self, data: Bytes, to: SocketAddr) -> io::Result<()> {
        let pod = &self.inner.pod;
        pod.check_open()?;
        if data.len() > DATAGRAM_BYTES_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let to = destination(to)?;
        let from = self.source(to)?;
        let endpoint = self.endpoint(to)?;
        let packet = PacketInfo { protocol: Protocol::Udp, from, to: endpoint };
        match pod.network.shared.rules.judge(&packet) {
            Verdict::Pass | Verdict::Delay(_) => {
                pod.network.deliver_datagram(pod, Datagram { data, from }, to, endpoint)
            }
            Verdict::Drop => Ok(()),
        }
    }

    /// The next datagram, if one is there.
    ///
    /// # Errors
    /// `WouldBlock` (then [`UdpSocket::poll_readable`]), `InvalidInput` when
    /// unbound, `ConnectionAborted` when the pod was closed.
    pub fn try_recv(&self) -> io::Result<Datagram> {
        let mut datagram = self.bound()?.inbox.pop()?;
        datagram.from = self.asked(datagram.from);
        Ok(datagram)
    }

    /// Ready when [`UdpSocket::try_recv`] would not give `WouldBlock`. Cancel
    /// safety: only the last waker is kept, so one task receives.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.bound() {
            Ok(bound) => bound.inbox.poll_readable(cx),
            Err(_) => Poll::Ready(()),
        }
    }

    /// Waits for the next datagram. Cancel safety: nothing is lost.
    ///
    /// # Errors
    /// Those of [`UdpSocket::try_recv`] but `WouldBlock`.
    pub async fn recv(&self) -> io::Result<Datagram> {
        std::future::poll_fn(|cx| self.poll_readable(cx)).await;
        self.try_recv()
    }

    fn bound(&self) -> io::Result<&Bound> {
        self.inner.bound.get().ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    fn source(&self, to: SocketAddr) -> io::Result<SocketAddr> {
        let bound = self.bound()?;
        let address = match (to.ip().is_loopback(), bound.scope) {
            (true, Scope::Any | Scope::Loopback) => Ipv4Addr::LOCALHOST,
            (false, Scope::Any | Scope::Pod) => self.inner.pod.address,
            (true, Scope::Pod) | (false, Scope::Loopback) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        Ok(SocketAddr::from((address, bound.port)))
    }

    /// Where a datagram for `to` goes: for a virtual address the endpoint of
    /// the conversation, as long as the service still has it.
    fn endpoint(&self, to: SocketAddr) -> io::Result<SocketAddr> {
        let pod = &self.inner.pod;
        let services = &pod.network.shared.services;
        if !services.is_virtual(to.ip()) {
            return Ok(to);
        }
        let now = Instant::now();
        let mut conversations = self.inner.conversations.lock();
        let known = conversations.get(&to).filter(|known| known.until > now);
        let endpoint = match known.filter(|known| services.has_endpoint(Protocol::Udp, to, known.endpoint)) {
            Some(known) => known.endpoint,
            None => {
                let client = Client { address: pod.address, node: Some(pod.node) };
                services.route(Protocol::Udp, client, to, &[])?
            }
        };
        make_room(&mut conversations, to, now);
        conversations.insert(to, Conversation { endpoint, until: now + CONVERSATION_TIMEOUT });
        Ok(endpoint)
    }

    /// The address whose conversation `from` takes part in, else `from`.
    fn asked(&self, from: SocketAddr) -> SocketAddr {
        let now = Instant::now();
        let mut conversations = self.inner.conversations.lock();
        let conversation = conversations.iter_mut().find(|(_, known)| known.endpoint == from && known.until > now);
        conversation.map_or(from, |(asked, known)| {
            known.until = now + CONVERSATION_TIMEOUT;
            *asked
        })
    }
}

fn make_room(conversations: &mut HashMap<SocketAddr, Conversation>, to: SocketAddr, now: Instant) {
    if conversations.len() < CONVERSATIONS_MAX || conversations.contains_key(&to) {
        return;
    }
    conversations.retain(|_, known| known.until > now);
    let oldest = conversations.iter().min_by_key(|(_, known)| known.until).map(|(virtual_address, _)| *virtual_address);
    if let (CONVERSATIONS_MAX.., Some(oldest)) = (conversations.len(), oldest) {
        conversations.remove(&oldest);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(bound) = self.bound.get() {
            drop(self.pod.udp.lock().release(bound.scope, bound.port));
        }
    }
}

impl Network {
    /// Puts a datagram for `asked` into the inbox of `endpoint`, if there is one.
    /// As with connections, only who asks for loopback gets its own.
    fn deliver_datagram(
        &self,
        sender: &Arc<Pod>,
        datagram: Datagram,
        asked: SocketAddr,
        endpoint: SocketAddr,
    ) -> io::Result<()> {
        let pod = if asked.ip().is_loopback() { Some(sender.clone()) } else { self.find(endpoint.ip()) };
        match pod {
            Some(pod) => pod.receive_datagram(datagram, endpoint),
            None if self.is_inside(endpoint.ip()) => {} // lost, as on a wire
            None => return Err(io::ErrorKind::NetworkUnreachable.into()),
        }
        Ok(())
    }
}

impl Pod {
    fn receive_datagram(&self, datagram: Datagram, to: SocketAddr) {
        let scope = match to.ip() {
            IpAddr::V4(address) if address.is_loopback() => Scope::Loopback,
            _ => Scope::Pod,
        };
        let inbox = self.udp.lock().find(scope, to.port());
        if let Some(inbox) = inbox {
            inbox.push(datagram);
        }
    }
}

/// Received datagrams of one socket.
#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    datagrams: VecDeque<Datagram>,
    /// Payloads plus [`DATAGRAM_COST`] each.
    bytes: usize,
    aborted: bool,
    reader: Option<Waker>,
}

impl Inbox {
    fn push(&self, datagram: Datagram) {
        let mut state = self.state.lock();
        let cost = datagram.data.len() + DATAGRAM_COST;
        if state.aborted || state.bytes + cost > INBOX_BYTES_MAX {
            return;
        }
        state.bytes += cost;
        state.datagrams.push_back(datagram);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn pop(&self) -> io::Result<Datagram> {
        let mut state = self.state.lock();
        match state.datagrams.pop_front() {
            Some(datagram) => {
                state.bytes -= datagram.data.len() + DATAGRAM_COST;
                Ok(datagram)
            }
            None if state.aborted => Err(io::ErrorKind::ConnectionAborted.into()),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.aborted || !state.datagrams.is_empty() {
            return Poll::Ready(());
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Payload bytes and datagrams that wait.
    pub fn queued_bytes(&self) -> usize {
        let state = self.state.lock();
        state.bytes - state.datagrams.len() * DATAGRAM_COST
    }

    /// Wakes the reader for the last time.
    pub fn abort(&self) {
        let mut state = self.state.lock();
        state.aborted = true;
        state.bytes = 0;
        let (lost, reader) = (std::mem::take(&mut state.datagrams), state.reader.take());
        drop(state);
        drop(lost);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

#[cfg(test)]
mod tests;
