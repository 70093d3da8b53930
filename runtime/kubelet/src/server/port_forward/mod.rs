//! `/portForward`: connections to the ports of a pod over one connection.
//!
//! Three wire protocols: SPDY ([`spdy`], pairs of streams), SPDY in the binary
//! messages of a WebSocket (the same), and WebSocket channels ([`channels`], two
//! for each port). A port that does not answer ends its own connection with a
//! message and leaves the others alone.

mod channels;
mod spdy;

use super::{
    Config, Error, channels as protocol, lookup,
    query::Query,
    route::PodPath,
    spdy as wire,
    websocket::{self, Tunnel},
};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, io, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;
use wk_cri::{ByteStream, RuntimeService, SandboxId};
use wk_platform::{
    TaskGroup,
    http::{Request, Response},
    tasks::OnError,
};

const SPDY_PROTOCOLS: &[&str] = &["portforward.k8s.io"];
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const WEBSOCKET_PROTOCOLS: &[&str] = &[TUNNEL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io", ""];

/// How long a port may take to answer. It is in this process.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The pod whose ports are reached.
#[derive(Clone)]
struct Target {
    runtime: Arc<dyn RuntimeService>,
    sandbox: SandboxId,
}

impl Target {
    /// A connection to a port, or what the client is told, in upstream's words.
    async fn connect(&self, port: u16) -> Result<ByteStream, String> {
        let connecting = self.runtime.port_forward(&self.sandbox, port);
        let failure = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the port did not answer in time".to_owned(),
        };
        Err(format!("error forwarding port {port} to pod {}, uid : {failure}", self.sandbox.0))
    }
}

/// Forwards connections until the client ends them all.
///
/// # Errors
/// [`Error::NotFound`] without a running pod, [`Error::BadRequest`] or
/// [`Error::Forbidden`] when the upgrade cannot be made.
pub async fn forward(config: &Arc<Config>, path: &PodPath, mut request: Request) -> Result<Response, Error> {
    let target = Target { runtime: config.kubelet.runtime().clone(), sandbox: lookup::sandbox(config, path)? };
    let tasks = config.tasks.clone();
    if !websocket::is_asked_for(request.headers()) {
        let wire::Handshake { response, upgrade, .. } = wire::handshake(&mut request, SPDY_PROTOCOLS)?;
        spawn(config, async move {
            let upgraded = upgrade.await.map_err(io::Error::other)?;
            serve_spdy(target, TokioIo::new(upgraded), tasks).await
        });
        return Ok(response);
    }
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let websocket::Handshake { response, protocol, upgrade } = websocket::handshake(&mut request, WEBSOCKET_PROTOCOLS)?;
    if protocol == TUNNEL {
        spawn(config, async move {
            let socket = websocket::open(upgrade).await?;
            serve_spdy(target, Tunnel::new(socket), tasks).await
        });
        return Ok(response);
    }
    let ports = channels::parse_ports(&query)?;
    let protocol = protocol::Protocol::named(protocol).expect("one of WEBSOCKET_PROTOCOLS");
    spawn(config, async move { channels::serve(target, websocket::open(upgrade).await?, protocol, ports).await });
    Ok(response)
}

async fn serve_spdy<T>(target: Target, io: T, tasks: TaskGroup) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Send + 'static,
{
    let (incoming, work) = wire::server(io);
    let pairs = spdy::serve(target, incoming, tasks);
    let (result, ()) = futures::join!(work, pairs);
    result.map_err(io::Error::other)
}

fn spawn(config: &Config, work: impl Future<Output = io::Result<()>> + Send + 'static) {
    config.tasks.spawn("port-forward", OnError::Log, async move {
        // The client's affair: it has gone, or was wrong.
        if let Err(error) = work.await {
            debug!(%error, "port-forward ended");
        }
        Ok::<_, Infallible>(())
    });
}
