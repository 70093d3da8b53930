//! `wasi:sockets/udp` and `udp-create-socket`: a guest's UDP socket and its two
//! streams.
//!
//! All three share one socket of the pod. Sending never waits (what does not fit
//! is lost, as on a wire), so only receiving has a pollable that ever sleeps.

use super::{
    NetCtx,
    bindings::wasi::sockets::{udp, udp_create_socket},
    check_family, failed,
    options::{HOP_LIMIT, not_zero},
    remote, unicast,
};
use std::{future::poll_fn, io, net::SocketAddr};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{
    DynPollable, Pollable, SocketError, SocketResult,
    bindings::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Network},
    subscribe,
};
use wk_network::DATAGRAM_BYTES_MAX;

/// Datagrams per call: bounds what one call copies (16 of 64 KiB).
const CALL_DATAGRAMS_MAX: usize = 16;

/// What programs see as the size of the buffers.
const BUFFER_BYTES: u64 = 256 * 1024;

/// A guest's UDP socket.
pub struct UdpSocket {
    socket: wk_network::UdpSocket,
    /// Bound, and `finish-bind` not yet called.
    binding: bool,
    remote: Option<SocketAddr>,
    hop_limit: u8,
    receive_bytes: u64,
    send_bytes: u64,
}

/// What a guest receives: from `remote` only, if there is one.
pub struct IncomingDatagrams {
    socket: wk_network::UdpSocket,
    remote: Option<SocketAddr>,
}

/// What a guest sends: to `remote` only, if there is one.
pub struct OutgoingDatagrams {
    socket: wk_network::UdpSocket,
    remote: Option<SocketAddr>,
    /// What the last `check-send` allowed.
    permitted: usize,
}

#[async_trait::async_trait]
impl Pollable for UdpSocket {
    async fn ready(&mut self) {}
}

#[async_trait::async_trait]
impl Pollable for IncomingDatagrams {
    async fn ready(&mut self) {
        poll_fn(|cx| self.socket.poll_readable(cx)).await;
    }
}

#[async_trait::async_trait]
impl Pollable for OutgoingDatagrams {
    async fn ready(&mut self) {}
}

impl IncomingDatagrams {
    /// Up to `count_max` datagrams; those of other senders are thrown away.
    fn receive(&self, count_max: usize) -> SocketResult<Vec<udp::IncomingDatagram>> {
        let mut received = Vec::new();
        while received.len() < count_max {
            match self.socket.try_recv() {
                Ok(datagram) if self.remote.is_some_and(|remote| remote != datagram.from) => {}
                Ok(datagram) => received
                    .push(udp::IncomingDatagram { data: datagram.data.into(), remote_address: datagram.from.into() }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) if !received.is_empty() => break,
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(received)
    }
}

impl OutgoingDatagrams {
    fn send(&self, datagram: udp::OutgoingDatagram) -> SocketResult<()> {
        if datagram.data.len() > DATAGRAM_BYTES_MAX {
            return Err(ErrorCode::DatagramTooLarge.into());
        }
        let to = match (datagram.remote_address.map(remote).transpose()?, self.remote) {
            (Some(to), None) | (None, Some(to)) => to,
            (Some(to), Some(remote)) if to == remote => to,
            (Some(_), Some(_)) | (None, None) => return Err(ErrorCode::InvalidArgument.into()),
        };
        self.socket.send_to(datagram.data.into(), to).map_err(failed)
    }
}

impl NetCtx<'_> {
    fn udp(&mut self, socket: &Resource<UdpSocket>) -> SocketResult<&mut UdpSocket> {
        Ok(self.table.get_mut(socket)?)
    }

    fn has_streams(&self, socket: &Resource<UdpSocket>) -> SocketResult<bool> {
        let mut children = self.table.iter_children(socket)?;
        Ok(children.any(|child| child.is::<IncomingDatagrams>() || child.is::<OutgoingDatagrams>()))
    }
}

impl udp_create_socket::Host for NetCtx<'_> {
    fn create_udp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<UdpSocket>> {
        check_family(family)?;
        let socket = self.pod.udp_socket().map_err(failed)?;
        Ok(self.table.push(UdpSocket {
            socket,
            binding: false,
            remote: None,
            hop_limit: HOP_LIMIT,
            receive_bytes: BUFFER_BYTES,
            send_bytes: BUFFER_BYTES,
        })?)
    }
}

impl udp::Host for NetCtx<'_> {}

