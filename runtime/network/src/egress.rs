//! The way out of the cluster: connections from pods to the host's network.
//!
//! Off unless a [`crate::Config`] carries one. Called by `switch.rs` for
//! addresses that are neither a pod's nor virtual nor inside the cluster. It
//! costs one task per connection, which the core of the network never does.

use crate::connection::Connection;
use futures::future::BoxFuture;
use ipnet::IpNet;
use std::{io, net::SocketAddr, sync::Arc};
use tracing::debug;
use wk_platform::{
    TaskGroup,
    listen::{BoxByteStream, connect_tcp},
    tasks::OnError,
};

type Dial = dyn Fn(SocketAddr) -> BoxFuture<'static, io::Result<BoxByteStream>> + Send + Sync;

/// How connections leave the cluster. Cheap to clone.
#[derive(Clone)]
pub struct Egress {
    dial: Arc<Dial>,
    tasks: TaskGroup,
}

impl Egress {
    /// Connections opened by `dial` and carried by `tasks`.
    pub fn new(
        tasks: TaskGroup,
        dial: impl Fn(SocketAddr) -> BoxFuture<'static, io::Result<BoxByteStream>> + Send + Sync + 'static,
    ) -> Self {
        Self { dial: Arc::new(dial), tasks }
    }

    /// TCP connections of the host, to addresses in `allowed` only; to others
    /// the network is unreachable.
    pub fn to_host(tasks: TaskGroup, allowed: Vec<IpNet>) -> Self {
        Self::new(tasks, move |to| {
            let allowed = allowed.iter().any(|range| range.contains(&to.ip()));
            Box::pin(async move {
                if !allowed {
                    return Err(io::ErrorKind::NetworkUnreachable.into());
                }
                Ok(Box::new(connect_tcp(to).await?) as BoxByteStream)
            })
        })
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
