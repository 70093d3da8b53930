//! `wasi:sockets/ip-name-lookup`: a guest asks for the addresses of a name.
//!
//! The network answers from the cluster's names at once; only a name outside
//! may take time, so the lookup is a stored future.

use super::{NetCtx, bindings::wasi::sockets::ip_name_lookup, code, no_wait};
use std::{
    future::{Future, poll_fn},
    io,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    vec,
};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{
    DynPollable, Pollable, SocketResult,
    bindings::sockets::network::{ErrorCode, IpAddress, Network},
    subscribe,
};
use wk_network::names::Lookup;

/// The answer to one lookup, address by address.
pub enum Addresses {
    /// Not known yet.
    Waiting(Lookup),
    /// What is left of the answer.
    Found(vec::IntoIter<IpAddr>),
    /// There is none.
    Failed(ErrorCode),
}

impl Addresses {
    fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Waiting(lookup) = self {
            *self = match ready!(Pin::new(lookup).poll(cx)) {
                Ok(addresses) => Self::Found(addresses.into_iter()),
                Err(error) => Self::Failed(lookup_code(&error)),
            };
        }
        Poll::Ready(())
    }

    fn next(&mut self) -> SocketResult<Option<IpAddr>> {
        match self.poll_done(&mut no_wait()) {
            Poll::Pending => Err(ErrorCode::WouldBlock.into()),
            Poll::Ready(()) => match self {
                Self::Found(addresses) => Ok(addresses.next()),
                Self::Failed(code) => Err((*code).into()),
                Self::Waiting(_) => Err(ErrorCode::WouldBlock.into()),
            },
        }
    }
}

fn lookup_code(error: &io::Error) -> ErrorCode {
    match error.kind() {
        io::ErrorKind::NotFound => ErrorCode::NameUnresolvable,
        io::ErrorKind::InvalidInput => ErrorCode::InvalidArgument,
        io::ErrorKind::TimedOut => ErrorCode::TemporaryResolverFailure,
        _ => code(error),
    }
}

#[async_trait::async_trait]
impl Pollable for Addresses {
    async fn ready(&mut self) {
        poll_fn(|cx| self.poll_done(cx)).await;
    }
}

impl ip_name_lookup::Host for NetCtx<'_> {
    fn resolve_addresses(&mut self, network: Resource<Network>, name: String) -> SocketResult<Resource<Addresses>> {
        self.table.get(&network)?;
        let mut addresses = Addresses::Waiting(self.pod.resolve(&name));
        // What is known at once is said at once.
        if addresses.poll_done(&mut no_wait()).is_ready()
            && let Addresses::Failed(code) = addresses
        {
            return Err(code.into());
        }
        Ok(self.table.push(addresses)?)
    }
}

impl ip_name_lookup::HostResolveAddressStream for NetCtx<'_> {
    fn resolve_next_address(&mut self, stream: Resource<Addresses>) -> SocketResult<Option<IpAddress>> {
        Ok(self.table.get_mut(&stream)?.next()?.map(Into::into))
    }

    fn subscribe(&mut self, stream: Resource<Addresses>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, stream)
    }

    fn drop(&mut self, stream: Resource<Addresses>) -> wasmtime::Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}
