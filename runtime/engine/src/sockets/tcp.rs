//! `wasi:sockets/tcp` and `tcp-create-socket`: the state of a guest's socket.
//!
//! ```text
//! Unbound ── bind ─▶ Binding ─▶ Bound ── listen ─▶ Starting ─▶ Listening ── accept ─▶ (a Connected one)
//!    └────────── connect ────────┴─▶ Connecting ─▶ Connected
//!                                        └───────▶ Closed
//! ```
//!
//! Binding and listening happen in the `start` call; the `finish` call only says
//! so. Connecting is a stored future, because services, rules and the way out
//! may have to wait.

use super::{
    NetCtx,
    bindings::wasi::sockets::{tcp, tcp_create_socket},
    check_family, failed, no_wait,
    options::{TcpOptions, not_zero},
    remote,
    streams::{Incoming, Outgoing},
    unicast,
};
use std::{
    future::{Future, poll_fn},
    io, mem,
    net::{Shutdown, SocketAddr},
    pin::Pin,
    task::{Context, Poll, ready},
};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, Pollable, SocketResult,
    bindings::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Network},
    subscribe,
};
use wk_network::{BACKLOG_MAX, Connect, Connection, Control, TcpListener};

/// Connections that may wait for `accept` unless the guest says otherwise (what
/// Rust's standard library asks for).
const BACKLOG: usize = 128;

/// A guest's TCP socket.
pub struct TcpSocket {
    state: State,
    options: TcpOptions,
    backlog: usize,
}

enum State {
    Unbound(wk_network::TcpSocket),
    Binding(wk_network::TcpSocket),
    Bound(wk_network::TcpSocket),
    Starting(TcpListener),
    Listening(TcpListener),
    Connecting(Attempt),
    Connected(Control),
    /// A failed connect, or a state being replaced.
    Closed,
}

/// A connect under way; the pollable may finish it before the guest asks.
enum Attempt {
    Waiting(Connect),
    Done(io::Result<Connection>),
}

impl Attempt {
    fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Waiting(connect) = self {
            *self = Self::Done(ready!(Pin::new(connect).poll(cx)));
        }
        Poll::Ready(())
    }
}

impl TcpSocket {
    fn new(state: State, options: TcpOptions) -> Self {
        Self { state, options, backlog: BACKLOG }
    }

    fn take(&mut self) -> State {
        mem::replace(&mut self.state, State::Closed)
    }

    fn start_bind(&mut self, address: SocketAddr) -> SocketResult<()> {
        match self.take() {
            State::Unbound(mut socket) => {
                // A failed bind may be tried again.
                let bound = socket.bind(address).map(drop).map_err(failed);
                self.state = if bound.is_ok() { State::Binding(socket) } else { State::Unbound(socket) };
                bound
            }
            other => self.refuse(other),
        }
    }

    fn finish_bind(&mut self) -> SocketResult<()> {
        match self.take() {
            State::Binding(socket) => {
                self.state = State::Bound(socket);
                Ok(())
            }
            other => self.not_in_progress(other),
        }
    }

    fn start_connect(&mut self, to: SocketAddr) -> SocketResult<()> {
        match self.take() {
            State::Unbound(socket) | State::Bound(socket) => {
                self.state = State::Connecting(Attempt::Waiting(socket.connect(to)));
                Ok(())
            }
            other => self.refuse(other),
        }
    }

    /// The connection; a failure leaves the socket closed, as the WIT says.
    fn finish_connect(&mut self) -> SocketResult<Connection> {
        match self.take() {
            State::Connecting(mut attempt) => {
                if attempt.poll_done(&mut no_wait()).is_pending() {
                    self.state = State::Connecting(attempt);
                    return Err(ErrorCode::WouldBlock.into());
                }
                let Attempt::Done(result) = attempt else { return Err(ErrorCode::Unknown.into()) };
                let connection = result.map_err(failed)?;
                self.state = State::Connected(connection.control());
                Ok(connection)
            }
            other => self.not_in_progress(other),
        }
    }

    fn start_listen(&mut self) -> SocketResult<()> {
        match self.take() {
            State::Bound(socket) => {
                self.state = State::Starting(socket.listen(self.backlog).map_err(failed)?);
                Ok(())
            }
            other => self.refuse(other),
        }
    }

    fn finish_listen(&mut self) -> SocketResult<()> {
        match self.take() {
            State::Starting(listener) => {
                self.state = State::Listening(listener);
                Ok(())
            }
            other => self.not_in_progress(other),
        }
    }

    fn accept(&mut self) -> SocketResult<(Self, Connection)> {
        let State::Listening(listener) = &mut self.state else { return Err(ErrorCode::InvalidState.into()) };
        let connection = listener.try_accept().map_err(failed)?;
        Ok((Self::new(State::Connected(connection.control()), self.options.clone()), connection))
    }

