//! `/exec` and `/attach`: a command's streams over one connection.
//!
//! ```text
//!  client ◀─▶ spdy or websocket ─▶ FromClient ─▶ relay ─▶ ExecSession of the runtime
//!                               ◀─  ToClient  ◀──┘
//! ```
//!
//! The two wire protocols become the same [`Client`]; the relay does not know
//! which it was. At the end the client gets a `v1.Status` ([`status`]).

mod relay;
mod spdy;
mod status;
mod websocket;

use super::{Config, Error, lookup, query::Query, route::ContainerPath, websocket as handshake};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use status::Verb;
use std::{convert::Infallible, io, sync::Arc};
use tracing::debug;
use wk_cri::{AttachOptions, ExecOptions, Output, TerminalSize};
use wk_platform::{
    http::{Request, Response},
    tasks::OnError,
};

/// Which streams the client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wanted {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
enum FromClient {
    Stdin(Bytes),
    StdinEnd,
    Resize(TerminalSize),
    /// It has closed the connection.
    Gone,
}

/// What a client is told.
#[async_trait]
trait ToClient: Send {
    /// Bytes of one of the streams it wants.
    async fn output(&mut self, output: Output) -> io::Result<()>;

    /// The end.
    async fn finish(&mut self, status: &status::Status) -> io::Result<()>;
}

/// A connected client.
struct Client {
    input: BoxStream<'static, FromClient>,
    output: Box<dyn ToClient>,
    /// Resolves when the connection has ended, where that is known otherwise
    /// than by reading.
    gone: BoxFuture<'static, ()>,
}

impl Wanted {
    /// Reads upstream's names (`remotecommand.NewOptions`).
    fn parse(query: &Query) -> Result<Self, Error> {
        let tty = query.flag("tty");
        let wanted = Self {
            stdin: query.flag("input"),
            stdout: query.flag("output"),
            // A terminal has one output.
            stderr: query.flag("error") && !tty,
            tty,
        };
        if !wanted.stdin && !wanted.stdout && !wanted.stderr {
            return Err(Error::BadRequest("you must specify at least 1 of stdin, stdout, stderr".to_owned()));
        }
        Ok(wanted)
    }
}

/// Runs a command beside a container's guest.
///
/// # Errors
/// [`Error::NotFound`] without a running container, [`Error::BadRequest`] or
/// [`Error::Forbidden`] when the upgrade cannot be made.
pub async fn exec(config: &Arc<Config>, path: &ContainerPath, request: Request) -> Result<Response, Error> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let wanted = Wanted::parse(&query)?;
    let command: Vec<String> = query.all("command").map(str::to_owned).collect();
    if command.is_empty() {
        return Err(Error::BadRequest("you must specify at least one command for the container".to_owned()));
    }
    let container = lookup::running_container(config, path)?;
    let (response, connecting) = upgrade(config, wanted, request)?;
    let runtime = config.kubelet.runtime().clone();
    spawn(config, "exec", async move {
        let client = connecting.await?;
        let options = ExecOptions { command: command.clone(), stdin: wanted.stdin, tty: wanted.tty };
        let session = runtime.exec(&container, options).await;
        relay::run(client, session, wanted, Verb::Exec(command)).await
    });
    Ok(response)
}

/// Connects to a container's guest itself.
///
/// # Errors
/// As [`exec`].
pub async fn attach(config: &Arc<Config>, path: &ContainerPath, request: Request) -> Result<Response, Error> {
    let wanted = Wanted::parse(&Query::parse(request.uri().query().unwrap_or_default()))?;
    let container = lookup::running_container(config, path)?;
    let (response, connecting) = upgrade(config, wanted, request)?;
    let runtime = config.kubelet.runtime().clone();
    spawn(config, "attach", async move {
        let client = connecting.await?;
        let session = runtime.attach(&container, AttachOptions { stdin: wanted.stdin }).await;
        relay::run(client, session, wanted, Verb::Attach).await
    });
    Ok(response)
}

fn spawn(config: &Config, name: &'static str, work: impl Future<Output = io::Result<()>> + Send + 'static) {
    config.tasks.spawn(name, OnError::Log, async move {
        // The client's affair: it has gone, or was wrong.
        if let Err(error) = work.await {
            debug!(%error, "stream ended early");
        }
        Ok::<_, Infallible>(())
    });
}

/// The client, once the response is out.
type Connecting = BoxFuture<'static, io::Result<Client>>;

fn upgrade(config: &Config, wanted: Wanted, request: Request) -> Result<(Response, Connecting), Error> {
    if handshake::is_asked_for(request.headers()) {
        return websocket::upgrade(wanted, request);
    }
    spdy::upgrade(config.tasks.clone(), wanted, request)
}

/// The size in a resize message, as Go writes it.
fn parse_size(json: &[u8]) -> Option<TerminalSize> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Size {
        width: u16,
        height: u16,
    }
    let Size { width, height } = serde_json::from_slice(json).ok()?;
    Some(TerminalSize { width, height })
}
