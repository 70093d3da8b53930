//! The serving end: requests of the control socket become calls of the runtimes.
//!
//! One request is one call; nothing is kept between them. Only a snapshot's body
//! is read, and that into a file.

use super::{
    protocol::{Container, Containers, Problem, Restored, ServerStatus, Stats},
    snapshots,
};
use crate::compose::power::{Power, State};
use http::{Method, StatusCode, header};
use serde::Serialize;
use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::info;
use wk_cri::{ContainerId, Error, Filter, RuntimeService};
use wk_platform::{
    Clock, TaskGroup,
    http::{Body, HttpService, Request, Response, full},
    listen::Listener,
    serve,
    tasks::OnError,
};
use wk_store::Store;

/// Each holds on to all values of a moment, or reads as many in.
const SNAPSHOTS_MAX: usize = 1;

/// What the socket gives access to.
pub struct Config {
    /// What does not change while the server runs.
    pub status: ServerStatus,
    /// The nodes of this process.
    pub nodes: Vec<Node>,
    /// Their switches.
    pub power: Power,
    /// For the times of measurements.
    pub clock: Clock,
    /// What snapshots are taken of.
    pub store: Arc<dyn Store>,
    /// Where a snapshot that comes in is kept until it is checked.
    pub spool: PathBuf,
    /// For the work of answers that take a while.
    pub tasks: TaskGroup,
}

/// [`Config`], and what happens at the moment.
struct Server {
    status: ServerStatus,
    nodes: Vec<Node>,
    power: Power,
    clock: Clock,
    store: Arc<dyn Store>,
    spool: PathBuf,
    tasks: TaskGroup,
    snapshots: Arc<Semaphore>,
}

/// A node and what runs its containers.
#[derive(Clone)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its runtime.
    pub runtime: Arc<dyn RuntimeService>,
}

/// Listens on `socket` until the tasks stop.
///
/// # Errors
/// When the socket cannot be made.
pub fn start(config: Config, socket: &Path) -> io::Result<()> {
    let listener = Listener::unix(socket)?;
    let tasks = config.tasks.clone();
    let (service, group) = (service(config), tasks.clone());
    // To completion: at a stop it lets the requests in flight finish.
    tasks.spawn_to_completion("control socket", OnError::Log, async move {
        serve::serve(listener, None, service, group).await
    });
    Ok(())
}

/// The router.
pub fn service(config: Config) -> HttpService {
    let Config { status, nodes, power, clock, store, spool, tasks } = config;
    let snapshots = Arc::new(Semaphore::new(SNAPSHOTS_MAX));
    let server = Arc::new(Server { status, nodes, power, clock, store, spool, tasks, snapshots });
    HttpService::new(tower::service_fn(move |request: Request| {
        let server = server.clone();
        let (head, body) = request.into_parts();
        async move { Ok::<_, Infallible>(server.answer(&head, body).await.unwrap_or_else(Refusal::into_response)) }
    }))
}

/// A [`Problem`] and its code.
struct Refusal(StatusCode, String);

impl Refusal {
    fn into_response(self) -> Response {
        json(self.0, &Problem { message: self.1 })
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::AlreadyExists(_) | Error::FailedPrecondition(_) => StatusCode::CONFLICT,
            Error::InvalidArgument(_) => StatusCode::BAD_REQUEST,
            Error::ResourceExhausted(_) | Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Error::DeadlineExceeded(_) => StatusCode::GATEWAY_TIMEOUT,
            Error::Unimplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(code, error.to_string())
    }
}

