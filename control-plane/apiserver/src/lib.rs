//! The Kubernetes API over a store.
//!
//! ```text
//!  request ─▶ http (who, what, allowed?) ─▶ verbs ─▶ registry + admission + patch ─▶ storage ─▶ wk-store
//!                                             │                                                  │
//!  response ◀─ negotiate (JSON, Table, …) ◀───┴────────────── cache (list, watch) ◀── changes ───┘
//! ```
//!
//! Objects are `serde_json::Value` from the edge to the store: the API server
//! must keep what it does not know and merge by rules that are data
//! ([`schema`]), so typed structs would only be in the way.
//!
//! Reading order: [`object`], [`schema`], [`registry`], [`patch`], then the path
//! of a request: [`http`], [`authorization`], [`verbs`], [`storage`], [`cache`],
//! [`subresources`], `reviews`, [`node_connector`], [`discovery`]. Beside requests: `expiry`,
//! `quota`.
#![forbid(unsafe_code)]

pub mod admission;
pub mod allocate;
pub mod authorization;
pub mod bootstrap;
pub mod cache;
pub mod discovery;
mod expiry;
pub mod http;
pub mod node_connector;
pub mod object;
pub mod openapi;
pub mod patch;
pub mod pki;
pub mod protobuf;
mod quota;
pub mod registry;
mod reviews;
pub mod schema;
pub mod selector;
pub mod service_account_tokens;
pub mod storage;
pub mod subresources;
pub mod verbs;

#[cfg(test)]
mod compatibility;
#[cfg(test)]
mod tests;

use self::http::metrics::Metrics;
use allocate::Allocators;
use authorization::Authorizer;
use cache::Caches;
pub use discovery::version;
use ipnet::Ipv4Net;
use node_connector::Nodes;
use service_account_tokens::TokenAuthority;
use std::{convert::Infallible, net::SocketAddr, ops::RangeInclusive, sync::Arc};
use storage::Storage;
use wk_platform::{Clock, Entropy, TaskGroup, http::HttpService, tasks::OnError};
use wk_store::{Revision, Store};

/// What a server needs from outside.
pub struct Config {
    /// Where objects are kept.
    pub store: Arc<dyn Store>,
    /// For timestamps.
    pub clock: Clock,
    /// For uids and generated names.
    pub entropy: Entropy,
    /// Where Services get their addresses, `10.96.0.0/16` by default elsewhere.
    pub service_cidr: Ipv4Net,
    /// Where Services get their node ports.
    pub node_ports: RangeInclusive<u16>,
    /// The address that clients in the cluster reach this server at.
    pub advertise: SocketAddr,
    /// Owner of the server's background tasks.
    pub tasks: TaskGroup,
}

/// The parts that requests share.
pub struct Server {
    /// Objects in the store.
    pub storage: Storage,
    /// Lists and watches.
    pub caches: Caches,
    /// Addresses and ports of Services.
    pub allocators: Allocators,
    /// Who may do what.
    pub authorizer: Authorizer,
    /// Tokens of service accounts.
    pub tokens: TokenAuthority,
    /// The way to the kubelets.
    pub nodes: Arc<Nodes>,
    /// Claims of quotas that are under way.
    quotas: quota::Pending,
    /// Request counts.
    pub metrics: Metrics,
    /// For timestamps.
    pub clock: Clock,
    /// For uids and generated names.
    pub entropy: Entropy,
    /// The address that clients in the cluster reach this server at.
    pub advertise: SocketAddr,
    /// Owner of background tasks.
    pub tasks: TaskGroup,
}

/// A running API server. Cheap to clone.
#[derive(Clone)]
pub struct ApiServer {
    server: Arc<Server>,
}

impl ApiServer {
    /// Starts serving `config.store`: learns what Services have taken and makes
    /// the objects that every cluster has. From then on recorded events expire.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let Config { store, clock, entropy, service_cidr, node_ports, advertise, tasks } = config;
        let tokens = TokenAuthority::open(&store).await.map_err(StartError::from)?;
        let server = Arc::new(Server {
            tokens,
            authorizer: Authorizer::default(),
            storage: Storage::new(store.clone()),
            caches: Caches::start(store, &tasks),
            allocators: Allocators::new(service_cidr, node_ports, entropy.clone()),
            nodes: Arc::default(),
            quotas: quota::Pending::default(),
            metrics: Metrics::default(),
            clock,
            entropy,
            advertise,
            tasks,
        });
        bootstrap::run(&server, service_cidr).await.map_err(StartError::from)?;
        let expiry = expiry::run(server.storage.store().clone(), server.clock.clone());
        server.tasks.spawn("event expiry", OnError::StopGroup, async move {
            expiry.await;
            Ok::<_, Infallible>(())
        });
        let counting = quota::run(server.clone());
        server.tasks.spawn("resource quotas", OnError::StopGroup, async move {
            counting.await;
            Ok::<_, Infallible>(())
        });
        Ok(Self { server })
    }

    /// Where objects are kept; for a snapshot.
    pub fn store(&self) -> &Arc<dyn Store> {
        self.server.storage.store()
    }

    /// Replaces everything that is stored by a snapshot, while serving. Watches end
    /// with 410 and list again; every object has a new resource version, above all
    /// that were ever given out. The key that signs service account tokens stays:
    /// running pods keep theirs. Cancel safety: the content is replaced or not.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn restore(&self, snapshot: wk_store::snapshot::Contents) -> Result<Revision, StartError> {
        let wk_store::snapshot::Contents { summary, mut values } = snapshot;
        let store = self.store();
        service_account_tokens::keep_key(store, &mut values).await.map_err(StartError::from)?;
        let failed = |error| StartError::from(http::status::ApiError::from(error));
        let at = store.replace(values, summary.revision).await.map_err(failed)?;
        self.server.allocators.forget();
        bootstrap::run(&self.server, self.server.allocators.cidr()).await.map_err(StartError::from)?;
        Ok(at)
    }

    /// The nodes whose kubelets are in this process register here.
    pub fn nodes(&self) -> &Arc<Nodes> {
        &self.server.nodes
    }

    /// The service of the API: for a TLS listener, or for an in-process client.
    pub fn service(&self) -> HttpService {
        self::http::service(self.server.clone())
    }
}

/// The server could not prepare its store.
#[derive(Debug, thiserror::Error)]
#[error("prepare the cluster's first objects: {0}")]
pub struct StartError(String);

impl From<self::http::status::ApiError> for StartError {
    fn from(error: self::http::status::ApiError) -> Self {
        Self(error.status().to_string())
    }
}
