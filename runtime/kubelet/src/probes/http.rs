//! HTTP and HTTPS requests to a guest, for probes and hooks: headers, redirects
//! and texts as upstream has them (`k8s.io/kubernetes/pkg/probe/http`).
//!
//! Requests go to the pod whatever `host` says: it names the server in the URL
//! and the `Host` header. Upstream would connect the node to any host.

use super::{
    Outcome, Target,
    connection::{self, Answer, Heard, Version},
    target::{connect, host_port, port_number},
    tls,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use http_body_util::Full;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use url::Url;

/// Redirects followed for one probe (Go's limit).
const REDIRECTS_MAX: usize = 10;

/// Who asks.
pub(super) const USER_AGENT: &str = "kube-probe/1.33";

/// Headers that a client of HTTP sets itself: those of a probe are ignored, as Go does.
const OWN_HEADERS: [HeaderName; 4] = [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::TRAILER];

/// Asks for a path. A status from 200 to 399 is good; one that is left of
/// redirects gets a warning.
pub(super) async fn probe(
    target: &Target,
    container: &Container,
    action: &HTTPGetAction,
    timeout: Duration,
) -> Outcome {
    let port = match port_number(container, &action.port) {
        Ok(port) => port,
        Err(problem) => return Outcome::Errored(problem),
    };
    match get(target, port, action, timeout).await {
        Err(problem) => Outcome::Failed(problem),
        Ok(answer) => match answer.status.as_u16() {
            200..300 => Outcome::Passed,
            300..400 => {
                let body = String::from_utf8_lossy(&answer.body);
                Outcome::Warned(format!("Probe terminated redirects, Response body: {body}"))
            }
            status => Outcome::Failed(format!("HTTP probe failed with statuscode: {status}")),
        },
    }
}

/// Asks for a path, and follows redirects to the same host.
///
/// # Errors
/// Why there was no answer within `timeout`, as Go says it.
pub(super) async fn get(
    target: &Target,
    port: u16,
    action: &HTTPGetAction,
    timeout: Duration,
) -> Result<Answer, String> {
    let deadline = Instant::now() + timeout;
    let mut url = first_url(target, port, action)?;
    let mut headers = headers(action);
    let mut name = given_host(action);
    let first_host = url.host_str().map(str::to_owned);
    for _ in 0..REDIRECTS_MAX {
        let failed = |problem: String| format!("Get {:?}: {problem}", shown(&url));
        let late = |_| failed("context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned());
        let once = ask(target, &url, headers.clone(), name.as_deref());
        let answer = timeout_at(deadline, once).await.map_err(late)?.map_err(failed)?;
        let Some(location) = location(&answer) else { return Ok(answer) };
        let next = url.join(&location).map_err(|error| {
            failed(format!("failed to parse Location header {location:?}: parse {location:?}: {error}"))
        })?;
        if next.host_str().map(str::to_owned) != first_host {
            return Ok(answer);
        }
        if Url::parse(&location).is_ok() {
            name = None; // it names a host of its own
        }
        headers.insert(header::REFERER, HeaderValue::try_from(url.as_str()).map_err(|error| error.to_string())?);
        url = next;
    }
    Err(format!("Get {:?}: stopped after {REDIRECTS_MAX} redirects", shown(&url)))
}

async fn ask(target: &Target, url: &Url, headers: HeaderMap, name: Option<&str>) -> Result<Answer, String> {
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
    let stream = connect(target, port).await?;
    let (stream, first) = Heard::listen_to(stream);
    let (stream, version) = if url.scheme() == "https" {
        let session = tls::connect(stream, host).await;
        session.map_err(|error| match first.is_http1() {
            true => "http: server gave HTTP response to HTTPS client".to_owned(),
            false => format!("tls: {error}"),
        })?
    } else {
        (stream, Version::Http1)
    };
    let authority = name.map_or_else(|| host_port(host, port), str::to_owned);
    let request = request(url, version, &authority, headers).map_err(|error| error.to_string())?;
    connection::exchange(stream, version, request).await.map_err(|error| said(&error))
}

fn request(url: &Url, version: Version, authority: &str, headers: HeaderMap) -> http::Result<Request<Full<Bytes>>> {
    let path = url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
    let mut request = match version {
        Version::Http1 => Request::get(path).header(header::HOST, authority).header(header::CONNECTION, "close"),
        Version::Http2 => Request::get(format!("{}://{authority}{path}", url.scheme())),
    };
    for (name, value) in &headers {
        request = request.header(name, value);
    }
    request.body(Full::default())
}

/// The probe's own headers over the prober's.
fn headers(action: &HTTPGetAction) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for header in action.http_headers.iter().flatten() {
        // The API server has checked them; what is left of bad ones is not sent.
        let (Ok(name), Ok(value)) = (HeaderName::try_from(&header.name), HeaderValue::try_from(&header.value)) else {
            continue;
        };
        if !OWN_HEADERS.contains(&name) {
            headers.append(name, value);
        }
    }
    headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
    match headers.get(header::ACCEPT) {
        None => drop(headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"))),
        Some(value) if value.is_empty() => drop(headers.remove(header::ACCEPT)),
        Some(_) => {}
    }
    headers
}

fn given_host(action: &HTTPGetAction) -> Option<String> {
    let mut given = action.http_headers.iter().flatten();
    let host = given.find(|header| header.name.eq_ignore_ascii_case("host")).map(|header| header.value.clone());
    host.filter(|host| !host.is_empty())
}

fn first_url(target: &Target, port: u16, action: &HTTPGetAction) -> Result<Url, String> {
    let scheme = if is_https(action) { "https" } else { "http" };
    let host = action.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(&target.address);
    let path = action.path.as_deref().unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let text = format!("{scheme}://{}{slash}{path}", host_port(host, port));
    Url::parse(&text).map_err(|error| format!("parse {text:?}: {error}"))
}

pub(super) fn is_https(action: &HTTPGetAction) -> bool {
    action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("HTTPS"))
}

/// Where a redirect leads; none without a place, which happens.
fn location(answer: &Answer) -> Option<String> {
    let redirects = matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = answer.headers.get(header::LOCATION).filter(|_| redirects)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned()).filter(|location| !location.is_empty())
}

/// The URL with its port, which [`Url`] leaves out when it is the scheme's.
fn shown(url: &Url) -> String {
    let authority = host_port(url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
    format!("{}://{authority}{}", url.scheme(), &url[url::Position::BeforePath..])
}

/// Why there is no answer, in Go's words where it has some.
fn said(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return "EOF".to_owned();
    }
    if error.is_parse() {
        return format!("net/http: HTTP/1.x transport connection broken: malformed HTTP response: {error}");
    }
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}
