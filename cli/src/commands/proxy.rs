//! `wk proxy`: the cluster's API on a local port, without credentials for who
//! asks there (upstream: `kubectl/pkg/proxy`). Whoever reaches the port acts as
//! the user of the kubeconfig, so only local names and harmless paths pass.

use super::Context;
use crate::{args::Proxy, output};
use anyhow::{Context as _, Result, bail};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use regex::Regex;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};
use wk_platform::{
    TaskGroup,
    http::{Request as Incoming, Response, asks_for_upgrade, full},
    listen::Listener,
    serve,
};

/// A request's body is read whole before it is passed on; the API takes no
/// object over 3 MiB.
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long requests in flight may take after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(1);

pub(super) async fn run(context: &Context, args: &Proxy) -> Result<()> {
    let filter = Filter::new(args)?;
    let (listener, place) = listen(args).await?;
    let proxy = Arc::new(Forwarder { client: context.rest.client(), filter, prefix: prefix(&args.api_prefix) });
    let service = tower::service_fn(move |request: Incoming| {
        let proxy = proxy.clone();
        async move { Ok::<_, std::convert::Infallible>(proxy.answer(request).await) }
    });
    let tasks = TaskGroup::new();
    output::line(format_args!("Starting to serve on {place}"))?;
    let serving = serve::serve(listener, None, tower::util::BoxCloneSyncService::new(service), tasks.clone());
    tokio::select! {
        result = serving => result.context("serve")?,
        interrupt = tokio::signal::ctrl_c() => interrupt.context("wait for Ctrl-C")?,
    }
    // What is still open then is cut off.
    let _ = tasks.shutdown(DRAIN).await;
    Ok(())
}

async fn listen(args: &Proxy) -> Result<(Listener, String)> {
    if let Some(path) = &args.unix_socket {
        return Ok((Listener::unix(Path::new(path))?, path.clone()));
    }
    let ip: IpAddr = args.address.parse().with_context(|| format!("invalid address {:?}", args.address))?;
    let listener = Listener::tcp(SocketAddr::new(ip, args.port)).await?;
    let place = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    Ok((listener, place))
}

/// `/custom/` and `custom` are `/custom`.
fn prefix(text: &str) -> String {
    match text.trim_matches('/') {
        "" => String::new(),
        inner => format!("/{inner}"),
    }
}

/// Which requests pass.
struct Filter {
    hosts: Vec<Regex>,
    paths: Vec<Regex>,
    rejected_paths: Vec<Regex>,
    rejected_methods: Vec<Regex>,
    is_off: bool,
}

impl Filter {
    fn new(args: &Proxy) -> Result<Self> {
        let parse = |text: &str| -> Result<Vec<Regex>> {
            let one = |text: &str| Regex::new(text).with_context(|| format!("invalid regular expression {text:?}"));
            text.split(',').map(one).collect()
        };
        Ok(Self {
            hosts: parse(&args.accept_hosts)?,
            paths: parse(&args.accept_paths)?,
            rejected_paths: parse(&args.reject_paths)?,
            rejected_methods: parse(&args.reject_methods)?,
            is_off: args.disable_filter,
        })
    }

    fn accepts(&self, method: &str, host: &str, path: &str) -> bool {
        let matches = |list: &[Regex], text: &str| list.iter().any(|one| one.is_match(text));
        self.is_off
            || matches(&self.hosts, without_port(host))
                && matches(&self.paths, path)
                && !matches(&self.rejected_paths, path)
                && !matches(&self.rejected_methods, method)
    }
}

fn without_port(host: &str) -> &str {
    let port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    port.map_or(host, |(host, _)| host)
}

struct Forwarder {
    client: kube::Client,
    filter: Filter,
    prefix: String,
}

impl Forwarder {
    async fn answer(&self, request: Incoming) -> Response {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if !self.filter.accepts(request.method().as_str(), host, request.uri().path()) {
            return plain(StatusCode::FORBIDDEN, "Forbidden".to_owned());
        }
        if asks_for_upgrade(&request) {
            return plain(StatusCode::NOT_IMPLEMENTED, "wk proxy does not pass on upgrades".to_owned());
        }
        match self.forward(request).await {
            Ok(response) => response,
            Err(error) => plain(StatusCode::BAD_GATEWAY, format!("{error:#}")),
        }
    }

    async fn forward(&self, request: Incoming) -> Result<Response> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let Some(path) = path.strip_prefix(&self.prefix).filter(|path| path.starts_with('/')) else {
            return Ok(plain(StatusCode::NOT_FOUND, "404 page not found".to_owned()));
        };
        let body = Limited::new(body, REQUEST_BYTES_MAX).collect().await;
        let Ok(body) = body else { bail!("read the request's body (at most {REQUEST_BYTES_MAX} bytes)") };
        let mut forwarded = Request::builder().method(parts.method).uri(path);
        // What says where the request went and as whom is the client's own.
        let own = [
            header::HOST,
            header::AUTHORIZATION,
            header::CONTENT_LENGTH,
            header::CONNECTION,
            header::TRANSFER_ENCODING,
        ];
        for (name, value) in parts.headers.iter().filter(|(name, _)| !own.contains(name)) {
            forwarded = forwarded.header(name, value);
        }
        let forwarded = forwarded.body(Body::from(body.to_bytes())).context("make the request")?;
        let answer = self.client.send(forwarded).await.context("reach the server")?;
        Ok(answer.map(|body| body.map_err(io::Error::other).boxed_unsync()))
    }
}

fn plain(code: StatusCode, text: String) -> Response {
    let mut response = Response::new(full(text + "\n"));
    *response.status_mut() = code;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, ClientCommand, Command};
    use clap::Parser;

    fn filter(line: &str) -> Filter {
        let args = Args::try_parse_from(line.split(' ')).expect(line);
        let Command::Client(command) = args.command else { panic!("no client command") };
        let ClientCommand::Proxy(args) = *command else { panic!("not proxy") };
        Filter::new(&args).expect(line)
    }

    #[test]
    fn only_local_names_and_harmless_paths_pass() {
        let by_default = filter("wk proxy");
        for host in ["localhost:8001", "127.0.0.1", "[::1]:8001", "localhost"] {
            assert!(by_default.accepts("GET", host, "/api"), "{host}");
        }
        assert!(!by_default.accepts("GET", "evil.org", "/api"), "a name that leads here is not local");
        assert!(!by_default.accepts("POST", "localhost", "/api/v1/namespaces/n/pods/p/exec"));
        assert!(!filter("wk proxy --reject-methods POST,PUT").accepts("PUT", "localhost", "/api"));
        assert!(filter("wk proxy --disable-filter").accepts("GET", "evil.org", "/api/v1/namespaces/n/pods/p/exec"));
        assert!(!filter("wk proxy --accept-paths ^/version$").accepts("GET", "localhost", "/api"));
    }
}