impl udp::HostUdpSocket for NetCtx<'_> {
    fn start_bind(
        &mut self,
        socket: Resource<UdpSocket>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.table.get(&network)?;
        let address = unicast(address)?;
        let socket = self.udp(&socket)?;
        if socket.binding {
            return Err(ErrorCode::ConcurrencyConflict.into());
        }
        if socket.socket.local_addr().is_some() {
            return Err(ErrorCode::InvalidState.into());
        }
        socket.socket.bind(address).map_err(failed)?;
        socket.binding = true;
        Ok(())
    }

    fn finish_bind(&mut self, socket: Resource<UdpSocket>) -> SocketResult<()> {
        match std::mem::take(&mut self.udp(&socket)?.binding) {
            true => Ok(()),
            false => Err(ErrorCode::NotInProgress.into()),
        }
    }

    fn stream(
        &mut self,
        socket: Resource<UdpSocket>,
        peer: Option<IpSocketAddress>,
    ) -> SocketResult<(Resource<IncomingDatagrams>, Resource<OutgoingDatagrams>)> {
        if self.has_streams(&socket)? {
            return Err(SocketError::trap(wasmtime::format_err!("the streams of a socket before were not dropped")));
        }
        let peer = peer.map(remote).transpose()?;
        let parent = self.udp(&socket)?;
        if parent.binding || parent.socket.local_addr().is_none() {
            return Err(ErrorCode::InvalidState.into());
        }
        parent.remote = peer;
        let shared = parent.socket.clone();
        let incoming = IncomingDatagrams { socket: shared.clone(), remote: peer };
        let outgoing = OutgoingDatagrams { socket: shared, remote: peer, permitted: 0 };
        Ok((self.table.push_child(incoming, &socket)?, self.table.push_child(outgoing, &socket)?))
    }

    fn local_address(&mut self, socket: Resource<UdpSocket>) -> SocketResult<IpSocketAddress> {
        let local = self.udp(&socket)?.socket.local_addr();
        local.map(Into::into).ok_or_else(|| ErrorCode::InvalidState.into())
    }

    fn remote_address(&mut self, socket: Resource<UdpSocket>) -> SocketResult<IpSocketAddress> {
        self.udp(&socket)?.remote.map(Into::into).ok_or_else(|| ErrorCode::InvalidState.into())
    }

    fn address_family(&mut self, socket: Resource<UdpSocket>) -> wasmtime::Result<IpAddressFamily> {
        self.table.get(&socket)?;
        Ok(IpAddressFamily::Ipv4)
    }

    fn unicast_hop_limit(&mut self, socket: Resource<UdpSocket>) -> SocketResult<u8> {
        Ok(self.udp(&socket)?.hop_limit)
    }

    fn set_unicast_hop_limit(&mut self, socket: Resource<UdpSocket>, value: u8) -> SocketResult<()> {
        self.udp(&socket)?.hop_limit = not_zero(value)?;
        Ok(())
    }

    fn receive_buffer_size(&mut self, socket: Resource<UdpSocket>) -> SocketResult<u64> {
        Ok(self.udp(&socket)?.receive_bytes)
    }

    fn set_receive_buffer_size(&mut self, socket: Resource<UdpSocket>, value: u64) -> SocketResult<()> {
        self.udp(&socket)?.receive_bytes = not_zero(value)?;
        Ok(())
    }

    fn send_buffer_size(&mut self, socket: Resource<UdpSocket>) -> SocketResult<u64> {
        Ok(self.udp(&socket)?.send_bytes)
    }

    fn set_send_buffer_size(&mut self, socket: Resource<UdpSocket>, value: u64) -> SocketResult<()> {
        self.udp(&socket)?.send_bytes = not_zero(value)?;
        Ok(())
    }

    fn subscribe(&mut self, socket: Resource<UdpSocket>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, socket)
    }

    fn drop(&mut self, socket: Resource<UdpSocket>) -> wasmtime::Result<()> {
        self.table.delete(socket)?;
        Ok(())
    }
}

impl udp::HostIncomingDatagramStream for NetCtx<'_> {
    fn receive(
        &mut self,
        stream: Resource<IncomingDatagrams>,
        count_max: u64,
    ) -> SocketResult<Vec<udp::IncomingDatagram>> {
        let count_max = usize::try_from(count_max).unwrap_or(usize::MAX).min(CALL_DATAGRAMS_MAX);
        self.table.get(&stream)?.receive(count_max)
    }

    fn subscribe(&mut self, stream: Resource<IncomingDatagrams>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, stream)
    }

    fn drop(&mut self, stream: Resource<IncomingDatagrams>) -> wasmtime::Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}

impl udp::HostOutgoingDatagramStream for NetCtx<'_> {
    fn check_send(&mut self, stream: Resource<OutgoingDatagrams>) -> SocketResult<u64> {
        self.table.get_mut(&stream)?.permitted = CALL_DATAGRAMS_MAX;
        Ok(CALL_DATAGRAMS_MAX as u64)
    }

    fn send(
        &mut self,
        stream: Resource<OutgoingDatagrams>,
        datagrams: Vec<udp::OutgoingDatagram>,
    ) -> SocketResult<u64> {
        let stream = self.table.get_mut(&stream)?;
        if datagrams.is_empty() {
            return Ok(0);
        }
        if datagrams.len() > std::mem::take(&mut stream.permitted) {
            return Err(SocketError::trap(wasmtime::format_err!("more datagrams than check-send permitted")));
        }
        let mut sent = 0;
        for datagram in datagrams {
            match stream.send(datagram) {
                Ok(()) => sent += 1,
                // The WIT: no error once one was sent.
                Err(_) if sent > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    fn subscribe(&mut self, stream: Resource<OutgoingDatagrams>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, stream)
    }

    fn drop(&mut self, stream: Resource<OutgoingDatagrams>) -> wasmtime::Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}
