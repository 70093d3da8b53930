//! `wasi:sockets` 0.2 over the pod network.
//!
//! wasmtime's own sockets are the operating system's and cannot be redirected,
//! so these are interfaces of ours with the same names, put over the stock ones
//! in the linker. Called by `linker.rs`; calls `wk-network` and nothing else: a
//! guest has no way to the host's sockets. All calls are non-blocking; waiting is
//! done by pollables.
//!
//! Reading order: [`bindings`], [`tcp`], `options`, `streams`, [`udp`], [`lookup`].
//!
//! Deliberately not here: IPv6, which answers `not-supported`.

pub mod bindings;
pub mod lookup;
mod options;
mod streams;
pub mod tcp;
pub mod udp;

use bindings::wasi::sockets::{
    ip_name_lookup, tcp as tcp_interface, tcp_create_socket, udp as udp_interface, udp_create_socket,
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    task::{Context, Waker},
};
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::{
    SocketError, SocketResult,
    bindings::sockets::network::{self, ErrorCode, IpAddressFamily, IpSocketAddress, Network},
};
use wk_network::PodPort;

/// What the sockets of one guest need.
pub struct NetCtx<'a> {
    /// Where the guest's handles live, the stock ones too.
    pub table: &'a mut ResourceTable,
    /// The pod.
    pub pod: &'a PodPort,
}

/// Store data with sockets.
pub trait NetView: Send {
    /// Its table and its pod.
    fn net(&mut self) -> NetCtx<'_>;
}

/// Names [`NetCtx`] for the generated code.
struct HasNet;

impl HasData for HasNet {
    type Data<'a> = NetCtx<'a>;
}

/// Puts the pod's sockets over the stock ones. Call it after
/// `wasmtime_wasi::p2::add_to_linker_async`, whose `network` and
/// `instance-network` stay.
///
/// # Errors
/// When the linker already has other definitions that may not be shadowed.
pub fn add_to_linker<T: NetView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    tcp_interface::add_to_linker::<T, HasNet>(linker, T::net)?;
    tcp_create_socket::add_to_linker::<T, HasNet>(linker, T::net)?;
    udp_interface::add_to_linker::<T, HasNet>(linker, T::net)?;
    udp_create_socket::add_to_linker::<T, HasNet>(linker, T::net)?;
    ip_name_lookup::add_to_linker::<T, HasNet>(linker, T::net)?;
    linker.allow_shadowing(false);
    Ok(())
}

// The linker reaches the stock `network`; these are here because the generated
// interfaces name its error type and must be able to convert it.
impl network::Host for NetCtx<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn network_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(self.table.get(&error)?.downcast_ref::<io::Error>().map(code))
    }
}

impl network::HostNetwork for NetCtx<'_> {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        self.table.delete(network)?;
        Ok(())
    }
}

/// The error code for what `wk-network` says.
fn code(error: &io::Error) -> ErrorCode {
    match error.kind() {
        io::ErrorKind::QuotaExceeded => ErrorCode::NewSocketLimit,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            ErrorCode::RemoteUnreachable
        }
        _ => ErrorCode::from(error),
    }
}

fn failed(error: io::Error) -> SocketError {
    code(&error).into()
}

/// The address as given, when a socket of this pod can have or reach it.
///
/// # Errors
/// `invalid-argument` for the wrong family and for what is not unicast.
fn unicast(address: IpSocketAddress) -> SocketResult<SocketAddr> {
    let address = SocketAddr::from(address);
    match address.ip() {
        IpAddr::V4(v4) if !v4.is_multicast() && !v4.is_broadcast() => Ok(address),
        _ => Err(ErrorCode::InvalidArgument.into()),
    }
}

/// The address as given, when it can be a peer's.
///
/// # Errors
/// `invalid-argument`, also for 0.0.0.0 and for port 0.
fn remote(address: IpSocketAddress) -> SocketResult<SocketAddr> {
    let address = unicast(address)?;
    if address.ip().is_unspecified() || address.port() == 0 {
        return Err(ErrorCode::InvalidArgument.into());
    }
    Ok(address)
}

/// # Errors
/// `not-supported` for IPv6.
fn check_family(family: IpAddressFamily) -> SocketResult<()> {
    match family {
        IpAddressFamily::Ipv4 => Ok(()),
        IpAddressFamily::Ipv6 => Err(ErrorCode::NotSupported.into()),
    }
}

/// A context for polling without waiting.
fn no_wait() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[cfg(test)]
mod tests;