fn json(code: StatusCode, body: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(body).expect("plain data with string keys has a JSON form");
    let mut response = Response::new(full(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

impl Server {
    async fn answer(&self, head: &http::request::Parts, body: Body) -> Result<Response, Refusal> {
        let path: Vec<&str> = head.uri.path().split('/').skip(1).collect();
        match (&head.method, path.as_slice()) {
            (&Method::GET, ["v1", "status"]) => Ok(json(StatusCode::OK, &self.status)),
            (&Method::GET, ["v1", "containers"]) => {
                Ok(json(StatusCode::OK, &Containers { containers: self.containers().await? }))
            }
            (&Method::GET, ["v1", "containers", id]) => {
                let (node, id) = self.find(id).await?;
                let status = node.runtime.container_status(&id).await?;
                Ok(json(StatusCode::OK, &Container::of(&node.name, status)))
            }
            (&Method::GET, ["v1", "containers", id, "stats"]) => {
                let (node, id) = self.find(id).await?;
                let used = node.runtime.container_stats(&id).await?;
                let (cpu_nanos, memory_bytes) = (used.cpu_nanos, used.memory_bytes);
                Ok(json(StatusCode::OK, &Stats { at: self.clock.now(), cpu_nanos, memory_bytes }))
            }
            (&Method::DELETE, ["v1", "containers", id]) => {
                let force = head.uri.query() == Some("force=true");
                self.remove(id, force).await?;
                Ok(json(StatusCode::OK, &serde_json::json!({})))
            }
            (&Method::POST, ["v1", "nodes", name, "stop"]) => self.turn(name, State::Off).await,
            (&Method::POST, ["v1", "nodes", name, "start"]) => self.turn(name, State::On).await,
            (&Method::GET, ["v1", "snapshot"]) => {
                Ok(Response::new(snapshots::save(self.store.clone(), &self.tasks, self.snapshot_turn()?)))
            }
            (&Method::PUT, ["v1", "snapshot"]) => {
                let _turn = self.snapshot_turn()?;
                let restored = snapshots::restore(&*self.store, body, &self.spool).await;
                let revision = restored.map_err(|error| Refusal(StatusCode::BAD_REQUEST, format!("{error:#}")))?;
                info!(%revision, "restored a snapshot on request");
                Ok(json(StatusCode::OK, &Restored { revision: revision.0 }))
            }
            (method, _) => {
                Err(Refusal(StatusCode::NOT_FOUND, format!("this server has no {method} {}", head.uri.path())))
            }
        }
    }

    async fn turn(&self, node: &str, state: State) -> Result<Response, Refusal> {
        if !self.power.states().any(|(name, _)| name == node) {
            return Err(Refusal(StatusCode::NOT_FOUND, format!("this server has no node {node:?}")));
        }
        let turned = self.power.turn(node, state).await;
        turned.map_err(|message| Refusal(StatusCode::SERVICE_UNAVAILABLE, message))?;
        Ok(json(StatusCode::OK, &serde_json::json!({})))
    }

    fn snapshot_turn(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let busy = |_| Refusal(StatusCode::CONFLICT, "another snapshot is under way".to_owned());
        self.snapshots.clone().try_acquire_owned().map_err(busy)
    }

    async fn containers(&self) -> Result<Vec<Container>, Refusal> {
        let mut all = Vec::new();
        for node in &self.nodes {
            let listed = node.runtime.list_containers(Filter::default()).await?;
            all.extend(listed.into_iter().map(|status| Container::of(&node.name, status)));
        }
        Ok(all)
    }

    /// The node that has a container.
    async fn find(&self, id: &str) -> Result<(&Node, ContainerId), Refusal> {
        let id = ContainerId(id.to_owned());
        for node in &self.nodes {
            match node.runtime.container_status(&id).await {
                Ok(_) => return Ok((node, id)),
                Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Refusal(StatusCode::NOT_FOUND, format!("no such container: {}", id.0)))
    }

    async fn remove(&self, id: &str, force: bool) -> Result<(), Refusal> {
        let (node, id) = self.find(id).await?;
        let status = node.runtime.container_status(&id).await?;
        if matches!(status.state, wk_cri::ContainerState::Running { .. }) && !force {
            let message = format!("container {} is running; stop it first, or remove it by force (-f)", id.0);
            return Err(Refusal(StatusCode::CONFLICT, message));
        }
        // Not stopped first: then the kubelet would see an exit, and not a loss.
        node.runtime.remove_container(&id).await?;
        info!(node = %node.name, container_id = %id.0, "removed a container on request");
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