    fn local_addr(&self) -> SocketResult<SocketAddr> {
        match &self.state {
            State::Binding(socket) | State::Bound(socket) => {
                socket.local_addr().ok_or_else(|| ErrorCode::InvalidState.into())
            }
            State::Starting(listener) | State::Listening(listener) => Ok(listener.local_addr()),
            State::Connected(control) => Ok(control.local_addr()),
            State::Unbound(_) | State::Connecting(_) | State::Closed => Err(ErrorCode::InvalidState.into()),
        }
    }

    fn set_backlog(&mut self, size: u64) -> SocketResult<()> {
        self.backlog = usize::try_from(not_zero(size)?).unwrap_or(usize::MAX).min(BACKLOG_MAX);
        match &mut self.state {
            State::Unbound(_) | State::Binding(_) | State::Bound(_) => Ok(()),
            State::Starting(listener) | State::Listening(listener) => {
                listener.set_backlog(self.backlog);
                Ok(())
            }
            State::Connecting(_) | State::Connected(_) | State::Closed => Err(ErrorCode::InvalidState.into()),
        }
    }

    fn connected(&self) -> SocketResult<&Control> {
        match &self.state {
            State::Connected(control) => Ok(control),
            _ => Err(ErrorCode::InvalidState.into()),
        }
    }

    /// Puts `state` back: the call does not fit it.
    fn refuse<T>(&mut self, state: State) -> SocketResult<T> {
        let busy = matches!(state, State::Binding(_) | State::Starting(_) | State::Connecting(_));
        self.state = state;
        Err(if busy { ErrorCode::ConcurrencyConflict } else { ErrorCode::InvalidState }.into())
    }

    /// Puts `state` back: there is nothing to finish.
    fn not_in_progress<T>(&mut self, state: State) -> SocketResult<T> {
        self.state = state;
        Err(ErrorCode::NotInProgress.into())
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Connecting(attempt) => attempt.poll_done(cx),
            State::Listening(listener) => listener.poll_acceptable(cx),
            State::Unbound(_)
            | State::Binding(_)
            | State::Bound(_)
            | State::Starting(_)
            | State::Connected(_)
            | State::Closed => Poll::Ready(()),
        }
    }
}

#[async_trait::async_trait]
impl Pollable for TcpSocket {
    async fn ready(&mut self) {
        poll_fn(|cx| self.poll_ready(cx)).await;
    }
}

/// What a guest reads and writes through.
type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);

impl NetCtx<'_> {
    /// The streams of a connection, as children of its socket: they must be
    /// dropped first.
    fn streams(&mut self, socket: &Resource<TcpSocket>, connection: Connection) -> SocketResult<Streams> {
        let (reader, writer) = connection.split();
        let incoming: DynInputStream = Box::new(Incoming(reader));
        let outgoing: DynOutputStream = Box::new(Outgoing(writer));
        Ok((self.table.push_child(incoming, socket)?, self.table.push_child(outgoing, socket)?))
    }

    fn tcp(&mut self, socket: &Resource<TcpSocket>) -> SocketResult<&mut TcpSocket> {
        Ok(self.table.get_mut(socket)?)
    }

    /// # Errors
    /// `invalid-state` for a socket that a failed connect has closed.
    fn tcp_options(&mut self, socket: &Resource<TcpSocket>) -> SocketResult<&mut TcpOptions> {
        match self.table.get_mut(socket)? {
            TcpSocket { state: State::Closed, .. } => Err(ErrorCode::InvalidState.into()),
            TcpSocket { options, .. } => Ok(options),
        }
    }
}

impl tcp_create_socket::Host for NetCtx<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        check_family(family)?;
        let socket = self.pod.tcp_socket().map_err(failed)?;
        Ok(self.table.push(TcpSocket::new(State::Unbound(socket), TcpOptions::default()))?)
    }
}

impl tcp::Host for NetCtx<'_> {}

