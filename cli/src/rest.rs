//! Requests as commands make them: kubectl's headers, its patience, and what it
//! tells of them.

mod error;
mod lines;
mod trace;

pub use error::{ApiError, Bare, describe_error, none_if_missing, with_source};
pub use lines::Lines;

use anyhow::{Context, Result};
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;
use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use trace::Trace;

/// Asks for a table, and takes a plain object when the server has none.
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// Plain JSON.
pub const JSON: &str = "application/json";

/// A cluster's API.
#[derive(Clone)]
pub struct Rest {
    client: kube::Client,
    manner: Manner,
    warnings: Arc<AtomicUsize>,
}

/// How requests are made.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Where they go, for messages.
    pub server: Uri,
    /// How long one may take; `None` for as long as it takes.
    pub timeout: Option<Duration>,
    /// How much is told of them: kubectl's `-v`.
    pub verbosity: u8,
}

/// A successful answer.
pub struct Answer {
    /// 200, 201 or 202.
    pub code: StatusCode,
    /// The body.
    pub body: Value,
}

impl Rest {
    /// Requests through `client`.
    pub fn new(client: kube::Client, manner: Manner) -> Self {
        Self { client, manner, warnings: Arc::default() }
    }

    /// The client underneath, for what needs kube's own API.
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// How often the server has warned.
    pub fn warnings(&self) -> usize {
        self.warnings.load(Ordering::Relaxed)
    }

    /// Sends a request; its answer's body is not read yet.
    ///
    /// # Errors
    /// [`ApiError`] for anything but success; otherwise what the connection said.
    pub async fn stream(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<http::Response<Body>> {
        let trace = Trace::begin(&self.manner, &method, path, body.as_ref().map(|(_, bytes)| bytes.as_slice()));
        let mut request = Request::builder().method(method).uri(path).header(header::ACCEPT, accept);
        let mut bytes = Vec::new();
        if let Some((content_type, content)) = body {
            request = request.header(header::CONTENT_TYPE, content_type);
            bytes = content;
        }
        let request = request.body(Body::from(bytes)).context("make the request")?;
        let response = self.in_time(self.client.send(request)).await?;
        let response = response.map_err(|error| error::explain_connection(error, &self.manner.server))?;
        trace.answered(response.status());
        for warning in response.headers().get_all(header::WARNING) {
            self.warnings.fetch_add(1, Ordering::Relaxed);
            print_warning(warning);
        }
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status();
        let body = self.in_time(response.into_body().collect()).await?.context("read the answer")?.to_bytes();
        trace::body(&self.manner, &body);
        Err(ApiError { status: error::status_of(code, &body) }.into())
    }

    /// Waits no longer than a request may take.
    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let Some(timeout) = self.manner.timeout else { return Ok(work.await) };
        tokio::time::timeout(timeout, work).await.map_err(|_| {
            Bare(format!("Unable to connect to the server: no answer within --request-timeout={timeout:?}")).into()
        })
    }

    /// Sends a request and reads its JSON answer.
    ///
    /// # Errors
    /// As [`Rest::stream`]; also an answer that is no JSON.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Answer> {
        let response = self.stream(method, path, accept, body).await?;
        let code = response.status();
        let bytes = self.in_time(response.into_body().collect()).await?.context("read the answer")?.to_bytes();
        trace::body(&self.manner, &bytes);
        let body = serde_json::from_slice(&bytes).context("the server's answer is no JSON")?;
        Ok(Answer { code, body })
    }

    /// GET of JSON.
    ///
    /// # Errors
    /// As [`Rest::send`].
    pub async fn get(&self, path: &str) -> Result<Value> {
        Ok(self.send(Method::GET, path, JSON, None).await?.body)
    }

    /// GET of JSON; `None` when there is no such object.
    ///
    /// # Errors
    /// As [`Rest::send`].
    pub async fn get_optional(&self, path: &str) -> Result<Option<Value>> {
        none_if_missing(self.get(path).await)
    }

    /// POST of JSON.
    ///
    /// # Errors
    /// As [`Rest::send`].
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value> {
        let body = serde_json::to_vec(object)?;
        Ok(self.send(Method::POST, path, JSON, Some((JSON, body))).await?.body)
    }

    /// PATCH.
    ///
    /// # Errors
    /// As [`Rest::send`].
    pub async fn patch(&self, path: &str, content_type: &str, patch: &Value) -> Result<Answer> {
        let body = serde_json::to_vec(patch)?;
        self.send(Method::PATCH, path, JSON, Some((content_type, body))).await
    }

    /// Watch events, one JSON value each, until the server ends the watch.
    ///
    /// # Errors
    /// As [`Rest::stream`].
    pub async fn watch(&self, path: &str, accept: &str) -> Result<Lines> {
        let response = self.stream(Method::GET, path, accept, None).await?;
        Ok(Lines::of(response.into_body()))
    }
}

/// `299 - "text"` as `Warning: text` on stderr.
fn print_warning(value: &http::HeaderValue) {
    let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
    let message = text.split_once('"').map_or(text.as_str(), |(_, rest)| rest.strip_suffix('"').unwrap_or(rest));
    let _ = writeln!(std::io::stderr(), "Warning: {}", message.replace("\\\"", "\""));
}
