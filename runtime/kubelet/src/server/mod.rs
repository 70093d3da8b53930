//! The kubelet's HTTP API: logs, exec, attach, port-forward, pods, stats.
//!
//! Served by composition with `wk_platform::serve`; called by the API server's
//! node connector, and by whoever holds a client certificate. The paths and
//! texts are those of upstream's `pkg/kubelet/server`. All streaming protocols
//! end here: the API server passes the bytes of an upgraded connection on.
//!
//! ```text
//!  request ─▶ route ─┬▶ logs             (file  ─▶ body)
//!                    ├▶ remote_command   (exec, attach: SPDY or WebSocket channels ◀─▶ ExecSession)
//!                    ├▶ port_forward     (SPDY, SPDY in WebSocket, WebSocket channels ◀─▶ ByteStream)
//!                    └▶ report           (pods, stats, metrics)
//! ```
//!
//! Reading order: `route`, `lookup`, then one folder per verb,
//! over `spdy`, `websocket` and `channels`.

mod channels;
mod error;
mod logs;
mod lookup;
mod port_forward;
mod query;
mod remote_command;
mod report;
mod route;
mod spdy;
mod websocket;

#[cfg(test)]
mod tests;

pub use error::Error;

use crate::handle::KubeletHandle;
use http::StatusCode;
use std::sync::Arc;
use wk_platform::{
    Clock, TaskGroup,
    http::{HttpService, Request, Response},
    serve::PeerCertificate,
};

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Everyone who can connect: for a pipe that only the API server holds.
    Trusted,
    /// Those with a client certificate that the TLS listener has verified.
    ClientCertificate,
}

/// What the server works with.
#[derive(Clone)]
pub struct Config {
    /// This node's name.
    pub node_name: String,
    /// The pods of this node, and its runtime.
    pub kubelet: KubeletHandle,
    /// For `sinceSeconds` and the times of stats.
    pub clock: Clock,
    /// Owns the upgraded connections.
    pub tasks: TaskGroup,
    /// Who may call.
    pub callers: Callers,
}

/// The service to give to `wk_platform::serve`.
pub fn service(config: Config) -> HttpService {
    let config = Arc::new(config);
    HttpService::new(tower::service_fn(move |request: Request| {
        let config = config.clone();
        async move { Ok(answer(&config, request).await) }
    }))
}

async fn answer(config: &Arc<Config>, request: Request) -> Response {
    let known = request.extensions().get::<PeerCertificate>().is_some();
    if config.callers == Callers::ClientCertificate && !known {
        return error::text(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    let result = match route::route(request.method(), request.uri().path()) {
        Ok(route) => dispatch(config, route, request).await,
        Err(error) => Err(error),
    };
    result.unwrap_or_else(|error| error.into_response())
}

async fn dispatch(config: &Arc<Config>, route: route::Route, request: Request) -> Result<Response, Error> {
    use route::Route;
    match route {
        Route::Healthz => Ok(error::text(StatusCode::OK, "ok")),
        Route::Pods => Ok(report::pods(config)),
        Route::Stats => report::stats(config).await,
        Route::Metrics => report::metrics(config).await,
        Route::Logs(container) => logs::get(config, &container, request.uri().query().unwrap_or_default()).await,
        Route::Exec(container) => remote_command::exec(config, &container, request).await,
        Route::Attach(container) => remote_command::attach(config, &container, request).await,
        Route::PortForward(pod) => port_forward::forward(config, &pod, request).await,
    }
}