impl tcp::HostTcpSocket for NetCtx<'_> {
    fn start_bind(
        &mut self,
        socket: Resource<TcpSocket>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.table.get(&network)?;
        let address = unicast(address)?;
        self.tcp(&socket)?.start_bind(address)
    }

    fn finish_bind(&mut self, socket: Resource<TcpSocket>) -> SocketResult<()> {
        self.tcp(&socket)?.finish_bind()
    }

    fn start_connect(
        &mut self,
        socket: Resource<TcpSocket>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.table.get(&network)?;
        let address = remote(address)?;
        self.tcp(&socket)?.start_connect(address)
    }

    fn finish_connect(&mut self, socket: Resource<TcpSocket>) -> SocketResult<Streams> {
        let connection = self.tcp(&socket)?.finish_connect()?;
        self.streams(&socket, connection)
    }

    fn start_listen(&mut self, socket: Resource<TcpSocket>) -> SocketResult<()> {
        self.tcp(&socket)?.start_listen()
    }

    fn finish_listen(&mut self, socket: Resource<TcpSocket>) -> SocketResult<()> {
        self.tcp(&socket)?.finish_listen()
    }

    fn accept(
        &mut self,
        socket: Resource<TcpSocket>,
    ) -> SocketResult<(Resource<TcpSocket>, Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let (accepted, connection) = self.tcp(&socket)?.accept()?;
        let accepted = self.table.push(accepted)?;
        let (incoming, outgoing) = self.streams(&accepted, connection)?;
        Ok((accepted, incoming, outgoing))
    }

    fn local_address(&mut self, socket: Resource<TcpSocket>) -> SocketResult<IpSocketAddress> {
        Ok(self.tcp(&socket)?.local_addr()?.into())
    }

    fn remote_address(&mut self, socket: Resource<TcpSocket>) -> SocketResult<IpSocketAddress> {
        Ok(self.tcp(&socket)?.connected()?.peer_addr().into())
    }

    fn is_listening(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<bool> {
        Ok(matches!(self.table.get(&socket)?.state, State::Listening(_)))
    }

    fn address_family(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<IpAddressFamily> {
        self.table.get(&socket)?;
        Ok(IpAddressFamily::Ipv4)
    }

    fn set_listen_backlog_size(&mut self, socket: Resource<TcpSocket>, size: u64) -> SocketResult<()> {
        self.tcp(&socket)?.set_backlog(size)
    }

    fn keep_alive_enabled(&mut self, socket: Resource<TcpSocket>) -> SocketResult<bool> {
        Ok(self.tcp_options(&socket)?.keep_alive)
    }

    fn set_keep_alive_enabled(&mut self, socket: Resource<TcpSocket>, value: bool) -> SocketResult<()> {
        self.tcp_options(&socket)?.keep_alive = value;
        Ok(())
    }

    fn keep_alive_idle_time(&mut self, socket: Resource<TcpSocket>) -> SocketResult<u64> {
        Ok(self.tcp_options(&socket)?.keep_alive_idle_nanos)
    }

    fn set_keep_alive_idle_time(&mut self, socket: Resource<TcpSocket>, value: u64) -> SocketResult<()> {
        self.tcp_options(&socket)?.keep_alive_idle_nanos = not_zero(value)?;
        Ok(())
    }

    fn keep_alive_interval(&mut self, socket: Resource<TcpSocket>) -> SocketResult<u64> {
        Ok(self.tcp_options(&socket)?.keep_alive_interval_nanos)
    }

    fn set_keep_alive_interval(&mut self, socket: Resource<TcpSocket>, value: u64) -> SocketResult<()> {
        self.tcp_options(&socket)?.keep_alive_interval_nanos = not_zero(value)?;
        Ok(())
    }

    fn keep_alive_count(&mut self, socket: Resource<TcpSocket>) -> SocketResult<u32> {
        Ok(self.tcp_options(&socket)?.keep_alive_count)
    }

    fn set_keep_alive_count(&mut self, socket: Resource<TcpSocket>, value: u32) -> SocketResult<()> {
        self.tcp_options(&socket)?.keep_alive_count = not_zero(value)?;
        Ok(())
    }

    fn hop_limit(&mut self, socket: Resource<TcpSocket>) -> SocketResult<u8> {
        Ok(self.tcp_options(&socket)?.hop_limit)
    }

    fn set_hop_limit(&mut self, socket: Resource<TcpSocket>, value: u8) -> SocketResult<()> {
        self.tcp_options(&socket)?.hop_limit = not_zero(value)?;
        Ok(())
    }

    fn receive_buffer_size(&mut self, socket: Resource<TcpSocket>) -> SocketResult<u64> {
        Ok(self.tcp_options(&socket)?.receive_bytes)
    }

    fn set_receive_buffer_size(&mut self, socket: Resource<TcpSocket>, value: u64) -> SocketResult<()> {
        self.tcp_options(&socket)?.receive_bytes = not_zero(value)?;
        Ok(())
    }

    fn send_buffer_size(&mut self, socket: Resource<TcpSocket>) -> SocketResult<u64> {
        Ok(self.tcp_options(&socket)?.send_bytes)
    }

    fn set_send_buffer_size(&mut self, socket: Resource<TcpSocket>, value: u64) -> SocketResult<()> {
        self.tcp_options(&socket)?.send_bytes = not_zero(value)?;
        Ok(())
    }

    fn subscribe(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, socket)
    }

    fn shutdown(&mut self, socket: Resource<TcpSocket>, how: tcp::ShutdownType) -> SocketResult<()> {
        let how = match how {
            tcp::ShutdownType::Receive => Shutdown::Read,
            tcp::ShutdownType::Send => Shutdown::Write,
            tcp::ShutdownType::Both => Shutdown::Both,
        };
        self.tcp(&socket)?.connected()?.shutdown(how);
        Ok(())
    }

    fn drop(&mut self, socket: Resource<TcpSocket>) -> wasmtime::Result<()> {
        self.table.delete(socket)?;
        Ok(())
    }
}
