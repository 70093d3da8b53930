//! TCP sockets of a pod before they are connections: unbound, bound, listening.
//!
//! Used by guests through `wasi:sockets` and by tests directly. The shape is
//! tokio's `TcpSocket`: a socket turns into a listener or a connection and is
//! gone. It opens no flows: `switch.rs` does.

use crate::{
    connection::Connection,
    leases::{PortLease, SocketSlot},
    pod::{Pod, User},
};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

/// Connections that may wait to be accepted, whatever a program asks for
/// (Linux's `somaxconn`). One more is refused.
pub const BACKLOG_MAX: usize = 4096;

/// A socket that is neither listening nor connected.
pub struct TcpSocket {
    pub(crate) pod: Arc<Pod>,
    user: User,
    pub(crate) slot: SocketSlot,
    pub(crate) bound: Option<PortLease>,
}

impl TcpSocket {
    pub(crate) fn new(pod: &Arc<Pod>, user: User) -> io::Result<Self> {
        pod.check_open()?;
        Ok(Self { pod: pod.clone(), user, slot: SocketSlot::take(pod)?, bound: None })
    }

    /// Holds an address of the pod; port 0 is any free one. Gives what was
    /// bound.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable` when the address is not the pod's,
    /// `Unsupported` for IPv6, `InvalidInput` when it is already bound,
    /// `NetworkDown`.
    pub fn bind(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        if self.bound.is_some() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let lease = PortLease::take(&self.pod, self.pod.scope(address.ip())?, address.port())?;
        Ok(self.bound.insert(lease).local_addr())
    }

    /// What was bound, if anything.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.bound.as_ref().map(PortLease::local_addr)
    }

    /// Starts to receive connections, of which `backlog` (at least 1, at most
    /// [`BACKLOG_MAX`]) may wait to be accepted.
    ///
    /// # Errors
    /// `InvalidInput` when the socket is not bound, `NetworkDown`.
    pub fn listen(self, backlog: usize) -> io::Result<TcpListener> {
        let lease = self.bound.ok_or(io::ErrorKind::InvalidInput)?;
        let queue = Arc::new(Backlog::new(self.user, backlog.clamp(1, BACKLOG_MAX)));
        self.pod.tcp.lock().receive(lease.scope, lease.port, queue.clone());
        // After becoming visible: a pod that closes either saw the listener
        // and aborts it, or had set its flag before this looks.
        self.pod.check_open()?;
        self.pod.network.settle();
        Ok(TcpListener { queue, lease, _slot: self.slot })
    }
}

/// A listening socket. Dropping it resets what was not accepted.
pub struct TcpListener {
    queue: Arc<Backlog>,
    lease: PortLease,
    _slot: SocketSlot,
}

impl TcpListener {
    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.lease.local_addr()
    }

    /// The next connection, if one waits.
    ///
    /// # Errors
    /// `WouldBlock` (then [`TcpListener::poll_acceptable`]);
    /// `ConnectionAborted` when the pod stopped listening, for good.
    pub fn try_accept(&mut self) -> io::Result<Connection> {
        self.queue.pop()
    }

    /// Ready when [`TcpListener::try_accept`] would not give `WouldBlock`.
    /// Cancel safety: only the last waker is kept.
    pub fn poll_acceptable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.queue.poll_acceptable(cx)
    }

    /// Waits for the next connection. Cancel safety: nothing is lost.
    ///
    /// # Errors
    /// `ConnectionAborted` when the pod stopped listening.
    pub async fn accept(&mut self) -> io::Result<Connection> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        ready!(self.poll_acceptable(cx));
        Poll::Ready(self.try_accept())
    }

    /// Changes how many connections may wait.
    pub fn set_backlog(&mut self, backlog: usize) {
        self.queue.set_max(backlog.clamp(1, BACKLOG_MAX));
    }
}

/// Connections waiting to be accepted at one listener.
pub(crate) struct Backlog {
    /// Who listens.
    pub user: User,
    state: Mutex<State>,
}

struct State {
    waiting: VecDeque<Connection>,
    max: usize,
    aborted: bool,
    acceptor: Option<Waker>,
}

impl Backlog {
    fn new(user: User, max: usize) -> Self {
        let state = State { waiting: VecDeque::new(), max, aborted: false, acceptor: None };
        Self { user, state: Mutex::new(state) }
    }

    /// Queues a connection, which is made only when there is room and somebody
    /// to accept it. Whether it was.
    pub fn push_with(&self, connection: impl FnOnce() -> Connection) -> bool {
        let mut state = self.state.lock();
        if state.aborted || state.waiting.len() >= state.max {
            return false;
        }
        state.waiting.push_back(connection());
        let acceptor = state.acceptor.take();
        drop(state);
        wake(acceptor);
        true
    }

    /// Whether nothing comes in any more.
    pub fn is_closed(&self) -> bool {
        self.state.lock().aborted
    }

    fn pop(&self) -> io::Result<Connection> {
        let mut state = self.state.lock();
        match state.waiting.pop_front() {
            Some(connection) => Ok(connection),
            None if state.aborted => Err(io::ErrorKind::ConnectionAborted.into()),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn poll_acceptable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.aborted || !state.waiting.is_empty() {
            return Poll::Ready(());
        }
        state.acceptor = Some(cx.waker().clone());
        Poll::Pending
    }

    fn set_max(&self, max: usize) {
        self.state.lock().max = max;
    }

    /// How many connections wait.
    pub fn len(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Lets nothing more in. What waits and came through a service goes to
    /// another of its backends; the rest may still be accepted. Gives the
    /// acceptor, to be woken.
    pub fn close(&self) -> Option<Waker> {
        let mut state = self.state.lock();
        state.aborted = true;
        let waiting = std::mem::take(&mut state.waiting);
        let (movable, rest): (VecDeque<_>, VecDeque<_>) = waiting.into_iter().partition(|waiting| waiting.is_movable());
        state.waiting = rest;
        let acceptor = state.acceptor.take();
        drop(state);
        drop(movable); // outside the lock: each asks whether this is closed
        acceptor
    }

    /// Lets nothing more in and nothing more be accepted: what waits goes to
    /// another backend or is reset.
    pub fn abort(&self) {
        wake(self.close());
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        waiting.into_iter().for_each(Connection::reset);
    }
}

/// Wakes outside the lock.
pub(crate) fn wake(acceptor: Option<Waker>) {
    if let Some(acceptor) = acceptor {
        acceptor.wake();
    }
}
