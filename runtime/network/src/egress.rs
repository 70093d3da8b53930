//! The way out of the cluster: connections from pods to the host's network.
//!
//! Off unless a [`crate::Config`] carries one. Called by `switch.rs` for
//! addresses that are neither a pod's nor virtual nor inside the cluster. It
//! costs one task per connection, which the core of the network never does.

use crate::connection::Connection;
use futures::future::BoxFuture;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use tracing::debug;
use wk_platform::{
    TaskGroup,
    listen::{BoxByteStream, connect_tcp, look_up},
    tasks::OnError,
};

type Dial = dyn Fn(SocketAddr) -> BoxFuture<'static, io::Result<BoxByteStream>> + Send + Sync;
type Resolve = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync;

/// How connections leave the cluster. Cheap to clone.
#[derive(Clone)]
pub struct Egress {
    dial: Arc<Dial>,
    resolve: Arc<Resolve>,
    tasks: TaskGroup,
}

impl Egress {
    /// Connections opened by `dial` and carried by `tasks`. No names.
    pub fn new(
        tasks: TaskGroup,
        dial: impl Fn(SocketAddr) -> BoxFuture<'static, io::Result<BoxByteStream>> + Send + Sync + 'static,
    ) -> Self {
        let resolve = |_| -> BoxFuture<'static, _> { Box::pin(async { Err(io::ErrorKind::NotFound.into()) }) };
        Self { dial: Arc::new(dial), resolve: Arc::new(resolve), tasks }
    }

    /// The same, with names that are not the cluster's looked up by `resolve`.
    #[must_use]
    pub fn with_names(
        self,
        resolve: impl Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
    ) -> Self {
        Self { resolve: Arc::new(resolve), ..self }
    }

    /// TCP connections of the host, where `allowed` says so; elsewhere the
    /// network is unreachable. Names as the host looks them up. Whoever may make
    /// services chooses the addresses asked for, the host's loopback among them:
    /// allow no more than is meant.
    pub fn to_host(tasks: TaskGroup, allowed: impl Fn(SocketAddr) -> bool + Send + Sync + 'static) -> Self {
        Self::new(tasks, move |to| {
            let allowed = allowed(to);
            Box::pin(async move {
                if !allowed {
                    return Err(io::ErrorKind::NetworkUnreachable.into());
                }
                Ok(Box::new(connect_tcp(to).await?) as BoxByteStream)
            })
        })
        .with_names(|name| Box::pin(look_up(name)))
    }

    pub(crate) fn resolve(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        (self.resolve)(name)
    }

    pub(crate) fn dial(&self, to: SocketAddr) -> BoxFuture<'static, io::Result<BoxByteStream>> {
        (self.dial)(to)
    }

    /// Carries bytes between the two until both directions have ended.
    pub(crate) fn carry(&self, mut near: Connection, mut far: BoxByteStream) {
        self.tasks.spawn("egress connection", OnError::Log, async move {
            if let Err(error) = tokio::io::copy_bidirectional(&mut near, &mut far).await {
                debug!(peer = %near.local_addr(), %error, "egress connection ended");
            }
            Ok::<_, io::Error>(())
        });
    }
}
